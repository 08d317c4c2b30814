package member

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/pki"
	"github.com/fedhelm/fedhelm/pkg/values"
)

func TestUnreachable(t *testing.T) {
	a := &access{config: &rest.Config{Host: "https://gondor:6443"}, from: "Secret a/b"}
	for sentence, err := range map[string]error{
		"does not resolve in the host cluster":                   &net.DNSError{IsNotFound: true},
		"refuses connections":                                    syscall.ECONNREFUSED,
		"does not answer":                                        syscall.EHOSTUNREACH,
		"does not answer: see":                                   context.DeadlineExceeded,
		"a certificate of another CA than the one in Secret a/b": x509.UnknownAuthorityError{},
		"is not valid now":                                       x509.CertificateInvalidError{Reason: x509.Expired},
		"refuses the credentials in Secret a/b":                  apierrors.NewUnauthorized(""),
		"does not let the credentials in Secret a/b ask":         apierrors.NewForbidden(corev1.Resource("x"), "", nil),
		"cannot be asked: something else; check the address":     errors.New("something else"),
	} {
		got := unreachable(fmt.Errorf("wrapped: %w", err), a).Error()
		if sentence == "cannot be asked: something else; check the address" {
			got = unreachable(err, a).Error()
		}
		assert.Contains(t, got, sentence)
		assert.Contains(t, got, "https://gondor:6443")
	}
}

// Only credentials that were dropped or whose time is up may be passed over for kept ones.
func TestReplaceable(t *testing.T) {
	assert.True(t, replaceable(fmt.Errorf("%w for gondor", errNothingGiven)))
	assert.True(t, replaceable(refused{errors.New("401")}))
	assert.True(t, replaceable(kube.Expired{}))
	assert.False(t, replaceable(errors.New("an exec plugin")))
}

func TestReadiness(t *testing.T) {
	cluster := &v1beta1.Cluster{}
	ready, err := readiness(cluster, 1)
	assert.False(t, ready)
	require.ErrorContains(t, err, "have not asked it yet")
	cluster.Status.Conditions = []metav1.Condition{{Type: v1beta1.ClusterReady, Status: metav1.ConditionTrue, ObservedGeneration: 1}}
	ready, err = readiness(cluster, 1)
	assert.True(t, ready)
	require.NoError(t, err)
	ready, _ = readiness(cluster, 2)
	assert.False(t, ready, "of an older spec")
	cluster.Status.Conditions[0] = metav1.Condition{Type: v1beta1.ClusterReady, Status: metav1.ConditionFalse, Reason: "CertificateInvalid", Message: "why"}
	_, err = readiness(cluster, 0)
	require.EqualError(t, err, "CertificateInvalid: why")
}

func TestKept(t *testing.T) {
	secret := &corev1.Secret{Data: map[string][]byte{"ca.crt": []byte("ca")}}
	secret.Annotations = map[string]string{annotationServer: "https://gondor"}
	assert.Nil(t, kept(secret, ""), "a join that did not come so far")
	secret.Data["token"] = []byte("token\n")
	secret.Data["tls-server-name"] = []byte("minas-tirith")
	a := kept(secret, "")
	assert.Equal(t, "https://gondor", a.server)
	assert.Equal(t, "token", a.config.BearerToken)
	assert.Equal(t, "minas-tirith", a.config.ServerName)
	assert.Equal(t, "https://other", kept(secret, "https://other").config.Host)
	assert.Nil(t, a.kubeconfig)
	assert.False(t, usesGiven(secret))
}

// What the federation keeps may be a kubeconfig, which is handed on as it is.
func TestKeptKubeconfig(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	given, err := clientcmd.Write(clientcmdapi.Config{
		Clusters:  map[string]*clientcmdapi.Cluster{"c": {Server: "https://localhost:6443", CertificateAuthorityData: ca, TLSServerName: "minas-tirith"}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"u": {Token: "token"}},
		Contexts:  map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}},
	})
	require.NoError(t, err)
	secret := &corev1.Secret{Data: map[string][]byte{"kubeconfig": given}}
	secret.Annotations = map[string]string{annotationServer: "https://gondor", annotationCluster: "gondor"}
	a := kept(secret, "")
	require.NotNil(t, a)
	assert.True(t, usesGiven(secret))
	assert.True(t, a.kept)
	assert.Equal(t, "https://gondor", a.server, "the address that join wrote down, not the kubeconfig's")
	assert.Equal(t, "minas-tirith", a.serverName)
	secret.Data["kubeconfig"] = a.kubeconfig
	assert.Equal(t, a.kubeconfig, kept(secret, "").kubeconfig, "what is kept is kept as it is")
	assert.Equal(t, "https://other", kept(secret, "https://other").config.Host)
	secret.Data["kubeconfig"] = []byte("mellon")
	assert.Nil(t, kept(secret, ""), "what is no kubeconfig any more")
}

// Credentials say when they end, where they do.
func TestEndOfCredentials(t *testing.T) {
	token := func(payload string) string {
		return "x." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".x"
	}
	for given, want := range map[string]time.Time{
		"opaque":                      {},
		"a.b.c":                       {},
		token(`{"exp":1893456000}`):   time.Unix(1893456000, 0),
		token(`{"sub":"elrond"}`):     {},
		token(`{"exp":"tomorrow"}`):   {},
		token(`["exp", 1893456000 ]`): {},
	} {
		assert.Equal(t, want, (&access{config: &rest.Config{BearerToken: given}}).end(), given)
	}
	now := time.Now()
	ca, err := pki.NewAuthority("ca", now)
	require.NoError(t, err)
	leaf, err := ca.Issue(pki.Leaf{CommonName: "elrond", Usages: pki.Client}, now)
	require.NoError(t, err)
	certificate, err := pki.ParseCertificate(leaf.Certificate)
	require.NoError(t, err)
	assert.Equal(t, certificate.NotAfter, (&access{config: &rest.Config{TLSClientConfig: rest.TLSClientConfig{CertData: leaf.Certificate}}}).end())
}

// The host cluster's own credentials are the hook's, which end with it.
func TestInClusterNeedsAnAccount(t *testing.T) {
	h := Hook{Release: "rivendell", Values: values.DefaultMember()}
	h.Values.Credentials.InCluster, h.Values.ServiceAccount.Create = true, false
	require.ErrorContains(t, h.Join(t.Context()), "those of credentials.inCluster end with the hook: give a kubeconfig, or leave serviceAccount.create true")
}

func TestCredentialsSecret(t *testing.T) {
	j := &join{Hook: Hook{Release: "gondor", Namespace: "shire", Values: values.DefaultMember()}, access: &access{ca: []byte("ca"), serverName: "minas-tirith", kubeconfig: []byte("given")}}
	assert.Equal(t, map[string][]byte{"ca.crt": []byte("ca"), "token": []byte("token"), "tls-server-name": []byte("minas-tirith")}, j.credentialsSecret([]byte("token")).Data)
	assert.NotContains(t, j.credentialsSecret(nil).Data, "token", "the record that a join has begun")
	j.Values.ServiceAccount.Create = false
	assert.Equal(t, map[string][]byte{"kubeconfig": []byte("given")}, j.credentialsSecret(nil).Data)
}

// A member that does not answer leaves time for the host cluster's side, whatever the values say.
func TestWithinDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		require.Equal(t, time.Minute, withinDeadline(t.Context(), time.Minute))
		for seconds, want := range map[int]time.Duration{280: time.Minute, 80: 20 * time.Second, 10: time.Second} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(seconds)*time.Second)
			require.Equal(t, want, withinDeadline(ctx, time.Minute), seconds)
			cancel()
		}
	})
}
