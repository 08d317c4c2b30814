package controlplane

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/kube"
)

// publishTimeout is how long publishing may take when all is known.
const publishTimeout = 30 * time.Second

// exposed is a component that is reached from outside, by its Service, and the values that say how.
type exposed struct {
	component string
	// section of the values is the Service's, given the one with an address to publish instead.
	section, given string
}

var (
	exposedAPI = exposed{component: "apiserver", section: "apiServer.service", given: "apiServer.service.advertiseAddress"}
	exposedDNS = exposed{component: "dns", section: "dns.server.service", given: "dns.nameservers"}
)

// outside is where a Service is reached from outside.
type outside struct {
	// hosts are its IPs and host names; none for a Service that is reached in the cluster only.
	hosts []string
	port  int32
	// pending says what a host is waited for, and what to do if none comes; nil once there is one.
	pending error
}

// reach is how the API is reached from outside.
type reach struct {
	// names are the addresses for the serving certificate, IPs and host names.
	names []string
	// server is the URL for kubeconfigs; empty while there is none.
	server string
	// proxy is the URL of the proxy for basic authentication; empty while there is none.
	proxy string
	// pending says what an address is waited for, and what to do if none comes.
	pending error
}

// knownAddresses gives the names under which the API is reached now, waiting for nothing: none before the Service exists.
func (h Hook) knownAddresses(ctx context.Context) ([]string, error) {
	r, err := h.reach(ctx)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return r.names, err
}

// addressDeadline is until when addresses are waited for: that of the API, and of the DNS after it. It leaves time to publish what is known.
func (h Hook) addressDeadline(ctx context.Context) time.Time {
	until := time.Now().Add(time.Duration(h.Values.APIServer.Service.AddressTimeoutSeconds) * time.Second)
	if end, bounded := ctx.Deadline(); bounded && end.Add(-publishTimeout).Before(until) {
		return end.Add(-publishTimeout)
	}
	return until
}

// waitForAddress asks look until nothing is pending any more, at most until the deadline, and gives its last answer. Errors: look's.
func waitForAddress[T any](ctx context.Context, h Hook, of string, until time.Time, look func(context.Context) (T, error, error)) (last T, pending, err error) {
	timeout := max(time.Until(until), 0)
	told := false
	err = kube.Wait(ctx, pollInterval, timeout, "the address of "+of, func(context.Context) (bool, error) {
		// Not under the wait's own context: a question asked when time is nearly up is no failure.
		var err error
		if last, pending, err = look(ctx); err != nil {
			return false, kube.Fatal(err)
		}
		if pending != nil && !told {
			told = true
			h.Log.Info("waiting for the address of "+of, "for", timeout.Round(time.Second), "reason", pending.Error())
		}
		return pending == nil, pending
	})
	if pending != nil && ctx.Err() == nil {
		err = nil
	}
	return last, pending, err
}

// waitForAPIAddress gives the way to the API, for which it waits as long as the values say; then the way inside the cluster, with a warning.
func (h Hook) waitForAPIAddress(ctx context.Context, until time.Time) (reach, error) {
	r, pending, err := waitForAddress(ctx, h, "the API", until, func(ctx context.Context) (reach, error, error) {
		r, err := h.reach(ctx)
		return r, r.pending, err
	})
	if err != nil || pending == nil {
		return r, err
	}
	h.Log.Warn("the API's address in the cluster is published instead; the keeper publishes the real one when it comes", "reason", pending.Error())
	return reach{names: r.names, server: h.inCluster(), proxy: h.proxyInCluster()}, nil
}

// reach looks how the API is reached at this moment. Errors: the Service is missing (the API's own error), or cannot be read.
func (h Hook) reach(ctx context.Context) (reach, error) {
	service, err := h.service(ctx, exposedAPI.component)
	if err != nil {
		return reach{}, err
	}
	o := outside{port: outsidePort(service, service.Spec.Ports[0])}
	if advertised := h.Values.APIServer.Service.AdvertiseAddress; advertised != "" {
		o.hosts = []string{advertised}
	} else if o, err = h.outside(ctx, exposedAPI, service); err != nil {
		return reach{}, err
	}
	switch {
	case o.pending != nil:
		return reach{pending: o.pending}, nil //nolint:nilerr // what is waited for is no failure
	case len(o.hosts) == 0:
		return reach{server: h.inCluster(), proxy: h.proxyInCluster()}, nil
	case service.Spec.Type == corev1.ServiceTypeNodePort:
		// One node, and the one advertised before for as long as it is there.
		if before := h.advertisedBefore(ctx); slices.Contains(o.hosts, before) {
			o.hosts = []string{before}
		}
		o.hosts = o.hosts[:1]
	}
	r := reach{names: o.hosts, server: at(o.hosts[0], o.port)}
	for _, port := range service.Spec.Ports {
		if port.Name == basicAuthPort {
			r.proxy = at(o.hosts[0], outsidePort(service, port))
		}
	}
	return r, nil
}

// service reads the Service of a component. Errors: it is missing (the API's own error), or cannot be read; it has no port.
func (h Hook) service(ctx context.Context, component string) (*corev1.Service, error) {
	service := &corev1.Service{}
	key := client.ObjectKey{Namespace: h.Namespace, Name: h.object(component)}
	if err := h.Host.Get(ctx, key, service); err != nil {
		return nil, fmt.Errorf("get Service %s: %w", key, err)
	}
	if len(service.Spec.Ports) == 0 {
		return nil, fmt.Errorf("Service %s has no port: upgrade the release", key)
	}
	return service, nil
}

// outside looks where the Service of e is reached from outside at this moment. Errors: the component's pods cannot be listed.
func (h Hook) outside(ctx context.Context, e exposed, service *corev1.Service) (outside, error) {
	o := outside{port: outsidePort(service, service.Spec.Ports[0])}
	switch service.Spec.Type {
	case corev1.ServiceTypeNodePort:
		nodes, err := h.nodes(ctx, e.component)
		if err != nil {
			return outside{}, err
		}
		o.hosts = nodes
		if len(nodes) == 0 {
			o.pending = fmt.Errorf("no pod of %s in namespace %s has been given a node yet: see its events, or set %s", service.Name, h.Namespace, e.given)
		}
	case corev1.ServiceTypeLoadBalancer:
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			for _, host := range []string{ingress.Hostname, ingress.IP} {
				if host != "" {
					o.hosts = append(o.hosts, host)
				}
			}
		}
		if len(o.hosts) == 0 {
			o.pending = fmt.Errorf("Service %s/%s of type LoadBalancer has no address yet: see its events, or set %s.type to NodePort or ClusterIP where nothing gives one", h.Namespace, service.Name, e.section)
		}
	}
	return o, nil
}

// outsidePort is the port under which one of a Service's is reached from outside.
func outsidePort(service *corev1.Service, port corev1.ServicePort) int32 {
	if service.Spec.Type == corev1.ServiceTypeNodePort {
		return port.NodePort
	}
	return port.Port
}

// nodes lists the addresses of the nodes that run a component, each once and sorted. They are read off the pods, since to list nodes would take rights in the whole cluster.
func (h Hook) nodes(ctx context.Context, component string) ([]string, error) {
	pods, err := h.pods(ctx, component)
	if err != nil {
		return nil, err
	}
	var nodes []string
	for _, pod := range pods {
		if pod.Status.HostIP != "" {
			nodes = append(nodes, pod.Status.HostIP)
		}
	}
	slices.Sort(nodes)
	return slices.Compact(nodes), nil
}

// pods lists those of a component that are not being deleted.
func (h Hook) pods(ctx context.Context, component string) ([]corev1.Pod, error) {
	var pods corev1.PodList
	err := h.Host.List(ctx, &pods, client.InNamespace(h.Namespace), client.MatchingLabels{
		"app.kubernetes.io/instance": h.Federation, "app.kubernetes.io/component": component,
	})
	if err != nil {
		return nil, fmt.Errorf("list the pods of %s in namespace %s: %w", h.object(component), h.Namespace, err)
	}
	return slices.DeleteFunc(pods.Items, func(pod corev1.Pod) bool { return pod.DeletionTimestamp != nil }), nil
}

// advertisedBefore is the host of the address in the administrator's kubeconfig; empty without one.
func (h Hook) advertisedBefore(ctx context.Context) string {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: h.Namespace, Name: h.object(adminKubeconfig)}}
	if err := h.Host.Get(ctx, client.ObjectKeyFromObject(secret), secret); err != nil {
		return ""
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(secret.Data[kubeconfigKey])
	if err != nil {
		return ""
	}
	server, err := url.Parse(config.Host)
	if err != nil {
		return ""
	}
	return server.Hostname()
}

// at is the URL of a host, an IP or a name, and a port.
func at(host string, port int32) string {
	return "https://" + net.JoinHostPort(host, strconv.Itoa(int(port)))
}
