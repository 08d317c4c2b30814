//go:build e2e

package controlplane

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
)

func TestTeardownWithoutAFederation(t *testing.T) {
	r := newRelease(t)
	require.NoError(t, r.teardown(), "one that was never published has no members")

	require.NoError(t, r.certs())
	r.service()
	require.NoError(t, r.publish())
	require.NoError(t, r.teardown(), "an API that is gone is a warning")
	require.Contains(t, r.log.String(), "cannot be asked for")
	r.values.Teardown.Strict = true
	require.ErrorContains(t, r.teardown(), "uninstall their releases")
}

// Members that do not answer leave the federation all the same, at once, and what stays behind in them is named.
func TestTeardownLetsMembersGo(t *testing.T) {
	r := newRelease(t)
	require.NoError(t, r.hook("prepare", nil).Bootstrap(t.Context(), federation.Config))
	user, err := federation.env.AddUser(envtest.User{Name: registrarUser}, nil)
	require.NoError(t, err)
	kubeconfig, err := user.KubeConfig()
	require.NoError(t, err)
	require.NoError(t, host.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: registrars, Labels: map[string]string{v1beta1.LabelManagedBy: v1beta1.ManagedByFedhook}},
		Data:       map[string][]byte{fellowship: kubeconfig},
	}))
	for _, name := range []string{"gondor", "shire"} {
		require.NoError(t, host.Create(t.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: name + "-federation-credentials", Labels: map[string]string{
				v1beta1.LabelManagedBy: v1beta1.ManagedByFedhook, v1beta1.LabelRelease: name, v1beta1.LabelFederation: fellowship}},
			Data: map[string][]byte{"token": []byte("mellon"), "ca.crt": federation.Config.CAData},
		}))
		require.NoError(t, federation.Create(t.Context(), &v1beta1.Cluster{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1beta1.LabelRelease: name}},
			Spec: v1beta1.ClusterSpec{
				ServerAddressByClientCIDRs: []v1beta1.ServerAddressByClientCIDR{{ClientCIDR: "0.0.0.0/0", ServerAddress: "https://127.0.0.1:1"}},
				SecretRef:                  v1beta1.SecretReference{Name: name + "-federation-credentials"},
			},
		}))
	}

	start := time.Now()
	require.NoError(t, r.teardown())
	require.Less(t, time.Since(start), 2*letGoTimeout)
	require.Equal(t, 2, strings.Count(r.log.String(), "level=WARN"), r.log.String())
	require.Contains(t, r.log.String(), "gondor")
	require.Contains(t, r.log.String(), "kubectl delete clusterrole federation-controller-manager:fellowship-shire-fellowship")
	require.NotContains(t, r.log.String(), "mellon")
	var clusters v1beta1.ClusterList
	require.NoError(t, federation.List(t.Context(), &clusters))
	require.Empty(t, clusters.Items)
}
