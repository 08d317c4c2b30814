package service

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/dnsrecords"
	"github.com/fedhelm/fedhelm/pkg/placement"
)

// federatedService is what is kept of a Service in the federation.
type federatedService struct {
	metav1.ObjectMeta // name, namespace, UID, resource version, time of deletion
	loadBalancer      bool
	// selects says that the Service has a selector, so that its EndpointSlices are made for it.
	selects bool
	// ingresses is its annotation.
	ingresses string
}

func toFederated(object any) (any, error) {
	full, ok := object.(*unstructured.Unstructured)
	if !ok {
		return object, nil
	}
	selector, _, _ := unstructured.NestedMap(full.Object, "spec", "selector")
	return &federatedService{
		ObjectMeta: metav1.ObjectMeta{Namespace: full.GetNamespace(), Name: full.GetName(), UID: full.GetUID(),
			ResourceVersion: full.GetResourceVersion(), DeletionTimestamp: full.GetDeletionTimestamp()},
		loadBalancer: isLoadBalancer(full),
		selects:      len(selector) > 0,
		ingresses:    full.GetAnnotations()[v1beta1.AnnotationServiceIngresses],
	}, nil
}

func isLoadBalancer(service *unstructured.Unstructured) bool {
	kind, _, _ := unstructured.NestedString(service.Object, "spec", "type")
	return kind == string(corev1.ServiceTypeLoadBalancer)
}

func (s *federatedService) key() types.NamespacedName {
	return types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
}

// reference is the Service for an Event.
func (s *federatedService) reference() *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: s.Namespace, Name: s.Name, UID: s.UID, ResourceVersion: s.ResourceVersion}
}

// federated are the Services that are placed in the members, without those that are being deleted.
func (c *controller) federated() []*federatedService {
	objects := c.services.GetStore().List()
	all := make([]*federatedService, 0, len(objects))
	for _, object := range objects {
		if s, ok := object.(*federatedService); ok && s.placed() {
			all = append(all, s)
		}
	}
	return all
}

func (s *federatedService) placed() bool {
	return s.DeletionTimestamp == nil && !placement.System(servicesResource.GroupResource(), s.Namespace, s.Name)
}

// federatedOf is the placed Service of a name, nil without one.
func (c *controller) federatedOf(name types.NamespacedName) *federatedService {
	if s, ok := c.services.Get(name).(*federatedService); ok && s.placed() {
		return s
	}
	return nil
}

// ingresses gives by which addresses a Service is reached, for each cluster that has a copy. What a cluster that is not Ready has is not to be used, and
// of one that cannot be read, what was known of it last holds: that is in the annotation.
func (c *controller) ingresses(s *federatedService) []dnsrecords.Ingresses {
	if !s.loadBalancer {
		return nil
	}
	var all, before []dnsrecords.Ingresses
	parsed := false
	last := func(cluster string) *dnsrecords.Ingresses {
		if !parsed {
			before, parsed = dnsrecords.ParseAnnotation(s.ingresses), true
		}
		for i := range before {
			if before[i].Cluster == cluster {
				return &before[i]
			}
		}
		return nil
	}
	for _, f := range c.currentFleet() {
		m := c.member(f.name)
		switch {
		case f.leaving:
		case !f.ready:
			if last(f.name) != nil {
				all = append(all, dnsrecords.Ingresses{Cluster: f.name})
			}
		case m == nil:
			if known := last(f.name); known != nil {
				all = append(all, *known)
			}
		default:
			if items, found := m.ingresses(s.key()); found {
				all = append(all, dnsrecords.Ingresses{Cluster: f.name, Items: items})
			}
		}
	}
	return all
}
