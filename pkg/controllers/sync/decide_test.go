package sync

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
)

func TestDecide(t *testing.T) {
	copied := func(change func(*memberCopy)) func(*memberCopy) {
		return func(c *memberCopy) {
			c.applied, c.owned = "a", 7
			c.ownedAt = time.Unix(100, 0)
			change(c)
		}
	}
	as := copied(func(*memberCopy) {})
	deleted := copied(func(c *memberCopy) { c.DeletionTimestamp = &metav1.Time{Time: time.Now()} })
	wanted, unwanted := plan{wanted: true, hash: "a"}, plan{}
	for _, test := range []struct {
		name   string
		plan   *plan
		report report
		has    func(*memberCopy)
		want   action
		why    string
	}{
		{"not planned yet", nil, report{}, as, settled, ""},
		{"to be made", &wanted, report{}, nil, apply, ""},
		{"there", &wanted, report{}, as, settled, ""},
		{"another content", &plan{wanted: true, hash: "b"}, report{}, as, apply, ""},
		{"waits", &plan{wanted: true, hash: "b", waits: "for the king"}, report{}, as, wait, "for the king"},
		{"going", &wanted, report{}, deleted, wait, "it is being deleted, and comes again then"},
		{"changed since ours, after a restart", &wanted, report{}, copied(func(c *memberCopy) { c.changedAt = time.Unix(100, 0) }), apply, ""},
		{"changed before ours, after a restart", &wanted, report{}, copied(func(c *memberCopy) { c.changedAt = time.Unix(99, 0) }), settled, ""},
		{"a field of ours is taken over", &wanted, report{version: "50", applied: "a", owned: 8}, as, apply, ""},
		{"a field that is not ours was changed", &wanted, report{version: "50", applied: "a", owned: 7}, copied(func(c *memberCopy) { c.changedAt = time.Unix(999, 0) }), settled, ""},
		{"the watch is behind our write", &wanted, report{version: "60", appliedAt: time.Now(), applied: "a", owned: 7}, copied(func(c *memberCopy) { c.applied = "before" }), settled, ""},
		{"the watch is behind our making it", &wanted, report{version: "160", appliedAt: time.Now(), applied: "a", owned: 7}, nil, settled, ""},
		{"the watch is behind for long: the member was set back", &wanted, report{version: "160", appliedAt: time.Now().Add(-time.Minute), applied: "a", owned: 7}, nil, apply, ""},
		{"deleted by hand", &wanted, report{version: "60", applied: "a", owned: 7}, nil, apply, ""},
		{"not wanted and not there", &unwanted, report{}, nil, settled, ""},
		{"not wanted", &unwanted, report{}, as, take, ""},
		{"not wanted, just made", &unwanted, report{version: "160", appliedAt: time.Now(), uid: "new"}, nil, take, ""},
		{"not wanted and going", &unwanted, report{}, deleted, wait, "it is being deleted"},
		{"orphaned", &plan{orphan: true}, report{}, as, release, ""},
		{"gone, which the watch does not tell", &unwanted, report{gone: "copy in gondor"}, as, settled, ""},
		{"gone and wanted again", &wanted, report{gone: "copy in gondor"}, as, apply, ""},
		{"gone, and another one came", &unwanted, report{gone: "another"}, as, take, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, "gondor")
			of, m := w.kind("configmaps"), w.members["gondor"]
			o := object(t, `{metadata: {name: one, namespace: shop}}`)
			if test.has != nil {
				w.has("gondor", of, o, test.has)
			}
			e := of.entry(nameOf(o))
			if test.plan != nil {
				e.plans["gondor"] = *test.plan
			}
			e.reports["gondor"] = test.report
			key := objectKey{of, nameOf(o)}
			d := m.decide(key, e)
			require.Equal(t, test.want, d.action)
			require.Equal(t, test.why, d.why)
			require.Zero(t, d.after)
			if d.action == take || d.action == release {
				require.NotEmpty(t, d.copy.UID, "only what was seen is deleted")
			}

			// Whatever there is to do, it is not done at once again after it failed.
			m.note(e, func(r *report) { r.tries, r.triedAt = 8, time.Now() })
			again := m.decide(key, e)
			require.Equal(t, d.action, again.action)
			require.Equal(t, d.work(), again.after > 10*time.Second)

			e.frozen = true
			require.Equal(t, settled, m.decide(key, e).action, "nothing is done to what cannot be read")
			m.draining.Store(true)
			if d := m.decide(key, e); m.latest(key, e.reports["gondor"]) == nil {
				require.Equal(t, settled, d.action)
			} else {
				require.Contains(t, []action{take, wait}, d.action, "who leaves with policy Delete gives everything back")
			}
		})
	}
}

func TestDecideWhereNothingIsKnown(t *testing.T) {
	w := newWorld(t, "gondor")
	of, m := w.kind("configmaps"), w.members["gondor"]
	key := objectKey{of, types.NamespacedName{Namespace: "shop", Name: "one"}}
	e := of.entry(key.NamespacedName)
	e.plans["gondor"] = plan{wanted: true, hash: "a"}
	watched := m.objects[of]
	w.unlisted(watched)
	require.Equal(t, "what is in the cluster is being read", m.decide(key, e).why)
	require.False(t, m.knows(of))
	watched.Note(errors.New("no route"))
	require.Equal(t, "cannot list configmaps: no route", m.decide(key, e).why)
	require.False(t, m.knows(of))
	watched.Note(apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, ""))
	require.Equal(t, "the cluster does not serve /v1, Resource=configmaps", m.decide(key, e).why)
	require.Equal(t, wait, m.decide(key, e).action)
	require.True(t, m.knows(of), "it has none")
	e.plans["gondor"] = plan{}
	require.Equal(t, settled, m.decide(key, e).action, "it has none to delete")
}

func TestNamespacesComeFirst(t *testing.T) {
	w := newWorld(t, "gondor", "shire")
	of, namespaces, m := w.kind("configmaps"), w.kind("namespaces"), w.members["gondor"]
	o, shop := object(t, `{metadata: {name: one, namespace: shop}}`), object(t, `{metadata: {name: shop}}`)
	key := objectKey{of, nameOf(o)}
	e := of.entry(key.NamespacedName)
	e.plans["gondor"] = plan{wanted: true, hash: "a"}
	require.Equal(t, apply, m.decide(key, e).action, "a namespace that is not the federation's may be there")
	n := namespaces.entry(nameOf(shop))
	n.plans["gondor"] = plan{wanted: true, hash: "n"}
	require.Equal(t, "namespace shop is not there yet", m.decide(key, e).why)
	w.has("gondor", namespaces, shop, func(c *memberCopy) { c.DeletionTimestamp = &metav1.Time{Time: time.Now()} })
	require.Equal(t, wait, m.decide(key, e).action)
	w.has("gondor", namespaces, shop)
	require.Equal(t, apply, m.decide(key, e).action)
}

func TestDelays(t *testing.T) {
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	for _, test := range []struct {
		tries   int
		since   time.Duration
		atLeast time.Duration
		atMost  time.Duration
	}{
		{0, 0, 0, 0},
		{1, 0, 50 * time.Millisecond, 100 * time.Millisecond},
		{1, time.Second, 0, 0},
		{5, 0, 1500 * time.Millisecond, 1600 * time.Millisecond},
		{11, 0, 59 * time.Second, time.Minute},
		{1 << 40, 0, 59 * time.Second, time.Minute},
		{1 << 40, 59 * time.Second, 0, time.Second},
	} {
		r := report{tries: test.tries, triedAt: ago(test.since)}
		require.GreaterOrEqual(t, r.retryDelay(), test.atLeast, "%+v", test)
		require.LessOrEqual(t, r.retryDelay(), test.atMost, "%+v", test)
	}
	for heals, want := range map[int]time.Duration{0: 0, 2: 0, 3: time.Second, 5: 4 * time.Second, 100: time.Minute} {
		r := report{heals: heals, healedAt: time.Now()}
		require.InDelta(t, want, r.healDelay(), float64(time.Second/2), "%d heals", heals)
		r.healedAt = ago(3 * time.Minute)
		require.Zero(t, r.healDelay(), "it was left alone for long")
	}
}

// A write whose answer was lost, and which the watch shows to have been done, is told of as done, and what somebody changes then is put right.
func TestLostAnswer(t *testing.T) {
	w := newWorld(t, "gondor")
	of, m := w.kind("configmaps"), w.members["gondor"]
	key := objectKey{of, types.NamespacedName{Namespace: "shop", Name: "one"}}
	o := w.federate(of, `{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: shop}}`)
	copies := workqueue.NewTypedRateLimitingQueue(rateLimiter[objectKey]())
	m.queue.Store(&copies)
	of.queue = workqueue.NewTypedRateLimitingQueue(rateLimiter[types.NamespacedName]())
	e := of.entry(key.NamespacedName)
	e.plans["gondor"] = plan{wanted: true, hash: "new"}
	m.note(e, func(r *report) {
		*r = report{problem: "cut", tries: 3, triedAt: time.Now(), version: "40", applied: "old", owned: 7}
	})
	c := w.has("gondor", of, o, func(c *memberCopy) { c.applied, c.owned, c.ownedAt = "new", 8, time.Unix(100, 0) })

	m.changed(key, c)
	require.Equal(t, 1, copies.Len(), "looked at when the watch tells")
	_, err := m.Reconcile(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, 1, of.queue.Len(), "to be told")
	states, _, pending := of.state(o, e)
	require.Equal(t, map[string]clusterState{"gondor": {}}, states)
	require.False(t, pending)
	m.changed(key, c)
	require.Equal(t, 1, copies.Len(), "and that once")
	require.Equal(t, settled, m.decide(key, e).action)
	w.has("gondor", of, o, func(c *memberCopy) {
		c.applied, c.owned, c.ownedAt, c.changedAt = "new", 9, time.Unix(100, 0), time.Unix(200, 0)
	})
	require.Equal(t, apply, m.decide(key, e).action)
}

// Another cluster under the same name starts from nothing, also while writes to the one before are forgotten only now.
func TestStopMember(t *testing.T) {
	w := newWorld(t, "gondor", "shire")
	of := w.kind("configmaps")
	e := of.entry(types.NamespacedName{Name: "one"})
	for name, m := range w.members {
		m.note(e, func(r *report) { r.version = "7" })
		m.end = func() { m.note(e, func(r *report) { r.version = "the last word of " + name }) }
	}
	w.stopMember("gondor")
	require.Nil(t, w.member("gondor"))
	require.NotContains(t, e.reports, "gondor")
	require.Equal(t, "7", e.reports["shire"].version)
	w.stopMember("nobody")
}

func TestTakeBack(t *testing.T) {
	w := newWorld(t, "gondor")
	m, of := w.members["gondor"], w.kind("configmaps")
	require.Equal(t, 1, m.takeBack(), "what was under way when it began may still come")
	require.Zero(t, m.takeBack())
	w.has("gondor", of, object(t, `{metadata: {name: one}}`))
	require.Equal(t, 1, m.takeBack())
	w.unlisted(m.objects[w.kind("secrets")])
	require.Equal(t, 2, m.takeBack(), "what is not read yet may be something")
}
