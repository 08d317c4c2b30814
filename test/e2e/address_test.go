//go:build e2e

package e2e

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/pki"
	"github.com/fedhelm/fedhelm/test/clusters"
	"github.com/fedhelm/fedhelm/test/matrix"
)

// TestLoadBalancer gets no address during the install, which ends all the same and says so; a later one is published by the keeper.
func TestLoadBalancer(t *testing.T) {
	matrix.WholeOnly(t, "the packages' tests publish an address that comes late, and none, too")
	f := newFellowship(t, "helm")
	clusters.LocalCluster(t, "load-balancer", f.host.Name, "off")
	t.Cleanup(func() { clusters.LocalCluster(t, "load-balancer", f.host.Name, "on") })

	start := time.Now()
	said := f.must(t, "install", f.name, clusters.ControlPlaneChart, "--timeout", "4m", "--set", keeperAtRest, "--set", "apiServer.service.addressTimeoutSeconds=5")
	t.Logf("the install without an address took %s", time.Since(start).Round(time.Second))
	require.Contains(t, said, "Service "+f.namespace+"/fellowship-apiserver of type LoadBalancer has no address yet")
	require.Contains(t, said, "Service "+f.namespace+"/fellowship-dns of type LoadBalancer has no address yet")
	require.Equal(t, "https://fellowship-apiserver."+f.namespace+".svc:443", f.publishedServer(t))
	f.waitForRollouts(t)

	const address, ofDNS = "10.213.1.200", "10.213.1.201"
	require.NoError(t, f.setAddress(t.Context(), "apiserver", address))
	require.NoError(t, f.setAddress(t.Context(), "dns", ofDNS))
	f.keep(t)
	f.requirePublished(t, address)
	require.Equal(t, ofDNS+":53", f.nameservers(t))
}

// TestLateLoadBalancer gets its addresses two minutes after the install began, which waits for them: the kubeconfig and the certificate carry the API's, and the DNS's is published.
func TestLateLoadBalancer(t *testing.T) {
	matrix.WholeOnly(t, "two minutes of waiting; and the packages' tests have an address that comes late")
	f := newFellowship(t, "helm")
	clusters.LocalCluster(t, "load-balancer", f.host.Name, "off")
	t.Cleanup(func() { clusters.LocalCluster(t, "load-balancer", f.host.Name, "on") })
	const address, ofDNS = "10.213.1.202", "10.213.1.203"
	set := make(chan error, 1)
	timer := time.AfterFunc(2*time.Minute, func() {
		set <- errors.Join(f.setAddress(context.Background(), "apiserver", address), f.setAddress(context.Background(), "dns", ofDNS))
	})
	defer timer.Stop()
	f.must(t, "install", f.name, clusters.ControlPlaneChart, "--timeout", "4m30s", "--set", keeperAtRest, "--set", "apiServer.service.addressTimeoutSeconds=200")
	require.NoError(t, <-set, "the install ended before its addresses came")
	f.requirePublished(t, address)
	require.Equal(t, ofDNS+":53", f.nameservers(t))
}

// setAddress gives a component's Service an address, as a load balancer does.
func (f *fellowship) setAddress(ctx context.Context, component, address string) error {
	var service corev1.Service
	if err := f.host.Get(ctx, client.ObjectKey{Namespace: f.namespace, Name: f.name + "-" + component}, &service); err != nil {
		return err
	}
	service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: address}}
	return f.host.Status().Update(ctx, &service)
}

// requirePublished sees that the kubeconfig and the serving certificate carry an address, and that the API answers there.
func (f *fellowship) requirePublished(t *testing.T, address string) {
	t.Helper()
	require.Equal(t, "https://"+address+":443", f.publishedServer(t))
	certificate, err := pki.ParseCertificate(f.secret(t, "fellowship-apiserver-tls").Data["tls.crt"])
	require.NoError(t, err)
	require.NoError(t, certificate.VerifyHostname(address))
	require.NoError(t, f.api(t).Get(t.Context(), client.ObjectKey{Name: "default"}, &corev1.Namespace{}))
}

// TestServiceTypes reaches the API by each type of Service from outside the cluster, or says how.
func TestServiceTypes(t *testing.T) {
	matrix.WholeOnly(t, "the packages' tests publish each type of Service too")
	f := newFellowship(t, "helm")

	f.install(t, "--set", "apiServer.service.type=NodePort", "--set", "dns.server.service.type=NodePort")
	require.Regexp(t, `^10\.213\.1\.1:3\d{4}$`, f.nameservers(t))
	node := f.publishedServer(t)
	require.Regexp(t, `^https://10\.213\.1\.1:3\d{4}$`, node)
	require.NoError(t, f.api(t).Get(t.Context(), client.ObjectKey{Name: "default"}, &corev1.Namespace{}))

	f.install(t, "--set", "apiServer.service.type=NodePort", "--set", "apiServer.service.nodePort=32443", "--set", "apiServer.service.advertiseAddress=rivendell.example.com")
	require.Equal(t, "https://rivendell.example.com:32443", f.publishedServer(t))
	certificate, err := pki.ParseCertificate(f.secret(t, "fellowship-apiserver-tls").Data["tls.crt"])
	require.NoError(t, err)
	require.NoError(t, certificate.VerifyHostname("rivendell.example.com"))

	f.install(t, "--set", "apiServer.service.type=ClusterIP", "--set", "dns.server.service.type=ClusterIP")
	require.Equal(t, "https://fellowship-apiserver."+f.namespace+".svc:443", f.publishedServer(t))
	var service corev1.Service
	require.NoError(t, f.host.Get(t.Context(), client.ObjectKey{Namespace: f.namespace, Name: "fellowship-dns"}, &service))
	require.Equal(t, service.Spec.ClusterIP+":53", f.nameservers(t))
}

// nameservers are those of the federation's own DNS.
func (f *fellowship) nameservers(t *testing.T) string {
	t.Helper()
	var published corev1.ConfigMap
	require.NoError(t, f.host.Get(t.Context(), client.ObjectKey{Namespace: f.namespace, Name: "fellowship-nameservers"}, &published))
	return published.Data["nameservers"]
}

// publishedServer is the address in the administrator's kubeconfig.
func (f *fellowship) publishedServer(t *testing.T) string {
	t.Helper()
	config, err := clientcmd.RESTConfigFromKubeConfig(f.secret(t, f.name+"-kubeconfig").Data["kubeconfig"])
	require.NoError(t, err)
	return config.Host
}
