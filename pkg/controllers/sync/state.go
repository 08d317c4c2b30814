package sync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/federatedtypes"
)

// clusterState is what v1beta1.AnnotationClusters says of one cluster.
type clusterState struct {
	// Generation of the object that is there, of the kinds that have one.
	Generation int64 `json:"generation,omitempty"`
	// Error is why the object as it is now is not there, or not gone.
	Error string `json:"error,omitempty"`
	// Omitted are the fields that the cluster does not know.
	Omitted []string `json:"omitted,omitempty"`
}

// recordedClusters is what the annotation says.
func recordedClusters(object *unstructured.Unstructured) map[string]clusterState {
	var recorded map[string]clusterState
	_ = json.Unmarshal([]byte(object.GetAnnotations()[v1beta1.AnnotationClusters]), &recorded) // somebody else wrote it, then
	return recorded
}

// stateWriters is how many objects' states are written at once, of each type. They are few, so that telling leaves the machines to placing while there is much to place.
const stateWriters = 2

// addStates adds the controller that writes where a type's objects are.
func (k *kind) addStates(mgr ctrl.Manager) error {
	name := k.Name() + "-states"
	k.states = workqueue.NewTypedRateLimitingQueueWithConfig(rateLimiter[types.NamespacedName](), workqueue.TypedRateLimitingQueueConfig[types.NamespacedName]{Name: name})
	_, err := controller.NewTyped(name, mgr, controller.TypedOptions[types.NamespacedName]{
		Reconciler: reconcile.TypedFunc[types.NamespacedName](k.tellState), MaxConcurrentReconciles: stateWriters,
		NewQueue: func(string, workqueue.TypedRateLimiter[types.NamespacedName]) workqueue.TypedRateLimitingInterface[types.NamespacedName] {
			return k.states // which planning fills, even before this controller runs
		},
	})
	return err
}

// tellState writes where one object is. Of one that changed since it was planned nothing is known: it is planned anew, and told then.
func (k *kind) tellState(ctx context.Context, name types.NamespacedName) (ctrl.Result, error) {
	object, e := k.object(name), k.known(name)
	if object == nil || e == nil {
		return ctrl.Result{}, nil
	}
	e.mutex.Lock()
	planned := e.planned
	e.mutex.Unlock()
	if planned != object.GetResourceVersion() {
		return ctrl.Result{}, nil
	}
	wait, err := k.writeBack(ctx, object, e)
	return ctrl.Result{RequeueAfter: wait}, err
}

// learning says whether it is too early to say anything of a cluster.
func (k *kind) learning(f fleetMember) bool {
	return f.ready && !f.leaving && !k.knows(k.member(f.name))
}

// knows says whether what is in a member is known, or never will be; of one without a client nothing is, once all have had the time to get theirs.
func (k *kind) knows(m *member) bool {
	if m == nil {
		return time.Since(k.since) > settleTime
	}
	return m.knows(k)
}

// state is where an object is, and the sum of its copies' status. pending says that a member's word is still to come.
func (k *kind) state(object *unstructured.Unstructured, e *entry) (states map[string]clusterState, copies []federatedtypes.Copy, pending bool) {
	recorded := recordedClusters(object)
	states = map[string]clusterState{}
	key := objectKey{k, nameOf(object)}
	for _, f := range k.currentFleet() {
		m := k.member(f.name)
		e.mutex.Lock()
		p, r, frozen, problem := e.plans[f.name], e.reports[f.name], e.frozen, e.problem
		e.mutex.Unlock()
		before, known := recorded[f.name]
		if frozen {
			if known {
				states[f.name] = clusterState{Generation: before.Generation, Error: problem}
			}
			if m != nil {
				if c := m.copyOf(key); c != nil {
					copies = append(copies, federatedtypes.Copy{Cluster: f.name, Status: c.status})
				}
			}
			continue
		}
		if m == nil {
			if p.wanted {
				states[f.name] = clusterState{Generation: before.Generation, Error: away(f.why)}
				copies = append(copies, federatedtypes.Copy{Cluster: f.name})
			} else if known {
				states[f.name] = before
			}
			continue
		}
		d := m.decide(key, e)
		c := m.copyOf(key)
		s := clusterState{Generation: before.Generation, Error: r.problem}
		switch {
		case d.action == settled && !d.wanted:
			continue
		case d.action == settled:
			s = clusterState{Generation: object.GetGeneration(), Omitted: r.omitted}
			if r.version == "" {
				s.Omitted = before.Omitted
			}
		case d.action == wait:
			if s.Error = d.why; !d.wanted && !known {
				continue
			}
		default:
			pending = pending || r.problem == ""
		}
		states[f.name] = s
		if c != nil {
			current := d.action == settled && c.observed() && (r.version == "" || c.ResourceVersion != "" && m.latest(key, r) == c)
			copies = append(copies, federatedtypes.Copy{Cluster: f.name, Status: c.status, Current: current})
		} else if d.wanted {
			copies = append(copies, federatedtypes.Copy{Cluster: f.name})
		}
	}
	return states, copies, pending
}

// writeBack writes where an object is and the summed status, in one request, if they are not written yet. While a member's word is still to come, that the object is there or what its
// controllers say of it, it waits for that, though not for long, and asks to be called again.
func (k *kind) writeBack(ctx context.Context, object *unstructured.Unstructured, e *entry) (time.Duration, error) {
	if slices.ContainsFunc(k.currentFleet(), k.learning) {
		return patience, nil
	}
	states, copies, pending := k.state(object, e)
	e.mutex.Lock()
	e.waits = slices.ContainsFunc(slices.Collect(maps.Values(states)), func(s clusterState) bool { return s.Error != "" })
	frozen := e.frozen
	left := patience - time.Since(e.changed)
	early := left > 0 && (pending || !frozen && k.HasStatus() && slices.ContainsFunc(copies, unheard))
	if !pending && !early {
		e.changed = time.Time{}
	}
	e.mutex.Unlock()
	if early {
		return left, nil
	}

	patch := map[string]any{}
	text, err := json.Marshal(states)
	if err != nil {
		return 0, err
	}
	if was, found := object.GetAnnotations()[v1beta1.AnnotationClusters]; len(states) == 0 && found {
		patch["metadata"] = map[string]any{"uid": object.GetUID(), "annotations": map[string]any{v1beta1.AnnotationClusters: nil}}
	} else if len(states) > 0 && was != string(text) {
		patch["metadata"] = map[string]any{"uid": object.GetUID(), "annotations": map[string]any{v1beta1.AnnotationClusters: string(text)}}
	}
	sum := k.Sum(object, copies)
	somewhere, nowhere := len(copies) > 0, len(states) == 0 && !frozen // else nothing is known of its copies
	if sum != nil && !federatedtypes.SameStatus(object, sum) && (somewhere || nowhere) {
		patch["status"] = sum
	}
	if len(patch) == 0 {
		return 0, nil
	}
	var subresources []string
	if k.HasStatus() {
		subresources = []string{"status"} // which takes annotations too
	}
	err = k.merge(ctx, object, patch, subresources...)
	if _, says := patch["metadata"]; apierrors.IsInvalid(err) && says {
		// An API may refuse a sum that no object of its own would have. Where the object is must be said all the same.
		delete(patch, "status")
		err = errors.Join(err, k.merge(ctx, object, patch, subresources...))
	}
	if err != nil {
		return 0, fmt.Errorf("writing where %s %s is: %w", k.Name(), nameOf(object), err)
	}
	return 0, nil
}

// unheard says that a member's controllers have said nothing yet of a copy as it is now.
func unheard(c federatedtypes.Copy) bool { return !c.Current || len(c.Status) == 0 }

// merge writes a patch of an object in the federation, unless the object changed meanwhile, or is gone.
func (k *kind) merge(ctx context.Context, object *unstructured.Unstructured, patch map[string]any, subresources ...string) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	_, err = k.federation.metadataOf(k.Type, object.GetNamespace()).Patch(ctx, object.GetName(), types.MergePatchType, body, metav1.PatchOptions{FieldManager: v1beta1.ControllerManager}, subresources...)
	return unlessOvertaken(err)
}
