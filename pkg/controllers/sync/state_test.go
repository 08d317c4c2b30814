package sync

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
)

func TestState(t *testing.T) {
	const recorded = `{"gondor":{"generation":2,"omitted":[".spec.new"]}}`
	there := func(c *memberCopy) { c.applied, c.ownedAt = "a", time.Unix(100, 0) }
	for _, test := range []struct {
		name    string
		prepare func(w world, of *kind, m *member, e *entry)
		has     func(*memberCopy)
		want    string
		pending bool
		current []bool // the copies that are summed
	}{
		{"nowhere", func(_ world, _ *kind, _ *member, e *entry) { e.plans["gondor"] = plan{} }, nil, `{}`, false, nil},
		{"there, written by us", func(_ world, _ *kind, m *member, e *entry) {
			m.note(e, func(r *report) { r.version, r.applied, r.omitted = "50", "a", []string{".spec.newer"} })
		}, there, `{"gondor":{"generation":3,"omitted":[".spec.newer"]}}`, false, []bool{true}},
		{"there since before our start", func(world, *kind, *member, *entry) {}, there, recordedNow, false, []bool{true}},
		{"to be made", func(world, *kind, *member, *entry) {}, nil, `{"gondor":{"generation":2}}`, true, []bool{false}},
		{"refused", func(_ world, _ *kind, m *member, e *entry) { m.note(e, func(r *report) { r.problem = "too large" }) }, nil,
			`{"gondor":{"generation":2,"error":"too large"}}`, false, []bool{false}},
		{"waits", func(_ world, _ *kind, _ *member, e *entry) {
			e.plans["gondor"] = plan{wanted: true, hash: "a", waits: "the cluster is not Ready"}
		}, there, `{"gondor":{"generation":2,"error":"the cluster is not Ready"}}`, false, []bool{false}},
		{"the member's controllers have not seen it", func(world, *kind, *member, *entry) {}, func(c *memberCopy) {
			there(c)
			c.Generation, c.status = 2, map[string]any{"observedGeneration": int64(1)}
		}, recordedNow, false, []bool{false}},
		{"going", func(_ world, _ *kind, _ *member, e *entry) { e.plans["gondor"] = plan{} }, func(c *memberCopy) { c.DeletionTimestamp = &metav1.Time{Time: time.Now()} },
			`{"gondor":{"generation":2,"error":"it is being deleted"}}`, false, []bool{false}},
		{"its wishes cannot be read", func(_ world, _ *kind, _ *member, e *entry) { e.frozen, e.problem = true, "no weight" }, there,
			`{"gondor":{"generation":2,"error":"no weight"}}`, false, []bool{false}},
		{"without a client", func(w world, _ *kind, _ *member, _ *entry) { delete(w.members, "gondor") }, nil,
			`{"gondor":{"generation":2,"error":"the cluster is not Ready"}}`, false, []bool{false}},
		{"without a client, and not wanted", func(w world, _ *kind, _ *member, e *entry) {
			delete(w.members, "gondor")
			e.plans["gondor"] = plan{}
		}, nil, recorded, false, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, "gondor")
			of, m := w.kind("deployments"), w.members["gondor"]
			o := object(t, `{metadata: {name: web, namespace: shop, generation: 3, annotations: {federation.fedhelm.dev/clusters: '`+recorded+`'}}}`)
			if test.has != nil {
				w.has("gondor", of, o, test.has)
			}
			e := of.entry(nameOf(o))
			e.plans["gondor"] = plan{wanted: true, hash: "a"}
			test.prepare(w, of, m, e)
			states, copies, pending := of.state(o, e)
			text, err := json.Marshal(states)
			require.NoError(t, err)
			require.JSONEq(t, test.want, string(text))
			require.Equal(t, test.pending, pending)
			var current []bool
			for _, c := range copies {
				require.Equal(t, "gondor", c.Cluster)
				current = append(current, c.Current)
			}
			require.Equal(t, test.current, current)
		})
	}
}

// recordedNow is what was omitted before our start, of the object as it is now.
const recordedNow = `{"gondor":{"generation":3,"omitted":[".spec.new"]}}`

// A new object whose wishes cannot be read is said to be nowhere, and what somebody else wrote into the annotation is no harm.
func TestStateOfANewObject(t *testing.T) {
	w := newWorld(t, "gondor")
	of := w.kind("deployments")
	for _, annotation := range []string{``, `{`, `[]`, `{"gondor":1}`} {
		o := object(t, `{metadata: {name: web, namespace: shop, annotations: {federation.fedhelm.dev/clusters: '`+annotation+`'}}}`)
		e := &entry{frozen: true, problem: "no weight"}
		states, copies, pending := of.state(o, e)
		if annotation != `{"gondor":1}` {
			require.Empty(t, states)
		}
		require.Empty(t, copies)
		require.False(t, pending)
	}
}

// What is said of an object is said of it as it was planned: one that has changed since is planned first. While a member's controllers have said nothing of a copy, they are waited for.
func TestStateIsToldOfWhatWasPlanned(t *testing.T) {
	w := newWorld(t, "gondor")
	of, m := w.kind("deployments"), w.members["gondor"]
	federation := answers(t, func(*http.Request) any { return copyInGondor(nil, nil) })
	w.federation = federation.api
	w.working(of, m)
	o := w.federate(of, `{metadata: {name: web, namespace: shop, resourceVersion: "7", generation: 3, finalizers: [`+v1beta1.Finalizer+`]}, spec: {replicas: 0}}`)
	_, err := of.Reconcile(t.Context(), nameOf(o))
	require.NoError(t, err)
	e := of.known(nameOf(o))
	status := map[string]any{}
	w.has("gondor", of, o, func(c *memberCopy) {
		c.applied, c.ownedAt, c.status = e.plans["gondor"].hash, time.Unix(100, 0), status
	})
	tell := func() time.Duration {
		result, err := of.tellState(t.Context(), nameOf(o))
		require.NoError(t, err)
		return result.RequeueAfter
	}
	require.InDelta(t, patience, tell(), float64(patience))
	require.Empty(t, federation.requests)

	changed := o.DeepCopy()
	changed.SetResourceVersion("8")
	require.NoError(t, of.objects.GetStore().Update(changed))
	status["replicas"] = int64(0)
	require.Zero(t, tell())
	require.Empty(t, federation.requests)

	_, err = of.Reconcile(t.Context(), nameOf(o))
	require.NoError(t, err)
	require.Zero(t, tell())
	require.Equal(t, []string{http.MethodPatch}, federation.requests)
}

func TestLearning(t *testing.T) {
	w := newWorld(t, "gondor")
	of, m := w.kind("deployments"), w.members["gondor"]
	require.False(t, of.learning(w.fleet[0]))
	w.unlisted(m.objects[of])
	require.True(t, of.learning(w.fleet[0]))
	require.False(t, of.learning(fleetMember{name: "gondor", ready: false}))
	require.False(t, of.learning(fleetMember{name: "gondor", ready: true, leaving: true}))
	m.since = time.Now().Add(-settleTime - time.Second)
	require.False(t, of.learning(w.fleet[0]), "not for ever")
}

func TestStatesAreCounted(t *testing.T) {
	for want, e := range map[string]*entry{
		"placed":  {},
		"pending": {changed: time.Now()},
		"failed":  {reports: map[string]report{"gondor": {}, "shire": {problem: "x"}}},
	} {
		require.Equal(t, want, e.state())
	}
	require.Equal(t, "pending", (&entry{waits: true}).state())
	require.Equal(t, "failed", (&entry{frozen: true}).state())
}
