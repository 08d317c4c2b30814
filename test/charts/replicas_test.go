package charts

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
)

// Pods of a component are spread, and a drain takes one of several at a time. One that runs alone is not held, so that its node can be drained.
func TestReplicas(t *testing.T) {
	twice := rendered(t, fellowship.with(inSections(`replicas: 2`, replicatedSections...)))
	own := rendered(t, fellowship.with(inSections(`
replicas: 3
podDisruptionBudget: {maxUnavailable: 2}
topologySpreadConstraints:
  - {maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: mine}}}
`, replicatedSections...)))
	without := rendered(t, fellowship.with(inSections(`{replicas: 2, podDisruptionBudget: {enabled: false}, topologySpreadConstraints: []}`, replicatedSections...)))
	for _, name := range []string{"fellowship-apiserver", "fellowship-kube-controller-manager", "fellowship-controller-manager", "fellowship-dns"} {
		constraints := func(r rendering) []corev1.TopologySpreadConstraint {
			o, found := r.find("Deployment", name)
			require.True(t, found, name)
			return o.Object.(*appsv1.Deployment).Spec.Template.Spec.TopologySpreadConstraints
		}
		budget := func(r rendering) *policyv1.PodDisruptionBudget {
			o, found := r.find("PodDisruptionBudget", name)
			if !found {
				return nil
			}
			return o.Object.(*policyv1.PodDisruptionBudget)
		}

		once := rendered(t, fellowship)
		assert.Nil(t, budget(once), name)

		require.Len(t, constraints(twice), 1, name)
		assert.Equal(t, constraints(once), constraints(twice), "%s: another pod does not roll the first", name)
		require.NotNil(t, budget(twice), name)
		assert.Equal(t, corev1.LabelHostname, constraints(twice)[0].TopologyKey, name)
		assert.Equal(t, budget(twice).Spec.Selector, constraints(twice)[0].LabelSelector, "%s: both are of the component's own pods", name)
		assert.Equal(t, 1, budget(twice).Spec.MaxUnavailable.IntValue(), name)

		require.Len(t, constraints(own), 1, name)
		assert.Equal(t, map[string]string{"app": "mine"}, constraints(own)[0].LabelSelector.MatchLabels, name)
		assert.Equal(t, 2, budget(own).Spec.MaxUnavailable.IntValue(), name)

		assert.Empty(t, constraints(without), name)
		assert.Nil(t, budget(without), name)
	}
}
