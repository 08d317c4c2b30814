//go:build e2e

package controlplane

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/basicauth"
	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/test/faults"
	"github.com/fedhelm/fedhelm/test/matrix"
)

// withLogins makes a release that lets its administrator in by password and by token, at a Service of a type.
func withLogins(t *testing.T, kind string) *release {
	t.Helper()
	r := newRelease(t)
	r.values.APIServer.Service.Type, r.values.DNS.Provider = kind, "none"
	r.values.APIServer.BasicAuth.Enabled, r.values.APIServer.TokenAuth.Enabled = true, true
	return r
}

// checkLogins holds the Secrets that were made against what a pod and a person need.
func (r *release) checkLogins(t *testing.T) (password, token string) {
	t.Helper()
	users, tokens := r.secrets()[basicAuth], r.secrets()[tokenAuth]
	require.Equal(t, corev1.SecretTypeBasicAuth, users.Type)
	require.Equal(t, "admin", string(users.Data["username"]))
	password, token = string(users.Data["password"]), string(tokens.Data["token"])
	require.GreaterOrEqual(t, len(password), 26)
	file := filepath.Join(t.TempDir(), "auth")
	require.NoError(t, os.WriteFile(file, users.Data["auth"], 0o600))
	passwords, err := basicauth.OpenPasswords(file, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	good, err := passwords.Check(t.Context(), "admin", password)
	require.NoError(t, err)
	require.True(t, good)
	require.GreaterOrEqual(t, len(token), 26)
	require.Regexp(t, `^`+token+`,admin,[-0-9a-f]{36},"federation-admins"\n$`, string(tokens.Data["token.csv"]))
	require.NotContains(t, users.Labels, "app.kubernetes.io/instance", "Argo CD would prune it")
	require.NotContains(t, r.log.String(), password)
	require.NotContains(t, r.log.String(), token)
	return password, token
}

func TestLoginsAreMadeOnce(t *testing.T) {
	r := withLogins(t, "ClusterIP")
	require.NoError(t, r.certs())
	password, token := r.checkLogins(t)
	before := r.versions()
	r.checkQuiet(t, "prepare", Hook.Certs)
	require.Equal(t, before, r.versions())

	// Replaced on demand.
	r.remove(basicAuth)
	r.remove(tokenAuth)
	require.NoError(t, r.certs())
	newPassword, newToken := r.checkLogins(t)
	require.NotEqual(t, password, newPassword)
	require.NotEqual(t, token, newToken)

	// Repaired.
	r.change(basicAuth, func(s *corev1.Secret) { delete(s.Data, "auth") })
	r.change(tokenAuth, func(s *corev1.Secret) { s.Data["token"] = nil })
	require.NoError(t, r.certs())
	r.checkLogins(t)
	require.Contains(t, r.log.String(), "its key auth was missing")

	// What a person adds stays.
	r.change(basicAuth, func(s *corev1.Secret) { s.Data["auth"] = append(s.Data["auth"], "frodo:$2y$05$x\n"...) })
	before = r.versions()
	require.NoError(t, r.certs())
	require.Equal(t, before, r.versions())

	r.change(basicAuth, func(s *corev1.Secret) { s.Labels = nil })
	require.ErrorContains(t, r.certs(), "is not release fellowship's own")
}

func TestLoginsAreMadeThroughEveryFault(t *testing.T) {
	faults.KillAtEveryWrite(t, func(t *testing.T) faults.Stage {
		r := withLogins(t, "ClusterIP")
		r.service()
		return faults.Stage{
			Run: func(ctx context.Context, wire *faults.Transport) error {
				if err := r.hook("prepare", wire).Prepare(ctx); err != nil {
					return err
				}
				return r.hook("publish", wire).Publish(ctx)
			},
			Check: func(t *testing.T) {
				password, token := r.checkLogins(t)
				config := r.kubeconfig(fellowship+"-kubeconfig", "kubeconfig")
				require.Equal(t, password, config.AuthInfos[fellowship+"-basic-auth"].Password)
				require.Equal(t, token, config.AuthInfos[fellowship+"-token-auth"].Token)
				r.checkQuiet(t, "prepare", Hook.Prepare)
				r.checkQuiet(t, "publish", Hook.Publish)
			},
		}
	})
}

// The kubeconfig has a user and a context for each, as kubefed's had, with the proxy's own port.
func TestKubeconfigWithLogins(t *testing.T) {
	for kind, server := range map[string]func(r *release, service *corev1.Service) (api, proxy string){
		"ClusterIP": func(r *release, _ *corev1.Service) (string, string) {
			name := "https://fellowship-apiserver." + r.namespace + ".svc:"
			return name + "443", name + "8443"
		},
		"LoadBalancer": func(r *release, _ *corev1.Service) (string, string) {
			r.address(corev1.LoadBalancerIngress{Hostname: "lb.example.com"})
			return "https://lb.example.com:443", "https://lb.example.com:8443"
		},
		"NodePort": func(r *release, s *corev1.Service) (string, string) {
			r.pod("apiserver", "one", "192.0.2.22")
			return fmt.Sprintf("https://192.0.2.22:%d", s.Spec.Ports[0].NodePort), fmt.Sprintf("https://192.0.2.22:%d", s.Spec.Ports[1].NodePort)
		},
	} {
		t.Run(kind, func(t *testing.T) {
			r := withLogins(t, kind)
			require.NoError(t, r.certs(), "before there is a Service")
			api, proxy := server(r, r.service())
			require.NoError(t, r.publish())
			password, token := r.checkLogins(t)
			config := r.kubeconfig(fellowship+"-kubeconfig", "kubeconfig")
			require.Equal(t, fellowship, config.CurrentContext)
			require.ElementsMatch(t, []string{fellowship, fellowship + "-basic-auth", fellowship + "-token-auth"}, slices.Collect(maps.Keys(config.Contexts)))
			for name, want := range map[string]string{fellowship: api, fellowship + "-basic-auth": proxy, fellowship + "-token-auth": api} {
				cluster := config.Clusters[config.Contexts[name].Cluster]
				require.Equal(t, want, cluster.Server, name)
				require.Equal(t, "fellowship-apiserver."+r.namespace+".svc", cluster.TLSServerName)
				require.NotEmpty(t, cluster.CertificateAuthorityData)
			}
			require.Equal(t, &clientcmdapi.AuthInfo{Username: "admin", Password: password}, plain(config.AuthInfos[fellowship+"-basic-auth"]))
			require.Equal(t, &clientcmdapi.AuthInfo{Token: token}, plain(config.AuthInfos[fellowship+"-token-auth"]))
		})
	}
}

// plain is a user without what reading a file adds.
func plain(user *clientcmdapi.AuthInfo) *clientcmdapi.AuthInfo {
	return &clientcmdapi.AuthInfo{Username: user.Username, Password: user.Password, Token: user.Token, ClientCertificateData: user.ClientCertificateData}
}

// A Service that is not yet upgraded stops certs, which comes before, from nothing; and publish, which comes after, says what is wrong.
func TestServiceWithoutAPortForTheProxy(t *testing.T) {
	r := withLogins(t, "LoadBalancer")
	r.values.APIServer.BasicAuth.Enabled = false
	r.service()
	r.address(corev1.LoadBalancerIngress{IP: "192.0.2.10"})
	r.values.APIServer.BasicAuth.Enabled = true
	require.NoError(t, r.certs())
	r.requireNames(t, "192.0.2.10")
	require.ErrorContains(t, r.publish(), "has no port basic-auth, which leads to the proxy for basic authentication: upgrade the release")
}

// Secrets of somebody's own are used as they are, and must be there.
func TestLoginsOfSomebody(t *testing.T) {
	r := withLogins(t, "ClusterIP")
	r.service()
	r.values.APIServer.BasicAuth.ExistingSecret, r.values.APIServer.TokenAuth.ExistingSecret = "own-users", "own-tokens"
	require.ErrorContains(t, r.certs(), "Secret "+r.namespace+"/own-users of apiServer.basicAuth.existingSecret is not there: make it with `kubectl")
	users := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: "own-users"}, StringData: map[string]string{"users": "x"}}
	require.NoError(t, host.Create(t.Context(), users))
	require.ErrorContains(t, r.certs(), "has no key auth")
	users.StringData = map[string]string{"auth": "frodo:$2y$05$x\n"}
	require.NoError(t, host.Update(t.Context(), users))
	tokens := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: "own-tokens"}, StringData: map[string]string{"token.csv": "mellon,frodo,1\n", "token": "mellon"}}
	require.NoError(t, host.Create(t.Context(), tokens))
	require.NoError(t, r.certs())
	require.NoError(t, r.publish())
	require.NotContains(t, r.secrets(), basicAuth)
	require.NotContains(t, r.secrets(), tokenAuth)
	config := r.kubeconfig(fellowship+"-kubeconfig", "kubeconfig")
	require.NotContains(t, config.Contexts, fellowship+"-basic-auth")
	require.Contains(t, r.log.String(), "it has no key username")
	require.Equal(t, "mellon", config.AuthInfos[fellowship+"-token-auth"].Token)
	require.NotContains(t, r.log.String(), "mellon")

	require.NoError(t, r.cleanup())
	require.ElementsMatch(t, []string{"own-users", "own-tokens"}, slices.Collect(maps.Keys(r.secrets())), "what somebody made stays")
}

// Turned off, a login leaves nothing, neither a Secret nor a user in the kubeconfig; the keeper, which may still run with other values, takes nothing away.
func TestLoginsTurnedOff(t *testing.T) {
	faults.KillAtEveryWrite(t, func(t *testing.T) faults.Stage {
		r := withLogins(t, "ClusterIP")
		require.NoError(t, r.certs())
		r.service()
		require.NoError(t, r.publish())
		r.values.APIServer.BasicAuth.Enabled, r.values.APIServer.TokenAuth.Enabled = false, false
		require.NoError(t, r.hook("keeper", nil).publish(t.Context()))
		r.checkLogins(t)
		return faults.Stage{
			Run: func(ctx context.Context, wire *faults.Transport) error { return r.hook("publish", wire).Publish(ctx) },
			Check: func(t *testing.T) {
				require.NotContains(t, r.secrets(), basicAuth)
				require.NotContains(t, r.secrets(), tokenAuth)
				config := r.kubeconfig(fellowship+"-kubeconfig", "kubeconfig")
				require.Len(t, config.Contexts, 1)
				require.Len(t, config.AuthInfos, 1)
				require.Len(t, config.Clusters, 1)
				r.checkQuiet(t, "publish", Hook.Publish)
			},
		}
	})
}

func TestCleanupRemovesLogins(t *testing.T) {
	r := withLogins(t, "ClusterIP")
	require.NoError(t, r.certs())
	r.service()
	require.NoError(t, r.publish())
	require.NoError(t, r.cleanup())
	require.Empty(t, r.secrets())
}

// The API server is rolled when its tokens were replaced, once; not for pods that never read them, which Helm replaces, and for nothing else.
func TestAPIServerIsRolledWithItsTokens(t *testing.T) {
	r := withLogins(t, "ClusterIP")
	require.NoError(t, r.certs())
	r.service()
	require.NoError(t, r.publish(), "before there is a Deployment")
	deployment := r.apiServer()
	rolled := func() string {
		t.Helper()
		require.NoError(t, host.Get(t.Context(), client.ObjectKeyFromObject(deployment), deployment))
		return deployment.Spec.Template.Annotations[annotationTokens]
	}
	const tokens = fellowship + "-" + tokenAuth
	r.waitForNextSecond()
	r.pod("apiserver", "first", "192.0.2.1", tokens)
	r.checkQuiet(t, "publish", Hook.Publish)
	require.Empty(t, rolled())

	// A password is read again by the proxy itself.
	r.remove(basicAuth)
	require.NoError(t, r.certs())
	require.NoError(t, r.publish())
	require.Empty(t, rolled())

	r.waitForNextSecond()
	r.remove(tokenAuth)
	require.NoError(t, r.hook("keeper", nil).Certs(t.Context()))
	require.NoError(t, r.hook("keeper", nil).publish(t.Context()))
	first := rolled()
	require.Equal(t, r.versions()[tokenAuth], first)
	r.checkQuiet(t, "publish", Hook.Publish)
	r.waitForNextSecond()
	r.pod("apiserver", "second", "192.0.2.1", tokens)
	r.removePod("first")
	r.checkQuiet(t, "publish", Hook.Publish)

	// Replaced again, where the only pods that are older read no tokens.
	r.removePod("second")
	r.pod("apiserver", "third", "192.0.2.1", "other")
	r.waitForNextSecond()
	r.remove(tokenAuth)
	require.NoError(t, r.certs())
	require.NoError(t, r.publish())
	require.Equal(t, first, rolled())
}

// atAnAPIServer is a federation's API with the tokens of a release, and the proxy before it.
type atAnAPIServer struct {
	*release
	api *server
	// users and tokens are the files of both.
	users, tokens string
	// proxy is the proxy's address.
	proxy  string
	config *clientcmdapi.Config
}

func newAPIWithLogins(t *testing.T) *atAnAPIServer {
	t.Helper()
	r := withLogins(t, "ClusterIP")
	require.NoError(t, r.certs())
	r.service()
	require.NoError(t, r.publish())
	dir, secrets := t.TempDir(), r.secrets()
	file := func(component, key string) string {
		t.Helper()
		path := filepath.Join(dir, component+"-"+key)
		require.NoError(t, os.WriteFile(path, secrets[component].Data[key], 0o600))
		return path
	}
	w := &atAnAPIServer{release: r, users: file(basicAuth, "auth"), tokens: file(tokenAuth, "token.csv"), config: r.kubeconfig(fellowship+"-kubeconfig", "kubeconfig")}
	var err error
	w.api, err = startServer(t.TempDir(), map[string]string{
		"requestheader-client-ca-file":       file("front-proxy-client", "ca.crt"),
		"requestheader-allowed-names":        frontProxyName,
		"requestheader-username-headers":     "X-Remote-User",
		"requestheader-group-headers":        "X-Remote-Group",
		"requestheader-extra-headers-prefix": "X-Remote-Extra-",
		"token-auth-file":                    w.tokens,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.api.env.Stop() })
	require.NoError(t, r.hook("prepare", nil).Bootstrap(t.Context(), w.api.Config))

	authority := filepath.Join(dir, "ca.crt")
	require.NoError(t, os.WriteFile(authority, w.api.Config.CAData, 0o600))
	listen := func() net.Listener {
		t.Helper()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		return listener
	}
	clients, probes := listen(), listen()
	w.proxy = "https://" + clients.Addr().String()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() {
		ended <- basicauth.Serve(ctx, basicauth.Options{
			Server: w.address(), CertificateAuthority: authority, TLSCertificate: file("apiserver-tls", "tls.crt"), TLSKey: file("apiserver-tls", "tls.key"),
			ProxyCertificate: file("front-proxy-client", "tls.crt"), ProxyKey: file("front-proxy-client", "tls.key"), Passwords: w.users, Group: AdminGroup,
		}, clients, probes, slog.New(slog.DiscardHandler))
	}()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-ended)
	})
	return w
}

// address is the API server's own.
func (w *atAnAPIServer) address() string {
	return "https://" + strings.TrimSuffix(strings.TrimPrefix(w.api.Config.Host, "https://"), "/")
}

// as gives the configuration of a context of the published kubeconfig, for what runs here.
func (w *atAnAPIServer) as(context string) *rest.Config {
	w.Helper()
	config, err := clientcmd.NewNonInteractiveClientConfig(*w.config, context, nil, nil).ClientConfig()
	require.NoError(w, err)
	config.QPS = -1
	if context == fellowship+"-basic-auth" {
		config.Host = w.proxy
	} else {
		config.Host, config.TLSClientConfig = w.address(), rest.TLSClientConfig{CAData: w.api.Config.CAData}
	}
	return config
}

func (w *atAnAPIServer) clientset(config *rest.Config) *kubernetes.Clientset {
	w.Helper()
	// A transport of its own for each, as clients on other machines have.
	config.Dial = (&net.Dialer{}).DialContext
	set, err := kubernetes.NewForConfig(config)
	require.NoError(w, err)
	return set
}

// whoami gives the name and the groups that the API server finds. Errors: it lets nobody in.
func (w *atAnAPIServer) whoami(config *rest.Config) (string, []string, error) {
	w.Helper()
	review, err := w.clientset(config).AuthenticationV1().SelfSubjectReviews().Create(w.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	return review.Status.UserInfo.Username, review.Status.UserInfo.Groups, err
}

func TestLoginsAtAnAPIServer(t *testing.T) {
	w := newAPIWithLogins(t)
	for _, context := range []string{fellowship + "-basic-auth", fellowship + "-token-auth"} {
		t.Run(context, func(t *testing.T) {
			// Right: the administrator, who may do all.
			name, groups, err := w.whoami(w.as(context))
			require.NoError(t, err)
			require.Equal(t, "admin", name)
			require.ElementsMatch(t, []string{AdminGroup, "system:authenticated"}, groups)
			set := w.clientset(w.as(context))
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "shire-"}}
			namespace, err = set.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{})
			require.NoError(t, err)
			require.NoError(t, set.CoreV1().Namespaces().Delete(t.Context(), namespace.Name, metav1.DeleteOptions{}))

			// Somebody else, if he wants to be: kubectl --as.
			config := w.as(context)
			config.Impersonate = rest.ImpersonationConfig{UserName: "frodo"}
			name, _, err = w.whoami(config)
			require.NoError(t, err)
			require.Equal(t, "frodo", name)
			_, err = w.clientset(config).CoreV1().Secrets("default").List(t.Context(), metav1.ListOptions{})
			require.True(t, apierrors.IsForbidden(err), err)

			// Wrong.
			config = w.as(context)
			if config.Username != "" {
				config.Password += "x"
			} else {
				config.BearerToken += "x"
			}
			_, _, err = w.whoami(config)
			require.True(t, apierrors.IsUnauthorized(err), err)
		})
	}

	// Missing: the proxy lets nobody in without a name.
	config := w.as(fellowship + "-basic-auth")
	config.Username, config.Password = "", ""
	_, _, err := w.whoami(config)
	require.True(t, apierrors.IsUnauthorized(err), err)
	// Nor does it take a token, or somebody's word.
	config.BearerToken = w.as(fellowship + "-token-auth").BearerToken
	_, _, err = w.whoami(config)
	require.True(t, apierrors.IsUnauthorized(err), err)

	// Revoked.
	require.NoError(t, os.WriteFile(w.users, []byte("# nobody\n"), 0o600))
	_, _, err = w.whoami(w.as(fellowship + "-basic-auth"))
	require.True(t, apierrors.IsUnauthorized(err), err)
	api := w.api.env.ControlPlane.GetAPIServer()
	require.NoError(t, api.Stop())
	require.NoError(t, os.WriteFile(w.tokens, []byte("mellon,frodo,1\n"), 0o600))
	require.NoError(t, api.Start())
	require.NoError(t, kube.Wait(t.Context(), pollInterval, bound, "the tokens to be read", func(context.Context) (bool, error) {
		_, _, err := w.whoami(w.as(fellowship + "-token-auth"))
		if apierrors.IsUnauthorized(err) {
			return true, nil
		}
		return false, err
	}))
}

// watchTime is how long a watch goes on through the proxy.
func watchTime() time.Duration {
	if matrix.Whole() {
		return 10 * time.Minute
	}
	return 10 * time.Second
}

// A watch goes on as long as it would at the API server, and its events come at once.
func TestWatchThroughTheProxy(t *testing.T) {
	w := newAPIWithLogins(t)
	set := w.clientset(w.as(fellowship + "-basic-auth"))
	events, err := set.CoreV1().ConfigMaps("default").Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=ring"})
	require.NoError(t, err)
	defer events.Stop()
	ring := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "ring"}, Data: map[string]string{"at": "0"}}
	require.NoError(t, w.api.Create(t.Context(), ring))
	start := time.Now()
	pause := watchTime() / 20
	for i := 1; ; i++ {
		select {
		case event, open := <-events.ResultChan():
			require.True(t, open, "ended after %s", time.Since(start))
			require.Contains(t, []watch.EventType{watch.Added, watch.Modified}, event.Type)
			require.Equal(t, ring.ResourceVersion, event.Object.(*corev1.ConfigMap).ResourceVersion)
		case <-time.After(bound):
			t.Fatal("an event does not come")
		}
		if time.Since(start) > watchTime() {
			return
		}
		select { // nothing happens for a while
		case event := <-events.ResultChan():
			t.Fatalf("an event that nobody made: %v", event)
		case <-time.After(pause):
		}
		ring.Data["at"] = fmt.Sprint(i)
		require.NoError(t, w.api.Update(t.Context(), ring))
	}
}

// Fifty clients at once, each with a large object of its own that it watches.
func TestFiftyClientsThroughTheProxy(t *testing.T) {
	w := newAPIWithLogins(t)
	large := strings.Repeat("x", 900<<10)
	var group sync.WaitGroup
	for i := range 50 {
		set := w.clientset(w.as(fellowship + "-basic-auth"))
		group.Go(func() {
			name := fmt.Sprintf("large-%d", i)
			events, err := set.CoreV1().ConfigMaps("default").Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
			if !assert.NoError(t, err) {
				return
			}
			defer events.Stop()
			_, err = set.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"a": large}}, metav1.CreateOptions{})
			if !assert.NoError(t, err) {
				return
			}
			select {
			case event := <-events.ResultChan():
				got, _ := event.Object.(*corev1.ConfigMap)
				if assert.NotNil(t, got) {
					assert.Len(t, got.Data["a"], len(large))
				}
			case <-time.After(2 * bound):
				t.Errorf("the event of %s does not come", name)
			}
		})
	}
	group.Wait()
}
