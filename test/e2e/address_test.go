//go:build e2e

package e2e

import (
	"context"
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
	f := newFellowship(t, "helm")
	clusters.LocalCluster(t, "load-balancer", f.host.Name, "off")
	t.Cleanup(func() { clusters.LocalCluster(t, "load-balancer", f.host.Name, "on") })

	start := time.Now()
	said := f.must(t, "install", f.name, clusters.ControlPlaneChart, "--timeout", "4m", "--set", keeperAtRest, "--set", "apiServer.service.addressTimeoutSeconds=5")
	t.Logf("the install without an address took %s", time.Since(start).Round(time.Second))
	require.Contains(t, said, "has no address yet")
	require.Equal(t, "https://fellowship-apiserver."+f.namespace+".svc:443", f.publishedServer(t))
	f.waitForRollouts(t)

	const address = "10.213.1.200"
	require.NoError(t, f.setAddress(t.Context(), address))
	f.keep(t)
	f.requirePublished(t, address)
}

// TestLateLoadBalancer gets its address two minutes after the install began, which waits for it: the kubeconfig and the certificate carry it.
func TestLateLoadBalancer(t *testing.T) {
	if !matrix.Whole() {
		return // two minutes of waiting; TestLoadBalancer has an address that comes later still
	}
	f := newFellowship(t, "helm")
	clusters.LocalCluster(t, "load-balancer", f.host.Name, "off")
	t.Cleanup(func() { clusters.LocalCluster(t, "load-balancer", f.host.Name, "on") })
	const address = "10.213.1.201"
	set := make(chan error, 1)
	timer := time.AfterFunc(2*time.Minute, func() { set <- f.setAddress(context.Background(), address) })
	defer timer.Stop()
	f.must(t, "install", f.name, clusters.ControlPlaneChart, "--timeout", "4m30s", "--set", keeperAtRest, "--set", "apiServer.service.addressTimeoutSeconds=200")
	require.NoError(t, <-set, "the install ended before its address came")
	f.requirePublished(t, address)
}

// setAddress gives the API's Service an address, as a load balancer does.
func (f *fellowship) setAddress(ctx context.Context, address string) error {
	var service corev1.Service
	if err := f.host.Get(ctx, client.ObjectKey{Namespace: f.namespace, Name: f.name + "-apiserver"}, &service); err != nil {
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
	f := newFellowship(t, "helm")

	f.install(t, "--set", "apiServer.service.type=NodePort")
	node := f.publishedServer(t)
	require.Regexp(t, `^https://10\.213\.1\.1:3\d{4}$`, node)
	require.NoError(t, f.api(t).Get(t.Context(), client.ObjectKey{Name: "default"}, &corev1.Namespace{}))

	f.install(t, "--set", "apiServer.service.type=NodePort", "--set", "apiServer.service.nodePort=32443", "--set", "apiServer.service.advertiseAddress=rivendell.example.com")
	require.Equal(t, "https://rivendell.example.com:32443", f.publishedServer(t))
	certificate, err := pki.ParseCertificate(f.secret(t, "fellowship-apiserver-tls").Data["tls.crt"])
	require.NoError(t, err)
	require.NoError(t, certificate.VerifyHostname("rivendell.example.com"))

	f.install(t, "--set", "apiServer.service.type=ClusterIP")
	require.Equal(t, "https://fellowship-apiserver."+f.namespace+".svc:443", f.publishedServer(t))
}

// publishedServer is the address in the administrator's kubeconfig.
func (f *fellowship) publishedServer(t *testing.T) string {
	t.Helper()
	config, err := clientcmd.RESTConfigFromKubeConfig(f.secret(t, f.name+"-kubeconfig").Data["kubeconfig"])
	require.NoError(t, err)
	return config.Host
}
