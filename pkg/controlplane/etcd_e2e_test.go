//go:build e2e

package controlplane

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/pki"
)

// etcdServer starts a real etcd that is asked by https and lets nobody in without a certificate of its CA, and gives its URL and the data of a Secret for it.
func etcdServer(t *testing.T) (server string, keys map[string][]byte) {
	t.Helper()
	ca, err := pki.NewAuthority("etcd", time.Now())
	require.NoError(t, err)
	serving, err := ca.Issue(pki.Leaf{CommonName: "etcd", Names: []string{"127.0.0.1", "localhost"}, Usages: pki.ServerAndClient}, time.Now())
	require.NoError(t, err)
	known, err := ca.Issue(pki.Leaf{CommonName: "kube-apiserver", Usages: pki.Client}, time.Now())
	require.NoError(t, err)
	dir := filesOf(t, map[string][]byte{"ca.crt": ca.Pair().Certificate, "server.crt": serving.Certificate, "server.key": serving.Key})
	server = "https://127.0.0.1:" + freePort(t)
	peer := "http://127.0.0.1:" + freePort(t)
	start(t, "etcd", "--name=elrond", "--data-dir="+filepath.Join(dir, "data"), "--listen-client-urls="+server, "--advertise-client-urls="+server,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=elrond="+peer, "--client-cert-auth", "--trusted-ca-file="+filepath.Join(dir, "ca.crt"),
		"--cert-file="+filepath.Join(dir, "server.crt"), "--key-file="+filepath.Join(dir, "server.key"))
	return server, map[string][]byte{"ca.crt": ca.Pair().Certificate, "tls.crt": known.Certificate, "tls.key": known.Key}
}

// filesOf writes data to files in a folder of the test's own.
func filesOf(t *testing.T, data map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range data {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	return dir
}

// With an etcd of somebody else's there are no certificates of one, those of a Secret are looked at first, and a real etcd that lets nobody else in is found well with them.
func TestExternalEtcd(t *testing.T) {
	server, keys := etcdServer(t)
	r := newRelease(t)
	r.values.DNS.Provider = "none"
	r.values.Etcd.External.Servers, r.values.Etcd.External.ExistingSecret = []string{server}, "own-etcd"
	prepare := func() error { return r.hook("prepare", nil).Prepare(t.Context()) }
	require.ErrorContains(t, prepare(), "Secret "+r.namespace+"/own-etcd of etcd.external.existingSecret is not there: make it with `kubectl -n "+r.namespace+" create secret generic own-etcd --from-file=ca.crt=…")
	require.Empty(t, r.secrets(), "nothing is made")

	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: "own-etcd"}, Data: map[string][]byte{"ca.crt": keys["ca.crt"]}}
	require.NoError(t, host.Create(t.Context(), secret))
	require.ErrorContains(t, prepare(), "own-etcd of etcd.external.existingSecret lacks tls.crt and tls.key: give it the keys ca.crt, tls.crt and tls.key")
	secret.Data = maps.Clone(keys)
	secret.Data["tls.key"] = []byte("mellon")
	require.NoError(t, host.Update(t.Context(), secret))
	require.ErrorContains(t, prepare(), "the certificate and key of Secret "+r.namespace+"/own-etcd cannot be used")
	secret.Data = keys
	require.NoError(t, host.Update(t.Context(), secret))
	require.NoError(t, prepare())
	for component := range r.secrets() {
		require.False(t, OfEtcd(component), component)
	}
	require.Len(t, r.secrets(), 10+1)
	require.NotContains(t, r.log.String(), "mellon")

	require.NoError(t, kube.Wait(t.Context(), pollInterval, bound, "etcd", func(ctx context.Context) (bool, error) {
		err := r.hook("publish", nil).checkStore(ctx)
		return err == nil, err
	}))
	another, err := pki.NewAuthority("another", time.Now())
	require.NoError(t, err)
	stranger, err := another.Issue(pki.Leaf{CommonName: "sauron", Usages: pki.Client}, time.Now())
	require.NoError(t, err)
	secret.Data = map[string][]byte{"ca.crt": keys["ca.crt"], "tls.crt": stranger.Certificate, "tls.key": stranger.Key}
	require.NoError(t, host.Update(t.Context(), secret))
	require.ErrorContains(t, r.hook("publish", nil).checkStore(t.Context()), "remote error: tls: ")
}

// A federation that gets an etcd of somebody else's, or its own again, has the certificates for the one that it has.
func TestOtherEtcd(t *testing.T) {
	r := newRelease(t)
	r.service()
	require.NoError(t, r.certs())
	require.NoError(t, r.publish())
	own := r.secrets()
	require.Contains(t, own, authorityOfEtcd)

	r.values.Etcd.External.Servers = []string{"http://etcd.example:2379"}
	require.NoError(t, r.certs())
	require.Contains(t, r.secrets(), authorityOfEtcd, "as long as pods use them")
	require.NoError(t, r.publish())
	left := slices.Collect(maps.Keys(r.secrets()))
	for _, component := range ofEtcd {
		require.NotContains(t, left, component)
		delete(own, component)
	}
	require.Len(t, left, len(own), "all else stays")
	before := r.versions()
	require.NoError(t, r.publish())
	require.Equal(t, before, r.versions())

	r.values.Etcd.External.Servers = nil
	require.NoError(t, r.certs())
	r.checkCertificates(t)
	r.values.Etcd.External.Servers = []string{"http://etcd.example:2379"}
	require.NoError(t, r.cleanup())
	require.Empty(t, r.secrets(), "whatever the values say")
}

// Two federations on one etcd see nothing of each other, though the name of one is the beginning of the other's: their keys have prefixes of their own.
func TestTwoFederationsOnOneEtcd(t *testing.T) {
	etcd, keys := etcdServer(t)
	dir := filesOf(t, keys)
	on := func(prefix string) *kube.API {
		env := &envtest.Environment{BinaryAssetsDirectory: host.env.BinaryAssetsDirectory, ControlPlaneStartTimeout: 4 * bound, ControlPlaneStopTimeout: bound}
		env.ControlPlane.GetAPIServer().Configure().Set("etcd-servers", etcd).Set("etcd-prefix", prefix).
			Set("etcd-cafile", filepath.Join(dir, "ca.crt")).Set("etcd-certfile", filepath.Join(dir, "tls.crt")).Set("etcd-keyfile", filepath.Join(dir, "tls.key"))
		config, err := env.Start()
		require.NoError(t, err)
		t.Cleanup(func() { _ = env.Stop() })
		api, err := kube.Connect(config)
		require.NoError(t, err)
		return api
	}
	one, two := on("/federation/fellowship"), on("/federation/fellowship-of-the-ring")
	r := newRelease(t)
	hook := r.hook("prepare", nil)
	require.NoError(t, hook.Bootstrap(t.Context(), one.Config))
	require.NoError(t, hook.Bootstrap(t.Context(), two.Config))
	cluster := &v1beta1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "gondor"}, Spec: v1beta1.ClusterSpec{
		ServerAddressByClientCIDRs: []v1beta1.ServerAddressByClientCIDR{{ServerAddress: "https://gondor.example"}}, SecretRef: v1beta1.SecretReference{Name: "gondor"},
	}}
	require.NoError(t, one.Create(t.Context(), cluster))
	var clusters v1beta1.ClusterList
	require.NoError(t, two.List(t.Context(), &clusters))
	require.Empty(t, clusters.Items)
	uid := func(api *kube.API) string {
		namespace := &corev1.Namespace{}
		require.NoError(t, api.Get(t.Context(), client.ObjectKey{Name: "kube-system"}, namespace))
		return string(namespace.UID)
	}
	require.NotEqual(t, uid(one), uid(two))
}
