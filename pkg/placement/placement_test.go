package placement

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
)

func annotated(selector string) metav1.Object {
	return &metav1.ObjectMeta{Annotations: map[string]string{v1beta1.AnnotationClusterSelector: selector}}
}

func TestSelector(t *testing.T) {
	gondor := labels.Set{"pci": "true", "environment": "test", "size": "12"}
	for selector, want := range map[string]bool{
		``:       true,
		`[]`:     true,
		`  [ ] `: true, //nolint:gocritic // the spaces are what it is about
		"federation.kubernetes.io/federation-control-plane=true":                                                         false,
		`[{"key":"pci","operator":"In","values":["true"]},{"key":"environment","operator":"=","values":["test"]}]`:       true,
		`[{"key":"pci","operator":"In","values":["true"]},{"key":"environment","operator":"=","values":["production"]}]`: false,
		`[{"key":"environment","operator":"in","values":["production","test"]}]`:                                         true,
		`[{"key":"environment","operator":"NotIn","values":["test"]}]`:                                                   false,
		`[{"key":"environment","operator":"notin","values":["production"]}]`:                                             true,
		`[{"key":"pci","operator":"Exists"}]`:                                                                            true,
		`[{"key":"gold","operator":"exists"}]`:                                                                           false,
		`[{"key":"gold","operator":"DoesNotExist"}]`:                                                                     true,
		`[{"key":"pci","operator":"!"}]`:                                                                                 false,
		`[{"key":"pci","operator":"==","values":["true"]}]`:                                                              true,
		`[{"key":"pci","operator":"!=","values":["true"]}]`:                                                              false,
		`[{"key":"size","operator":"Gt","values":["11"]}]`:                                                               true,
		`[{"key":"size","operator":"gt","values":["12"]}]`:                                                               false,
		`[{"key":"size","operator":">","values":["2"]}]`:                                                                 true,
		`[{"key":"size","operator":"Lt","values":["13"]}]`:                                                               true,
		`[{"key":"size","operator":"lt","values":["12"]}]`:                                                               false,
		`[{"key":"size","operator":"<","values":["100"]}]`:                                                               true,
		`[{"key":"size","operator":"Gt","values":["11"]},{"key":"size","operator":"Lt","values":["12"]}]`:                false,
	} {
		got, err := Selector(annotated(selector))
		require.NoError(t, err, selector)
		require.Equal(t, want, got.Matches(gondor), selector)
	}
	everywhere, err := Selector(&metav1.ObjectMeta{})
	require.NoError(t, err)
	require.True(t, everywhere.Matches(labels.Set{}))
}

func TestSelectorErrors(t *testing.T) {
	for selector, want := range map[string]string{
		`pci=true`:                                           "is no list of terms",
		`{"key":"pci","operator":"Exists"}`:                  "is no list of terms",
		`[{"key":"pci","operator":"Exists"}] x`:              "something follows the list",
		`[{"key":"pci","operator":"Exists","value":"true"}]`: `unknown field "value"`,
		`[{"key":"pci","operator":"Like","values":["t"]}]`:   `term 1 of annotation federation.alpha.kubernetes.io/cluster-selector has the operator "Like"`,
		`[{"key":"pci","operator":"In"}]`:                    "term 1 of annotation",
		`[{"key":"","operator":"Exists"}]`:                   "cannot be used",
		`[{"key":"a","operator":"Exists"},{"key":"size","operator":"Gt","values":["big"]}]`: "term 2 of annotation",
	} {
		_, err := Selector(annotated(selector))
		require.ErrorContains(t, err, want, selector)
	}
}

func TestSystem(t *testing.T) {
	namespaces, services, roles := schema.GroupResource{Resource: "namespaces"}, schema.GroupResource{Resource: "services"}, schema.GroupResource{Group: "rbac.authorization.k8s.io", Resource: "roles"}
	for _, c := range []struct {
		resource        schema.GroupResource
		namespace, name string
		want            bool
	}{
		{namespaces, "", "default", true},
		{namespaces, "", "kube-system", true},
		{namespaces, "", "federation-system", true},
		{namespaces, "", "shop", false},
		{services, "default", "kubernetes", true},
		{services, "default", "shop", false},
		{services, "shop", "kubernetes", false},
		{roles, "kube-public", "system:reader", true},
		{roles, "federation-system", "leader", true},
		{roles, "default", "kubernetes", false},
	} {
		require.Equal(t, c.want, System(c.resource, c.namespace, c.name), "%v", c)
	}
}

func TestEveryClustersOwn(t *testing.T) {
	secrets := schema.GroupResource{Resource: "secrets"}
	of := func(kind string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"type": kind}}
	}
	require.True(t, EveryClustersOwn(secrets, of("kubernetes.io/service-account-token")))
	require.False(t, EveryClustersOwn(secrets, of("Opaque")))
	require.False(t, EveryClustersOwn(secrets, &unstructured.Unstructured{Object: map[string]any{}}))
	require.False(t, EveryClustersOwn(schema.GroupResource{Group: "tolkien.example", Resource: "rings"}, of("kubernetes.io/service-account-token")))
}
