//go:build e2e

package manager_test

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/test/clusters"
)

// The whole program keeps a member's DNS up to date, with no more rights in the host than the chart gives it.
func TestDNSOfMembers(t *testing.T) {
	f, gondor := federation(t), startAPI(t)
	configMap := func(name string, data map[string]string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: hostNamespace, Name: name}, Data: data}
	}
	at := metav1.ObjectMeta{Namespace: hostNamespace, Name: "fellowship-controller-manager"}
	f.create(
		configMap("fellowship-federation", map[string]string{"name": "fellowship", "dnsZone": "federation.internal.", "nameservers": ""}),
		&rbacv1.Role{ObjectMeta: at, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"},
			ResourceNames: []string{"fellowship-federation", "fellowship-nameservers"}, Verbs: []string{"get"}}}},
		&rbacv1.RoleBinding{ObjectMeta: at, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: at.Name},
			Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "host-user"}}},
	)
	gondor.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "coredns"}, Data: map[string]string{"Corefile": ".:53 {\n    errors\n}\n"}})
	gondor.node("minas-tirith", "West", "west-b")
	dns := func() *corev1.ConfigMap {
		c := &corev1.ConfigMap{}
		require.NoError(t, gondor.Get(t.Context(), client.ObjectKey{Namespace: "kube-system", Name: "coredns"}, c))
		return c
	}
	eventually := func(text string) {
		t.Helper()
		clusters.EventuallySeen(t, bound, text, func() (bool, string) {
			corefile := dns().Data["Corefile"]
			return strings.Contains(corefile, text), fmt.Sprintf("%s %+v", corefile, f.cluster("gondor").Status)
		})
	}

	// A member that accepts and never answers is there all the time.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	credentials := map[string][]byte{"token": gondor.token("first"), "ca.crt": gondor.env.Config.CAData}
	follow := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"clusterDNS":{"mode":"coredns"}}}`))
	for name, address := range map[string]string{"gondor": gondor.env.Config.Host, "mordor": "https://" + silent.Addr().String()} {
		f.join(name, address, credentials)
		require.NoError(t, f.Patch(t.Context(), f.cluster(name), follow))
	}
	p := f.run()
	eventually("fellowship.svc.west-b.west.federation.internal.")
	clusters.EventuallySeen(t, bound, "the condition", func() (bool, string) {
		c := f.cluster("gondor")
		return meta.IsStatusConditionTrue(c.Status.Conditions, v1beta1.ClusterDNSConfigured) && c.Status.ClusterDNS != nil, fmt.Sprintf("%+v", c.Status)
	})
	require.Equal(t, "cluster.local", f.cluster("gondor").Spec.ClusterDNS.ClusterDomain)

	corefile := dns().ResourceVersion
	f.neverWrites(p, "gondor", 6)
	require.Equal(t, corefile, dns().ResourceVersion, "no writes while nothing changes")

	f.create(configMap("fellowship-nameservers", map[string]string{"nameservers": "10.0.0.53:53"}))
	eventually("federation.internal:53 {\n    errors\n    forward . 10.0.0.53:53\n}")
	gondor.node("osgiliath", "West", "west-a")
	eventually("fellowship.svc.west.federation.internal.")
	edited := dns()
	edited.Data["Corefile"] = "# mine\n" + strings.ReplaceAll(edited.Data["Corefile"], "10.0.0.53", "10.9.9.9")
	require.NoError(t, gondor.Update(t.Context(), edited))
	eventually("10.0.0.53")
	require.True(t, strings.HasPrefix(dns().Data["Corefile"], "# mine\n.:53 {\n    errors\n}\n# BEGIN fedhelm federation fellowship\n"))

	edited = dns()
	edited.Data["Corefile"] = strings.Replace(edited.Data["Corefile"], "errors\n}", "errors", 1)
	require.NoError(t, gondor.Update(t.Context(), edited))
	clusters.EventuallySeen(t, bound, "the broken Corefile", func() (bool, string) {
		c := meta.FindStatusCondition(f.cluster("gondor").Status.Conditions, v1beta1.ClusterDNSConfigured)
		return c.Status == metav1.ConditionFalse && strings.Contains(c.Message, "opens a block in line 2 that it does not close"), fmt.Sprint(c)
	})
	require.Equal(t, v1beta1.ClusterPhaseReady, f.cluster("gondor").Status.Phase, "it is Ready all the same")
	admin := f.kubeconfig("admin", "system:masters")
	clusters.EventuallySeen(t, bound, "the Event", func() (bool, string) {
		out := kubectl(t, admin, "get", "events", "-n", "default")
		return strings.Contains(out, "DNSUnfit"), out
	})
	require.Regexp(t, `(?m)^NAME +STATUS +VERSION +REGION +AGE\ngondor +Ready `, kubectl(t, admin, "get", "clusters"))

	t.Log("turned off")
	code, _ := p.end(syscall.SIGTERM)
	require.Zero(t, code)
	p.requireEnoughRights(t)
	edited = dns()
	edited.Data["Corefile"] = ".:53 {\n}\n"
	require.NoError(t, gondor.Update(t.Context(), edited))
	p = f.run("--controllers=cluster-dns=false")
	p.eventuallyProbed("gondor", 4)
	require.Equal(t, ".:53 {\n}\n", dns().Data["Corefile"])
}
