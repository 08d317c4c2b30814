//go:build e2e

package controlplane

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/values"
	"github.com/fedhelm/fedhelm/test/faults"
)

// These tests run against two real kube-apiservers, each with its etcd: the host cluster's and the federation's.

const bound = 30 * time.Second

// fellowship is the federation of every test, each in a namespace of its own.
const fellowship = "fellowship"

var (
	host, federation *server
	namespaces       atomic.Int32
)

// server is a real kube-apiserver with its etcd; its API is an administrator's.
type server struct {
	*kube.API
	env *envtest.Environment
}

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	code := 1
	defer func() { os.Exit(code) }()
	for _, s := range []**server{&host, &federation} {
		started, err := startServer("", nil)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
		defer func() { _ = started.env.Stop() }()
		*s = started
	}
	code = m.Run()
}

// startServer starts a server with some flags of its own; with a directory for its certificates it keeps them when it is restarted.
func startServer(certificates string, flags map[string]string) (*server, error) {
	cache := os.Getenv("FEDHELM_CACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, err
		}
		cache = filepath.Join(home, ".cache", "fedhelm")
	}
	for _, name := range []string{"kube-apiserver", "etcd", "kubectl"} {
		if _, err := os.Stat(filepath.Join(cache, "bin", name)); err != nil {
			return nil, fmt.Errorf("these tests need %s: run scripts/build-tools %s, or set FEDHELM_CACHE to where it put its binaries", name, name)
		}
	}
	env := &envtest.Environment{BinaryAssetsDirectory: filepath.Join(cache, "bin"), ControlPlaneStartTimeout: 4 * bound, ControlPlaneStopTimeout: bound}
	env.ControlPlane.GetAPIServer().CertDir = certificates
	for name, value := range flags {
		env.ControlPlane.GetAPIServer().Configure().Set(name, value)
	}
	config, err := env.Start()
	if err != nil {
		return nil, err
	}
	api, err := kube.Connect(config)
	return &server{api, env}, err
}

// release is a release of the control plane in a namespace of its own, and the log of its hooks.
type release struct {
	*testing.T
	namespace string
	values    values.ControlPlane
	age       time.Duration
	log       bytes.Buffer
}

func newRelease(t *testing.T) *release {
	t.Helper()
	r := &release{T: t, namespace: fmt.Sprintf("federation-home-%d", namespaces.Add(1)), values: values.DefaultControlPlane()}
	r.values.APIServer.Service.AddressTimeoutSeconds = 0
	require.NoError(t, host.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: r.namespace}}))
	return r
}

// hook gives a run of a phase under the role that the chart gives it, over a wire that may be cut.
func (r *release) hook(phase string, wire *faults.Transport) Hook {
	r.Helper()
	config := r.account(phase)
	if wire != nil {
		config.Wrap(wire.Wrap)
	}
	api, err := kube.Connect(config)
	require.NoError(r, err)
	return Hook{
		Federation: fellowship, Namespace: r.namespace, Values: r.values, Host: api,
		Log: slog.New(slog.NewTextHandler(&r.log, nil)),
		Now: func() time.Time { return time.Now().Add(r.age) },
	}
}

func (r *release) certs() error   { return r.hook("prepare", nil).Certs(r.Context()) }
func (r *release) dns() error     { return r.hook("prepare", nil).DNS(r.Context()) }
func (r *release) publish() error { return r.hook("publish", nil).Publish(r.Context()) }
func (r *release) cleanup() error { return r.hook("cleanup", nil).Cleanup(r.Context()) }
func (r *release) teardown() error {
	return r.hook("teardown", nil).Teardown(r.Context())
}

// rules are no more than what the roles of charts/federation-control-plane/templates/_rules.tpl need to give, by phase.
func rules(phase string) []rbacv1.PolicyRule {
	cas, keys, leaves := Components()
	var certificates []string
	for _, component := range append(append(cas, keys), leaves...) {
		certificates = append(certificates, fellowship+"-"+component)
	}
	kubeconfig := fellowship + "-" + adminKubeconfig
	rule := func(group, resource string, names []string, verbs ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, ResourceNames: names, Verbs: verbs}
	}
	certs := []rbacv1.PolicyRule{
		rule("", "secrets", certificates, "get", "create", "patch"),
		rule("", "secrets", []string{kubeconfig}, "get"),
		rule("", "services", []string{fellowship + "-apiserver"}, "get"),
		rule("", "pods", nil, "list"),
	}
	dns := []rbacv1.PolicyRule{
		rule("", "secrets", []string{fellowship + "-" + dnsProvider}, "get", "create", "patch", "delete"),
		rule("", "secrets", []string{"own-dns"}, "get"),
	}
	logins := []string{fellowship + "-" + basicAuth, fellowship + "-" + tokenAuth}
	login := []rbacv1.PolicyRule{
		rule("", "secrets", logins, "get", "create", "patch"),
		rule("", "secrets", []string{"own-users", "own-tokens"}, "get"),
	}
	etcd := []rbacv1.PolicyRule{rule("", "secrets", []string{"own-etcd"}, "get")}
	var etcdSecrets []string
	for _, component := range ofEtcd {
		etcdSecrets = append(etcdSecrets, fellowship+"-"+component)
	}
	nameservers := []string{fellowship + "-nameservers"}
	publish := slices.Concat(certs, []rbacv1.PolicyRule{
		rule("", "secrets", []string{kubeconfig, registrars}, "get", "create", "patch"),
		rule("", "services", []string{fellowship + "-dns"}, "get"),
		rule("", "configmaps", nameservers, "get", "create", "patch"),
		rule("", "secrets", []string{fellowship + "-" + dnsProvider}, "get"),
		rule("apps", "deployments", []string{fellowship + "-dns", fellowship + "-apiserver"}, "get", "patch"),
		rule("", "secrets", append([]string{"own-users", "own-tokens"}, logins...), "get"),
	})
	removed := []rbacv1.PolicyRule{
		rule("", "secrets", etcdSecrets, "delete"),
		rule("", "secrets", []string{fellowship + "-dns-etcd-ca", fellowship + "-dns-etcd-tls", fellowship + "-dns-etcd-client"}, "delete"),
		rule("", "configmaps", nameservers, "delete"),
		rule("", "secrets", logins, "delete"),
	}
	hooks := []string{fellowship + "-prepare", fellowship + "-publish", fellowship + "-teardown", fellowship + "-status"}
	return map[string][]rbacv1.PolicyRule{
		"prepare":  slices.Concat(certs, login, dns, etcd, []rbacv1.PolicyRule{rule("", "configmaps", []string{fellowship + "-federation"}, "get")}),
		"publish":  slices.Concat(publish, removed, etcd),
		"keeper":   slices.Concat(publish, login, dns),
		"teardown": {rule("", "secrets", []string{registrars, fellowship + "-" + dnsProvider, "gondor-federation-credentials", "shire-federation-credentials"}, "get")}, // join lends the others
		"cleanup": {
			rule("", "secrets", append(certificates, append(logins, kubeconfig, fellowship+"-"+dnsProvider)...), "get", "delete"),
			rule("", "secrets", []string{registrars}, "get", "patch", "delete"),
			rule("", "configmaps", nameservers, "get", "delete"),
			rule("batch", "jobs", hooks, "get", "delete"),
			rule("", "secrets", hooks, "get", "delete"),
			rule("", "serviceaccounts", hooks, "get", "delete"),
			rule("", "pods", hooks, "get", "delete"),
			rule(rbacv1.GroupName, "roles", hooks, "get", "delete"),
			rule(rbacv1.GroupName, "rolebindings", hooks, "get", "delete"),
		},
	}[phase]
}

// account gives the identity of a phase's hook.
func (r *release) account(phase string) *rest.Config {
	r.Helper()
	name := r.namespace + "-" + phase
	at := metav1.ObjectMeta{Namespace: r.namespace, Name: name}
	for _, obj := range []client.Object{
		&rbacv1.Role{ObjectMeta: at, Rules: rules(phase)},
		&rbacv1.RoleBinding{ObjectMeta: at, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: name}}},
	} {
		if err := host.Create(r.Context(), obj); !apierrors.IsAlreadyExists(err) {
			require.NoError(r, err)
		}
	}
	user, err := host.env.AddUser(envtest.User{Name: name}, nil)
	require.NoError(r, err)
	api, err := kube.Connect(user.Config())
	require.NoError(r, err)
	require.NoError(r, kube.RetryTransient(r.Context(), bound, func(ctx context.Context) error {
		return client.IgnoreNotFound(api.Get(ctx, client.ObjectKey{Namespace: r.namespace, Name: rules(phase)[0].ResourceNames[0]}, &corev1.Secret{}))
	}))
	return user.Config()
}

// service makes the Services as Helm does, in the values' types, and gives the API's.
func (r *release) service() *corev1.Service {
	r.Helper()
	create := func(component, kind string, ports ...corev1.ServicePort) *corev1.Service {
		s := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: fellowship + "-" + component},
			Spec:       corev1.ServiceSpec{Type: corev1.ServiceType(kind), Ports: ports},
		}
		require.NoError(r, host.Create(r.Context(), s))
		return s
	}
	if r.values.DNS.Own() {
		create("dns", r.values.DNS.Server.Service.Type,
			corev1.ServicePort{Name: "dns", Protocol: corev1.ProtocolUDP, Port: 53}, corev1.ServicePort{Name: "dns-tcp", Protocol: corev1.ProtocolTCP, Port: 53})
	}
	ports := []corev1.ServicePort{{Name: "https", Port: r.values.APIServer.Service.Port, TargetPort: intstr.FromInt32(8443)}}
	if r.values.APIServer.BasicAuth.Enabled {
		ports = append(ports, corev1.ServicePort{Name: basicAuthPort, Port: r.values.APIServer.BasicAuth.Port, TargetPort: intstr.FromInt32(8444)})
	}
	return create("apiserver", r.values.APIServer.Service.Type, ports...)
}

// apiServer makes the API server's Deployment as Helm does, as far as it matters here. It has no pods: nobody follows it.
func (r *release) apiServer() *appsv1.Deployment {
	r.Helper()
	labels := map[string]string{"app.kubernetes.io/component": "apiserver"}
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: fellowship + "-apiserver"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "kube-apiserver", Image: "kube-apiserver"}}},
			},
		},
	}
	require.NoError(r, host.Create(r.Context(), deployment))
	return deployment
}

// allNew is the status of a Deployment whose one pod is new and ready.
func allNew(d *appsv1.Deployment) appsv1.DeploymentStatus {
	return appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1}
}

// address gives the API's load balancer an address, as a cloud does.
func (r *release) address(ingress ...corev1.LoadBalancerIngress) {
	r.Helper()
	r.addressOf("apiserver", ingress...)
}

func (r *release) addressOf(component string, ingress ...corev1.LoadBalancerIngress) {
	r.Helper()
	s := &corev1.Service{}
	require.NoError(r, host.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: fellowship + "-" + component}, s))
	s.Status.LoadBalancer.Ingress = ingress
	require.NoError(r, host.Status().Update(r.Context(), s))
}

// pod makes a pod of a component on a node, which mounts some Secrets.
func (r *release) pod(component, name, hostIP string, secrets ...string) {
	r.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: name, Labels: map[string]string{
			"app.kubernetes.io/instance": fellowship, "app.kubernetes.io/component": component,
		}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: component, Image: component}}},
	}
	for _, secret := range secrets {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: secret, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}}})
	}
	require.NoError(r, host.Create(r.Context(), p))
	p.Status.HostIP, p.Status.HostIPs = hostIP, []corev1.HostIP{{IP: hostIP}}
	require.NoError(r, host.Status().Update(r.Context(), p))
}

// removePod deletes a pod at once.
func (r *release) removePod(name string) {
	r.Helper()
	require.NoError(r, host.Delete(r.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: name}}, client.GracePeriodSeconds(0)))
}

// secrets are all the namespace's, by name without the federation's.
func (r *release) secrets() map[string]corev1.Secret {
	r.Helper()
	var list corev1.SecretList
	require.NoError(r, host.List(r.Context(), &list, client.InNamespace(r.namespace)))
	all := map[string]corev1.Secret{}
	for _, secret := range list.Items {
		all[strings.TrimPrefix(secret.Name, fellowship+"-")] = secret
	}
	return all
}

// versions are the Secrets' resourceVersions.
func (r *release) versions() map[string]string {
	r.Helper()
	all := map[string]string{}
	for name, secret := range r.secrets() {
		all[name] = secret.ResourceVersion
	}
	return all
}

// change alters a Secret as a person would.
func (r *release) change(component string, alter func(*corev1.Secret)) {
	r.Helper()
	secret := r.secrets()[component]
	alter(&secret)
	require.NoError(r, host.Update(r.Context(), &secret))
}

func (r *release) remove(component string) {
	r.Helper()
	secret := r.secrets()[component]
	require.NoError(r, host.Delete(r.Context(), &secret))
}
