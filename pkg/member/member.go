// Package member is the story of join and unjoin: how a cluster becomes a member of a federation and how it is let go.
//
// It does what `kubefed join` and `kubefed unjoin` did from a laptop, as hooks of the chart federation-member. Three APIs take part: the host cluster's,
// where the hook runs and the federation's control plane lives; the federation's own; and the member's.
package member

import (
	"log/slog"
	"net/http"
	"time"

	"k8s.io/client-go/rest"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/values"
)

// Hook is one run of join or unjoin on behalf of a release of the chart federation-member.
type Hook struct {
	// Release is the Helm release's name, Namespace its namespace in the host cluster, which is its control plane's.
	Release, Namespace string
	// Values of the release.
	Values values.Member
	// Host is the host cluster's API.
	Host *kube.API
	// Log tells each step to the person who reads the Job's output.
	Log *slog.Logger

	// wrap is put around the transport of federation and member, so that tests can cut the wire; nil otherwise.
	wrap func(http.RoundTripper) http.RoundTripper
}

// connect makes the client of another API than the host's. Its warnings (of deprecated kinds, when all are looked through) are not ours to act on.
func (h Hook) connect(config *rest.Config) (*kube.API, error) {
	config = rest.CopyConfig(config)
	config.WarningHandler = rest.NoWarnings{}
	if h.wrap != nil {
		config.Wrap(h.wrap)
	}
	return kube.Connect(config)
}

// Annotations and labels of what join makes.
const (
	// labelKind with kindFederation marks the ConfigMap in which a control plane tells its members about the federation.
	labelKind      = "federation.fedhelm.dev/kind"
	kindFederation = "federation"
	// annotationCluster on a credentials Secret is the cluster's name, annotationServer the address of its API: so that a cluster can be let go
	// when its federation is no more.
	annotationCluster = "federation.fedhelm.dev/cluster"
	annotationServer  = "federation.fedhelm.dev/server"
	// annotationState on a credentials Secret is stateLeft when unjoin has come to the end in the member: one that refuses the token from then on has let it go.
	annotationState = "federation.fedhelm.dev/state"
	stateJoined     = "joined"
	stateLeft       = "left"
	// annotationMadeBy marks a namespace that we made, and so may delete.
	annotationMadeBy = "federation.fedhelm.dev/made-by"
	// registrars is the Secret with a kubeconfig for each federation of the namespace, which may do nothing but keep Clusters.
	registrars = "federation-registrars"
)

// Bounds of waits.
const (
	registrarTimeout = 2 * time.Minute
	namespaceTimeout = time.Minute
	tokenTimeout     = 30 * time.Second
	pollInterval     = 200 * time.Millisecond
	// forbiddenTimeout is how long unjoin waits for its role: Argo CD starts the hooks of a delete phase in any order.
	forbiddenTimeout = 20 * time.Second
)

// names are the names of all that join makes for a cluster in a federation: a table, so that unjoin needs to search for nothing.
type names struct{ cluster, federation string }

// account is the service account in the member; kubefed's was <cluster>-<hostContext>.
func (n names) account() string { return n.cluster + "-" + n.federation }

// token is the Secret with the account's token.
func (n names) token() string { return n.account() + "-token" }

// role is the account's ClusterRole and its binding, kubefed's name.
func (n names) role() string { return v1beta1.MemberRole(n.cluster, n.federation) }

// clusterName is the cluster's name in the federation.
func (h Hook) clusterName() string {
	if h.Values.ClusterName != "" {
		return h.Values.ClusterName
	}
	return h.Release
}

// secretName is the credentials Secret, and the Role and RoleBinding that lend it.
func (h Hook) secretName() string {
	if h.Values.SecretName != "" {
		return h.Values.SecretName
	}
	return h.clusterName() + "-federation-credentials"
}

func (h Hook) release(federation string) kube.Release {
	return kube.Release{Name: h.Release, Federation: federation}
}
