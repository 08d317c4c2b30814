//go:build e2e

package member

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/memberdns"
	"github.com/fedhelm/fedhelm/test/clusters"
)

// refusedSoon waits until the member no longer takes the kept token.
func (r *release) refusedSoon() {
	secret := &corev1.Secret{}
	require.NoError(r, host.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: "gondor-federation-credentials"}, secret))
	api, err := kube.Connect(kept(secret, "").config)
	require.NoError(r, err)
	clusters.EventuallySeen(r.T, bound, "the token to be refused", func() (bool, string) {
		_, err := api.Raw(r.Context(), "/version")
		return apierrors.IsUnauthorized(err), fmt.Sprint(err)
	})
}

// letGoByHand does what the warning about a member that cannot be reached says.
func letGoByHand(t *testing.T) error {
	for _, place := range memberdns.Places {
		if err := place.Remove(t.Context(), memberServer.API, fellowship); err != nil {
			return err
		}
	}
	if err := memberServer.Delete(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: names{"gondor", fellowship}.role()}}); err != nil {
		return err
	}
	return memberServer.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1beta1.NamespaceFederationSystem}})
}

func clusterOf(t *testing.T, name string) *v1beta1.Cluster {
	t.Helper()
	cluster := &v1beta1.Cluster{}
	require.NoError(t, federationServer.Get(t.Context(), client.ObjectKey{Name: name}, cluster))
	return cluster
}

// Changed values are followed, without the given kubeconfig too, which may be dropped after joining.
func TestChangedValues(t *testing.T) {
	asBefore := unchanged(t)
	gondor := newRelease(t, "gondor")
	gondor.values.Labels = map[string]string{"pci": "true", "tier": "gold"}
	require.NoError(t, gondor.join(), gondor.log.String())

	gondor.values.Credentials.Kubeconfig, gondor.values.Server = "", ""
	gondor.values.Labels = map[string]string{"tier": "silver"}
	gondor.values.Annotations = map[string]string{"note": "white"}
	gondor.values.Region, gondor.values.Zones = "anorien", []string{"minas-tirith"}
	gondor.values.ClusterDNS.Mode = "coredns-custom"
	require.NoError(t, gondor.join(), gondor.log.String())
	cluster := clusterOf(t, "gondor")
	assert.NotContains(t, cluster.Labels, "pci")
	assert.Equal(t, "silver", cluster.Labels["tier"])
	assert.Equal(t, "white", cluster.Annotations["note"])
	assert.Equal(t, "anorien", cluster.Spec.Region)
	configMap := &corev1.ConfigMap{}
	require.NoError(t, memberServer.Get(t.Context(), client.ObjectKey{Namespace: memberdns.Namespace, Name: memberdns.CoreDNS}, configMap))
	assert.Equal(t, userCorefile, configMap.Data[memberdns.CorefileKey], "the old mode's text is taken out, byte for byte")
	require.NoError(t, memberServer.Get(t.Context(), client.ObjectKey{Namespace: memberdns.Namespace, Name: memberdns.CoreDNSCustom}, configMap))
	assert.Contains(t, configMap.Data["fedhelm-fellowship.server"], "fellowship.svc.minas-tirith.anorien.federation.internal.")

	gondor.values.ClusterDNS.Mode = "kube-dns"
	require.NoError(t, gondor.join(), gondor.log.String())
	require.NoError(t, memberServer.Get(t.Context(), client.ObjectKey{Namespace: memberdns.Namespace, Name: memberdns.KubeDNS}, configMap))
	assert.Equal(t, "fellowship=federation.internal", configMap.Data["federations"])
	require.NoError(t, gondor.unjoin(), gondor.log.String())
	asBefore()
}

// Nameservers that are published come into the member's DNS; while they are not known, join goes on without, and lets the controllers follow.
func TestNameservers(t *testing.T) {
	controlPlane(t, "late", fellowship)
	federation := federationConfigMap("late", fellowship)
	federation.Data["nameservers"] = ""
	require.NoError(t, host.Update(t.Context(), federation))
	asBefore := unchanged(t)
	gondor := newRelease(t, "gondor")
	gondor.namespace = "late"
	corefile := func() string {
		configMap := &corev1.ConfigMap{}
		require.NoError(t, memberServer.Get(t.Context(), client.ObjectKey{Namespace: memberdns.Namespace, Name: memberdns.CoreDNS}, configMap))
		return configMap.Data[memberdns.CorefileKey]
	}

	require.NoError(t, gondor.join(), gondor.log.String())
	assert.Contains(t, gondor.log.String(), "the address of the federation's name servers is not known yet")
	assert.NotContains(t, corefile(), "federation.internal:53")
	assert.Equal(t, &v1beta1.ClusterDNS{Mode: v1beta1.ClusterDNSCoreDNS, ClusterDomain: "cluster.local"}, clusterOf(t, "gondor").Spec.ClusterDNS, "what auto has found")

	published := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "late", Name: "fellowship-nameservers"}, Data: map[string]string{"nameservers": "10.0.0.54:53 10.0.0.55:53"}}
	require.NoError(t, host.Create(t.Context(), published))
	gondor.values.ClusterDNS.Template = "a.example:53 {\n    forward . {{ join \" \" .Nameservers }}\n}\n"
	require.NoError(t, gondor.join(), gondor.log.String())
	assert.Contains(t, corefile(), "forward . 10.0.0.54:53 10.0.0.55:53\n")
	assert.Equal(t, gondor.values.ClusterDNS.Template, clusterOf(t, "gondor").Spec.ClusterDNS.Template)
	require.NoError(t, host.Delete(t.Context(), published))
	require.NoError(t, gondor.unjoin(), gondor.log.String())
	asBefore()
}

// A token whose account was made anew is replaced, in the member and in the host.
func TestStaleToken(t *testing.T) {
	asBefore := unchanged(t)
	gondor := newRelease(t, "gondor")
	require.NoError(t, gondor.join(), gondor.log.String())
	key := client.ObjectKey{Namespace: rivendell, Name: "gondor-federation-credentials"}
	before, after := &corev1.Secret{}, &corev1.Secret{}
	require.NoError(t, host.Get(t.Context(), key, before))
	require.NoError(t, memberServer.Delete(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1beta1.NamespaceFederationSystem, Name: "gondor-fellowship"}}))
	require.NoError(t, gondor.join(), gondor.log.String())
	require.NoError(t, host.Get(t.Context(), key, after))
	assert.NotEqual(t, before.Data["token"], after.Data["token"])
	gondor.values.Credentials.Kubeconfig = ""
	require.NoError(t, gondor.join(), "with the new token alone: "+gondor.log.String())
	require.NoError(t, gondor.unjoin())
	asBefore()
}

// The host cluster joins its own federation under fedhook's account, and keeps its namespace when it leaves.
func TestInCluster(t *testing.T) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1beta1.NamespaceFederationSystem}}
	rohan := newRelease(t, "rohan")
	rohan.values.Credentials.Kubeconfig, rohan.values.Credentials.InCluster = "", true
	rohan.values.Server = host.Config.Host
	rohan.values.ClusterDNS.Mode = "none"
	rohan.make(&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "rohan-join"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "rohan-join"}}})
	rohan.make(namespace)
	require.NoError(t, settle(t.Context(), host, namespace.Name))
	asBefore := unchanged(t)
	require.NoError(t, rohan.join(), rohan.log.String())
	require.NoError(t, rohan.join(), rohan.log.String())
	require.NoError(t, rohan.unjoin(), rohan.log.String())
	asBefore()
	assert.NotContains(t, rohan.log.String(), "left behind")
}

// A namespace that others use by now stays, with what is theirs, though an unjoin that was killed had given it to its role before.
func TestSharedNamespace(t *testing.T) {
	asBefore := unchanged(t)
	gondor := newRelease(t, "gondor")
	require.NoError(t, gondor.join(), gondor.log.String())
	role, namespace := &rbacv1.ClusterRole{}, &corev1.Namespace{}
	require.NoError(t, memberServer.Get(t.Context(), client.ObjectKey{Name: names{"gondor", fellowship}.role()}, role))
	require.NoError(t, memberServer.Get(t.Context(), client.ObjectKey{Name: v1beta1.NamespaceFederationSystem}, namespace))
	namespace.OwnerReferences = []metav1.OwnerReference{ownerReference(role)}
	require.NoError(t, memberServer.Update(t.Context(), namespace))
	theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1beta1.NamespaceFederationSystem, Name: "theirs"}}
	require.NoError(t, memberServer.Create(t.Context(), theirs))
	require.NoError(t, gondor.unjoin(), gondor.log.String())
	require.NoError(t, memberServer.Get(t.Context(), client.ObjectKeyFromObject(namespace), namespace))
	require.Empty(t, namespace.OwnerReferences)
	clusters.EventuallySeen(t, bound, "the account to be gone", func() (bool, string) {
		err := memberServer.Get(t.Context(), client.ObjectKey{Namespace: v1beta1.NamespaceFederationSystem, Name: "gondor-fellowship"}, &corev1.ServiceAccount{})
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
	require.NoError(t, memberServer.Get(t.Context(), client.ObjectKeyFromObject(theirs), theirs))
	require.NoError(t, memberServer.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1beta1.NamespaceFederationSystem}}))
	asBefore()
}

// The account of another federation, which has left a moment before, keeps no namespace though the garbage collector has not taken it yet.
func TestLastOfTwo(t *testing.T) {
	asBefore := unchanged(t)
	gondor := newRelease(t, "gondor")
	require.NoError(t, gondor.join(), gondor.log.String())
	const held = "fedhelm.dev/test" // so that it is there still when the other leaves
	alliance := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
		Namespace: v1beta1.NamespaceFederationSystem, Name: names{"gondor", "alliance"}.account(), Finalizers: []string{held},
		OwnerReferences: []metav1.OwnerReference{ownerReference(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: names{"gondor", "alliance"}.role(), UID: "gone"}})},
	}}
	require.NoError(t, memberServer.Create(t.Context(), alliance))
	require.NoError(t, gondor.unjoin(), gondor.log.String())
	assert.NotContains(t, gondor.log.String(), "the member's namespace stays")
	require.NoError(t, memberServer.Patch(t.Context(), alliance, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))))
	asBefore()
}

// The control plane's teardown lets a cluster go; its own release's uninstall finds the rest.
func TestLetGo(t *testing.T) {
	asBefore := unchanged(t)
	gondor := newRelease(t, "gondor")
	require.NoError(t, gondor.join(), gondor.log.String())
	gondor.values.Credentials.Kubeconfig = ""
	gondor.log.Reset()
	require.NoError(t, LetGo(t.Context(), LetGoOptions{
		Host: host.Config, Federation: federationServer.Config, Namespace: rivendell, FederationName: fellowship, Timeout: bound, Log: gondor.hook("unjoin", nil).Log,
	}, clusterOf(t, "gondor")), gondor.log.String())
	gone := client.IgnoreNotFound(memberServer.Get(t.Context(), client.ObjectKey{Name: names{"gondor", fellowship}.role()}, &rbacv1.ClusterRole{}))
	require.NoError(t, gone)
	configMap := federationConfigMap(rivendell, fellowship)
	require.NoError(t, host.Delete(t.Context(), configMap))
	require.NoError(t, gondor.unjoin(), gondor.log.String())
	assert.NotContains(t, gondor.log.String(), "WARN")
	require.NoError(t, host.Create(t.Context(), federationConfigMap(rivendell, fellowship)))
	asBefore()
}

// A member's release that is installed before its federation waits for it, for as long as it is told.
func TestFederationComesLater(t *testing.T) {
	controlPlane(t, "federation-to-come")
	asBefore := unchanged(t)
	gondor := newRelease(t, "gondor")
	gondor.namespace = "federation-to-come"
	gondor.values.Federation = fellowship
	gondor.values.Join.FederationTimeoutSeconds = 1
	require.ErrorContains(t, gondor.join(), `for federation "fellowship" to be installed in vain: there is no federation "fellowship" in namespace federation-to-come`)
	require.Contains(t, gondor.log.String(), "waiting for the federation")

	gondor.values.Join.FederationTimeoutSeconds, gondor.values.Join.ReadyTimeoutSeconds = 30, 0
	h := gondor.hook("join", nil)
	looks := 0
	h.wrap = func(next http.RoundTripper) http.RoundTripper {
		return passing{next, func(request *http.Request) {
			if strings.HasSuffix(request.URL.Path, "/configmaps") {
				if looks++; looks == 3 {
					publish(t, "federation-to-come", fellowship)
				}
			}
		}}
	}
	var err error
	h.Host, err = h.connect(gondor.account("join"))
	require.NoError(t, err)
	require.NoError(t, h.Join(t.Context()), gondor.log.String())
	require.NoError(t, gondor.unjoin(), gondor.log.String())
	require.NoError(t, host.Delete(t.Context(), federationConfigMap("federation-to-come", fellowship)))
	require.NoError(t, host.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "federation-to-come", Name: registrars}}))
	asBefore()
}

// passing calls a function before each request.
type passing struct {
	http.RoundTripper
	before func(*http.Request)
}

func (p passing) RoundTrip(request *http.Request) (*http.Response, error) {
	p.before(request)
	return p.RoundTripper.RoundTrip(request)
}
