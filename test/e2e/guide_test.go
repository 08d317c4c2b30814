//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/fedhook"
	"github.com/fedhelm/fedhelm/pkg/generate"
	"github.com/fedhelm/fedhelm/pkg/values"
	"github.com/fedhelm/fedhelm/test/cloud"
	"github.com/fedhelm/fedhelm/test/clusters"
	"github.com/fedhelm/fedhelm/test/matrix"
)

// look sees on the real clusters, or in what was said, whether a command did what kubefed did.
type look func(g *guided, t *testing.T)

// effect is what flags of a command do.
type effect struct {
	what string
	// of is the command and those flags: "init --etcd-pv-capacity --etcd-pv-storage-class". Without flags it is what kubefed did by itself.
	of   string
	look look
}

// step is command lines of kubefed that are translated together, on top of those before.
type step struct {
	commands string
	// byHand is what the guide adds to the command of Helm, for what kubefed had no flag for.
	byHand  string
	effects []effect
}

// installation is a federation from its beginning to its end.
type installation struct {
	name string
	// kubeconfig is the person's, in her home.
	kubeconfig string
	prepare    look
	steps      []step
}

// ofKubectl are flags that kubefed had from kubectl, onJoin those of them that init and unjoin had not. The charts have no values for them.
const (
	ofKubectl = ` --as=gandalf --as-group=istari --cluster=mordor --user=frodo --server=https://192.0.2.1 --certificate-authority=ca.crt --insecure-skip-tls-verify` +
		` --client-certificate=tls.crt --client-key=tls.key --token=mellon --username=mellon --password=mellon --namespace=default --request-timeout=1m --match-server-version` +
		` --cache-dir=/tmp --cloud-provider-gce-lb-src-cidrs=192.0.2.0/24 --alsologtostderr --log-backtrace-at=a.go:1 --log-dir=/tmp --log-flush-frequency=1s --logtostderr` +
		` --stderrthreshold=2 --v=4 --vmodule=a=4`
	onJoin = ` --allow-missing-template-keys --generator=cluster/v1beta1 --no-headers --output=yaml --save-config --show-all --show-labels --sort-by=.metadata.name --template=none --validate`
)

// guide has the commands of kubefed's guide with as many of its flags in one as go together, since each federation takes a minute. The guide itself is in docs/kubefed.md.
var guide = []installation{
	{
		name:       "a load balancer and logins",
		kubeconfig: ".kube/config",
		prepare:    (*guided).haveFastStorage,
		steps: []step{
			{
				commands: `kubefed init fellowship \
    --host-cluster-context=rivendell \
    --federation-system-namespace=$NAMESPACE \
    --dns-provider="coredns" \
    --dns-zone-name="example.com." \
    --image=$APISERVER_IMAGE \
    --image-pull-policy=Never \
    --image-pull-secrets=registry,mirror \
    --node-selector=kubernetes.io/os=linux,topology.kubernetes.io/region=eriador \
    --etcd-image=$ETCD_IMAGE \
    --etcd-pv-capacity=20Gi \
    --etcd-pv-storage-class=fast \
    --apiserver-enable-basic-auth=true \
    --apiserver-enable-token-auth=true \
    --apiserver-arg-overrides="--anonymous-auth=false,--v=4" \
    --controllermanager-arg-overrides="--controllers=services=false"`,
				effects: []effect{
					{"the federation is in the host cluster", "init --host-cluster-context --federation-system-namespace", (*guided).isInstalled},
					{"the type is LoadBalancer, and its address is published", "init", (*guided).hasLoadBalancer},
					{"the chart's own DNS serves the zone", "init --dns-provider --dns-zone-name", (*guided).servesZone},
					{"the API server has that image", "init --image", imageIs("apiserver", "APISERVER_IMAGE")},
					{"etcd has that image", "init --etcd-image", imageIs("etcd", "ETCD_IMAGE")},
					{"every image has that pull policy", "init --image-pull-policy", (*guided).neverPulls},
					{"every pod has those pull secrets", "init --image-pull-secrets", (*guided).namesPullSecrets},
					{"every pod wants such a node", "init --node-selector", (*guided).selectsNodes},
					{"the claim has that size and class", "init --etcd-pv-capacity --etcd-pv-storage-class", (*guided).hasFastClaim},
					{"curl gets in with name and password", "init --apiserver-enable-basic-auth", letsIn(basicAuthContext)},
					{"curl gets in with a token", "init --apiserver-enable-token-auth", letsIn(tokenAuthContext)},
					{"the API server has those arguments, and lets in nobody without a login", "init --apiserver-arg-overrides", (*guided).refusesAnonymous},
					{"the controller manager has those arguments", "init --controllermanager-arg-overrides", runsWith("controller-manager", "--controllers=services=false")},
				},
			},
			{
				commands: `kubefed join gondor --host-cluster-context=rivendell --federation-system-namespace=$NAMESPACE --context=fellowship --cluster-context=gondor_needs-no_king
kubefed join noldor --host-cluster-context=rivendell --federation-system-namespace=$NAMESPACE --secret-name=11kingdom`,
				effects: []effect{
					{"the cluster of that context is in that federation", "join --host-cluster-context --federation-system-namespace --context --cluster-context", hasJoined("gondor")},
					{"the cluster's own name is its context", "join", hasJoined("noldor")},
					{"the Secret has that name", "join --secret-name", (*guided).keeps11kingdom},
					{"Services are not federated, other objects are", "init --controllermanager-arg-overrides", (*guided).federatesNoServices},
				},
			},
			{
				commands: `kubefed unjoin gondor --host-cluster-context=rivendell --federation-system-namespace=$NAMESPACE --context=fellowship --cluster-context=gondor_needs-no_king`,
				effects: []effect{
					{"the cluster has left, and is as it was", "unjoin --host-cluster-context --federation-system-namespace --context --cluster-context", hasLeft("gondor")},
				},
			},
		},
	},
	{
		name:       "a node port and another CoreDNS",
		kubeconfig: "clusters.conf",
		prepare:    (*guided).haveEtcd,
		steps: []step{
			{
				commands: `kubefed init fellowship \
    --kubeconfig="$HOME/clusters.conf" \
    --host-cluster-context=rivendell \
    --federation-system-namespace=$NAMESPACE \
    --credentials-kubeconfig="$HOME/gondor.conf" \
    --dns-provider="coredns" \
    --dns-zone-name="example.com." \
    --dns-provider-config="$HOME/coredns-provider.conf" \
    --api-server-service-type="NodePort" \
    --api-server-advertise-address="$NODE" \
    --api-server-port=30043 \
    --etcd-persistent-storage=false`,
				effects: []effect{
					{"the kubeconfig leads to the host cluster", "init --kubeconfig", (*guided).isInstalled},
					{"the Service has that type and port, and the address is published", "init --api-server-service-type --api-server-advertise-address --api-server-port", (*guided).hasNodePort},
					{"there is no claim", "init --etcd-persistent-storage", (*guided).hasNoClaim},
					{"the file is the provider's configuration", "init --dns-provider-config", (*guided).hasCoreDNSConfig},
					{"the controller manager has the provider and the zone", "init --dns-provider --dns-zone-name", runsWith("controller-manager", "--dns-provider=coredns", "--zone-name=example.com.")},
					{"the control plane takes no credentials", "init --credentials-kubeconfig", isSaid("--credentials-kubeconfig")},
				},
			},
			{
				commands: `kubefed join gondor --kubeconfig="$HOME/clusters.conf" --host-cluster-context=rivendell --federation-system-namespace=$NAMESPACE --credentials-kubeconfig="$HOME/gondor.conf"`,
				effects: []effect{
					{"the cluster has joined", "join --kubeconfig", hasJoined("gondor")},
					{"the credentials are the federation's own, and there is no account", "join --credentials-kubeconfig", (*guided).hasNoAccount},
					{"a Service has its record in the etcd that CoreDNS reads", "init --dns-provider --dns-provider-config --dns-zone-name", keepsRecords("gondor", (*guided).recordsInEtcd)},
				},
			},
			{
				commands: `kubefed unjoin gondor --kubeconfig="$HOME/clusters.conf" --host-cluster-context=rivendell --federation-system-namespace=$NAMESPACE --credentials-kubeconfig="$HOME/gondor.conf"`,
				effects: []effect{
					{"the cluster has left, and is as it was", "unjoin --kubeconfig", hasLeft("gondor")},
					{"the release has the credentials", "unjoin --credentials-kubeconfig", isSaid("--credentials-kubeconfig")},
				},
			},
		},
	},
	{
		name:       "Google Cloud DNS and another etcd",
		kubeconfig: ".kube/config",
		prepare:    (*guided).haveEtcd,
		steps: []step{
			{
				commands: `kubefed init fellowship \
    --host-cluster-context=rivendell \
    --federation-system-namespace=$NAMESPACE \
    --dns-provider="google-clouddns" \
    --dns-zone-name="example.com." \
    --dns-provider-config="$HOME/google.conf" \
    --etcd-servers=http://etcd.$NAMESPACE.svc:2379 --context=mordor` + ofKubectl,
				effects: []effect{
					{"the federation is in that etcd, and has none of its own", "init --etcd-servers", (*guided).isInEtcd},
					{"the controller manager has the provider and the zone", "init --dns-provider --dns-zone-name", runsWith("controller-manager", "--dns-provider=google-clouddns", "--zone-name=example.com.")},
					{"the configuration leads to the zone, which was tried", "init --dns-provider-config", (*guided).hasTriedGoogle},
					{"the context is the host cluster's", "init --context", isSaid("--context")},
					{"kubectl's flags are said", "init" + ofKubectl, isSaid(ofKubectl)},
				},
			},
			{
				commands: `kubefed join gondor --host-cluster-context=rivendell --federation-system-namespace=$NAMESPACE` + ofKubectl + onJoin,
				effects: []effect{
					{"the cluster has joined", "join", hasJoined("gondor")},
					{"kubectl's flags are said", "join" + ofKubectl + onJoin, isSaid(ofKubectl + onJoin)},
					{"a Service has its record in the zone", "init --dns-provider --dns-zone-name", keepsRecords("gondor", recordsIn((*guided).googleZone))},
				},
			},
			{
				commands: `kubefed unjoin gondor --host-cluster-context=rivendell --federation-system-namespace=$NAMESPACE` + ofKubectl,
				effects: []effect{
					{"the cluster has left, and is as it was", "unjoin", hasLeft("gondor")},
					{"kubectl's flags are said", "unjoin" + ofKubectl, isSaid(ofKubectl)},
				},
			},
		},
	},
	{
		name:       "Route 53 and dry runs",
		kubeconfig: ".kube/config",
		prepare:    (*guided).haveRoute53Keys,
		steps: []step{
			{
				commands: `kubefed init fellowship --host-cluster-context=rivendell --federation-system-namespace=$NAMESPACE --dns-provider="aws-route53" --dns-zone-name="example.com." --dry-run`,
				effects: []effect{
					{"nothing is made", "init --dry-run", hasReleases()},
					{"it is said how else to try", "init --dry-run", isSaid("--dry-run")},
				},
			},
			{
				commands: `kubefed init fellowship --host-cluster-context=rivendell --federation-system-namespace=$NAMESPACE --dns-provider="aws-route53" --dns-zone-name="example.com."`,
				byHand:   "--set=dns.existingSecret=fellowship-dns-config",
				effects: []effect{
					{"the controller manager has the provider and the zone", "init --dns-provider --dns-zone-name", runsWith("controller-manager", "--dns-provider=aws-route53", "--zone-name=example.com.")},
				},
			},
			{
				commands: `kubefed join rivendell --host-cluster-context=rivendell --federation-system-namespace=$NAMESPACE --dry-run`,
				effects: []effect{
					{"nothing is made", "join --dry-run", hasReleases("fellowship")},
					{"it is said how else to try", "join --dry-run", isSaid("--dry-run")},
				},
			},
			{
				commands: `kubefed join rivendell --host-cluster-context=rivendell --federation-system-namespace=$NAMESPACE`,
				effects: []effect{
					{"the host cluster has joined its own federation", "join", hasJoined("rivendell")},
					{"a Service has its record in the zone", "init --dns-provider --dns-zone-name", keepsRecords("rivendell", recordsIn((*guided).route53Zone))},
				},
			},
		},
	},
}

// TestGuideIsWhole sees that every flag of kubefed's is in the guide, and that there is a look at what each does.
func TestGuideIsWhole(t *testing.T) {
	typed, seen := map[string]bool{}, map[string]bool{}
	for _, i := range guide {
		for _, s := range i.steps {
			for _, c := range commandsOf(s.commands) {
				note(typed, c.verb, c.line)
			}
			for _, e := range s.effects {
				verb, _, _ := strings.Cut(e.of, " ")
				note(seen, verb, e.of)
			}
		}
	}
	known := map[string]bool{}
	for _, verb := range []string{"init", "join", "unjoin"} {
		for _, flag := range generate.Flags(verb) {
			known[verb+" --"+flag] = true
		}
	}
	assert.Equal(t, known, typed, "what `fedhook generate` knows is what a command of the guide has")
	assert.Equal(t, typed, seen, "what a command of the guide has is looked at")
}

// note notes the flags of a command.
func note(in map[string]bool, verb, text string) {
	for _, flag := range flagsOf(text) {
		in[verb+" --"+flag] = true
	}
}

var flagOfKubefed = regexp.MustCompile(`\s--([a-z][-a-z]*)`)

// flagsOf gives the names of the flags in a text, without those that other flags hand on.
func flagsOf(text string) (names []string) {
	for _, found := range flagOfKubefed.FindAllStringSubmatch(" "+text, -1) {
		names = append(names, found[1])
	}
	return names
}

type kubefedCommand struct{ line, verb, name string }

var commandOfKubefed = regexp.MustCompile(`(?m)^kubefed (init|join|unjoin) (\S+).*$`)

// commandsOf gives the commands of kubefed in some lines.
func commandsOf(lines string) (all []kubefedCommand) {
	for _, found := range commandOfKubefed.FindAllStringSubmatch(strings.ReplaceAll(lines, "\\\n", " "), -1) {
		all = append(all, kubefedCommand{line: found[0], verb: found[1], name: found[2]})
	}
	return all
}

// TestGuide makes federations with kubefed's command lines: `fedhook generate` translates them, the commands that it writes are typed as they stand, and what kubefed did is looked for on the clusters.
func TestGuide(t *testing.T) {
	matrix.WholeOnly(t, "four federations, each of which takes two minutes with its members")
	for _, i := range guide {
		t.Run(i.name, func(t *testing.T) {
			g := newGuided(t, i.kubeconfig)
			i.prepare(g, t)
			for _, s := range i.steps {
				g.follow(t, s)
				for _, e := range s.effects {
					t.Run(e.what, func(t *testing.T) { e.look(g, t) })
				}
			}
			g.tearDown(t)
		})
	}
}

// guided is a federation that a person makes by kubefed's guide.
type guided struct {
	federated
	person
	// kubeconfig is her file with the clusters' contexts.
	kubeconfig string
	// variables are those of the command lines.
	variables map[string]string
	// script is the command lines so far, heard what `fedhook generate` said of them, and said what it said of the last ones alone.
	script, heard, said string
	// joining are the clusters by the names that they have in the federation, before what the members had in them.
	joining map[string]*clusters.Cluster
	before  map[*clusters.Cluster]clusters.Snapshot
	google  *cloud.CloudDNS
	route53 *cloud.Route53
}

// newGuided gives a federation that is not there yet, and a person who has a kubeconfig, the members' credentials and the DNS providers' configurations in her home. In the kubeconfig cluster gondor
// has a context besides that is no good as a name, and shire one that is called noldor.
func newGuided(t *testing.T, kubeconfig string) *guided {
	t.Helper()
	host, gondor, shire := clusters.Open(t, clusters.Host), clusters.Open(t, clusters.Gondor), clusters.Open(t, clusters.Shire)
	// The zones are there for longer than the federation, which takes its records out of them.
	google, route53 := cloud.NewCloudDNS(t, cloud.NewZone("mordor", "example.com.", false)), cloud.NewRoute53(t, cloud.NewZone("Z1MORDOR", "example.com.", false))
	google.URL, route53.URL = reachable(t, host, google), reachable(t, host, route53)
	g := &guided{
		federated: federated{fellowship: newFellowship(t, "helm"), gondor: gondor, shire: shire}, person: person{t.TempDir()},
		joining: map[string]*clusters.Cluster{"gondor": gondor, "noldor": shire, "rivendell": host},
		before:  map[*clusters.Cluster]clusters.Snapshot{gondor: gondor.TakeSnapshot(t), shire: shire.TakeSnapshot(t)},
		google:  google, route53: route53,
	}
	g.kubeconfig = g.has(t, kubeconfig, contexts(t, host, gondor, shire))
	given, err := os.ReadFile(gondor.Kubeconfig)
	require.NoError(t, err)
	g.has(t, "gondor.conf", given)
	g.has(t, "key.json", google.Credentials())
	g.has(t, "google.conf", fmt.Appendf(nil, "[Global]\nproject-id = %s\ncredentials-file = key.json\nendpoint-url = %s\n", google.Project, google.URL))
	g.has(t, "coredns-provider.conf", fmt.Appendf(nil, "[Global]\netcd-endpoints = %s\nzones = example.com.\ncoredns-endpoints = 192.0.2.53:53\n", g.etcdServer()))
	control := values.DefaultControlPlane()
	reference := func(i values.Image) string { return i.Registry + "/" + i.Repository + ":" + i.Tag }
	g.variables = map[string]string{
		"HOME": g.home, "NAMESPACE": g.namespace, "NODE": nodeAddress(t, host),
		"APISERVER_IMAGE": reference(control.APIServer.Image), "ETCD_IMAGE": reference(control.Etcd.Image),
	}
	return g
}

// reachable serves a handler where the pods of a cluster reach it, on this machine, and gives the URL.
func reachable(t *testing.T, from *clusters.Cluster, handler http.Handler) string {
	t.Helper()
	api, err := url.Parse(from.Config.Host)
	require.NoError(t, err)
	route, err := net.Dial("udp", api.Host) // which sends nothing, but chooses the address of this machine
	require.NoError(t, err)
	host, _, err := net.SplitHostPort(route.LocalAddr().String())
	require.NoError(t, err)
	require.NoError(t, route.Close())
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	require.NoError(t, err)
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler}}
	server.Start()
	t.Cleanup(server.Close)
	return server.URL
}

// contexts is a kubeconfig of all clusters; the first one's context is the current one.
func contexts(t *testing.T, all ...*clusters.Cluster) []byte {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.CurrentContext = all[0].Name
	for _, c := range all {
		one, err := clientcmd.LoadFromFile(c.Kubeconfig)
		require.NoError(t, err)
		maps.Copy(config.Clusters, one.Clusters)
		maps.Copy(config.AuthInfos, one.AuthInfos)
		maps.Copy(config.Contexts, one.Contexts)
	}
	config.Contexts["gondor_needs-no_king"], config.Contexts["noldor"] = config.Contexts[clusters.Gondor], config.Contexts[clusters.Shire]
	text, err := clientcmd.Write(*config)
	require.NoError(t, err)
	return text
}

func nodeAddress(t *testing.T, c *clusters.Cluster) string {
	t.Helper()
	return c.Kubectl(t, "get", "nodes", "-o", `jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}`)
}

// has puts a file into the person's home, and gives its path.
func (p person) has(t *testing.T, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(p.home, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, text, 0o600))
	return path
}

// typesAtHome types a command in the person's home, where her files are.
func (p person) typesAtHome(t *testing.T, command string) string {
	t.Helper()
	return p.types(t, "cd ~\n"+command)
}

// follow has the command lines translated, and types for each what is to be typed. A dry run is one of Helm's, and is nothing to go on from.
func (g *guided) follow(t *testing.T, s step) {
	t.Helper()
	dryRun := strings.Contains(s.commands, "--dry-run")
	script := g.script + s.commands + "\n"
	if !dryRun {
		g.script = script
	}
	directory := g.generate(t, script)
	for _, c := range commandsOf(s.commands) {
		for _, line := range g.toType(t, directory, c) {
			if strings.Contains(line, " create namespace ") {
				continue // it is there already, and refuses pods that are not restricted
			}
			if lineOfHelm.MatchString(line) {
				line += " " + s.byHand
				if c.verb == "init" {
					line += fmt.Sprintf(" --set=%q", keeperAtRest)
				}
				if dryRun {
					line += " --dry-run=server"
				} else {
					line += " --wait --timeout=4m"
				}
			}
			g.typesAtHome(t, line)
		}
		if c.verb == "init" && !dryRun {
			g.waitForRollouts(t)
			g.api = g.fellowship.api(t)
		}
	}
}

// generate runs `fedhook generate values`, and gives the folder with what it writes.
func (g *guided) generate(t *testing.T, script string) string {
	t.Helper()
	directory := filepath.Join(t.TempDir(), "releases")
	arguments := []string{"generate", "values", "--charts=" + filepath.Join(clusters.Root(), "charts"), "--kubeconfig=" + g.kubeconfig, "--directory=" + directory}
	for name, value := range g.variables {
		arguments = append(arguments, "--variable="+name+"="+value)
	}
	var out, said bytes.Buffer
	code := fedhook.Main(append(arguments, g.has(t, "federate.sh", []byte(script))), &out, &said)
	t.Logf("$ fedhook %s\n%s\n%s", strings.Join(arguments, " "), script, said.String())
	require.Zero(t, code, "it does not translate\n%s", script)
	g.said = ""
	for line := range strings.Lines(said.String()) {
		if !strings.Contains(g.heard, line) {
			g.said += line
		}
	}
	g.heard = said.String()
	return directory
}

var (
	commandInComment = regexp.MustCompile(`(?m)^#   ((?:KUBECONFIG=\S+ )?(?:kubectl|helm) .*)$`)
	lineOfHelm       = regexp.MustCompile(`^(KUBECONFIG=\S+ )?helm `)
)

// toType gives the commands that `fedhook generate` says to type for one of kubefed: in the comment of a release's values, or of a cluster that leaves in a warning.
func (g *guided) toType(t *testing.T, directory string, c kubefedCommand) (lines []string) {
	t.Helper()
	if c.verb == "unjoin" {
		found := regexp.MustCompile(`msg="` + c.name + ` has left: (.+)"`).FindStringSubmatch(g.said)
		require.NotNil(t, found, "it does not say how %s leaves:\n%s", c.name, g.said)
		return found[1:]
	}
	text, err := os.ReadFile(filepath.Join(directory, c.name+".yaml"))
	require.NoError(t, err)
	t.Logf("%s.yaml\n%s", c.name, text)
	for _, found := range commandInComment.FindAllStringSubmatch(string(text), -1) {
		lines = append(lines, found[1])
	}
	require.NotEmpty(t, lines, "the values of %s do not say how they are installed:\n%s", c.name, text)
	return lines
}

// tearDown uninstalls the members that are left, then the federation, and sees that nothing stays.
func (g *guided) tearDown(t *testing.T) {
	t.Helper()
	for _, release := range g.releases(t) {
		if release != g.name {
			g.uninstall(t, release)
		}
	}
	g.uninstall(t, g.name)
	clusters.EventuallySeen(t, time.Minute, "etcd's claim gone", func() (bool, string) {
		claims := g.kubectl(t, "get", "persistentvolumeclaims", "-o", "name")
		return claims == "", claims
	})
	for member, before := range g.before {
		member.RequireUnchanged(t, before)
	}
}

func (g *guided) releases(t *testing.T) []string {
	t.Helper()
	return strings.Fields(g.must(t, "list", "--all", "--short"))
}

// haveFastStorage makes a storage class beside the default one, and like it.
func (g *guided) haveFastStorage(t *testing.T) {
	var classes storagev1.StorageClassList
	require.NoError(t, g.host.List(t.Context(), &classes))
	for _, class := range classes.Items {
		if class.Annotations["storageclass.kubernetes.io/is-default-class"] != "true" {
			continue
		}
		class.ObjectMeta = metav1.ObjectMeta{Name: "fast"}
		require.NoError(t, g.host.Create(t.Context(), &class))
		t.Cleanup(func() { _, _ = g.host.Run(t, "kubectl", "delete", "storageclass/fast") })
		return
	}
	require.Fail(t, "the host cluster has no default storage class")
}

// haveEtcd runs an etcd that somebody else has in the host cluster.
func (g *guided) haveEtcd(t *testing.T) {
	g.kubectl(t, "apply", "-f", g.write(t, externalEtcd(g.namespace)))
	g.kubectl(t, "rollout", "status", "deployment/etcd", "--timeout=2m")
}

func (g *guided) etcdServer() string { return "http://etcd." + g.namespace + ":2379" }

// haveRoute53Keys makes the Secret that stands in for kubefed's patch of the controller manager.
func (g *guided) haveRoute53Keys(t *testing.T) {
	config := "[Global]\n"
	for id, secret := range g.route53.Secrets {
		config += fmt.Sprintf("access-key-id = %s\nsecret-access-key = %s\n", id, secret)
	}
	g.has(t, "provider.conf", []byte(config+"endpoint-url = "+g.route53.URL+"\n"))
	g.typesAtHome(t, "kubectl -n "+g.namespace+" create secret generic fellowship-dns-config --from-file=provider.conf")
	// The host's own account is in a namespace that stays when it leaves.
	t.Cleanup(func() { g.host.DeleteNamespace(t, v1beta1.NamespaceFederationSystem, 2*time.Minute) })
}

func (g *guided) isInstalled(t *testing.T) {
	require.Contains(t, g.must(t, "status", g.name), "STATUS: deployed")
	require.NoError(t, ask(t, g.login(t, g.name)))
	if path := filepath.Join(g.home, ".kube", "config"); path != g.kubeconfig {
		require.NoFileExists(t, path, "another kubeconfig may have led there")
	}
}

func (g *guided) apiService(t *testing.T) corev1.Service {
	t.Helper()
	var service corev1.Service
	require.NoError(t, g.host.Get(t.Context(), client.ObjectKey{Namespace: g.namespace, Name: "fellowship-apiserver"}, &service))
	return service
}

func (g *guided) hasLoadBalancer(t *testing.T) {
	service := g.apiService(t)
	require.Equal(t, corev1.ServiceTypeLoadBalancer, service.Spec.Type)
	require.Len(t, service.Status.LoadBalancer.Ingress, 1)
	require.Equal(t, "https://"+service.Status.LoadBalancer.Ingress[0].IP+":443", g.publishedServer(t))
}

func (g *guided) hasNodePort(t *testing.T) {
	service := g.apiService(t)
	require.Equal(t, corev1.ServiceTypeNodePort, service.Spec.Type)
	require.EqualValues(t, 30043, service.Spec.Ports[0].NodePort)
	require.Equal(t, "https://"+g.variables["NODE"]+":30043", g.publishedServer(t))
}

// startedWith gives the pod of a component as it was started.
func (g *guided) startedWith(t *testing.T, component string) corev1.PodSpec {
	t.Helper()
	pod := g.runningPod(t, component)
	require.NotNil(t, pod, "no pod of %s runs", component)
	return pod.Spec
}

func (g *guided) requireArguments(t *testing.T, component string, arguments ...string) {
	t.Helper()
	container := g.startedWith(t, component).Containers[0]
	require.Subset(t, append(container.Command, container.Args...), arguments)
}

// runsWith looks for arguments on the command line of a component's process.
func runsWith(component string, arguments ...string) look {
	return func(g *guided, t *testing.T) { g.requireArguments(t, component, arguments...) }
}

func imageIs(component, variable string) look {
	return func(g *guided, t *testing.T) {
		require.Equal(t, g.variables[variable], g.startedWith(t, component).Containers[0].Image)
	}
}

// podSpecs are those of the components that kubefed had and of fedhook, by their names.
func (g *guided) podSpecs(t *testing.T) map[string]corev1.PodSpec {
	t.Helper()
	var keeper batchv1.CronJob
	require.NoError(t, g.host.Get(t.Context(), client.ObjectKey{Namespace: g.namespace, Name: "fellowship-keeper"}, &keeper))
	specs := map[string]corev1.PodSpec{"keeper": keeper.Spec.JobTemplate.Spec.Template.Spec}
	for _, component := range []string{"apiserver", "etcd", "kube-controller-manager", "controller-manager"} {
		specs[component] = g.startedWith(t, component)
	}
	return specs
}

func (g *guided) neverPulls(t *testing.T) {
	for name, spec := range g.podSpecs(t) {
		for _, container := range append(spec.InitContainers, spec.Containers...) {
			require.Equal(t, corev1.PullNever, container.ImagePullPolicy, "%s, container %s", name, container.Name)
		}
	}
}

func (g *guided) namesPullSecrets(t *testing.T) {
	for name, spec := range g.podSpecs(t) {
		require.Equal(t, []corev1.LocalObjectReference{{Name: "registry"}, {Name: "mirror"}}, spec.ImagePullSecrets, name)
	}
}

func (g *guided) selectsNodes(t *testing.T) {
	for name, spec := range g.podSpecs(t) {
		require.Equal(t, map[string]string{"kubernetes.io/os": "linux", "topology.kubernetes.io/region": "eriador"}, spec.NodeSelector, name)
	}
}

func (g *guided) hasFastClaim(t *testing.T) {
	var claim corev1.PersistentVolumeClaim
	require.NoError(t, g.host.Get(t.Context(), client.ObjectKey{Namespace: g.namespace, Name: "fellowship-federation-apiserver-etcd-claim"}, &claim))
	require.Equal(t, "20Gi", claim.Spec.Resources.Requests.Storage().String())
	require.Equal(t, "fast", *claim.Spec.StorageClassName)
	require.Equal(t, "federated-cluster", claim.Labels["app"])
	require.Equal(t, corev1.ClaimBound, claim.Status.Phase)
}

func (g *guided) hasNoClaim(t *testing.T) {
	require.Empty(t, g.kubectl(t, "get", "persistentvolumeclaims", "-o", "name"))
	g.startedWith(t, "etcd")
}

func (g *guided) isInEtcd(t *testing.T) {
	require.Empty(t, g.kubectl(t, "get", "statefulsets,persistentvolumeclaims", "-o", "name"))
	g.requireArguments(t, "apiserver", "--etcd-servers=http://etcd."+g.namespace+".svc:2379")
	require.Contains(t, g.inEtcd(t, "/federation/fellowship/", "--keys-only"), "/federation/fellowship/namespaces/default")
}

// inEtcd gives what somebody else's etcd has below a prefix.
func (g *guided) inEtcd(t *testing.T, prefix string, more ...string) string {
	t.Helper()
	return g.kubectl(t, append([]string{"exec", "deployment/etcd", "--", "etcdctl", "get", "--prefix", prefix}, more...)...)
}

// servesZone asks the federation's name server for the zone.
func (g *guided) servesZone(t *testing.T) {
	g.requireArguments(t, "controller-manager", "--dns-provider=coredns", "--zone-name=example.com.")
	host, port, err := net.SplitHostPort(g.nameservers(t))
	require.NoError(t, err)
	clusters.EventuallySeen(t, time.Minute, "the zone's SOA record", func() (bool, string) {
		out, _ := exec.CommandContext(t.Context(), "dig", "@"+host, "-p", port, "+short", "+time=2", "+tries=2", "example.com", "SOA").CombinedOutput()
		return strings.HasPrefix(string(out), "ns.dns.example.com."), string(out)
	})
}

func (g *guided) hasCoreDNSConfig(t *testing.T) {
	require.Contains(t, string(g.secret(t, "fellowship-dns-provider").Data["provider.conf"]), "etcd-endpoints = "+g.etcdServer()+"\n")
	require.Equal(t, "192.0.2.53:53", g.nameservers(t), "the members are not told of coredns-endpoints")
}

// hasTriedGoogle sees that a record was written into the zone, and deleted, with the key beside the configuration.
func (g *guided) hasTriedGoogle(t *testing.T) {
	require.GreaterOrEqual(t, g.google.Of(cloud.CreateChange), 2)
	require.Contains(t, g.secret(t, "fellowship-dns-provider").Data, "key.json")
}

// letsIn logs in with curl, as a context of the federation's kubeconfig does, and as nobody.
func letsIn(context string) look {
	return func(g *guided, t *testing.T) {
		config := g.login(t, context)
		require.Equal(t, "200", g.curl(t, config))
		wrong := rest.CopyConfig(config)
		if context == basicAuthContext {
			wrong.Password += "x"
		} else {
			wrong.BearerToken += "x"
		}
		require.Equal(t, "401", g.curl(t, wrong))
	}
}

func (g *guided) refusesAnonymous(t *testing.T) {
	g.requireArguments(t, "apiserver", "--anonymous-auth=false", "--v=4")
	require.Equal(t, "401", g.curl(t, rest.AnonymousClientConfig(g.login(t, g.name))), "an anonymous user is known, and forbidden something")
}

// curl asks for what only an administrator may see, and gives the status that the API answers with. What is secret goes by a file.
func (g *guided) curl(t *testing.T, config *rest.Config) string {
	t.Helper()
	server, err := url.Parse(config.Host)
	require.NoError(t, err)
	options := fmt.Sprintf("url = %q\nconnect-to = %q\ncacert = %q\n",
		"https://"+config.ServerName+"/api/v1/namespaces/kube-system/secrets?limit=1", "::"+server.Host, g.write(t, string(config.CAData)))
	if config.Username != "" {
		options += fmt.Sprintf("user = %q\n", config.Username+":"+config.Password)
	}
	if config.BearerToken != "" {
		options += fmt.Sprintf("header = %q\n", "Authorization: Bearer "+config.BearerToken)
	}
	var said bytes.Buffer
	command := exec.CommandContext(t.Context(), "curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "30", "--output", os.DevNull, "--write-out", "%{http_code}", "--config", g.write(t, options))
	command.Stderr = &said
	status, err := command.Output()
	require.NoError(t, err, "curl at %s: %s", config.Host, said.String())
	return string(status)
}

// hasJoined sees that the federation finds a cluster Ready, at the address that it has.
func hasJoined(name string) look {
	return func(g *guided, t *testing.T) {
		g.waitForCluster(t, g.api, name, "True")
		if name == clusters.Host {
			return // whose address is that in the cluster
		}
		require.Equal(t, g.joining[name].Config.Host, g.cluster(t, name).Spec.ServerAddressByClientCIDRs[0].ServerAddress)
	}
}

func (g *guided) cluster(t *testing.T, name string) v1beta1.Cluster {
	t.Helper()
	var cluster v1beta1.Cluster
	require.NoError(t, g.api.Get(t.Context(), client.ObjectKey{Name: name}, &cluster))
	return cluster
}

func (g *guided) keeps11kingdom(t *testing.T) {
	require.Equal(t, "11kingdom", g.cluster(t, "noldor").Spec.SecretRef.Name)
	require.NotEmpty(t, g.secret(t, "11kingdom").Data["token"])
	require.NotContains(t, g.secretVersions(t), "noldor-federation-credentials")
}

func (g *guided) hasNoAccount(t *testing.T) {
	credentials := g.secret(t, "gondor-federation-credentials").Data
	require.NotEmpty(t, credentials["kubeconfig"])
	require.Empty(t, credentials["token"])
	err := g.gondor.Get(t.Context(), client.ObjectKey{Namespace: v1beta1.NamespaceFederationSystem, Name: "gondor-fellowship"}, &corev1.ServiceAccount{})
	require.True(t, apierrors.IsNotFound(err), "the account in the member: %v", err)
}

// federatesNoServices makes a Service, then a ConfigMap: when the latter is in the members, the former would be.
func (g *guided) federatesNoServices(t *testing.T) {
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "ring"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
	data := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "ring"}}
	require.NoError(t, g.api.Create(t.Context(), service.DeepCopy()))
	require.NoError(t, g.api.Create(t.Context(), data.DeepCopy()))
	for _, member := range g.members() {
		waitThere(t, member, data.DeepCopy())
		err := member.Get(t.Context(), client.ObjectKeyFromObject(service), &corev1.Service{})
		assert.True(t, apierrors.IsNotFound(err), "the Service in %s: %v", member.Name, err)
	}
	g.api.Kubectl(t, "delete", "service/ring", "configmap/ring", "--timeout=1m")
	for _, member := range g.members() {
		waitGone(t, member, data)
	}
}

// keepsRecords makes a Service of type LoadBalancer: its record is where records are read, and goes with the Service.
func keepsRecords(name string, read func(*guided, *testing.T) string) look {
	return func(g *guided, t *testing.T) {
		member := g.joining[name]
		require.NotContains(t, read(g, t), "nginx")
		g.apply(t, g.api, nginx)
		t.Cleanup(func() {
			_, _ = member.Run(t, "kubectl", "--namespace", "default", "delete", "service/nginx", "deployment/nginx", "--ignore-not-found")
		})
		_, balancer := service(t, member, "nginx")
		clusters.EventuallySeen(t, 2*time.Minute, "the record of nginx with "+balancer, func() (bool, string) {
			records := read(g, t)
			return strings.Contains(records, "nginx") && strings.Contains(records, balancer), records
		})
		g.api.Kubectl(t, "--namespace", "default", "delete", "service/nginx", "deployment/nginx", "--timeout=2m")
		clusters.EventuallySeen(t, time.Minute, "the record of nginx gone", func() (bool, string) {
			records := read(g, t)
			return !strings.Contains(records, "nginx"), records
		})
	}
}

func (g *guided) recordsInEtcd(t *testing.T) string {
	return g.inEtcd(t, "/skydns/com/example/svc/fellowship/")
}

func recordsIn(zone func(*guided) *cloud.Zone) func(*guided, *testing.T) string {
	return func(g *guided, _ *testing.T) string { return strings.Join(zone(g).Text(), "\n") }
}

func (g *guided) googleZone() *cloud.Zone  { return g.google.Zones[0] }
func (g *guided) route53Zone() *cloud.Zone { return g.route53.Zones[0] }

// hasLeft sees that the federation knows a cluster no more, and that nothing of the federation is in it.
func hasLeft(name string) look {
	return func(g *guided, t *testing.T) {
		require.NotContains(t, g.clusterNames(t, g.api), "/"+name+"\n")
		require.NotContains(t, g.secretVersions(t), name+"-federation-credentials")
		g.joining[name].RequireUnchanged(t, g.before[g.joining[name]])
	}
}

// hasReleases sees which releases there are, and that there is nothing without one.
func hasReleases(names ...string) look {
	return func(g *guided, t *testing.T) {
		require.ElementsMatch(t, names, g.releases(t))
		if len(names) == 0 {
			require.Empty(t, g.kubectl(t, "get", "deployments,statefulsets,services,jobs,persistentvolumeclaims", "-o", "name"))
			return
		}
		require.Empty(t, strings.TrimSpace(g.clusterNames(t, g.api)))
	}
}

// isSaid sees that flags which nothing stands for are said one by one, and no secret that is given with them.
func isSaid(flags string) look {
	return func(g *guided, t *testing.T) {
		for _, flag := range flagsOf(flags) {
			assert.Regexp(t, `--`+flag+`(=\S+)? is not translated: `, g.said)
		}
		assert.NotContains(t, g.said, "mellon")
	}
}
