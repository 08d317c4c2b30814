package sync

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/controllers/watch"
	"github.com/fedhelm/fedhelm/pkg/federatedtypes"
	"github.com/fedhelm/fedhelm/pkg/placement"
)

// finalizerOrphan is put on an object by a deletion with --cascade=orphan, and taken off by the garbage collector.
const finalizerOrphan = metav1.FinalizerOrphanDependents

// kind is the controller of one type in the federation.
type kind struct {
	*federatedtypes.Type
	*syncer
	objects *watch.Objects
	queue   workqueue.TypedRateLimitingInterface[types.NamespacedName]
	// states are the objects of which it is to be said where they are.
	states workqueue.TypedRateLimitingInterface[types.NamespacedName]

	mutex   sync.Mutex
	entries map[types.NamespacedName]*entry
}

// entry is what is known of an object besides what the watches tell: what is planned for each cluster, and what came of it. It can be lost.
type entry struct {
	// uid of the object, "" where it is not known yet; the kind's mutex is for it.
	uid   types.UID
	mutex sync.Mutex
	// planned is the resource version of the object that was planned last.
	planned string
	// frozen says that the object's wishes cannot be read: nothing is done to its copies. problem is why, as it was told.
	frozen  bool
	problem string
	// orphan says that its deletion leaves the copies.
	orphan  bool
	plans   map[string]plan
	reports map[string]report
	// changed is when the plan changed, zero once all is as planned, or waits for a cluster.
	changed time.Time
	waits   bool
}

// plan is what is to become of the copy in one cluster.
type plan struct {
	// wanted says that there is to be one; if not, one that is there goes, or with orphan stays without our mark.
	wanted, orphan bool
	// scale is what the cluster gets of what is divided.
	scale map[string]int64
	// hash of what is to be applied.
	hash string
	// waits is why nothing can be done now.
	waits string
}

// report is what came of the last work on the copy in one cluster.
type report struct {
	// applied, owned, version and uid are the copy's after the last apply, which was at appliedAt.
	applied   string
	owned     uint64
	version   string
	uid       types.UID
	appliedAt time.Time
	// gone is the UID of a copy that is known to be the federation's no more, whatever the watch tells.
	gone types.UID
	// problem is why the last work failed; omitted are the fields that the member does not know.
	problem string
	omitted []string
	// tries is how often in a row the last work was tried without its being done, triedAt when last.
	tries   int
	triedAt time.Time
	// unschedulable pods found when it was looked for last.
	unschedulable int64
	// heals is how often what somebody else changed was put right lately, healedAt when last.
	heals    int
	healedAt time.Time
	// shortSince is since when the copy lacks ready replicas.
	shortSince time.Time
}

func (s *syncer) addKind(mgr ctrl.Manager, t *federatedtypes.Type) (*kind, error) {
	k := &kind{Type: t, syncer: s, entries: map[types.NamespacedName]*entry{}}
	k.objects = watch.New(watch.Whole(s.federation.dynamic, t.GroupVersionResource), "", toFederated, func(name types.NamespacedName, object any) {
		if full, ok := object.(*unstructured.Unstructured); ok && full.GetDeletionTimestamp() != nil && slices.Contains(full.GetFinalizers(), finalizerOrphan) {
			k.entryOf(full).setOrphan()
		}
		k.add(name)
		k.changedHPA(object)
	}, k.changedHPA)
	c, err := controller.NewTyped(t.Name(), mgr, controller.TypedOptions[types.NamespacedName]{
		Reconciler: k, MaxConcurrentReconciles: s.options.Concurrency, RateLimiter: rateLimiter[types.NamespacedName](),
	})
	if err != nil {
		return nil, err
	}
	if err := k.addStates(mgr); err != nil {
		return nil, err
	}
	return k, c.Watch(source.TypedFunc[types.NamespacedName](func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[types.NamespacedName]) error {
		k.mutex.Lock()
		k.queue = queue
		k.mutex.Unlock()
		go k.objects.RunWithContext(ctx)
		return nil
	}))
}

func rateLimiter[T comparable]() workqueue.TypedRateLimiter[T] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[T](100*time.Millisecond, time.Minute)
}

// planAll plans every object anew.
func (k *kind) planAll() {
	for _, object := range k.objects.GetStore().List() {
		k.add(nameOf(object))
	}
}

// add plans an object anew. What comes before the controller runs, the first listing brings.
func (k *kind) add(name types.NamespacedName) { k.addAfter(name, 0) }

func (k *kind) addAfter(name types.NamespacedName, delay time.Duration) {
	k.mutex.Lock()
	queue := k.queue
	k.mutex.Unlock()
	if queue != nil {
		queue.AddAfter(name, delay)
	}
}

func nameOf(object any) types.NamespacedName {
	meta := object.(metav1.Object)
	return types.NamespacedName{Namespace: meta.GetNamespace(), Name: meta.GetName()}
}

func newEntry() *entry { return &entry{plans: map[string]plan{}, reports: map[string]report{}} }

func (k *kind) entry(name types.NamespacedName) *entry {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	e := k.entries[name]
	if e == nil {
		e = newEntry()
		k.entries[name] = e
	}
	return e
}

// entryOf is the entry of an object as it is now: what was known of another that had its name is forgotten.
func (k *kind) entryOf(object *unstructured.Unstructured) *entry {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	name := nameOf(object)
	e := k.entries[name]
	if e == nil || e.uid != "" && e.uid != object.GetUID() {
		e = newEntry()
		k.entries[name] = e
	}
	e.uid = object.GetUID()
	return e
}

// known is the entry if there is one.
func (k *kind) known(name types.NamespacedName) *entry {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return k.entries[name]
}

func (k *kind) allEntries() []*entry {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return slices.Collect(maps.Values(k.entries))
}

func (k *kind) object(name types.NamespacedName) *unstructured.Unstructured {
	object, _ := k.objects.Get(name).(*unstructured.Unstructured)
	return object
}

func (e *entry) forgetReport(cluster string) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	delete(e.reports, cluster)
}

func (e *entry) setOrphan() {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.orphan = true
}

// Reconcile plans one object and sends the members to work.
func (k *kind) Reconcile(ctx context.Context, name types.NamespacedName) (ctrl.Result, error) {
	select {
	case <-k.started:
	case <-ctx.Done():
		return ctrl.Result{}, nil
	}
	object := k.object(name)
	if object == nil {
		return ctrl.Result{}, k.forget(name)
	}
	if placement.System(k.GroupResource(), name.Namespace, name.Name) {
		return ctrl.Result{}, nil
	}
	if object.GetDeletionTimestamp() != nil {
		return k.finalize(ctx, object)
	}
	e := k.entryOf(object)
	plans, again, err := k.plan(object, e)
	if err != nil {
		k.freeze(object, e, err)
		return ctrl.Result{}, nil
	}
	if !hasFinalizer(object) {
		// Where the API's admission policy does not set it, at the price of a write.
		return ctrl.Result{}, k.patchFinalizers(ctx, object, append(slices.Clone(object.GetFinalizers()), v1beta1.Finalizer))
	}
	e.follow(object, plans)
	k.dispatch(name, e)
	k.states.Add(name)
	return ctrl.Result{RequeueAfter: again}, nil
}

// follow takes a new plan of an object.
func (e *entry) follow(object *unstructured.Unstructured, plans map[string]plan) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	same := len(plans) == len(e.plans)
	for cluster, p := range plans {
		old, found := e.plans[cluster]
		as := found && old.wanted == p.wanted && old.hash == p.hash && old.orphan == p.orphan
		same = same && as
		if r := e.reports[cluster]; r.tries > 0 && !(as && old.waits == p.waits) { // what failed may go well now
			r.tries = 0
			e.reports[cluster] = r
		}
	}
	maps.DeleteFunc(e.reports, func(cluster string, _ report) bool { _, found := plans[cluster]; return !found })
	if !same {
		e.changed = time.Now()
	}
	e.planned, e.plans, e.frozen, e.problem = object.GetResourceVersion(), plans, false, ""
}

// freeze leaves the copies of an object as they are whose wishes cannot be read, and says so once.
func (k *kind) freeze(object *unstructured.Unstructured, e *entry, problem error) {
	e.mutex.Lock()
	told := e.problem == problem.Error()
	e.planned, e.frozen, e.problem = object.GetResourceVersion(), true, problem.Error()
	e.mutex.Unlock()
	if !told {
		k.recorder.Eventf(object, nil, corev1.EventTypeWarning, "PlacementFailed", "Place", "%s", "nothing is changed in any cluster: "+problem.Error())
	}
	k.states.Add(nameOf(object))
}

// dispatch sends the members to work that have some.
func (k *kind) dispatch(name types.NamespacedName, e *entry) {
	key := objectKey{k, name}
	k.syncer.mutex.RLock()
	defer k.syncer.mutex.RUnlock()
	for _, m := range k.members {
		if d := m.decide(key, e); d.work() {
			m.addAfter(key, d.after)
		}
	}
}

// forget drops what is known of an object that is gone. A copy that is still somewhere is a stray, for its member to look at.
func (k *kind) forget(name types.NamespacedName) error {
	k.mutex.Lock()
	delete(k.entries, name)
	k.mutex.Unlock()
	k.syncer.mutex.RLock()
	defer k.syncer.mutex.RUnlock()
	for _, m := range k.members {
		if m.copyOf(objectKey{k, name}) != nil {
			m.add(objectKey{k, name})
		}
	}
	return nil
}

// finalize takes an object's copies back, or orphans them, and then lets it go. A member that is away is waited for as long as ForceAfter says, and
// its copy is a stray when it comes back; one whose copy is to stay is waited for until it is back, or unjoined.
func (k *kind) finalize(ctx context.Context, object *unstructured.Unstructured) (ctrl.Result, error) {
	if !hasFinalizer(object) {
		return ctrl.Result{}, nil
	}
	name := nameOf(object)
	e := k.entryOf(object)
	e.mutex.Lock()
	e.orphan = e.orphan || object.GetAnnotations()[v1beta1.AnnotationOrphan] != "" || slices.Contains(object.GetFinalizers(), finalizerOrphan)
	orphan := e.orphan
	e.mutex.Unlock()
	if orphan && object.GetAnnotations()[v1beta1.AnnotationOrphan] == "" && !slices.Contains(object.GetFinalizers(), finalizerOrphan) {
		// This API has no admission policy that keeps it in mind, and we may be started anew before we are done.
		if err := k.merge(ctx, object, map[string]any{"metadata": map[string]any{"uid": object.GetUID(), "annotations": map[string]any{v1beta1.AnnotationOrphan: "true"}}}); err != nil {
			return ctrl.Result{}, fmt.Errorf("noting that the copies of %s %s are to be left: %w", k.Name(), name, err)
		}
	}
	fleet := k.currentFleet()
	plans := map[string]plan{}
	for _, f := range fleet {
		plans[f.name] = plan{orphan: orphan}
	}
	e.follow(object, plans)
	k.dispatch(name, e)

	left := k.held(object, e, orphan, fleet)
	if len(left) == 0 {
		err := k.patchFinalizers(ctx, object, slices.DeleteFunc(slices.Clone(object.GetFinalizers()), isFinalizer))
		return ctrl.Result{}, err
	}
	k.states.Add(name)
	return ctrl.Result{RequeueAfter: time.Second}, nil
}

// held names the clusters that still have a copy of an object that is deleted, or may have one. One that is away is given up in time, but not where the copy is to stay:
// when the cluster came back it would be a stray.
func (k *kind) held(object *unstructured.Unstructured, e *entry, orphan bool, fleet []fleetMember) []string {
	overdue := time.Since(object.GetDeletionTimestamp().Time) > k.options.ForceAfter
	recorded := recordedClusters(object)
	var left []string
	for _, f := range fleet {
		m := k.member(f.name)
		_, known := recorded[f.name]
		known = known || e.placed(f.name)
		if m == nil || !f.ready || !m.objects[k].HasSynced() {
			if known && (!overdue || orphan) && (m == nil || m.serves(k)) {
				left = append(left, f.name)
			}
			continue
		}
		if decision := m.decide(objectKey{k, nameOf(object)}, e); decision.action != settled {
			left = append(left, f.name)
		}
	}
	return left
}

// placed says that a copy was written to a cluster, though the object may not say so yet.
func (e *entry) placed(cluster string) bool {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.reports[cluster].version != ""
}

// patchFinalizers writes an object's finalizers, unless the object changed meanwhile.
func (k *kind) patchFinalizers(ctx context.Context, object *unstructured.Unstructured, finalizers []string) error {
	err := k.merge(ctx, object, map[string]any{"metadata": map[string]any{"resourceVersion": object.GetResourceVersion(), "finalizers": finalizers}})
	if err != nil {
		return fmt.Errorf("writing the finalizers of %s %s: %w", k.Name(), nameOf(object), err)
	}
	return nil
}
