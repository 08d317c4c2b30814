//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/controlplane"
	"github.com/fedhelm/fedhelm/pkg/pki"
	"github.com/fedhelm/fedhelm/test/clusters"
	"github.com/fedhelm/fedhelm/test/matrix"
)

// authorities tells which CA signs a leaf of the control plane, and what openssl calls its use; the rest is signed by the API's, for clients.
var authorities = map[string]struct{ ca, purpose, hostname string }{
	"apiserver-tls":         {"ca", "sslserver", "fellowship-apiserver"},
	"etcd-tls":              {"etcd-ca", "sslserver", "fellowship-etcd"},
	"etcd-peer":             {"etcd-ca", "sslserver", "fellowship-etcd"},
	"apiserver-etcd-client": {"etcd-ca", "sslclient", ""},
	"front-proxy-client":    {"front-proxy-ca", "sslclient", ""},
	"dns-etcd-tls":          {"dns-etcd-ca", "sslserver", "fellowship-dns-etcd"},
	"dns-etcd-client":       {"dns-etcd-ca", "sslclient", ""},
}

func TestCertificates(t *testing.T) {
	matrix.WholeOnly(t, "the packages' tests verify and renew every certificate too")
	f := newFellowship(t, "helm")
	gondor := clusters.Open(t, clusters.Gondor)
	f.install(t, "--set", "controllerManager.clusterMonitorPeriod=2s")
	f.join(t, gondor)
	_, _, leaves := controlplane.Components()

	t.Run("openssl verifies each chain, use and name", func(t *testing.T) {
		for _, component := range leaves {
			f.verifyWithOpenSSL(t, component)
		}
	})

	t.Run("leaves about to expire are renewed while the API goes on serving", func(t *testing.T) {
		pods := f.pods(t)
		serials := map[string]string{}
		for _, component := range leaves {
			serials[component] = f.age(t, component)
		}
		stop := f.keepAsking(t)
		f.keep(t)
		for _, component := range leaves {
			require.NotEqual(t, serials[component], f.serial(t, component), "%s was not renewed", component)
			f.verifyWithOpenSSL(t, component)
		}
		renewed := f.serial(t, "apiserver-tls")
		clusters.Eventually(t, 3*time.Minute, "the API to serve its renewed certificate", func(context.Context) (bool, error) {
			serving := f.serving(t)
			return serving == renewed, fmt.Errorf("it serves %s, %s is the renewed one", serving, renewed)
		})
		asked, failed := stop()
		t.Logf("the API was asked %d times meanwhile, %d failed", asked, failed)
		require.Zero(t, failed)
		f.waitForRollouts(t)
		after := f.pods(t)
		for pod := range after {
			if strings.HasSuffix(pod, "/coredns") {
				require.NotContains(t, pods, pod, "CoreDNS, which reads its certificate only once, was not replaced")
			}
		}
		isCoreDNS := func(pod string, _ int32) bool { return strings.HasSuffix(pod, "/coredns") }
		maps.DeleteFunc(pods, isCoreDNS)
		maps.DeleteFunc(after, isCoreDNS)
		require.Equal(t, pods, after, "another pod was restarted")

		// Its clients go on: the controllers with the API, the API with etcd, the administrator with a fresh kubeconfig.
		f.waitForCluster(t, f.api(t), "gondor", "True")
		namespace := &corev1.Namespace{ObjectMeta: objectMeta("after")}
		require.NoError(t, f.api(t).Create(t.Context(), namespace.DeepCopy()))
		waitThere(t, gondor, namespace.DeepCopy())
		f.api(t).Kubectl(t, "delete", "namespace/after", "--timeout=2m")
		waitGone(t, gondor, namespace)
	})
}

// age puts in a component's place a certificate that ends in ten minutes, and gives its serial number.
func (f *fellowship) age(t *testing.T, component string) string {
	t.Helper()
	ca := "ca"
	if row, found := authorities[component]; found {
		ca = row.ca
	}
	signer := f.secret(t, "fellowship-"+ca)
	authority, err := pki.ParseAuthority(pki.Pair{Certificate: signer.Data["tls.crt"], Key: signer.Data["tls.key"]})
	require.NoError(t, err)
	secret := f.secret(t, "fellowship-"+component)
	certificate, err := pki.ParseCertificate(secret.Data["tls.crt"])
	require.NoError(t, err)
	names := slices.Clone(certificate.DNSNames)
	for _, ip := range certificate.IPAddresses {
		names = append(names, ip.String())
	}
	old, err := authority.Issue(pki.Leaf{
		CommonName: certificate.Subject.CommonName, Organizations: certificate.Subject.Organization, Names: names, Usages: certificate.ExtKeyUsage,
	}, time.Now().Add(10*time.Minute-pki.LeafLife))
	require.NoError(t, err)
	secret.Data["tls.crt"], secret.Data["tls.key"] = old.Certificate, old.Key
	require.NoError(t, f.host.Update(t.Context(), secret))
	return f.serial(t, component)
}

func (f *fellowship) serial(t *testing.T, component string) string {
	t.Helper()
	certificate, err := pki.ParseCertificate(f.secret(t, "fellowship-"+component).Data["tls.crt"])
	require.NoError(t, err)
	return certificate.SerialNumber.String()
}

// serving is the serial number of the certificate that the API serves.
func (f *fellowship) serving(t *testing.T) string {
	t.Helper()
	server, err := url.Parse(f.publishedServer(t))
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(f.secret(t, "fellowship-ca").Data["tls.crt"]))
	connection, err := tls.Dial("tcp", server.Host, &tls.Config{RootCAs: roots, ServerName: "fellowship-apiserver", MinVersion: tls.VersionTLS12})
	require.NoError(t, err)
	defer func() { _ = connection.Close() }()
	return connection.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// keepAsking asks the API without a pause until stop is called, which gives how often it was asked and how often it did not answer.
func (f *fellowship) keepAsking(t *testing.T) (stop func() (asked, failed int)) {
	api := f.api(t)
	ctx, cancel := context.WithCancel(t.Context())
	var asked, failed int
	var group sync.WaitGroup
	group.Go(func() {
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			err := api.Get(ctx, client.ObjectKey{Name: "default"}, &corev1.Namespace{})
			if ctx.Err() != nil {
				return
			}
			asked++
			if err != nil {
				failed++
				t.Logf("the API did not answer: %v", err)
			}
		}
	})
	return func() (int, int) {
		cancel()
		group.Wait()
		return asked, failed
	}
}

func (f *fellowship) verifyWithOpenSSL(t *testing.T, component string) {
	t.Helper()
	row, found := authorities[component]
	if !found {
		row.ca, row.purpose = "ca", "sslclient"
	}
	dir := t.TempDir()
	ca, leaf := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "tls.crt")
	require.NoError(t, os.WriteFile(ca, f.secret(t, "fellowship-"+row.ca).Data["tls.crt"], 0o600))
	require.NoError(t, os.WriteFile(leaf, f.secret(t, "fellowship-"+component).Data["tls.crt"], 0o600))
	args := []string{"verify", "-x509_strict", "-CAfile", ca, "-purpose", row.purpose}
	if row.hostname != "" {
		args = append(args, "-verify_hostname", row.hostname+"."+f.namespace+".svc")
	}
	out, err := exec.Command("openssl", append(args, leaf)...).CombinedOutput()
	require.NoError(t, err, "%s: %s", component, out)
	t.Logf("%-26s signed by %-15s %s %s: OK", component, row.ca, row.purpose, row.hostname)
}
