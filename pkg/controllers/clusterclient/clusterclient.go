// Package clusterclient keeps one client a member cluster, in one place, for
// all controllers. A client is made from the Cluster and its credentials Secret
// in the host cluster, and made again when either changes.
//
// The credentials Secret is read by name (GET) whenever the cluster controller
// probes, not watched: the controller manager is granted each member's Secret
// by name, and a watch of Secrets would need rights to all of them.
package clusterclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
)

// Member is the client of one member cluster. It is never changed: when
// credentials or address change, another one takes its place.
type Member struct {
	Name string
	// Config and HTTPClient are for making further clients; they share
	// HTTPClient's connections.
	Config     *rest.Config
	HTTPClient *http.Client
	// REST is for paths such as /healthz.
	REST rest.Interface
	// Metadata reads objects' metadata only.
	Metadata metadata.Interface

	key key
}

// Reconnect drops the idle connections, so that the next request makes a new
// one. A member that went away without a word leaves connections that look
// alive.
func (m *Member) Reconnect() { utilnet.CloseIdleConnectionsFor(m.HTTPClient.Transport) }

// SameCluster says whether another client is of the same joined cluster: one
// that was unjoined and joined again under its name is another.
func (m *Member) SameCluster(other *Member) bool { return m.key.cluster == other.key.cluster }

// key is what a client was made from.
type key struct{ cluster, address, secret, secretVersion string }

// SecretGetter reads a Secret by name: a client-go SecretInterface does.
type SecretGetter interface {
	Get(ctx context.Context, name string, options metav1.GetOptions) (*corev1.Secret, error)
}

// Options of a Registry.
type Options struct {
	// Secrets reads the credentials Secrets, in the control plane's namespace
	// of the host cluster.
	Secrets SecretGetter
	// Namespace is that namespace's name, for messages.
	Namespace string
	// ClientIP is this program's address, by which a member's server address
	// is chosen; nil when unknown.
	ClientIP net.IP
	// UserAgent names this program to the members.
	UserAgent string
}

// Registry holds the members' clients by the members' names. It is safe for
// concurrent use.
type Registry struct {
	options     Options
	mu          sync.RWMutex
	members     map[string]*Member
	subscribers []func(string)
}

// New returns a Registry without members.
func New(options Options) *Registry {
	return &Registry{options: options, members: map[string]*Member{}}
}

// Get returns the member's current client, or nil if there is none (yet).
// It asks nobody.
func (r *Registry) Get(name string) *Member {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.members[name]
}

// Changes brings a controller the name of a member whenever its client is
// another one, or none, from the controller's start on.
func (r *Registry) Changes() source.Source {
	return source.TypedFunc[reconcile.Request](func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.subscribers = append(r.subscribers, func(name string) {
			queue.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: name}})
		})
		return nil
	})
}

// put keeps another client for the member, or none.
func (r *Registry) put(name string, member *Member) {
	r.mu.Lock()
	old := r.members[name]
	if r.members[name] = member; member == nil {
		delete(r.members, name)
	}
	subscribers := r.subscribers
	r.mu.Unlock()
	if old != nil {
		old.Reconnect()
	}
	if old != member {
		for _, changed := range subscribers {
			changed(name)
		}
	}
}

// Forget drops the member's client.
func (r *Registry) Forget(name string) { r.put(name, nil) }

// Ensure reads the member's credentials Secret and returns the client for it:
// the one at hand if nothing changed, else a new one. When the host's API does
// not answer, the client at hand goes on serving: that is no fault of the
// member's. Errors that a person must mend are of type *Error; then the
// client at hand is dropped, since its credentials were taken away.
func (r *Registry) Ensure(ctx context.Context, cluster *v1beta1.Cluster) (*Member, error) {
	old := r.Get(cluster.Name)
	secret, err := r.secret(ctx, cluster.Spec.SecretRef.Name)
	var fault *Error
	switch {
	case err == nil:
	case !errors.As(err, &fault) && old != nil && old.key.cluster == string(cluster.UID):
		return old, nil
	default:
		if fault != nil {
			r.Forget(cluster.Name)
		}
		return nil, err
	}

	config, err := Config(cluster, secret, r.options.ClientIP)
	if err != nil {
		r.Forget(cluster.Name)
		return nil, err
	}
	k := key{cluster: string(cluster.UID), address: config.Host, secret: string(secret.UID), secretVersion: secret.ResourceVersion}
	if old != nil && old.key == k {
		return old, nil
	}
	config.UserAgent = r.options.UserAgent
	member, err := newMember(cluster.Name, config, k)
	if err != nil {
		r.Forget(cluster.Name)
		return nil, err
	}
	r.put(cluster.Name, member)
	return member, nil
}

func (r *Registry) secret(ctx context.Context, name string) (*corev1.Secret, error) {
	secret, err := r.options.Secrets.Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, &Error{v1beta1.ReasonCredentialsMissing, fmt.Sprintf(
			"Secret %q is not in namespace %q of the host cluster: join the cluster again with helm upgrade", name, r.options.Namespace)}
	case apierrors.IsForbidden(err):
		return nil, &Error{v1beta1.ReasonCredentialsMissing, fmt.Sprintf(
			"the controller manager may not get Secret %q in namespace %q of the host cluster: join the cluster again with helm upgrade, which grants it",
			name, r.options.Namespace)}
	case err != nil:
		return nil, fmt.Errorf("reading credentials Secret %q in the host cluster: %w", name, err)
	}
	return secret, nil
}

func newMember(name string, config *rest.Config, k key) (*Member, error) {
	unusable := func(err error) error {
		return &Error{v1beta1.ReasonAddressInvalid, fmt.Sprintf("no client can be made for %s: %v", config.Host, err)}
	}
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, unusable(err)
	}
	restClient, err := rest.UnversionedRESTClientForConfigAndClient(withCodec(config), httpClient)
	if err != nil {
		return nil, unusable(err)
	}
	metadataClient, err := metadata.NewForConfigAndClient(metadata.ConfigFor(config), httpClient)
	if err != nil {
		return nil, unusable(err)
	}
	return &Member{Name: name, Config: config, HTTPClient: httpClient, REST: restClient, Metadata: metadataClient, key: k}, nil
}

// withCodec adds what a REST client needs to read the errors it gets.
func withCodec(config *rest.Config) *rest.Config {
	c := rest.CopyConfig(config)
	c.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	return c
}
