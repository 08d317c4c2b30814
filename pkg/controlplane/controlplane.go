// Package controlplane is the story of a federation's control plane: certs, bootstrap, publish, keep, teardown and cleanup.
//
// It does what `kubefed init` did from a laptop, as hooks and as the keeper of the chart federation-control-plane. Each step ensures a state, so that
// running it again changes nothing, and killed anywhere it is finished by the next run.
package controlplane

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/values"
)

// Hook is one run on behalf of a release of the chart federation-control-plane.
type Hook struct {
	// Federation is the federation's name, which is the Helm release's; Namespace is the release's in the host cluster.
	Federation, Namespace string
	// Values of the release. bootstrap needs few of them: the federated types, and the servers of somebody else's etcd.
	Values values.ControlPlane
	// Host is the host cluster's API.
	Host *kube.API
	// Log tells each step to the person who reads the Job's output.
	Log *slog.Logger
	// Now is the time by which certificates age; nil means time.Now.
	Now func() time.Time
}

const (
	// pollInterval is the time between two looks at what is waited for.
	pollInterval = 500 * time.Millisecond
	// readyTimeout bounds the wait for the federation's API.
	readyTimeout = 3 * time.Minute
	// registrars is the Secret, one a namespace, with a kubeconfig for each of its federations that may do nothing but keep Clusters. A member's
	// hook finds its federation at run time, so its role can name only what has the same name everywhere.
	registrars = "federation-registrars"
)

func (h Hook) release() kube.Release {
	return kube.Release{Name: h.Federation, Federation: h.Federation}
}

// object is the name of a component's objects: <federation>-<component>.
func (h Hook) object(component string) string { return h.Federation + "-" + component }

// serverName is the name by which the API's serving certificate is checked, whatever address leads to it.
func (h Hook) serverName() string {
	return fmt.Sprintf("%s.%s.svc", h.object("apiserver"), h.Namespace)
}

// inCluster is the API's address in the host cluster.
func (h Hook) inCluster() string { return at(h.serverName(), h.Values.APIServer.Service.Port) }

// proxyInCluster is the address in the host cluster of the proxy for basic authentication.
func (h Hook) proxyInCluster() string { return at(h.serverName(), h.Values.APIServer.BasicAuth.Port) }

func (h Hook) now() time.Time {
	if h.Now != nil {
		return h.Now()
	}
	return time.Now()
}

// serviceNames are the names a Service has in the host cluster, from the shortest to the longest.
func (h Hook) serviceNames(service string) []string {
	names := []string{service, service + "." + h.Namespace}
	qualified := names[1] + ".svc"
	return append(names, qualified, qualified+"."+h.domain())
}

// domain is the host cluster's DNS domain, without a dot at its end.
func (h Hook) domain() string { return strings.TrimSuffix(h.Values.ClusterDomain, ".") }
