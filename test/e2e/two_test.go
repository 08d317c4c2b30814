//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/clusterdns"
	"github.com/fedhelm/fedhelm/pkg/memberdns"
	"github.com/fedhelm/fedhelm/test/clusters"
	"github.com/fedhelm/fedhelm/test/matrix"
)

// membership is gondor in one of two federations of a namespace.
type membership struct {
	federatedDNS
	// release is that of the member, args are the values by which it keeps clear of the other's.
	release string
	args    []string
	// zone is the federation DNS's, service the name of what the federation runs.
	zone, service string
}

// installWhole installs the federation's control plane, and creates in the federation a Service and a ConfigMap that is named like it.
func (m *membership) installWhole(t *testing.T) {
	t.Helper()
	m.install(t, "--set", "dns.zoneName="+m.zone)
	m.api = m.fellowship.api(t)
	m.apply(t, m.api, strings.ReplaceAll(nginx, "nginx", m.service))
	require.NoError(t, m.api.Create(t.Context(), inDefault(m.name)))
}

func inDefault(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
}

// enter joins gondor, by the kubeconfig in Secret gondor-kubeconfig.
func (m *membership) enter(t *testing.T) {
	t.Helper()
	m.must(t, append([]string{"upgrade", "--install", m.release, clusters.MemberChart, "--wait", "--timeout", "4m",
		"--set", "federation=" + m.name, "--set", "unjoin.policy=Delete"}, m.args...)...)
}

// leave lets gondor go, and sees that nothing of the federation is left.
func (m *membership) leave(t *testing.T) {
	t.Helper()
	m.uninstall(t, m.release)
	clusters.EventuallySeen(t, time.Minute, "nothing of federation "+m.name+" in gondor, and nothing of release "+m.release, func() (bool, string) {
		left := m.traces(t)
		return left == "", left
	})
	waitGone(t, m.gondor, inDefault(m.name))
	waitGone(t, m.gondor, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: m.service}})
}

// traces are what joining made in member and host, with its versions, and the federation's block of the member's Corefile. They are empty where there is nothing.
func (m *membership) traces(t *testing.T) string {
	t.Helper()
	const versions = `jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{"\n"}{end}`
	inMember := m.gondor.Kubectl(t, "get", "serviceaccounts,secrets,clusterroles,clusterrolebindings", "--all-namespaces", "-l", v1beta1.LabelFederation+"="+m.name, "-o", versions)
	inHost := m.kubectl(t, "get", "secrets,roles,rolebindings", "-l", v1beta1.LabelRelease+"="+m.release, "-o", versions)
	var coreDNS corev1.ConfigMap
	require.NoError(t, m.gondor.Get(t.Context(), client.ObjectKey{Namespace: memberdns.Namespace, Name: memberdns.CoreDNS}, &coreDNS))
	block, _, err := clusterdns.Block(coreDNS.Data[memberdns.CorefileKey], m.name)
	require.NoError(t, err)
	return inMember + inHost + block
}

// requireJoined sees that the federation has gondor, with an account of its own and only its own objects there, and that gondor's CoreDNS answers for it.
func (m *membership) requireJoined(t *testing.T, other *membership) {
	t.Helper()
	m.waitForCluster(t, m.api, "gondor", "True")
	traces := m.traces(t)
	account := "gondor-" + m.name
	for _, trace := range []string{
		"ServiceAccount " + account + " ", "Secret " + account + "-token ", "ClusterRole " + v1beta1.MemberRole("gondor", m.name) + " ", "ClusterRoleBinding " + v1beta1.MemberRole("gondor", m.name) + " ",
		m.name + ".svc.cluster.local:53 {", m.zone + ":53 {",
	} {
		require.Contains(t, traces, trace)
	}
	copied := inDefault(m.name)
	waitThere(t, m.gondor, copied)
	require.Equal(t, m.name, copied.Labels[v1beta1.LabelFederated])
	err := other.api.Get(t.Context(), client.ObjectKeyFromObject(copied), inDefault(m.name))
	require.True(t, apierrors.IsNotFound(err), "federation %s has ConfigMap %s of the other: %v", other.name, m.name, err)
	m.requireAnswers(t)
}

// requireAnswers asks gondor's CoreDNS for the federation's Service: by the short name it is the local one, by that in the federation's zone its load balancer. A pod gets a new Corefile within a minute
// and a half.
func (m *membership) requireAnswers(t *testing.T) {
	t.Helper()
	local, balancer := service(t, m.gondor, m.service)
	name := m.service + ".default." + m.name
	eventuallyAnswers(t, 2*time.Minute, m.asker(m.gondor), name, local)
	eventuallyAnswers(t, 2*time.Minute, m.asker(m.gondor), name+".svc."+m.zone, balancer)
}

// requireUntouched sees that the federation is as it was before the other had to do with gondor, and still at work there.
func (m *membership) requireUntouched(t *testing.T, before string) {
	t.Helper()
	require.Equal(t, before, m.traces(t), "what federation %s has in gondor and in the host cluster", m.name)
	m.waitForCluster(t, m.api, "gondor", "True")
	news := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", GenerateName: "news-"}}
	require.NoError(t, m.api.Create(t.Context(), news))
	waitThere(t, m.gondor, inDefault(news.Name))
	m.requireAnswers(t)
}

// TestTwoFederations has two federations in one namespace and gondor in both, which it joins and leaves in any order.
func TestTwoFederations(t *testing.T) {
	matrix.WholeOnly(t, "two control planes and six joins take minutes; the packages' tests have two federations in a namespace's Secret, in a Corefile and in a member's namespace")
	f := newFellowship(t, "helm")
	gondor := clusters.Open(t, clusters.Gondor)
	f.kubectl(t, "create", "secret", "generic", "gondor-kubeconfig", "--from-file=kubeconfig="+gondor.Kubeconfig) // both releases find it by the cluster's name
	gondor.Kubectl(t, "apply", "-f", f.write(t, digger))
	t.Cleanup(func() { _, _ = gondor.Run(t, "kubectl", "delete", "pod/dig", "--ignore-not-found") })
	gondor.Kubectl(t, "wait", "--for=condition=Ready", "pod/dig", "--timeout=1m")
	memberBefore, hostBefore := gondor.TakeSnapshot(t), f.host.TakeSnapshot(t)

	second := *f
	second.name = "alliance"
	fellowship := &membership{federatedDNS: federatedDNS{federated: federated{fellowship: f, gondor: gondor}}, release: "gondor", zone: zone, service: "nginx"}
	alliance := &membership{federatedDNS: federatedDNS{federated: federated{fellowship: &second, gondor: gondor}}, release: "gondor-alliance", zone: "alliance.internal", service: "beacon",
		args: []string{"--set", "clusterName=gondor", "--set", "secretName=gondor-alliance-credentials"}}
	fellowship.installWhole(t)
	alliance.installWhole(t)
	hostInstalled := f.host.TakeSnapshot(t)

	// enterBoth joins both, of which the second leaves the first as it is.
	enterBoth := func(t *testing.T, first, then *membership) {
		t.Helper()
		first.enter(t)
		before := first.traces(t)
		then.enter(t)
		require.Equal(t, before, first.traces(t), "what federation %s has in gondor and in the host cluster", first.name)
		first.requireJoined(t, then)
		then.requireJoined(t, first)
	}
	for _, order := range []struct {
		name        string
		first, then *membership
	}{
		{"left in the order joined", fellowship, alliance},
		{"left in the reverse order", alliance, fellowship},
	} {
		t.Run(order.name, func(t *testing.T) {
			enterBoth(t, order.first, order.then)
			before := alliance.traces(t)
			fellowship.leave(t)
			alliance.requireUntouched(t, before)
			alliance.leave(t)
			gondor.RequireUnchanged(t, memberBefore)
			f.host.RequireUnchanged(t, hostInstalled)
		})
	}
	t.Run("a control plane that goes lets its member go, and leaves the other federation as it is", func(t *testing.T) {
		enterBoth(t, fellowship, alliance)
		before := fellowship.traces(t)
		f.uninstall(t, alliance.name)
		fellowship.requireUntouched(t, before)
		f.must(t, "test", f.name)
		alliance.leave(t)
		require.Equal(t, before, fellowship.traces(t))
		fellowship.leave(t)
		gondor.RequireUnchanged(t, memberBefore)
		f.uninstall(t, f.name)
		f.host.RequireUnchanged(t, hostBefore)
	})
}
