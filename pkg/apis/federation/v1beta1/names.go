package v1beta1

// Labels that objects made by our programs carry. Never among them is
// app.kubernetes.io/instance: Argo CD tracks by that label and would prune them.
const (
	// LabelManagedBy is the standard label; its value is ManagedByFedhook.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	// ManagedByFedhook is the value of LabelManagedBy on what the hooks make.
	ManagedByFedhook = "fedhook"
	// LabelRelease is the Helm release that made the object.
	LabelRelease = "federation.fedhelm.dev/release"
	// LabelFederation is the federation's name.
	LabelFederation = "federation.fedhelm.dev/federation"
	// LabelFederated is put on the objects that the federation places in its
	// members; its value is the federation's name. unjoin with policy Delete
	// removes by it.
	LabelFederated = "federation.fedhelm.dev/federated-by"
)

// AnnotationCredentials on a Cluster makes the controller look at the
// credentials Secret at once when its value changes, not only at the next
// probe. join writes the Secret's resourceVersion.
const AnnotationCredentials = "federation.fedhelm.dev/credentials"

// Keys of a member's credentials Secret. It has either SecretKeyToken and
// SecretKeyCA (v1's service account form) or SecretKeyKubeconfig (v1's
// --credentials-kubeconfig form).
const (
	// SecretKeyToken holds a bearer token.
	SecretKeyToken = "token"
	// SecretKeyCA holds the PEM certificates that sign the member's API server.
	SecretKeyCA = "ca.crt"
	// SecretKeyKubeconfig holds a self-contained kubeconfig. Its current context
	// gives credentials and trust; the address comes from the Cluster.
	SecretKeyKubeconfig = "kubeconfig"
	// SecretKeyTLSServerName optionally holds the name to expect in the
	// member's serving certificate instead of the address's host.
	SecretKeyTLSServerName = "tls-server-name" //nolint:gosec // the name of a key
)

const (
	// NamespaceFederationSystem is the federation's namespace in its members,
	// and the one in the federation's API that holds its leases.
	NamespaceFederationSystem = "federation-system"
	// ControllerManager names the controllers' program: its user (the CN of its
	// client certificate) in the federation's API, its lease, its user agent.
	ControllerManager = "federation-controller-manager"
)

// MemberRole names the federation's ClusterRole in a member, and its binding;
// kubefed's name.
func MemberRole(cluster, federation string) string {
	return ControllerManager + ":" + federation + "-" + cluster + "-" + federation
}

// FederationConfigMap names the ConfigMap in which a control plane tells of its
// federation: keys "name", "dnsZone" and "nameservers", separated by commas.
func FederationConfigMap(federation string) string { return federation + "-federation" }

// NameserversConfigMap names the ConfigMap with the addresses of the
// federation's own DNS: key "nameservers", "ip:port" separated by spaces. It is
// missing, or the key is, while they are not known.
func NameserversConfigMap(federation string) string { return federation + "-nameservers" }

// Annotations that people put on federated objects: v1's keys and formats.
const (
	// AnnotationClusterSelector says by the Clusters' labels where an object
	// goes, see package placement.
	AnnotationClusterSelector = "federation.alpha.kubernetes.io/cluster-selector"
	// FederationOnly as AnnotationClusterSelector's value keeps the object in
	// the federation.
	FederationOnly = "federation.kubernetes.io/federation-control-plane=true"

	// Replica preferences by kind, see package planner. v1 had no StatefulSets.
	AnnotationDeploymentPreferences  = "federation.kubernetes.io/deployment-preferences"
	AnnotationReplicaSetPreferences  = "federation.kubernetes.io/replica-set-preferences"
	AnnotationStatefulSetPreferences = "federation.kubernetes.io/stateful-set-preferences"
	AnnotationJobPreferences         = "federation.kubernetes.io/job-preferences"
)

// What federation-controller-manager puts on federated objects, in the
// federation.
const (
	// Finalizer holds a federated object until its copies are gone or orphaned;
	// v1's name.
	Finalizer = "federation.kubernetes.io/delete-from-underlying-clusters"
	// AnnotationOrphan keeps in mind that an object is deleted with
	// --cascade=orphan, of which the garbage collector removes the trace.
	AnnotationOrphan = "federation.fedhelm.dev/orphan"
	// AnnotationServiceIngresses says in JSON by which addresses a Service is
	// reached in each cluster, see package dnsrecords; v1's key and format.
	AnnotationServiceIngresses = "federation.kubernetes.io/service-ingresses"
	// AnnotationClusters says in JSON where an object is:
	// {"gondor":{"generation":3},"shire":{"generation":2,"error":"…"}}.
	AnnotationClusters = "federation.fedhelm.dev/clusters"
)

// What federation-controller-manager puts on the copies in the members, beside
// LabelFederated.
const (
	// MarkApplied is the key of the hash of what was applied, among the labels or the annotations: see federatedtypes.Type.AppliedAmong.
	MarkApplied = "federation.fedhelm.dev/applied"
	// AnnotationSource is the UID of the federation (of its namespace
	// kube-system) that placed the copy. Copies of a federation that lost its
	// data are nobody's strays.
	AnnotationSource = "federation.fedhelm.dev/source"
)
