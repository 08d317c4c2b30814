package member

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/kube"
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
}
