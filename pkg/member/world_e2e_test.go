//go:build e2e

package member

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/controllers/clusterclient"
	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/memberdns"
	"github.com/fedhelm/fedhelm/pkg/values"
	"github.com/fedhelm/fedhelm/test/clusters"
	"github.com/fedhelm/fedhelm/test/faults"
)

// These tests run against three real kube-apiservers, each with its etcd, and in host and member a real kube-controller-manager for tokens, garbage and
// namespaces.

const (
	bound = 30 * time.Second
	// fellowship is the federation, rivendell the namespace of its control plane.
	fellowship = "fellowship"
	rivendell  = "federation-home"
)

// userCorefile is what the member's owner wrote; kubeadm's, with an odd end.
const userCorefile = `.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    forward . /etc/resolv.conf
    reload
}
# mine`

var (
	host, federationServer, memberServer *server
)

func TestMain(m *testing.M) {
	code := 1
	defer func() { os.Exit(code) }()
	directory, err := os.MkdirTemp("", "member")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer os.RemoveAll(directory)
	var servers []*server
	defer func() {
		for _, s := range servers {
			s.stop()
		}
	}()
	for _, name := range []string{"host", "federation", "member"} {
		s, err := startServer(directory, name)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
		servers = append(servers, s)
	}
	host, federationServer, memberServer = servers[0], servers[1], servers[2]
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := furnish(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	go probeClusters(ctx)
	code = m.Run()
}

// server is a real kube-apiserver with its etcd, and a kube-controller-manager.
type server struct {
	*kube.API
	env     *envtest.Environment
	manager *exec.Cmd
}

func binaries() (string, error) {
	cache := os.Getenv("FEDHELM_CACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(home, ".cache", "fedhelm")
	}
	for _, name := range []string{"kube-apiserver", "etcd", "kubectl", "kube-controller-manager"} {
		if _, err := os.Stat(filepath.Join(cache, "bin", name)); err != nil {
			return "", fmt.Errorf("these tests need %s: run scripts/build-tools %s, or set FEDHELM_CACHE to where it put its binaries", name, name)
		}
	}
	return filepath.Join(cache, "bin"), nil
}

func startServer(directory, name string) (*server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	directory = filepath.Join(directory, name)
	if err := os.Mkdir(directory, 0o700); err != nil {
		return nil, err
	}
	s := &server{env: &envtest.Environment{BinaryAssetsDirectory: bin, ControlPlaneStartTimeout: 4 * bound, ControlPlaneStopTimeout: bound}}
	s.env.ControlPlane.GetAPIServer().CertDir = directory
	config, err := s.env.Start()
	if err != nil {
		return nil, err
	}
	if s.API, err = (Hook{}).connect(config); err != nil || name == "federation" {
		return s, err
	}
	user, err := s.env.AddUser(envtest.User{Name: "kube-controller-manager", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		return nil, err
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return nil, err
	}
	file, ca := filepath.Join(directory, "kubeconfig"), filepath.Join(directory, "root-ca.crt")
	if err := os.WriteFile(file, kubeconfig, 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(ca, config.CAData, 0o600); err != nil {
		return nil, err
	}
	s.manager = exec.Command(filepath.Join(bin, "kube-controller-manager"), "--kubeconfig="+file, "--leader-elect=false", "--secure-port=0",
		"--service-account-private-key-file="+filepath.Join(directory, "sa-signer.key"), "--root-ca-file="+ca, "--use-service-account-credentials=false",
		"--controllers=serviceaccount-token-controller,serviceaccount-controller,root-ca-certificate-publisher-controller,garbage-collector-controller,namespace-controller")
	output, err := os.Create(filepath.Join(directory, "kube-controller-manager.log"))
	if err != nil {
		return nil, err
	}
	s.manager.Stdout, s.manager.Stderr = output, output
	return s, s.manager.Start()
}

func (s *server) stop() {
	if s.manager != nil && s.manager.Process != nil {
		_ = s.manager.Process.Kill()
		_ = s.manager.Wait()
	}
	_ = s.env.Stop()
}

// furnish puts into the three what a control plane and a member's owner have there.
func furnish(ctx context.Context) error {
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(v1beta1.CustomResourceDefinition(), crd); err != nil {
		return err
	}
	if _, err := envtest.InstallCRDs(federationServer.Config, envtest.CRDInstallOptions{CRDs: []*apiextensionsv1.CustomResourceDefinition{crd}}); err != nil {
		return err
	}
	registrar, err := federationServer.env.AddUser(envtest.User{Name: "federation-registrar"}, nil)
	if err != nil {
		return err
	}
	registrarKubeconfig, err := registrar.KubeConfig()
	if err != nil {
		return err
	}
	clusters := []rbacv1.PolicyRule{{APIGroups: []string{v1beta1.GroupVersion.Group}, Resources: []string{"clusters"},
		Verbs: []string{"get", "list", "watch", "create", "update", "patch", "delete"}}}
	for _, o := range []struct {
		*server
		client.Object
	}{
		{federationServer, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "federation-registrar"}, Rules: clusters}},
		{federationServer, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "federation-registrar"},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "federation-registrar"},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "federation-registrar"}}}},
		{host, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: rivendell}}},
		{host, federationConfigMap(rivendell, fellowship)},
		{host, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: rivendell, Name: registrars}, Data: map[string][]byte{fellowship: registrarKubeconfig}}},
		{memberServer, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: memberdns.Namespace, Name: memberdns.CoreDNS}, Data: map[string]string{memberdns.CorefileKey: userCorefile}}},
	} {
		if err := o.Client.Create(ctx, o.Object); err != nil {
			return err
		}
	}
	system := []string{metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease}
	return errors.Join(settle(ctx, host, append(system, rivendell)...), settle(ctx, memberServer, system...))
}

// settle waits until kube-controller-manager has given the namespaces what it gives each, so that no test takes it for something left behind.
func settle(ctx context.Context, s *server, namespaces ...string) error {
	return kube.Wait(ctx, pollInterval, 4*bound, "what kube-controller-manager gives namespaces", func(ctx context.Context) (bool, error) {
		err := clusters.Settled(ctx, s, namespaces...)
		return err == nil, err
	})
}

// controlPlane puts into a namespace of the host what a control plane has there.
func controlPlane(t *testing.T, namespace string, federations ...string) {
	t.Helper()
	require.NoError(t, host.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))
	publish(t, namespace, federations...)
	require.NoError(t, settle(t.Context(), host, namespace))
}

// publish is what control planes tell their members.
func publish(t *testing.T, namespace string, federations ...string) {
	published := &corev1.Secret{}
	require.NoError(t, host.Get(t.Context(), client.ObjectKey{Namespace: rivendell, Name: registrars}, published))
	keys := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: registrars}, Data: map[string][]byte{}}
	for _, name := range federations {
		keys.Data[name] = published.Data[fellowship]
		require.NoError(t, host.Create(t.Context(), federationConfigMap(namespace, name)))
	}
	if len(federations) > 0 {
		require.NoError(t, host.Create(t.Context(), keys))
	}
}

func federationConfigMap(namespace, name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name + "-federation", Labels: map[string]string{labelKind: kindFederation, v1beta1.LabelFederation: name}},
		Data:       map[string]string{"name": name, "dnsZone": "federation.internal.", "nameservers": "10.0.0.53"},
	}
}

// probeClusters is the federation's cluster controller, as far as join needs it: it asks each member for /healthz with what the credentials Secret keeps.
func probeClusters(ctx context.Context) {
	for ctx.Err() == nil {
		var clusters v1beta1.ClusterList
		_ = federationServer.List(ctx, &clusters)
		for i := range clusters.Items {
			cluster := &clusters.Items[i]
			ready := metav1.Condition{Type: v1beta1.ClusterReady, Status: metav1.ConditionTrue, Reason: v1beta1.ReasonClusterReady, ObservedGeneration: cluster.Generation}
			if err := probeCluster(ctx, cluster); err != nil {
				ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, v1beta1.ReasonClusterNotReady, err.Error()
			}
			if meta.SetStatusCondition(&cluster.Status.Conditions, ready) {
				cluster.Status.Region, cluster.Status.Zones = "eriador", []string{"bree"}
				_ = federationServer.Status().Update(ctx, cluster)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func probeCluster(ctx context.Context, cluster *v1beta1.Cluster) error {
	var list corev1.SecretList
	if err := host.List(ctx, &list, client.MatchingLabels{v1beta1.LabelRelease: cluster.Labels[v1beta1.LabelRelease]}); err != nil {
		return err
	}
	secret := &corev1.Secret{}
	for i := range list.Items {
		if list.Items[i].Name == cluster.Spec.SecretRef.Name {
			secret = &list.Items[i]
		}
	}
	config, err := clusterclient.Config(cluster, secret, net.IPv4(10, 0, 0, 1))
	if err != nil {
		return err
	}
	api, err := kube.Connect(config)
	if err != nil {
		return err
	}
	_, err = api.Raw(ctx, "/healthz")
	return err
}

// release is a member release and the log of its hooks.
type release struct {
	*testing.T
	name      string
	namespace string
	values    values.Member
	log       bytes.Buffer
}

// newRelease gives the values of a release that joins the member as its admin.
func newRelease(t *testing.T, name string) *release {
	r := &release{T: t, name: name, namespace: rivendell, values: values.DefaultMember()}
	r.values.Server = memberServer.Config.Host
	r.values.Credentials.Kubeconfig = string(kubeconfig(t, memberServer.Config, name))
	r.values.Join.FederationTimeoutSeconds = 0
	r.values.Join.ReadyTimeoutSeconds = 20
	r.values.Unjoin.TimeoutSeconds = 2
	return r
}

// hook gives a run of the release's join or unjoin under the role that the chart gives it, over a wire that may be cut.
func (r *release) hook(action string, wire *faults.Transport) Hook {
	r.Helper()
	h := Hook{Release: r.name, Namespace: r.namespace, Values: r.values, Log: slog.New(slog.NewTextHandler(&r.log, nil))}
	if wire != nil {
		h.wrap = wire.Wrap
	}
	var err error
	h.Host, err = h.connect(r.account(action))
	require.NoError(r, err)
	return h
}

func (r *release) join() error   { return r.hook("join", nil).Join(r.Context()) }
func (r *release) unjoin() error { return r.hook("unjoin", nil).Unjoin(r.Context()) }

// account gives the identity of the chart's hook: no more rights than charts/federation-member/templates/_rules.tpl gives.
func (r *release) account(action string) *rest.Config {
	r.Helper()
	h := Hook{Release: r.name, Values: r.values}
	given := r.values.Credentials.ExistingSecret
	if given == "" {
		given = h.clusterName() + "-kubeconfig"
	}
	write := []string{"get", "patch", "delete"}
	if action == "join" {
		write = []string{"get", "create", "patch", "delete"}
	}
	name := r.name + "-" + action
	rules := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{registrars, given}, Verbs: []string{"get"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{h.secretName()}, Verbs: write},
		{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"roles", "rolebindings"}, ResourceNames: []string{h.secretName()}, Verbs: write},
	}
	if action == "unjoin" {
		for group, resources := range map[string][]string{"": {"secrets", "serviceaccounts"}, "batch": {"jobs"}, rbacv1.GroupName: {"roles", "rolebindings"}} {
			rules = append(rules, rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, ResourceNames: []string{r.name + "-join"}, Verbs: []string{"get", "delete"}})
		}
	}
	at := metav1.ObjectMeta{Namespace: r.namespace, Name: name}
	for _, obj := range []client.Object{
		&rbacv1.Role{TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "Role"}, ObjectMeta: at, Rules: rules},
		&rbacv1.RoleBinding{TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "RoleBinding"}, ObjectMeta: at,
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: name}}},
	} {
		current := obj.DeepCopyObject().(client.Object)
		if err := host.Get(r.Context(), client.ObjectKeyFromObject(obj), current); apierrors.IsNotFound(err) {
			require.NoError(r, host.Create(r.Context(), obj))
		} else if role, ok := obj.(*rbacv1.Role); ok {
			require.NoError(r, err)
			role.ResourceVersion = current.GetResourceVersion()
			require.NoError(r, host.Update(r.Context(), role))
		}
		r.Cleanup(func() { _ = host.Delete(context.Background(), obj) })
	}
	user, err := host.env.AddUser(envtest.User{Name: name}, nil)
	require.NoError(r, err)
	clusters.EventuallySeen(r.T, bound, "the role of "+name, func() (bool, string) {
		api, err := kube.Connect(user.Config())
		require.NoError(r, err)
		err = api.Get(r.Context(), client.ObjectKey{Namespace: r.namespace, Name: h.secretName()}, &corev1.Secret{})
		return !apierrors.IsForbidden(err), fmt.Sprint(err)
	})
	return user.Config()
}

// kubeconfig writes a client configuration as a self-contained kubeconfig with one context.
func kubeconfig(t *testing.T, config *rest.Config, context string) []byte {
	t.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters[context] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	c.AuthInfos[context] = &clientcmdapi.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData, Token: config.BearerToken}
	c.Contexts[context] = &clientcmdapi.Context{Cluster: context, AuthInfo: context}
	c.CurrentContext = context
	text, err := clientcmd.Write(*c)
	require.NoError(t, err)
	return text
}

// world is every object of host, federation and member that can be listed and deleted, and the text of the member's DNS: by name alone, or with versions,
// once what joins changed has been probed.
func world(t *testing.T, versions bool) []string {
	t.Helper()
	if versions {
		clusters.EventuallySeen(t, bound, "the clusters are probed", func() (bool, string) {
			var list v1beta1.ClusterList
			if err := federationServer.List(t.Context(), &list); err != nil {
				return false, err.Error()
			}
			unprobed := slices.IndexFunc(list.Items, func(c v1beta1.Cluster) bool {
				ready := meta.FindStatusCondition(c.Status.Conditions, v1beta1.ClusterReady)
				return ready == nil || ready.ObservedGeneration != c.Generation
			})
			return unprobed < 0, fmt.Sprint(list.Items)
		})
	}
	var all []string
	for name, s := range map[string]*server{"host": host, "federation": federationServer, "member": memberServer} {
		kinds, err := kindsOf(s.API)
		require.NoError(t, err)
		c, err := metadataOf(s.API)
		require.NoError(t, err)
		for _, k := range kinds {
			if k.Resource == "events" || k.Resource == "leases" {
				continue
			}
			list, err := c.Resource(k.GroupVersionResource).List(t.Context(), metav1.ListOptions{})
			if apierrors.IsMethodNotSupported(err) {
				continue
			}
			require.NoError(t, err)
			for _, item := range list.Items {
				line := fmt.Sprintf("%s: %s %s/%s", name, k.GroupResource(), item.Namespace, item.Name)
				if versions {
					line += " " + item.ResourceVersion
				}
				if k.Group == rbacv1.GroupName && (strings.HasSuffix(item.Name, "-join") || strings.HasSuffix(item.Name, "-unjoin")) {
					continue // the hooks' own roles
				}
				all = append(all, line)
			}
		}
	}
	for _, place := range memberdns.Places {
		configMap := &corev1.ConfigMap{}
		if err := memberServer.Get(t.Context(), client.ObjectKey{Namespace: memberdns.Namespace, Name: place.ConfigMap}, configMap); err == nil {
			all = append(all, fmt.Sprintf("member DNS %s: %q", place.ConfigMap, configMap.Data))
		}
	}
	slices.Sort(all)
	return all
}

// unchanged gives a check that the world is again as it is now; garbage collection takes its time.
func unchanged(t *testing.T) func() {
	t.Helper()
	before := world(t, false)
	return func() {
		t.Helper()
		clusters.EventuallySeen(t, bound, "the world as it was", func() (bool, string) {
			after := world(t, false)
			return slices.Equal(before, after), difference(before, after)
		})
	}
}

func difference(before, after []string) string {
	var lines []string
	for _, line := range after {
		if !slices.Contains(before, line) {
			lines = append(lines, "+ "+line)
		}
	}
	for _, line := range before {
		if !slices.Contains(after, line) {
			lines = append(lines, "- "+line)
		}
	}
	return "\n" + strings.Join(lines, "\n")
}
