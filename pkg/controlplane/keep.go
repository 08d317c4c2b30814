package controlplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	appsv1apply "k8s.io/client-go/applyconfigurations/apps/v1"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/kube"
)

// annotationRestarted on the API server's pod template rolls it when its value changes, as `kubectl rollout restart` does.
const annotationRestarted = "federation.fedhelm.dev/restarted-at"

// Keep is what the keeper does every few minutes: it renews certificates, makes a password or token anew that was deleted, follows a changed configuration of the DNS provider, sets up
// again an API that lost its data, and follows a late or changed address.
// An API that is down keeps it from none of the rest.
func (h Hook) Keep(ctx context.Context, config *rest.Config) error {
	certificates := h.Certs(ctx)
	dns := h.ensureDNS(ctx, checkChanged)
	api := h.keepAPI(ctx, config)
	h.Values.APIServer.Service.AddressTimeoutSeconds = 0 // the next run looks again
	published := h.publish(ctx)
	return errors.Join(certificates, dns, api, published)
}

func (h Hook) keepAPI(ctx context.Context, config *rest.Config) error {
	api, err := h.waitForAPI(ctx, config)
	if err != nil {
		return err
	}
	lost, err := lostData(ctx, api)
	if err != nil {
		return err
	}
	if lost {
		h.Log.Warn("the federation's API has lost its data, its etcd is empty: restarting the API server, which has not noticed")
		if err := h.restartAPIServer(ctx); err != nil {
			return err
		}
	}
	return h.Bootstrap(ctx, config)
}

// lostData says whether etcd was emptied under a running API server: the namespaces that every API server makes when it starts are not there. (A single object is read from
// etcd itself. Lists and watches come from a cache, which does not see that etcd's revisions begin anew.)
func lostData(ctx context.Context, api *kube.API) (bool, error) {
	for _, name := range []string{corev1.NamespaceDefault, "kube-system"} {
		err := api.Get(ctx, client.ObjectKey{Name: name}, &corev1.Namespace{})
		if err == nil {
			return false, nil
		}
		if !apierrors.IsNotFound(err) {
			return false, fmt.Errorf("get namespace %s of the federation's API: %w", name, err)
		}
	}
	return true, nil
}

// restartAPIServer rolls the API server and waits until the new pods have taken over.
func (h Hook) restartAPIServer(ctx context.Context) error {
	if err := h.roll(ctx, "apiserver", annotationRestarted, h.now().UTC().Format(time.RFC3339)); err != nil {
		return err
	}
	what := fmt.Sprintf("Deployment %s/%s to be rolled out", h.Namespace, h.object("apiserver"))
	return kube.Wait(ctx, pollInterval, readyTimeout, what, h.apiServerIsNew)
}

// apiServerIsNew says whether all pods of the API server are new and available; if not, the error says how far it is.
func (h Hook) apiServerIsNew(ctx context.Context) (bool, error) {
	d := &appsv1.Deployment{}
	key := client.ObjectKey{Namespace: h.Namespace, Name: h.object("apiserver")}
	if err := h.Host.Get(ctx, key, d); err != nil {
		return false, fmt.Errorf("get Deployment %s: %w", key, err)
	}
	s := d.Status
	if s.ObservedGeneration < d.Generation || s.UpdatedReplicas < s.Replicas || s.AvailableReplicas < s.UpdatedReplicas || s.UpdatedReplicas == 0 {
		return false, fmt.Errorf("%d of %d pods of Deployment %s are new, %d available", s.UpdatedReplicas, s.Replicas, key, s.AvailableReplicas)
	}
	return true, nil
}

// roll gives the pods of a component's Deployment an annotation, which replaces them when its value is a new one. It is all of the Deployment that fedhook's field manager has, so
// that upgrades, by whichever tool, leave it as it is.
func (h Hook) roll(ctx context.Context, component, annotation, value string) error {
	name := h.object(component)
	deployment := appsv1apply.Deployment(name, h.Namespace).WithSpec(appsv1apply.DeploymentSpec().WithTemplate(
		corev1apply.PodTemplateSpec().WithAnnotations(map[string]string{annotation: value})))
	if err := h.Host.Apply(ctx, deployment, client.FieldOwner(kube.FieldManager), client.ForceOwnership); err != nil {
		return fmt.Errorf("restart Deployment %s/%s: %w", h.Namespace, name, err)
	}
	return nil
}

// rollOlder replaces the pods of a component when one of them that reads a Secret is older than what is in it, and its program reads that only once: it gives them an annotation whose
// value tells this state of the Secret from others. It waits for nothing: the old pods serve until the new ones do.
func (h Hook) rollOlder(ctx context.Context, component string, secret *corev1.Secret, annotation, value string, reads func(corev1.Pod) bool) error {
	deployment := &appsv1.Deployment{}
	key := client.ObjectKey{Namespace: h.Namespace, Name: h.object(component)}
	err := h.Host.Get(ctx, key, deployment)
	switch {
	case apierrors.IsNotFound(err):
		return nil // nothing runs with what was there before
	case err != nil:
		return fmt.Errorf("get Deployment %s: %w", key, err)
	case deployment.Spec.Template.Annotations[annotation] == value:
		return nil
	}
	pods, err := h.pods(ctx, component)
	if err != nil {
		return err
	}
	written := writtenAt(secret)
	if !slices.ContainsFunc(pods, func(pod corev1.Pod) bool { return reads(pod) && !pod.CreationTimestamp.After(written) }) {
		return nil
	}
	h.Log.Info("a Secret is newer than the pods that read it: replacing them", "secret", secret.Name, "deployment", key.Name)
	return h.roll(ctx, component, annotation, value)
}

// writtenAt is when the data of a Secret was last written, by the clock of the API server, as the creation of pods is.
func writtenAt(secret *corev1.Secret) time.Time {
	written := secret.CreationTimestamp.Time
	for _, entry := range secret.ManagedFields {
		if entry.Time != nil && entry.FieldsV1 != nil && strings.Contains(entry.FieldsV1.GetRawString(), `"f:data"`) && entry.Time.After(written) {
			written = entry.Time.Time
		}
	}
	return written
}
