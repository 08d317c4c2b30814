//go:build e2e

// The program against real API servers: one is the federation's and the host's,
// the others are members. It runs as a process of its own, with the rights that
// package rbac gives it.
package manager_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/controllers/manager"
	"github.com/fedhelm/fedhelm/pkg/controllers/rbac"
	"github.com/fedhelm/fedhelm/pkg/federatedtypes"
	"github.com/fedhelm/fedhelm/test/clusters"
	"github.com/fedhelm/fedhelm/test/matrix"
	"github.com/fedhelm/fedhelm/test/measure"
)

const (
	// runManager makes the test binary be the program.
	runManager = "FEDHELM_TEST_RUN_MANAGER"
	// bound is for whatever should take about a second, on a busy machine.
	bound = 60 * time.Second
	// hostNamespace is the control plane's in the host cluster.
	hostNamespace = "host-namespace"
)

func TestMain(m *testing.M) {
	if os.Getenv(runManager) != "" {
		if err := manager.NewCommand().Execute(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(measure.Main(m))
}

// api is a real kube-apiserver with its etcd.
type api struct {
	*testing.T
	env *envtest.Environment
	client.Client
}

func binaries(t *testing.T) string {
	cache := os.Getenv("FEDHELM_CACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		require.NoError(t, err)
		cache = filepath.Join(home, ".cache", "fedhelm")
	}
	for _, name := range []string{"kube-apiserver", "etcd", "kubectl"} {
		_, err := os.Stat(filepath.Join(cache, "bin", name))
		require.NoError(t, err, "this test needs %s: run scripts/build-tools, or set FEDHELM_CACHE to where it put its binaries", name)
	}
	return filepath.Join(cache, "bin")
}

func startAPI(t *testing.T, configure ...func(*envtest.Environment)) *api {
	t.Helper()
	env := &envtest.Environment{
		BinaryAssetsDirectory:    binaries(t),
		ControlPlaneStartTimeout: 2 * bound,
		ControlPlaneStopTimeout:  bound,
	}
	// A folder of its own outlives a restart, and so does the CA in it.
	env.ControlPlane.GetAPIServer().CertDir = t.TempDir()
	// It stops only after this long while somebody watches.
	env.ControlPlane.GetAPIServer().Configure().Set("request-timeout", "5s")
	env.ControlPlane.Etcd = &envtest.Etcd{DataDir: t.TempDir()}
	for _, change := range configure {
		change(env)
	}
	config, err := env.Start()
	require.NoError(t, err)
	t.Cleanup(func() { _ = env.Stop() })
	require.NoError(t, v1beta1.AddToScheme(clientgoscheme.Scheme))
	require.NoError(t, apiextensionsv1.AddToScheme(clientgoscheme.Scheme))
	c, err := client.New(config, client.Options{Scheme: clientgoscheme.Scheme})
	require.NoError(t, err)
	return &api{t, env, c}
}

func (a *api) stop()  { require.NoError(a, a.env.ControlPlane.APIServer.Stop()) }
func (a *api) start() { require.NoError(a, a.env.ControlPlane.APIServer.Start()) }

// loseData stops etcd, takes its data, and starts it and the API anew.
func (a *api) loseData() {
	etcd := a.env.ControlPlane.Etcd
	a.stop()
	require.NoError(a, etcd.Stop())
	require.NoError(a, os.RemoveAll(filepath.Join(etcd.DataDir, "member")))
	require.NoError(a, etcd.Start())
	a.start()
}

// kubeconfig of a user with a client certificate, as a file.
func (a *api) kubeconfig(user string, groups ...string) string {
	u, err := a.env.AddUser(envtest.User{Name: user, Groups: groups}, nil)
	require.NoError(a, err)
	data, err := u.KubeConfig()
	require.NoError(a, err)
	file := filepath.Join(a.TempDir(), user)
	require.NoError(a, os.WriteFile(file, data, 0o600))
	return file
}

func (a *api) create(objects ...client.Object) {
	a.Helper()
	for _, o := range objects {
		require.NoError(a, a.Create(a.Context(), o))
	}
}

// federation starts the federation's API, which is the host's too.
func federation(t *testing.T) *api {
	f := startAPI(t)
	f.bootstrap()
	return f
}

// bootstrap makes what fedhook bootstrap makes, and the host's namespace.
func (f *api) bootstrap() {
	t := f.T
	crd := &apiextensionsv1.CustomResourceDefinition{}
	require.NoError(t, yaml.UnmarshalStrict(v1beta1.CustomResourceDefinition(), crd))
	require.Equal(t, v1beta1.CustomResourceDefinitionName, crd.Name)
	user := []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: rbac.User}}
	object := metav1.ObjectMeta{Name: rbac.User}
	namespaced := metav1.ObjectMeta{Name: rbac.User, Namespace: v1beta1.NamespaceFederationSystem}
	f.create(crd,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1beta1.NamespaceFederationSystem}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: hostNamespace}},
		&rbacv1.ClusterRole{ObjectMeta: object, Rules: rbac.ClusterRules(federatedtypes.Defaults())},
		&rbacv1.ClusterRoleBinding{ObjectMeta: object, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: rbac.User}, Subjects: user},
		&rbacv1.Role{ObjectMeta: namespaced, Rules: rbac.NamespaceRules()},
		&rbacv1.RoleBinding{ObjectMeta: namespaced, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: rbac.User}, Subjects: user},
	)
	clusters.EventuallySeen(t, bound, "CRD established", func() (bool, string) {
		require.NoError(t, f.Get(t.Context(), client.ObjectKeyFromObject(crd), crd))
		for _, c := range crd.Status.Conditions {
			if c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue {
				return true, ""
			}
			if c.Type == apiextensionsv1.NonStructuralSchema {
				t.Fatal(c.Message)
			}
		}
		return false, fmt.Sprint(crd.Status.Conditions)
	})
	// Discovery follows a little later.
	clusters.EventuallySeen(t, bound, "Clusters served", func() (bool, string) {
		err := f.List(t.Context(), &v1beta1.ClusterList{})
		return err == nil, fmt.Sprint(err)
	})
}

// token makes a service account in the member that may do everything, unless it is there, and a
// token for it.
func (a *api) token(account string) []byte {
	for _, o := range []client.Object{
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account, Namespace: "default"}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: account},
			RoleRef:  rbacv1.RoleRef{Kind: "ClusterRole", Name: "cluster-admin"},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: account, Namespace: "default"}}},
	} {
		require.NoError(a, client.IgnoreAlreadyExists(a.Create(a.Context(), o)))
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(int64(3600))}}
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account, Namespace: "default"}}
	require.NoError(a, a.SubResource("token").Create(a.Context(), sa, request))
	return []byte(request.Status.Token)
}

func (a *api) node(name, region, zone string) {
	a.create(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		corev1.LabelTopologyRegion: region, corev1.LabelTopologyZone: zone}}})
}

// join makes what fedhook join makes: the credentials Secret, the right to read
// it, the Cluster.
func (f *api) join(name, address string, data map[string][]byte) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name + "-federation-credentials", Namespace: hostNamespace}, Data: data}
	if data != nil {
		f.create(secret)
	}
	role := metav1.ObjectMeta{Name: secret.Name, Namespace: hostNamespace}
	f.create(
		&rbacv1.Role{ObjectMeta: role, Rules: rbac.CredentialsRules(secret.Name)},
		&rbacv1.RoleBinding{ObjectMeta: role, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: role.Name},
			Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "host-user"}}},
		newCluster(name, address, secret.Name))
}

func newCluster(name, address, secret string) *v1beta1.Cluster {
	return &v1beta1.Cluster{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1beta1.ClusterSpec{
			ServerAddressByClientCIDRs: []v1beta1.ServerAddressByClientCIDR{{ServerAddress: address}},
			SecretRef:                  v1beta1.SecretReference{Name: secret},
		},
	}
}

func (f *api) cluster(name string) *v1beta1.Cluster {
	c := &v1beta1.Cluster{}
	require.NoError(f, f.Get(f.Context(), client.ObjectKey{Name: name}, c))
	return c
}

func (f *api) eventuallyReady(name string, phase v1beta1.ClusterPhase, reason string) *v1beta1.Cluster {
	f.Helper()
	var c *v1beta1.Cluster
	clusters.EventuallySeen(f.T, bound, fmt.Sprintf("%s %s %s", name, phase, reason), func() (bool, string) {
		c = f.cluster(name)
		ready := meta.FindStatusCondition(c.Status.Conditions, v1beta1.ClusterReady)
		return c.Status.Phase == phase && ready != nil && ready.Reason == reason, fmt.Sprintf("%s %+v", c.Status.Phase, ready)
	})
	return c
}

// program is a running federation-controller-manager.
type program struct {
	*testing.T
	cmd             *exec.Cmd
	metrics, health string
	log             bytes.Buffer
	done            chan struct{}
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func (f *api) run(args ...string) *program {
	p := &program{T: f.T, metrics: freePort(f.T), health: freePort(f.T), done: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], append([]string{
		"--kubeconfig=" + f.kubeconfig(rbac.User), "--host-kubeconfig=" + f.kubeconfig("host-user"),
		"--namespace=" + hostNamespace, "--federation-name=fellowship",
		"--cluster-monitor-period=1s", "--metrics-bind-address=" + p.metrics, "--health-probe-bind-address=" + p.health,
		"-v=5", "--log-format=text"}, args...)...)
	p.cmd.Env = append(os.Environ(), runManager+"=1")
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	require.NoError(f, p.cmd.Start())
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	f.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if f.Failed() {
			f.Logf("log of %s:\n%s", p.health, p.log.String())
		}
	})
	return p
}

// end sends a signal and returns the exit code and how long it took.
func (p *program) end(signal os.Signal) (int, time.Duration) {
	began := time.Now()
	require.NoError(p, p.cmd.Process.Signal(signal))
	select {
	case <-p.done:
	case <-time.After(bound):
		p.Fatalf("still running %v after %v", bound, signal)
	}
	return p.cmd.ProcessState.ExitCode(), time.Since(began)
}

// requireEnoughRights sees that nothing was forbidden in the federation and its host cluster, so that the rights in package rbac are enough. A member that has just started refuses everybody for a moment.
func (p *program) requireEnoughRights(t *testing.T) {
	t.Helper()
	require.NotRegexp(t, `forbidden: User \\*"(`+rbac.User+`|host-user)`, p.log.String(), "the rights in package rbac are not enough")
}

func get(url string) (int, string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	request, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

func (p *program) eventuallyAnswers(path string, code int) {
	p.Helper()
	clusters.EventuallySeen(p.T, bound, path, func() (bool, string) {
		got, body := get("http://" + p.health + path + "?verbose")
		return got == code, fmt.Sprint(got, " ", body)
	})
}

// metric is the sum of all samples of a metric whose labels contain label.
func (p *program) metric(name, label string) (sum float64, found bool) {
	_, body := get("http://" + p.metrics + "/metrics")
	for _, m := range regexp.MustCompile(`(?m)^`+name+`(?:\{([^}]*)\})? (\S+)$`).FindAllStringSubmatch(body, -1) {
		if strings.Contains(m[1], label) {
			value, err := strconv.ParseFloat(m[2], 64)
			require.NoError(p, err)
			sum, found = sum+value, true
		}
	}
	return sum, found
}

func (p *program) probes(cluster string) float64 {
	n, _ := p.metric("federation_cluster_probe_duration_seconds_count", `cluster="`+cluster+`"`)
	return n
}

func (p *program) failures(cluster string) float64 {
	n, _ := p.metric("federation_cluster_probe_failures_total", `cluster="`+cluster+`"`)
	return n
}

// eventuallyProbed waits for n more probes.
func (p *program) eventuallyProbed(cluster string, n float64) {
	p.Helper()
	from := p.probes(cluster)
	clusters.EventuallySeen(p.T, bound, fmt.Sprintf("%v probes of %s", n, cluster), func() (bool, string) {
		got := p.probes(cluster)
		return got >= from+n, fmt.Sprint(got - from)
	})
}

// neverWrites sees that n probes in a row write nothing to a Cluster. A probe that a busy machine keeps from its answer may, and a controller that has its condition
// yet to say of a member that has just become Ready, so it is given another chance or two.
func (f *api) neverWrites(p *program, cluster string, n float64) {
	f.Helper()
	for tries := 1; ; tries++ {
		version := f.cluster(cluster).ResourceVersion
		p.eventuallyProbed(cluster, n)
		if f.cluster(cluster).ResourceVersion == version {
			return
		}
		require.Less(f, tries, 3, "Cluster %s is written again and again", cluster)
	}
}

func kubectl(t *testing.T, kubeconfig string, args ...string) string {
	out, err := exec.Command(filepath.Join(binaries(t), "kubectl"), append([]string{"--kubeconfig", kubeconfig}, args...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

func TestHealthOfMembers(t *testing.T) {
	f, gondor := federation(t), startAPI(t)
	admin := f.kubeconfig("admin", "system:masters")
	ca := gondor.env.Config.CAData
	first := map[string][]byte{"token": gondor.token("first"), "ca.crt": ca}
	gondor.node("minas-tirith", "west", "west-b")
	gondor.node("osgiliath", "west", "west-a")

	// Before any controller the STATUS is Unknown.
	f.join("gondor", gondor.env.Config.Host, first)
	require.Regexp(t, `(?m)^NAME +STATUS +VERSION +REGION +AGE\ngondor +Unknown +[0-9]+s$`, kubectl(t, admin, "get", "clusters"))

	p := f.run()
	p.eventuallyAnswers("/healthz", 200)
	p.eventuallyAnswers("/readyz", 200)
	c := f.eventuallyReady("gondor", v1beta1.ClusterPhaseReady, "ClusterReady")
	require.Equal(t, "/healthz responded with ok", meta.FindStatusCondition(c.Status.Conditions, "Ready").Message)
	require.Equal(t, []string{"west-a", "west-b"}, c.Status.Zones)
	table := kubectl(t, admin, "get", "clusters")
	t.Logf("kubectl get clusters:\n%s", table)
	require.Regexp(t, `(?m)^NAME +STATUS +VERSION +REGION +AGE\ngondor +Ready +v1\.\d+\.\d+ +west +\d+s$`, table)
	wide := kubectl(t, admin, "get", "clusters", "-o", "wide")
	t.Logf("-o wide:\n%s", wide)
	require.Regexp(t, `(?m)^NAME +STATUS +VERSION +REGION +AGE +ZONES +SERVER\ngondor +Ready +v1\.\d+\.\d+ +west +\d+s +west-a,west-b +https?://127.0.0.1:\d+/?$`, wide)
	require.Contains(t, kubectl(t, admin, "wait", "--for=condition=Ready", "cluster/gondor", "--timeout=10s"), "condition met")

	t.Run("no writes while nothing changes", func(t *testing.T) {
		f.neverWrites(p, "gondor", 6)
		require.Zero(t, p.failures("gondor"))
	})

	t.Run("topology and spec", func(t *testing.T) {
		gondor.node("pelargir", "west", "west-c")
		clusters.EventuallySeen(t, bound, "new zone", func() (bool, string) {
			z := f.cluster("gondor").Status.Zones
			return len(z) == 3 && z[2] == "west-c", fmt.Sprint(z)
		})
		patch := func(p string) {
			require.NoError(t, f.Patch(t.Context(), f.cluster("gondor"), client.RawPatch("application/merge-patch+json", []byte(p))))
		}
		patch(`{"spec":{"region":"south","zones":["z"]}}`)
		clusters.EventuallySeen(t, bound, "spec's region", func() (bool, string) {
			c := f.cluster("gondor")
			return c.Status.Region == "south" && len(c.Status.Zones) == 1 && c.Status.ObservedGeneration == c.Generation, fmt.Sprintf("%+v", c.Status)
		})
		patch(`{"spec":{"region":null,"zones":null}}`)
		clusters.EventuallySeen(t, bound, "labels' region", func() (bool, string) {
			s := f.cluster("gondor").Status
			return s.Region == "west" && len(s.Zones) == 3, fmt.Sprintf("%+v", s)
		})
	})

	t.Run("a member that is silent holds up nobody", func(t *testing.T) {
		silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, never answers
		require.NoError(t, err)
		defer silent.Close()
		for i := range 20 {
			f.join(fmt.Sprintf("mordor-%d", i), "https://"+silent.Addr().String(), first)
		}
		for i := range 20 {
			f.eventuallyReady(fmt.Sprintf("mordor-%d", i), v1beta1.ClusterPhaseOffline, "ClusterNotReachable")
		}
		began := time.Now()
		p.eventuallyProbed("gondor", 5)
		took := time.Since(began)
		t.Logf("5 probes of gondor beside 20 silent members took %v", took)
		require.Less(t, took, 15*time.Second)
		require.Equal(t, v1beta1.ClusterPhaseReady, f.cluster("gondor").Status.Phase)
		for i := range 20 {
			require.NoError(t, f.Delete(t.Context(), f.cluster(fmt.Sprintf("mordor-%d", i))))
		}
		clusters.EventuallySeen(t, bound, "metrics gone", func() (bool, string) {
			_, body := get("http://" + p.metrics + "/metrics")
			return !strings.Contains(body, "mordor"), "mordor in /metrics"
		})
	})

	t.Run("stopped and started", func(t *testing.T) {
		before := p.failures("gondor")
		gondor.stop()
		defer func() {
			if t.Failed() {
				gondor.start()
			}
		}()
		clusters.EventuallySeen(t, bound, "Offline", func() (bool, string) {
			// The state first: failures counted later can only be more.
			phase := f.cluster("gondor").Status.Phase
			failed := p.failures("gondor") - before
			if phase != v1beta1.ClusterPhaseReady {
				require.GreaterOrEqual(t, failed, 3.0, "flipped before the threshold")
			}
			if failed > 4 { // the metric is a moment ahead of the write
				require.Equal(t, v1beta1.ClusterPhaseOffline, f.cluster("gondor").Status.Phase, "not flipped at the threshold")
			}
			return phase == v1beta1.ClusterPhaseOffline, fmt.Sprint(phase, " after ", failed)
		})
		c := f.cluster("gondor")
		require.Equal(t, metav1.ConditionUnknown, meta.FindStatusCondition(c.Status.Conditions, "Ready").Status)
		offline := meta.FindStatusCondition(c.Status.Conditions, "Offline")
		require.Equal(t, metav1.ConditionTrue, offline.Status)
		require.Regexp(t, `^cluster is not reachable: \S+ refuses connections$`, offline.Message)
		require.Equal(t, "west", c.Status.Region, "what is known stays")
		down, _ := p.metric("federation_cluster_ready", `cluster="gondor"`)
		require.Zero(t, down)

		f.neverWrites(p, "gondor", 5)

		gondor.start()
		f.eventuallyReady("gondor", v1beta1.ClusterPhaseReady, "ClusterReady")
		clusters.EventuallySeen(t, bound, "the metric to say so", func() (bool, string) {
			up, _ := p.metric("federation_cluster_ready", `cluster="gondor"`)
			return up == 1, fmt.Sprint(up)
		})
	})

	secret := func() *corev1.Secret {
		s := &corev1.Secret{}
		require.NoError(t, f.Get(t.Context(), client.ObjectKey{Namespace: hostNamespace, Name: "gondor-federation-credentials"}, s))
		return s
	}
	replace := func(data map[string][]byte) {
		s := secret()
		before := s.DeepCopy()
		s.Data = data
		require.NoError(t, f.Patch(t.Context(), s, client.MergeFrom(before))) // the host being the federation's API, the Secret is federated, and written to
	}

	t.Run("another token", func(t *testing.T) {
		second := map[string][]byte{"token": gondor.token("second"), "ca.crt": ca}
		require.NoError(t, gondor.Delete(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "first", Namespace: "default"}}))
		f.eventuallyReady("gondor", v1beta1.ClusterPhaseNotReady, "CredentialsRefused")
		replace(second)
		f.eventuallyReady("gondor", v1beta1.ClusterPhaseReady, "ClusterReady")
	})

	good := secret().Data
	for _, test := range []struct {
		name    string
		data    map[string][]byte
		reason  string
		message string
		offline metav1.ConditionStatus
	}{
		{"another CA", map[string][]byte{"token": good["token"], "ca.crt": f.env.Config.CAData}, "CertificateInvalid",
			"put the CA that signs it", metav1.ConditionFalse},
		{"another name", map[string][]byte{"token": good["token"], "ca.crt": ca, "tls-server-name": []byte("mordor")}, "CertificateInvalid",
			"valid for", metav1.ConditionFalse},
		{"a missing key", map[string][]byte{"token": good["token"]}, "CredentialsInvalid", `lacks ca.crt`, metav1.ConditionUnknown},
		{"a token of nobody's", map[string][]byte{"token": []byte("nobody"), "ca.crt": ca}, "CredentialsRefused", "401", metav1.ConditionFalse},
	} {
		t.Run(test.name, func(t *testing.T) {
			replace(test.data)
			c := f.eventuallyReady("gondor", v1beta1.ClusterPhaseNotReady, test.reason)
			require.Contains(t, meta.FindStatusCondition(c.Status.Conditions, "Ready").Message, test.message)
			require.Equal(t, test.offline, meta.FindStatusCondition(c.Status.Conditions, "Offline").Status)
			f.neverWrites(p, "gondor", 4)
			replace(good)
			f.eventuallyReady("gondor", v1beta1.ClusterPhaseReady, "ClusterReady")
		})
	}

	t.Run("a kubeconfig in the Secret", func(t *testing.T) {
		data, err := os.ReadFile(gondor.kubeconfig("elrond", "system:masters"))
		require.NoError(t, err)
		replace(map[string][]byte{"kubeconfig": data, "tls-server-name": []byte("localhost")})
		p.eventuallyProbed("gondor", 5)
		require.Equal(t, v1beta1.ClusterPhaseReady, f.cluster("gondor").Status.Phase)
		replace(good)
	})

	t.Run("missing Secret", func(t *testing.T) {
		require.NoError(t, f.Delete(t.Context(), secret()))
		c := f.eventuallyReady("gondor", v1beta1.ClusterPhaseNotReady, "CredentialsMissing")
		require.Equal(t, metav1.ConditionUnknown, meta.FindStatusCondition(c.Status.Conditions, "Offline").Status)
		f.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "gondor-federation-credentials", Namespace: hostNamespace}, Data: good})
		f.eventuallyReady("gondor", v1beta1.ClusterPhaseReady, "ClusterReady")
	})

	t.Run("events", func(t *testing.T) {
		clusters.EventuallySeen(t, bound, "ClusterReady", func() (bool, string) {
			out := kubectl(t, admin, "get", "events", "-n", "default")
			return regexp.MustCompile(`Normal +ClusterReady +cluster/gondor`).MatchString(out) &&
				regexp.MustCompile(`Warning +ClusterNotReachable +cluster/gondor`).MatchString(out), out
		})
	})

	t.Run("SIGTERM", func(t *testing.T) {
		code, took := p.end(syscall.SIGTERM)
		t.Logf("SIGTERM to exit: %v", took)
		require.Zero(t, code)
		require.Less(t, took, 5*time.Second)
		require.NotContains(t, p.log.String(), string(good["token"]), "no credentials in the log, at the highest level")
		p.requireEnoughRights(t)
	})
}

func TestBadClusters(t *testing.T) {
	f := federation(t)
	ok := func(change func(*v1beta1.Cluster)) *v1beta1.Cluster {
		c := newCluster("gondor", "https://gondor:6443", "s")
		change(c)
		return c
	}
	for _, test := range []struct {
		cluster *v1beta1.Cluster
		want    string
	}{
		{newCluster("11kingdom", "https://x", "s"), "RFC 1035 label"},
		{newCluster("minas.tirith", "https://x", "s"), "RFC 1035 label"},
		{newCluster("gondor-", "https://x", "s"), "RFC 1035 label"},
		{newCluster(strings.Repeat("g", 64), "https://x", "s"), "RFC 1035 label"},
		{newCluster("gondor", "", "s"), "serverAddress"},
		{newCluster("gondor", "http://x", "s"), "serverAddress must be https://host:port or host:port"},
		{newCluster("gondor", "https://", "s"), "serverAddress must be https://host:port or host:port"},
		{newCluster("gondor", "https://a b", "s"), "serverAddress must be https://host:port or host:port"},
		{newCluster("gondor", "https://x", ""), "secretRef.name"},
		{newCluster("gondor", "https://x", "S_s"), "secretRef.name"},
		{ok(func(c *v1beta1.Cluster) { c.Spec.ServerAddressByClientCIDRs = nil }), "serverAddressByClientCIDRs"},
		{ok(func(c *v1beta1.Cluster) { c.Spec.ServerAddressByClientCIDRs[0].ClientCIDR = "10.0.0.0" }), "clientCIDR must be a range"},
		{ok(func(c *v1beta1.Cluster) { c.Spec.UnjoinPolicy = "Burn" }), "unjoinPolicy"},
		{ok(func(c *v1beta1.Cluster) { c.Spec.Zones = []string{"a", "a"} }), "Duplicate value"},
		{ok(func(c *v1beta1.Cluster) { c.Spec.Region = "middle earth" }), "region"},
	} {
		err := f.Create(t.Context(), test.cluster)
		require.ErrorContains(t, err, test.want, "cluster %q: %+v", test.cluster.Name, test.cluster.Spec)
	}
	good := []*v1beta1.Cluster{
		newCluster("gondor", "https://gondor:6443", "11kingdom.credentials"),
		newCluster("g", "10.0.0.1:6443", "s"),
		newCluster(strings.Repeat("g", 63), "https://[fd00::1]:6443/k8s/clusters/c-1", "s"),
	}
	for _, c := range good {
		f.create(c)
		require.Equal(t, "0.0.0.0/0", c.Spec.ServerAddressByClientCIDRs[0].ClientCIDR)
		require.Equal(t, v1beta1.UnjoinPolicyOrphan, c.Spec.UnjoinPolicy)
	}
}

func TestLeadership(t *testing.T) {
	f := federation(t)
	leader := func() string {
		lease := &coordinationv1.Lease{}
		err := f.Get(t.Context(), client.ObjectKey{Namespace: v1beta1.NamespaceFederationSystem, Name: v1beta1.ControllerManager}, lease)
		if err != nil {
			return ""
		}
		return ptr.Deref(lease.Spec.HolderIdentity, "")
	}
	eventuallyLed := func(except string) (string, time.Duration) {
		t.Helper()
		began, id := time.Now(), ""
		clusters.EventuallySeen(t, bound, "a leader", func() (bool, string) { id = leader(); return id != "" && id != except, id })
		return id, time.Since(began)
	}
	short := []string{"--leader-elect-lease-duration=6s", "--leader-elect-renew-deadline=4s", "--leader-elect-retry-period=500ms"}

	one := f.run(short...)
	first, _ := eventuallyLed("")
	two := f.run(short...)
	two.eventuallyAnswers("/readyz", 200) // a standby is ready
	f.join("gondor", "https://127.0.0.1:1", map[string][]byte{})
	f.eventuallyReady("gondor", v1beta1.ClusterPhaseNotReady, "CredentialsInvalid")
	one.eventuallyProbed("gondor", 2)
	require.Zero(t, two.probes("gondor"), "only the leader probes")

	code, _ := one.end(syscall.SIGTERM)
	require.Zero(t, code)
	second, took := eventuallyLed(first)
	t.Logf("lease released: the standby leads after %v", took)
	two.eventuallyProbed("gondor", 1)

	three := f.run(short...)
	three.eventuallyAnswers("/readyz", 200)
	two.end(syscall.SIGKILL)
	third, took := eventuallyLed(second)
	t.Logf("leader killed: the standby leads after %v", took)
	three.eventuallyProbed("gondor", 1)

	// An API that is away longer than the leader may be: it ends, so that the
	// kubelet starts it again; that one waits for the API and then leads.
	f.stop()
	select {
	case <-three.done:
		require.Equal(t, 1, three.cmd.ProcessState.ExitCode())
		require.Contains(t, three.log.String(), "leader election lost")
	case <-time.After(bound):
		t.Fatal("still running without its lease")
	}
	four := f.run(short...)
	four.eventuallyAnswers("/healthz", 200)
	four.eventuallyAnswers("/readyz", 500)
	f.start()
	_, took = eventuallyLed(third)
	t.Logf("API back: led after %v", took)
	four.eventuallyAnswers("/readyz", 200)
	four.eventuallyProbed("gondor", 1)
}

// An API that lost its data comes back without Clusters, roles and namespaces.
// Soon after the keeper has put them back (without its role the program cannot
// see what happened) the program has ended by itself, and the next one works.
func TestLostData(t *testing.T) {
	for _, elect := range []string{"true", "false"} {
		t.Run("leader-elect="+elect, func(t *testing.T) {
			if elect == "false" {
				matrix.WholeOnly(t, "it takes as long again")
			}
			f := federation(t)
			p := f.run("--leader-elect=" + elect)
			f.join("gondor", "https://127.0.0.1:1", map[string][]byte{})
			f.eventuallyReady("gondor", v1beta1.ClusterPhaseNotReady, "CredentialsInvalid")
			p.eventuallyAnswers("/readyz", 200)

			f.loseData()
			f.bootstrap()
			p.eventuallyEnds()
			require.Equal(t, 1, p.cmd.ProcessState.ExitCode())
			next := f.run("--leader-elect=" + elect)
			f.join("shire", "https://127.0.0.1:1", map[string][]byte{})
			f.eventuallyReady("shire", v1beta1.ClusterPhaseNotReady, "CredentialsInvalid")
			next.eventuallyAnswers("/readyz", 200)
		})
	}
}
