//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/fedhelm/fedhelm/test/clusters"
	"github.com/fedhelm/fedhelm/test/matrix"
)

const (
	basicAuthContext = "fellowship-basic-auth"
	tokenAuthContext = "fellowship-token-auth"
	// proxyMemory is what the proxy may need while fifty clients send a large object each.
	proxyMemory = 256 << 20
)

// TestLogins uses a federation by name and password and by token: right, wrong, missing, replaced, turned off. Nobody is let in without a login, which takes from the probes what the kubelet has by
// default.
func TestLogins(t *testing.T) {
	matrix.WholeOnly(t, "the packages' tests use each login at a real kube-apiserver, through the real proxy")
	f := newFellowship(t, "helm")
	f.install(t, "--set", "apiServer.basicAuth.enabled=true", "--set", "apiServer.tokenAuth.enabled=true", "--set", "apiServer.argOverrides.anonymous-auth=false")
	f.must(t, "test", f.name)
	logins := []string{basicAuthContext, tokenAuthContext}

	old := map[string]*rest.Config{}
	for _, login := range logins {
		old[login] = f.login(t, login)
		require.NoError(t, ask(t, old[login]), login)
		wrong, missing := f.login(t, login), f.login(t, login)
		if login == basicAuthContext {
			wrong.Password += "x"
			missing.Username, missing.Password = "", ""
		} else {
			wrong.BearerToken += "x"
			missing.BearerToken = ""
		}
		require.True(t, apierrors.IsUnauthorized(ask(t, wrong)), "%s, wrong: %v", login, ask(t, wrong))
		require.True(t, apierrors.IsUnauthorized(ask(t, missing)), "%s, missing: %v", login, ask(t, missing))
	}
	api := f.api(t)
	for _, login := range logins {
		api.Kubectl(t, "--context", login, "create", "namespace", login)
		api.Kubectl(t, "--context", login, "delete", "namespace", login, "--timeout=2m")
	}

	t.Run("a watch goes on through the proxy", func(t *testing.T) { f.watchThroughTheProxy(t, old[basicAuthContext]) })
	t.Run("fifty clients", f.fiftyClients)

	t.Run("replaced", func(t *testing.T) {
		f.kubectl(t, "delete", "secret", "fellowship-apiserver-basic-auth", "fellowship-apiserver-token")
		f.keep(t)
		f.waitForRollouts(t)
		for _, login := range logins {
			clusters.Eventually(t, 3*time.Minute, login+" to be let in anew, and with what was good before no more", func(context.Context) (bool, error) {
				if err := ask(t, f.login(t, login)); err != nil {
					return false, err
				}
				err := ask(t, old[login])
				return apierrors.IsUnauthorized(err), fmt.Errorf("with what was good before: %w", err)
			})
		}
		pods := f.pods(t)
		f.keep(t)
		f.waitForRollouts(t)
		require.Equal(t, pods, f.pods(t), "nothing is rolled twice")
	})

	t.Run("turned off", func(t *testing.T) {
		last := f.login(t, tokenAuthContext)
		f.install(t)
		f.waitForRollouts(t)
		for name := range f.secretVersions(t) {
			require.NotContains(t, []string{"fellowship-apiserver-basic-auth", "fellowship-apiserver-token"}, name)
		}
		require.Equal(t, fmt.Sprintln("fellowship"), f.api(t).Kubectl(t, "config", "get-contexts", "-o", "name"))
		require.True(t, apierrors.IsUnauthorized(ask(t, last)))
	})
}

// login gives the configuration of a context of the published kubeconfig, with connections of its own.
func (f *fellowship) login(t testing.TB, context string) *rest.Config {
	t.Helper()
	kubeconfig, err := clientcmd.Load(f.secret(t, f.name+"-kubeconfig").Data["kubeconfig"])
	require.NoError(t, err)
	require.Contains(t, kubeconfig.Contexts, context)
	config, err := clientcmd.NewNonInteractiveClientConfig(*kubeconfig, context, nil, nil).ClientConfig()
	require.NoError(t, err)
	config.QPS = -1
	config.Dial = (&net.Dialer{}).DialContext
	return config
}

// ask asks for what only an administrator may see.
func ask(t testing.TB, config *rest.Config) error {
	t.Helper()
	set, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err = set.CoreV1().Secrets("kube-system").List(ctx, metav1.ListOptions{Limit: 1})
	return err
}

// watchThroughTheProxy watches for ten minutes, in which something happens now and then.
func (f *fellowship) watchThroughTheProxy(t *testing.T, config *rest.Config) {
	const lasts = 10 * time.Minute
	set, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	maps := set.CoreV1().ConfigMaps("default") // which is not federated
	events, err := maps.Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=ring"})
	require.NoError(t, err)
	defer events.Stop()
	ring, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "ring"}, Data: map[string]string{"at": "0"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	for start := time.Now(); ; {
		select {
		case event, open := <-events.ResultChan():
			require.True(t, open, "the watch ended after %s", time.Since(start))
			got, is := event.Object.(*corev1.ConfigMap)
			require.True(t, is, "%v", event)
			require.Equal(t, ring.ResourceVersion, got.ResourceVersion)
		case <-time.After(30 * time.Second):
			t.Fatal("an event does not come")
		}
		if time.Since(start) > lasts {
			break
		}
		quiet := time.NewTimer(lasts / 10)
		<-quiet.C // in which nothing has to be sent
		ring.Data["at"] = time.Since(start).String()
		ring, err = maps.Update(t.Context(), ring, metav1.UpdateOptions{})
		require.NoError(t, err)
	}
	require.NoError(t, maps.Delete(t.Context(), "ring", metav1.DeleteOptions{}))
}

// fiftyClients send a large object each, at once, and watch it; the proxy's memory stays within its bound.
func (f *fellowship) fiftyClients(t *testing.T) {
	const namespace = "default"
	large := strings.Repeat("x", 900<<10)
	var group sync.WaitGroup
	for i := range 50 {
		set, err := kubernetes.NewForConfig(f.login(t, basicAuthContext))
		require.NoError(t, err)
		group.Go(func() {
			name := fmt.Sprintf("large-%d", i)
			maps := set.CoreV1().ConfigMaps(namespace)
			events, err := maps.Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
			if !assert.NoError(t, err) {
				return
			}
			defer events.Stop()
			_, err = maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"a": large}}, metav1.CreateOptions{})
			if !assert.NoError(t, err) {
				return
			}
			select {
			case event := <-events.ResultChan():
				got, is := event.Object.(*corev1.ConfigMap)
				assert.True(t, is && len(got.Data["a"]) == len(large), name)
			case <-time.After(2 * time.Minute):
				t.Errorf("the event of %s does not come", name)
			}
			assert.NoError(t, maps.Delete(t.Context(), name, metav1.DeleteOptions{}))
		})
	}
	group.Wait()
	clusters.Eventually(t, 2*time.Minute, "the kubelet to know the proxy's memory", func(ctx context.Context) (bool, error) {
		used, err := f.memoryOfProxy(ctx)
		if err == nil && used > 0 {
			t.Logf("the proxy uses %d KiB", used>>10)
			assert.Less(t, used, uint64(proxyMemory))
		}
		return used > 0, err
	})
}

// memoryOfProxy asks the kubelets how much memory the proxy's containers work with, in bytes: the most of them; 0 while none knows.
func (f *fellowship) memoryOfProxy(ctx context.Context) (most uint64, err error) {
	set, err := kubernetes.NewForConfig(f.host.Config)
	if err != nil {
		return 0, err
	}
	var nodes corev1.NodeList
	if err := f.host.List(ctx, &nodes); err != nil {
		return 0, err
	}
	for _, node := range nodes.Items {
		text, err := set.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes", node.Name, "proxy/stats/summary").Do(ctx).Raw()
		if err != nil {
			return 0, err
		}
		var summary struct {
			Pods []struct {
				PodRef     struct{ Namespace string }
				Containers []struct {
					Name   string
					Memory struct{ WorkingSetBytes uint64 }
				}
			}
		}
		if err := json.Unmarshal(text, &summary); err != nil {
			return 0, err
		}
		for _, pod := range summary.Pods {
			for _, container := range pod.Containers {
				if pod.PodRef.Namespace == f.namespace && container.Name == "basic-auth-proxy" {
					most = max(most, container.Memory.WorkingSetBytes)
				}
			}
		}
	}
	return most, nil
}
