package member

import (
	"context"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/controllers/rbac"
)

// clusterRole is what the federation may do in the member: everything, and read all paths (kubefed granted /healthz alone).
func (j *join) clusterRole() *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: j.role()},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}},
			{NonResourceURLs: []string{"*"}, Verbs: []string{"get"}},
		},
	}
}

// ownerReference makes an object go when the ClusterRole does. It does not block the role's deletion, since that would need rights that
// not every cluster grants (OwnerReferencesPermissionEnforcement).
func ownerReference(role *rbacv1.ClusterRole) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole", Name: role.Name, UID: role.UID}
}

// inMember is the metadata of an object in the member's namespace that goes with the ClusterRole.
func (j *join) inMember(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: v1beta1.NamespaceFederationSystem, Name: name, OwnerReferences: j.owner}
}

// credentialsSecret is what the federation keeps of a member, in one of kubefed's forms: token and ca.crt, or with serviceAccount.create=false the given kubeconfig. The CA is the
// given kubeconfig's, which has been seen to verify the API's certificate. With neither it is but the record that a join has begun.
func (j *join) credentialsSecret(token []byte) *corev1.Secret {
	data := map[string][]byte{}
	if j.Values.ServiceAccount.Create {
		data[v1beta1.SecretKeyCA] = j.access.ca
		if len(token) > 0 {
			data[v1beta1.SecretKeyToken] = token
		}
		if j.access.serverName != "" {
			data[v1beta1.SecretKeyTLSServerName] = []byte(j.access.serverName)
		}
	} else {
		data[v1beta1.SecretKeyKubeconfig] = j.access.kubeconfig
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: j.Namespace, Name: j.secretName(),
			Annotations: map[string]string{annotationCluster: j.cluster, annotationServer: j.access.server, annotationState: stateJoined},
		},
		Type: corev1.SecretTypeOpaque,
		Data: data,
	}
}

// lentRole lets whoever is bound to it read the credentials Secret.
func (j *join) lentRole() *rbacv1.Role {
	return &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: j.Namespace, Name: j.secretName()},
		Rules:      rbac.CredentialsRules(j.secretName()),
	}
}

// lent are the objects that lend a credentials Secret to the federation, in the order in which they go, the Secret last.
func lent(namespace, name string) []client.Object {
	at := metav1.ObjectMeta{Namespace: namespace, Name: name}
	return []client.Object{&rbacv1.RoleBinding{ObjectMeta: at}, &rbacv1.Role{ObjectMeta: at}, &corev1.Secret{ObjectMeta: at}}
}

// clusterObject is the member in the federation. With dns the federation's controllers keep its DNS up to date.
func (j *join) clusterObject(dns *v1beta1.ClusterDNS) *v1beta1.Cluster {
	annotations := maps.Clone(j.Values.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[v1beta1.AnnotationCredentials] = j.credentials
	return &v1beta1.Cluster{
		ObjectMeta: metav1.ObjectMeta{Name: j.cluster, Labels: maps.Clone(j.Values.Labels), Annotations: annotations},
		Spec: v1beta1.ClusterSpec{
			ServerAddressByClientCIDRs: []v1beta1.ServerAddressByClientCIDR{{ClientCIDR: j.Values.ClientCIDR, ServerAddress: j.access.server}},
			SecretRef:                  v1beta1.SecretReference{Name: j.secretName()},
			ClusterUID:                 j.uid,
			Region:                     j.Values.Region,
			Zones:                      j.Values.Zones,
			UnjoinPolicy:               v1beta1.UnjoinPolicy(j.Values.Unjoin.Policy),
			ClusterDNS:                 dns,
		},
	}
}

func (j *join) readCluster(ctx context.Context) (*v1beta1.Cluster, error) {
	cluster := &v1beta1.Cluster{}
	if err := j.federationAPI.Get(ctx, client.ObjectKey{Name: j.cluster}, cluster); err != nil {
		return nil, fmt.Errorf("get Cluster %s of federation %s: %w", j.cluster, j.federation, err)
	}
	return cluster, nil
}

// readiness says whether the controllers have found the generation of a Cluster Ready, and if they have not, what they say.
func readiness(cluster *v1beta1.Cluster, generation int64) (bool, error) {
	ready := meta.FindStatusCondition(cluster.Status.Conditions, v1beta1.ClusterReady)
	switch {
	case ready == nil || ready.ObservedGeneration < generation:
		return false, fmt.Errorf("the federation's controllers have not asked it yet: see that Deployment %s-controller-manager of the control plane runs", cluster.Labels[v1beta1.LabelFederation])
	case ready.Status != metav1.ConditionTrue:
		return false, fmt.Errorf("%s: %s", ready.Reason, ready.Message)
	}
	return true, nil
}

// ownerOf gives the release that joined a Cluster; one made by hand has none.
func ownerOf(cluster *v1beta1.Cluster) string { return cluster.Labels[v1beta1.LabelRelease] }

// addressOf gives a Cluster's first address.
func addressOf(cluster *v1beta1.Cluster) string {
	if len(cluster.Spec.ServerAddressByClientCIDRs) == 0 {
		return ""
	}
	return cluster.Spec.ServerAddressByClientCIDRs[0].ServerAddress
}

func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }
