package controlplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"github.com/fedhelm/fedhelm/pkg/pki"
	"github.com/fedhelm/fedhelm/pkg/values"
)

// etcdOf gives the values of an etcd with certificates of a CA, and a server of it that knows its clients by that CA and answers as it is told.
func etcdOf(t *testing.T, answer http.HandlerFunc) (values.Etcd, *httptest.Server) {
	t.Helper()
	ca, err := pki.NewAuthority("etcd", time.Now())
	require.NoError(t, err)
	serving, err := ca.Issue(pki.Leaf{CommonName: "etcd", Names: []string{"127.0.0.1"}, Usages: pki.Server}, time.Now())
	require.NoError(t, err)
	client, err := ca.Issue(pki.Leaf{CommonName: "kube-apiserver", Usages: pki.Client}, time.Now())
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(serving.Certificate, serving.Key)
	require.NoError(t, err)
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(ca.Pair().Certificate)
	server := httptest.NewUnstartedServer(answer)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	return values.Etcd{External: values.ExternalEtcd{
		Servers: []string{server.URL}, CA: string(ca.Pair().Certificate), Certificate: string(client.Certificate), Key: string(client.Key),
	}}, server
}

func healthy(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/health" {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write([]byte(`{"health":"true"}`))
}

func hookWith(etcd values.Etcd) Hook {
	h := Hook{Federation: "fellowship", Namespace: "shire", Values: values.DefaultControlPlane()}
	h.Values.Etcd.External = etcd.External
	return h
}

// refusingAddress is one where nobody listens.
func refusingAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return listener.Addr().String()
}

func TestEtcdAnswers(t *testing.T) {
	etcd, server := etcdOf(t, healthy)
	require.NoError(t, hookWith(etcd).etcdAnswers(t.Context()))

	etcd.External.Servers = []string{"https://" + refusingAddress(t), server.URL + "/"}
	require.NoError(t, hookWith(etcd).etcdAnswers(t.Context()), "one is enough")

	plain := httptest.NewServer(http.HandlerFunc(healthy))
	t.Cleanup(plain.Close)
	require.NoError(t, hookWith(values.Etcd{External: values.ExternalEtcd{Servers: []string{plain.URL}}}).etcdAnswers(t.Context()))
}

func TestEtcdDoesNotAnswer(t *testing.T) {
	ill, _ := etcdOf(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte("{\"health\":\"false\",\n\"reason\":\"RAFT NO LEADER\"}"))
	})
	another, _ := etcdOf(t, healthy)
	good, server := etcdOf(t, healthy)
	nobody := refusingAddress(t)
	for name, test := range map[string]struct {
		change func(*values.ExternalEtcd)
		says   string
	}{
		"nobody listens":     {func(e *values.ExternalEtcd) { e.Servers = []string{"https://" + nobody} }, "https://" + nobody + ": dial tcp " + nobody + ": connect: connection refused"},
		"it is ill":          {func(e *values.ExternalEtcd) { *e = ill.External }, `it says that it is not well: {"health":"false", "reason":"RAFT NO LEADER"}`},
		"it is another CA's": {func(e *values.ExternalEtcd) { e.CA = another.External.CA }, "certificate signed by unknown authority"},
		"it does not know us": {func(e *values.ExternalEtcd) {
			e.Certificate, e.Key = another.External.Certificate, another.External.Key
		}, "remote error: tls: "},
		"it has no certificate": {func(e *values.ExternalEtcd) { e.Servers = []string{"https://" + plainEtcd(t)} }, "server gave HTTP response to HTTPS client"},
		"two, and each says why": {func(e *values.ExternalEtcd) {
			e.Servers = []string{"https://" + nobody, "https://no.such.host.invalid:2379"}
		}, "connection refused, https://no.such.host.invalid:2379: "},
	} {
		t.Run(name, func(t *testing.T) {
			h := hookWith(good)
			test.change(&h.Values.Etcd.External)
			err := h.checkStore(t.Context())
			require.ErrorContains(t, err, "the federation's API is not ready, because the etcd of etcd.external.servers does not answer (https://")
			require.ErrorContains(t, err, test.says)
			require.NotContains(t, err.Error(), "\n")
		})
	}
	require.NotEmpty(t, server.URL)
}

func plainEtcd(t *testing.T) string {
	t.Helper()
	plain := httptest.NewServer(http.HandlerFunc(healthy))
	t.Cleanup(plain.Close)
	return plain.Listener.Addr().String()
}

// What cannot be used is told before a pod waits for it, and no key is repeated.
func TestEtcdCertificates(t *testing.T) {
	good, _ := etcdOf(t, healthy)
	another, _ := etcdOf(t, healthy)
	require.NoError(t, hookWith(good).checkEtcd(t.Context()))
	require.NoError(t, hookWith(values.Etcd{}).checkEtcd(t.Context()), "the federation's own")
	for says, change := range map[string]func(*Hook){
		"the CA of etcd.external is no certificate in PEM":                      func(h *Hook) { h.Values.Etcd.External.CA = "mellon" },
		"the certificate and key of etcd.external cannot be used (tls: private": func(h *Hook) { h.Values.Etcd.External.Key = another.External.Key },
		"the certificate and key of etcd.external cannot be used (tls: failed":  func(h *Hook) { h.Values.Etcd.External.Certificate = "mellon" },
		"the certificate of etcd.external has expired on ":                      func(h *Hook) { h.Now = func() time.Time { return time.Now().Add(2 * pki.LeafLife) } },
		"etcd.external.ca, certificate and key go together, but key is missing": func(h *Hook) { h.Values.Etcd.External.Key = "" },
		"etcd.external.servers has both https:// and http://":                   func(h *Hook) { h.Values.Etcd.External.Servers = []string{"https://a:1", "http://a:1"} },
	} {
		h := hookWith(good)
		change(&h)
		err := h.checkEtcd(t.Context())
		require.ErrorContains(t, err, says)
		require.NotContains(t, err.Error(), "mellon")
	}
}

func TestWhereToLook(t *testing.T) {
	require.Equal(t, "look at the pods of fellowship-apiserver and fellowship-etcd in namespace shire", hookWith(values.Etcd{}).whereToLook())
	external := values.Etcd{External: values.ExternalEtcd{Servers: []string{"http://a:2379", "http://b:2379"}}}
	require.Equal(t, "see that the etcd at http://a:2379, http://b:2379 answers the pods of namespace shire, then look at those of fellowship-apiserver", hookWith(external).whereToLook())
}

// An API that does not come up has its etcd named in what bootstrap, and the keeper, say.
func TestBootstrapNamesTheEtcd(t *testing.T) {
	h := hookWith(values.Etcd{External: values.ExternalEtcd{Servers: []string{"http://etcd.example:2379"}}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := h.Bootstrap(ctx, &rest.Config{Host: "https://" + refusingAddress(t)})
	require.ErrorContains(t, err, "connection refused; see that the etcd at http://etcd.example:2379 answers the pods of namespace shire, then look at those of fellowship-apiserver")
}
