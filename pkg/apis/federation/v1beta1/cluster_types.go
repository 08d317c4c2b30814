package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Cluster is a member of the federation. Its name is the member's name and the
// name of the Helm release that joined it: an RFC 1035 label.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.version`
// +kubebuilder:printcolumn:name="Region",type=string,JSONPath=`.status.region`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Zones",type=string,JSONPath=`.status.zoneNames`,priority=1
// +kubebuilder:printcolumn:name="Server",type=string,JSONPath=`.spec.serverAddressByClientCIDRs[0].serverAddress`,priority=1
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="a cluster's name must be an RFC 1035 label: at most 63 lower case letters, digits or '-', starting with a letter and ending with a letter or digit"
type Cluster struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says how to reach the member.
	// +required
	Spec ClusterSpec `json:"spec"`
	// Status is what the cluster controller last saw of the member.
	// +optional
	// +kubebuilder:default={phase: Unknown}
	Status ClusterStatus `json:"status,omitzero"`
}

// ClusterSpec says how to reach a member and what it is to the federation.
type ClusterSpec struct {
	// ServerAddressByClientCIDRs are the addresses of the member's API server.
	// A client takes the first entry whose clientCIDR contains the client's
	// own address.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	ServerAddressByClientCIDRs []ServerAddressByClientCIDR `json:"serverAddressByClientCIDRs"`

	// SecretRef names the Secret with the credentials for the member, in the
	// host cluster, in the control plane's namespace. It holds "token" and
	// "ca.crt", or "kubeconfig"; and optionally "tls-server-name".
	// +required
	SecretRef SecretReference `json:"secretRef"`

	// ClusterUID is the UID of the member's namespace kube-system, which tells
	// one cluster from another. join writes it, and refuses to join the same
	// cluster under a second name by it.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	ClusterUID string `json:"clusterUID,omitempty"`

	// Region of the member. Default: the topology.kubernetes.io/region label
	// of its nodes.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$`
	Region string `json:"region,omitempty"`

	// Zones of the member. Default: the topology.kubernetes.io/zone labels of
	// its nodes.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`
	Zones []string `json:"zones,omitempty"`

	// UnjoinPolicy says what becomes of the objects that the federation placed
	// in the member when the member leaves: Orphan leaves them, Delete removes
	// them.
	// +optional
	// +kubebuilder:default=Orphan
	UnjoinPolicy UnjoinPolicy `json:"unjoinPolicy,omitempty"`

	// ClusterDNS says where the member's own DNS is configured. join writes it
	// when it has told that DNS of the federation; from then on the controllers
	// keep it up to date. Without it they leave it alone.
	// +optional
	ClusterDNS *ClusterDNS `json:"clusterDNS,omitempty"`
}

// ClusterDNS is where and how a member's own DNS is told of the federation.
type ClusterDNS struct {
	// Mode is what join was told, or found out: never "auto".
	// +required
	Mode ClusterDNSMode `json:"mode"`

	// ClusterDomain is the DNS domain of the member.
	// +optional
	// +kubebuilder:default=cluster.local
	// +kubebuilder:validation:MaxLength=253
	ClusterDomain string `json:"clusterDomain,omitempty"`

	// Template is a Go template of the CoreDNS text; empty means the
	// built-in one.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	Template string `json:"template,omitempty"`
}

// ClusterDNSMode is a place where a member's own DNS is configured.
//
// +kubebuilder:validation:Enum=kube-dns;coredns-custom;coredns;none
type ClusterDNSMode string

const (
	// ClusterDNSKubeDNS is ConfigMap kube-system/kube-dns, into which our entries
	// are merged.
	ClusterDNSKubeDNS ClusterDNSMode = "kube-dns"
	// ClusterDNSCustom is a key of our own in ConfigMap
	// kube-system/coredns-custom.
	ClusterDNSCustom ClusterDNSMode = "coredns-custom"
	// ClusterDNSCoreDNS is a marked block of the Corefile in ConfigMap
	// kube-system/coredns.
	ClusterDNSCoreDNS ClusterDNSMode = "coredns"
	// ClusterDNSNone leaves the member's DNS alone.
	ClusterDNSNone ClusterDNSMode = "none"
)

// ServerAddressByClientCIDR is an address of a member's API server, and the
// clients that are to use it.
type ServerAddressByClientCIDR struct {
	// ClientCIDR is the range of the clients that use this address.
	// 0.0.0.0/0 and ::/0 both mean every client, whatever its IP family.
	// +optional
	// +kubebuilder:default="0.0.0.0/0"
	// +kubebuilder:validation:MaxLength=43
	// +kubebuilder:validation:XValidation:rule="isCIDR(self)",message="clientCIDR must be a range such as 0.0.0.0/0 or 10.0.0.0/8"
	ClientCIDR string `json:"clientCIDR,omitempty"`

	// ServerAddress is a URL https://host[:port][/path], or host[:port].
	// Plain http is refused: it would carry the token in the clear.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^(https://[^/\\\\s]+(/[^\\\\s]*)?|[^/\\\\s]*[^/:\\\\s])$')",message="serverAddress must be https://host:port or host:port"
	ServerAddress string `json:"serverAddress"`
}

// SecretReference names a Secret in the control plane's namespace of the host
// cluster.
type SecretReference struct {
	// Name of the Secret, an RFC 1123 subdomain.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name"`
}

// UnjoinPolicy says what becomes of the federation's objects in a member that
// leaves.
//
// +kubebuilder:validation:Enum=Orphan;Delete
type UnjoinPolicy string

const (
	// UnjoinPolicyOrphan leaves the federation's objects in the member.
	UnjoinPolicyOrphan UnjoinPolicy = "Orphan"
	// UnjoinPolicyDelete removes the federation's objects from the member.
	UnjoinPolicyDelete UnjoinPolicy = "Delete"
)

// ClusterStatus is what the cluster controller last saw of a member. It is
// written only when something changed: the time of the last probe is a metric.
type ClusterStatus struct {
	// Phase is the conditions in one word, for people (the STATUS column).
	// Programs read the conditions.
	// +optional
	Phase ClusterPhase `json:"phase,omitempty"`

	// Conditions are Ready, Offline, TypesServed and DNSConfigured.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Region is the spec's, or else the one that most nodes of the member are
	// labelled with.
	// +optional
	Region string `json:"region,omitempty"`

	// Zones are the spec's, or else all zones of the member's nodes, sorted.
	// +optional
	// +listType=set
	Zones []string `json:"zones,omitempty"`

	// ZoneNames are the zones in one word, for people (the ZONES column).
	// Programs read the zones.
	// +optional
	ZoneNames string `json:"zoneNames,omitempty"`

	// ClusterDNS is what the member's own DNS is set to now, as far as this
	// federation goes.
	// +optional
	ClusterDNS *ClusterDNSStatus `json:"clusterDNS,omitempty"`

	// Version is the member's Kubernetes version, such as v1.37.2.
	// +optional
	Version string `json:"version,omitempty"`

	// ObservedGeneration is the generation of the spec that this status is of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
}

// ClusterDNSStatus is what a member's own DNS knows of the federation. Domains
// have no trailing dot.
type ClusterDNSStatus struct {
	// Mode is where it is written; "none" means that nothing is.
	// +required
	Mode ClusterDNSMode `json:"mode"`

	// Zone is the federation's.
	// +optional
	Zone string `json:"zone,omitempty"`

	// Nearest is the domain of the level of the federation's DNS that is nearest
	// to the member: <zone>.<region>.<suffix>, <region>.<suffix> or <suffix>.
	// +optional
	Nearest string `json:"nearest,omitempty"`

	// Nameservers are asked for names of the zone, each "ip" or "ip:port"; none
	// for a zone in public DNS, or while they are not known.
	// +optional
	// +listType=atomic
	Nameservers []string `json:"nameservers,omitempty"`
}

// ClusterPhase is a Cluster's conditions in one word.
//
// +kubebuilder:validation:Enum=Ready;NotReady;Offline;Unknown
type ClusterPhase string

const (
	// ClusterPhaseReady means that condition Ready is True.
	ClusterPhaseReady ClusterPhase = "Ready"
	// ClusterPhaseNotReady means that the member answers but is not healthy, or
	// that it cannot be asked for lack of usable credentials; condition Ready
	// says which.
	ClusterPhaseNotReady ClusterPhase = "NotReady"
	// ClusterPhaseOffline means that the member does not answer: condition
	// Offline is True.
	ClusterPhaseOffline ClusterPhase = "Offline"
	// ClusterPhaseUnknown means that no controller has probed the member yet.
	ClusterPhaseUnknown ClusterPhase = "Unknown"
)

// Types of a Cluster's conditions.
const (
	// ClusterReady is True when the member's /healthz answered "ok", False when
	// it answered something else or cannot be asked, Unknown when it does not
	// answer.
	ClusterReady = "Ready"
	// ClusterOffline is True when the member does not answer, False when it
	// does, Unknown when it could not be asked.
	ClusterOffline = "Offline"
	// ClusterDNSConfigured is True when the member's own DNS knows the
	// federation as it is, False when somebody must act before it can. Clusters
	// of mode "none", and those not looked at yet, do not have it.
	ClusterDNSConfigured = "DNSConfigured"
	// ClusterTypesServed is True when the federation's API and the member's
	// serve all federated types, False when one of them lacks some, which the
	// message names.
	ClusterTypesServed = "TypesServed"
)

// Reasons of a Cluster's conditions. The first four are v1's.
const (
	// ReasonClusterReady is Ready=True's.
	ReasonClusterReady = "ClusterReady"
	// ReasonClusterNotReady says that /healthz answered something else than ok.
	ReasonClusterNotReady = "ClusterNotReady"
	// ReasonClusterReachable is Offline=False's.
	ReasonClusterReachable = "ClusterReachable"
	// ReasonClusterNotReachable says that the member does not answer.
	ReasonClusterNotReachable = "ClusterNotReachable"
	// ReasonCredentialsMissing says that there is no credentials Secret, or
	// that the controller may not read it.
	ReasonCredentialsMissing = "CredentialsMissing"
	// ReasonCredentialsInvalid says that the credentials Secret lacks a key or
	// that a key's value cannot be used.
	ReasonCredentialsInvalid = "CredentialsInvalid"
	// ReasonCredentialsRefused says that the member answered 401 or 403.
	ReasonCredentialsRefused = "CredentialsRefused"
	// ReasonCertificateInvalid says that the member's serving certificate is
	// signed by another CA, is for another name, or has expired.
	ReasonCertificateInvalid = "CertificateInvalid"
	// ReasonAddressInvalid says that no address of the spec is for this client.
	ReasonAddressInvalid = "AddressInvalid"
	// ReasonNotProbed is Offline=Unknown's.
	ReasonNotProbed = "NotProbed"
	// ReasonDNSConfigured is DNSConfigured=True's.
	ReasonDNSConfigured = "DNSConfigured"
	// ReasonDNSUnfit says that what the member's DNS has cannot take the
	// federation: a Corefile that somebody broke, in our block or elsewhere, an
	// entry of somebody else's in the way, a template that fails.
	ReasonDNSUnfit = "DNSUnfit"
	// ReasonDNSRefused says that the member's CoreDNS refused the text in a
	// trial.
	ReasonDNSRefused = "DNSRefused"
	// ReasonDNSForbidden says that the member's API refuses the change.
	ReasonDNSForbidden = "DNSForbidden"
	// ReasonTypesServed is TypesServed=True's.
	ReasonTypesServed = "TypesServed"
	// ReasonTypesNotServed is TypesServed=False's.
	ReasonTypesNotServed = "TypesNotServed"
)

// Messages of v1.
const (
	// MessageClusterReady is the message of Ready=True.
	MessageClusterReady = "/healthz responded with ok"
	// MessageClusterNotReady starts the message of Ready=False, ClusterNotReady.
	MessageClusterNotReady = "/healthz responded without ok"
	// MessageClusterReachable is the message of Offline=False.
	MessageClusterReachable = "cluster is reachable"
	// MessageClusterNotReachable starts the message of Offline=True.
	MessageClusterNotReachable = "cluster is not reachable"
)

// ClusterList is a list of Clusters.
//
// +kubebuilder:object:root=true
type ClusterList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Cluster `json:"items"`
}
