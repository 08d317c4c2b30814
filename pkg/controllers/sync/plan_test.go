package sync

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// planned plans an object, and says of each cluster what is wanted there.
func (w world) planned(of *kind, o *unstructured.Unstructured) map[string]string {
	w.Helper()
	e := of.entry(nameOf(o))
	plans, _, err := of.plan(o, e)
	require.NoError(w, err)
	e.follow(o, plans)
	said := map[string]string{}
	for name, p := range plans {
		switch {
		case p.waits != "":
			said[name] = p.waits
		case p.wanted && p.scale == nil:
			said[name] = "wanted"
		case p.wanted:
			said[name] = fmt.Sprint(p.scale)
		default:
			said[name] = ""
		}
		require.Equal(w, p.wanted, p.hash != "", "what is wanted has a hash")
	}
	return said
}

type said = map[string]string

func TestPlan(t *testing.T) {
	w := newWorld(t, "gondor", "mordor", "shire")
	configs := w.kind("configmaps")
	require.Equal(t, said{"gondor": "wanted", "mordor": "wanted", "shire": "wanted"}, w.planned(configs, object(t, `{metadata: {name: one}}`)))

	selects := func(selector string) *unstructured.Unstructured {
		o := object(t, `{metadata: {name: one}}`)
		o.SetAnnotations(map[string]string{"federation.alpha.kubernetes.io/cluster-selector": selector})
		return o
	}
	gondor := selects(`[{"key":"name","operator":"=","values":["gondor"]}]`)
	require.Equal(t, said{"gondor": "wanted", "mordor": "", "shire": ""}, w.planned(configs, gondor))

	w.setFleet("gondor", func(f *fleetMember) { f.ready, f.why = false, "it burns" })
	w.setFleet("mordor", func(f *fleetMember) { f.ready = false })
	w.setFleet("shire", func(f *fleetMember) { f.leaving = true })
	require.Equal(t, said{"gondor": "the cluster is not Ready: it burns", "mordor": "the cluster is not Ready", "shire": "the cluster is leaving"}, w.planned(configs, object(t, `{metadata: {name: one}}`)))
	require.Equal(t, said{"gondor": "the cluster is not Ready: it burns", "mordor": "", "shire": "the cluster is leaving"}, w.planned(configs, gondor))

	_, _, err := configs.plan(selects(`pci=true`), configs.entry(nameOf(gondor)))
	require.ErrorContains(t, err, "is no list of terms")
}

// The hash is of what is applied, so that an unrelated change of the object is none of its copies.
func TestHash(t *testing.T) {
	w := newWorld(t, "gondor")
	of := w.kind("deployments")
	hash := func(manifest string, scale map[string]int64) string {
		_, hash, err := of.content(object(t, manifest), scale)
		require.NoError(t, err)
		body, again, err := of.body(object(t, manifest), scale)
		require.NoError(t, err)
		require.Equal(t, hash, again)
		require.Contains(t, string(body), `"federation.fedhelm.dev/applied":"`+hash+`"`)
		require.Contains(t, string(body), `"federation.fedhelm.dev/source":"federation"`)
		return hash
	}
	first := hash(`{metadata: {name: web}, spec: {replicas: 9}}`, map[string]int64{"replicas": 4})
	require.Equal(t, first, hash(`{metadata: {name: web, uid: x, generation: 3, annotations: {federation.fedhelm.dev/clusters: "{}"}}, spec: {replicas: 8}, status: {replicas: 9}}`, map[string]int64{"replicas": 4}))
	require.NotEqual(t, first, hash(`{metadata: {name: web}, spec: {replicas: 9}}`, map[string]int64{"replicas": 5}))
	require.NotEqual(t, first, hash(`{metadata: {name: web}, spec: {replicas: 9}}`, map[string]int64{"replicas": leftToHPA}))
	require.NotEqual(t, first, hash(`{metadata: {name: web, labels: {a: b}}, spec: {replicas: 9}}`, map[string]int64{"replicas": 4}))
}

func TestReplicas(t *testing.T) {
	replicas := func(gondor, shire int) said {
		all := said{"gondor": "", "shire": ""}
		for name, n := range map[string]int{"gondor": gondor, "shire": shire} {
			if n >= 0 {
				all[name] = fmt.Sprintf("map[replicas:%d]", n)
			}
		}
		return all
	}
	const none = -1 // no copy there
	for _, test := range []struct {
		name, resource, preferences string
		total                       string
		has                         map[string]int64
		want                        said
	}{
		{"by default equal parts", "deployments", "", "8", nil, replicas(4, 4)},
		{"no number is one", "deployments", `{"clusters":{"gondor":{"weight":1}}}`, "null", nil, replicas(1, none)},
		{"0 replicas are so in all", "deployments", "", "0", map[string]int64{"gondor": 5}, replicas(0, 0)},
		{"a minimum above the total", "deployments", `{"rebalance":true,"clusters":{"gondor":{"minReplicas":20,"weight":1},"*":{"weight":1}}}`, "9", nil, replicas(9, none)},
		{"minima above the total", "deployments", `{"rebalance":true,"clusters":{"gondor":{"minReplicas":6,"weight":2},"*":{"minReplicas":6,"weight":1}}}`, "9", nil, replicas(6, 3)},
		{"what runs is kept", "deployments", `{"clusters":{"*":{"weight":1}}}`, "9", map[string]int64{"gondor": 8}, replicas(8, 1)},
		{"what runs is moved if it may", "deployments", `{"rebalance":true,"clusters":{"gondor":{"weight":2},"shire":{"weight":1}}}`, "9", map[string]int64{"gondor": 1, "shire": 8}, replicas(6, 3)},
		{"StatefulSets have preferences", "statefulsets", `{"rebalance":true,"clusters":{"gondor":{"weight":2},"shire":{"weight":1}}}`, "9", nil, replicas(6, 3)},
		{"ReplicaSets have preferences", "replicasets", `{"rebalance":true,"clusters":{"gondor":{"weight":2},"shire":{"weight":1}}}`, "9", nil, replicas(6, 3)},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, "gondor", "shire")
			of := w.kind(test.resource)
			o := object(t, fmt.Sprintf(`{metadata: {name: web, namespace: shop}, spec: {replicas: %s}}`, test.total))
			if test.total == "null" {
				o = object(t, `{metadata: {name: web, namespace: shop}, spec: {}}`)
			}
			if test.preferences != "" {
				o.SetAnnotations(map[string]string{of.Preferences: test.preferences})
			}
			for cluster, n := range test.has {
				w.has(cluster, of, o, func(c *memberCopy) { c.amount = n })
			}
			require.Equal(t, test.want, w.planned(of, o))
		})
	}

	t.Run("what cannot be scheduled goes elsewhere, and is still asked", func(t *testing.T) {
		w := newWorld(t, "gondor", "shire")
		of := w.kind("deployments")
		o := object(t, `{metadata: {name: web, namespace: shop, annotations: {federation.kubernetes.io/deployment-preferences: '{"rebalance":true,"clusters":{"gondor":{"weight":2},"shire":{"weight":1}}}'}}, spec: {replicas: 9}}`)
		w.has("gondor", of, o, func(c *memberCopy) { c.amount = 6 })
		w.has("shire", of, o, func(c *memberCopy) { c.amount = 3 })
		w.members["gondor"].note(of.entry(nameOf(o)), func(r *report) { r.unschedulable = 4 })
		require.Equal(t, replicas(6, 7), w.planned(of, o))
	})
	t.Run("a copy that is being deleted has none", func(t *testing.T) {
		w := newWorld(t, "gondor", "shire")
		of := w.kind("deployments")
		o := object(t, `{metadata: {name: web, namespace: shop}, spec: {replicas: 8}}`)
		w.has("gondor", of, o, func(c *memberCopy) { c.amount, c.DeletionTimestamp = 8, &metav1.Time{Time: time.Now()} })
		require.Equal(t, replicas(4, 4), w.planned(of, o))
	})
	t.Run("malformed preferences", func(t *testing.T) {
		w := newWorld(t, "gondor")
		of := w.kind("deployments")
		o := object(t, `{metadata: {name: web, namespace: shop, annotations: {federation.kubernetes.io/deployment-preferences: "{"}}, spec: {replicas: 8}}`)
		_, _, err := of.plan(o, of.entry(nameOf(o)))
		require.ErrorContains(t, err, "annotation federation.kubernetes.io/deployment-preferences: the replica preferences cannot be read")
	})
}

// What a member has must be known before anything is divided; but nobody waits for a member for ever.
func TestDivisionWaits(t *testing.T) {
	const waits = "what is there is being read"
	w := newWorld(t, "gondor", "shire")
	of := w.kind("deployments")
	o := object(t, `{metadata: {name: web, namespace: shop}, spec: {replicas: 8}}`)
	w.unlisted(w.members["shire"].objects[of])
	require.Equal(t, said{"gondor": waits, "shire": waits}, w.planned(of, o))
	require.Equal(t, said{"gondor": "wanted", "shire": "wanted"}, w.planned(w.kind("configmaps"), o), "what is not divided does not wait")
	w.members["shire"].since = time.Now().Add(-settleTime - time.Second)
	require.NotContains(t, fmt.Sprint(w.planned(of, o)), waits)

	// A federated HPA that is not listed yet may have scaled it.
	autoscalers := w.kind("horizontalpodautoscalers").objects
	listing := autoscalers.SharedIndexInformer
	w.unlisted(autoscalers)
	require.Equal(t, said{"gondor": waits, "shire": waits}, w.planned(of, o))
	require.NotContains(t, fmt.Sprint(w.planned(w.kind("jobs"), object(t, `{metadata: {name: web}, spec: {parallelism: 1}}`))), waits, "no HPA scales a Job")
	autoscalers.SharedIndexInformer = listing

	// A member without a client, as after a start, or when its credentials are taken away, is waited for as long as it is ready.
	delete(w.members, "shire")
	w.since = time.Now().Add(-settleTime - time.Second)
	require.Equal(t, said{"gondor": waits, "shire": waits}, w.planned(of, o))
	w.setFleet("shire", func(f *fleetMember) { f.ready = false })
	require.Equal(t, "map[replicas:8]", w.planned(of, o)["gondor"])
}

func TestReplicasAreLeftToHPAs(t *testing.T) {
	w := newWorld(t, "gondor", "shire")
	of, autoscalers := w.kind("deployments"), w.kind("horizontalpodautoscalers")
	o := w.federate(of, `{kind: Deployment, metadata: {name: web, namespace: shop}, spec: {replicas: 8}}`)
	left := said{"gondor": "map[replicas:-1]", "shire": "map[replicas:-1]"}
	divided := said{"gondor": "map[replicas:4]", "shire": "map[replicas:4]"}
	for _, test := range []struct {
		hpa  string
		want said
	}{
		{`{metadata: {name: other, namespace: shop}, spec: {scaleTargetRef: {kind: Deployment, name: other}}}`, divided},
		{`{metadata: {name: set, namespace: shop}, spec: {scaleTargetRef: {kind: StatefulSet, name: web}}}`, divided},
		{`{metadata: {name: web, namespace: elsewhere}, spec: {scaleTargetRef: {kind: Deployment, name: web}}}`, divided},
		{`{metadata: {name: ending, namespace: shop, deletionTimestamp: "2026-01-01T00:00:00Z"}, spec: {scaleTargetRef: {kind: Deployment, name: web}}}`, divided},
		{`{metadata: {name: web, namespace: shop}, spec: {scaleTargetRef: {kind: Deployment, name: web}}}`, left},
	} {
		w.federate(autoscalers, test.hpa)
		require.Equal(t, test.want, w.planned(of, o), test.hpa)
	}
	require.Equal(t, said{"gondor": "map[replicas:0]", "shire": "map[replicas:0]"}, w.planned(of, object(t, `{kind: Deployment, metadata: {name: web, namespace: shop}, spec: {replicas: 0}}`)),
		"0 turns an HPA off")
}

func TestJobsAreDivided(t *testing.T) {
	for _, test := range []struct {
		name, spec string
		clusters   []string
		has        map[string][2]int64 // parallelism and completions
		want       said
	}{
		{"both", `{parallelism: 4, completions: 10}`, []string{"gondor", "shire"}, nil, said{"gondor": "map[completions:5 parallelism:2]", "shire": "map[completions:5 parallelism:2]"}},
		{"a work queue", `{parallelism: 4}`, []string{"gondor", "shire"}, nil, said{"gondor": "map[parallelism:2]", "shire": "map[parallelism:2]"}},
		{"a copy keeps its completions", `{parallelism: 4, completions: 10}`, []string{"gondor", "shire"}, map[string][2]int64{"gondor": {4, 7}, "shire": {0, 3}},
			said{"gondor": "map[completions:7 parallelism:2]", "shire": "map[completions:3 parallelism:2]"}},
		{"nothing is left for a cluster that comes later", `{parallelism: 4, completions: 10}`, []string{"gondor", "shire"}, map[string][2]int64{"gondor": {4, 10}},
			said{"gondor": "map[completions:10 parallelism:2]", "shire": ""}},
		{"suspended", `{parallelism: 0, completions: 10}`, []string{"gondor"}, nil, said{"gondor": ""}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, test.clusters...)
			of := w.kind("jobs")
			o := object(t, `{metadata: {name: one, namespace: shop}, spec: `+test.spec+`}`)
			for cluster, n := range test.has {
				w.has(cluster, of, o, func(c *memberCopy) { c.amount, c.completions = n[0], n[1] })
			}
			require.Equal(t, test.want, w.planned(of, o))
		})
	}

	t.Run("what a member that is away does is not done twice", func(t *testing.T) {
		w := newWorld(t, "bree", "gondor", "shire")
		of := w.kind("jobs")
		o := object(t, `{metadata: {name: one, namespace: shop}, spec: {parallelism: 4, completions: 10}}`)
		for _, cluster := range []string{"gondor", "shire"} {
			w.has(cluster, of, o, func(c *memberCopy) { c.amount, c.completions = 2, 5 })
		}
		w.setFleet("shire", func(f *fleetMember) { f.ready = false })
		require.Equal(t, said{"bree": "", "gondor": "map[completions:5 parallelism:2]", "shire": "the cluster is not Ready"}, w.planned(of, o))
	})
}

func TestHPAsAreDivided(t *testing.T) {
	w := newWorld(t, "gondor", "shire")
	of := w.kind("horizontalpodautoscalers")
	o := object(t, `{metadata: {name: web, namespace: shop}, spec: {minReplicas: 4, maxReplicas: 10}}`)
	require.Equal(t, said{"gondor": "map[maxReplicas:5 minReplicas:2]", "shire": "map[maxReplicas:5 minReplicas:2]"}, w.planned(of, o))

	// One that is at its maximum gets one from the other, unless that has just scaled: then it is looked at again.
	w.has("gondor", of, o, func(c *memberCopy) {
		c.amount, c.status = 5, map[string]any{"currentReplicas": int64(5), "desiredReplicas": int64(5)}
	})
	shire := w.has("shire", of, o, func(c *memberCopy) {
		c.amount, c.status = 5, map[string]any{"currentReplicas": int64(2), "desiredReplicas": int64(2), "lastScaleTime": time.Now().UTC().Format(time.RFC3339)}
	})
	require.Equal(t, said{"gondor": "map[maxReplicas:5 minReplicas:2]", "shire": "map[maxReplicas:5 minReplicas:2]"}, w.planned(of, o))
	_, again, err := of.plan(o, of.entry(nameOf(o)))
	require.NoError(t, err)
	require.InDelta(t, w.options.HPAForbiddenWindow, again, float64(5*time.Second))
	delete(shire.status, "lastScaleTime")
	require.Equal(t, said{"gondor": "map[maxReplicas:6 minReplicas:2]", "shire": "map[maxReplicas:4 minReplicas:2]"}, w.planned(of, o))
}

// A plan that is another, or no longer waits, lets what failed be tried at once.
func TestFollow(t *testing.T) {
	failed := func() *entry {
		return &entry{frozen: true, problem: "x", plans: map[string]plan{"gondor": {wanted: true, hash: "a"}},
			reports: map[string]report{"gondor": {tries: 3, version: "7"}, "mordor": {tries: 3}}}
	}
	for _, test := range []struct {
		name    string
		plan    plan
		changed bool
		tries   int
	}{
		{"the same", plan{wanted: true, hash: "a"}, false, 3},
		{"other content", plan{wanted: true, hash: "b"}, true, 0},
		{"not wanted", plan{}, true, 0},
		{"it waits", plan{wanted: true, hash: "a", waits: "for the king"}, false, 0},
	} {
		e := failed()
		e.follow(&unstructured.Unstructured{}, map[string]plan{"gondor": test.plan})
		require.Equal(t, test.changed, !e.changed.IsZero(), test.name)
		require.Equal(t, test.tries, e.reports["gondor"].tries, test.name)
		require.Equal(t, "7", e.reports["gondor"].version)
		require.NotContains(t, e.reports, "mordor", "a cluster that is gone is forgotten")
		require.False(t, e.frozen)
		require.Empty(t, e.problem)
	}
	e := failed()
	e.follow(&unstructured.Unstructured{}, map[string]plan{"gondor": {wanted: true, hash: "a"}, "shire": {}})
	require.NotZero(t, e.changed, "a cluster more")
}
