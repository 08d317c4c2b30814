//go:build e2e

package controlplane

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/test/faults"
)

// nameservers are those published; empty for none.
func (r *release) nameservers() string {
	r.Helper()
	published := &corev1.ConfigMap{}
	err := host.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: fellowship + "-nameservers"}, published)
	if apierrors.IsNotFound(err) {
		return ""
	}
	require.NoError(r, err)
	require.Equal(r, map[string]string{
		"app.kubernetes.io/managed-by": "fedhook", "federation.fedhelm.dev/release": fellowship, "federation.fedhelm.dev/federation": fellowship,
	}, published.Labels)
	return published.Data["nameservers"]
}

// ofDNS makes a release whose API needs no address.
func ofDNS(t *testing.T, kind string) *release {
	t.Helper()
	r := newRelease(t)
	r.values.APIServer.Service.Type, r.values.DNS.Server.Service.Type = "ClusterIP", kind
	require.NoError(t, r.certs())
	r.service()
	return r
}

func TestNameserversBehindALoadBalancer(t *testing.T) {
	r := ofDNS(t, "LoadBalancer")
	require.NoError(t, r.publish(), "no address is no failure")
	require.Empty(t, r.nameservers())
	require.Contains(t, r.log.String(), "the federation's DNS cannot be reached from outside yet")
	require.Contains(t, r.log.String(), "dns.server.service.type")

	// An address that comes while it is waited for.
	r.values.APIServer.Service.AddressTimeoutSeconds = 20
	hook, told, done := r.hook("publish", nil), make(lines, 10), make(chan error)
	hook.Log = slog.New(slog.NewTextHandler(told, nil))
	go func() { done <- hook.Publish(t.Context()) }()
	require.Contains(t, <-told, "waiting for the address of the federation's DNS")
	r.addressOf("dns", corev1.LoadBalancerIngress{IP: "192.0.2.53"}, corev1.LoadBalancerIngress{IP: "2001:db8::53"})
	require.NoError(t, <-done)
	require.Equal(t, "192.0.2.53:53 [2001:db8::53]:53", r.nameservers())
	r.checkQuiet(t, "publish", Hook.Publish)

	// The keeper follows another one; a name is followed to its addresses.
	keep := func() error {
		return r.hook("keeper", nil).Keep(t.Context(), federation.Config)
	}
	r.addressOf("dns", corev1.LoadBalancerIngress{Hostname: "localhost"})
	require.NoError(t, keep())
	require.Contains(t, r.nameservers(), "127.0.0.1:53")

	// What was published stays while a name cannot be resolved, or the address is gone.
	for _, ingress := range [][]corev1.LoadBalancerIngress{{{Hostname: "no-such-host.invalid"}}, nil} {
		r.addressOf("dns", ingress...)
		require.NoError(t, keep())
		require.Contains(t, r.nameservers(), "127.0.0.1:53")
	}
	require.Contains(t, r.log.String(), "host name no-such-host.invalid of the load balancer cannot be resolved")
}

// One wait is for both addresses, and name servers that are given are waited for not at all.
func TestOneWaitForBothAddresses(t *testing.T) {
	r := newRelease(t)
	require.NoError(t, r.certs())
	r.service()
	r.values.APIServer.Service.AddressTimeoutSeconds = 8
	took := func() time.Duration {
		start := time.Now()
		require.NoError(t, r.publish())
		return time.Since(start)
	}
	require.InDelta(t, 11, took().Seconds(), 4, "not twice the time")
	r.address(corev1.LoadBalancerIngress{IP: "192.0.2.10"})
	r.values.APIServer.Service.AddressTimeoutSeconds = 60
	r.values.DNS.Nameservers = []string{"192.0.2.99"}
	require.Less(t, took(), bound)
}

func TestNameserversOnNodes(t *testing.T) {
	r := ofDNS(t, "NodePort")
	require.NoError(t, r.publish())
	require.Contains(t, r.log.String(), "no pod of fellowship-dns in namespace")
	service := &corev1.Service{}
	require.NoError(t, host.Get(t.Context(), client.ObjectKey{Namespace: r.namespace, Name: "fellowship-dns"}, service))
	port := service.Spec.Ports[0].NodePort
	require.Equal(t, port, service.Spec.Ports[1].NodePort, "UDP and TCP have one port")
	r.pod("apiserver", "other", "192.0.2.1")
	r.pod("dns", "two", "192.0.2.22")
	r.pod("dns", "one", "192.0.2.11")
	r.pod("dns", "beside", "192.0.2.11")
	require.NoError(t, r.publish())
	require.Equal(t, fmt.Sprintf("192.0.2.11:%d 192.0.2.22:%[1]d", port), r.nameservers())
	r.removePod("two")
	require.NoError(t, r.publish())
	require.Equal(t, fmt.Sprintf("192.0.2.11:%d", port), r.nameservers())

	// What Helm 3 makes of another port.
	patch := []byte(`{"spec": {"ports": [{"port": 53, "nodePort": 30053}, {"port": 53, "nodePort": 30053}]}}`)
	require.NoError(t, host.Patch(t.Context(), service, client.RawPatch(types.StrategicMergePatchType, patch)))
	require.ErrorContains(t, r.publish(), fmt.Sprintf("has node port 30053 for UDP and %d for TCP", port))
}

func TestNameserversInTheCluster(t *testing.T) {
	r := ofDNS(t, "ClusterIP")
	require.NoError(t, r.publish())
	service := &corev1.Service{}
	require.NoError(t, host.Get(t.Context(), client.ObjectKey{Namespace: r.namespace, Name: "fellowship-dns"}, service))
	require.Equal(t, service.Spec.ClusterIP+":53", r.nameservers())
}

// A CoreDNS of the user's own is told to the members by v1's key coredns-endpoints, for as long as the configuration has it.
func TestNameserversOfOnesOwnCoreDNS(t *testing.T) {
	r := ofDNS(t, "ClusterIP")
	r.values.DNS.Check = "off"
	const etcd = "[Global]\netcd-endpoints = http://etcd-cluster.ns:2379\n"
	for _, c := range []struct{ endpoints, want string }{{"192.0.2.53:53, 192.0.2.54", "192.0.2.53:53 192.0.2.54"}, {"", ""}} {
		r.values.DNS.Config = etcd + "coredns-endpoints = " + c.endpoints + "\n"
		require.NoError(t, r.hook("prepare", nil).Prepare(t.Context()))
		require.NoError(t, r.publish())
		require.Equal(t, c.want, r.nameservers())
		r.checkQuiet(t, "publish", Hook.Publish)
	}
	r.values.DNS.Config = etcd + "coredns-endpoints = ns1.example.com:53\n"
	require.ErrorContains(t, r.hook("prepare", nil).Prepare(t.Context()), `key coredns-endpoints: the nameserver "ns1.example.com:53" is no address: give an IP address or ip:port`)
}

func TestForeignNameserversAreRefused(t *testing.T) {
	r := ofDNS(t, "ClusterIP")
	foreign := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: fellowship + "-nameservers"}, Data: map[string]string{"nameservers": "mine"}}
	require.NoError(t, host.Create(t.Context(), foreign))
	require.ErrorContains(t, r.publish(), "is not release fellowship's own")
	require.NoError(t, r.cleanup())
	require.NoError(t, host.Get(t.Context(), client.ObjectKeyFromObject(foreign), foreign))
	require.Equal(t, "mine", foreign.Data["nameservers"])
}

// Another provider takes the federation's own DNS away, and what was made for it; coming back makes it anew. The keeper, which may still run with other values, takes nothing away.
func TestAnotherProvider(t *testing.T) {
	faults.KillAtEveryWrite(t, func(t *testing.T) faults.Stage {
		r := ofDNS(t, "ClusterIP")
		require.NoError(t, r.dns())
		require.NoError(t, r.publish())
		require.NotEmpty(t, r.nameservers())
		r.values.DNS.Provider, r.values.DNS.Check = "aws-route53", "off"
		require.NoError(t, r.hook("keeper", nil).publish(t.Context()))
		require.Len(t, r.secrets(), 20)
		return faults.Stage{
			Run: func(ctx context.Context, wire *faults.Transport) error {
				if err := r.hook("prepare", wire).Prepare(ctx); err != nil {
					return err
				}
				return r.hook("publish", wire).Publish(ctx)
			},
			Check: func(t *testing.T) {
				r.checkCertificates(t)
				require.Len(t, r.secrets(), 17)
				require.Equal(t, map[string]string{"provider.conf": "[Global]\n"}, r.stored())
				require.Empty(t, r.nameservers())
				r.checkQuiet(t, "publish", Hook.Publish)

				r.values.DNS.Provider = "coredns"
				require.NoError(t, r.hook("prepare", nil).Prepare(t.Context()))
				require.NoError(t, r.publish())
				r.checkCertificates(t)
				require.Len(t, r.secrets(), 20)
				require.Equal(t, string(r.secrets()[authorityOfDNS].Data["tls.crt"]), r.stored()["ca.crt"])
				require.NotEmpty(t, r.nameservers())
				r.values.DNS.Provider = "aws-route53"
			},
		}
	})
}

// The DNS is rolled when its client certificate was renewed, once, and by nothing else; what upgrades do to the Deployment and the roll leave each other alone.
func TestDNSIsRolledWithItsCertificate(t *testing.T) {
	r := ofDNS(t, "ClusterIP")
	require.NoError(t, r.publish(), "before there is a Deployment")
	deployment := func() *appsv1.Deployment {
		t.Helper()
		d := &appsv1.Deployment{}
		require.NoError(t, host.Get(t.Context(), client.ObjectKey{Namespace: r.namespace, Name: fellowship + "-dns"}, d))
		return d
	}
	// As Helm 4 makes and upgrades it, by server-side apply.
	helm := func(image string) {
		t.Helper()
		text := fmt.Sprintf(`{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "fellowship-dns", "namespace": %q}, "spec": {"selector": {"matchLabels": {"a": "b"}},
			"template": {"metadata": {"labels": {"a": "b"}, "annotations": {"checksum/corefile": "1"}}, "spec": {"containers": [{"name": "coredns", "image": %q}]}}}}`, r.namespace, image)
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: fellowship + "-dns"}}
		require.NoError(t, host.Patch(t.Context(), d, client.RawPatch(types.ApplyPatchType, []byte(text)), client.FieldOwner("helm")))
	}
	helm("coredns:1")
	r.waitForNextSecond()
	r.pod("dns", "first", "192.0.2.1")
	quiet := func() {
		t.Helper()
		before := deployment().Generation
		r.checkQuiet(t, "publish", Hook.Publish)
		helm(deployment().Spec.Template.Spec.Containers[0].Image)
		require.Equal(t, before, deployment().Generation, "no pod is restarted without a change")
	}
	quiet()
	require.NotContains(t, deployment().Spec.Template.Annotations, annotationCertificate)

	// Renewed: rolled, and while the old pod is still there not rolled again.
	r.age = 250 * day
	faulty := &faults.Transport{CutAt: 1, Mode: faults.BeforeRequest}
	require.NoError(t, r.hook("prepare", nil).Certs(t.Context()))
	require.NoError(t, r.publishKubeconfigs())
	require.ErrorIs(t, r.hook("publish", faulty).Publish(t.Context()), faults.ErrKilled, "killed before it rolls")
	require.NoError(t, r.publish())
	rolled := deployment().Spec.Template.Annotations[annotationCertificate]
	require.NotEmpty(t, rolled)
	quiet()
	r.waitForNextSecond()
	r.pod("dns", "second", "192.0.2.1")
	r.removePod("first")
	quiet()

	// An upgrade, by server-side apply as by a merge, keeps the annotation.
	helm("coredns:2")
	merge := []byte(`{"spec": {"template": {"metadata": {"annotations": {"checksum/corefile": "2"}}}}}`)
	require.NoError(t, host.Patch(t.Context(), deployment(), client.RawPatch(types.StrategicMergePatchType, merge), client.FieldOwner("helm")))
	require.Equal(t, map[string]string{"checksum/corefile": "2", annotationCertificate: rolled}, deployment().Spec.Template.Annotations)

	// Renewed again, but with new pods already.
	r.age = 500 * day
	require.NoError(t, r.certs())
	r.removePod("second")
	r.waitForNextSecond()
	r.pod("dns", "third", "192.0.2.1")
	require.NoError(t, r.publish())
	require.Equal(t, rolled, deployment().Spec.Template.Annotations[annotationCertificate])
}

// publishKubeconfigs does what publish does before it comes to the DNS.
func (r *release) publishKubeconfigs() error {
	hook := r.hook("publish", nil)
	if err := hook.ensureAdminKubeconfig(r.Context(), reach{server: hook.inCluster()}); err != nil {
		return err
	}
	return hook.ensureRegistrar(r.Context())
}

// waitForNextSecond waits until what is made is told apart by its time of creation from what was made before, of which the API keeps seconds.
func (r *release) waitForNextSecond() {
	r.Helper()
	start := time.Now().Unix()
	require.NoError(r, kube.Wait(r.Context(), 50*time.Millisecond, bound, "the next second", func(context.Context) (bool, error) { return time.Now().Unix() > start, nil }))
}
