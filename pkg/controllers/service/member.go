package service

import (
	"context"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/controllers/clusterclient"
	"github.com/fedhelm/fedhelm/pkg/controllers/watch"
	"github.com/fedhelm/fedhelm/pkg/dnsrecords"
)

// byService indexes EndpointSlices by their Service's namespace and name.
const byService = "service"

var sliceIndexers = cache.Indexers{byService: func(object any) ([]string, error) {
	if s, ok := object.(*slice); ok {
		return []string{s.Namespace + "/" + s.service}, nil
	}
	return nil, nil
}}

// member is what is watched in one member cluster while it is Ready.
type member struct {
	client           *clusterclient.Member
	services, slices *watch.Objects
	stop             context.CancelFunc
	// before is what was known by the client before this one, until this one has read the member.
	before *member
}

// startMember watches the federation's copies of Services and their EndpointSlices. Those carry the same label, since the member's endpointslice
// controller copies a Service's labels to its slices and keeps them so. What is known of the same cluster by a client before, if there was one, holds until
// they have been read.
func (c *controller) startMember(of *clusterclient.Member, before *member) (*member, error) {
	api, err := dynamic.NewForConfigAndClient(of.Config, of.HTTPClient)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(c.context)
	m := &member{client: of, stop: stop}
	if before != nil && before.client.SameCluster(of) {
		m.before = before.known()
	}
	selector := v1beta1.LabelFederated + "=" + c.options.FederationName
	m.services = watch.New(watch.Whole(api, servicesResource), selector, toCopy, func(name types.NamespacedName, _ any) { c.changed(name) }, nil)
	heard := func(object any) {
		if s, ok := object.(*slice); ok {
			c.changed(types.NamespacedName{Namespace: s.Namespace, Name: s.service})
		}
	}
	m.slices = watch.New(watch.Whole(api, slicesResource), selector, toSlice, func(_ types.NamespacedName, object any) { heard(object) }, heard)
	if err := m.slices.AddIndexers(sliceIndexers); err != nil {
		stop()
		return nil, err
	}
	go m.services.RunWithContext(ctx)
	go m.slices.RunWithContext(ctx)
	go c.awaitMember(ctx, m)
	return m, nil
}

// awaitMember looks at all Services once the member has been read, and says so when it cannot be.
func (c *controller) awaitMember(ctx context.Context, m *member) {
	soon, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	if !cache.WaitForCacheSync(soon.Done(), m.services.HasSynced, m.slices.HasSynced) && ctx.Err() == nil {
		for what, w := range map[string]*watch.Objects{"Services": m.services, "EndpointSlices": m.slices} {
			if err := w.Failed(); err != nil {
				c.warnCluster(m.client.Name, "ServicesUnknown", "its %s cannot be listed, so its addresses in the federation DNS stay as they were: %v; "+
					"mend that, or its credentials with helm upgrade of its release", what, err)
			}
		}
	}
	if cache.WaitForCacheSync(ctx.Done(), m.services.HasSynced, m.slices.HasSynced) {
		c.mutex.Lock()
		m.before = nil
		c.mutex.Unlock()
		c.changedAll()
	}
}

// read says whether the member's Services and EndpointSlices are known.
func (m *member) read() bool { return m.services.HasSynced() && m.slices.HasSynced() }

// known is what has been read of the member, nil if nothing has.
func (m *member) known() *member {
	if m == nil || m.read() {
		return m
	}
	return m.before
}

// ingresses gives a copy's addresses, none unless it has ready endpoints, and whether there is a copy.
func (m *member) ingresses(name types.NamespacedName) ([]dnsrecords.Ingress, bool) {
	s, found := m.services.Get(name).(*memberService)
	if !found || s.DeletionTimestamp != nil || !s.loadBalancer {
		return nil, false
	}
	slices, err := m.slices.GetIndexer().ByIndex(byService, name.String())
	if err != nil {
		return nil, true
	}
	for _, object := range slices {
		if object.(*slice).ready {
			return s.ingresses, true
		}
	}
	return nil, true
}

// memberService is what is kept of a copy.
type memberService struct {
	metav1.ObjectMeta // name, namespace, resource version, time of deletion
	loadBalancer      bool
	ingresses         []dnsrecords.Ingress
	// source is the incarnation of the federation's API that placed it.
	source types.UID
}

func toCopy(object any) (any, error) {
	full, ok := object.(*unstructured.Unstructured)
	if !ok {
		return object, nil
	}
	s := &memberService{
		ObjectMeta: metav1.ObjectMeta{Namespace: full.GetNamespace(), Name: full.GetName(),
			ResourceVersion: full.GetResourceVersion(), DeletionTimestamp: full.GetDeletionTimestamp()},
		loadBalancer: isLoadBalancer(full),
		source:       types.UID(full.GetAnnotations()[v1beta1.AnnotationSource]),
	}
	ingress, _, _ := unstructured.NestedSlice(full.Object, "status", "loadBalancer", "ingress")
	for _, item := range ingress {
		fields, _ := item.(map[string]any)
		ip, _ := fields["ip"].(string)
		host, _ := fields["hostname"].(string)
		if ip != "" || host != "" {
			s.ingresses = append(s.ingresses, dnsrecords.Ingress{IP: ip, Hostname: host})
		}
	}
	return s, nil
}

// slice is what is kept of an EndpointSlice.
type slice struct {
	metav1.ObjectMeta // name, namespace, resource version
	service           string
	// ready says that there is a ready endpoint in it.
	ready bool
}

func toSlice(object any) (any, error) {
	full, ok := object.(*unstructured.Unstructured)
	if !ok {
		return object, nil
	}
	s := &slice{
		ObjectMeta: metav1.ObjectMeta{Namespace: full.GetNamespace(), Name: full.GetName(), ResourceVersion: full.GetResourceVersion()},
		service:    full.GetLabels()[discoveryv1.LabelServiceName],
	}
	endpoints, _ := full.Object["endpoints"].([]any)
	for _, item := range endpoints {
		fields, _ := item.(map[string]any)
		addresses, _ := fields["addresses"].([]any)
		conditions, _ := fields["conditions"].(map[string]any)
		ready, said := conditions["ready"].(bool)
		if len(addresses) > 0 && (ready || !said) { // an endpoint that does not say is ready, as for kube-proxy
			s.ready = true
			break
		}
	}
	return s, nil
}
