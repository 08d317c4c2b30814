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

// reach is how the API is reached from outside.
type reach struct {
	// names are the addresses for the serving certificate, IPs and host names.
	names []string
	// server is the URL for kubeconfigs; empty while there is none.
	server string
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

// waitForAddress gives the way to the API, for which it waits as long as the values say; then the way inside the cluster, with a warning.
func (h Hook) waitForAddress(ctx context.Context) (reach, error) {
	var r reach
	timeout := time.Duration(h.Values.APIServer.Service.AddressTimeoutSeconds) * time.Second
	err := kube.Wait(ctx, pollInterval, timeout, "the address of Service "+h.object("apiserver"), func(context.Context) (bool, error) {
		// Not under the wait's own context: a question asked when time is nearly up is no failure.
		current, err := h.reach(ctx)
		if err != nil {
			return false, kube.Fatal(err)
		}
		if r.pending == nil && current.pending != nil {
			h.Log.Info("waiting for the address of the API", "for", timeout, "reason", current.pending.Error())
		}
		r = current
		return r.pending == nil, r.pending
	})
	if r.pending == nil || ctx.Err() != nil {
		return r, err
	}
	h.Log.Warn("the address in the cluster is published instead; the keeper publishes the real one when it comes", "waited", timeout, "reason", r.pending.Error())
	return reach{names: r.names, server: h.inCluster()}, nil
}

// reach looks how the API is reached at this moment. Errors: the Service is missing (the API's own error), or cannot be read.
func (h Hook) reach(ctx context.Context) (reach, error) {
	service := &corev1.Service{}
	if err := h.Host.Get(ctx, client.ObjectKey{Namespace: h.Namespace, Name: h.object("apiserver")}, service); err != nil {
		return reach{}, fmt.Errorf("get Service %s/%s: %w", h.Namespace, h.object("apiserver"), err)
	}
	if len(service.Spec.Ports) == 0 {
		return reach{}, fmt.Errorf("Service %s/%s has no port: upgrade the release", h.Namespace, service.Name)
	}
	port := service.Spec.Ports[0]
	advertised := h.Values.APIServer.Service.AdvertiseAddress

	switch service.Spec.Type {
	case corev1.ServiceTypeNodePort:
		if advertised != "" {
			return at([]string{advertised}, port.NodePort), nil
		}
		return h.node(ctx, port.NodePort)
	case corev1.ServiceTypeLoadBalancer:
		if advertised != "" {
			return at([]string{advertised}, port.Port), nil
		}
		var names []string
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			for _, name := range []string{ingress.Hostname, ingress.IP} {
				if name != "" {
					names = append(names, name)
				}
			}
		}
		if len(names) == 0 {
			return reach{pending: fmt.Errorf("Service %s/%s of type LoadBalancer has no address yet: see its events, or set apiServer.service.type to NodePort or ClusterIP where nothing gives one", h.Namespace, service.Name)}, nil
		}
		return at(names, port.Port), nil
	}
	if advertised != "" {
		return at([]string{advertised}, port.Port), nil
	}
	return reach{server: h.inCluster()}, nil
}

// node chooses the node that is advertised: one that runs the API server, and the one advertised before for as long as it does. Its address is read off
// the pods, since to list nodes would take rights in the whole cluster.
func (h Hook) node(ctx context.Context, port int32) (reach, error) {
	var pods corev1.PodList
	err := h.Host.List(ctx, &pods, client.InNamespace(h.Namespace), client.MatchingLabels{
		"app.kubernetes.io/instance": h.Federation, "app.kubernetes.io/component": "apiserver",
	})
	if err != nil {
		return reach{}, fmt.Errorf("list the pods of the API server in namespace %s: %w", h.Namespace, err)
	}
	var nodes []string
	for _, pod := range pods.Items {
		if pod.Status.HostIP != "" && pod.DeletionTimestamp == nil {
			nodes = append(nodes, pod.Status.HostIP)
		}
	}
	if len(nodes) == 0 {
		return reach{pending: fmt.Errorf("no node of namespace %s runs a pod of %s yet: see the pod's events, or set apiServer.service.advertiseAddress", h.Namespace, h.object("apiserver"))}, nil
	}
	slices.Sort(nodes)
	if before := h.advertisedBefore(ctx); slices.Contains(nodes, before) {
		return at([]string{before}, port), nil
	}
	return at(nodes[:1], port), nil
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

func at(names []string, port int32) reach {
	return reach{names: names, server: "https://" + net.JoinHostPort(names[0], strconv.Itoa(int(port)))}
}
