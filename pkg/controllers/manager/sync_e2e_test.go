//go:build e2e

package manager_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/controlplane"
	"github.com/fedhelm/fedhelm/pkg/federatedtypes"
	"github.com/fedhelm/fedhelm/test/clusters"
)

// middleEarth is a federation with two members, whose API has what fedhook bootstrap puts there, and the running program.
type middleEarth struct {
	*api
	gondor, shire *api
	program       *program
	// road leads to shire, where it does not answer by itself.
	road *road
}

func newMiddleEarth(t *testing.T, args ...string) *middleEarth {
	t.Helper()
	e := &middleEarth{api: federation(t), gondor: startAPI(t), shire: startAPI(t)}
	e.begin(args...)
	return e
}

// begin sets up the federation's API for the default types and those of others, joins the members, and runs the program.
func (e *middleEarth) begin(args ...string) {
	e.Helper()
	t := e.T
	hook := controlplane.Hook{Federation: "fellowship", Namespace: hostNamespace, Log: slog.New(slog.DiscardHandler)}
	for _, arg := range args {
		if more, found := strings.CutPrefix(arg, "--federated-types="); found {
			hook.Values.ControllerManager.FederatedTypes = []string{more}
		}
	}
	require.NoError(t, hook.Bootstrap(t.Context(), e.env.Config))
	for name := range e.members() {
		e.joinMember(name)
	}
	e.label("gondor", "pci", "true")
	e.label("shire", "pci", "false")
	e.program = e.run(args...)
	for name := range e.members() {
		e.eventuallyReady(name, v1beta1.ClusterPhaseReady, "ClusterReady")
	}
}

func (e *middleEarth) joinMember(name string) {
	e.Helper()
	member := e.members()[name]
	address, ca := member.env.Config.Host, member.env.Config.CAData
	if e.road != nil && name == "shire" {
		address, ca = e.road.URL, e.road.ca()
	}
	e.join(name, address, map[string][]byte{"token": member.token("federation"), "ca.crt": ca})
}

func (e *middleEarth) members() map[string]*api {
	return map[string]*api{"gondor": e.gondor, "shire": e.shire}
}

func (e *middleEarth) label(cluster, key, value string) {
	e.Helper()
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, key, value)
	require.NoError(e, e.Patch(e.Context(), e.cluster(cluster), client.RawPatch(types.MergePatchType, []byte(patch))))
}

// object reads a manifest.
func object(t *testing.T, manifest string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	text, err := yaml.YAMLToJSON([]byte(manifest))
	require.NoError(t, err, manifest)
	require.NoError(t, o.UnmarshalJSON(text), manifest)
	return o
}

func (a *api) read(o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	found := &unstructured.Unstructured{}
	found.SetGroupVersionKind(o.GroupVersionKind())
	return found, a.Get(context.Background(), client.ObjectKeyFromObject(o), found)
}

// eventually waits until an object in an API is as it should be; content gets nil where there is none.
func (a *api) eventually(what string, o *unstructured.Unstructured, content func(*unstructured.Unstructured) bool) *unstructured.Unstructured {
	a.Helper()
	var last *unstructured.Unstructured
	clusters.EventuallySeen(a.T, bound, fmt.Sprintf("%s %s/%s: %s", o.GetKind(), o.GetNamespace(), o.GetName(), what), func() (bool, string) {
		found, err := a.read(o)
		if apierrors.IsNotFound(err) {
			found = nil
		} else if err != nil {
			return false, err.Error()
		}
		last = found
		text, _ := json.Marshal(found)
		return content(found), string(text)
	})
	return last
}

func (a *api) eventuallyThere(o *unstructured.Unstructured) *unstructured.Unstructured {
	a.Helper()
	return a.eventually("there", o, func(found *unstructured.Unstructured) bool { return found != nil })
}

func (a *api) eventuallyGone(o *unstructured.Unstructured) {
	a.Helper()
	a.eventually("gone", o, func(found *unstructured.Unstructured) bool { return found == nil })
}

// state is what the annotation says of where an object is.
func state(o *unstructured.Unstructured) string {
	return o.GetAnnotations()[v1beta1.AnnotationClusters]
}

func merge(patch string) client.Patch { return client.RawPatch(types.MergePatchType, []byte(patch)) }

const (
	shop = `{apiVersion: v1, kind: Namespace, metadata: {name: shop}}`
	web  = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  replicas: 9
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web}]}
`
)

// one of every default type, and of a type of the user's.
var manifests = []string{
	shop,
	`{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: shop}, data: {a: b}}`,
	`{apiVersion: v1, kind: Secret, metadata: {name: one, namespace: shop}, stringData: {password: mellon}}`,
	`{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80}]}}`,
	`{apiVersion: v1, kind: Service, metadata: {name: headless, namespace: shop}, spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}}`,
	`{apiVersion: v1, kind: ServiceAccount, metadata: {name: one, namespace: shop}}`,
	web,
	`{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: one, namespace: shop}, spec: {replicas: 4, selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}, spec: {containers: [{name: a, image: a}]}}}}`,
	`{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: one, namespace: shop}, spec: {serviceName: headless, replicas: 2, selector: {matchLabels: {app: s}}, template: {metadata: {labels: {app: s}}, spec: {containers: [{name: a, image: a}]}}}}`,
	`{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: one, namespace: shop}, spec: {selector: {matchLabels: {app: d}}, template: {metadata: {labels: {app: d}}, spec: {containers: [{name: a, image: a}]}}}}`,
	`{apiVersion: batch/v1, kind: Job, metadata: {name: one, namespace: shop}, spec: {parallelism: 4, completions: 10, template: {spec: {restartPolicy: Never, containers: [{name: a, image: a}]}}}}`,
	`{apiVersion: batch/v1, kind: CronJob, metadata: {name: one, namespace: shop}, spec: {schedule: "0 0 1 1 *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: a}]}}}}}}`,
	`{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: one, namespace: shop}, spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}}`,
	`{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: one, namespace: shop}, spec: {minReplicas: 2, maxReplicas: 10, scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: other}, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}}`,
	`{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: one, namespace: shop}, spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}}`,
	`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: one, namespace: shop}, spec: {podSelector: {}}}`,
	`{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: one, namespace: shop}, rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]}`,
	`{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: one, namespace: shop}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: one}, subjects: [{kind: ServiceAccount, name: one, namespace: shop}]}`,
}

// Every default type goes to both members, is followed there, healed and deleted; and when nothing changes nothing is written.
func TestSync(t *testing.T) {
	e := newMiddleEarth(t)
	var objects []*unstructured.Unstructured
	for _, manifest := range manifests {
		o := object(t, manifest)
		objects = append(objects, o)
		e.create(o.DeepCopy())
	}
	for _, o := range objects {
		t.Run("placed: "+o.GetKind()+" "+o.GetName(), func(t *testing.T) {
			for name, member := range e.members() {
				there := member.eventuallyThere(o)
				require.Equal(t, "fellowship", there.GetLabels()[v1beta1.LabelFederated])
				e.eventually("said to be in "+name, o, func(o *unstructured.Unstructured) bool {
					return strings.Contains(state(o), `"`+name+`":{`) && !strings.Contains(state(o), "error")
				})
			}
			here, err := e.read(o)
			require.NoError(t, err)
			require.Contains(t, here.GetFinalizers(), v1beta1.Finalizer)
		})
	}

	t.Run("a Service keeps what each API allocates", func(t *testing.T) {
		service := objects[3]
		patched := merge(`{"spec":{"ports":[{"port":81}]}}`)
		before, err := e.gondor.read(service)
		require.NoError(t, err)
		require.NoError(t, e.Patch(t.Context(), service.DeepCopy(), patched))
		after := e.gondor.eventually("changed", service, func(o *unstructured.Unstructured) bool {
			ports, _, _ := unstructured.NestedSlice(o.Object, "spec", "ports")
			return len(ports) == 1 && ports[0].(map[string]any)["port"] == int64(81)
		})
		ip := func(o *unstructured.Unstructured) string {
			ip, _, _ := unstructured.NestedString(o.Object, "spec", "clusterIP")
			return ip
		}
		require.Equal(t, ip(before), ip(after))
	})
	t.Run("a change is followed", func(t *testing.T) {
		config := objects[1]
		require.NoError(t, e.Patch(t.Context(), config.DeepCopy(), merge(`{"data":{"a":"c","d":"e"},"metadata":{"labels":{"colour":"white"}}}`)))
		for _, member := range e.members() {
			member.eventually("changed", config, func(o *unstructured.Unstructured) bool {
				data, _, _ := unstructured.NestedStringMap(o.Object, "data")
				return data["a"] == "c" && data["d"] == "e" && o.GetLabels()["colour"] == "white"
			})
		}
		require.NoError(t, e.Patch(t.Context(), config.DeepCopy(), merge(`{"data":{"d":null}}`)))
		for _, member := range e.members() {
			member.eventually("changed back", config, func(o *unstructured.Unstructured) bool {
				data, _, _ := unstructured.NestedStringMap(o.Object, "data")
				return len(data) == 1
			})
		}
	})
	t.Run("drift is healed, and what is the member's own is left", func(t *testing.T) {
		config := objects[1]
		require.NoError(t, e.gondor.Patch(t.Context(), config.DeepCopy(), merge(`{"data":{"a":"drift","own":"x"}}`)))
		e.gondor.eventually("healed", config, func(o *unstructured.Unstructured) bool {
			data, _, _ := unstructured.NestedStringMap(o.Object, "data")
			return data["a"] == "c" && data["own"] == "x"
		})
		require.NoError(t, e.gondor.Delete(t.Context(), config.DeepCopy()))
		e.gondor.eventuallyThere(config)
		require.NoError(t, e.gondor.Patch(t.Context(), config.DeepCopy(), merge(`{"metadata":{"labels":{"federation.fedhelm.dev/federated-by":null}}}`)))
		e.gondor.eventually("marked again", config, func(o *unstructured.Unstructured) bool { return o.GetLabels()[v1beta1.LabelFederated] == "fellowship" })
	})
	t.Run("replicas are divided", func(t *testing.T) {
		deployment := objects[6]
		replicas := func(o *unstructured.Unstructured) int64 {
			n, _, _ := unstructured.NestedInt64(o.Object, "spec", "replicas")
			return n
		}
		divided := func(gondor, shire int64) {
			t.Helper()
			for member, want := range map[*api]int64{e.gondor: gondor, e.shire: shire} {
				member.eventually(fmt.Sprint(want, " replicas"), deployment, func(o *unstructured.Unstructured) bool {
					return o != nil && replicas(o) == want || o == nil && want == 0
				})
			}
		}
		first, err := e.gondor.read(deployment)
		require.NoError(t, err)
		divided(replicas(first), 9-replicas(first))
		require.Contains(t, []int64{4, 5}, replicas(first))
		prefer := func(preferences string) {
			t.Helper()
			text, _ := json.Marshal(preferences)
			require.NoError(t, e.Patch(t.Context(), deployment.DeepCopy(), merge(`{"metadata":{"annotations":{"federation.kubernetes.io/deployment-preferences":`+string(text)+`}}}`)))
		}
		prefer(`{"rebalance":true,"clusters":{"gondor":{"weight":2},"shire":{"weight":1}}}`)
		divided(6, 3)
		prefer(`{"rebalance":true,"clusters":{"gondor":{"weight":2,"maxReplicas":2},"shire":{"weight":1}}}`)
		divided(2, 7)
		prefer(`{"rebalance":true,"clusters":{"gondor":{"weight":1,"minReplicas":8},"shire":{"weight":9}}}`)
		divided(8, 1)
		prefer(`{"rebalance":true,"clusters":{"gondor":{"weight":1}}}`)
		divided(9, 0)
		prefer(`{"rebalance":true,"clusters":{"gondor":{"weight":-1}}}`)
		e.eventually("the mistake is said", deployment, func(o *unstructured.Unstructured) bool { return strings.Contains(state(o), "weight -1") })
		divided(9, 0)
		prefer(`{"rebalance":true,"clusters":{"*":{"weight":1}}}`)
		e.eventually("no mistake", deployment, func(o *unstructured.Unstructured) bool { return !strings.Contains(state(o), "error") })
	})
	t.Run("a Job's parts add up", func(t *testing.T) {
		var parallelism, completions int64
		for _, member := range e.members() {
			job := member.eventuallyThere(objects[10])
			p, _, _ := unstructured.NestedInt64(job.Object, "spec", "parallelism")
			c, _, _ := unstructured.NestedInt64(job.Object, "spec", "completions")
			parallelism, completions = parallelism+p, completions+c
		}
		require.Equal(t, []int64{4, 10}, []int64{parallelism, completions})
	})
	t.Run("a selector moves it", func(t *testing.T) {
		secret := objects[2]
		selector := func(text string) {
			t.Helper()
			value, _ := json.Marshal(text)
			require.NoError(t, e.Patch(t.Context(), secret.DeepCopy(), merge(`{"metadata":{"annotations":{"federation.alpha.kubernetes.io/cluster-selector":`+string(value)+`}}}`)))
		}
		selector(`[{"key":"pci","operator":"In","values":["true"]}]`)
		e.shire.eventuallyGone(secret)
		e.gondor.eventuallyThere(secret)
		e.label("shire", "pci", "true")
		e.shire.eventuallyThere(secret)
		e.label("shire", "pci", "false")
		e.shire.eventuallyGone(secret)
		selector(`pci=true`)
		e.eventually("the mistake is said", secret, func(o *unstructured.Unstructured) bool { return strings.Contains(state(o), "is no list of terms") })
		e.gondor.eventuallyThere(secret)
		selector(v1beta1.FederationOnly)
		e.gondor.eventuallyGone(secret)
		selector(``)
		e.shire.eventuallyThere(secret)
	})
	t.Run("nothing is written when nothing changes, and a restart writes nothing", func(t *testing.T) {
		e.eventuallyQuiet()
		require.Zero(t, e.program.cmd.Process.Signal(syscall.SIGKILL))
		<-e.program.done
		before := e.versions(objects)
		e.program = e.run()
		clusters.EventuallySeen(t, bound, "it leads, and has read the members", func() (bool, string) {
			read, _ := e.program.metric("federation_member_requests_total", `method="GET"`)
			placed, _ := e.program.metric("federation_objects", `state="placed"`)
			return read >= float64(len(e.members())*len(federatedtypes.Defaults())) && placed >= float64(len(objects)), fmt.Sprint(read, placed)
		})
		e.eventuallyQuiet()
		require.Equal(t, before, e.versions(objects))
	})
	t.Run("deleted, it is gone everywhere", func(t *testing.T) {
		for i := len(objects) - 1; i > 0; i-- {
			require.NoError(t, e.Delete(t.Context(), objects[i].DeepCopy(), client.PropagationPolicy(metav1.DeletePropagationBackground)))
		}
		for _, o := range objects[1:] {
			e.eventuallyGone(o)
			e.gondor.eventuallyGone(o)
			e.shire.eventuallyGone(o)
		}
	})
	t.Run("what is the federation's own stays there", func(t *testing.T) {
		own := object(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: own, namespace: kube-system}}`)
		e.create(own.DeepCopy())
		other := object(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: other, namespace: default}}`)
		e.create(other.DeepCopy())
		e.gondor.eventuallyThere(other)
		_, err := e.gondor.read(own)
		require.True(t, apierrors.IsNotFound(err))
		kubernetes := object(t, `{apiVersion: v1, kind: Service, metadata: {name: kubernetes, namespace: default}}`)
		there, err := e.gondor.read(kubernetes)
		require.NoError(t, err)
		require.NotContains(t, there.GetLabels(), v1beta1.LabelFederated)
	})
}

// versions are the resource versions of objects, in the federation and in the members.
func (e *middleEarth) versions(objects []*unstructured.Unstructured) map[string]string {
	versions := map[string]string{}
	for name, a := range map[string]*api{"federation": e.api, "gondor": e.gondor, "shire": e.shire} {
		for _, o := range objects {
			if found, err := a.read(o); err == nil {
				versions[name+" "+o.GetKind()+" "+o.GetName()] = found.GetResourceVersion()
			}
		}
	}
	return versions
}

// eventuallyQuiet waits until there are no writes to the members for as long as ten looks take.
func (e *middleEarth) eventuallyQuiet() {
	e.Helper()
	last, same := -1.0, 0
	clusters.EventuallySeen(e.T, bound, "no writes", func() (bool, string) {
		writes := 0.0
		for _, method := range []string{"PATCH", "DELETE", "POST", "PUT"} {
			n, _ := e.program.metric("federation_member_requests_total", `method="`+method+`"`)
			writes += n
		}
		if same++; writes != last {
			last, same = writes, 0
		}
		return same >= 10, fmt.Sprint(writes)
	})
}
