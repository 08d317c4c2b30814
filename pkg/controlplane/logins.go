package controlplane

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/uuid"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/basicauth"
)

// The administrator's logins by password and by token, for debugging, as kubefed had them: each is a Secret that is made once, and read by the pod of the API server. To replace one, its
// Secret is deleted.

const (
	// htpasswdKey and tokenFileKey are the keys of what the API server's pod mounts.
	htpasswdKey  = "auth"
	tokenFileKey = "token.csv"
	// tokenKey is the key of the token alone.
	tokenKey = "token"
	// basicAuthPort is the name of the Service's port that leads to the proxy for basic authentication.
	basicAuthPort = "basic-auth"
	// annotationTokens on the API server's pod template is the resourceVersion of the Secret with its tokens, and rolls it when that was written.
	annotationTokens = "federation.fedhelm.dev/tokens"
)

// login is a way in beside certificates.
type login struct {
	// component of the Secret that is made for it, section of the values that turns it on.
	component, section string
	enabled            bool
	// existing is the name of a Secret that somebody made instead.
	existing string
	// file is the key that the pod mounts, without which it hangs; person are those beside it with what goes into a kubeconfig, which an existing Secret need not have.
	file   string
	person []string
	kind   corev1.SecretType
	// once is whether the file is read at the start of the API server alone.
	once     bool
	generate func() (map[string][]byte, error)
	// add puts what the person keys hold into a kubeconfig. Errors: there is no address for it.
	add func(config *clientcmdapi.Config, data map[string][]byte, r reach) error
}

func (h Hook) logins() []login {
	b, t := h.Values.APIServer.BasicAuth, h.Values.APIServer.TokenAuth
	return []login{
		{
			component: basicAuth, section: "apiServer.basicAuth", enabled: b.Enabled, existing: b.ExistingSecret,
			file: htpasswdKey, person: []string{corev1.BasicAuthUsernameKey, corev1.BasicAuthPasswordKey}, kind: corev1.SecretTypeBasicAuth,
			generate: newPassword, add: h.addPassword,
		},
		{
			component: tokenAuth, section: "apiServer.tokenAuth", enabled: t.Enabled, existing: t.ExistingSecret,
			file: tokenFileKey, person: []string{tokenKey}, kind: corev1.SecretTypeOpaque,
			once: true, generate: newToken, add: h.addToken,
		},
	}
}

// own reports whether the login's Secret is one that fedhook makes.
func (l login) own() bool { return l.enabled && l.existing == "" }

// missing gives the first of some keys that has nothing in it; empty for none.
func missing(data map[string][]byte, keys ...string) string {
	for _, key := range keys {
		if len(data[key]) == 0 {
			return key
		}
	}
	return ""
}

func newPassword() (map[string][]byte, error) {
	password := rand.Text()
	line, err := basicauth.Line(adminUser, password)
	return map[string][]byte{htpasswdKey: line, corev1.BasicAuthUsernameKey: []byte(adminUser), corev1.BasicAuthPasswordKey: []byte(password)}, err
}

// newToken makes a token and the line of its file: token, name, UID and groups.
func newToken() (map[string][]byte, error) {
	token := rand.Text()
	return map[string][]byte{tokenKey: []byte(token), tokenFileKey: fmt.Appendf(nil, "%s,%s,%s,%q\n", token, adminUser, uuid.NewUUID(), AdminGroup)}, nil
}

// ensureLogins ensures the Secret of each login that the values turn on. What is there is not touched, unless a key of it is missing. Errors: a Secret that the values name is not
// there, or has not the key that the API server's pod mounts.
func (h Hook) ensureLogins(ctx context.Context) error {
	for _, l := range h.logins() {
		var err error
		switch {
		case l.own():
			err = h.ensureLogin(ctx, l)
		case l.enabled:
			_, err = h.loginSecret(ctx, l)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (h Hook) ensureLogin(ctx context.Context, l login) error {
	secret := h.secret(l.component)
	found, err := h.release().Get(ctx, h.Host, secret)
	if err != nil {
		return err
	}
	store, reason := h.release().CreateOnly, "it was missing"
	if found {
		key := missing(secret.Data, append(l.person, l.file)...)
		if key == "" {
			h.Log.Debug("unchanged", "secret", secret.Name)
			return nil
		}
		store, reason = h.release().Ensure, "its key "+key+" was missing"
	}
	secret = h.secret(l.component)
	secret.Type = l.kind
	if secret.Data, err = l.generate(); err != nil {
		return err
	}
	err = store(ctx, h.Host, secret)
	if apierrors.IsConflict(err) && !found {
		return nil // another run was faster: what it made is as good
	}
	if err != nil {
		return fmt.Errorf("store Secret %s/%s: %w", h.Namespace, secret.Name, err)
	}
	h.Log.Info("made", "secret", secret.Name, "because", reason)
	return nil
}

// loginSecret reads the Secret of a login that is turned on: fedhook's own, or the one that the values name.
func (h Hook) loginSecret(ctx context.Context, l login) (*corev1.Secret, error) {
	secret, origin, remedy := h.secret(l.component), "", "`fedhook certs` makes it" //nolint:gosec // no credentials
	if l.existing != "" {
		secret.Name, origin = l.existing, fmt.Sprintf(" of %s.existingSecret", l.section)
		remedy = fmt.Sprintf("make it with `kubectl -n %s create secret generic %s --from-file=%s=…`, or unset the value to have one made", h.Namespace, l.existing, l.file)
	}
	if err := h.Host.Get(ctx, client.ObjectKeyFromObject(secret), secret); apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("Secret %s/%s%s is not there: %s", h.Namespace, secret.Name, origin, remedy)
	} else if err != nil {
		return nil, fmt.Errorf("get Secret %s/%s%s: %w", h.Namespace, secret.Name, origin, err)
	}
	if missing(secret.Data, l.file) != "" {
		return nil, fmt.Errorf("Secret %s/%s%s has no key %s: %s", h.Namespace, secret.Name, origin, l.file, remedy)
	}
	return secret, nil
}

// addLogins puts a user and a context for each login that the values turn on into the administrator's kubeconfig.
func (h Hook) addLogins(ctx context.Context, config *clientcmdapi.Config, r reach) error {
	for _, l := range h.logins() {
		if !l.enabled {
			continue
		}
		secret, err := h.loginSecret(ctx, l)
		if err != nil {
			return err
		}
		if key := missing(secret.Data, l.person...); key != "" {
			h.Log.Info("the kubeconfig has no user for a Secret: it has no key "+key, "secret", secret.Name)
			continue
		}
		if err := l.add(config, secret.Data, r); err != nil {
			return err
		}
	}
	return nil
}

// addPassword adds the user that kubefed added, which goes by the proxy.
func (h Hook) addPassword(config *clientcmdapi.Config, data map[string][]byte, r reach) error {
	if r.proxy == "" {
		return fmt.Errorf("Service %s/%s has no port %s, which leads to the proxy for basic authentication: upgrade the release", h.Namespace, h.object(exposedAPI.component), basicAuthPort)
	}
	name := h.object("basic-auth")
	cluster := config.Clusters[h.Federation].DeepCopy()
	cluster.Server = r.proxy
	config.Clusters[name] = cluster
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{Username: string(data[corev1.BasicAuthUsernameKey]), Password: string(data[corev1.BasicAuthPasswordKey])}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	return nil
}

func (h Hook) addToken(config *clientcmdapi.Config, data map[string][]byte, _ reach) error {
	name := h.object("token-auth")
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: string(data[tokenKey])}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: h.Federation, AuthInfo: name}
	return nil
}

// removeLogins removes the Secrets that were made for logins which the values turn off, or for which they name another Secret.
func (h Hook) removeLogins(ctx context.Context) error {
	var unused []client.Object
	for _, l := range h.logins() {
		if !l.own() {
			unused = append(unused, h.secret(l.component))
		}
	}
	return h.remove(ctx, unused...)
}

// rollAPIServer replaces the pods of the API server when one of them is older than its tokens, which kube-apiserver reads only once. Those that read other tokens, or none, Helm replaces.
func (h Hook) rollAPIServer(ctx context.Context) error {
	for _, l := range h.logins() {
		if !l.enabled || !l.once {
			continue
		}
		secret, err := h.loginSecret(ctx, l)
		if err != nil {
			return err
		}
		err = h.rollOlder(ctx, exposedAPI.component, secret, annotationTokens, secret.ResourceVersion, func(pod corev1.Pod) bool {
			return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Secret != nil && v.Secret.SecretName == secret.Name })
		})
		if err != nil {
			return err
		}
	}
	return nil
}
