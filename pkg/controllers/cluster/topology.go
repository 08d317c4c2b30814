package cluster

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// topology returns where the nodes are by their topology.kubernetes.io labels:
// the region that most of them have (the first by name, if several have as
// many), and all their zones, sorted. (v1 knew only the first zone.)
func topology(nodes []metav1.PartialObjectMetadata) (region string, zones []string) {
	regions := map[string]int{}
	for _, node := range nodes {
		if r := node.Labels[corev1.LabelTopologyRegion]; r != "" {
			regions[r]++
		}
		if z := node.Labels[corev1.LabelTopologyZone]; z != "" {
			zones = append(zones, z)
		}
	}
	for r, n := range regions {
		if most := regions[region]; n > most || n == most && r < region {
			region = r
		}
	}
	slices.Sort(zones)
	return region, slices.Compact(zones)
}
