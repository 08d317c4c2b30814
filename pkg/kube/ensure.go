// Package kube holds small helpers over controller-runtime's client: objects that are ensured and deleted on behalf of a release,
// clients from kubeconfigs, and bounded waits.
package kube

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
)

// FieldManager owns the fields that fedhook writes with server-side apply.
const FieldManager = "fedhook"

// ErrForeign is in the error of an object that is there and is not the release's own.
var ErrForeign = errors.New("is not the release's own")

// Foreign is the error of an object that release may not touch: what names the object, label is the one that tells. errors.Is finds ErrForeign in it.
func Foreign(what, release, label, value string) error {
	return foreignError(fmt.Sprintf("%s exists already and is not release %s's own (its label %s is %q): delete or rename it, then run this again",
		what, release, label, value))
}

type foreignError string

func (e foreignError) Error() string        { return string(e) }
func (e foreignError) Is(target error) bool { return target == ErrForeign }

// Release makes, changes and deletes objects on behalf of a Helm release, and never touches what is not that release's own.
type Release struct {
	// Name of the Helm release.
	Name string
	// Federation the objects belong to.
	Federation string
}

// Labels mark an object as made by fedhook for the release. Argo CD tracks by app.kubernetes.io/instance and would prune what carries it,
// so that label is not among them.
func (r Release) Labels() map[string]string {
	return map[string]string{
		v1beta1.LabelManagedBy:  v1beta1.ManagedByFedhook,
		v1beta1.LabelRelease:    r.Name,
		v1beta1.LabelFederation: r.Federation,
	}
}

// Ensure brings obj to the state given: it is created where it is missing and its fields are applied where they differ, so that running it
// again changes nothing. It adds the release's labels to obj. Errors: the object exists and is not the release's own; whatever the API answers.
func (r Release) Ensure(ctx context.Context, c client.Client, obj client.Object) error {
	labels := obj.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	for key, value := range r.Labels() {
		labels[key] = value
	}
	obj.SetLabels(labels)

	current := obj.DeepCopyObject().(client.Object)
	found, err := r.Get(ctx, c, current)
	if err != nil {
		return err
	}
	if found && current.GetDeletionTimestamp() != nil {
		return fmt.Errorf("%s is being deleted: run this again when it is gone", Describe(c, obj))
	}
	return Apply(ctx, c, obj)
}

// Get reads obj and reports whether it is there. Errors: it is not the release's own; whatever the API answers.
func (r Release) Get(ctx context.Context, c client.Client, obj client.Object) (bool, error) {
	err := r.read(ctx, c, obj)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// Apply applies obj with server-side apply under fedhook's field manager, whoever made it.
func Apply(ctx context.Context, c client.Client, obj client.Object) error {
	return apply(ctx, c, obj, client.FieldOwner(FieldManager), client.ForceOwnership)
}

// CreateOnly creates obj with the release's labels, and never changes one that is there. It is a server-side apply too, because unlike create that can be limited
// to names in a role: each call is a field manager of its own, so that the fields of another call are a conflict. Errors: a conflict (apierrors.IsConflict) where obj is
// there; whatever the API answers.
func (r Release) CreateOnly(ctx context.Context, c client.Client, obj client.Object) error {
	obj.SetLabels(r.Labels())
	return apply(ctx, c, obj, client.FieldOwner(FieldManager+"-"+rand.Text()))
}

func apply(ctx context.Context, c client.Client, obj client.Object, options ...client.ApplyOption) error {
	gvk, err := apiutil.GVKForObject(obj, c.Scheme())
	if err != nil {
		return err
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return err
	}
	desired := &unstructured.Unstructured{Object: content}
	desired.SetGroupVersionKind(gvk)
	desired.SetManagedFields(nil)
	desired.SetResourceVersion("")
	desired.SetUID("")
	unstructured.RemoveNestedField(desired.Object, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(desired.Object, "status")
	if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(desired), options...); err != nil {
		return fmt.Errorf("apply %s: %w", Describe(c, obj), err)
	}
	return nil
}

// Delete deletes obj if it is the release's own, and reports whether it did: an object that is missing is none to delete. Errors: the object is
// not the release's own; whatever the API answers.
func (r Release) Delete(ctx context.Context, c client.Client, obj client.Object) (bool, error) {
	current := obj.DeepCopyObject().(client.Object)
	found, err := r.Get(ctx, c, current)
	if !found {
		return false, err
	}
	uid := current.GetUID()
	err = c.Delete(ctx, current, client.Preconditions{UID: &uid}, client.PropagationPolicy("Background"))
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("delete %s: %w", Describe(c, obj), err)
	}
	return true, nil
}

// read reads obj, and gives an error if it is not the release's own. The error of a missing object is the API's.
func (r Release) read(ctx context.Context, c client.Client, obj client.Object) error {
	if err := c.Get(ctx, client.ObjectKeyFromObject(obj), obj); err != nil {
		return fmt.Errorf("get %s: %w", Describe(c, obj), err)
	}
	labels := obj.GetLabels()
	for key, value := range r.Labels() {
		if labels[key] != value {
			return Foreign(Describe(c, obj), r.Name, key, labels[key])
		}
	}
	return nil
}

// Describe names an object for a person: `Secret federation-system/fellowship-ca`.
func Describe(c client.Client, obj client.Object) string {
	kind := fmt.Sprintf("%T", obj)
	if gvk, err := apiutil.GVKForObject(obj, c.Scheme()); err == nil {
		kind = gvk.Kind
	}
	return kind + " " + client.ObjectKeyFromObject(obj).String()
}
