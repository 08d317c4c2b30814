package service

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	runtimecontroller "sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/dnsrecords"
)

// annotator keeps v1beta1.AnnotationServiceIngresses.
type annotator struct{ *controller }

func (c *controller) addAnnotator(mgr ctrl.Manager) error {
	a, err := runtimecontroller.NewTyped("service-ingresses", mgr, runtimecontroller.TypedOptions[types.NamespacedName]{
		Reconciler: &annotator{c}, MaxConcurrentReconciles: annotators,
		RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](100*time.Millisecond, time.Minute),
	})
	if err != nil {
		return err
	}
	return a.Watch(source.TypedFunc[types.NamespacedName](func(_ context.Context, queue workqueue.TypedRateLimitingInterface[types.NamespacedName]) error {
		c.mutex.Lock()
		c.queue = queue
		c.mutex.Unlock()
		for _, s := range c.federated() {
			c.annotate(s.key())
		}
		return nil
	}))
}

// Reconcile writes a Service's annotation if it is not as it should be.
func (a *annotator) Reconcile(ctx context.Context, name types.NamespacedName) (ctrl.Result, error) {
	select {
	case <-a.known:
	case <-ctx.Done():
		return ctrl.Result{}, nil
	}
	s := a.federatedOf(name)
	if s == nil {
		a.told.news(aboutSlices(name), "", time.Now())
		return ctrl.Result{}, nil
	}
	clusters := a.ingresses(s)
	a.tellWithoutSelector(s, clusters)
	want := dnsrecords.Annotation(clusters)
	if want == s.ingresses {
		return ctrl.Result{}, nil
	}
	value := any(want)
	if want == "" {
		value = nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": s.UID, "annotations": map[string]any{v1beta1.AnnotationServiceIngresses: value}}})
	if err != nil {
		return ctrl.Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err = a.federation.Resource(servicesResource).Namespace(s.Namespace).Patch(ctx, s.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: v1beta1.ControllerManager})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return ctrl.Result{}, nil // another Service has its name, or none
	}
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("writing where Service %s is reached: %w", name, err)
	}
	return ctrl.Result{}, nil
}

// tellWithoutSelector says of a Service without a selector, whose EndpointSlices somebody else makes, that they are not seen without our label.
func (a *annotator) tellWithoutSelector(s *federatedService, clusters []dnsrecords.Ingresses) {
	reached := func(cluster dnsrecords.Ingresses) bool { return len(cluster.Items) > 0 }
	if s.selects || len(clusters) == 0 || slices.ContainsFunc(clusters, reached) {
		a.told.news(aboutSlices(s.key()), "", time.Now())
		return
	}
	a.warn(aboutSlices(s.key()), s.reference(), "EndpointsUnknown",
		fmt.Sprintf("it has no selector, and in no cluster an EndpointSlice with a ready endpoint and the label %s=%s: put that label on its slices, or federate them",
			v1beta1.LabelFederated, a.options.FederationName))
}

func aboutSlices(name types.NamespacedName) string { return "slices " + name.String() }
