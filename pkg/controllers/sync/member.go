package sync

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/controllers/clusterclient"
	"github.com/fedhelm/fedhelm/pkg/controllers/incarnation"
	"github.com/fedhelm/fedhelm/pkg/controllers/watch"
	"github.com/fedhelm/fedhelm/pkg/federatedtypes"
)

// member is the controller of the copies in one member cluster.
type member struct {
	*syncer
	name    string
	client  *clusterclient.Member
	api     *api
	objects map[*kind]*watch.Objects
	// run starts it, end ends it and waits until it has.
	run, end func()
	queue    atomic.Pointer[workqueue.TypedRateLimitingInterface[objectKey]]
	since    time.Time
	// draining takes everything of ours out.
	draining atomic.Bool
}

// startMember makes a member's controller, which run starts.
func (s *syncer) startMember(of *clusterclient.Member) (*member, error) {
	counted := *of.HTTPClient
	counted.Transport = counting{next: of.HTTPClient.Transport, cluster: of.Name}
	api, err := newAPI(of.Config, &counted)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(s.context)
	m := &member{syncer: s, name: of.Name, client: of, api: api, objects: map[*kind]*watch.Objects{}, since: time.Now()}
	selector := v1beta1.LabelFederated + "=" + s.options.FederationName
	for _, k := range s.kinds {
		source := watch.Metadata(api.metadata, k.GroupVersionResource)
		if k.ReadsCopies() {
			source = watch.Whole(api.dynamic, k.GroupVersionResource)
		}
		m.objects[k] = watch.New(source, selector, toCopy(k.Type, s.manager()), func(name types.NamespacedName, object any) {
			if c, ok := object.(*memberCopy); ok {
				m.changed(objectKey{k, name}, c)
			}
		}, nil)
	}
	shared := true // one name, and so the same metrics, for all: a name's metrics stay when its member is gone
	c, err := controller.NewTypedUnmanaged("copies", controller.TypedOptions[objectKey]{
		Reconciler: m, MaxConcurrentReconciles: s.options.Concurrency, RateLimiter: rateLimiter[objectKey](), SkipNameValidation: &shared,
		Logger: s.log.WithValues("cluster", of.Name),
	})
	if err != nil {
		stop()
		return nil, err
	}
	err = c.Watch(source.TypedFunc[objectKey](func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[objectKey]) error {
		m.queue.Store(&queue)
		for k, w := range m.objects {
			go w.RunWithContext(ctx)
			go func() {
				if cache.WaitForCacheSync(ctx.Done(), w.HasSynced) {
					k.planAll()
				}
			}()
		}
		return nil
	}))
	if err != nil {
		stop()
		return nil, err
	}
	ended := make(chan struct{})
	m.run = func() {
		go func() {
			defer close(ended)
			if err := c.Start(ctx); err != nil {
				s.log.Error(err, "the member's controller ended", "cluster", m.name)
			}
		}()
	}
	m.end = func() { stop(); <-ended }
	return m, nil
}

func (m *member) add(key objectKey) { m.addAfter(key, 0) }

func (m *member) addAfter(key objectKey, delay time.Duration) {
	if queue := m.queue.Load(); queue != nil {
		(*queue).AddAfter(key, delay)
	}
}

// changed looks at a copy that came, changed or went.
func (m *member) changed(key objectKey, c *memberCopy) {
	e := key.kind.known(key.NamespacedName)
	if e == nil {
		m.add(key) // a stray, or not planned yet
		return
	}
	decision := m.decide(key, e)
	if decision.work() || decision.failed || key.kind.Spread == federatedtypes.SpreadReplicas && c.ready < c.amount {
		m.addAfter(key, decision.after)
	}
	if key.kind.HasStatus() {
		key.kind.addAfter(key.NamespacedName, statusDelay)
	} else if decision.action != settled || !decision.wanted {
		key.kind.add(key.NamespacedName)
	}
	if key.kind.IsNamespace() {
		m.addContents(key.Name)
	}
}

// addContents looks at all objects of a namespace, which have waited for it.
func (m *member) addContents(namespace string) {
	for _, k := range m.kinds {
		objects, _ := k.objects.GetIndexer().ByIndex(cache.NamespaceIndex, namespace)
		for _, object := range objects {
			m.add(objectKey{k, nameOf(object)})
		}
	}
}

// knows says whether the member's copies of a kind are known, or never will be: the member does not serve the kind, or does not tell for long.
func (m *member) knows(k *kind) bool {
	w := m.objects[k]
	return w.HasSynced() || !m.serves(k) || time.Since(m.since) > settleTime
}

func (m *member) serves(k *kind) bool { return m.objects[k].Served() }

// copyOf is the member's copy as the watch tells, nil if there is none.
func (m *member) copyOf(key objectKey) *memberCopy {
	c, _ := m.objects[key.kind].Get(key.NamespacedName).(*memberCopy)
	return c
}

// latest is the member's copy as the watch tells or, where that is not as far yet, as our last apply left it. It is not behind for long: a member that
// lost its data, or was set back to a backup, counts from a lower resource version.
func (m *member) latest(key objectKey, r report) *memberCopy {
	c := m.copyOf(key)
	if c != nil && c.UID == r.gone {
		return nil
	}
	if r.version == "" || time.Since(r.appliedAt) > settleTime {
		return c
	}
	seen := m.objects[key.kind].LastSyncResourceVersion()
	if c != nil {
		seen = c.ResourceVersion
	}
	if order, err := resourceversion.CompareResourceVersion(seen, r.version); err == nil && order < 0 {
		return &memberCopy{ObjectMeta: metav1.ObjectMeta{UID: r.uid}, applied: r.applied, owned: r.owned}
	}
	return c
}

// action is what there is to do about a copy.
type action int

const (
	settled action = iota // nothing
	wait                  // nothing now
	apply                 // write it
	take                  // delete it
	release               // leave it without our mark
)

type decision struct {
	action
	wanted bool
	// why it waits.
	why string
	// after is the time to let pass first: it has failed before, or somebody else keeps changing what we apply.
	after time.Duration
	copy  *memberCopy
	// failed says that the last work failed, or seemed to: its answer may have been lost.
	failed bool
}

func (d decision) work() bool { return d.action > wait }

// decide says what there is to do about the copy of an object, and when, going by what is planned and what is known. It asks nobody.
func (m *member) decide(key objectKey, e *entry) decision {
	e.mutex.Lock()
	p, planned := e.plans[m.name]
	r, frozen := e.reports[m.name], e.frozen
	e.mutex.Unlock()
	d := m.judge(key, p, planned && !frozen, r)
	d.failed = r.problem != ""
	if d.work() {
		d.after = max(d.after, r.retryDelay())
	}
	return d
}

// judge is decide without the time that passes between two tries.
func (m *member) judge(key objectKey, p plan, planned bool, r report) decision {
	c := m.latest(key, r)
	d := decision{wanted: p.wanted, copy: c}
	switch {
	case m.draining.Load():
		d.wanted = false
		p = plan{}
	case !planned:
		return d
	case p.waits != "":
		d.action, d.why = wait, p.waits
		return d
	}
	if w := m.objects[key.kind]; !w.HasSynced() {
		d.action, d.why = wait, "what is in the cluster is being read"
		if err := w.Failed(); err != nil {
			d.why = fmt.Sprintf("cannot list %s: %s", key.kind.Name(), explain(err))
		}
		if !m.serves(key.kind) {
			d.why = fmt.Sprintf("the cluster does not serve %s", key.kind.GroupVersionResource.GroupVersion().WithResource(key.kind.Resource).String())
			if !p.wanted {
				d.action = settled
			}
		}
		return d
	}
	if !p.wanted {
		switch {
		case c == nil:
		case c.DeletionTimestamp != nil:
			d.action, d.why = wait, "it is being deleted"
		case p.orphan:
			d.action = release
		default:
			d.action = take
		}
		return d
	}
	switch {
	case c == nil:
		d.action, d.after = apply, r.healDelay()
		if d.why = m.lacksNamespace(key); d.why != "" {
			d.action = wait
		}
	case c.DeletionTimestamp != nil:
		d.action, d.why = wait, "it is being deleted, and comes again then"
	case c.applied != p.hash:
		d.action = apply
	case r.version == "" && !c.changedAt.Before(c.ownedAt): // after a restart of ours nobody knows whether that was a field of ours
		d.action = apply
	case r.version != "" && r.applied == c.applied && r.owned != c.owned:
		d.action, d.after = apply, r.healDelay()
	}
	return d
}

// lacksNamespace says why an object cannot be made: its namespace is to be placed here, and is not there yet.
func (m *member) lacksNamespace(key objectKey) string {
	namespaces := m.kinds[schema.GroupResource{Resource: "namespaces"}]
	if key.Namespace == "" || namespaces == nil {
		return ""
	}
	name := types.NamespacedName{Name: key.Namespace}
	e := namespaces.known(name)
	if e == nil {
		return ""
	}
	e.mutex.Lock()
	p, r := e.plans[m.name], e.reports[m.name]
	e.mutex.Unlock()
	if c := m.latest(objectKey{namespaces, name}, r); p.wanted && (c == nil || c.DeletionTimestamp != nil) {
		return fmt.Sprintf("namespace %s is not there yet", key.Namespace)
	}
	return ""
}

// healDelay grows while somebody keeps changing or deleting what we apply.
func (r report) healDelay() time.Duration {
	if r.heals < 3 || time.Since(r.healedAt) > 2*time.Minute {
		return 0
	}
	return max(0, min(time.Minute, time.Second<<min(r.heals-3, 6))-time.Since(r.healedAt))
}

// retryDelay grows while the same work fails, or is not seen to be done. Whoever sends a member to work keeps to it, so that neither an object's nor its
// copies' changes make a member hear more often what it has refused.
func (r report) retryDelay() time.Duration {
	if r.tries == 0 {
		return 0
	}
	return max(0, min(time.Minute, 100*time.Millisecond<<min(r.tries-1, 10))-time.Since(r.triedAt))
}

// Reconcile does what there is to do about the copy of one object.
func (m *member) Reconcile(ctx context.Context, key objectKey) (ctrl.Result, error) {
	e := key.kind.known(key.NamespacedName)
	if e == nil {
		return m.sweep(ctx, key)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	d := m.decide(key, e)
	if d.after > 0 {
		return ctrl.Result{RequeueAfter: d.after}, nil
	}
	var err error
	switch d.action {
	case apply:
		err = m.apply(ctx, key, e, d.copy)
	case take:
		var gone bool
		if gone, err = m.take(ctx, key, d.copy); gone {
			m.noteGone(e, d.copy)
		} else if err == nil {
			m.note(e, func(r *report) { r.applied = "" }) // when it comes again, that is nobody's doing but ours
		}
	case release:
		if err = m.release(ctx, key); err == nil {
			m.noteGone(e, d.copy)
		}
	default:
		if d.action == settled && d.failed {
			m.overcome(e)
			key.kind.add(key.NamespacedName)
		}
		return m.lookForPods(ctx, key, e, d)
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctrl.Result{}, nil // stopping says nothing about the member
	}
	m.tell(key, e, d, err)
	if d.action == apply {
		key.kind.states.Add(key.NamespacedName)
	} else {
		key.kind.add(key.NamespacedName) // which may be the last that its deletion waits for
	}
	return ctrl.Result{}, err
}

// note changes what is known of the last work on an object here.
func (m *member) note(e *entry, change func(*report)) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	r := e.reports[m.name]
	change(&r)
	e.reports[m.name] = r
}

// overcome notes that a copy is as planned though the last work on it failed: the answer was lost, and what it said of the copy is as little known as after
// a restart.
func (m *member) overcome(e *entry) {
	m.note(e, func(r *report) { r.problem, r.tries, r.applied, r.owned, r.version = "", 0, "", 0, "" })
}

// noteGone keeps in mind that a copy is gone or released. A watch that fails, or that ended with a custom resource's definition, would not tell.
func (m *member) noteGone(e *entry, c *memberCopy) {
	m.note(e, func(r *report) { r.gone, r.applied, r.version = c.UID, "", "" })
}

// sweep deletes a stray: a copy whose object is gone from the federation that placed it. Both are asked of the APIs, not of the watches, which may be behind: the
// federation may have lost its data, and then nobody knows what is a stray, and the copy may have been released a moment ago.
func (m *member) sweep(ctx context.Context, key objectKey) (ctrl.Result, error) {
	c := m.copyOf(key)
	if c == nil || c.DeletionTimestamp != nil || c.source != string(m.uid) || !key.kind.objects.HasSynced() || key.kind.object(key.NamespacedName) != nil {
		if c != nil && !key.kind.objects.HasSynced() {
			return ctrl.Result{RequeueAfter: time.Second}, nil
		}
		return ctrl.Result{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := m.federation.metadataOf(key.kind.Type, key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return ctrl.Result{}, err
	}
	if uid, err := incarnation.Of(ctx, m.reader); err != nil || uid != m.uid { // another one's strays are not ours to find; we are started anew soon
		return ctrl.Result{}, err
	}
	there, err := m.api.metadataOf(key.kind.Type, key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
	if err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if there.GetUID() != c.UID || there.GetLabels()[v1beta1.LabelFederated] != m.options.FederationName || there.GetAnnotations()[v1beta1.AnnotationSource] != string(m.uid) {
		return ctrl.Result{}, nil // the watch tells
	}
	m.log.Info("deleting a stray: its object is gone from the federation", "cluster", m.name, "object", key.String())
	_, err = m.take(ctx, key, c)
	return ctrl.Result{}, err
}

// take deletes a copy, with what it owns, and says whether it was gone already.
func (m *member) take(ctx context.Context, key objectKey, c *memberCopy) (gone bool, err error) {
	background := metav1.DeletePropagationBackground
	options := metav1.DeleteOptions{PropagationPolicy: &background, Preconditions: metav1.NewUIDPreconditions(string(c.UID))}
	err = m.api.metadataOf(key.kind.Type, key.Namespace).Delete(ctx, key.Name, options)
	switch {
	case apierrors.IsNotFound(err):
		return true, nil
	case apierrors.IsConflict(err): // another has its name, or it is a namespace that is being emptied: the watch tells
		return false, nil
	}
	return false, err
}

// release takes our mark off a copy, which then is the member's own.
func (m *member) release(ctx context.Context, key objectKey) error {
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:null,%q:null},"annotations":{%q:null,%q:null}}}`,
		v1beta1.LabelFederated, v1beta1.MarkApplied, v1beta1.MarkApplied, v1beta1.AnnotationSource)
	_, err := m.api.metadataOf(key.kind.Type, key.Namespace).Patch(ctx, key.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: m.manager()})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// takeBack deletes everything that the federation placed here, and says how much is left, as far as it is known: what is still being read, or was being
// written when it began, counts too.
func (m *member) takeBack() int {
	left := 0
	if !m.draining.Swap(true) {
		left++
	}
	for k, w := range m.objects {
		if !m.knows(k) {
			left++
		}
		for _, object := range w.GetStore().List() {
			left++
			key := objectKey{k, nameOf(object)}
			k.entry(key.NamespacedName)
			m.add(key)
		}
	}
	return left
}

// tell records in Events and metrics what came of work on a copy. Events have v1's reasons; failures are told once each, successes while there are few.
func (m *member) tell(key objectKey, e *entry, d decision, err error) {
	reason, done := "DeleteInCluster", "deleted"
	switch {
	case d.action == release:
		reason, done = "OrphanInCluster", "left"
	case d.action == apply && d.copy == nil:
		reason, done = "CreateInCluster", "created"
	case d.action == apply:
		reason, done = "UpdateInCluster", "updated"
	}
	var before string
	var since time.Time
	m.note(e, func(r *report) {
		before = r.problem
		if r.problem = ""; err != nil {
			r.problem = explain(err)
		}
		if r.tries++; err == nil && d.action == apply { // what the member then has is known, of the others only the watch tells
			r.tries = 0
		}
		r.triedAt = time.Now()
		since = e.changed
	})
	object := key.kind.object(key.NamespacedName)
	switch {
	case err != nil:
		failuresMetric.WithLabelValues(m.name, key.kind.Name(), string(apierrors.ReasonForError(err))).Inc()
		if object != nil && before != explain(err) {
			m.recorder.Eventf(object, nil, corev1.EventTypeWarning, reason+"Failed", reason, "not %s in cluster %s: %s", done, m.name, explain(err))
		}
	default:
		if d.action == apply && !since.IsZero() {
			latencyMetric.WithLabelValues(key.kind.Name()).Observe(time.Since(since).Seconds())
		}
		if object != nil && m.courtesy.Allow() {
			m.recorder.Eventf(object, nil, corev1.EventTypeNormal, reason, reason, "%s in cluster %s", done, m.name)
		}
	}
}

// lookForPods finds out, of a copy that has lacked ready replicas for long, how many of its pods no node takes.
func (m *member) lookForPods(ctx context.Context, key objectKey, e *entry, d decision) (ctrl.Result, error) {
	if key.kind.Spread != federatedtypes.SpreadReplicas || d.action != settled || !d.wanted || d.copy == nil {
		return ctrl.Result{}, nil
	}
	var short time.Duration
	var before int64
	m.note(e, func(r *report) {
		before = r.unschedulable
		switch {
		case d.copy.ready >= d.copy.amount:
			r.shortSince, r.unschedulable = time.Time{}, 0
		case r.shortSince.IsZero():
			r.shortSince = time.Now()
		default:
			short = time.Since(r.shortSince)
		}
	})
	if d.copy.ready >= d.copy.amount {
		if before != 0 {
			key.kind.add(key.NamespacedName)
		}
		return ctrl.Result{}, nil
	}
	if left := m.options.UnschedulableAfter - short; left > 0 {
		return ctrl.Result{RequeueAfter: left}, nil
	}
	count, err := m.unschedulable(ctx, key)
	if err != nil {
		return ctrl.Result{}, err
	}
	m.note(e, func(r *report) { r.unschedulable = count })
	if count != before {
		key.kind.add(key.NamespacedName)
	}
	return ctrl.Result{RequeueAfter: m.options.UnschedulableAfter / 2}, nil
}

func (m *member) unschedulable(ctx context.Context, key objectKey) (int64, error) {
	object := key.kind.object(key.NamespacedName)
	if object == nil {
		return 0, nil
	}
	text, _, _ := unstructured.NestedMap(object.Object, "spec", "selector")
	selector, err := toSelector(text)
	if err != nil {
		return 0, nil //nolint:nilerr // the member has refused it already
	}
	list, err := m.api.dynamic.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(key.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return 0, err
	}
	var count int64
	for _, pod := range list.Items {
		conditions, _, _ := unstructured.NestedSlice(pod.Object, "status", "conditions")
		if pod.GetDeletionTimestamp() == nil && slices.ContainsFunc(conditions, func(c any) bool { return m.longUnschedulable(c) }) {
			count++
		}
	}
	return count, nil
}

func (m *member) longUnschedulable(condition any) bool {
	of, _ := condition.(map[string]any)
	if of["type"] != "PodScheduled" || of["status"] != "False" || of["reason"] != corev1.PodReasonUnschedulable {
		return false
	}
	text, _ := of["lastTransitionTime"].(string)
	since, err := time.Parse(time.RFC3339, text)
	return err == nil && time.Since(since) >= m.options.UnschedulableAfter
}

// counting counts the requests to a member.
type counting struct {
	next    http.RoundTripper
	cluster string
}

func (c counting) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := c.next.RoundTrip(request)
	if errors.Is(request.Context().Err(), context.Canceled) {
		return response, err // the member is stopped, and perhaps forgotten
	}
	code := "none"
	if err == nil {
		code = fmt.Sprint(response.StatusCode)
	}
	requestsMetric.WithLabelValues(c.cluster, request.Method, code).Inc()
	return response, err
}
