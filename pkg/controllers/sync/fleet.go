package sync

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
)

// fleetMember is a Cluster as far as placement goes by it.
type fleetMember struct {
	name   string
	labels labels.Set
	// ready says that the cluster controller finds it well; if not, why says so.
	ready bool
	why   string
	// leaving is set from its deletion on: nothing more is placed there.
	leaving bool
}

// fleetReconciler follows the Clusters.
type fleetReconciler struct{ *syncer }

// addFleet adds the controller that follows the Clusters and the members' clients.
func (s *syncer) addFleet(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).Named("members").For(&v1beta1.Cluster{}).WatchesRawSource(s.registry.Changes()).Complete(&fleetReconciler{s})
}

// Reconcile starts and stops members with their clients, plans everything anew when the fleet has changed, and drains a Cluster that is deleted.
func (r *fleetReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	select {
	case <-r.started:
	case <-ctx.Done():
		return ctrl.Result{}, nil
	}
	var list v1beta1.ClusterList
	if err := r.clusters.List(ctx, &list); err != nil {
		return ctrl.Result{}, err
	}
	at := slices.IndexFunc(list.Items, func(c v1beta1.Cluster) bool { return c.Name == request.Name })
	if at < 0 || !hasFinalizer(&list.Items[at]) && list.Items[at].DeletionTimestamp != nil {
		r.stopMember(request.Name)
		forgetMetrics(request.Name)
		r.follow(list.Items)
		return ctrl.Result{}, nil
	}
	cluster := &list.Items[at]
	if cluster.DeletionTimestamp == nil && !hasFinalizer(cluster) {
		if err := r.setFinalizer(ctx, cluster, append(slices.Clone(cluster.Finalizers), v1beta1.Finalizer)); err != nil {
			return ctrl.Result{}, unlessOvertaken(err)
		}
	}
	r.keepMember(cluster.Name)
	r.follow(list.Items)
	if cluster.DeletionTimestamp != nil {
		return r.drain(ctx, cluster)
	}
	return r.tellServed(ctx, cluster)
}

// tellServed keeps the condition that says which types cannot be placed in a member, for want of a definition here or there. While it is not known, the last
// word stands.
func (r *fleetReconciler) tellServed(ctx context.Context, cluster *v1beta1.Cluster) (ctrl.Result, error) {
	m := r.member(cluster.Name)
	if m == nil || !ready(cluster) {
		return ctrl.Result{}, nil
	}
	here, there, known := m.unserved()
	condition := metav1.Condition{Type: v1beta1.ClusterTypesServed, Status: metav1.ConditionTrue, Reason: v1beta1.ReasonTypesServed,
		Message: "all federated types are served", ObservedGeneration: cluster.Generation}
	if len(here)+len(there) > 0 {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, v1beta1.ReasonTypesNotServed, unservedMessage(here, there)
	}
	if updated := cluster.DeepCopy(); known && meta.SetStatusCondition(&updated.Status.Conditions, condition) {
		if err := unlessOvertaken(r.clusters.Status().Update(ctx, updated)); err != nil {
			return ctrl.Result{}, fmt.Errorf("writing condition %s of cluster %s: %w", condition.Type, cluster.Name, err)
		}
	}
	if !known || condition.Status == metav1.ConditionFalse {
		return ctrl.Result{RequeueAfter: time.Second}, nil
	}
	return ctrl.Result{}, nil
}

// unserved names the federated types that the federation's API does not serve, and those that the member's does not, as far as that is known.
func (m *member) unserved() (here, there []string, known bool) {
	known = true
	for k, w := range m.objects {
		switch name := k.GroupVersionResource.GroupVersion().String() + "/" + k.Resource; {
		case !k.objects.Served():
			here = append(here, name)
		case !m.serves(k):
			there = append(there, name)
		case !k.objects.HasSynced() || !w.HasSynced():
			known = false
		}
	}
	slices.Sort(here)
	slices.Sort(there)
	return here, there, known
}

func unservedMessage(here, there []string) string {
	var parts []string
	if len(here) > 0 {
		parts = append(parts, "the federation's API does not serve "+strings.Join(here, ", "))
	}
	if len(there) > 0 {
		parts = append(parts, "the cluster does not serve "+strings.Join(there, ", "))
	}
	return strings.Join(parts, ", and ") + ": define it there, or do not federate it (values controllerManager.federatedTypes and controllerManager.argOverrides.controllers)"
}

// drain takes the copies out of a member that leaves with policy Delete, and then lets the Cluster go. One that cannot be reached is let go at once:
// unjoin says what was left.
func (r *fleetReconciler) drain(ctx context.Context, cluster *v1beta1.Cluster) (ctrl.Result, error) {
	if cluster.Spec.UnjoinPolicy == v1beta1.UnjoinPolicyDelete && ready(cluster) {
		if m := r.member(cluster.Name); m == nil && time.Since(r.since) < settleTime || m != nil && m.takeBack() > 0 {
			return ctrl.Result{RequeueAfter: time.Second}, nil
		}
	}
	return ctrl.Result{}, unlessOvertaken(r.setFinalizer(ctx, cluster, slices.DeleteFunc(slices.Clone(cluster.Finalizers), isFinalizer)))
}

// unlessOvertaken passes over an error of a write to what has changed, is another or is gone meanwhile: that comes by itself.
func unlessOvertaken(err error) error {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (r *fleetReconciler) setFinalizer(ctx context.Context, cluster *v1beta1.Cluster, finalizers []string) error {
	updated := cluster.DeepCopy()
	updated.Finalizers = finalizers
	return r.clusters.Patch(ctx, updated, client.MergeFromWithOptions(cluster, client.MergeFromWithOptimisticLock{}))
}

func isFinalizer(name string) bool { return name == v1beta1.Finalizer }
func hasFinalizer(object metav1.Object) bool {
	return slices.ContainsFunc(object.GetFinalizers(), isFinalizer)
}
func ready(cluster *v1beta1.Cluster) bool {
	return meta.IsStatusConditionTrue(cluster.Status.Conditions, v1beta1.ClusterReady)
}

// follow keeps what placement goes by, and plans everything anew if that changed.
func (s *syncer) follow(list []v1beta1.Cluster) {
	fleet := make([]fleetMember, 0, len(list))
	for i := range list {
		c := &list[i]
		f := fleetMember{name: c.Name, labels: c.Labels, ready: ready(c), leaving: c.DeletionTimestamp != nil}
		if condition := meta.FindStatusCondition(c.Status.Conditions, v1beta1.ClusterReady); !f.ready && condition != nil {
			f.why = condition.Message
		}
		fleet = append(fleet, f)
	}
	slices.SortFunc(fleet, func(a, b fleetMember) int { return cmp.Compare(a.name, b.name) })
	s.mutex.Lock()
	same := slices.EqualFunc(s.fleet, fleet, func(a, b fleetMember) bool {
		return a.name == b.name && a.ready == b.ready && a.why == b.why && a.leaving == b.leaving && maps.Equal(a.labels, b.labels)
	})
	s.fleet = fleet
	s.mutex.Unlock()
	if !same {
		for _, k := range s.kinds {
			k.planAll()
		}
	}
}

// keepMember starts the member, anew if its client is another one; without a client it is stopped.
func (s *syncer) keepMember(name string) {
	current := s.registry.Get(name)
	if m := s.member(name); m != nil {
		if m.client == current {
			return
		}
		s.stopMember(name)
	}
	if current == nil {
		return
	}
	m, err := s.startMember(current)
	if err != nil {
		s.log.Error(err, "cannot work on the member", "cluster", name)
		return
	}
	s.mutex.Lock()
	s.members[name] = m
	s.mutex.Unlock()
	m.run()
}

// stopMember stops the member and forgets what came of its work: under its name another cluster may come, to whose resource versions they say nothing.
func (s *syncer) stopMember(name string) {
	s.mutex.Lock()
	m := s.members[name]
	delete(s.members, name)
	s.mutex.Unlock()
	if m == nil {
		return
	}
	m.end()
	for _, k := range s.kinds {
		for _, e := range k.allEntries() {
			e.forgetReport(name)
		}
	}
}
