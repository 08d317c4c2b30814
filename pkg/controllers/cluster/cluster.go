// Package cluster is the cluster controller: it asks every member of the
// federation how it is and writes that into the Cluster's status.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/controllers/clusterclient"
)

// Name of the controller, for --controllers.
const Name = "cluster"

// DefaultMonitorPeriod is v1's --cluster-monitor-period.
const DefaultMonitorPeriod = 40 * time.Second

const (
	// maxProbeTimeout bounds the wait for one answer, unless the monitor
	// period is shorter.
	maxProbeTimeout = 10 * time.Second
	// concurrentProbes is how many members are asked at once: so many that
	// those that do not answer never hold up the others.
	concurrentProbes = 100
	// conflictDelay is the time in which the cache hears of what conflicted.
	conflictDelay = 50 * time.Millisecond
)

// Options of the cluster controller.
type Options struct {
	// Period between two probes of a Ready member. After a failed probe the
	// next one comes within a quarter of it.
	Period time.Duration
	Thresholds
}

// Reconciler keeps the status of Clusters.
type Reconciler struct {
	client   client.Client
	members  *clusterclient.Registry
	recorder events.EventRecorder
	options  Options

	mu      sync.Mutex
	streaks map[string]*streak
}

// Add adds the controller to the manager, whose API is the federation's.
func Add(mgr ctrl.Manager, members *clusterclient.Registry, options Options) error {
	r := &Reconciler{
		client:   mgr.GetClient(),
		members:  members,
		recorder: mgr.GetEventRecorder(v1beta1.ControllerManager),
		options:  options,
		streaks:  map[string]*streak{},
	}
	// Not every event is a reason to probe: our own status writes are not. A
	// changed annotation is, so that join can ask for a look at new credentials.
	worthProbing := predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{})
	return ctrl.NewControllerManagedBy(mgr).
		Named(Name).
		For(&v1beta1.Cluster{}, builder.WithPredicates(worthProbing)).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrentProbes}).
		Complete(r)
}

// Reconcile probes one member, writes its status if that changed, and asks to
// be called again after the period.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	cluster := &v1beta1.Cluster{}
	if err := r.client.Get(ctx, request.NamespacedName, cluster); apierrors.IsNotFound(err) {
		r.forget(request.Name)
		return ctrl.Result{}, nil
	} else if err != nil {
		return ctrl.Result{}, err
	}

	began := time.Now()
	result, err := r.probe(ctx, cluster)
	if ctx.Err() != nil {
		return ctrl.Result{}, nil //nolint:nilerr // shutting down says nothing about the member
	}
	if err != nil {
		return r.soon(ctx, err)
	}
	durationMetric.WithLabelValues(cluster.Name).Observe(time.Since(began).Seconds())
	lastProbeMetric.WithLabelValues(cluster.Name).SetToCurrentTime()
	if !result.ok() {
		failuresMetric.WithLabelValues(cluster.Name, result.reason).Inc()
	}
	if result.untold != nil {
		log.FromContext(ctx).V(1).Info("the cluster does not tell its version or nodes; keeping what is known", "error", result.untold.Error())
	}

	was := readiness(cluster)
	streak, report := r.count(cluster, was, result.ok())
	if report {
		if err := r.write(ctx, cluster, result); err != nil {
			return r.soon(ctx, err)
		}
	} else {
		log.FromContext(ctx).Info("probe differs from the cluster's state; waiting for the threshold",
			"ready", was, "reason", result.reason, "message", result.message, "failures", streak.failures, "successes", streak.successes)
	}
	readyMetric.WithLabelValues(cluster.Name).Set(boolValue(readiness(cluster) == metav1.ConditionTrue))
	return ctrl.Result{RequeueAfter: r.nextProbe(readiness(cluster), streak)}, nil
}

// probe makes the member's client and asks. An error means that the host's API
// does not answer: nothing was found out.
func (r *Reconciler) probe(ctx context.Context, cluster *v1beta1.Cluster) (result, error) {
	timeout := min(maxProbeTimeout, r.options.Period)
	credentials, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	member, err := r.members.Ensure(credentials, cluster)
	var fault *clusterclient.Error
	if errors.As(err, &fault) {
		return failure(err, "", timeout), nil
	}
	if err != nil {
		return result{}, err
	}
	wantNodes := cluster.Spec.Region == "" || len(cluster.Spec.Zones) == 0
	return probe(ctx, member, timeout, wantNodes), nil
}

// write updates the cluster's status if it changed, and records an Event when
// the cluster's state did.
func (r *Reconciler) write(ctx context.Context, cluster *v1beta1.Cluster, result result) error {
	status := newStatus(cluster, result)
	if equality.Semantic.DeepEqual(cluster.Status, status) {
		return nil
	}
	before := meta.FindStatusCondition(cluster.Status.Conditions, v1beta1.ClusterReady)
	updated := cluster.DeepCopy()
	updated.Status = status
	if err := r.client.Status().Update(ctx, updated); apierrors.IsNotFound(err) {
		return nil // gone meanwhile
	} else if err != nil {
		return fmt.Errorf("writing the cluster's status: %w", err)
	}
	updated.DeepCopyInto(cluster)
	if before == nil || before.Reason != result.reason {
		kind := corev1.EventTypeWarning
		if result.ok() {
			kind = corev1.EventTypeNormal
		}
		r.recorder.Eventf(cluster, nil, kind, result.reason, "Probe", "%s", result.message)
		log.FromContext(ctx).Info("cluster changed", "phase", status.Phase, "reason", result.reason, "message", result.message)
	}
	return nil
}

// soon answers a fault that is not the member's: an API of ours that does not
// answer, a conflicting write. The work queue's own back-off would grow to a
// quarter of an hour, and members would be left alone for as long. A new Cluster
// nearly always conflicts, since others write to it too.
func (r *Reconciler) soon(ctx context.Context, err error) (ctrl.Result, error) {
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: conflictDelay}, nil
	}
	log.FromContext(ctx).Error(err, "will try again")
	return ctrl.Result{RequeueAfter: r.options.Period / 4}, nil
}

// nextProbe says when to probe again. A Ready member is given a quarter of the
// period from one failure to the next; one that is not Ready is asked sooner at
// first, since its credentials or the rights to them may just be arriving.
func (r *Reconciler) nextProbe(ready metav1.ConditionStatus, s streak) time.Duration {
	quarter := r.options.Period / 4
	switch {
	case s.failures == 0 && ready == metav1.ConditionTrue:
		return wait.Jitter(r.options.Period, 0.1)
	case ready == metav1.ConditionTrue || s.failures == 0:
		return quarter
	}
	return min(quarter, time.Second<<min(s.failures-1, 10))
}

func (r *Reconciler) count(cluster *v1beta1.Cluster, ready metav1.ConditionStatus, ok bool) (streak, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.streaks[cluster.Name]
	if s == nil || s.cluster != cluster.UID {
		s = &streak{cluster: cluster.UID}
		r.streaks[cluster.Name] = s
	}
	report := s.next(ready, ok, r.options.Thresholds)
	return *s, report
}

func (r *Reconciler) forget(name string) {
	r.mu.Lock()
	delete(r.streaks, name)
	r.mu.Unlock()
	r.members.Forget(name)
	forgetMetrics(name)
}

// readiness is the status of condition Ready, or empty without one.
func readiness(cluster *v1beta1.Cluster) metav1.ConditionStatus {
	if c := meta.FindStatusCondition(cluster.Status.Conditions, v1beta1.ClusterReady); c != nil {
		return c.Status
	}
	return ""
}

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
