package kube

import (
	"context"
	"errors"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// labelInstance is the standard label with the release's name, which Helm's objects carry and ours do not.
const labelInstance = "app.kubernetes.io/instance"

// A hook of the charts is a Job with an account of its own, the values that it reads, and its role; where the host cluster joins itself, also a role in the whole cluster. What may do something goes
// before the account that it is given to.
var (
	hookKinds = []schema.GroupVersionKind{
		batchv1.SchemeGroupVersion.WithKind("Job"), rbacv1.SchemeGroupVersion.WithKind("RoleBinding"), rbacv1.SchemeGroupVersion.WithKind("Role"),
		corev1.SchemeGroupVersion.WithKind("Secret"), corev1.SchemeGroupVersion.WithKind("ServiceAccount"),
	}
	// A test of `helm test` is a hook with a Pod in the Job's place.
	testKinds        = append([]schema.GroupVersionKind{corev1.SchemeGroupVersion.WithKind("Pod")}, hookKinds[1:]...)
	clusterHookKinds = []schema.GroupVersionKind{rbacv1.SchemeGroupVersion.WithKind("ClusterRoleBinding"), rbacv1.SchemeGroupVersion.WithKind("ClusterRole")}
)

// DeleteHooks deletes what is left of those of the named hooks that are the Helm release's: Helm leaves the Job of a hook that failed for its logs, and all of it where Helm itself was killed, and
// takes none of it along when the release is uninstalled. Errors: whatever the API answers.
func DeleteHooks(ctx context.Context, c client.Client, namespace, release string, names ...string) error {
	var failed []error
	for _, name := range names {
		failed = append(failed, deleteHook(ctx, c, hookKinds, client.ObjectKey{Namespace: namespace, Name: name}, release))
	}
	return errors.Join(failed...)
}

// DeleteTest deletes what is left of a test that failed, or was killed.
func DeleteTest(ctx context.Context, c client.Client, namespace, release, name string) error {
	return deleteHook(ctx, c, testKinds, client.ObjectKey{Namespace: namespace, Name: name}, release)
}

// DeleteClusterHook deletes what is left of a hook in the whole cluster.
func DeleteClusterHook(ctx context.Context, c client.Client, release, name string) error {
	return deleteHook(ctx, c, clusterHookKinds, client.ObjectKey{Name: name}, release)
}

func deleteHook(ctx context.Context, c client.Client, kinds []schema.GroupVersionKind, key client.ObjectKey, release string) error {
	var failed []error
	for _, kind := range kinds {
		object := &metav1.PartialObjectMetadata{}
		object.SetGroupVersionKind(kind)
		err := c.Get(ctx, key, object)
		if err == nil && object.Labels[labelInstance] == release {
			uid := object.UID
			err = c.Delete(ctx, object, client.Preconditions{UID: &uid}, client.PropagationPolicy(metav1.DeletePropagationBackground))
		}
		if err != nil && !apierrors.IsNotFound(err) {
			failed = append(failed, fmt.Errorf("delete %s %s, which a hook left: %w", kind.Kind, key, err))
		}
	}
	return errors.Join(failed...)
}
