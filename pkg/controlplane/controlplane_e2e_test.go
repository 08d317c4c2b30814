//go:build e2e

package controlplane

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/pki"
	"github.com/fedhelm/fedhelm/test/faults"
)

const day = 24 * time.Hour

func TestCertsTwiceWritesOnce(t *testing.T) {
	r := newRelease(t)
	require.NoError(t, r.certs())
	r.checkCertificates(t)
	before := r.versions()
	require.Len(t, before, 17)
	wire := &faults.Transport{}
	require.NoError(t, r.hook("prepare", wire).Certs(t.Context()))
	require.Empty(t, wire.Writes())
	require.Equal(t, before, r.versions())
}

// openssl, which shares no code with us, verifies every chain, usage and name as stored.
func TestOpenSSLVerifiesWhatIsStored(t *testing.T) {
	r := newRelease(t)
	r.values.APIServer.CertificateSANs = []string{"middle-earth.example", "192.0.2.7"}
	require.NoError(t, r.certs())
	dir, secrets := t.TempDir(), r.secrets()
	for _, row := range (Hook{Federation: fellowship, Namespace: r.namespace, Values: r.values}).leaves(nil) {
		ca, leaf := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "leaf.crt")
		require.NoError(t, os.WriteFile(ca, secrets[row.Authority].Data["tls.crt"], 0o600))
		require.NoError(t, os.WriteFile(leaf, secrets[row.Name].Data["tls.crt"], 0o600))
		verify := func(args ...string) error {
			args = append(append([]string{"verify", "-x509_strict", "-CAfile", ca}, args...), leaf)
			out, err := exec.CommandContext(t.Context(), "openssl", args...).CombinedOutput()
			if err != nil {
				return fmt.Errorf("openssl %v: %w: %s", args, err, out)
			}
			return nil
		}
		for usage, purpose := range map[x509.ExtKeyUsage]string{x509.ExtKeyUsageServerAuth: "sslserver", x509.ExtKeyUsageClientAuth: "sslclient"} {
			if slices.Contains(row.Usages, usage) {
				require.NoError(t, verify("-purpose", purpose), row.Name)
			} else {
				require.Error(t, verify("-purpose", purpose), row.Name)
			}
		}
		for _, name := range row.Names {
			option := "-verify_hostname"
			if strings.Trim(name, "0123456789.") == "" {
				option = "-verify_ip"
			}
			require.NoError(t, verify(option, strings.Replace(name, "*", "pod-0", 1)), row.Name)
		}
		require.Error(t, verify("-verify_hostname", "mordor"), row.Name)
	}
}

func TestLeafIsRenewedByTheSameCA(t *testing.T) {
	r := newRelease(t)
	require.NoError(t, r.certs())
	before := r.secrets()
	r.age = 200 * day
	require.NoError(t, r.certs())
	require.Equal(t, before["apiserver-tls"].ResourceVersion, r.versions()["apiserver-tls"], "young enough")
	r.age = 250 * day
	require.NoError(t, r.certs())
	r.checkCertificates(t)
	after := r.secrets()
	for _, component := range append(Hook{Values: r.values}.authorities(), serviceAccountKeys) {
		require.Equal(t, before[component].ResourceVersion, after[component].ResourceVersion, component)
	}
	require.NotEqual(t, before["apiserver-tls"].Data["tls.crt"], after["apiserver-tls"].Data["tls.crt"])
	require.Contains(t, r.log.String(), "past two thirds of its life")

	r.age = 9*365*day + 100*day
	require.NoError(t, r.certs())
	r.checkCertificates(t)
	require.Contains(t, r.log.String(), "the CA in Secret "+r.namespace+"/fellowship-ca ends on")
}

func TestStaleStateIsRepaired(t *testing.T) {
	for name, damage := range map[string]func(*release){
		"a deleted leaf":         func(r *release) { r.remove("admin") },
		"a leaf without its key": func(r *release) { r.change("admin", func(s *corev1.Secret) { s.Data["tls.key"] = []byte{} }) },
		"garbage": func(r *release) {
			r.change("etcd-tls", func(s *corev1.Secret) { s.Data["tls.crt"] = []byte("mellon") })
		},
		"another's key": func(r *release) {
			r.change("etcd-tls", func(s *corev1.Secret) { s.Data["tls.key"] = r.secrets()["etcd-peer"].Data["tls.key"] })
		},
		"another CA beside it": func(r *release) {
			r.change("admin", func(s *corev1.Secret) { s.Data["ca.crt"] = r.secrets()["etcd-ca"].Data["tls.crt"] })
		},
		"another component's leaf": func(r *release) { r.change("bootstrap", func(s *corev1.Secret) { s.Data = r.secrets()["admin"].Data }) },
		"a lost public key":        func(r *release) { r.change("service-account", func(s *corev1.Secret) { delete(s.Data, "sa.pub") }) },
		"a lost signing key": func(r *release) {
			r.change("service-account", func(s *corev1.Secret) { s.Data["sa.key"] = []byte("mellon") })
		},
		"a new name": func(r *release) { r.values.APIServer.CertificateSANs = []string{"middle-earth.example"} },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRelease(t)
			require.NoError(t, r.certs())
			before := r.versions()
			damage(r)
			require.NoError(t, r.certs())
			r.checkCertificates(t)
			changed := 0
			for component, version := range r.versions() {
				if version != before[component] {
					changed++
				}
			}
			require.Equal(t, 1, changed, "only what was damaged is written")
			require.NotContains(t, r.log.String(), "mellon", "no Secret in a log")
		})
	}
}

func TestCAIsNeverReplaced(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(*release)
		says   string
	}{
		"garbage": {func(r *release) { r.change("ca", func(s *corev1.Secret) { s.Data["tls.crt"] = []byte("mellon") }) }, "put the CA back from a copy"},
		"another's key": {func(r *release) {
			r.change("ca", func(s *corev1.Secret) { s.Data["tls.key"] = r.secrets()["etcd-ca"].Data["tls.key"] })
		}, "put the CA back from a copy"},
		"deleted": {func(r *release) { r.remove("ca") }, "put it back from a copy"},
		"another's Secret": {func(r *release) { r.change("ca", func(s *corev1.Secret) { s.Labels = nil }) },
			"is not release fellowship's own"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRelease(t)
			require.NoError(t, r.certs())
			test.damage(r)
			r.remove("admin")
			before := r.versions()
			err := r.certs()
			require.ErrorContains(t, err, test.says)
			require.NotContains(t, err.Error(), "mellon")
			require.Equal(t, before, r.versions(), "nothing is written")
		})
	}
}

// Two runs at once make one CA: the slower takes the other's.
func TestTwoRunsAtOnce(t *testing.T) {
	r := newRelease(t)
	first, second := r.hook("prepare", nil), r.hook("publish", nil)
	done := make(chan error, 2)
	for _, hook := range []Hook{first, second} {
		go func() { done <- hook.Certs(t.Context()) }()
	}
	for range 2 {
		require.NoError(t, <-done)
	}
	r.checkCertificates(t)
}

func TestForeignSecretIsRefused(t *testing.T) {
	r := newRelease(t)
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: fellowship + "-admin"}, StringData: map[string]string{"speak": "friend"}}
	require.NoError(t, host.Create(t.Context(), foreign))
	before := r.versions()
	require.ErrorContains(t, r.certs(), "Secret "+r.namespace+"/fellowship-admin exists already and is not release fellowship's own")
	require.Equal(t, before, r.versions(), "nothing is half made")

	require.NoError(t, r.cleanup())
	require.Equal(t, before, r.versions(), "cleaning up leaves it alone")
	require.Contains(t, r.log.String(), "left where it is")
}

// lines gives what is written to it, a line at a time.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

func TestPublishBehindALoadBalancer(t *testing.T) {
	r := newRelease(t)
	require.NoError(t, r.certs())
	r.service()
	r.addressOf("dns", corev1.LoadBalancerIngress{IP: "192.0.2.53"}) // which is not waited for here

	// Never an address: the one in the cluster, and no failure.
	require.NoError(t, r.publish())
	require.Equal(t, "https://fellowship-apiserver."+r.namespace+".svc:443", r.kubeconfig(fellowship+"-kubeconfig", "kubeconfig").Clusters[fellowship].Server)
	require.Contains(t, r.log.String(), "has no address yet")

	// An address that comes while it is waited for.
	r.values.APIServer.Service.AddressTimeoutSeconds = 20
	done := make(chan error)
	hook := r.hook("publish", nil)
	told := make(lines, 10)
	hook.Log = slog.New(slog.NewTextHandler(told, nil))
	go func() { done <- hook.Publish(t.Context()) }()
	require.Contains(t, <-told, "waiting for the address")
	r.address(corev1.LoadBalancerIngress{IP: "192.0.2.10"}, corev1.LoadBalancerIngress{Hostname: "lb-1.example.com"})
	require.NoError(t, <-done)
	config := r.kubeconfig(fellowship+"-kubeconfig", "kubeconfig")
	require.Equal(t, fellowship, config.CurrentContext)
	require.Equal(t, "https://192.0.2.10:443", config.Clusters[fellowship].Server)
	require.Equal(t, "fellowship-apiserver."+r.namespace+".svc", config.Clusters[fellowship].TLSServerName)
	r.requireNames(t, "192.0.2.10", "lb-1.example.com", "127.0.0.1")
	require.Equal(t, "https://fellowship-apiserver."+r.namespace+".svc:443", r.kubeconfig(registrars, fellowship).Clusters[fellowship].Server)

	// Again: nothing is written, and certs keeps the names.
	before := r.versions()
	wire := &faults.Transport{}
	require.NoError(t, r.hook("publish", wire).Publish(t.Context()))
	require.NoError(t, r.certs())
	require.Empty(t, wire.Writes())
	require.Equal(t, before, r.versions())

	// Renewal keeps the address, before publish runs.
	r.age = 250 * day
	require.NoError(t, r.certs())
	r.requireNames(t, "192.0.2.10", "lb-1.example.com")
	require.NoError(t, r.publish())
	leaf, err := pki.ParseCertificate(r.secrets()["admin"].Data["tls.crt"])
	require.NoError(t, err)
	published, err := pki.ParseCertificate(r.kubeconfig(fellowship+"-kubeconfig", "kubeconfig").AuthInfos[fellowship].ClientCertificateData)
	require.NoError(t, err)
	require.True(t, leaf.Equal(published), "the kubeconfig has the renewed certificate")

	// An advertise address wins, and is not waited for.
	r.values.APIServer.Service.AdvertiseAddress = "api.middle-earth.example"
	require.NoError(t, r.publish())
	require.Equal(t, "https://api.middle-earth.example:443", r.kubeconfig(fellowship+"-kubeconfig", "kubeconfig").Clusters[fellowship].Server)
	r.requireNames(t, "api.middle-earth.example")
}

func TestPublishOnNodes(t *testing.T) {
	r := newRelease(t)
	r.values.APIServer.Service.Type = "NodePort"
	require.NoError(t, r.certs())
	port := r.service().Spec.Ports[0].NodePort
	require.NotZero(t, port)
	published := func(ip string) {
		t.Helper()
		require.NoError(t, r.publish())
		require.Equal(t, fmt.Sprintf("https://%s:%d", ip, port), r.kubeconfig(fellowship+"-kubeconfig", "kubeconfig").Clusters[fellowship].Server)
		r.requireNames(t, ip)
	}
	r.pod("apiserver", "one", "192.0.2.22")
	published("192.0.2.22")
	r.pod("apiserver", "two", "192.0.2.11")
	published("192.0.2.22") // kept while it runs there
	r.removePod("one")
	published("192.0.2.11")
	r.values.APIServer.Service.AdvertiseAddress = "192.0.2.99"
	published("192.0.2.99")
}

func TestPublishInTheClusterOnly(t *testing.T) {
	r := newRelease(t)
	r.values.APIServer.Service.Type = "ClusterIP"
	require.NoError(t, r.certs())
	r.service()
	require.NoError(t, r.publish())
	require.Equal(t, "https://fellowship-apiserver."+r.namespace+".svc:443", r.kubeconfig(fellowship+"-kubeconfig", "kubeconfig").Clusters[fellowship].Server)
}

func TestCleanupLeavesNothing(t *testing.T) {
	r := newRelease(t)
	require.NoError(t, r.certs())
	r.service()
	require.NoError(t, r.publish())
	require.Len(t, r.secrets(), 19)
	r.addressOf("dns", corev1.LoadBalancerIngress{IP: "192.0.2.53"})
	require.NoError(t, r.publish())
	require.Equal(t, "192.0.2.53:53", r.nameservers())
	require.NoError(t, r.cleanup())
	require.Empty(t, r.secrets())
	require.Empty(t, r.nameservers())
	require.NoError(t, r.cleanup(), "again")

	// After an install that failed half-way.
	require.NoError(t, r.certs())
	r.remove("admin")
	r.remove("ca")
	require.NoError(t, r.cleanup())
	require.Empty(t, r.secrets())
}

// Two federations of one namespace share a Secret, and neither touches the other's key.
func TestRegistrarsAreShared(t *testing.T) {
	r := newRelease(t)
	require.NoError(t, r.certs())
	r.service()
	other := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: registrars, Labels: map[string]string{"app.kubernetes.io/managed-by": "fedhook"}},
		Data:       map[string][]byte{"alliance": []byte("theirs")},
	}
	require.NoError(t, host.Create(t.Context(), other))
	require.NoError(t, r.publish())
	require.Len(t, r.secrets()[registrars].Data, 2)
	require.NoError(t, r.cleanup())
	require.Equal(t, map[string][]byte{"alliance": []byte("theirs")}, r.secrets()[registrars].Data)
	require.Len(t, r.secrets(), 1)
}

func TestKilledAtEveryWrite(t *testing.T) {
	t.Run("certs", func(t *testing.T) {
		faults.KillAtEveryWrite(t, func(t *testing.T) faults.Stage {
			r := newRelease(t)
			var firstCA []byte
			return faults.Stage{
				Run: func(ctx context.Context, wire *faults.Transport) error {
					err := r.hook("prepare", wire).Certs(ctx)
					if firstCA == nil {
						firstCA = r.secrets()["ca"].Data["tls.crt"]
					}
					return err
				},
				Check: func(t *testing.T) {
					r.checkCertificates(t)
					if firstCA != nil {
						require.Equal(t, firstCA, r.secrets()["ca"].Data["tls.crt"], "a CA that was stored stays")
					}
					r.checkQuiet(t, "prepare", Hook.Certs)
				},
			}
		})
	})
	t.Run("publish", func(t *testing.T) {
		faults.KillAtEveryWrite(t, func(t *testing.T) faults.Stage {
			r := newRelease(t)
			require.NoError(t, r.certs())
			r.service()
			r.address(corev1.LoadBalancerIngress{IP: "192.0.2.10"})
			r.addressOf("dns", corev1.LoadBalancerIngress{IP: "192.0.2.53"})
			return faults.Stage{
				Run: func(ctx context.Context, wire *faults.Transport) error { return r.hook("publish", wire).Publish(ctx) },
				Check: func(t *testing.T) {
					r.checkCertificates(t)
					r.requireNames(t, "192.0.2.10")
					require.Equal(t, "https://192.0.2.10:443", r.kubeconfig(fellowship+"-kubeconfig", "kubeconfig").Clusters[fellowship].Server)
					require.NotEmpty(t, r.secrets()[registrars].Data[fellowship])
					require.Equal(t, "192.0.2.53:53", r.nameservers())
					r.checkQuiet(t, "publish", Hook.Publish)
				},
			}
		})
	})
	t.Run("cleanup", func(t *testing.T) {
		faults.KillAtEveryWrite(t, func(t *testing.T) faults.Stage {
			r := newRelease(t)
			require.NoError(t, r.certs())
			r.service()
			r.addressOf("dns", corev1.LoadBalancerIngress{IP: "192.0.2.53"})
			require.NoError(t, r.publish())
			return faults.Stage{
				Run: func(ctx context.Context, wire *faults.Transport) error { return r.hook("cleanup", wire).Cleanup(ctx) },
				Check: func(t *testing.T) {
					require.Empty(t, r.secrets())
					require.Empty(t, r.nameservers())
				},
			}
		})
	})
	t.Run("bootstrap", func(t *testing.T) {
		faults.KillAtEveryWrite(t, func(t *testing.T) faults.Stage {
			r := newRelease(t)
			return faults.Stage{
				Run: func(ctx context.Context, wire *faults.Transport) error {
					return r.hook("prepare", nil).Bootstrap(ctx, wired(federation.Config, wire))
				},
				Check: checkBootstrapped,
			}
		})
	})
}

// checkQuiet fails if one run more would write anything.
func (r *release) checkQuiet(t *testing.T, phase string, run func(Hook, context.Context) error) {
	t.Helper()
	wire := &faults.Transport{}
	require.NoError(t, run(r.hook(phase, wire), t.Context()))
	require.Empty(t, wire.Writes())
}

// checkCertificates holds the stored Secrets against the table.
func (r *release) checkCertificates(t *testing.T) {
	t.Helper()
	secrets, now := r.secrets(), time.Now().Add(r.age)
	h := Hook{Federation: fellowship, Namespace: r.namespace, Values: r.values}
	signers := map[string]*pki.Authority{}
	for _, component := range h.authorities() {
		secret := secrets[component]
		signer, err := pki.ParseAuthority(pair(&secret))
		require.NoError(t, err, component)
		signers[component] = signer
	}
	key := pki.SigningKey{Private: secrets[serviceAccountKeys].Data["sa.key"], Public: secrets[serviceAccountKeys].Data["sa.pub"]}
	repaired, err := key.Repair()
	require.NoError(t, err)
	require.Equal(t, key, repaired)
	for _, row := range h.leaves(nil) {
		secret := secrets[row.Name]
		require.NoError(t, signers[row.Authority].Check(row, pair(&secret), now), row.Name)
		require.Equal(t, signers[row.Authority].Pair().Certificate, secret.Data["ca.crt"], row.Name)
		require.ElementsMatch(t, []string{"ca.crt", "tls.crt", "tls.key"}, slices.Collect(maps.Keys(secret.Data)))
		require.Equal(t, corev1.SecretTypeTLS, secret.Type)
		require.NotContains(t, secret.Labels, "app.kubernetes.io/instance", "Argo CD would prune it")
	}
}

// requireNames holds the stored serving certificate against names.
func (r *release) requireNames(t *testing.T, names ...string) {
	t.Helper()
	block, _ := pem.Decode(r.secrets()["apiserver-tls"].Data["tls.crt"])
	certificate, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	for _, name := range names {
		require.NoError(t, certificate.VerifyHostname(name))
	}
}

func (r *release) kubeconfig(secret, key string) *clientcmdapi.Config {
	r.Helper()
	s := &corev1.Secret{}
	require.NoError(r, host.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: secret}, s))
	config, err := clientcmd.Load(s.Data[key])
	require.NoError(r, err)
	require.Contains(r, config.Contexts, fellowship)
	return config
}
