// Package member is the story of join and unjoin: how a cluster becomes a member of a federation and how it is let go.
//
// It does what `kubefed join` and `kubefed unjoin` did from a laptop, as hooks of the chart federation-member. Three APIs take part: the host cluster's,
// where the hook runs and the federation's control plane lives; the federation's own; and the member's.
package member

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
	Host *rest.Config
	// Log tells each step to the person who reads the Job's output.
	Log *slog.Logger

	// wrap is put around the transport of every client, so that tests can cut the wire; nil otherwise.
	wrap func(http.RoundTripper) http.RoundTripper
}

func (h Hook) connect(config *rest.Config) (*API, error) {
	if h.wrap != nil {
		config = rest.CopyConfig(config)
		config.Wrap(h.wrap)
	}
	return Connect(config)
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
	// annotationMadeBy marks a namespace that we made, and so may delete.
	annotationMadeBy = "federation.fedhelm.dev/made-by"
	// registrars is the Secret with a kubeconfig for each federation of the namespace, which may do nothing but keep Clusters.
	registrars = "federation-registrars"
)

// Bounds of waits.
const (
	requestTimeout   = 15 * time.Second
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
func (n names) role() string {
	return v1beta1.ControllerManager + ":" + n.federation + "-" + n.account()
}

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

// API is a Kubernetes API: the host cluster's, the federation's or the member's.
type API struct {
	client.Client
	// Config is how the API is reached.
	Config *rest.Config
	http   *http.Client
}

var scheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(clientscheme.AddToScheme(s))
	utilruntime.Must(v1beta1.AddToScheme(s))
	return s
}()

// mapper knows where the few kinds are that we use, so that no API must be asked for all it serves.
var mapper = func() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	for gv, kinds := range map[schema.GroupVersion]map[string]meta.RESTScope{
		{Version: "v1"}: {"Namespace": meta.RESTScopeRoot, "Secret": meta.RESTScopeNamespace, "ConfigMap": meta.RESTScopeNamespace,
			"ServiceAccount": meta.RESTScopeNamespace, "Pod": meta.RESTScopeNamespace},
		{Group: "rbac.authorization.k8s.io", Version: "v1"}: {"Role": meta.RESTScopeNamespace, "RoleBinding": meta.RESTScopeNamespace,
			"ClusterRole": meta.RESTScopeRoot, "ClusterRoleBinding": meta.RESTScopeRoot},
		{Group: "apps", Version: "v1"}:                 {"Deployment": meta.RESTScopeNamespace},
		{Group: "authorization.k8s.io", Version: "v1"}: {"SelfSubjectAccessReview": meta.RESTScopeRoot},
		v1beta1.GroupVersion:                           {"Cluster": meta.RESTScopeRoot},
	} {
		for kind, scope := range kinds {
			m.Add(gv.WithKind(kind), scope)
		}
	}
	return m
}()

// Connect makes the client of an API. It asks nobody. Errors: a configuration that contradicts itself.
func Connect(config *rest.Config) (*API, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // the API says so itself when we are too fast
	config.Timeout = requestTimeout
	config.UserAgent = kube.FieldManager
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", config.Host, err)
	}
	c, err := client.New(config, client.Options{HTTPClient: httpClient, Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", config.Host, err)
	}
	return &API{Client: c, Config: config, http: httpClient}, nil
}

// get gives the body of a path, such as /version.
func (a *API) get(ctx context.Context, path string) ([]byte, error) {
	config := rest.CopyConfig(a.Config)
	config.NegotiatedSerializer = clientscheme.Codecs.WithoutConversion()
	c, err := rest.UnversionedRESTClientForConfigAndClient(config, a.http)
	if err != nil {
		return nil, err
	}
	return c.Get().AbsPath(path).MaxRetries(0).Do(ctx).Raw()
}
