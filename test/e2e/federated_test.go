//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/test/clusters"
)

// web is v1's example: nine replicas for the whole federation.
const web = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 9
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: "registry.k8s.io/pause:3.10.2"}]
`

const rings = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rings.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Ring, plural: rings}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {bearer: {type: string}}}}}}}]
`

// federated is a federation whose members are both joined, and its API.
type federated struct {
	*fellowship
	api           *clusters.Cluster
	gondor, shire *clusters.Cluster
}

func (f federated) members() []*clusters.Cluster { return []*clusters.Cluster{f.gondor, f.shire} }

// apply applies a manifest in a cluster.
func (f federated) apply(t *testing.T, to *clusters.Cluster, manifest string) {
	t.Helper()
	to.Kubectl(t, "apply", "-f", f.write(t, manifest))
}

// ready gives how many pods are Ready in a cluster by label app.
func ready(ctx context.Context, c *clusters.Cluster, app string) (int, error) {
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace("shop"), client.MatchingLabels{"app": app}); err != nil {
		return 0, err
	}
	n := 0
	for _, pod := range pods.Items {
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil {
				n++
			}
		}
	}
	return n, nil
}

// waitForPods waits until so many pods are Ready in each member, and the federation has counted them.
func (f federated) waitForPods(t *testing.T, gondor, shire int) {
	t.Helper()
	clusters.Eventually(t, 3*time.Minute, fmt.Sprintf("%d and %d pods", gondor, shire), func(ctx context.Context) (bool, error) {
		inGondor, err := ready(ctx, f.gondor, "web")
		if err != nil {
			return false, err
		}
		inShire, err := ready(ctx, f.shire, "web")
		if err != nil {
			return false, err
		}
		var whole appsv1.Deployment
		if err := f.api.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "web"}, &whole); err != nil {
			return false, err
		}
		if inGondor != gondor || inShire != shire || int(whole.Status.ReadyReplicas) != gondor+shire {
			return false, fmt.Errorf("gondor has %d, shire %d, the federation counts %d: %s", inGondor, inShire, whole.Status.ReadyReplicas, whole.Annotations[v1beta1.AnnotationClusters])
		}
		return true, nil
	})
}

func (f federated) patch(t *testing.T, to *clusters.Cluster, object client.Object, patch string) {
	t.Helper()
	require.NoError(t, to.Patch(t.Context(), object, client.RawPatch(types.MergePatchType, []byte(patch))))
}

// waitGone waits until an object is in a cluster no more, waitThere until it is.
func waitGone(t *testing.T, c *clusters.Cluster, object client.Object) {
	t.Helper()
	clusters.Eventually(t, 2*time.Minute, client.ObjectKeyFromObject(object).String()+" gone from "+c.Name, func(ctx context.Context) (bool, error) {
		err := c.Get(ctx, client.ObjectKeyFromObject(object), object.DeepCopyObject().(client.Object))
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
}

func waitThere(t *testing.T, c *clusters.Cluster, object client.Object) {
	t.Helper()
	clusters.Eventually(t, 2*time.Minute, client.ObjectKeyFromObject(object).String()+" in "+c.Name, func(ctx context.Context) (bool, error) {
		err := c.Get(ctx, client.ObjectKeyFromObject(object), object)
		return err == nil, err
	})
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
}

// TestFederatedObjects runs what is created in the federation in its members: real pods, which the federation counts.
func TestFederatedObjects(t *testing.T) {
	f := federated{fellowship: newFellowship(t, "helm4"), gondor: clusters.Open(t, clusters.Gondor), shire: clusters.Open(t, clusters.Shire)}
	before := map[*clusters.Cluster]clusters.Snapshot{f.gondor: f.gondor.TakeSnapshot(t), f.shire: f.shire.TakeSnapshot(t)}
	f.install(t, "--set", "controllerManager.clusterMonitorPeriod=2s", "--set", "controllerManager.argOverrides.unschedulable-after=10s",
		"--set", "controllerManager.forceAfter=15s", "--set", "controllerManager.federatedTypes={example.com/v1/rings}")
	f.api = f.fellowship.api(t)
	for _, member := range f.members() {
		f.join(t, member)
		f.waitForCluster(t, f.api, member.Name, "True")
		t.Cleanup(func() {
			_, _ = member.Run(t, "kubectl", "delete", "namespace/shop", "crd/rings.example.com", "--ignore-not-found")
		})
	}
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}
	prefer := func(t *testing.T, preferences string) {
		t.Helper()
		f.patch(t, f.api, deployment, fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1beta1.AnnotationDeploymentPreferences, preferences))
	}

	t.Run("nine replicas run in two members", func(t *testing.T) {
		f.apply(t, f.api, web)
		f.api.Kubectl(t, "rollout", "status", "deployment/web", "--namespace", "shop", "--timeout", "2m")
		require.Regexp(t, `web +9/9 +9 +9`, f.api.Kubectl(t, "get", "deployments", "--namespace", "shop"))
		gondor, err := ready(t.Context(), f.gondor, "web")
		require.NoError(t, err)
		require.Contains(t, []int{4, 5}, gondor)
		f.waitForPods(t, gondor, 9-gondor)
		require.Contains(t, f.api.Kubectl(t, "get", "events", "--namespace", "shop"), "CreateInCluster")
	})
	t.Run("weights, and a minimum and a maximum, move them", func(t *testing.T) {
		prefer(t, `{"rebalance":true,"clusters":{"gondor":{"weight":2},"shire":{"weight":1}}}`)
		f.waitForPods(t, 6, 3)
		prefer(t, `{"rebalance":true,"clusters":{"gondor":{"weight":2,"maxReplicas":2},"shire":{"weight":1}}}`)
		f.waitForPods(t, 2, 7)
		prefer(t, `{"rebalance":true,"clusters":{"gondor":{"weight":1,"minReplicas":5},"shire":{"weight":9}}}`)
		f.waitForPods(t, 5, 4)
	})
	t.Run("what a member has no room for runs in another", func(t *testing.T) {
		f.gondor.Kubectl(t, "cordon", "-l", "kubernetes.io/os=linux")
		t.Cleanup(func() { f.gondor.Kubectl(t, "uncordon", "-l", "kubernetes.io/os=linux") })
		prefer(t, `{"rebalance":true,"clusters":{"gondor":{"weight":2},"shire":{"weight":1}}}`)
		f.api.Kubectl(t, "scale", "deployment/web", "--namespace", "shop", "--replicas", "12")
		f.waitForPods(t, 5, 7) // 8 are asked of gondor, where three wait
		f.gondor.Kubectl(t, "uncordon", "-l", "kubernetes.io/os=linux")
		f.waitForPods(t, 8, 4)
		f.api.Kubectl(t, "scale", "deployment/web", "--namespace", "shop", "--replicas", "9")
		f.waitForPods(t, 6, 3)
	})
	t.Run("a custom resource", func(t *testing.T) {
		ring := f.write(t, `{apiVersion: example.com/v1, kind: Ring, metadata: {name: one, namespace: shop}, spec: {bearer: frodo}}`)
		for _, c := range append(f.members(), f.api) {
			f.apply(t, c, rings)
			clusters.Eventually(t, time.Minute, "rings to be served in "+c.Name, func(context.Context) (bool, error) {
				out, err := c.Run(t, "kubectl", "create", "--dry-run=server", "-f", ring)
				return err == nil, fmt.Errorf("%w: %s", err, out)
			})
		}
		f.api.Kubectl(t, "create", "-f", ring)
		for _, member := range f.members() {
			clusters.Eventually(t, 2*time.Minute, "the ring in "+member.Name, func(context.Context) (bool, error) {
				out, err := member.Run(t, "kubectl", "get", "ring/one", "--namespace", "shop", "-o", "jsonpath={.spec.bearer}")
				return out == "frodo", err
			})
		}
	})
	t.Run("deleted with its copies orphaned, it stays in the members", func(t *testing.T) {
		kept := configMap("kept")
		require.NoError(t, f.api.Create(t.Context(), kept.DeepCopy()))
		for _, member := range f.members() {
			waitThere(t, member, configMap("kept"))
		}
		f.api.Kubectl(t, "delete", "configmap/kept", "--namespace", "shop", "--cascade=orphan", "--timeout=1m")
		for _, member := range f.members() {
			require.NoError(t, member.Get(t.Context(), client.ObjectKeyFromObject(kept), kept))
			require.NotContains(t, kept.Labels, v1beta1.LabelFederated)
			require.Empty(t, kept.Annotations)
		}
	})
	t.Run("a deletion does not wait for ever for a member that is away, whose copy goes when it is back", func(t *testing.T) {
		lost := configMap("lost")
		require.NoError(t, f.api.Create(t.Context(), lost.DeepCopy()))
		for _, member := range f.members() {
			waitThere(t, member, configMap("lost"))
		}
		clusters.LocalCluster(t, "pause", f.shire.Name)
		resumed := false
		resume := func() {
			if !resumed {
				clusters.LocalCluster(t, "resume", f.shire.Name)
				resumed = true
			}
		}
		t.Cleanup(resume)
		f.waitForCluster(t, f.api, "shire", "Unknown")
		require.NoError(t, f.api.Delete(t.Context(), lost.DeepCopy()))
		waitGone(t, f.gondor, lost)
		waitGone(t, f.api, lost)
		resume()
		f.waitForCluster(t, f.api, "shire", "True")
		waitGone(t, f.shire, lost)
	})
	t.Run("a member that leaves with policy Delete takes nothing along", func(t *testing.T) {
		f.join(t, f.shire, "--set", "unjoin.policy=Delete")
		f.uninstall(t, "shire")
		waitGone(t, f.shire, deployment)
		f.waitForPods(t, 9, 0)
	})
	t.Run("a namespace is deleted with all that is in it", func(t *testing.T) {
		f.api.Kubectl(t, "delete", "namespace/shop", "--timeout=2m")
		waitGone(t, f.gondor, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
	})
	t.Run("nothing is left in the members", func(t *testing.T) {
		f.uninstall(t, "gondor")
		f.uninstall(t, f.name)
		for member, snapshot := range before {
			member.Kubectl(t, "delete", "namespace/shop", "crd/rings.example.com", "--ignore-not-found")
			member.RequireUnchanged(t, snapshot)
		}
	})
}
