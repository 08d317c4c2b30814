//go:build e2e

package controlplane

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
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

// What a Helm that was killed left of its hooks, and a test that failed of itself, goes with the release; another release's of the same name stays.
func TestHooksOfAKilledHelm(t *testing.T) {
	r := newRelease(t)
	pod := corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "fedhook", Image: "fedhook"}}}
	left := func(name, release string) []client.Object {
		at := metav1.ObjectMeta{Namespace: r.namespace, Name: name, Labels: map[string]string{"app.kubernetes.io/instance": release}}
		objects := []client.Object{
			&batchv1.Job{ObjectMeta: at, Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: pod}}},
			&rbacv1.RoleBinding{ObjectMeta: at, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name}},
			&rbacv1.Role{ObjectMeta: at}, &corev1.Secret{ObjectMeta: at}, &corev1.ServiceAccount{ObjectMeta: at},
		}
		for _, object := range objects {
			require.NoError(t, host.Create(t.Context(), object))
		}
		return objects
	}
	ours, theirs := left("fellowship-prepare", fellowship), left("fellowship-publish", "council")
	test := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: "fellowship-status", Labels: map[string]string{"app.kubernetes.io/instance": fellowship}}, Spec: pod}
	require.NoError(t, client.IgnoreAlreadyExists(host.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: "default"}})))
	require.NoError(t, host.Create(t.Context(), test))
	ours = append(ours, test)
	require.NoError(t, r.cleanup())
	for _, object := range ours {
		err := host.Get(t.Context(), client.ObjectKeyFromObject(object), object)
		require.True(t, apierrors.IsNotFound(err) || err == nil && object.GetDeletionTimestamp() != nil, "%T: %v", object, err)
	}
	for _, object := range theirs {
		require.NoError(t, host.Get(t.Context(), client.ObjectKeyFromObject(object), object), "%T", object)
	}
}
