// Package clusterdns is the controller that keeps the members' own DNS up to date after join: it follows the federation's zone and nameservers and the member's
// topology, and repairs what somebody changed or took out of what is ours. What lies outside of that is never touched.
//
// Where a member's DNS is configured and what it is told is package memberdns's knowledge. There is no watch: each member's configuration, and the control plane's
// ConfigMaps in the host cluster, are read once in a monitor period.
package clusterdns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/controllers/clusterclient"
	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/memberdns"
)

// Name of the controller, for --controllers.
const Name = "cluster-dns"

const (
	// passTimeout bounds one pass over a member, with a trial of its CoreDNS.
	passTimeout = 2 * time.Minute
	// concurrentPasses is how many members are worked on at once: so many that those that do not answer never hold up the others.
	concurrentPasses = 100
	// longestPause is between two tries of a write that the member's API refuses.
	longestPause = 10 * time.Minute
)

// errLeft says that the Cluster is not what it was when the pass began: it goes, or join has other plans for its DNS.
var errLeft = errors.New("the Cluster has changed meanwhile")

// Options of the controller.
type Options struct {
	// Federation is its name.
	Federation string
	// ConfigMaps reads the control plane's, in its namespace of the host cluster.
	ConfigMaps ConfigMapGetter
	// Period between two looks at a member's DNS.
	Period time.Duration
}

// members gives the members' clients: a *clusterclient.Registry does.
type members interface {
	Get(name string) *clusterclient.Member
}

// Reconciler keeps the members' DNS.
type Reconciler struct {
	client client.Client
	// reader asks the federation's API itself.
	reader   client.Reader
	members  members
	facts    *factsReader
	recorder events.EventRecorder
	period   time.Duration

	mutex    sync.Mutex
	memories map[string]*memory
}

// memory is what is kept of a Cluster from pass to pass. A restart may lose it.
type memory struct {
	cluster types.UID
	trials  memberdns.Trials
	// refusals counts the writes in a row that the member's API refused.
	refusals int
}

// Add adds the controller to the manager, whose API is the federation's.
func Add(mgr ctrl.Manager, members *clusterclient.Registry, options Options) error {
	r := newReconciler(mgr.GetClient(), mgr.GetAPIReader(), members, mgr.GetEventRecorder(v1beta1.ControllerManager), options)
	return ctrl.NewControllerManagedBy(mgr).
		Named(Name).
		For(&v1beta1.Cluster{}, builder.WithPredicates(predicate.Funcs{UpdateFunc: worthALook})).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrentPasses}).
		Complete(r)
}

func newReconciler(c client.Client, reader client.Reader, members members, recorder events.EventRecorder, options Options) *Reconciler {
	return &Reconciler{
		client: c, reader: reader, members: members, recorder: recorder, period: options.Period,
		facts:    &factsReader{configMaps: options.ConfigMaps, federation: options.Federation},
		memories: map[string]*memory{},
	}
}

// worthALook passes what a member's DNS depends on; our own writes are not among it.
func worthALook(e event.UpdateEvent) bool {
	before, now := e.ObjectOld.(*v1beta1.Cluster), e.ObjectNew.(*v1beta1.Cluster)
	return before.Generation != now.Generation || ready(before) != ready(now) ||
		before.Status.Region != now.Status.Region || !slices.Equal(before.Status.Zones, now.Status.Zones)
}

// ready says whether the cluster controller finds the member well, and its status is of the present spec: the topology is part of both.
func ready(cluster *v1beta1.Cluster) bool {
	c := meta.FindStatusCondition(cluster.Status.Conditions, v1beta1.ClusterReady)
	return c != nil && c.Status == metav1.ConditionTrue && c.ObservedGeneration >= cluster.Generation
}

// Reconcile looks at one member's DNS, sets it right, and asks to be called again after the period. A member that leaves is unjoin's.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	cluster := &v1beta1.Cluster{}
	if err := r.client.Get(ctx, request.NamespacedName, cluster); apierrors.IsNotFound(err) {
		r.forget(request.Name)
		return ctrl.Result{}, nil
	} else if err != nil {
		return ctrl.Result{}, err
	}
	if cluster.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	if cluster.Spec.ClusterDNS == nil {
		return r.write(ctx, cluster, outcome{}, 0) // a join that has not come so far, or has failed: nobody knows what the member's DNS is set to
	}
	if cluster.Spec.ClusterDNS.Mode == v1beta1.ClusterDNSNone {
		return r.write(ctx, cluster, outcome{status: &v1beta1.ClusterDNSStatus{Mode: v1beta1.ClusterDNSNone}}, 0)
	}
	if !ready(cluster) {
		return ctrl.Result{}, nil // its change calls us
	}
	member := r.members.Get(cluster.Name)
	if member == nil {
		return ctrl.Result{RequeueAfter: r.period / 4}, nil
	}
	facts, known := r.facts.read(ctx)
	if !known {
		return ctrl.Result{RequeueAfter: r.period}, nil
	}

	m := r.memory(cluster)
	o, err := r.ensure(ctx, cluster, member, facts, m)
	switch {
	case ctx.Err() != nil, errors.Is(err, errLeft):
		return ctrl.Result{}, nil //nolint:nilerr // shutting down, or called again for what has changed
	case apierrors.IsConflict(err):
		return ctrl.Result{RequeueAfter: min(time.Second, r.period)}, nil
	case err != nil:
		log.FromContext(ctx).Info("cannot look at the cluster's DNS; will try again", "reason", err.Error())
		return ctrl.Result{RequeueAfter: r.period}, nil
	}
	again := wait.Jitter(r.period, 0.1)
	if m.refusals > 0 {
		again = max(r.period, min(longestPause, r.period<<min(m.refusals-1, 16)))
	}
	return r.write(ctx, cluster, o, again)
}

// outcome of a pass.
type outcome struct {
	// changed says that something was written in the member.
	changed bool
	// status is what the member's DNS is set to now; nil for what it was.
	status *v1beta1.ClusterDNSStatus
	// condition is DNSConfigured; nil takes it away.
	condition *metav1.Condition
}

// ensure makes the member's DNS know the federation. An error means that nothing was found out about whether it can.
func (r *Reconciler) ensure(ctx context.Context, cluster *v1beta1.Cluster, member *clusterclient.Member, facts memberdns.Facts, m *memory) (outcome, error) {
	api, err := kube.Share(member.Config, member.HTTPClient.Transport)
	if err != nil {
		return outcome{}, err
	}
	logger := log.FromContext(ctx)
	spec, role := cluster.Spec.ClusterDNS, v1beta1.MemberRole(cluster.Name, facts.Name)
	dns := memberdns.Member{
		API: api, Federation: facts.For(cluster, spec.ClusterDomain), Template: spec.Template, Owner: role, Trials: &m.trials,
		Gate: func(ctx context.Context) error { return r.still(ctx, cluster) }, Log: slog.New(logr.ToSlogHandler(logger)),
	}
	ctx, cancel := context.WithTimeout(ctx, passTimeout)
	defer cancel()
	var changed bool
	if err = dns.Check(ctx, spec.Mode); err == nil {
		changed, err = dns.Ensure(ctx, spec.Mode)
	}
	if changed {
		logger.Info("changed the cluster's DNS", "mode", spec.Mode, "nearest", dns.Federation.Nearest(), "nameservers", dns.Federation.Nameservers)
	}

	condition := &metav1.Condition{Type: v1beta1.ClusterDNSConfigured, Status: metav1.ConditionFalse, ObservedGeneration: cluster.Generation}
	var fault memberdns.Fault
	m.refusals++
	switch {
	case err == nil:
		m.refusals = 0
		condition.Status, condition.Reason, condition.Message = metav1.ConditionTrue, v1beta1.ReasonDNSConfigured, described(dns, facts)
		return outcome{changed: changed, status: dns.Status(spec.Mode), condition: condition}, nil
	case errors.As(err, &fault):
		m.refusals = 0 // nothing was written
		condition.Reason, condition.Message = fault.Reason, fault.Error()
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		condition.Reason = v1beta1.ReasonDNSForbidden
		condition.Message = fmt.Sprintf("%v: see what forbids it there to the federation's account (a policy, a webhook, a changed ClusterRole %s), or set clusterDNS.mode=none", err, role)
	default:
		m.refusals = 0
		return outcome{}, err
	}
	return outcome{changed: changed, condition: condition}, nil
}

// described says what the member's DNS knows.
func described(dns memberdns.Member, facts memberdns.Facts) string {
	text := "the cluster's DNS falls back to " + dns.Federation.Nearest()
	switch {
	case len(dns.Federation.Nameservers) > 0:
		text += " and asks " + strings.Join(dns.Federation.Nameservers, ", ")
	case facts.Late:
		text += "; the federation's nameservers are not known, and may come"
	}
	return text
}

// still asks the federation's API whether the Cluster is what it was: a member that leaves is not written to.
func (r *Reconciler) still(ctx context.Context, cluster *v1beta1.Cluster) error {
	current := &v1beta1.Cluster{}
	err := r.reader.Get(ctx, client.ObjectKeyFromObject(cluster), current)
	if apierrors.IsNotFound(err) {
		return errLeft
	}
	if err != nil {
		return fmt.Errorf("look whether Cluster %s is still there: %w", cluster.Name, unclassified{err})
	}
	if current.UID != cluster.UID || current.DeletionTimestamp != nil || !equality.Semantic.DeepEqual(current.Spec.ClusterDNS, cluster.Spec.ClusterDNS) {
		return errLeft
	}
	return nil
}

// unclassified is an answer of the federation's API, which is not to be taken for one of the member's.
type unclassified struct{ err error }

func (u unclassified) Error() string { return u.err.Error() }

// write updates the Cluster's status if it changed, and records Events.
func (r *Reconciler) write(ctx context.Context, cluster *v1beta1.Cluster, o outcome, again time.Duration) (ctrl.Result, error) {
	before := meta.FindStatusCondition(cluster.Status.Conditions, v1beta1.ClusterDNSConfigured)
	updated := cluster.DeepCopy()
	if o.status != nil {
		updated.Status.ClusterDNS = o.status
	}
	if o.condition == nil {
		meta.RemoveStatusCondition(&updated.Status.Conditions, v1beta1.ClusterDNSConfigured)
	} else {
		meta.SetStatusCondition(&updated.Status.Conditions, *o.condition)
	}
	if !equality.Semantic.DeepEqual(cluster.Status, updated.Status) {
		err := r.client.Status().Update(ctx, updated)
		switch {
		case apierrors.IsConflict(err):
			return ctrl.Result{RequeueAfter: min(time.Second, r.period)}, nil
		case apierrors.IsNotFound(err):
			return ctrl.Result{}, nil
		case err != nil:
			return ctrl.Result{}, fmt.Errorf("write what the DNS of cluster %s is set to: %w", cluster.Name, err)
		}
	}
	r.tell(cluster, before, o)
	return ctrl.Result{RequeueAfter: again}, nil
}

// tell records an Event for a change in the member, and one for what keeps us from it, once.
func (r *Reconciler) tell(cluster *v1beta1.Cluster, before *metav1.Condition, o outcome) {
	c := o.condition
	switch {
	case c == nil:
		forgetMetrics(cluster.Name)
		return
	case c.Status == metav1.ConditionTrue && (o.changed || before == nil || before.Status != c.Status):
		r.recorder.Eventf(cluster, nil, corev1.EventTypeNormal, c.Reason, "ConfigureDNS", "%s", c.Message)
	case c.Status == metav1.ConditionFalse && (before == nil || before.Reason != c.Reason || before.Message != c.Message):
		r.recorder.Eventf(cluster, nil, corev1.EventTypeWarning, c.Reason, "ConfigureDNS", "%s", c.Message)
	}
	configured := 0.0
	if c.Status == metav1.ConditionTrue {
		configured = 1
	}
	configuredMetric.WithLabelValues(cluster.Name).Set(configured)
	if o.changed {
		changesMetric.WithLabelValues(cluster.Name).Inc()
	}
}

func (r *Reconciler) memory(cluster *v1beta1.Cluster) *memory {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	m := r.memories[cluster.Name]
	if m == nil || m.cluster != cluster.UID {
		m = &memory{cluster: cluster.UID}
		r.memories[cluster.Name] = m
	}
	return m
}

func (r *Reconciler) forget(name string) {
	r.mutex.Lock()
	delete(r.memories, name)
	r.mutex.Unlock()
	forgetMetrics(name)
}
