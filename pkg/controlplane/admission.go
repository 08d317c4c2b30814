package controlplane

import (
	"context"
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	cliflag "k8s.io/component-base/cli/flag"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/federatedtypes"
	"github.com/fedhelm/fedhelm/pkg/kube"
)

// ensureAdmission lets the API itself put the finalizer on federated objects, which saves a write each, and keep in mind that an object is deleted with
// --cascade=orphan when the garbage collector takes the trace of it off. An API older than Kubernetes 1.36 does not serve such policies: there the
// controllers write the finalizer, and an orphaning that they do not see, because they are down, is a cascading deletion.
func (h Hook) ensureAdmission(ctx context.Context, api *kube.API, types []*federatedtypes.Type) error {
	const (
		has      = `has(object.metadata.finalizers) && object.metadata.finalizers.exists(f, f == "` + v1beta1.Finalizer + `")`
		orphaned = `has(oldObject.metadata.finalizers) && oldObject.metadata.finalizers.exists(f, f == "` + metav1.FinalizerOrphanDependents + `")`
		kept     = `has(object.metadata.finalizers) && object.metadata.finalizers.exists(f, f == "` + metav1.FinalizerOrphanDependents + `")`
		own      = `(request.resource.resource == "namespaces" ? request.name : request.namespace)`
	)
	policies := []*admissionv1.MutatingAdmissionPolicy{
		policy("federation-finalizer", admissionv1.Create, types,
			fmt.Sprintf(`!(%s.startsWith("kube-") || %s == %q)`, own, own, v1beta1.NamespaceFederationSystem)+` && !(`+has+`)`,
			fmt.Sprintf(`has(object.metadata.finalizers)
	? [JSONPatch{op: "add", path: "/metadata/finalizers/-", value: %q}]
	: [JSONPatch{op: "add", path: "/metadata/finalizers", value: [%q]}]`, v1beta1.Finalizer, v1beta1.Finalizer)),
		policy("federation-orphan", admissionv1.Update, types,
			`(`+orphaned+`) && !(`+kept+`) && (`+has+`)`,
			fmt.Sprintf(`has(object.metadata.annotations)
	? [JSONPatch{op: "add", path: "/metadata/annotations/" + jsonpatch.escapeKey(%q), value: "true"}]
	: [JSONPatch{op: "add", path: "/metadata/annotations", value: {%q: "true"}}]`, v1beta1.AnnotationOrphan, v1beta1.AnnotationOrphan)),
	}
	for _, p := range policies {
		binding := &admissionv1.MutatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: p.Name}, Spec: admissionv1.MutatingAdmissionPolicyBindingSpec{PolicyName: p.Name}}
		for _, object := range []client.Object{p, binding} {
			if len(types) == 0 { // an API takes no policy without a type
				if err := api.Delete(ctx, object); client.IgnoreNotFound(err) != nil {
					return fmt.Errorf("delete %s: %w", kube.Describe(api, object), err)
				}
				continue
			}
			object.SetLabels(h.release().Labels())
			err := kube.Apply(ctx, api, object)
			if apierrors.IsNotFound(err) {
				h.Log.Info("this API serves no MutatingAdmissionPolicy (Kubernetes 1.36 and later do): the controllers write the finalizer themselves")
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// placed are the types whose controllers are not turned off: nobody would take the finalizer off another's objects, so those must not get it. What the controllers cannot read turns none off, and they
// say so.
func (h Hook) placed(types []*federatedtypes.Type) []*federatedtypes.Type {
	controllers := map[string]bool{}
	if err := cliflag.NewMapStringBool(&controllers).Set(h.Values.ControllerManager.Flag("controllers")); err != nil {
		return types
	}
	return slices.DeleteFunc(slices.Clone(types), func(t *federatedtypes.Type) bool {
		on, named := controllers[t.Name()]
		return named && !on
	})
}

// policy changes objects of the types by a JSON patch, where a condition holds.
func policy(name string, operation admissionv1.OperationType, types []*federatedtypes.Type, condition, patch string) *admissionv1.MutatingAdmissionPolicy {
	p := &admissionv1.MutatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: admissionv1.MutatingAdmissionPolicySpec{
		MatchConstraints:   &admissionv1.MatchResources{},
		MatchConditions:    []admissionv1.MatchCondition{{Name: "concerned", Expression: condition}},
		FailurePolicy:      new(admissionv1.Ignore), // the controllers do without
		ReinvocationPolicy: admissionv1.NeverReinvocationPolicy,
		Mutations:          []admissionv1.Mutation{{PatchType: admissionv1.PatchTypeJSONPatch, JSONPatch: &admissionv1.JSONPatch{Expression: patch}}},
	}}
	for _, t := range types {
		p.Spec.MatchConstraints.ResourceRules = append(p.Spec.MatchConstraints.ResourceRules, admissionv1.NamedRuleWithOperations{RuleWithOperations: admissionv1.RuleWithOperations{
			Operations: []admissionv1.OperationType{operation},
			Rule:       admissionv1.Rule{APIGroups: []string{t.Group}, APIVersions: []string{"*"}, Resources: []string{t.Resource}},
		}})
	}
	return p
}
