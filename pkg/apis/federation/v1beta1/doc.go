// Package v1beta1 is the vocabulary of a federation: the Cluster object, its
// CustomResourceDefinition, and the labels, annotations and names that the
// hooks, the charts and the controllers share. It imports nothing of fedhelm
// and of Kubernetes only apimachinery, so that everyone can import it.
//
// +kubebuilder:object:generate=true
// +groupName=federation.fedhelm.dev
package v1beta1

// Paths are relative to this folder, where go generate runs.
//go:generate go tool -modfile=../../../../tools/go.mod controller-gen object crd paths=. output:crd:dir=crd
