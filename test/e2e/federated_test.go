//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/test/clusters"
	"github.com/fedhelm/fedhelm/test/matrix"
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
		f.join(t, member, "--set", "labels.realm="+member.Name)
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

		// A ReplicaSet has its Deployment's annotations: one that changes with each apply would be written there each time.
		var sets appsv1.ReplicaSetList
		require.NoError(t, f.gondor.List(t.Context(), &sets, client.InNamespace("shop"), client.MatchingLabels{"app": "web"}))
		require.Len(t, sets.Items, 1)
		require.Contains(t, sets.Items[0].Annotations, v1beta1.AnnotationSource)
		require.NotContains(t, sets.Items[0].Annotations, v1beta1.MarkApplied)
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
	t.Run("what is changed by hand in a member is put right in seconds", func(t *testing.T) {
		f.gondor.Kubectl(t, "set", "image", "deployment/web", "web=registry.k8s.io/pause:drift", "--namespace", "shop")
		f.gondor.Kubectl(t, "scale", "deployment/web", "--replicas=1", "--namespace", "shop")
		start := time.Now()
		clusters.Eventually(t, 30*time.Second, "the Deployment as it was", func(ctx context.Context) (bool, error) {
			there := deployment.DeepCopy()
			err := f.gondor.Get(ctx, client.ObjectKeyFromObject(deployment), there)
			return err == nil && *there.Spec.Replicas == 6 && there.Spec.Template.Spec.Containers[0].Image == "registry.k8s.io/pause:3.10.2", err
		})
		t.Logf("healed after %s", time.Since(start).Round(10*time.Millisecond))
		f.waitForPods(t, 6, 3)
	})
	t.Run("v1's other examples run", f.others)
	t.Run("a selector moves a Secret", func(t *testing.T) {
		ring := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "ring"}}
		f.api.Kubectl(t, "create", "secret", "generic", "ring", "--from-literal=bearer=frodo", "--namespace", "shop")
		selector := func(text string) {
			t.Helper()
			f.api.Kubectl(t, "annotate", "secret/ring", "--overwrite", "--namespace", "shop", v1beta1.AnnotationClusterSelector+"="+text)
		}
		selector(`[{"key":"realm","operator":"In","values":["gondor"]}]`)
		waitThere(t, f.gondor, ring.DeepCopy())
		waitGone(t, f.shire, ring)
		f.api.Kubectl(t, "label", "cluster/shire", "realm=gondor", "--overwrite")
		waitThere(t, f.shire, ring.DeepCopy())
		f.api.Kubectl(t, "label", "cluster/shire", "realm=shire", "--overwrite")
		waitGone(t, f.shire, ring)
		selector(`[{"key":"realm","operator":"!=","values":["gondor"]}]`)
		waitThere(t, f.shire, ring.DeepCopy())
		waitGone(t, f.gondor, ring)
		selector(v1beta1.FederationOnly)
		waitGone(t, f.shire, ring)
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
		matrix.WholeOnly(t, "the packages' tests delete while a member is away too")
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
		matrix.WholeOnly(t, "the packages' tests leave with it too")
		f.join(t, f.shire, "--set", "labels.realm=shire", "--set", "unjoin.policy=Delete")
		f.uninstall(t, "shire")
		waitGone(t, f.shire, deployment)
		f.waitForPods(t, 9, 0)
	})
	t.Run("a namespace is deleted with all that is in it", func(t *testing.T) {
		f.api.Kubectl(t, "delete", "namespace/shop", "--timeout=2m")
		waitGone(t, f.gondor, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
	})
	t.Run("nothing is left in the members", func(t *testing.T) {
		for _, release := range []string{"gondor", "shire", f.name} {
			f.must(t, "uninstall", release, "--ignore-not-found", "--wait", "--timeout", "4m")
		}
		for member, snapshot := range before {
			member.Kubectl(t, "delete", "namespace/shop", "crd/rings.example.com", "--ignore-not-found")
			member.RequireUnchanged(t, snapshot)
		}
	})
}

// examples are v1's, of the types that are not tried by themselves. The Job's pods do something and end.
const examples = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: watcher, namespace: shop}
spec:
  selector: {matchLabels: {app: watcher}}
  template:
    metadata: {labels: {app: watcher}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: watcher, image: "registry.k8s.io/pause:3.10.2"}]}
---
apiVersion: v1
kind: Service
metadata: {name: store, namespace: shop}
spec: {clusterIP: None, selector: {app: store}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: store
  namespace: shop
  annotations: {federation.kubernetes.io/stateful-set-preferences: '{"rebalance":true,"clusters":{"gondor":{"weight":1},"shire":{"weight":3}}}'}
spec:
  serviceName: store
  replicas: 4
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: store}}
  template:
    metadata: {labels: {app: store}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: store, image: "registry.k8s.io/pause:3.10.2"}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: count, namespace: shop}
spec:
  parallelism: 2
  completions: 5
  template:
    spec: {restartPolicy: Never, containers: [{name: count, image: "FEDHOOK", args: [version]}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: clock, namespace: shop}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec:
      template:
        spec: {restartPolicy: Never, containers: [{name: clock, image: "FEDHOOK", args: [version]}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: gate, namespace: shop}
spec: {defaultBackend: {service: {name: store, port: {number: 80}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: scaled, namespace: shop}
spec:
  replicas: 4
  selector: {matchLabels: {app: scaled}}
  template:
    metadata: {labels: {app: scaled}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: scaled, image: "registry.k8s.io/pause:3.10.2"}]}
`

const autoscaler = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: scaled, namespace: shop}
spec:
  minReplicas: 2
  maxReplicas: 10
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: scaled}
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
`

// others creates one of each other type and sees it at work in both members, and what the federation says of it.
func (f federated) others(t *testing.T) {
	fedhook := strings.TrimSpace(f.kubectl(t, "get", "cronjob/"+f.name+"-keeper", "-o", "jsonpath={.spec.jobTemplate.spec.template.spec.containers[0].image}"))
	f.apply(t, f.api, strings.ReplaceAll(examples, "FEDHOOK", fedhook))
	inShop := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "shop", Name: name} }

	f.api.Kubectl(t, "rollout", "status", "daemonset/watcher", "--namespace", "shop", "--timeout", "2m")
	require.Regexp(t, `watcher +2 +2 +2`, f.api.Kubectl(t, "get", "daemonsets", "--namespace", "shop"))

	clusters.Eventually(t, 2*time.Minute, "one and three pods of the StatefulSet", func(ctx context.Context) (bool, error) {
		inGondor, err := ready(ctx, f.gondor, "store")
		if err != nil {
			return false, err
		}
		inShire, err := ready(ctx, f.shire, "store")
		if err != nil {
			return false, err
		}
		whole := &appsv1.StatefulSet{ObjectMeta: inShop("store")}
		err = f.api.Get(ctx, client.ObjectKeyFromObject(whole), whole)
		return inGondor == 1 && inShire == 3 && whole.Status.ReadyReplicas == 4, cmp.Or(err, fmt.Errorf("%d and %d, %d in all", inGondor, inShire, whole.Status.ReadyReplicas))
	})

	f.api.Kubectl(t, "wait", "--for=condition=complete", "job/count", "--namespace", "shop", "--timeout", "2m")
	require.Regexp(t, `count +Complete +5/5`, f.api.Kubectl(t, "get", "jobs", "--namespace", "shop"))
	for _, member := range f.members() {
		part := &batchv1.Job{ObjectMeta: inShop("count")}
		require.NoError(t, member.Get(t.Context(), client.ObjectKeyFromObject(part), part))
		require.Contains(t, []int32{2, 3}, part.Status.Succeeded)
	}

	for i, member := range f.members() {
		gate := &networkingv1.Ingress{ObjectMeta: inShop("gate")}
		waitThere(t, member, gate)
		gate.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: fmt.Sprint("192.0.2.", i+1)}}
		require.NoError(t, member.Status().Update(t.Context(), gate)) // as an ingress controller does
	}
	clusters.Eventually(t, time.Minute, "the addresses of both ingresses", func(context.Context) (bool, error) {
		out := f.api.Kubectl(t, "get", "ingress/gate", "--namespace", "shop")
		return strings.Contains(out, "192.0.2.1,192.0.2.2"), errors.New(out)
	})

	t.Run("an autoscaler is divided, and its target is its own", func(t *testing.T) {
		scaled := &appsv1.Deployment{ObjectMeta: inShop("scaled")}
		f.api.Kubectl(t, "rollout", "status", "deployment/scaled", "--namespace", "shop", "--timeout", "2m")
		f.apply(t, f.api, autoscaler)
		for _, member := range f.members() {
			part := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: inShop("scaled")}
			waitThere(t, member, part)
			require.Equal(t, []int32{1, 5}, []int32{*part.Spec.MinReplicas, part.Spec.MaxReplicas})
		}
		clusters.Eventually(t, time.Minute, "the replicas to be the autoscalers'", func(ctx context.Context) (bool, error) {
			for _, member := range f.members() {
				if err := member.Get(ctx, client.ObjectKeyFromObject(scaled), scaled); err != nil {
					return false, err
				}
				for _, entry := range scaled.ManagedFields {
					if entry.Manager == v1beta1.ControllerManager && strings.Contains(string(entry.FieldsV1.GetRawBytes()), `"f:replicas"`) && entry.Subresource == "" {
						return false, fmt.Errorf("in %s spec.replicas is the federation's still", member.Name)
					}
				}
				if *scaled.Spec.Replicas != 2 {
					return false, fmt.Errorf("%s has %d replicas, not its half of four", member.Name, *scaled.Spec.Replicas)
				}
			}
			return true, nil
		})
		f.gondor.Kubectl(t, "scale", "deployment/scaled", "--replicas=3", "--namespace", "shop") // as its autoscaler does
		clusters.Eventually(t, time.Minute, "five replicas in all", func(ctx context.Context) (bool, error) {
			err := f.api.Get(ctx, client.ObjectKeyFromObject(scaled), scaled)
			return scaled.Status.ReadyReplicas == 5, cmp.Or(err, fmt.Errorf("%d", scaled.Status.ReadyReplicas))
		})
		require.NoError(t, f.gondor.Get(t.Context(), client.ObjectKeyFromObject(scaled), scaled))
		require.EqualValues(t, 3, *scaled.Spec.Replicas)
	})

	for _, member := range f.members() {
		clusters.Eventually(t, 2*time.Minute, "the CronJob to have run in "+member.Name, func(ctx context.Context) (bool, error) {
			clock := &batchv1.CronJob{ObjectMeta: inShop("clock")}
			err := member.Get(ctx, client.ObjectKeyFromObject(clock), clock)
			return clock.Status.LastSuccessfulTime != nil, err
		})
	}
}
