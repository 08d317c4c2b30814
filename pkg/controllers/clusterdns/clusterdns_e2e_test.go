//go:build e2e

package clusterdns

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/clusterdns"
	"github.com/fedhelm/fedhelm/pkg/memberdns"
	"github.com/fedhelm/fedhelm/test/faults"
)

// The member's DNS follows the federation and the member's topology, and what somebody did to our block is repaired; all else in the Corefile is the user's.
func TestFollows(t *testing.T) {
	w := newWorld(t)
	w.settled()
	assert.Contains(t, w.corefile(), "fellowship.svc.bree.eriador.federation.internal.", "in lower case")
	assert.Contains(t, w.corefile(), "federation.internal:53 {\n    errors\n    forward . 10.0.0.53:53\n")
	assert.Equal(t, &v1beta1.ClusterDNSStatus{Mode: "coredns", Zone: "federation.internal", Nearest: "bree.eriador.federation.internal", Nameservers: []string{"10.0.0.53:53"}},
		w.cluster().Status.ClusterDNS)
	assert.Equal(t, "True DNSConfigured: the cluster's DNS falls back to bree.eriador.federation.internal and asks 10.0.0.53:53", w.condition())
	assert.Len(t, w.recorded(), 1)

	t.Log("the nameservers move")
	w.told("fellowship-nameservers", map[string]string{"nameservers": "10.0.0.54:53 10.0.0.55:53"})
	writes := w.pass()
	assert.Equal(t, []string{"PUT /api/v1/namespaces/kube-system/configmaps/coredns", "PUT /apis/federation.fedhelm.dev/v1beta1/clusters/gondor/status"}, writes)
	assert.Contains(t, w.corefile(), "forward . 10.0.0.54:53 10.0.0.55:53\n")
	assert.NotContains(t, w.corefile(), "10.0.0.53")
	assert.Empty(t, w.pass())

	t.Log("they are not known, or nobody can tell: kept")
	before := w.corefile()
	w.told("fellowship-nameservers", map[string]string{})
	assert.Empty(t, w.pass())
	w.told("fellowship-nameservers", nil)
	assert.Empty(t, w.pass())
	w.trials = nil // a restart
	assert.Empty(t, w.pass())
	federation := map[string]string{"name": fellowship, "dnsZone": "federation.internal.", "nameservers": "", "ownDNS": "true"}
	w.told("fellowship-federation", nil)
	assert.Empty(t, w.pass())
	w.trials = nil
	assert.Empty(t, w.pass())
	w.told("fellowship-federation", federation)
	assert.Equal(t, before, w.corefile())

	t.Log("the topology changes")
	w.found(func(s *v1beta1.ClusterStatus) { s.Zones = []string{"bree", "buckland"} })
	w.settled()
	assert.Contains(t, w.corefile(), "fellowship.svc.eriador.federation.internal.")
	w.specified(func(s *v1beta1.ClusterSpec) { s.Region, s.Zones = "anorien", []string{"minas-tirith"} })
	w.settled()
	assert.Contains(t, w.corefile(), "fellowship.svc.minas-tirith.anorien.federation.internal.")
	assert.Contains(t, w.corefile(), "10.0.0.54:53", "with the nameservers that it had")

	t.Log("the values' nameservers win")
	w.told("fellowship-nameservers", map[string]string{"nameservers": "10.0.0.53:53"})
	federation["nameservers"] = "192.0.2.1,192.0.2.2:5353"
	w.told("fellowship-federation", federation)
	w.settled()
	assert.Contains(t, w.corefile(), "forward . 192.0.2.1 192.0.2.2:5353\n")

	t.Log("the zone is another, and public")
	federation["dnsZone"], federation["nameservers"], federation["ownDNS"] = "elrond.example.", "", "false"
	w.told("fellowship-federation", federation)
	w.settled()
	assert.Contains(t, w.corefile(), "fellowship.svc.minas-tirith.anorien.elrond.example.")
	assert.NotContains(t, w.corefile(), "192.0.2")
	assert.NotContains(t, w.corefile(), "federation.internal")

	t.Log("our block is edited, and taken out")
	good := w.corefile()
	w.replace("elrond.example", "sauron.example")
	w.settled()
	assert.Equal(t, good, w.corefile())
	w.edit(func(string) string { return userCorefile + "\n# and more" })
	w.settled()
	without, err := clusterdns.RemoveBlock(w.corefile(), fellowship)
	require.NoError(t, err)
	assert.Equal(t, userCorefile+"\n# and more", without)
	w.replace("cache 30", "cache 5")
	assert.Empty(t, w.pass(), "what is not ours is the user's")
	assert.Contains(t, w.corefile(), "cache 5")

	t.Log("a platform writes over the whole Corefile")
	w.edit(func(string) string { return "other.example:53 {\n    errors\n}\n" })
	w.settled()
	assert.True(t, strings.HasPrefix(w.corefile(), "other.example:53 {\n    errors\n}\n# BEGIN fedhelm federation fellowship\n"))
}

// The other places are followed as well, and a mode that changes takes the old one's text along.
func TestModes(t *testing.T) {
	w := newWorld(t)
	w.settled()
	w.create(w.member, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: memberdns.Namespace, Name: memberdns.KubeDNS},
		Data: map[string]string{"federations": "mordor=mordor.example", "stubDomains": `{"acme.local": ["1.2.3.4"]}`}})
	mode := func(mode v1beta1.ClusterDNSMode) {
		w.specified(func(s *v1beta1.ClusterSpec) { s.ClusterDNS.Mode = mode })
		w.settled()
	}

	mode(v1beta1.ClusterDNSKubeDNS)
	assert.Equal(t, userCorefile, w.corefile())
	assert.Equal(t, "mordor=mordor.example,fellowship=federation.internal", w.data(memberdns.KubeDNS)["federations"])
	assert.Equal(t, `{"acme.local": ["1.2.3.4"],"federation.internal":["10.0.0.53:53"]}`, w.data(memberdns.KubeDNS)["stubDomains"])
	w.told("fellowship-nameservers", map[string]string{"nameservers": "10.0.0.54:53"})
	w.settled()
	assert.Equal(t, `{"acme.local": ["1.2.3.4"],"federation.internal":["10.0.0.54:53"]}`, w.data(memberdns.KubeDNS)["stubDomains"])
	configMap := &corev1.ConfigMap{}
	require.NoError(t, w.member.Get(t.Context(), client.ObjectKey{Namespace: memberdns.Namespace, Name: memberdns.KubeDNS}, configMap))
	configMap.Data["federations"], configMap.Data["stubDomains"] = "mordor=mordor.example", `{"acme.local": ["1.2.3.5"]}`
	require.NoError(t, w.member.Update(t.Context(), configMap))
	w.settled()
	assert.Equal(t, "mordor=mordor.example,fellowship=federation.internal", w.data(memberdns.KubeDNS)["federations"], "repaired")
	assert.Equal(t, `{"acme.local": ["1.2.3.5"],"federation.internal":["10.0.0.54:53"]}`, w.data(memberdns.KubeDNS)["stubDomains"])

	mode(v1beta1.ClusterDNSCustom)
	assert.Equal(t, map[string]string{"federations": "mordor=mordor.example", "stubDomains": `{"acme.local": ["1.2.3.5"]}`}, w.data(memberdns.KubeDNS))
	assert.Contains(t, w.data(memberdns.CoreDNSCustom)["fedhelm-fellowship.server"], "10.0.0.54:53")
	require.NoError(t, w.member.Delete(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: memberdns.Namespace, Name: memberdns.CoreDNSCustom}}))
	w.settled()
	assert.Contains(t, w.data(memberdns.CoreDNSCustom)["fedhelm-fellowship.server"], "10.0.0.54:53", "repaired")

	mode(v1beta1.ClusterDNSCoreDNS)
	assert.Nil(t, w.data(memberdns.CoreDNSCustom))
	mode(v1beta1.ClusterDNSNone)
	assert.Empty(t, w.condition())
	assert.Equal(t, &v1beta1.ClusterDNSStatus{Mode: "none"}, w.cluster().Status.ClusterDNS)
	w.told("fellowship-nameservers", map[string]string{"nameservers": "10.0.0.99:53"})
	assert.Empty(t, w.pass())
	assert.NotContains(t, w.corefile(), "10.0.0.99", "join took it away or left it, and so do we")
}

// What somebody must mend is said once, in a sentence, and nothing is written in the member; mended, all goes on.
func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		spoil, mend func(*world)
		condition   string
	}{
		"the user's syntax error": {
			func(w *world) { w.replace("    cache 30\n}", "    cache 30") },
			func(w *world) { w.replace("    cache 30", "    cache 30\n}") },
			"False DNSUnfit: the Corefile cannot take federation fellowship: what is there opens a block in line 1 that it does not close",
		},
		"a line of our markers is gone": {
			func(w *world) { w.replace("# END fedhelm federation fellowship", "") },
			func(w *world) { w.edit(func(string) string { return userCorefile }) },
			`False DNSUnfit: the Corefile has the line "# BEGIN fedhelm federation fellowship" without an END line after it: delete the block of federation fellowship by hand, with both its marker lines`,
		},
		"no Corefile": {
			func(w *world) {
				require.NoError(w, w.member.Delete(w.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: memberdns.Namespace, Name: memberdns.CoreDNS}}))
			},
			func(w *world) {
				w.create(w.member, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: memberdns.Namespace, Name: memberdns.CoreDNS}, Data: map[string]string{memberdns.CorefileKey: userCorefile}})
			},
			"False DNSUnfit: clusterDNS.mode is coredns, but the member has no ConfigMap kube-system/coredns: set clusterDNS.mode=auto or none",
		},
		"somebody serves the zone": {
			func(w *world) {
				w.edit(func(text string) string { return "federation.internal:53 {\n    errors\n}\n" + text })
			},
			func(w *world) { w.replace("federation.internal:53 {\n    errors\n}\n.:53", ".:53") },
			"False DNSUnfit: the Corefile cannot take federation fellowship: line 1 there serves federation.internal. on port 53 already: take it out if it is yours, or give the federations of this member different zones",
		},
		"a template that fails": {
			func(w *world) { w.specified(func(s *v1beta1.ClusterSpec) { s.ClusterDNS.Template = "{{ .Nothing }}" }) },
			func(w *world) { w.specified(func(s *v1beta1.ClusterSpec) { s.ClusterDNS.Template = "" }) },
			`False DNSUnfit: line 1 of the value clusterDNS.template fails: executing "clusterDNS.template" at <.Nothing>: can't evaluate field Nothing in type clusterdns.Federation`,
		},
		"a template that CoreDNS refuses": {
			func(w *world) {
				w.kubelet()
				w.specified(func(s *v1beta1.ClusterSpec) { s.ClusterDNS.Template = "a.example:53 {\n    nonsense\n}\n" })
			},
			func(w *world) {
				w.specified(func(s *v1beta1.ClusterSpec) { s.ClusterDNS.Template = "a.example:53 {\n    errors\n}\n" })
			},
			"False DNSRefused: the member's CoreDNS refuses the text for federation fellowship (/etc/coredns/Corefile:12 - Error during parsing: Unknown directive 'nonsense'), " +
				"so its DNS was left as it was: correct clusterDNS.template, or set clusterDNS.mode=none",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.settled()
			w.recorded()
			c.spoil(w)
			before := w.data(memberdns.CoreDNS)
			w.pass()
			assert.Equal(t, c.condition, w.condition())
			assert.Equal(t, "bree.eriador.federation.internal", w.cluster().Status.ClusterDNS.Nearest, "it is set to what it was")
			assert.Empty(t, w.pass(), "said once, and no trial again and again")
			_, message, _ := strings.Cut(c.condition, ": ")
			assert.Equal(t, []string{"Warning " + strings.TrimPrefix(strings.TrimSuffix(c.condition, ": "+message), "False ") + " " + message}, w.recorded())
			assert.Equal(t, before, w.data(memberdns.CoreDNS), "nothing is written")
			c.mend(w)
			w.settled()
			assert.Contains(t, w.condition(), "True DNSConfigured: ")
			assert.Len(t, w.recorded(), 1)
			assert.Nil(t, w.data("fedhelm-trial-fellowship"), "nothing of a trial stays")
		})
	}
}

// A member that does not let us write is told of, and the tries become rare.
func TestForbidden(t *testing.T) {
	w := newWorld(t)
	user, err := memberEnv.AddUser(envtest.User{Name: "boromir"}, nil)
	require.NoError(t, err)
	w.account = user.Config()
	read := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "boromir"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"get", "list"}}}}
	w.create(w.member, read)
	w.create(w.member, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "boromir"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "boromir"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "boromir"}}})
	t.Cleanup(func() {
		_ = w.member.Delete(context.Background(), read)
		_ = w.member.Delete(context.Background(), &rbacv1.ClusterRoleBinding{ObjectMeta: read.ObjectMeta})
	})
	eventually(t, "the right to read", func() (bool, string) {
		w.pass()
		return strings.Contains(w.condition(), `User "boromir" cannot update`), w.condition()
	})
	assert.Regexp(t, `^False DNSForbidden: change ConfigMap kube-system/coredns in the member: .*: see what forbids it there to the federation's account `+
		`\(a policy, a webhook, a changed ClusterRole federation-controller-manager:fellowship-gondor-fellowship\), or set clusterDNS.mode=none$`, w.condition())
	wire := &faults.Transport{}
	r := w.reconciler(wire)
	var pauses []time.Duration
	for range 7 {
		result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Name: "gondor"}})
		require.NoError(t, err)
		pauses = append(pauses, result.RequeueAfter)
	}
	assert.Equal(t, []time.Duration{period, 2 * period, 4 * period, 8 * period, longestPause, longestPause, longestPause}, pauses)
	assert.Len(t, wire.Writes(), 7, "tries in the member alone: %v", wire.Writes())
	w.account = memberEnv.Config
	w.settled()
	assert.Contains(t, w.condition(), "True DNSConfigured: ")
}

// A member that leaves, is not Ready, or was never asked to be followed is left alone; also one that leaves in the middle of a pass.
func TestLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.specified(func(s *v1beta1.ClusterSpec) { s.ClusterDNS = nil })
	assert.Empty(t, w.pass(), "join has not ended")
	w.specified(func(s *v1beta1.ClusterSpec) { s.ClusterDNS = &v1beta1.ClusterDNS{Mode: v1beta1.ClusterDNSCoreDNS} })
	cluster := w.cluster()
	cluster.Spec.Region = "south"
	require.NoError(t, w.home.Update(t.Context(), cluster))
	assert.Empty(t, w.pass(), "nobody has looked since the spec changed")
	w.found(func(*v1beta1.ClusterStatus) {})
	cluster = w.cluster()
	meta.SetStatusCondition(&cluster.Status.Conditions, metav1.Condition{Type: v1beta1.ClusterReady, Status: metav1.ConditionUnknown, Reason: "ClusterNotReachable", ObservedGeneration: cluster.Generation})
	require.NoError(t, w.home.Status().Update(t.Context(), cluster))
	assert.Empty(t, w.pass(), "not Ready")
	w.found(func(*v1beta1.ClusterStatus) {})

	cluster = w.cluster()
	r := w.reconciler(&faults.Transport{})
	require.NoError(t, r.still(t.Context(), cluster))
	cluster.Finalizers = []string{"example.com/wait"}
	require.NoError(t, w.home.Update(t.Context(), cluster))
	require.NoError(t, w.home.Delete(t.Context(), cluster))
	require.ErrorIs(t, r.still(t.Context(), cluster), errLeft)
	facts, known := r.facts.read(t.Context())
	require.True(t, known)
	_, err := r.ensure(t.Context(), cluster, r.members.Get("gondor"), facts, &memory{})
	require.ErrorIs(t, err, errLeft, "the pass had begun before")
	assert.Empty(t, w.pass(), "being deleted")
	assert.Equal(t, userCorefile, w.corefile())
	cluster = w.cluster()
	cluster.Finalizers = nil
	require.NoError(t, w.home.Update(t.Context(), cluster))
	require.ErrorIs(t, r.still(t.Context(), cluster), errLeft)
	assert.Empty(t, w.pass(), "gone")
}

// Killed at any write, the next pass comes to the same end, and nothing of a trial stays.
func TestKilled(t *testing.T) {
	cuts := faults.KillAtEveryWrite(t, func(t *testing.T) faults.Stage {
		w := newWorld(t)
		w.kubelet()
		w.specified(func(s *v1beta1.ClusterSpec) { s.ClusterDNS.Mode = v1beta1.ClusterDNSCustom })
		w.pass()
		w.specified(func(s *v1beta1.ClusterSpec) { s.ClusterDNS.Mode = v1beta1.ClusterDNSCoreDNS })
		return faults.Stage{
			Run: func(ctx context.Context, wire *faults.Transport) error {
				r := w.reconciler(wire)
				result, err := r.Reconcile(ctx, ctrl.Request{NamespacedName: client.ObjectKey{Name: "gondor"}})
				switch {
				case err != nil:
					return err
				case wire.Cut():
					return faults.ErrKilled
				case result.RequeueAfter == 0:
					return fmt.Errorf("the pass did not come to its end: %s", w.condition())
				}
				return nil
			},
			Check: func(t *testing.T) {
				require.Contains(t, w.condition(), "True DNSConfigured: ")
				require.Empty(t, w.pass())
				without, err := clusterdns.RemoveBlock(w.corefile(), fellowship)
				require.NoError(t, err)
				require.Equal(t, userCorefile, without)
				require.NotEqual(t, userCorefile, w.corefile())
				require.Nil(t, w.data(memberdns.CoreDNSCustom))
				require.Nil(t, w.data("fedhelm-trial-fellowship"))
				require.Error(t, w.member.Get(t.Context(), client.ObjectKey{Namespace: memberdns.Namespace, Name: "fedhelm-trial-fellowship"}, &corev1.Pod{}))
			},
		}
	})
	t.Logf("%d cuts", cuts)
}

// A join, the controller and the member's owner at work at the same time take nothing from each other.
func TestAtOnce(t *testing.T) {
	w := newWorld(t)
	w.settled()
	const edits = 20
	var group sync.WaitGroup
	for _, who := range []string{"merry", "pippin"} {
		group.Go(func() {
			for i := range edits {
				for {
					configMap := &corev1.ConfigMap{}
					err := w.member.Get(context.Background(), client.ObjectKey{Namespace: memberdns.Namespace, Name: memberdns.CoreDNS}, configMap)
					if err == nil {
						configMap.Data[memberdns.CorefileKey] = fmt.Sprintf("# %s %d\n%s", who, i, configMap.Data[memberdns.CorefileKey])
						err = w.member.Update(context.Background(), configMap)
					}
					if err == nil {
						break
					}
				}
			}
		})
	}
	for range 2 { // one of them is as good as a join
		group.Go(func() {
			r := w.reconciler(&faults.Transport{})
			for i := range edits {
				configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: rivendell, Name: "fellowship-nameservers"}, Data: map[string]string{"nameservers": fmt.Sprintf("10.0.1.%d:53", i)}}
				_ = w.home.Update(context.Background(), configMap)
				_, _ = r.Reconcile(context.Background(), ctrl.Request{NamespacedName: client.ObjectKey{Name: "gondor"}})
			}
		})
	}
	group.Wait()
	w.told("fellowship-nameservers", map[string]string{"nameservers": "10.0.0.99:53"})
	w.settled()
	assert.Equal(t, 1, strings.Count(w.corefile(), "# BEGIN fedhelm"))
	assert.Contains(t, w.corefile(), "forward . 10.0.0.99:53\n")
	for _, who := range []string{"merry", "pippin"} {
		for i := range edits {
			assert.Equal(t, 1, strings.Count(w.corefile(), fmt.Sprintf("# %s %d\n", who, i)))
		}
	}
}
