//go:build e2e

package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/test/clusters"
	"github.com/fedhelm/fedhelm/test/matrix"
)

// TestUnjoin lets a cluster go in every state it may be in: uninstalling always succeeds, and says what it left where.
func TestUnjoin(t *testing.T) {
	matrix.WholeOnly(t, "the packages' tests leave from each of these states too, and TestMemberLifecycle leaves a control plane that goes")
	f := newFellowship(t, "helm")
	gondor := clusters.Open(t, clusters.Gondor)
	before := gondor.TakeSnapshot(t)
	f.install(t, "--set", "controllerManager.clusterMonitorPeriod=2s")
	api := f.api(t)
	joinQuickly := func(t *testing.T) { f.join(t, gondor, "--set", "unjoin.timeoutSeconds=5") }
	requireNothingInHost := func(t *testing.T) {
		t.Helper()
		require.Empty(t, f.kubectl(t, "get", "secret,role,rolebinding", "-l", "federation.fedhelm.dev/release=gondor", "-o", "name"))
	}

	t.Run("the member is down", func(t *testing.T) {
		joinQuickly(t)
		clusters.LocalCluster(t, "pause", gondor.Name)
		t.Cleanup(func() { clusters.LocalCluster(t, "resume", gondor.Name) })
		f.waitForCluster(t, api, "gondor", "Unknown")
		said := f.uninstall(t, "gondor")
		require.Contains(t, said, "gondor")
		require.Contains(t, said, "is left", "it does not say what is left")
		requireNothingInHost(t)
		clusters.LocalCluster(t, "resume", gondor.Name)

		// What was left is in nobody's way.
		joinQuickly(t)
		f.waitForCluster(t, api, "gondor", "True")
		f.uninstall(t, "gondor")
		gondor.RequireUnchanged(t, before)
	})
	t.Run("the federation's credentials are revoked, and the given ones do it", func(t *testing.T) {
		joinQuickly(t)
		f.revoke(t, gondor)
		f.uninstall(t, "gondor")
		requireNothingInHost(t)
		gondor.RequireUnchanged(t, before)
	})
	t.Run("all credentials are revoked", func(t *testing.T) {
		f.kubectl(t, "create", "secret", "generic", "gondor-kubeconfig", "--from-file=kubeconfig="+gondor.Kubeconfig)
		f.must(t, "install", "gondor", clusters.MemberChart, "--set", "unjoin.timeoutSeconds=5")
		f.kubectl(t, "delete", "secret", "gondor-kubeconfig")
		f.revoke(t, gondor)
		said := f.uninstall(t, "gondor")
		require.Contains(t, said, "is left", "it does not say what is left")
		requireNothingInHost(t)
		joinQuickly(t)
		f.uninstall(t, "gondor")
		gondor.RequireUnchanged(t, before)
	})
	t.Run("the Cluster is gone already", func(t *testing.T) {
		joinQuickly(t)
		require.NoError(t, api.Delete(t.Context(), &v1beta1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "gondor"}}))
		f.uninstall(t, "gondor")
		requireNothingInHost(t)
		gondor.RequireUnchanged(t, before)
	})
	t.Run("policy Delete removes what the federation placed there", func(t *testing.T) {
		f.join(t, gondor, "--set", "unjoin.policy=Delete")
		placed := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "placed", Labels: map[string]string{v1beta1.LabelFederated: "fellowship"}}}
		others := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "others"}}
		role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "placed", Labels: placed.Labels}}
		for _, object := range []client.Object{placed, others, role} {
			require.NoError(t, gondor.Create(t.Context(), object))
		}
		f.uninstall(t, "gondor")
		require.NoError(t, gondor.Delete(t.Context(), others), "somebody else's object was removed")
		gondor.RequireUnchanged(t, before)
	})
	t.Run("the control plane is gone", func(t *testing.T) {
		joinQuickly(t)
		f.must(t, "upgrade", f.name, clusters.ControlPlaneChart, "--reuse-values", "--set", "teardown.enabled=false", "--wait")
		f.uninstall(t, f.name)
		f.uninstall(t, "gondor")
		requireNothingInHost(t)
		gondor.RequireUnchanged(t, before)
	})
}

// revoke deletes the token that the federation has in the member, and waits until the member's API has forgotten it too.
func (f *fellowship) revoke(t *testing.T, member *clusters.Cluster) {
	t.Helper()
	config := rest.AnonymousClientConfig(member.Config)
	config.BearerToken = string(f.secret(t, member.Name+"-federation-credentials").Data["token"])
	federation, err := client.New(config, client.Options{Scheme: clusters.Scheme})
	require.NoError(t, err)
	token := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1beta1.NamespaceFederationSystem, Name: member.Name + "-fellowship-token"}}
	require.NoError(t, member.Delete(t.Context(), token))
	clusters.Eventually(t, time.Minute, "the token to be refused", func(ctx context.Context) (bool, error) {
		err := federation.Get(ctx, client.ObjectKey{Name: "default"}, &corev1.Namespace{})
		return apierrors.IsUnauthorized(err), nil
	})
}
