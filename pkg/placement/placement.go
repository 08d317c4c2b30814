// Package placement says to which clusters of a federation an object goes: v1's
// cluster selector, and what never leaves the federation. It is pure.
package placement

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
)

// requirement is one term of the annotation: a label's key, an operator and the values for it.
type requirement struct {
	Key      string   `json:"key"`
	Operator string   `json:"operator"`
	Values   []string `json:"values,omitempty"`
}

// operators are v1's spellings.
var operators = map[string]selection.Operator{
	"In": selection.In, "in": selection.In,
	"NotIn": selection.NotIn, "notin": selection.NotIn,
	"Exists": selection.Exists, "exists": selection.Exists,
	"DoesNotExist": selection.DoesNotExist, "!": selection.DoesNotExist,
	"=": selection.Equals, "==": selection.DoubleEquals, "!=": selection.NotEquals,
	"Gt": selection.GreaterThan, "gt": selection.GreaterThan, ">": selection.GreaterThan,
	"Lt": selection.LessThan, "lt": selection.LessThan, "<": selection.LessThan,
}

// Selector reads the annotation v1beta1.AnnotationClusterSelector: what it gives is matched to the Clusters' labels. All terms must hold; no
// annotation selects every cluster, v1beta1.FederationOnly none. An error is one sentence that says which term is wrong, and how.
func Selector(object metav1.Object) (labels.Selector, error) {
	annotation := strings.TrimSpace(object.GetAnnotations()[v1beta1.AnnotationClusterSelector])
	switch annotation {
	case "":
		return labels.Everything(), nil
	case v1beta1.FederationOnly:
		return labels.Nothing(), nil
	}
	terms, err := parse(annotation)
	if err != nil {
		return nil, fmt.Errorf("annotation %s is no list of terms such as [{\"key\":\"environment\",\"operator\":\"In\",\"values\":[\"test\"]}]: %w", v1beta1.AnnotationClusterSelector, err)
	}
	selector := labels.NewSelector()
	for i, term := range terms {
		operator, known := operators[term.Operator]
		if !known {
			return nil, fmt.Errorf("term %d of annotation %s has the operator %q: use In, NotIn, Exists, DoesNotExist, =, ==, !=, Gt or Lt", i+1, v1beta1.AnnotationClusterSelector, term.Operator)
		}
		matches, err := labels.NewRequirement(term.Key, operator, term.Values)
		if err != nil {
			return nil, fmt.Errorf("term %d of annotation %s (%s %s) cannot be used: %w", i+1, v1beta1.AnnotationClusterSelector, term.Key, term.Operator, err)
		}
		selector = selector.Add(*matches)
	}
	return selector, nil
}

func parse(annotation string) ([]requirement, error) {
	decoder := json.NewDecoder(bytes.NewReader([]byte(annotation)))
	decoder.DisallowUnknownFields()
	var terms []requirement
	if err := decoder.Decode(&terms); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows the list")
	}
	return terms, nil
}

// System says whether an object belongs to the federation's own API and is never placed: what a stock kube-apiserver makes by itself, and the
// controllers' own namespace.
func System(resource schema.GroupResource, namespace, name string) bool {
	if resource == (schema.GroupResource{Resource: "namespaces"}) {
		return name == metav1.NamespaceDefault || systemNamespace(name)
	}
	return systemNamespace(namespace) || resource == (schema.GroupResource{Resource: "services"}) && namespace == metav1.NamespaceDefault && name == "kubernetes"
}

// EveryClustersOwn says whether an object means nothing in another cluster: the token of a ServiceAccount, which each cluster's API makes and deletes by itself.
func EveryClustersOwn(resource schema.GroupResource, object *unstructured.Unstructured) bool {
	kind, _, _ := unstructured.NestedString(object.Object, "type")
	return resource == (schema.GroupResource{Resource: "secrets"}) && kind == string(corev1.SecretTypeServiceAccountToken)
}

func systemNamespace(name string) bool {
	return strings.HasPrefix(name, "kube-") || name == v1beta1.NamespaceFederationSystem
}
