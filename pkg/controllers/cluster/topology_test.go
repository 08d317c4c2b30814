package cluster

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func node(region, zone string) metav1.PartialObjectMetadata {
	labels := map[string]string{}
	if region != "" {
		labels["topology.kubernetes.io/region"] = region
	}
	if zone != "" {
		labels["topology.kubernetes.io/zone"] = zone
	}
	return metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Labels: labels}}
}

func TestTopology(t *testing.T) {
	type nodes = []metav1.PartialObjectMetadata
	for _, test := range []struct {
		name   string
		nodes  nodes
		region string
		zones  []string
	}{
		{"no nodes", nil, "", nil},
		{"no labels", nodes{node("", ""), node("", "")}, "", nil},
		{"one", nodes{node("west", "west-1")}, "west", []string{"west-1"}},
		{"all zones, sorted, once", nodes{node("west", "c"), node("west", "a"), node("west", "c"), node("west", "b")}, "west", []string{"a", "b", "c"}},
		{"unlabelled nodes do not count", nodes{node("", ""), node("", ""), node("west", "a")}, "west", []string{"a"}},
		{"most nodes' region", nodes{node("east", "e"), node("west", "w"), node("west", "w")}, "west", []string{"e", "w"}},
		{"a tie is the first by name", nodes{node("west", "w"), node("east", "e")}, "east", []string{"e", "w"}},
		{"zone without region", nodes{node("", "a")}, "", []string{"a"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			region, zones := topology(test.nodes)
			require.Equal(t, test.region, region)
			require.Equal(t, test.zones, zones)
		})
	}
}
