package sync

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
)

func TestCopyOf(t *testing.T) {
	w := newWorld(t)
	const managed = `
  managedFields:
  - {manager: "federation-controller-manager:fellowship", operation: Apply, time: "2026-01-01T00:00:05Z", fieldsV1: {"f:spec": {"f:replicas": {}}}}
  - {manager: kubectl, operation: Update, time: "2026-01-01T00:00:07Z", fieldsV1: {"f:spec": {"f:paused": {}}}}
  - {manager: kubelet, operation: Update, subresource: status, time: "2026-01-01T00:00:09Z", fieldsV1: {"f:status": {}}}
  - {manager: "federation-controller-manager:fellowship", operation: Update, time: "2026-01-01T00:00:01Z", fieldsV1: {"f:metadata": {}}}
`
	c := copyOf(object(t, `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  uid: 1-2-3
  resourceVersion: "7"
  generation: 4
  creationTimestamp: "2026-01-01T00:00:00Z"
  labels: {app: web, federation.fedhelm.dev/applied: abc}
  annotations: {federation.fedhelm.dev/source: federation, more: x}`+managed+`
spec: {replicas: 5}
status: {readyReplicas: 3, observedGeneration: 3}`), w.kind("deployments").Type, w.manager())
	require.Equal(t, "shop/web 1-2-3 7 4", c.Namespace+"/"+c.Name+" "+string(c.UID)+" "+c.ResourceVersion+" 4")
	require.Equal(t, []string{"abc", "federation"}, []string{c.applied, c.source})
	require.Equal(t, []int64{5, -1, 3, 4}, []int64{c.amount, c.completions, c.ready, c.Generation})
	require.True(t, c.ownsReplicas)
	require.NotZero(t, c.owned)
	require.Equal(t, "00:00:05 00:00:07", c.ownedAt.UTC().Format(time.TimeOnly)+" "+c.changedAt.UTC().Format(time.TimeOnly), "a status is no change of the member's")
	require.False(t, c.observed())
	require.Empty(t, c.Labels, "there are many copies: what is not needed is not kept")
	require.Empty(t, c.Annotations)
	require.Empty(t, c.ManagedFields)

	// What belongs to us, by the order of time and otherwise alike, is the same; one field less is not.
	less := copyOf(object(t, `{metadata: {managedFields: [{manager: "federation-controller-manager:fellowship", operation: Apply, time: "2026-01-01T00:00:09Z", fieldsV1: {"f:spec": {"f:replicas": {}}}}]}}`), w.kind("deployments").Type, w.manager())
	require.Equal(t, c.owned, less.owned)
	less = copyOf(object(t, `{metadata: {managedFields: [{manager: "federation-controller-manager:fellowship", operation: Apply, time: "2026-01-01T00:00:05Z", fieldsV1: {"f:spec": {}}}]}}`), w.kind("deployments").Type, w.manager())
	require.NotEqual(t, c.owned, less.owned)
	require.False(t, less.ownsReplicas)

	for _, test := range []struct {
		resource, object           string
		amount, completions, ready int64
		status                     bool
	}{
		{"configmaps", `{metadata: {name: one}, data: {replicas: "5"}}`, -1, -1, 0, false},
		{"jobs", `{metadata: {name: one}, spec: {parallelism: 2, completions: 7}, status: {active: 2}}`, 2, 7, 0, true},
		{"jobs", `{metadata: {name: one}, spec: {parallelism: 2}}`, 2, -1, 0, false},
		{"horizontalpodautoscalers", `{metadata: {name: one}, spec: {minReplicas: 2, maxReplicas: 9}, status: {currentReplicas: 1}}`, 9, -1, 0, true},
		{"deployments", `{metadata: {name: one}}`, -1, -1, 0, false},
		{"daemonsets", `{metadata: {name: one}, spec: {}, status: {numberReady: 4}}`, -1, -1, 0, true},
		{"cronjobs", `{metadata: {name: one}, status: {active: []}}`, -1, -1, 0, false},
	} {
		c := copyOf(object(t, test.object), w.kind(test.resource).Type, w.manager())
		require.Equal(t, []int64{test.amount, test.completions, test.ready}, []int64{c.amount, c.completions, c.ready}, test.object)
		require.Equal(t, test.status, c.status != nil, test.object)
		require.False(t, c.ownsReplicas)
	}
}

func TestCopyTells(t *testing.T) {
	made := metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	for _, test := range []struct {
		status   string
		observed bool
		scaledAt string
	}{
		{`{}`, true, "00:00:00"},
		{`{observedGeneration: 2}`, false, "00:00:00"},
		{`{observedGeneration: 3, lastScaleTime: "2026-01-01T00:01:00Z"}`, true, "00:01:00"},
		{`{observedGeneration: 4, lastScaleTime: "yesterday"}`, true, "00:00:00"},
	} {
		c := &memberCopy{ObjectMeta: metav1.ObjectMeta{Generation: 3, CreationTimestamp: made}, status: object(t, test.status).Object}
		require.Equal(t, test.observed, c.observed(), test.status)
		require.Equal(t, test.scaledAt, c.scaledAt().UTC().Format(time.TimeOnly), test.status)
	}
}

func TestTransforms(t *testing.T) {
	w := newWorld(t)
	gone := cache.DeletedFinalStateUnknown{Key: "shop/web"}
	for _, transform := range []cache.TransformFunc{toCopy(w.kind("deployments").Type, w.manager()), toFederated} {
		same, err := transform(gone)
		require.NoError(t, err)
		require.Equal(t, gone, same)
	}
	kept, err := toCopy(w.kind("deployments").Type, w.manager())(object(t, `{metadata: {name: web}}`))
	require.NoError(t, err)
	require.Equal(t, "web", kept.(*memberCopy).Name)
	meta, err := toCopy(w.kind("configmaps").Type, w.manager())(&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "one", Annotations: map[string]string{v1beta1.MarkApplied: "abc"}}})
	require.NoError(t, err)
	require.Equal(t, "abc", meta.(*memberCopy).applied)
	again, err := toCopy(w.kind("configmaps").Type, w.manager())(meta)
	require.NoError(t, err)
	require.Same(t, meta, again)
	federated, err := toFederated(object(t, `{metadata: {name: web, managedFields: [{manager: kubectl}]}, spec: {a: b}}`))
	require.NoError(t, err)
	require.Equal(t, object(t, `{metadata: {name: web}, spec: {a: b}}`), federated)
}
