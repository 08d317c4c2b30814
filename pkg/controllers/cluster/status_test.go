package cluster

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
)

// v1's table, and what it lacked.
func TestConditions(t *testing.T) {
	for _, test := range []struct {
		result         result
		phase          v1beta1.ClusterPhase
		ready, offline metav1.ConditionStatus
		offlineReason  string
		offlineMessage string
	}{
		{result{reason: v1beta1.ReasonClusterReady, message: "/healthz responded with ok"}, v1beta1.ClusterPhaseReady,
			metav1.ConditionTrue, metav1.ConditionFalse, "ClusterReachable", "cluster is reachable"},
		{result{reason: v1beta1.ReasonClusterNotReady, message: "m"}, v1beta1.ClusterPhaseNotReady,
			metav1.ConditionFalse, metav1.ConditionFalse, "ClusterReachable", "cluster is reachable"},
		{result{reason: v1beta1.ReasonClusterNotReachable, message: "cluster is not reachable: m"}, v1beta1.ClusterPhaseOffline,
			metav1.ConditionUnknown, metav1.ConditionTrue, "ClusterNotReachable", "cluster is not reachable: m"},
		{result{reason: v1beta1.ReasonCredentialsRefused, message: "m"}, v1beta1.ClusterPhaseNotReady,
			metav1.ConditionFalse, metav1.ConditionFalse, "ClusterReachable", "cluster is reachable"},
		{result{reason: v1beta1.ReasonCertificateInvalid, message: "m"}, v1beta1.ClusterPhaseNotReady,
			metav1.ConditionFalse, metav1.ConditionFalse, "ClusterReachable", "cluster is reachable"},
		{result{reason: v1beta1.ReasonCredentialsMissing, message: "m"}, v1beta1.ClusterPhaseNotReady,
			metav1.ConditionFalse, metav1.ConditionUnknown, "NotProbed", "the cluster cannot be asked: see condition Ready"},
		{result{reason: v1beta1.ReasonCredentialsInvalid, message: "m"}, v1beta1.ClusterPhaseNotReady,
			metav1.ConditionFalse, metav1.ConditionUnknown, "NotProbed", "the cluster cannot be asked: see condition Ready"},
		{result{reason: v1beta1.ReasonAddressInvalid, message: "m"}, v1beta1.ClusterPhaseNotReady,
			metav1.ConditionFalse, metav1.ConditionUnknown, "NotProbed", "the cluster cannot be asked: see condition Ready"},
	} {
		t.Run(test.result.reason, func(t *testing.T) {
			cluster := &v1beta1.Cluster{ObjectMeta: metav1.ObjectMeta{Generation: 7}}
			status := newStatus(cluster, test.result)
			require.Equal(t, test.phase, status.Phase)
			require.Equal(t, int64(7), status.ObservedGeneration)
			ready := meta.FindStatusCondition(status.Conditions, "Ready")
			require.Equal(t, test.ready, ready.Status)
			require.Equal(t, test.result.reason, ready.Reason)
			require.Equal(t, test.result.message, ready.Message)
			offline := meta.FindStatusCondition(status.Conditions, "Offline")
			require.Equal(t, test.offline, offline.Status)
			require.Equal(t, test.offlineReason, offline.Reason)
			require.Equal(t, test.offlineMessage, offline.Message)

			cluster.Status = status
			require.Equal(t, status, newStatus(cluster, test.result), "the same result must change nothing")
		})
	}
}

func TestStatusFacts(t *testing.T) {
	cluster := &v1beta1.Cluster{}
	well := result{reason: v1beta1.ReasonClusterReady, version: ptr.To("v1.37.2"), listed: true,
		nodes: []metav1.PartialObjectMetadata{node("west", "b"), node("west", "a")}}
	cluster.Status = newStatus(cluster, well)
	require.Equal(t, "v1.37.2", cluster.Status.Version)
	require.Equal(t, "west", cluster.Status.Region)
	require.Equal(t, []string{"a", "b"}, cluster.Status.Zones)

	// What a member no longer tells is still known.
	cluster.Status = newStatus(cluster, result{reason: v1beta1.ReasonClusterNotReachable})
	require.Equal(t, "v1.37.2", cluster.Status.Version)
	require.Equal(t, []string{"a", "b"}, cluster.Status.Zones)

	// The spec's word counts, each for itself.
	cluster.Spec.Zones = []string{"z", "y", "z"}
	status := newStatus(cluster, well)
	require.Equal(t, "west", status.Region)
	require.Equal(t, []string{"y", "z"}, status.Zones)
	require.Equal(t, "y,z", status.ZoneNames)
	cluster.Spec.Region = "east"
	require.Equal(t, "east", newStatus(cluster, well).Region)

	// Taken back, the labels count again; nodes without labels empty it.
	cluster.Spec.Region, cluster.Spec.Zones = "", nil
	status = newStatus(cluster, result{reason: v1beta1.ReasonClusterReady, listed: true})
	require.Empty(t, status.Region)
	require.Empty(t, status.Zones)
}
