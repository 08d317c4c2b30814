package kube

import (
	"context"
	"fmt"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
)

// requestTimeout bounds each call to an API.
const requestTimeout = 15 * time.Second

// API is a Kubernetes API: the host cluster's, the federation's or a member's.
type API struct {
	client.Client
	// Config is how the API is reached.
	Config *rest.Config
	http   *http.Client
}

// Scheme knows Kubernetes' own types, custom resource definitions and ours.
var Scheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(clientscheme.AddToScheme(s))
	utilruntime.Must(apiextensionsv1.AddToScheme(s))
	utilruntime.Must(v1beta1.AddToScheme(s))
	return s
}()

// mapper knows where the few kinds are that fedhook uses, so that no API must be asked for all it serves.
var mapper = func() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	for gv, kinds := range map[schema.GroupVersion]map[string]meta.RESTScope{
		{Version: "v1"}: {"Namespace": meta.RESTScopeRoot, "Secret": meta.RESTScopeNamespace, "ConfigMap": meta.RESTScopeNamespace,
			"ServiceAccount": meta.RESTScopeNamespace, "Service": meta.RESTScopeNamespace, "Pod": meta.RESTScopeNamespace, "PersistentVolumeClaim": meta.RESTScopeNamespace},
		{Group: "rbac.authorization.k8s.io", Version: "v1"}: {"Role": meta.RESTScopeNamespace, "RoleBinding": meta.RESTScopeNamespace,
			"ClusterRole": meta.RESTScopeRoot, "ClusterRoleBinding": meta.RESTScopeRoot},
		{Group: "apps", Version: "v1"}:                 {"Deployment": meta.RESTScopeNamespace},
		{Group: "batch", Version: "v1"}:                {"Job": meta.RESTScopeNamespace},
		{Group: "authorization.k8s.io", Version: "v1"}: {"SelfSubjectAccessReview": meta.RESTScopeRoot},
		apiextensionsv1.SchemeGroupVersion:             {"CustomResourceDefinition": meta.RESTScopeRoot},
		v1beta1.GroupVersion:                           {"Cluster": meta.RESTScopeRoot},
		admissionv1.SchemeGroupVersion:                 {"MutatingAdmissionPolicy": meta.RESTScopeRoot, "MutatingAdmissionPolicyBinding": meta.RESTScopeRoot},
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
	config.UserAgent = FieldManager
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", config.Host, err)
	}
	return connect(config, httpClient)
}

// Share makes the client of an API over connections that somebody has already, with all that the configuration puts around them. It asks nobody. Errors: as Connect's.
func Share(config *rest.Config, connections http.RoundTripper) (*API, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1
	return connect(config, &http.Client{Transport: connections, Timeout: requestTimeout})
}

func connect(config *rest.Config, httpClient *http.Client) (*API, error) {
	c, err := client.New(config, client.Options{HTTPClient: httpClient, Scheme: Scheme, Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", config.Host, err)
	}
	return &API{Client: c, Config: config, http: httpClient}, nil
}

// Raw gives the body of a path, such as /version. Errors: whatever the API answers but success.
func (a *API) Raw(ctx context.Context, path string) ([]byte, error) {
	config := rest.CopyConfig(a.Config)
	config.NegotiatedSerializer = clientscheme.Codecs.WithoutConversion()
	c, err := rest.UnversionedRESTClientForConfigAndClient(config, a.http)
	if err != nil {
		return nil, err
	}
	return c.Get().AbsPath(path).MaxRetries(0).Do(ctx).Raw()
}
