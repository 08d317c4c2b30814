//go:build e2e

package member

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/memberdns"
	"github.com/fedhelm/fedhelm/test/clusters"
)

// Each bad input is refused with one sentence that says what to do, and nothing is written in host, federation or member.
func TestBadInput(t *testing.T) {
	controlPlane(t, "two-federations", "fellowship", "mordor")
	controlPlane(t, "no-federation")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	frodo, err := memberServer.env.AddUser(envtest.User{Name: "frodo"}, nil)
	require.NoError(t, err)

	for name, c := range map[string]struct {
		change   func(*release)
		sentence string
	}{
		"a name that is no label":       {func(r *release) { r.values.ClusterName = "gondor_needs-no_king" }, `the cluster name "gondor_needs-no_king" is no RFC 1035 label`},
		"a name that is too long":       {func(r *release) { r.values.ClusterName = strings.Repeat("a", 41) }, "at most 40 are allowed"},
		"not YAML":                      {func(r *release) { r.values.Credentials.Kubeconfig = "\tno: [yaml" }, "is no kubeconfig in YAML or JSON"},
		"no such context":               {func(r *release) { r.values.Credentials.Context = "shire" }, `has no context "shire", it has: gondor; set credentials.context`},
		"an exec plugin":                {func(r *release) { r.edit(func(c *clientcmdapi.Config) { c.AuthInfos["gondor"].Exec = plugin() }) }, "logs in with an exec plugin, which fedhook does not have: flatten it with `kubectl config view --flatten --minify --context=gondor --raw`"},
		"a loopback address":            {func(r *release) { r.values.Server = "" }, "which means another machine in a pod: give server=https://host:port"},
		"the given Secret is not there": {func(r *release) { r.values.Credentials.Kubeconfig = "" }, "make one with `kubectl -n federation-home create secret generic gondor-kubeconfig --from-file=kubeconfig=FILE`"},
		"the existing Secret lacks the key": {func(r *release) {
			r.values.Credentials.Kubeconfig, r.values.Credentials.ExistingSecret = "", "mine"
			r.make(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: rivendell, Name: "mine"}, Data: map[string][]byte{"config": []byte("x")}})
		}, `key "kubeconfig" is not in Secret federation-home/mine, which has: config`},
		"connections are refused":    {func(r *release) { r.values.Server = "https://127.0.0.1:1" }, "refuses connections: see that it runs"},
		"no answer":                  {func(r *release) { r.values.Server = "https://" + silent.Addr().String() }, "does not answer: see that it runs"},
		"a name that does not exist": {func(r *release) { r.values.Server = "https://nowhere.invalid:6443" }, "does not resolve in the host cluster"},
		"another CA":                 {func(r *release) { r.values.Server = federationServer.Config.Host }, "answers with a certificate of another CA"},
		"another name": {func(r *release) {
			r.edit(func(c *clientcmdapi.Config) { c.Clusters["gondor"].TLSServerName = "mordor" })
		}, "answers with a certificate for other names"},
		"refused credentials": {func(r *release) {
			r.edit(func(c *clientcmdapi.Config) { c.AuthInfos["gondor"] = &clientcmdapi.AuthInfo{Token: "nonsense"} })
		}, "refuses the credentials in the value credentials.kubeconfig (401 Unauthorized)"},
		"missing rights": {func(r *release) { r.values.Credentials.Kubeconfig = string(kubeconfig(t, frodo.Config(), "gondor")) },
			"lack the right to do everything with all resources in the member, which the federation's account is to hold (the ClusterRole rule {apiGroups: [\"*\"]"},
		"no such federation":      {func(r *release) { r.values.Federation = "mordor" }, `there is no federation "mordor" in namespace federation-home, it has: fellowship`},
		"no federation":           {func(r *release) { r.namespace = "no-federation" }, "there is no federation in namespace no-federation: install one there with"},
		"an ambiguous federation": {func(r *release) { r.namespace = "two-federations" }, "namespace two-federations has several federations: fellowship, mordor; set federation to one of them"},
		"a namespace in the way":  {func(r *release) { r.makeInMember(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fellowship}}) }, "the member has a namespace fellowship, like the federation"},
		"somebody else's Secret":  {func(r *release) { r.values.SecretName = registrars }, "Secret federation-home/federation-registrars exists already and is not release gondor's own"},
		"another release's Secret": {func(r *release) {
			labels := kube.Release{Name: "gondor-alliance", Federation: "alliance"}.Labels()
			r.make(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: rivendell, Name: "gondor-federation-credentials", Labels: labels}})
		}, "set secretName to a name that no other has"},
		"a label that is none":      {func(r *release) { r.values.Labels = map[string]string{"a": "not a label"} }, `Cluster.federation.fedhelm.dev "gondor" is invalid: metadata.labels: Invalid value: "not a label"`},
		"a CIDR that is none":       {func(r *release) { r.values.ClientCIDR = "10.0.0.0/99" }, "clientCIDR must be a range"},
		"a template that is broken": {func(r *release) { r.values.ClusterDNS.Template = "{{ .Nothing }}" }, "clusterDNS.template"},
		"no Corefile":               {func(r *release) { r.values.ClusterDNS.Mode = "coredns"; r.hide(memberdns.CoreDNS) }, "the member has no ConfigMap kube-system/coredns"},
	} {
		t.Run(name, func(t *testing.T) {
			gondor := newRelease(t, "gondor")
			c.change(gondor)
			before := world(t, true)
			err := gondor.join()
			require.Error(t, err)
			assert.Contains(t, err.Error(), c.sentence)
			assert.NotContains(t, err.Error(), "\n", "one sentence")
			assert.Equal(t, "\n", difference(before, world(t, true)), "nothing is written")
			require.NoError(t, gondor.unjoin(), "and uninstalling it is no trouble")
			assert.Equal(t, "\n", difference(before, world(t, true)))
		})
	}
}

// A cluster joins a federation once, and a name is one release's; another release's failure and uninstall do not touch the first.
func TestTaken(t *testing.T) {
	asBefore := unchanged(t)
	gondor := newRelease(t, "gondor")
	require.NoError(t, gondor.join(), gondor.log.String())
	before := world(t, true)
	for sentence, change := range map[string]func(*release){
		"this cluster is a member of federation fellowship already, under the name gondor": func(*release) {},
		`the cluster name gondor is taken in federation fellowship by release "gondor"`:    func(r *release) { r.values.ClusterName = "gondor" },
	} {
		other := newRelease(t, "minas-tirith")
		change(other)
		err := other.join()
		require.Error(t, err)
		assert.Contains(t, err.Error(), sentence)
		require.NoError(t, other.unjoin())
		assert.Equal(t, "\n", difference(before, world(t, true)))
	}

	// Nor may a release give its cluster another name; one that leaves under such a name says what it leaves.
	gondor.values.ClusterName = "minas-tirith"
	require.ErrorContains(t, gondor.join(), "this release has joined federation fellowship already, as cluster gondor: set clusterName back to that")
	require.NoError(t, gondor.unjoin())
	assert.Contains(t, gondor.log.String(), "this release has joined federation fellowship as cluster gondor, which its values no longer name")
	gondor.values.Unjoin.Strict = true
	require.ErrorContains(t, gondor.unjoin(), "install this release with clusterName=gondor again, and uninstall that")
	assert.Equal(t, "\n", difference(before, world(t, true)))
	gondor.values.ClusterName = ""
	require.NoError(t, gondor.unjoin())
	asBefore()
}

func plugin() *clientcmdapi.ExecConfig {
	return &clientcmdapi.ExecConfig{Command: "aws", APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: clientcmdapi.NeverExecInteractiveMode}
}

// edit changes the given kubeconfig.
func (r *release) edit(change func(*clientcmdapi.Config)) {
	config, err := clientcmd.Load([]byte(r.values.Credentials.Kubeconfig))
	require.NoError(r, err)
	change(config)
	text, err := clientcmd.Write(*config)
	require.NoError(r, err)
	r.values.Credentials.Kubeconfig = string(text)
}

// make makes an object in the host cluster for the time of the test, makeInMember in the member.
func (r *release) make(obj client.Object) { r.makeIn(host, obj) }

func (r *release) makeInMember(obj client.Object) { r.makeIn(memberServer, obj) }

func (r *release) makeIn(s *server, obj client.Object) {
	require.NoError(r, s.Create(r.Context(), obj))
	r.Cleanup(func() {
		require.NoError(r, s.Delete(context.Background(), obj))
		clusters.EventuallySeen(r.T, bound, "the object to be gone", func() (bool, string) {
			err := s.Get(context.Background(), client.ObjectKeyFromObject(obj), obj)
			return err != nil, ""
		})
	})
}

// hide takes a ConfigMap of kube-system away for the time of the test.
func (r *release) hide(name string) {
	configMap := &corev1.ConfigMap{}
	require.NoError(r, memberServer.Get(r.Context(), client.ObjectKey{Namespace: memberdns.Namespace, Name: name}, configMap))
	require.NoError(r, memberServer.Delete(r.Context(), configMap))
	r.Cleanup(func() {
		configMap.ObjectMeta = metav1.ObjectMeta{Namespace: memberdns.Namespace, Name: name}
		require.NoError(r, memberServer.Create(context.Background(), configMap))
	})
}

// Whatever is not there when a cluster leaves, the rest goes, the hook ends well, and says what was left where.
func TestLeaving(t *testing.T) {
	for name, c := range map[string]struct {
		// before is what happens between join and unjoin.
		before func(*release)
		// warning is what is said of what is left; member says whether something is left there, cluster whether the Cluster is.
		warning         string
		member, cluster bool
	}{
		"the member is down": {before: func(r *release) { r.values.Server = "https://127.0.0.1:1" }, member: true,
			warning: "what the federation made in member gondor is left there, because the member's API https://127.0.0.1:1 refuses connections"},
		"the credentials are revoked": {before: func(r *release) {
			require.NoError(r, memberServer.Delete(r.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1beta1.NamespaceFederationSystem, Name: "gondor-fellowship"}}))
			r.refusedSoon()
		}, member: true, warning: "(401 Unauthorized)"},
		"the credentials are revoked, and the kubeconfig is still there": {before: func(r *release) {
			require.NoError(r, memberServer.Delete(r.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1beta1.NamespaceFederationSystem, Name: "gondor-fellowship"}}))
			r.refusedSoon()
			r.values.Credentials.Kubeconfig = string(kubeconfig(r.T, memberServer.Config, "gondor"))
		}},
		"the Cluster is gone": {before: func(r *release) {
			require.NoError(r, federationServer.Delete(r.Context(), &v1beta1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "gondor"}}))
		}},
		"the Cluster is held by a controller that is gone": {before: func(r *release) {
			cluster := &v1beta1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "gondor"}}
			require.NoError(r, federationServer.Patch(r.Context(), cluster, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":["federation.fedhelm.dev/sync"]}}`))))
		}},
		"the credentials Secret is gone": {before: func(r *release) {
			require.NoError(r, host.Delete(r.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: "gondor-federation-credentials"}}))
			r.values.Credentials.Kubeconfig = string(kubeconfig(r.T, memberServer.Config, "gondor"))
		}},
		"the control plane is gone": {before: func(r *release) {
			require.NoError(r, host.Delete(r.Context(), federationConfigMap(r.namespace, fellowship)))
			require.NoError(r, host.Delete(r.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: registrars}}))
		}, cluster: true},
		"the federation's API is down": {before: func(r *release) {
			down := &rest.Config{Host: "https://127.0.0.1:1", TLSClientConfig: federationServer.Config.TLSClientConfig}
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: registrars}}
			require.NoError(r, host.Get(r.Context(), client.ObjectKeyFromObject(secret), secret))
			secret.Data[fellowship] = kubeconfig(r.T, down, fellowship)
			require.NoError(r, host.Update(r.Context(), secret))
		}, cluster: true, warning: "Cluster gondor is left in federation fellowship"},
	} {
		t.Run(name, func(t *testing.T) {
			asBefore := unchanged(t)
			gondor := newRelease(t, "gondor")
			gondor.namespace = "control-plane-of-its-own"
			controlPlane(t, gondor.namespace, fellowship)
			clean := func() {
				_ = host.Delete(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: gondor.namespace}})
				_ = federationServer.Delete(context.Background(), &v1beta1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: "gondor"}})
				asBefore()
			}
			require.NoError(t, gondor.join(), gondor.log.String())
			gondor.values.Credentials.Kubeconfig = ""
			gondor.log.Reset()
			c.before(gondor)

			strict := *gondor
			strict.values.Unjoin.Strict = true
			if c.warning != "" {
				require.Error(t, strict.unjoin(), "strictly")
			}
			began := time.Now()
			require.NoError(t, gondor.unjoin(), gondor.log.String())
			t.Logf("in %s, and says: %s", time.Since(began).Round(time.Millisecond), gondor.log.String())
			if c.warning == "" {
				assert.NotContains(t, gondor.log.String(), "left behind")
			} else {
				assert.Contains(t, gondor.log.String(), c.warning)
			}
			left := strings.Join(world(t, false), "\n")
			assert.NotContains(t, left, "gondor-federation-credentials", "the host's side is cleaned up anyway")
			assert.Equal(t, c.cluster, strings.Contains(left, "clusters.federation.fedhelm.dev /gondor"))
			if c.member {
				assert.Contains(t, left, "clusterroles.rbac.authorization.k8s.io /federation-controller-manager:fellowship-gondor-fellowship")
				// What the warning tells to do by hand.
				require.NoError(t, letGoByHand(t))
			}
			clean()
		})
	}
}
