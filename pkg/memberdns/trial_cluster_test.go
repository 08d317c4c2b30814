//go:build clusters

// This test runs pods, so it needs a whole cluster: gondor of scripts/local-cluster, or of KUBECONFIG. It leaves it as it was.

package memberdns

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/clusterdns"
	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/test/clusters"
)

// The member's own CoreDNS takes the built-in text, and refuses what it cannot load with its own words, before the text comes near its DNS.
func TestTryCoreDNS(t *testing.T) {
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: clusters.Kubeconfig()}, &clientcmd.ConfigOverrides{CurrentContext: clusters.Gondor}).ClientConfig()
	require.NoError(t, err, "this test needs a cluster: scripts/local-cluster up gondor")
	api, err := kube.Connect(config)
	require.NoError(t, err)
	for _, c := range []struct{ template, verdict string }{
		{"", ""},
		{"a.example:53 {\n    nonsense\n}\n", "Unknown directive 'nonsense'"},
		{"a.example:53 {\n    forward\n}\n", "Wrong argument count or unexpected line ending after 'forward'"},
	} {
		m := Member{
			API: api, Federation: clusterdns.Federation{Name: "trial", Zone: "federation.internal.", Nameservers: []string{"10.0.0.53"}},
			Template: c.template, Log: slog.New(slog.DiscardHandler),
		}
		mode, err := m.Detect(t.Context())
		require.NoError(t, err)
		require.NoError(t, m.Check(t.Context(), mode))
		place := placeOf(mode)
		edit, err := m.editOf(t.Context(), place)
		require.NoError(t, err)
		before := corefileOf(t, api)
		began := time.Now()
		err = m.tryEdit(t.Context(), place, edit)
		t.Logf("%s: %v", time.Since(began).Round(time.Millisecond), err)
		if c.verdict == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, c.verdict)
		}
		assert.Equal(t, before, corefileOf(t, api))
		for _, obj := range []client.Object{&corev1.Pod{}, &corev1.ConfigMap{}} {
			err := api.Get(t.Context(), client.ObjectKey{Namespace: Namespace, Name: "fedhelm-trial-trial"}, obj)
			assert.NoError(t, client.IgnoreNotFound(err))
			assert.Error(t, err, "nothing of the trial stays")
		}
	}
}

func corefileOf(t *testing.T, api *kube.API) string {
	t.Helper()
	configMap := &corev1.ConfigMap{}
	require.NoError(t, api.Get(t.Context(), client.ObjectKey{Namespace: Namespace, Name: CoreDNS}, configMap))
	return configMap.Data[CorefileKey]
}
