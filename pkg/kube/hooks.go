package kube

import (
	"context"
	"errors"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// labelInstance is the standard label with the release's name, which Helm's objects carry and ours do not.
const labelInstance = "app.kubernetes.io/instance"

// DeleteHookJobs deletes those of the named Jobs that are hooks of the Helm release and are still there: Helm leaves a failed hook for its logs, and does
// not take it along when the release is uninstalled. Errors: whatever the API answers.
func DeleteHookJobs(ctx context.Context, c client.Client, namespace, release string, names ...string) error {
	var failed []error
	for _, name := range names {
		job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		err := c.Get(ctx, client.ObjectKeyFromObject(job), job)
		if err == nil && job.Labels[labelInstance] == release {
			uid := job.UID
			err = c.Delete(ctx, job, client.Preconditions{UID: &uid}, client.PropagationPolicy(metav1.DeletePropagationBackground))
		}
		if err != nil && !apierrors.IsNotFound(err) {
			failed = append(failed, fmt.Errorf("delete the failed hook Job %s/%s: %w", namespace, name, err))
		}
	}
	return errors.Join(failed...)
}
