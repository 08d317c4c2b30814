//go:build e2e

package member

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/memberdns"
	"github.com/fedhelm/fedhelm/test/faults"
)

// Joining makes a cluster Ready; joining again changes nothing; leaving takes everything back, the DNS text byte for byte.
func TestJoinAndLeave(t *testing.T) {
	asBefore := unchanged(t)
	gondor := newRelease(t, "gondor")
	require.NoError(t, gondor.join(), gondor.log.String())
	cluster := &v1beta1.Cluster{}
	require.NoError(t, federationServer.Get(t.Context(), client.ObjectKey{Name: "gondor"}, cluster))
	assert.Equal(t, memberServer.Config.Host, addressOf(cluster))
	secret := &corev1.Secret{}
	require.NoError(t, host.Get(t.Context(), client.ObjectKey{Namespace: rivendell, Name: "gondor-federation-credentials"}, secret))
	assert.Equal(t, memberServer.Config.CAData, secret.Data["ca.crt"])
	corefile := &corev1.ConfigMap{}
	require.NoError(t, memberServer.Get(t.Context(), client.ObjectKey{Namespace: memberdns.Namespace, Name: memberdns.CoreDNS}, corefile))
	assert.Contains(t, corefile.Data[memberdns.CorefileKey], "fellowship.svc.bree.eriador.federation.internal.")

	before := world(t, true)
	require.NoError(t, gondor.join(), gondor.log.String())
	assert.Empty(t, difference(before, world(t, true))[1:], "a second join")

	gondor.log.Reset()
	require.NoError(t, gondor.unjoin(), gondor.log.String())
	asBefore()
	assert.NotContains(t, gondor.log.String(), "level=WARN")
	require.NoError(t, gondor.unjoin(), "again")
	t.Log(gondor.log.String())
}

// Killed at any write, join converges when it is run again.
func TestJoinKilled(t *testing.T) {
	cuts := faults.KillAtEveryWrite(t, func(t *testing.T) faults.Stage {
		asBefore := unchanged(t)
		gondor := newRelease(t, "gondor")
		stage := faults.Stage{
			Run: func(ctx context.Context, wire *faults.Transport) error { return gondor.hook("join", wire).Join(ctx) },
			Check: func(t *testing.T) {
				before := world(t, true)
				require.NoError(t, gondor.join())
				require.Empty(t, difference(before, world(t, true))[1:], "one more join")
				require.NoError(t, gondor.unjoin())
				asBefore()
				require.NotContains(t, gondor.log.String(), "left behind")
			},
		}
		return stage
	})
	t.Logf("join: %d cuts", cuts)
}

// Killed at any write, unjoin takes everything back when it is run again.
func TestUnjoinKilled(t *testing.T) {
	cuts := faults.KillAtEveryWrite(t, func(t *testing.T) faults.Stage {
		asBefore := unchanged(t)
		gondor := newRelease(t, "gondor")
		gondor.values.Unjoin.Policy = "Delete"
		require.NoError(t, gondor.join(), gondor.log.String())
		placed := &corev1.ConfigMap{}
		placed.Namespace, placed.Name, placed.Labels = "default", "placed", map[string]string{v1beta1.LabelFederated: fellowship}
		require.NoError(t, memberServer.Create(t.Context(), placed))
		// What is left is found with the kept token alone.
		gondor.values.Credentials.Kubeconfig = ""
		return faults.Stage{
			Run: func(ctx context.Context, wire *faults.Transport) error {
				return gondor.hook("unjoin", wire).Unjoin(ctx)
			},
			Check: func(t *testing.T) {
				asBefore()
				assert.NotContains(t, gondor.log.String(), "level=WARN msg=\"what the federation made")
				assert.NotContains(t, gondor.log.String(), "orbidden")
			},
		}
	})
	t.Logf("unjoin: %d cuts", cuts)
}
