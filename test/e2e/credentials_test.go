//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/test/clusters"
	"github.com/fedhelm/fedhelm/test/matrix"
)

// TestCredentials joins clusters by other credentials than a kubeconfig with which the federation makes itself an account.
func TestCredentials(t *testing.T) {
	matrix.WholeOnly(t, "the packages' tests join with each kind of credentials too")
	f := newFellowship(t, "helm")
	f.install(t)
	before := f.host.TakeSnapshot(t)
	t.Run("the host cluster joins its own federation", func(t *testing.T) { f.hostJoins(t, before) })
	t.Run("the given credentials are the federation's own", func(t *testing.T) { f.withoutAccount(t, before) })
}

func (f *fellowship) hostJoins(t *testing.T, before clusters.Snapshot) {
	f.must(t, "install", "rivendell", clusters.MemberChart, "--set", "credentials.inCluster=true", "--wait")
	f.waitForCluster(t, f.api(t), "rivendell", "True")
	f.uninstall(t, "rivendell")
	// Its namespace is kept on purpose: in most hosts it is the control plane's too.
	f.host.RequireUnchanged(t, before, " federation-system/", "namespaces /federation-system")
	f.host.DeleteNamespace(t, "federation-system", 2*time.Minute)
}

// withoutAccount joins a cluster that is then Ready and has no account of the federation's; upgrades lead to an account and back, and when it leaves all is as before.
func (f *fellowship) withoutAccount(t *testing.T, hostBefore clusters.Snapshot) {
	gondor := clusters.Open(t, clusters.Gondor)
	memberBefore := gondor.TakeSnapshot(t)
	api := f.api(t)
	requireAccount := func(own bool) {
		t.Helper()
		f.waitForCluster(t, api, "gondor", "True")
		require.Equal(t, own, len(f.secret(t, "gondor-federation-credentials").Data["token"]) > 0)
		require.Equal(t, !own, len(f.secret(t, "gondor-federation-credentials").Data["kubeconfig"]) > 0)
		clusters.Eventually(t, time.Minute, fmt.Sprintf("the account to be there: %v", own), func(ctx context.Context) (bool, error) {
			err := gondor.Get(ctx, client.ObjectKey{Namespace: v1beta1.NamespaceFederationSystem, Name: "gondor-fellowship"}, &corev1.ServiceAccount{})
			return own && err == nil || !own && apierrors.IsNotFound(err), err
		})
	}

	f.join(t, gondor, "--set", "serviceAccount.create=false")
	requireAccount(false)
	secrets := f.secretVersions(t)
	f.join(t, gondor, "--set", "serviceAccount.create=false")
	require.Equal(t, secrets, f.secretVersions(t), "an upgrade with no change")
	f.join(t, gondor)
	requireAccount(true)
	f.join(t, gondor, "--set", "serviceAccount.create=false")
	requireAccount(false)
	f.uninstall(t, "gondor")
	f.host.RequireUnchanged(t, hostBefore)
	gondor.RequireUnchanged(t, memberBefore)
}
