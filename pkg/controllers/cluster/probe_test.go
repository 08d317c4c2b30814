package cluster

import (
	"context"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/controllers/clusterclient"
)

type secretGetter func() (*corev1.Secret, error)

func (g secretGetter) Get(context.Context, string, metav1.GetOptions) (*corev1.Secret, error) {
	return g()
}

// clientFor makes a member's client for a test server, trusting ca.
func clientFor(t *testing.T, address string, ca *httptest.Server) *clusterclient.Member {
	t.Helper()
	secret := &corev1.Secret{Data: map[string][]byte{
		"token":  []byte("t"),
		"ca.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate().Raw}),
	}}
	members := clusterclient.New(clusterclient.Options{Secrets: secretGetter(func() (*corev1.Secret, error) { return secret, nil })})
	cluster := &v1beta1.Cluster{}
	cluster.Spec.ServerAddressByClientCIDRs = []v1beta1.ServerAddressByClientCIDR{{ServerAddress: address}}
	member, err := members.Ensure(t.Context(), cluster)
	require.NoError(t, err)
	return member
}

func TestProbe(t *testing.T) {
	answers := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/healthz" {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(code)
				w.Write([]byte(body))
				return
			}
			http.Error(w, "no", http.StatusForbidden)
		}
	}
	for _, test := range []struct {
		name    string
		handler http.HandlerFunc
		reason  string
		message string
	}{
		{"ok", answers(200, "ok"), "ClusterReady", "/healthz responded with ok"},
		{"something else", answers(200, "sick"), "ClusterNotReady", "/healthz responded without ok"},
		{"500", answers(500, "etcd failed"), "ClusterNotReady", "/healthz responded without ok (HTTP status 500)"},
		{"429", answers(429, "slow down"), "ClusterNotReady", "/healthz responded without ok (HTTP status 429)"},
		{"401", answers(401, ""), "CredentialsRefused", "the cluster refuses the credentials (401 Unauthorized): join it again with helm upgrade, which renews them"},
		{"403", answers(403, ""), "CredentialsRefused", "the cluster does not let the credentials get /healthz (403 Forbidden): join it again with helm upgrade, which repairs the role"},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "ClusterNotReachable", "cluster is not reachable: ADDRESS closed the connection"},
		{"hangs", func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			panic(http.ErrAbortHandler) // a client that has just closed its connection still takes an answer
		}, "ClusterNotReachable", "cluster is not reachable: ADDRESS did not answer within 500ms"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewTLSServer(test.handler)
			defer server.Close()
			began := time.Now()
			r := probe(t.Context(), clientFor(t, server.URL, server), 500*time.Millisecond, true)
			require.Equal(t, test.reason, r.reason)
			require.Equal(t, strings.ReplaceAll(test.message, "ADDRESS", server.URL), r.message)
			require.Less(t, time.Since(began), 5*time.Second, "a probe is one request and bounded")
			if r.ok() {
				require.Error(t, r.untold, "a member that tells nothing more is Ready all the same")
				require.Nil(t, r.version)
				require.False(t, r.listed)
			}
		})
	}

	t.Run("another name", func(t *testing.T) {
		server := httptest.NewTLSServer(answers(200, "ok"))
		defer server.Close()
		member := clientFor(t, strings.Replace(server.URL, "127.0.0.1", "localhost", 1), server)
		r := probe(t.Context(), member, time.Second, true) // the test certificate is for 127.0.0.1 and example.com
		require.Equal(t, "CertificateInvalid", r.reason)
		require.Contains(t, r.message, "tls-server-name")
	})
	t.Run("nobody listens", func(t *testing.T) {
		server := httptest.NewTLSServer(nil)
		server.Close()
		r := probe(t.Context(), clientFor(t, server.URL, server), time.Second, true)
		require.Equal(t, "ClusterNotReachable", r.reason)
		require.Equal(t, "cluster is not reachable: "+server.URL+" refuses connections", r.message)
	})
	t.Run("no such host", func(t *testing.T) {
		server := httptest.NewTLSServer(nil)
		defer server.Close()
		r := probe(t.Context(), clientFor(t, "https://mordor.invalid", server), 5*time.Second, true)
		require.Equal(t, "ClusterNotReachable", r.reason)
	})
	t.Run("plain HTTP", func(t *testing.T) {
		server := httptest.NewTLSServer(nil)
		defer server.Close()
		plain := httptest.NewServer(answers(200, "ok"))
		defer plain.Close()
		r := probe(t.Context(), clientFor(t, strings.TrimPrefix(plain.URL, "http://"), server), time.Second, true)
		require.Equal(t, "ClusterNotReachable", r.reason, "the token is never sent in the clear")
	})
	t.Run("accepts and says nothing", func(t *testing.T) {
		server := httptest.NewTLSServer(nil)
		defer server.Close()
		silent, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer silent.Close()
		began := time.Now()
		r := probe(t.Context(), clientFor(t, silent.Addr().String(), server), 300*time.Millisecond, true)
		require.Equal(t, "ClusterNotReachable", r.reason)
		require.Less(t, time.Since(began), 3*time.Second)
	})
}
