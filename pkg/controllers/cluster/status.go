package cluster

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
)

// newStatus is a cluster's status after a probe that is to be reported. What
// the probe did not tell stays as it was.
func newStatus(cluster *v1beta1.Cluster, r result) v1beta1.ClusterStatus {
	status := *cluster.Status.DeepCopy()
	status.ObservedGeneration = cluster.Generation

	ready, offline := conditions(r)
	for _, c := range []metav1.Condition{ready, offline} {
		c.ObservedGeneration = cluster.Generation
		meta.SetStatusCondition(&status.Conditions, c)
	}
	switch {
	case ready.Status == metav1.ConditionTrue:
		status.Phase = v1beta1.ClusterPhaseReady
	case offline.Status == metav1.ConditionTrue:
		status.Phase = v1beta1.ClusterPhaseOffline
	default:
		status.Phase = v1beta1.ClusterPhaseNotReady
	}

	if r.version != nil {
		status.Version = *r.version
	}
	if r.listed {
		status.Region, status.Zones = topology(r.nodes)
	}
	// The spec's word is final, also for a member that cannot be asked.
	if cluster.Spec.Region != "" {
		status.Region = cluster.Spec.Region
	}
	if len(cluster.Spec.Zones) > 0 {
		status.Zones = slices.Compact(slices.Sorted(slices.Values(cluster.Spec.Zones)))
	}
	status.ZoneNames = strings.Join(status.Zones, ",")
	return status
}

// conditions are v1's table: a member that answers ok is Ready, one that
// answers something else is not Ready and not Offline, one that does not answer
// is Offline. Ours adds that an Offline member's readiness is Unknown, as for
// nodes, and that nobody knows whether a member is Offline that cannot be asked.
func conditions(r result) (ready, offline metav1.Condition) {
	ready = metav1.Condition{Type: v1beta1.ClusterReady, Status: metav1.ConditionFalse, Reason: r.reason, Message: r.message}
	offline = metav1.Condition{Type: v1beta1.ClusterOffline, Status: metav1.ConditionFalse,
		Reason: v1beta1.ReasonClusterReachable, Message: v1beta1.MessageClusterReachable}
	switch r.reason {
	case v1beta1.ReasonClusterReady:
		ready.Status = metav1.ConditionTrue
	case v1beta1.ReasonClusterNotReachable:
		ready.Status = metav1.ConditionUnknown
		offline.Status, offline.Reason, offline.Message = metav1.ConditionTrue, r.reason, r.message
	case v1beta1.ReasonCredentialsMissing, v1beta1.ReasonCredentialsInvalid, v1beta1.ReasonAddressInvalid:
		offline.Status, offline.Reason = metav1.ConditionUnknown, v1beta1.ReasonNotProbed
		offline.Message = "the cluster cannot be asked: see condition Ready"
	}
	return ready, offline
}
