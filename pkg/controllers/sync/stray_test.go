package sync

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
)

// These tests have what a real API cannot be made to show at will: a watch that is behind, between two steps that are named here.

// answering is an API that answers requests as told; nil is that there is no such object.
type answering struct {
	*api
	requests []string
}

type fields = map[string]any

func answers(t *testing.T, answer func(request *http.Request) any) *answering {
	t.Helper()
	a := &answering{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.requests = append(a.requests, r.Method)
		w.Header().Set("Content-Type", "application/json")
		says := answer(r)
		if says == nil {
			says = refusal(w, http.StatusNotFound, metav1.StatusReasonNotFound)
		} else if reason, refused := says.(metav1.StatusReason); refused {
			says = refusal(w, http.StatusConflict, reason)
		}
		_ = json.NewEncoder(w).Encode(says)
	}))
	t.Cleanup(server.Close)
	var err error
	a.api, err = newAPI(&rest.Config{Host: server.URL, QPS: -1}, server.Client())
	require.NoError(t, err)
	return a
}

func refusal(w http.ResponseWriter, code int, reason metav1.StatusReason) any {
	w.WriteHeader(code)
	return fields{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": string(reason)}
}

// working gives a kind and a member queues and what else they need to work by hand.
func (w world) working(of *kind, m *member) (queue workqueue.TypedRateLimitingInterface[objectKey]) {
	w.recorder, w.courtesy = events.NewFakeRecorder(1000), newCourtesy()
	w.started = make(chan struct{})
	close(w.started)
	of.queue = workqueue.NewTypedRateLimitingQueue(rateLimiter[types.NamespacedName]())
	queue = workqueue.NewTypedRateLimitingQueue(rateLimiter[objectKey]())
	m.queue.Store(&queue)
	return queue
}

var one = types.NamespacedName{Namespace: "shop", Name: "one"}

// copyInGondor is what gondor's API says of a copy that world.has told of.
func copyInGondor(labels, annotations fields) fields {
	return fields{"kind": "ConfigMap", "apiVersion": "v1", "metadata": fields{
		"name": one.Name, "namespace": one.Namespace, "uid": "copy in gondor", "resourceVersion": "60", "labels": labels, "annotations": annotations,
	}}
}

// kubeSystem reads the federation's namespace of that name: it has this UID, or with "" is not there.
type kubeSystem struct {
	client.Reader
	uid types.UID
}

func (k kubeSystem) Get(_ context.Context, key client.ObjectKey, namespace client.Object, _ ...client.GetOption) error {
	if k.uid == "" || key.Name != metav1.NamespaceSystem {
		return apierrors.NewNotFound(corev1.Resource("namespaces"), key.Name)
	}
	namespace.SetUID(k.uid)
	return nil
}

// A copy is a stray only if the federation that placed it is there, and it is still its copy.
func TestStrays(t *testing.T) {
	ours := fields{v1beta1.LabelFederated: "fellowship"}
	placed := fields{v1beta1.AnnotationSource: "federation"}
	for name, test := range map[string]struct {
		federation types.UID
		there      any
		deleted    bool
	}{
		"its object is gone":                  {"federation", copyInGondor(ours, placed), true},
		"the federation lost its data":        {"another", copyInGondor(ours, placed), false},
		"it lost its data this moment":        {"", copyInGondor(ours, placed), false},
		"the copy was released":               {"federation", copyInGondor(nil, nil), false},
		"another federation has taken it":     {"federation", copyInGondor(fields{v1beta1.LabelFederated: "alliance"}, placed), false},
		"another of our name has taken it":    {"federation", copyInGondor(ours, fields{v1beta1.AnnotationSource: "another"}), false},
		"it is gone, and the watch is behind": {"federation", nil, false},
	} {
		w := newWorld(t, "gondor")
		of, m := w.kind("configmaps"), w.members["gondor"]
		w.reader = kubeSystem{uid: test.federation}
		w.federation = answers(t, func(*http.Request) any { return nil }).api
		member := answers(t, func(r *http.Request) any {
			if r.Method == http.MethodDelete {
				return fields{"kind": "Status", "apiVersion": "v1", "status": "Success"}
			}
			return test.there
		})
		m.api = member.api
		w.has("gondor", of, object(t, `{metadata: {name: one, namespace: shop}}`))
		queue := w.working(of, m)
		require.NoError(t, of.forget(one))
		require.Equal(t, 1, queue.Len(), "the member is to look at it")
		_, err := m.Reconcile(t.Context(), objectKey{of, one})
		if test.federation == "" {
			require.Error(t, err, "it looks again")
		} else {
			require.NoError(t, err, name)
		}
		require.Equal(t, test.deleted, slices.Contains(member.requests, http.MethodDelete), name)
	}
}

// A copy that is to stay is waited for, however long its member is away: later it would be a stray.
func TestOrphansAreWaitedFor(t *testing.T) {
	w := newWorld(t, "gondor")
	of := w.kind("configmaps")
	o := w.federate(of, `{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: shop, annotations: {"`+v1beta1.AnnotationClusters+`": '{"gondor":{}}'},
		deletionTimestamp: "`+time.Now().Add(-w.options.ForceAfter-time.Minute).UTC().Format(time.RFC3339)+`", finalizers: [`+v1beta1.Finalizer+`]}}`)
	w.has("gondor", of, o)
	w.setFleet("gondor", func(f *fleetMember) { f.ready = false })
	require.Empty(t, of.held(o, of.entryOf(o), false, w.fleet), "it is a stray when the member is back")
	require.Equal(t, []string{"gondor"}, of.held(o, of.entryOf(o), true, w.fleet))

	o = w.federate(of, `{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: shop, deletionTimestamp: "`+time.Now().UTC().Format(time.RFC3339)+`", finalizers: [`+v1beta1.Finalizer+`]}}`)
	e := of.entryOf(o)
	require.Empty(t, of.held(o, e, true, w.fleet))
	w.members["gondor"].note(e, func(r *report) { r.version = "50" })
	require.Equal(t, []string{"gondor"}, of.held(o, e, true, w.fleet), "it was written, which the object does not say yet")
}

// What is deleted to be left is noted in the object where the API itself leaves no trace of it.
func TestOrphaningIsNoted(t *testing.T) {
	w := newWorld(t, "gondor")
	of, m := w.kind("configmaps"), w.members["gondor"]
	w.working(of, m)
	deleted := `{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: shop, uid: a, deletionTimestamp: "2026-01-01T00:00:00Z", finalizers: [%s` + v1beta1.Finalizer + `]}}`
	var noted int
	w.federation = answers(t, func(r *http.Request) any {
		var body struct{ Metadata metav1.ObjectMeta }
		_ = json.NewDecoder(r.Body).Decode(&body)
		if body.Metadata.Annotations[v1beta1.AnnotationOrphan] == "true" {
			noted++
		}
		return copyInGondor(nil, nil)
	}).api
	w.has("gondor", of, object(t, `{metadata: {name: one, namespace: shop}}`))
	for _, test := range []struct {
		finalizer string
		noted     int
	}{{finalizerOrphan + ", ", 0}, {"", 1}} {
		o := w.federate(of, fmt.Sprintf(deleted, test.finalizer))
		_, err := of.Reconcile(t.Context(), nameOf(o))
		require.NoError(t, err)
		require.Equal(t, test.noted, noted, "with %q", test.finalizer)
	}
}

// An object that has the name of one that was deleted starts with nothing of what is known of that one.
func TestAnotherOfTheName(t *testing.T) {
	w := newWorld(t, "gondor")
	of := w.kind("configmaps")
	first := object(t, `{metadata: {name: one, namespace: shop, uid: a}}`)
	e := of.entryOf(first)
	e.setOrphan()
	require.Same(t, e, of.entryOf(first))
	second := of.entryOf(object(t, `{metadata: {name: one, namespace: shop, uid: b}}`))
	require.False(t, second.orphan)
	require.Same(t, second, of.known(one))
}

// An object may be given a copy again that was released, or seemed gone, before.
func TestReleasedCopyIsTakenAgain(t *testing.T) {
	w := newWorld(t, "gondor")
	of, m := w.kind("configmaps"), w.members["gondor"]
	o := w.federate(of, `{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: shop, uid: new}}`)
	_, hash, err := of.content(o, nil)
	require.NoError(t, err)
	member := answers(t, func(*http.Request) any { return copyInGondor(nil, nil) })
	m.api = member.api
	w.working(of, m)
	e := of.entryOf(o)
	m.note(e, func(r *report) { r.gone = "copy in gondor" })
	e.plans["gondor"] = plan{wanted: true, hash: hash}
	for range 3 {
		_, err := m.Reconcile(t.Context(), objectKey{of, one})
		require.NoError(t, err)
		w.has("gondor", of, o, func(c *memberCopy) { c.applied, c.ResourceVersion = hash, "60" })
	}
	require.Equal(t, []string{http.MethodPatch}, member.requests)
}

// A copy that somebody in the member deletes each time is made again, but not without end at full speed.
func TestCopiesThatAreDeletedAgain(t *testing.T) {
	w := newWorld(t, "gondor")
	of, m := w.kind("configmaps"), w.members["gondor"]
	o := w.federate(of, `{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: shop, uid: new}}`)
	_, hash, err := of.content(o, nil)
	require.NoError(t, err)
	made := 0
	m.api = answers(t, func(*http.Request) any {
		made++
		there := copyInGondor(nil, nil)
		there["metadata"].(fields)["uid"] = strconv.Itoa(made)
		return there
	}).api
	w.working(of, m)
	e := of.entryOf(o)
	e.plans["gondor"] = plan{wanted: true, hash: hash}
	for range 10 { // each time the watch, which is at 100, has come past what was made
		result, err := m.Reconcile(t.Context(), objectKey{of, one})
		require.NoError(t, err)
		if result.RequeueAfter > 0 {
			break
		}
	}
	require.Equal(t, 4, made)
}

// What is there already is taken over, but not from another federation, and without asking first.
func TestAdoption(t *testing.T) {
	for name, test := range map[string]struct {
		labels   fields
		requests []string
		problem  string
	}{
		"a user's":             {nil, []string{"PATCH", "GET", "PATCH"}, ""},
		"ours, without a mark": {fields{v1beta1.LabelFederated: "fellowship"}, []string{"PATCH", "GET", "PATCH"}, ""},
		"another federation's": {fields{v1beta1.LabelFederated: "alliance"}, []string{"PATCH", "GET"}, "federation alliance placed it"},
	} {
		w := newWorld(t, "gondor")
		of, m := w.kind("configmaps"), w.members["gondor"]
		o := w.federate(of, `{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: shop, uid: new}}`)
		_, hash, err := of.content(o, nil)
		require.NoError(t, err)
		member := answers(t, func(r *http.Request) any {
			if r.Method == http.MethodPatch && r.URL.Query().Get("force") != "true" {
				return metav1.StatusReasonConflict
			}
			return copyInGondor(test.labels, nil)
		})
		m.api = member.api
		w.working(of, m)
		of.entryOf(o).plans["gondor"] = plan{wanted: true, hash: hash}
		_, err = m.Reconcile(t.Context(), objectKey{of, one})
		if test.problem == "" {
			require.NoError(t, err, name)
		} else {
			require.ErrorContains(t, err, test.problem)
		}
		require.Equal(t, test.requests, member.requests, name)
	}
}
