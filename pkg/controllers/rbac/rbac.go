// Package rbac says what federation-controller-manager may do: in the
// federation's API (granted by fedhook bootstrap) and in the host cluster
// (granted by fedhook join, a Secret at a time). In a member it may do
// everything, as in v1: it places objects of any kind there.
package rbac

import (
	"maps"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/federatedtypes"
)

// User is federation-controller-manager's user in the federation's API: the CN
// of its client certificate, which names no groups.
const User = v1beta1.ControllerManager

// ClusterRules are the rules of the ClusterRole that is bound to User in the
// federation's API: Clusters, and the federated types.
func ClusterRules(types []*federatedtypes.Type) []rbacv1.PolicyRule {
	group := v1beta1.GroupVersion.Group
	rules := []rbacv1.PolicyRule{
		// The finalizer is what it patches.
		{APIGroups: []string{group}, Resources: []string{"clusters"}, Verbs: []string{"get", "list", "watch", "patch"}},
		{APIGroups: []string{group}, Resources: []string{"clusters/status"}, Verbs: []string{"update", "patch"}},
		{APIGroups: []string{"", "events.k8s.io"}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}},
		// By kube-system's UID it notices that the API lost its data.
		{APIGroups: []string{""}, Resources: []string{"namespaces"}, ResourceNames: []string{"kube-system"}, Verbs: []string{"get"}},
		// An annotation on a Role is a change for which the API wants all the Role's rights, or these.
		{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"roles"}, Verbs: []string{"escalate"}},
		{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"roles", "clusterroles"}, Verbs: []string{"bind"}},
	}
	resources := map[string][]string{}
	for _, t := range types {
		resources[t.Group] = append(resources[t.Group], t.Resource, t.Resource+"/status")
	}
	for _, group := range slices.Sorted(maps.Keys(resources)) {
		rules = append(rules, rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources[group], Verbs: []string{"get", "list", "watch", "patch"}})
	}
	return rules
}

// NamespaceRules are the rules of the Role that is bound to User in namespace
// v1beta1.NamespaceFederationSystem of the federation's API: the lease of
// leader election. (create cannot be limited to a name.)
func NamespaceRules() []rbacv1.PolicyRule {
	leases := rbacv1.PolicyRule{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}}
	create, keep := leases, leases
	create.Verbs = []string{"create"}
	keep.Verbs, keep.ResourceNames = []string{"get", "update"}, []string{v1beta1.ControllerManager}
	return []rbacv1.PolicyRule{create, keep}
}

// CredentialsRules are the rules of the Role that lets the controller manager's
// service account in the host cluster read one member's credentials Secret.
func CredentialsRules(secretName string) []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{secretName}, Verbs: []string{"get"}},
	}
}
