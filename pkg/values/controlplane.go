package values

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Images the control plane is made of, as `kubeadm config images list` names them for Kubernetes 1.37.2.
const (
	KubernetesVersion = "v1.37.2"
	etcdVersion       = "3.7.0-0"
	corednsVersion    = "v1.14.6"
)

// ControlPlane holds the values of the chart federation-control-plane. The release's name is the federation's.
type ControlPlane struct {
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
	// DNS domain of the host cluster.
	ClusterDomain string `json:"clusterDomain" jsonschema:"minLength=1"`
	// The federation's DNS zone, and the provider that hosts it.
	DNS DNS `json:"dns"`
	// The federation's API: a stock kube-apiserver.
	APIServer APIServer `json:"apiServer"`
	// The store behind the API.
	Etcd Etcd `json:"etcd"`
	// A stock kube-controller-manager with the few controllers that a federation's API needs (namespaces, garbage collection, tokens).
	KubeControllerManager ReplicatedComponent `json:"kubeControllerManager"`
	// federation-controller-manager: the controllers of the federation.
	ControllerManager ControllerManager `json:"controllerManager"`
	// The Jobs that make certificates, publish the address and clean up.
	Hooks Hooks `json:"hooks"`
	// The CronJob that renews certificates and follows a changed address.
	Keeper Keeper `json:"keeper"`
	// What happens to the members when the control plane is uninstalled.
	Teardown Teardown `json:"teardown"`
}

// ReplicatedComponent is a component that runs in several replicas.
type ReplicatedComponent struct {
	// How many pods run.
	Replicas int32 `json:"replicas" jsonschema:"minimum=1"`
	// How the pods are spread over nodes and zones; a constraint without a labelSelector counts the component's pods.
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints"`
	// What keeps some of the pods running while nodes are drained.
	PodDisruptionBudget PodDisruptionBudget `json:"podDisruptionBudget"`
	Component
}

// PodDisruptionBudget limits how many pods of a component with several replicas an eviction may take.
type PodDisruptionBudget struct {
	// Whether there is one when there are several pods; one alone is never held fast.
	Enabled bool `json:"enabled"`
	// How many of the pods may be away.
	MaxUnavailable int32 `json:"maxUnavailable" jsonschema:"minimum=1"`
}

// APIServer is the federation's API server.
type APIServer struct {
	ReplicatedComponent
	// How the API is reached.
	Service Service `json:"service"`
	// Names and addresses to add to the serving certificate.
	CertificateSANs []string `json:"certificateSANs"`
	// Login with a name and a password, for debugging.
	BasicAuth BasicAuth `json:"basicAuth"`
	// Login with a token from a file, for debugging.
	TokenAuth TokenAuth `json:"tokenAuth"`
}

// BasicAuth is the proxy beside the API server that takes names and passwords.
type BasicAuth struct {
	// Whether the API may be used with a name and a password, for debugging (kubefed's --apiserver-enable-basic-auth). kube-apiserver has not had that since 1.19: a proxy beside it checks
	// them, at a port of its own.
	Enabled bool `json:"enabled"`
	// Port of the API server's Service that leads to the proxy.
	Port int32 `json:"port" jsonschema:"minimum=1,maximum=65535"`
	// Its port on every node, with service types NodePort and LoadBalancer; 0 lets Kubernetes choose.
	NodePort int32 `json:"nodePort" jsonschema:"minimum=0,maximum=65535"`
	// Name of a Secret in the release's namespace with an htpasswd file of bcrypt hashes in key auth: each of its users is an administrator. What its keys username and password hold, if it
	// has them, goes into the administrator's kubeconfig. Empty means Secret `<federation>-apiserver-basic-auth`, which the hooks make, and make anew when it is deleted.
	ExistingSecret string `json:"existingSecret"`
	// Requests and limits of the proxy's container.
	Resources corev1.ResourceRequirements `json:"resources"`
}

// TokenAuth is kube-apiserver's file of tokens.
type TokenAuth struct {
	// Whether the API may be used with a token that does not end, for debugging (kubefed's --apiserver-enable-token-auth).
	Enabled bool `json:"enabled"`
	// Name of a Secret in the release's namespace with a file for kube-apiserver's --token-auth-file in key token.csv. What its key token holds, if it has it, goes into the administrator's
	// kubeconfig. Empty means Secret `<federation>-apiserver-token`, which the hooks make, and make anew when it is deleted.
	ExistingSecret string `json:"existingSecret"`
}

// Service is the Service in front of the API server.
type Service struct {
	// LoadBalancer (kubefed's default), NodePort or ClusterIP. The chart's own DNS has a Service and a type of its own, dns.server.service.type.
	Type string `json:"type" jsonschema:"enum=LoadBalancer,enum=NodePort,enum=ClusterIP"`
	// Port of the Service.
	Port int32 `json:"port" jsonschema:"minimum=1,maximum=65535"`
	// Port on every node, with types NodePort and LoadBalancer; 0 lets Kubernetes choose (kubefed's --api-server-port).
	NodePort int32 `json:"nodePort" jsonschema:"minimum=0,maximum=65535"`
	// Address to publish for the API, an IP or a host name (kubefed's --api-server-advertise-address). Empty means the load balancer's, or with type NodePort that of a node which
	// runs the API server. The port is that of the Service.
	AdvertiseAddress string `json:"advertiseAddress" jsonschema:"pattern=^([-.a-zA-Z0-9]*|[0-9a-fA-F.]*:[0-9a-fA-F.]*:[0-9a-fA-F:.]*)$"`
	// Annotations of the Service, for the cloud's load balancer.
	Annotations map[string]string `json:"annotations"`
	// Class of the load balancer.
	LoadBalancerClass string `json:"loadBalancerClass"`
	// Client ranges the load balancer lets in, as CIDRs; empty means everybody who reaches it.
	LoadBalancerSourceRanges []string `json:"loadBalancerSourceRanges"`
	// Seconds to wait for the addresses of load balancers, this one's and the DNS's, before the address in the cluster is published instead; the keeper publishes later ones.
	AddressTimeoutSeconds int32 `json:"addressTimeoutSeconds" jsonschema:"minimum=0,maximum=240"`
}

// Etcd is the store of the federation's API.
type Etcd struct {
	Component
	// The volume of etcd's data.
	Persistence Persistence `json:"persistence"`
	// An etcd of yours, in place of the chart's own.
	External ExternalEtcd `json:"external"`
}

// Persistence is the volume claim of etcd.
type Persistence struct {
	// Whether etcd's data is kept in a volume claim; without one the federation's objects last as long as etcd's pod.
	Enabled bool `json:"enabled"`
	// Size of the claim (kubefed's --etcd-pv-capacity).
	Size string `json:"size" jsonschema:"pattern=^[0-9]+(\\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?$"`
	// Storage class of the claim; empty means the cluster's default, "-" means none (kubefed's --etcd-pv-storage-class).
	StorageClass string `json:"storageClass"`
	// Name of a claim to use instead of the chart's own.
	ExistingClaim string `json:"existingClaim"`
	// Whether the claim, and the federation's objects in it, stay behind when the release is uninstalled.
	Keep bool `json:"keep"`
}

// ControllerManager is the federation's own controller manager.
type ControllerManager struct {
	ReplicatedComponent
	// Annotations of its ServiceAccount, by which clouds give a pod an identity for the DNS provider, such as eks.amazonaws.com/role-arn.
	ServiceAccountAnnotations map[string]string `json:"serviceAccountAnnotations"`
	// Time between two health checks of a member, at least 1s.
	ClusterMonitorPeriod string `json:"clusterMonitorPeriod" jsonschema:"pattern=^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"`
	// Failed checks in a row after which a member counts as not ready or offline.
	ClusterFailureThreshold int32 `json:"clusterFailureThreshold" jsonschema:"minimum=1"`
	// Good checks in a row after which it counts as ready again.
	ClusterSuccessThreshold int32 `json:"clusterSuccessThreshold" jsonschema:"minimum=1"`
	// Types to federate besides the defaults, each as group/version/resource, such as example.com/v1/rings; custom resources must be defined in the federation and in the members.
	FederatedTypes []string `json:"federatedTypes"`
	// Whether an object that a member already has is taken over by the federated object of that name, as in v1; otherwise it is left alone, and the conflict is reported.
	AdoptResources bool `json:"adoptResources"`
	// How long the deletion of a federated object waits for a member that is away.
	ForceAfter string `json:"forceAfter" jsonschema:"pattern=^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"`
}

// Keeper is the CronJob that keeps the federation going.
type Keeper struct {
	// Whether the keeper runs; without it certificates are renewed, and changed addresses published, by `helm upgrade` only.
	Enabled bool `json:"enabled"`
	// When it runs, in cron's format. It is how long a changed address of a load balancer may go unnoticed.
	Schedule string `json:"schedule" jsonschema:"minLength=6"`
}

// Teardown is what uninstalling the control plane does about its members.
type Teardown struct {
	// Whether members that are still joined are let go. Without it, uninstall the members first.
	Enabled bool `json:"enabled"`
	// Whether a member that cannot be let go, or DNS records that cannot be removed, make `helm uninstall` fail. Leave it unset where the DNS provider's identity is the pod's own, which
	// the hooks do not have.
	Strict bool `json:"strict"`
}

// DefaultControlPlane gives the defaults of the chart. Where kubefed had a default, it holds.
func DefaultControlPlane() ControlPlane {
	return ControlPlane{
		ClusterDomain: "cluster.local",
		DNS:           defaultDNS(),
		APIServer: APIServer{
			ReplicatedComponent: replicated(component("kube-apiserver", KubernetesVersion, requests("100m", "256Mi"))),
			Service:             Service{Type: "LoadBalancer", Port: 443, AddressTimeoutSeconds: 60},
			BasicAuth:           BasicAuth{Port: 8443, Resources: requests("10m", "32Mi")},
		},
		Etcd: Etcd{
			Component:   component("etcd", etcdVersion, requests("50m", "100Mi")),
			Persistence: Persistence{Enabled: true, Size: "10Gi"},
		},
		KubeControllerManager: replicated(component("kube-controller-manager", KubernetesVersion, requests("10m", "64Mi"))),
		ControllerManager: ControllerManager{
			ReplicatedComponent: replicated(Component{
				Image:     ownImage("federation-controller-manager"),
				Resources: requests("10m", "64Mi"),
				Probes:    Probes{PeriodSeconds: 10, TimeoutSeconds: 5, FailureThreshold: 6},
			}),
			ClusterMonitorPeriod:    "40s",
			ClusterFailureThreshold: 3,
			ClusterSuccessThreshold: 1,
			AdoptResources:          true,
			ForceAfter:              "10m",
		},
		Hooks:    defaultHooks(),
		Keeper:   Keeper{Enabled: true, Schedule: "*/10 * * * *"},
		Teardown: Teardown{Enabled: true},
	}
}

// replicated is a component whose pods are on different nodes, if there are several and it can be, and of which a drain takes one at a time.
func replicated(c Component) ReplicatedComponent {
	return ReplicatedComponent{
		Replicas:                  1,
		TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway}},
		PodDisruptionBudget:       PodDisruptionBudget{Enabled: true, MaxUnavailable: 1},
		Component:                 c,
	}
}

func component(repository, tag string, resources corev1.ResourceRequirements) Component {
	return Component{
		Image:     Image{Registry: "registry.k8s.io", Repository: repository, Tag: tag, PullPolicy: "IfNotPresent"},
		Resources: resources,
		Probes:    Probes{PeriodSeconds: 10, TimeoutSeconds: 15, FailureThreshold: 6},
	}
}

func ownImage(name string) Image {
	return Image{Registry: "ghcr.io", Repository: "fedhelm/" + name, PullPolicy: "IfNotPresent"}
}

func requests(cpu, memory string) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{Requests: corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse(cpu),
		corev1.ResourceMemory: resource.MustParse(memory),
	}}
}

func defaultHooks() Hooks {
	return Hooks{
		Enabled:               true,
		Image:                 ownImage("fedhook"),
		Resources:             requests("10m", "32Mi"),
		PodAnnotations:        map[string]string{"sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled"},
		BackoffLimit:          2,
		ActiveDeadlineSeconds: 280,
	}
}
