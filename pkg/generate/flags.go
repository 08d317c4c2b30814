package generate

// verbs are the commands of kubefed that have a flag.
type verbs int

const (
	onInit verbs = 1 << iota
	onJoin
	onUnjoin

	onAll = onInit | onJoin | onUnjoin
)

var byVerb = map[string]verbs{"init": onInit, "join": onJoin, "unjoin": onUnjoin}

// flag is a flag of kubefed and what becomes of it. It is one of three kinds: it has values, it decides about the release as a whole (where), or there is nothing like it (without).
type flag struct {
	name, short string
	on          verbs
	boolean     bool
	// values are those of the chart that it sets. A chart that lacks all of them is said to have none for the flag.
	values []string
	// parse makes the value from what was given; nil takes the text as it is, or for a boolean true or false.
	parse func(given string) (any, error)
	// special sets the values where that needs more than parse.
	special func(t *translation) error
	// where says what of the release the flag decides.
	where string
	// without says what is done instead, for a flag that no value stands for.
	without string
	// secret is for a flag whose text is never repeated.
	secret bool
}

// flags are all flags of kubefed, in the order of the charts' values. A flag's value is added or renamed here alone.
var flags = []flag{
	{name: "host-cluster-context", on: onAll, where: "the host cluster: Helm's --kube-context, a helmfile's kubeContext"},
	{name: "federation-system-namespace", on: onAll, where: "the releases' namespace"},
	{name: "kubeconfig", on: onAll, where: "the variable KUBECONFIG of what installs the releases"},
	{name: "context", on: onAll, special: federationContext, where: "the federation that is joined: the member's value federation"},

	{name: "image-pull-secrets", on: onInit, values: []string{"imagePullSecrets"}, parse: list},
	{name: "dns-zone-name", on: onInit, values: []string{"dns.zoneName"}},
	{name: "dns-provider", on: onInit, values: []string{"dns.provider"}, parse: oneOf("coredns", "google-clouddns", "aws-route53")},
	{name: "dns-provider-config", on: onInit, values: []string{"dns.existingSecret"}, special: providerConfig},
	{name: "image", on: onInit, values: []string{"apiServer.image", "controllerManager.image"}, special: componentImage},
	{name: "image-pull-policy", on: onInit, values: inComponents("image.pullPolicy"), parse: oneOf("Always", "IfNotPresent", "Never")},
	{name: "node-selector", on: onInit, values: inComponents("nodeSelector"), parse: pairs},
	{name: "apiserver-arg-overrides", on: onInit, values: []string{"apiServer.argOverrides"}, special: arguments("kube-apiserver", retiredFromAPIServer)},
	{name: "apiserver-enable-basic-auth", on: onInit, boolean: true, values: []string{"apiServer.basicAuth.enabled"}},
	{name: "apiserver-enable-token-auth", on: onInit, boolean: true, values: []string{"apiServer.tokenAuth.enabled"}},
	{name: "api-server-service-type", on: onInit, values: []string{"apiServer.service.type"}, special: serviceType},
	{name: "api-server-port", on: onInit, values: []string{"apiServer.service.nodePort"}, parse: port},
	{name: "api-server-advertise-address", on: onInit, values: []string{"apiServer.service.advertiseAddress"}},
	{name: "etcd-servers", on: onInit, values: []string{"etcd.external.servers"}, special: etcdServers},
	{name: "etcd-image", on: onInit, values: []string{"etcd.image"}, special: etcdImage},
	{name: "etcd-persistent-storage", on: onInit, boolean: true, values: []string{"etcd.persistence.enabled"}},
	{name: "etcd-pv-capacity", on: onInit, values: []string{"etcd.persistence.size"}},
	{name: "etcd-pv-storage-class", on: onInit, values: []string{"etcd.persistence.storageClass"}},
	{name: "controllermanager-arg-overrides", on: onInit, values: []string{"controllerManager.argOverrides"},
		special: arguments("federation-controller-manager", retiredFromControllerManager)},

	{name: "cluster-context", on: onJoin | onUnjoin, values: []string{"credentials.context"}, special: clusterContext},
	{name: "credentials-kubeconfig", on: onAll, values: []string{"serviceAccount.create"}, special: credentialsKubeconfig},
	{name: "secret-name", on: onJoin, values: []string{"secretName"}},

	{name: "dry-run", on: onInit | onJoin, boolean: true, without: "try it with `helm install --dry-run=server`, `helmfile diff` or `argocd app diff`"},

	// How kubefed itself reached the clusters.
	{name: "as", on: onAll, without: asAnother},
	{name: "as-group", on: onAll, without: asAnother},
	{name: "cluster", on: onAll, without: inKubeconfig},
	{name: "user", on: onAll, without: inKubeconfig},
	{name: "server", short: "s", on: onAll, without: inKubeconfig},
	{name: "certificate-authority", on: onAll, without: inKubeconfig},
	{name: "insecure-skip-tls-verify", on: onAll, boolean: true, without: inKubeconfig},
	{name: "client-certificate", on: onAll, without: inKubeconfig},
	{name: "client-key", on: onAll, without: inKubeconfig},
	{name: "token", on: onAll, secret: true, without: inKubeconfig},
	{name: "username", on: onAll, secret: true, without: inKubeconfig},
	{name: "password", on: onAll, secret: true, without: inKubeconfig},
	{name: "namespace", short: "n", on: onAll, without: "the federation's namespace was --federation-system-namespace"},
	{name: "request-timeout", on: onAll, without: "Helm's own is --timeout"},
	{name: "match-server-version", on: onAll, boolean: true, without: ofItself},
	{name: "cache-dir", on: onAll, without: ofItself},
	{name: "cloud-provider-gce-lb-src-cidrs", on: onAll, without: "a load balancer's clients are apiServer.service.loadBalancerSourceRanges"},

	// What kubefed itself wrote and printed.
	{name: "allow-missing-template-keys", on: onJoin, boolean: true, without: ofItself},
	{name: "generator", on: onJoin, without: ofItself},
	{name: "no-headers", on: onJoin, boolean: true, without: ofItself},
	{name: "output", short: "o", on: onJoin, without: ofItself},
	{name: "save-config", on: onJoin, boolean: true, without: ofItself},
	{name: "show-all", short: "a", on: onJoin, boolean: true, without: ofItself},
	{name: "show-labels", on: onJoin, boolean: true, without: ofItself},
	{name: "sort-by", on: onJoin, without: ofItself},
	{name: "template", on: onJoin, without: ofItself},
	{name: "validate", on: onJoin, boolean: true, without: ofItself},
	{name: "alsologtostderr", on: onAll, boolean: true, without: ofItself},
	{name: "log-backtrace-at", on: onAll, without: ofItself},
	{name: "log-dir", on: onAll, without: ofItself},
	{name: "log-flush-frequency", on: onAll, without: ofItself},
	{name: "logtostderr", on: onAll, boolean: true, without: ofItself},
	{name: "stderrthreshold", on: onAll, without: ofItself},
	{name: "v", short: "v", on: onAll, without: ofItself},
	{name: "vmodule", on: onAll, without: ofItself},
	{name: "help", short: "h", on: onAll, boolean: true, without: ofItself},
}

// Flags gives the names of all flags that a command of kubefed had, without --help, which changes nothing. verb is init, join or unjoin; another word has none.
func Flags(verb string) []string {
	var names []string
	for _, f := range flags {
		if f.on&byVerb[verb] != 0 && f.name != "help" {
			names = append(names, f.name)
		}
	}
	return names
}

const (
	ofItself     = "it was about kubefed itself"
	inKubeconfig = "Helm takes that from the kubeconfig: put it there"
	asAnother    = "Helm has --kube-as-user and --kube-as-group for it"
)

// inComponents gives a value of each component, and of the Jobs that serve them.
func inComponents(key string) []string {
	var all []string
	for _, section := range []string{"apiServer", "etcd", "kubeControllerManager", "controllerManager", "hooks"} {
		all = append(all, section+"."+key)
	}
	return all
}

// Flags of v1's components that today's would not start with. What stands after a flag is its successor, if it has one.
var (
	retiredFromAPIServer = map[string]string{
		"admission-control": "enable-admission-plugins", // it is still there, but not beside the chart's disable-admission-plugins
		"basic-auth-file":   "", "cloud-config": "", "cloud-provider": "", "deserialization-cache-size": "",
		"enable-swagger-ui": "", "etcd-quorum-read": "", "google-json-key": "", "kubelet-https": "", "repair-malformed-updates": "", "ssh-keyfile": "", "ssh-user": "",
		"experimental-encryption-provider-config": "encryption-provider-config", "experimental-keystone-ca-file": "", "experimental-keystone-url": "",
		"insecure-bind-address": "", "insecure-port": "", "master-service-namespace": "", "storage-versions": "", "target-ram-mb": "", "tls-ca-file": "",
		"alsologtostderr": "", "log-backtrace-at": "", "log-dir": "", "logtostderr": "", "stderrthreshold": "",
	}
	retiredFromControllerManager = map[string]string{
		"address": "metrics-bind-address", "port": "metrics-bind-address", "contention-profiling": "", "profiling": "",
		"concurrent-job-syncs": "concurrent-syncs", "concurrent-replicaset-syncs": "concurrent-syncs", "concurrent-service-syncs": "concurrent-syncs",
		"federated-api-burst": "", "federated-api-content-type": "", "federated-api-qps": "", "federation-only-namespace": "", "kube-api-content-type": "",
		"leader-elect-resource-lock": "", "master": "", "service-dns-suffix": "", "zone-id": "",
		"alsologtostderr": "", "log-backtrace-at": "", "log-dir": "", "log-flush-frequency": "", "logtostderr": "", "stderrthreshold": "", "vmodule": "",
	}
)
