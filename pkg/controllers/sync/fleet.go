package sync

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

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
	clients := source.TypedFunc[reconcile.Request](func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		s.registry.Subscribe(func(name string) { queue.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: name}}) })
		return nil
	})
	return ctrl.NewControllerManagedBy(mgr).Named("members").For(&v1beta1.Cluster{}).WatchesRawSource(clients).Complete(&fleetReconciler{s})
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
			return ctrl.Result{}, err
		}
	}
	r.keepMember(cluster.Name)
	r.follow(list.Items)
	if cluster.DeletionTimestamp != nil {
		return r.drain(ctx, cluster)
	}
	return ctrl.Result{}, nil
}

// drain takes the copies out of a member that leaves with policy Delete, and then lets the Cluster go. One that cannot be reached is let go at once:
// unjoin says what was left.
func (r *fleetReconciler) drain(ctx context.Context, cluster *v1beta1.Cluster) (ctrl.Result, error) {
	if cluster.Spec.UnjoinPolicy == v1beta1.UnjoinPolicyDelete && ready(cluster) {
		if m := r.member(cluster.Name); m == nil && time.Since(r.since) < settleTime || m != nil && m.takeBack() > 0 {
			return ctrl.Result{RequeueAfter: time.Second}, nil
		}
	}
	return ctrl.Result{}, client.IgnoreNotFound(r.setFinalizer(ctx, cluster, slices.DeleteFunc(slices.Clone(cluster.Finalizers), isFinalizer)))
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
