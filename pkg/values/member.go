package values

// Member holds the values of the chart federation-member. The release's name is the cluster's, unless clusterName says otherwise.
type Member struct {
	// Set by a parent chart for all its charts.
	Global Global `json:"global"`
	// For parent charts that turn this one on and off; this chart does not read it.
	Enabled *bool `json:"enabled,omitempty"`
	// Names of image pull Secrets for every pod.
	ImagePullSecrets []string `json:"imagePullSecrets"`
	// Namespace of everything that the chart makes, if it is not the release's; it has to be there already. Control plane and members share it.
	NamespaceOverride string `json:"namespaceOverride" jsonschema:"maxLength=63,pattern=^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$"`
	// Objects to install beside the chart's own, each an object or a text, with templates in them as in a chart.
	ExtraObjects []ExtraObject `json:"extraObjects"`
	// Labels added to every object.
	CommonLabels map[string]string `json:"commonLabels"`
	// Annotations added to every object.
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	// Name of the cluster in the federation, an RFC 1035 label; empty means the release's name.
	ClusterName string `json:"clusterName" jsonschema:"maxLength=40,pattern=^([a-z]([-a-z0-9]*[a-z0-9])?)?$"`
	// Name of the federation to join; empty means the only one in the release's namespace.
	Federation string `json:"federation" jsonschema:"maxLength=40,pattern=^([a-z]([-a-z0-9]*[a-z0-9])?)?$"`
	// How fedhook reaches the member to join it. With nothing given, the Secret `<cluster>-kubeconfig` is used.
	Credentials Credentials `json:"credentials"`
	// What the federation is in the member.
	ServiceAccount ServiceAccount `json:"serviceAccount"`
	// Name of the Secret that keeps the credentials the federation uses from then on, an RFC 1123 subdomain;
	// empty means `<cluster>-federation-credentials` (kubefed's --secret-name).
	SecretName string `json:"secretName" jsonschema:"maxLength=253,pattern=^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$"`
	// Address of the member's API as the host cluster sees it, `https://host:port`; empty means the kubeconfig's.
	Server string `json:"server" jsonschema:"pattern=^(https://.+)?$"`
	// Clients the address is for, as a CIDR.
	ClientCIDR string `json:"clientCIDR" jsonschema:"pattern=^[0-9a-fA-F:.]+/[0-9]+$"`
	// Labels of the Cluster object, which placement selects by.
	Labels map[string]string `json:"labels"`
	// Annotations of the Cluster object.
	Annotations map[string]string `json:"annotations"`
	// Region of the cluster; empty means that of its nodes' topology labels.
	Region string `json:"region"`
	// Zones of the cluster; empty means those of its nodes' topology labels.
	Zones []string `json:"zones"`
	// What the member's own DNS is told of the federation.
	ClusterDNS ClusterDNS `json:"clusterDNS"`
	// How joining goes.
	Join Join `json:"join"`
	// How uninstalling the release lets the cluster go.
	Unjoin Unjoin `json:"unjoin"`
	// The Jobs that join and let go.
	Hooks Hooks `json:"hooks"`
}

// Credentials is how fedhook reaches the member; one of kubeconfig, existingSecret and inCluster.
type Credentials struct {
	// A self-contained kubeconfig: `--set-file credentials.kubeconfig=…`. It stays in the release's values, which Helm keeps in a Secret.
	Kubeconfig string `json:"kubeconfig"`
	// Name of a Secret with a kubeconfig, in the release's namespace.
	ExistingSecret string `json:"existingSecret"`
	// Key of the kubeconfig in that Secret.
	Key string `json:"key" jsonschema:"minLength=1,maxLength=253,pattern=^[-._a-zA-Z0-9]+$"`
	// Context of the kubeconfig; empty means the one named like the cluster, or else the only one (kubefed's --cluster-context).
	Context string `json:"context"`
	// The host cluster joins its own federation; no kubeconfig is needed.
	InCluster bool `json:"inCluster"`
}

// ServiceAccount is what the federation is in the member.
type ServiceAccount struct {
	// Whether the federation gets a service account of its own in the member. Without it the federation uses the given credentials themselves for as long as they are valid, and has no
	// account, role or namespace there (kubefed's --credentials-kubeconfig).
	Create bool `json:"create"`
}

// ClusterDNS is what the member's kube-dns or CoreDNS is told.
type ClusterDNS struct {
	// Where it is written: auto finds out, and on EKS and OpenShift only logs what to add by hand; kube-dns merges into its ConfigMap; coredns-custom writes a key of its own; coredns writes a
	// marked block of the Corefile; none leaves the member's DNS alone.
	Mode string `json:"mode" jsonschema:"enum=auto,enum=kube-dns,enum=coredns-custom,enum=coredns,enum=none"`
	// DNS domain of the member.
	ClusterDomain string `json:"clusterDomain" jsonschema:"minLength=1"`
	// A Go template of the CoreDNS text, for platforms with a shape of their own; empty means the built-in one.
	Template string `json:"template"`
}

// Join is how joining goes.
type Join struct {
	// Seconds to wait for the federation where there is none yet, since its control plane may be installed at the same time; 0 does not wait.
	FederationTimeoutSeconds int32 `json:"federationTimeoutSeconds" jsonschema:"minimum=0,maximum=240"`
	// Seconds to wait until the federation finds the cluster Ready.
	ReadyTimeoutSeconds int32 `json:"readyTimeoutSeconds" jsonschema:"minimum=0,maximum=240"`
}

// Unjoin is how a cluster is let go.
type Unjoin struct {
	// Whether uninstalling the release lets the cluster go; without it, the Cluster and all it brought stay.
	Enabled bool `json:"enabled"`
	// Orphan leaves in the member what the federation put there, Delete removes it.
	Policy string `json:"policy" jsonschema:"enum=Orphan,enum=Delete"`
	// Whether anything left behind makes `helm uninstall` fail.
	Strict bool `json:"strict"`
	// Seconds to wait for a member that does not answer.
	TimeoutSeconds int32 `json:"timeoutSeconds" jsonschema:"minimum=1,maximum=240"`
}

// DefaultMember gives the defaults of the chart. Where kubefed had a default, it holds.
func DefaultMember() Member {
	return Member{
		Credentials:    Credentials{Key: "kubeconfig"},
		ServiceAccount: ServiceAccount{Create: true},
		ClientCIDR:     "0.0.0.0/0",
		ClusterDNS:     ClusterDNS{Mode: "auto", ClusterDomain: "cluster.local"},
		Join:           Join{FederationTimeoutSeconds: 60, ReadyTimeoutSeconds: 120},
		Unjoin:         Unjoin{Enabled: true, Policy: "Orphan", TimeoutSeconds: 60},
		Hooks:          defaultHooks(),
	}
}
