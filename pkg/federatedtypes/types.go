// Package federatedtypes knows the kinds of objects that a federation places in
// its members: what of an object is placed, and how the copies' status is summed.
// One generic controller serves them all; what a kind needs of its own is a
// function here. It is pure.
package federatedtypes

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
)

// Type is a kind of federated object.
type Type struct {
	schema.GroupVersionResource
	// Preferences is the annotation by which replicas are spread; empty where a kind has none.
	Preferences string
	// Spread says what is divided among the members instead of placed in each.
	Spread Spread

	// inheritsAnnotations says that a member's controllers give the object's annotations to what they make of it.
	inheritsAnnotations bool
	// prepare takes out of a copy's fields what is the member's own. It may replace fields of the map, never change what they hold.
	prepare func(fields map[string]any)
	// sum is the summed status; nil where the copies' status is not brought back.
	sum func(object *unstructured.Unstructured, copies []Copy) map[string]any
}

// Spread is what of an object is divided among the members.
type Spread int

const (
	// SpreadNothing places the whole object in each member.
	SpreadNothing Spread = iota
	// SpreadReplicas divides spec.replicas.
	SpreadReplicas
	// SpreadJob divides spec.parallelism and spec.completions.
	SpreadJob
	// SpreadHPA divides spec.minReplicas and spec.maxReplicas.
	SpreadHPA
)

// Amount is the field of the spec that is divided first, empty for SpreadNothing.
func (s Spread) Amount() string {
	return [...]string{"", "replicas", "parallelism", "maxReplicas"}[s]
}

// Name of the type, and of its controller in --controllers: v1's. Types that are not among the defaults have their group in it.
func (t *Type) Name() string {
	if t.Group == "" || slices.ContainsFunc(defaults, func(d *Type) bool { return d.GroupResource() == t.GroupResource() }) {
		return t.Resource
	}
	return t.GroupResource().String()
}

// HasStatus says whether the copies' status is summed.
func (t *Type) HasStatus() bool { return t.sum != nil }

// AppliedAmong is where in its metadata a copy has v1beta1.MarkApplied, which changes with each apply: its annotations, or the labels of a Deployment, whose annotations the
// Deployment controller writes into its ReplicaSets whenever they change.
func (t *Type) AppliedAmong() string {
	if t.inheritsAnnotations {
		return "labels"
	}
	return "annotations"
}

// ReadsCopies says whether more than the metadata of the copies is read: their status, or how what is divided is.
func (t *Type) ReadsCopies() bool { return t.HasStatus() || t.Spread != SpreadNothing }

// IsNamespace says whether the type is the namespaces, which come first.
func (t *Type) IsNamespace() bool { return t.Group == "" && t.Resource == "namespaces" }

// Defaults are the types that every federation places.
func Defaults() []*Type { return slices.Clone(defaults) }

var defaults = []*Type{
	{GroupVersionResource: core("namespaces"), prepare: without("spec")},
	{GroupVersionResource: core("configmaps")},
	{GroupVersionResource: core("secrets")},
	{GroupVersionResource: core("services"), prepare: prepareService, sum: sumLoadBalancer},
	{GroupVersionResource: core("serviceaccounts"), prepare: without("secrets")},
	{GroupVersionResource: apps("deployments"), Preferences: v1beta1.AnnotationDeploymentPreferences, Spread: SpreadReplicas, inheritsAnnotations: true,
		sum: sumFields("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas")},
	{GroupVersionResource: apps("replicasets"), Preferences: v1beta1.AnnotationReplicaSetPreferences, Spread: SpreadReplicas,
		sum: sumFields("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas")},
	{GroupVersionResource: apps("statefulsets"), Preferences: v1beta1.AnnotationStatefulSetPreferences, Spread: SpreadReplicas,
		sum: sumFields("replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")},
	{GroupVersionResource: apps("daemonsets"),
		sum: sumFields("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable", "numberUnavailable")},
	{GroupVersionResource: batch("jobs"), Preferences: v1beta1.AnnotationJobPreferences, Spread: SpreadJob, prepare: prepareJob, sum: sumJob},
	{GroupVersionResource: batch("cronjobs")},
	{GroupVersionResource: schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"}, sum: sumLoadBalancer},
	{GroupVersionResource: schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}, Spread: SpreadHPA,
		sum: sumFields("currentReplicas", "desiredReplicas")},
	{GroupVersionResource: schema.GroupVersionResource{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"}},
	{GroupVersionResource: schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}},
	{GroupVersionResource: rbac("roles")},
	{GroupVersionResource: rbac("rolebindings")},
}

func core(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: resource}
}

func apps(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: resource}
}

func batch(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: resource}
}

func rbac(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: resource}
}

// All is the defaults and the types that Parse reads.
func All(entries []string) ([]*Type, error) {
	more, err := Parse(entries)
	return append(Defaults(), more...), err
}

// Parse reads types that are federated besides the defaults, each as group/version/resource (version/resource in the core group), such as
// "example.com/v1/rings". An error names the entry and what is wrong with it.
func Parse(entries []string) ([]*Type, error) {
	var types []*Type
	seen := map[schema.GroupResource]bool{}
	for _, t := range defaults {
		seen[t.GroupResource()] = true
	}
	for _, entry := range entries {
		parts := strings.Split(entry, "/")
		if len(parts) == 2 && parts[0] == "v1" {
			parts = append([]string{""}, parts...)
		}
		if len(parts) != 3 || !names(parts) {
			return nil, fmt.Errorf("federated type %q is not of the form group/version/resource, such as example.com/v1/rings with the resource in the plural", entry)
		}
		t := &Type{GroupVersionResource: schema.GroupVersionResource{Group: parts[0], Version: parts[1], Resource: parts[2]}}
		if seen[t.GroupResource()] {
			return nil, fmt.Errorf("federated type %q is there already: take it out", entry)
		}
		if why := local[t.GroupResource()]; why != "" {
			return nil, fmt.Errorf("federated type %q cannot be placed in members, since %s: take it out", entry, why)
		}
		seen[t.GroupResource()] = true
		types = append(types, t)
	}
	return types, nil
}

// toldWithoutEnd is why Events stay.
const toldWithoutEnd = "what is told of an object's copies would be placed, and told again, without end"

// local are types that stay where they are made, and why.
var local = map[schema.GroupResource]string{
	{Resource: "events"}:                                      toldWithoutEnd,
	{Group: "events.k8s.io", Resource: "events"}:              toldWithoutEnd,
	{Group: v1beta1.GroupVersion.Group, Resource: "clusters"}: "the federation's members are its own",
	{Group: "coordination.k8s.io", Resource: "leases"}:        "whoever holds one renews it where it runs",
	{Resource: "nodes"}:                                       "a cluster has its own machines",
}

// names says whether group, version and resource can be such.
func names(parts []string) bool {
	group, version, resource := parts[0], parts[1], parts[2]
	return (group == "" || len(validation.IsDNS1123Subdomain(group)) == 0) && len(validation.IsDNS1035Label(version)) == 0 && len(validation.IsDNS1035Label(resource)) == 0
}
