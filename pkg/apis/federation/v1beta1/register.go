package v1beta1

import (
	_ "embed"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is federation.fedhelm.dev/v1beta1. (v1's group was "federation",
// which has no dot and so cannot be a CustomResourceDefinition's.)
var GroupVersion = schema.GroupVersion{Group: "federation.fedhelm.dev", Version: "v1beta1"}

var (
	schemeBuilder = runtime.NewSchemeBuilder(func(s *runtime.Scheme) error {
		s.AddKnownTypes(GroupVersion, &Cluster{}, &ClusterList{})
		metav1.AddToGroupVersion(s, GroupVersion)
		return nil
	})

	// AddToScheme makes a scheme know this package's types.
	AddToScheme = schemeBuilder.AddToScheme
)

// Resource qualifies a resource's name with this package's group.
func Resource(resource string) schema.GroupResource {
	return GroupVersion.WithResource(resource).GroupResource()
}

//go:embed crd/federation.fedhelm.dev_clusters.yaml
var clustersCRD []byte

// CustomResourceDefinitionName is the name of the object in
// CustomResourceDefinition.
const CustomResourceDefinitionName = "clusters.federation.fedhelm.dev"

// CustomResourceDefinition returns the CustomResourceDefinition of Cluster
// (apiextensions.k8s.io/v1) as one YAML document. It is text so that this
// package needs no apiextensions types; apply it as unstructured.
func CustomResourceDefinition() []byte {
	return append([]byte(nil), clustersCRD...)
}
