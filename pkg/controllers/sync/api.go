package sync

import (
	"net/http"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/fedhelm/fedhelm/pkg/federatedtypes"
)

// api is the federation's API, or a member's. Where no more than the metadata of what is read or written is looked at, only that is asked for: less is encoded, sent and
// decoded.
type api struct {
	dynamic  dynamic.Interface
	metadata metadata.Interface
}

func newAPI(config *rest.Config, httpClient *http.Client) (*api, error) {
	whole, err := dynamic.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, err
	}
	meta, err := metadata.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, err
	}
	return &api{whole, meta}, nil
}

// objectsOf is the objects of a type that are in a namespace, or have none.
func (a *api) objectsOf(t *federatedtypes.Type, namespace string) dynamic.ResourceInterface {
	if namespace == "" {
		return a.dynamic.Resource(t.GroupVersionResource)
	}
	return a.dynamic.Resource(t.GroupVersionResource).Namespace(namespace)
}

// metadataOf is their metadata.
func (a *api) metadataOf(t *federatedtypes.Type, namespace string) metadata.ResourceInterface {
	return a.metadata.Resource(t.GroupVersionResource).Namespace(namespace)
}
