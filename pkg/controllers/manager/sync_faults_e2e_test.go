//go:build e2e

package manager_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/federatedtypes"
	"github.com/fedhelm/fedhelm/test/clusters"
)

const (
	// forceAfter is how long a deletion waits for a member in these tests.
	forceAfter = 3 * time.Second
	// tooLarge is more than gondor's etcd takes in a request.
	tooLarge = 300_000

	rings = "example.com/v1/rings"
)

// ringDefinition defines the custom resource Ring, whose spec has these fields.
func ringDefinition(fields ...string) *apiextensionsv1.CustomResourceDefinition {
	spec := apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{}}
	for _, field := range fields {
		spec.Properties[field] = apiextensionsv1.JSONSchemaProps{Type: "string"}
	}
	return &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "rings.example.com"}, Spec: apiextensionsv1.CustomResourceDefinitionSpec{
		Group: "example.com", Scope: apiextensionsv1.NamespaceScoped, Names: apiextensionsv1.CustomResourceDefinitionNames{Kind: "Ring", ListKind: "RingList", Plural: "rings", Singular: "ring"},
		Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1", Served: true, Storage: true,
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"spec": spec}}}}},
	}}
}

// with gives the same world to a test within the test.
func (e *middleEarth) with(t *testing.T) *middleEarth {
	within := *e
	for _, a := range []**api{&within.api, &within.gondor, &within.shire} {
		its := **a
		its.T = t
		*a = &its
	}
	return &within
}

// federate makes an object in the federation.
func (e *middleEarth) federate(manifest string) *unstructured.Unstructured {
	e.Helper()
	o := object(e.T, manifest)
	e.create(o.DeepCopy())
	return o
}

// namespace makes one, and waits for it in both members.
func (e *middleEarth) namespace(name string) {
	e.Helper()
	o := e.federate(fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s}}`, name))
	for _, member := range e.members() {
		member.eventuallyThere(o)
	}
}

func config(namespace, name, data string) string {
	return fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, namespace: %s}, data: {value: %q}}`, name, namespace, data)
}

func (e *middleEarth) change(o *unstructured.Unstructured, patch string) {
	e.Helper()
	require.NoError(e, e.Patch(e.Context(), o.DeepCopy(), merge(patch)))
}

// clusterState is the annotation's word on one cluster.
type clusterState struct {
	Generation int64
	Error      string
	Omitted    []string
}

func statesOf(t *testing.T, o *unstructured.Unstructured) map[string]clusterState {
	states := map[string]clusterState{}
	if text := state(o); text != "" {
		require.NoError(t, json.Unmarshal([]byte(text), &states), text)
	}
	return states
}

// eventuallySays waits until the annotation says of a cluster that something is wrong ("" for nothing).
func (e *middleEarth) eventuallySays(o *unstructured.Unstructured, cluster, wrong string) {
	e.Helper()
	e.eventually(fmt.Sprintf("said of %s: %q", cluster, wrong), o, func(found *unstructured.Unstructured) bool {
		said, known := statesOf(e.T, found)[cluster]
		return known && strings.Contains(said.Error, wrong) && (wrong != "" || said.Error == "")
	})
}

// told are the Events of an object with a reason.
func (e *middleEarth) told(o *unstructured.Unstructured, reason string) []corev1.Event {
	e.Helper()
	var list corev1.EventList
	require.NoError(e, e.List(context.Background(), &list, client.InNamespace(o.GetNamespace())))
	return slices.DeleteFunc(list.Items, func(event corev1.Event) bool {
		return event.Reason != reason || event.InvolvedObject.Kind != o.GetKind() || event.InvolvedObject.Name != o.GetName()
	})
}

func (e *middleEarth) eventuallyTold(o *unstructured.Unstructured, reason string, texts ...string) {
	e.Helper()
	clusters.EventuallySeen(e.T, bound, fmt.Sprint("Event ", reason, " with ", texts), func() (bool, string) {
		var seen []string
		for _, event := range e.told(o, reason) {
			seen = append(seen, event.Message)
		}
		return slices.ContainsFunc(seen, func(message string) bool {
			return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(message, text) })
		}), strings.Join(seen, "\n")
	})
}

// eventuallyHas waits until a member's ConfigMap has this data.
func (a *api) eventuallyHas(o *unstructured.Unstructured, n string) *unstructured.Unstructured {
	a.Helper()
	return a.eventually("has "+n[:min(10, len(n))], o, func(found *unstructured.Unstructured) bool { return found != nil && dataOf(found) == n })
}

func dataOf(o *unstructured.Unstructured) string {
	n, _, _ := unstructured.NestedString(o.Object, "data", "value")
	return n
}

func (a *api) lacks(o *unstructured.Unstructured) {
	a.Helper()
	_, err := a.read(o)
	require.True(a, apierrors.IsNotFound(err), "%v", err)
}

// eventuallyRefuses waits until an API takes an object no more, for this reason.
func (a *api) eventuallyRefuses(manifest, reason string) {
	a.Helper()
	clusters.EventuallySeen(a.T, bound, "refused: "+reason, func() (bool, string) {
		err := a.Create(a.Context(), object(a.T, manifest), client.DryRunAll)
		return err != nil && strings.Contains(err.Error(), reason), fmt.Sprint(err)
	})
}

func replicasOf(o *unstructured.Unstructured) int64 {
	n, found, _ := unstructured.NestedInt64(o.Object, "spec", "replicas")
	if !found {
		return -1
	}
	return n
}

func workload(kind, namespace, name, spec string) string {
	return fmt.Sprintf(`{apiVersion: apps/v1, kind: %s, metadata: {name: %s, namespace: %s}, spec: {%s, selector: {matchLabels: {a: a}}, template: {metadata: {labels: {a: a}}, spec: {containers: [{name: a, image: a}]}}}}`, kind, name, namespace, spec)
}

// eventuallyDivided waits until the members have so many replicas; -1 is no copy.
func (e *middleEarth) eventuallyDivided(o *unstructured.Unstructured, gondor, shire int64) {
	e.Helper()
	for member, want := range map[*api]int64{e.gondor: gondor, e.shire: shire} {
		member.eventually(fmt.Sprint(want, " replicas"), o, func(found *unstructured.Unstructured) bool {
			return found == nil && want < 0 || found != nil && replicasOf(found) == want
		})
	}
}

func preferences(annotation, text string) string {
	value, _ := json.Marshal(text)
	return fmt.Sprintf(`{"metadata":{"annotations":{"federation.kubernetes.io/%s-preferences":%s}}}`, annotation, value)
}

// TestFaults is what goes wrong between a federation and its members: nothing is lost or done twice, who is well is served, and a person is told.
func TestFaults(t *testing.T) {
	e := &middleEarth{api: federation(t), shire: startAPI(t), gondor: startAPI(t, func(env *envtest.Environment) {
		env.ControlPlane.Etcd.Configure().Set("max-request-bytes", "131072")
	})}
	e.road = newRoad(t, e.shire)
	args := []string{"--force-after=" + forceAfter.String(), "--federated-types=" + rings}
	require.NoError(t, e.shire.Create(t.Context(), ringDefinition("bearer", "age")))
	alone := append(slices.Clone(args), "--leader-elect=false") // a busy machine takes no lease away
	e.begin(alone...)

	t.Run("objects", func(t *testing.T) {
		for _, test := range []struct {
			name string
			run  func(*middleEarth)
		}{
			{"no definition, and an older one", testDefinition}, // the longest first
			{"a quota", testQuota},
			{"an admission policy", testAdmission},
			{"an immutable field", testImmutable},
			{"too large", testTooLarge},
			{"malformed annotations", testMalformed},
			{"an autoscaler", testAutoscaler},
			{"replicas", testReplicas},
			{"adoption", testAdoption},
			{"orphans", testOrphans},
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				test.run(e.with(t))
			})
		}
	})
	t.Run("metrics", func(t *testing.T) { testMetrics(e.with(t)) })
	t.Run("a member on a bad road", func(t *testing.T) { testRoad(e.with(t)) })
	t.Run("a deletion while a member is away", func(t *testing.T) { testForceAfter(e.with(t)) })
	t.Run("credentials revoked and given back", func(t *testing.T) { testCredentials(e.with(t)) })
	t.Run("two controller managers, the leader killed", func(t *testing.T) { testStandby(e, t, args) })
	t.Run("what is there already is not taken over", func(t *testing.T) { testConflict(e.with(t)) })
	t.Run("the federation's API stopped and started", func(t *testing.T) { testFederationAway(e, t, alone) })
	t.Run("a member leaves with policy Delete", func(t *testing.T) { testDrain(e, t, alone) })
}

func testQuota(e *middleEarth) {
	e.namespace("quota")
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "small", Namespace: "quota"},
		Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/configmaps": resource.MustParse("0")}}}
	e.gondor.create(quota)
	quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: corev1.ResourceList{"count/configmaps": resource.MustParse("0")}}
	require.NoError(e, e.gondor.Status().Update(e.Context(), quota)) // as its controller would
	e.gondor.eventuallyRefuses(config("quota", "try", "1"), "exceeded quota")

	o := e.federate(config("quota", "one", "1"))
	e.shire.eventuallyHas(o, "1")
	e.eventuallySays(o, "gondor", "exceeded quota: small")
	e.eventuallySays(o, "shire", "")
	e.eventuallyTold(o, "CreateInClusterFailed", "in cluster gondor", "exceeded quota: small")
	e.gondor.lacks(o)

	require.NoError(e, e.gondor.Delete(e.Context(), quota))
	e.gondor.eventuallyHas(o, "1")
	e.eventuallySays(o, "gondor", "")
	require.Len(e, e.told(o, "CreateInClusterFailed"), 1, "told once")
}

func testAdmission(e *middleEarth) {
	e.namespace("admission")
	changed, made := e.federate(config("admission", "changed", "good")), object(e.T, config("admission", "made", "evil"))
	e.gondor.eventuallyHas(changed, "good")
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "no-evil"}, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
			Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
			Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
		}}}},
		Validations: []admissionv1.Validation{{Expression: `!has(object.data) || !("value" in object.data) || object.data["value"] != "evil"`, Message: "one does not simply walk in"}},
	}}
	e.gondor.create(policy, &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "no-evil"},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: "no-evil", ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}}})
	e.gondor.eventuallyRefuses(config("admission", "try", "evil"), "walk in")

	e.change(changed, `{"data":{"value":"evil"}}`)
	e.create(made.DeepCopy())
	for o, reason := range map[*unstructured.Unstructured]string{changed: "UpdateInClusterFailed", made: "CreateInClusterFailed"} {
		e.shire.eventuallyHas(o, "evil")
		e.eventuallySays(o, "gondor", "one does not simply walk in")
		e.eventuallySays(o, "shire", "")
		e.eventuallyTold(o, reason, "in cluster gondor", "one does not simply walk in")
	}
	e.gondor.lacks(made)
	e.gondor.eventuallyHas(changed, "good")

	require.NoError(e, e.gondor.Delete(e.Context(), policy))
	for _, o := range []*unstructured.Unstructured{changed, made} {
		e.gondor.eventuallyHas(o, "evil")
		e.eventuallySays(o, "gondor", "")
	}
}

func testImmutable(e *middleEarth) {
	e.namespace("immutable")
	o := e.federate(config("immutable", "one", "1"))
	e.gondor.eventuallyHas(o, "1")
	require.NoError(e, e.gondor.Patch(e.Context(), o.DeepCopy(), merge(`{"immutable":true}`))) // the member's own field
	e.change(o, `{"data":{"value":"2"}}`)
	e.shire.eventuallyHas(o, "2")
	e.eventuallySays(o, "gondor", "field is immutable")
	e.eventuallyTold(o, "UpdateInClusterFailed", "in cluster gondor", "field is immutable")
	e.gondor.eventuallyHas(o, "1")

	require.NoError(e, e.gondor.Delete(e.Context(), o.DeepCopy()))
	e.gondor.eventuallyHas(o, "2")
	e.eventuallySays(o, "gondor", "")
}

func testTooLarge(e *middleEarth) {
	e.namespace("large")
	o, large := e.federate(config("large", "one", "1")), strings.Repeat("x", tooLarge)
	e.gondor.eventuallyHas(o, "1")
	e.change(o, `{"data":{"value":"`+large+`"}}`)
	e.shire.eventuallyHas(o, large)
	e.eventuallySays(o, "gondor", "too large")
	e.eventuallyTold(o, "UpdateInClusterFailed", "in cluster gondor", "too large")
	e.gondor.eventuallyHas(o, "1")

	e.change(o, `{"data":{"value":"2"}}`)
	e.gondor.eventuallyHas(o, "2")
	e.eventuallySays(o, "gondor", "")
}

// A type without its definition, in the federation or in a member, is told of. A member gets the objects once it has one, and then what that knows of them.
func testDefinition(e *middleEarth) {
	e.eventuallyServed("shire", metav1.ConditionFalse, "the federation's API does not serve "+rings)
	e.create(ringDefinition("bearer", "age"))
	e.namespace("definition")
	o := object(e.T, `{apiVersion: example.com/v1, kind: Ring, metadata: {name: one, namespace: definition}, spec: {bearer: frodo, age: "4867"}}`)
	clusters.EventuallySeen(e.T, bound, "rings are served", func() (bool, string) {
		err := e.Create(e.Context(), o.DeepCopy())
		return err == nil, fmt.Sprint(err)
	})
	e.shire.eventuallyThere(o)
	e.eventuallySays(o, "gondor", "the cluster does not serve example.com/v1, Resource=rings")
	e.eventuallySays(o, "shire", "")
	e.eventuallyServed("shire", metav1.ConditionTrue, "all federated types are served")
	e.eventuallyServed("gondor", metav1.ConditionFalse, "the cluster does not serve "+rings)

	e.gondor.create(ringDefinition("bearer"))
	clusters.EventuallySeen(e.T, 2*bound, "the ring in gondor", func() (bool, string) { // its reflector waits up to a minute
		found, err := e.gondor.read(o)
		if err != nil {
			return false, err.Error()
		}
		spec, _, _ := unstructured.NestedStringMap(found.Object, "spec")
		return maps.Equal(spec, map[string]string{"bearer": "frodo"}), fmt.Sprint(spec)
	})
	e.eventually("the field that is left out is named", o, func(found *unstructured.Unstructured) bool {
		said := statesOf(e.T, found)
		return said["gondor"].Error == "" && slices.Equal(said["gondor"].Omitted, []string{".spec.age"}) && said["shire"].Omitted == nil
	})
	there, err := e.shire.read(o)
	require.NoError(e, err)
	age, _, _ := unstructured.NestedString(there.Object, "spec", "age")
	require.Equal(e, "4867", age)
	e.eventuallyServed("gondor", metav1.ConditionTrue, "all federated types")
}

// eventuallyServed waits until the condition of a Cluster says whether its types are served.
func (e *middleEarth) eventuallyServed(name string, status metav1.ConditionStatus, text string) {
	e.Helper()
	clusters.EventuallySeen(e.T, bound, "what is served in "+name, func() (bool, string) {
		cluster := &v1beta1.Cluster{}
		require.NoError(e, e.Get(e.Context(), client.ObjectKey{Name: name}, cluster))
		condition := meta.FindStatusCondition(cluster.Status.Conditions, v1beta1.ClusterTypesServed)
		return condition != nil && condition.Status == status && strings.Contains(condition.Message, text), fmt.Sprint(condition)
	})
}

// A mistake in an annotation changes nothing anywhere and makes nothing, and one Event says what to mend.
func testMalformed(e *middleEarth) {
	e.namespace("malformed")
	selector := func(text string) string {
		value, _ := json.Marshal(text)
		return fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, v1beta1.AnnotationClusterSelector, value)
	}
	out := e.federate(config("malformed", "out", "1"))
	web := e.federate(workload("Deployment", "malformed", "web", "replicas: 8"))
	e.eventuallyDivided(web, 4, 4)
	for _, o := range []*unstructured.Unstructured{out, web} {
		e.eventuallySays(o, "gondor", "")
		e.eventuallySays(o, "shire", "")
	}
	before := e.versionsIn(out, web)

	e.change(out, `{"data":{"value":"2"},`+selector(`[{"key":"pci","operator":"Maybe"}]`)[1:])
	e.change(web, `{"spec":{"replicas":2},`+preferences("deployment", `{"rebalance":true,"clusters":{"gondor":{"weight":"heavy"}}}`)[1:])
	made := object(e.T, config("malformed", "made", "1"))
	made.SetAnnotations(map[string]string{v1beta1.AnnotationClusterSelector: "pci=true"})
	deployed := object(e.T, workload("Deployment", "malformed", "deployed", "replicas: 8"))
	deployed.SetAnnotations(map[string]string{v1beta1.AnnotationDeploymentPreferences: `{"rebalance":true}`})
	e.create(made.DeepCopy(), deployed.DeepCopy())
	for o, mistake := range map[*unstructured.Unstructured]string{out: `the operator "Maybe"`, web: "weight", made: "is no list of terms", deployed: "name no clusters"} {
		e.eventuallyTold(o, "PlacementFailed", "nothing is changed in any cluster", mistake)
	}
	for _, cluster := range []string{"gondor", "shire"} {
		e.eventuallySays(out, cluster, `the operator "Maybe"`)
		e.eventuallySays(web, cluster, "weight")
	}
	// What came later is out; so these would be.
	for _, member := range e.members() {
		member.eventuallyThere(e.federate(config("malformed", "later-"+fmt.Sprint(time.Now().UnixNano()), "1")))
		member.lacks(made)
		member.lacks(deployed)
	}
	require.Equal(e, before, e.versionsIn(out, web))

	// The controllers look again and say nothing more.
	e.change(made, `{"metadata":{"labels":{"looked":"at"}}}`)
	e.change(web, `{"metadata":{"labels":{"looked":"at"}}}`)
	e.change(made, selector(`[]`))
	e.change(deployed, preferences("deployment", `{"clusters":{"*":{"weight":1}}}`))
	e.change(out, selector(`[]`))
	for _, member := range e.members() {
		member.eventuallyHas(made, "1")
		member.eventuallyHas(out, "2")
	}
	e.eventuallyDivided(deployed, 4, 4)
	for _, o := range []*unstructured.Unstructured{out, web, made, deployed} {
		told := e.told(o, "PlacementFailed")
		require.Len(e, told, 1, o.GetName())
		require.Nil(e, told[0].Series, o.GetName())
	}
	e.change(web, preferences("deployment", `{"clusters":{"gondor":{"weight":1}}}`))
	e.eventuallyDivided(web, 2, -1)
}

// versionsIn are the resource versions of objects in the members.
func (e *middleEarth) versionsIn(objects ...*unstructured.Unstructured) map[string]string {
	versions := e.versions(objects)
	maps.DeleteFunc(versions, func(key, _ string) bool { return strings.HasPrefix(key, "federation ") })
	return versions
}

// values are all that the replicas of a member's object ever were, as long as the test goes on.
type values struct {
	mutex sync.Mutex
	seen  []int64
}

func (a *api) values(o *unstructured.Unstructured) *values {
	a.Helper()
	api, err := dynamic.NewForConfig(a.env.Config)
	require.NoError(a, err)
	deployments := federatedtypes.Defaults()[slices.IndexFunc(federatedtypes.Defaults(), func(of *federatedtypes.Type) bool { return of.Resource == "deployments" })]
	there, err := a.read(o)
	require.NoError(a, err)
	watch, err := api.Resource(deployments.GroupVersionResource).Namespace(o.GetNamespace()).Watch(a.Context(), metav1.ListOptions{
		FieldSelector: "metadata.name=" + o.GetName(), ResourceVersion: there.GetResourceVersion()})
	require.NoError(a, err)
	v := &values{seen: []int64{replicasOf(there)}}
	go func() {
		for event := range watch.ResultChan() {
			if found, ok := event.Object.(*unstructured.Unstructured); ok {
				v.mutex.Lock()
				if n := replicasOf(found); n != v.seen[len(v.seen)-1] {
					v.seen = append(v.seen, n)
				}
				v.mutex.Unlock()
			}
		}
	}()
	a.Cleanup(watch.Stop)
	return v
}

func (v *values) all() []int64 {
	v.mutex.Lock()
	defer v.mutex.Unlock()
	return slices.Clone(v.seen)
}

// An HPA takes a Deployment's replicas over as they are, scales them alone, and gives them back.
func testAutoscaler(e *middleEarth) {
	e.namespace("autoscaler")
	web := e.federate(workload("Deployment", "autoscaler", "web", "replicas: 8"))
	e.eventuallyDivided(web, 4, 4)
	gondor, shire := e.gondor.values(web), e.shire.values(web)

	hpa := e.federate(`{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: web, namespace: autoscaler}, spec: {minReplicas: 4, maxReplicas: 10, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}}`)
	for _, member := range e.members() {
		member.eventually("has its part", hpa, func(found *unstructured.Unstructured) bool {
			if found == nil {
				return false
			}
			least, _, _ := unstructured.NestedInt64(found.Object, "spec", "minReplicas")
			most, _, _ := unstructured.NestedInt64(found.Object, "spec", "maxReplicas")
			return least == 2 && most == 5
		})
		member.eventually("the federation owns its replicas no more", web, func(found *unstructured.Unstructured) bool {
			return !slices.ContainsFunc(found.GetManagedFields(), func(entry metav1.ManagedFieldsEntry) bool {
				return entry.Manager == v1beta1.ControllerManager && strings.Contains(string(entry.FieldsV1.GetRawBytes()), `"f:replicas"`)
			})
		})
	}
	scale := func(n int) {
		e.Helper()
		require.NoError(e, e.gondor.SubResource("scale").Patch(e.Context(), web.DeepCopy(), merge(fmt.Sprintf(`{"spec":{"replicas":%d}}`, n))))
	}
	scale(7)
	for _, n := range []string{"1", "2"} { // also after another change of ours
		e.change(web, `{"spec":{"replicas":`+n+`},"metadata":{"labels":{"n":"`+n+`"}}}`)
		for _, member := range e.members() {
			member.eventually("changed", web, func(found *unstructured.Unstructured) bool { return found.GetLabels()["n"] == n })
		}
	}
	e.eventuallyDivided(web, 7, 4)
	require.Equal(e, [][]int64{{4, 7}, {4}}, [][]int64{gondor.all(), shire.all()})

	// An HPA that gets another target lets the one before go, and takes it again.
	retarget := func(name string) {
		e.Helper()
		e.change(hpa, `{"spec":{"scaleTargetRef":{"name":"`+name+`"}}}`)
	}
	e.change(web, `{"spec":{"replicas":8}}`)
	retarget("other")
	e.eventuallyWhole(web, 8)
	retarget("web")
	for _, member := range e.members() {
		member.eventually("the federation owns its replicas no more", web, func(found *unstructured.Unstructured) bool {
			return !slices.ContainsFunc(found.GetManagedFields(), func(entry metav1.ManagedFieldsEntry) bool {
				return entry.Manager == v1beta1.ControllerManager && strings.Contains(string(entry.FieldsV1.GetRawBytes()), `"f:replicas"`)
			})
		})
	}
	scale(9)
	require.NoError(e, e.Delete(e.Context(), hpa.DeepCopy()))
	e.gondor.eventuallyGone(hpa)
	e.eventuallyWhole(web, 8)
	for name, seen := range map[string][]int64{"gondor": gondor.all(), "shire": shire.all()} {
		require.NotContains(e, seen, int64(1), "%s fell to the default: %v", name, seen)
		e.Logf("replicas in %s: %v", name, seen)
	}
}

// eventuallyWhole waits until the members' replicas add up.
func (e *middleEarth) eventuallyWhole(o *unstructured.Unstructured, total int64) {
	e.Helper()
	clusters.EventuallySeen(e.T, bound, fmt.Sprint(total, " replicas in all"), func() (bool, string) {
		var sum int64
		for _, member := range e.members() {
			found, err := member.read(o)
			if err != nil {
				return false, err.Error()
			}
			sum += replicasOf(found)
		}
		return sum == total, fmt.Sprint(sum)
	})
}

func testReplicas(e *middleEarth) {
	e.namespace("replicas")
	set := object(e.T, workload("StatefulSet", "replicas", "set", "serviceName: set, replicas: 9"))
	set.SetAnnotations(map[string]string{v1beta1.AnnotationStatefulSetPreferences: `{"rebalance":true,"clusters":{"gondor":{"weight":2},"shire":{"weight":1}}}`})
	e.create(set.DeepCopy())
	least := object(e.T, workload("Deployment", "replicas", "least", "replicas: 9"))
	least.SetAnnotations(map[string]string{v1beta1.AnnotationDeploymentPreferences: `{"rebalance":true,"clusters":{"gondor":{"minReplicas":20,"weight":1},"*":{"weight":1}}}`})
	e.create(least.DeepCopy())
	none := e.federate(workload("Deployment", "replicas", "none", "replicas: 0"))
	kept := e.federate(workload("Deployment", "replicas", "kept", "replicas: 8"))
	e.eventuallyDivided(set, 6, 3)
	e.eventuallyDivided(least, 9, -1)
	e.eventuallyDivided(none, 0, 0)
	e.eventuallyDivided(kept, 4, 4)

	// Without rebalance other weights move nothing that runs, and divide what is new.
	e.change(kept, preferences("deployment", `{"clusters":{"gondor":{"weight":9},"shire":{"weight":1}}}`))
	e.change(kept, `{"spec":{"replicas":12}}`)
	e.eventuallyDivided(kept, 8, 4)
	e.change(kept, `{"spec":{"replicas":0}}`)
	e.eventuallyDivided(kept, 0, 0)
	e.change(set, preferences("stateful-set", `{"rebalance":true,"clusters":{"shire":{"weight":1}}}`))
	e.eventuallyDivided(set, -1, 9)
}

// What is there already under an object's name is taken over, and what the object does not say of it is left.
func testAdoption(e *middleEarth) {
	e.namespace("adoption")
	o := object(e.T, config("adoption", "one", "federation"))
	e.gondor.create(object(e.T, `{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: adoption, labels: {own: x}}, data: {value: gondor, own: x}}`))
	e.create(o.DeepCopy())
	there := e.gondor.eventuallyHas(o, "federation")
	own, _, _ := unstructured.NestedString(there.Object, "data", "own")
	require.Equal(e, []string{"x", "x", "fellowship"}, []string{own, there.GetLabels()["own"], there.GetLabels()[v1beta1.LabelFederated]})
	e.eventuallySays(o, "gondor", "")
	require.Empty(e, e.told(o, "CreateInClusterFailed"))
}

// testConflict runs with adopt-resources=false.
func testConflict(e *middleEarth) {
	e.namespace("conflict")
	for owner, labels := range map[string]string{"": "own: x", "mordor": "federation.fedhelm.dev/federated-by: mordor"} {
		name := "one" + owner
		o := object(e.T, config("conflict", name, "federation"))
		e.gondor.create(object(e.T, fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: %s, namespace: conflict, labels: {%s}}, data: {value: gondor}}`, name, labels)))
		before, err := e.gondor.read(o)
		require.NoError(e, err)
		e.create(o.DeepCopy())
		e.shire.eventuallyHas(o, "federation")
		e.eventuallySays(o, "gondor", "it is there already")
		e.eventuallyTold(o, "CreateInClusterFailed", "in cluster gondor", "it is there already", owner)
		after, err := e.gondor.read(o)
		require.NoError(e, err)
		require.Equal(e, before, after, "nothing is touched, not even who manages which field")

		// Nor when the object goes.
		if owner != "" {
			require.NoError(e, e.Delete(e.Context(), o.DeepCopy()))
			e.eventuallyGone(o)
			e.shire.eventuallyGone(o)
			after, err := e.gondor.read(o)
			require.NoError(e, err)
			require.Equal(e, before, after)
			continue
		}
		require.NoError(e, e.gondor.Delete(e.Context(), o.DeepCopy()))
		e.gondor.eventuallyHas(o, "federation")
		e.eventuallySays(o, "gondor", "")
	}
}

// Deleted with --cascade=orphan an object leaves its copies to the members; deleted otherwise it takes them along.
func testOrphans(e *middleEarth) {
	e.namespace("orphans")
	kept, gone := e.federate(config("orphans", "kept", "1")), e.federate(config("orphans", "gone", "1"))
	for _, member := range e.members() {
		member.eventuallyHas(kept, "1")
		member.eventuallyHas(gone, "1")
	}
	require.NoError(e, e.Delete(e.Context(), kept.DeepCopy(), client.PropagationPolicy(metav1.DeletePropagationOrphan)))
	require.NoError(e, e.Delete(e.Context(), gone.DeepCopy(), client.PropagationPolicy(metav1.DeletePropagationForeground)))
	for o, finalizer := range map[*unstructured.Unstructured]string{kept: metav1.FinalizerOrphanDependents, gone: metav1.FinalizerDeleteDependents} {
		// The garbage collector's part, which does not run here.
		clusters.EventuallySeen(e.T, bound, "its finalizer is off", func() (bool, string) {
			there, err := e.read(o)
			if apierrors.IsNotFound(err) {
				return true, ""
			}
			require.NoError(e, err)
			there.SetFinalizers(slices.DeleteFunc(there.GetFinalizers(), func(f string) bool { return f == finalizer }))
			err = e.Update(e.Context(), there)
			return err == nil || apierrors.IsNotFound(err), fmt.Sprint(err)
		})
		e.eventuallyGone(o)
	}
	for _, member := range e.members() {
		member.eventuallyGone(gone)
		there := member.eventuallyThere(kept)
		require.Empty(e, there.GetLabels())
		require.Empty(e, there.GetAnnotations())
	}
}

// What a person looks at when something is slow or wrong. It comes after tests in which members refused objects.
func testMetrics(e *middleEarth) {
	positive := func(name, label string) {
		e.Helper()
		clusters.EventuallySeen(e.T, bound, name+" "+label, func() (bool, string) {
			n, found := e.program.metric(name, label)
			return found && n > 0, fmt.Sprint(n, found)
		})
	}
	o := e.federate(`{apiVersion: v1, kind: ConfigMap, metadata: {name: bad, namespace: default, annotations: {federation.alpha.kubernetes.io/cluster-selector: bad}}}`)
	positive("federation_objects", `state="failed",type="configmaps"`)
	positive("federation_objects", `state="placed",type="configmaps"`)
	require.NoError(e, e.Delete(e.Context(), o.DeepCopy()))
	clusters.EventuallySeen(e.T, bound, "none failed", func() (bool, string) {
		n, found := e.program.metric("federation_objects", `state="failed",type="configmaps"`)
		return found && n == 0, fmt.Sprint(n, found)
	})
	positive("federation_sync_duration_seconds_count", `type="configmaps"`)
	positive("federation_sync_duration_seconds_bucket", `type="deployments",le="`)
	positive("federation_sync_failures_total", `cluster="gondor",reason="Forbidden",type="configmaps"`)
	positive("federation_member_requests_total", `cluster="gondor",code="201",method="PATCH"`)
	positive("federation_member_requests_total", `cluster="gondor",code="403",method="PATCH"`)
	positive("federation_member_requests_total", `cluster="shire",code="200",method="GET"`)
	for _, controller := range []string{"copies", "configmaps", "deployments"} {
		_, found := e.program.metric("workqueue_depth", `name="`+controller+`"`)
		require.True(e, found, "queue depth of %s", controller)
		positive("workqueue_queue_duration_seconds_count", `name="`+controller+`"`)
	}
	for name := range e.members() {
		_, found := e.program.metric("federation_member_queue_depth", `cluster="`+name+`"`)
		require.True(e, found, "queue depth of %s", name)
	}
	errors, _ := e.program.metric("federation_sync_failures_total", `cluster="shire"`)
	require.Zero(e, errors, "who is well has no errors")
}

// A member that answers slowly, with refusals, half, or not at all, holds up nobody, is not asked more than the pauses between two tries allow, and gets in
// the end what the others have.
func testRoad(e *middleEarth) {
	e.namespace("road")
	changed := e.federate(config("road", "changed", "none"))
	for _, member := range e.members() {
		member.eventuallyHas(changed, "none")
	}
	const objects = 5
	serve := func(name string) (slowest time.Duration, all []*unstructured.Unstructured) {
		began := time.Now()
		e.change(changed, `{"data":{"value":"`+name+`"}}`)
		e.gondor.eventuallyHas(changed, name)
		slowest = time.Since(began)
		for i := range objects {
			began := time.Now()
			o := e.federate(config("road", fmt.Sprint(name, "-", i), name))
			e.gondor.eventuallyHas(o, name)
			slowest = max(slowest, time.Since(began))
			all = append(all, o)
		}
		return slowest, append(all, changed)
	}
	normal, _ := serve("well")
	for _, test := range []struct {
		name  string
		trial trial
	}{
		{"slow", delays(2 * time.Second)},
		{"too-many-requests", answers(http.StatusTooManyRequests)},
		{"internal-error", answers(http.StatusInternalServerError)},
		{"cut", cuts()},
		{"vanished", e.road.swallows()},
	} {
		began := time.Now()
		e.road.fail(test.trial)
		if test.name == "cut" || test.name == "vanished" {
			e.road.CloseClientConnections() // the watches too
		}
		slowest, all := serve(test.name)
		require.Less(e, slowest, 4*normal+5*time.Second, "gondor is served beside a shire that is %s", test.name)

		var requests, most int
		clusters.EventuallySeen(e.T, bound, "shire was tried", func() (bool, string) {
			requests, most = e.road.tried()
			ready := e.cluster("shire").Status.Phase == v1beta1.ClusterPhaseReady
			return most >= 5 || !ready || test.name == "slow" && requests >= objects || !slices.ContainsFunc(all, func(o *unstructured.Unstructured) bool {
				there, err := e.shire.read(o)
				return err != nil || dataOf(there) != test.name
			}), fmt.Sprint(requests, most)
		})
		took := time.Since(began)
		// The pause begins with 100ms and doubles; a 429 asks for a second within each try. Watches that were cut, one a type, are much the same.
		tries := 4 + math.Log2(1+took.Seconds()/0.1) + took.Seconds()
		require.LessOrEqual(e, float64(most), tries, "the write that shire got most often in %v", took)
		require.LessOrEqual(e, float64(requests), tries*float64(len(all)+len(federatedtypes.Defaults())+1), "requests to shire in %v", took)

		e.road.heal()
		began = time.Now()
		e.eventuallyReady("shire", v1beta1.ClusterPhaseReady, "ClusterReady")
		for _, o := range all {
			e.shire.eventuallyHas(o, test.name)
			e.eventuallySays(o, "shire", "")
		}
		e.Logf("%s: gondor served in at most %v (normally %v), shire got %d requests and at most %d of one write in %v, and all %v after it was well", test.name, slowest, normal, requests, most, took, time.Since(began))
	}
	e.eventuallyQuiet()
}

// A deletion waits for a member that is away only so long, and takes what it has when it is back. What was to go from there is not lost either.
func testForceAfter(e *middleEarth) {
	e.namespace("away")
	gone, kept := e.federate(config("away", "gone", "1")), e.federate(config("away", "kept", "1"))
	for _, o := range []*unstructured.Unstructured{gone, kept} {
		for name, member := range e.members() {
			member.eventuallyHas(o, "1")
			e.eventuallySays(o, name, "")
		}
	}
	e.road.fail(e.road.swallows())
	e.road.CloseClientConnections()
	e.eventuallyReady("shire", v1beta1.ClusterPhaseOffline, "ClusterNotReachable")
	began := time.Now()
	require.NoError(e, e.Delete(e.Context(), gone.DeepCopy()))
	e.gondor.eventuallyGone(gone)
	e.eventuallyGone(gone)
	require.Greater(e, time.Since(began), forceAfter-time.Second, "times are in whole seconds")
	e.change(kept, `{"data":{"value":"2"}}`)
	e.gondor.eventuallyHas(kept, "2")
	e.eventuallySays(kept, "shire", "the cluster is not Ready")

	e.road.heal()
	e.eventuallyReady("shire", v1beta1.ClusterPhaseReady, "ClusterReady")
	e.shire.eventuallyGone(gone)
	e.shire.eventuallyHas(kept, "2")
}

// A member whose credentials are revoked misses what happens until it has others; and its controllers of before leave nothing behind.
func testCredentials(e *middleEarth) {
	e.namespace("credentials")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "shire-federation-credentials", Namespace: hostNamespace}}
	routines := func() float64 {
		_, body := get("http://" + e.program.metrics + "/metrics")
		var n float64
		for line := range strings.Lines(body) {
			if text, found := strings.CutPrefix(line, "go_goroutines "); found {
				_, err := fmt.Sscan(text, &n)
				require.NoError(e, err)
			}
		}
		return n
	}
	revoke := func(account string) {
		e.Helper()
		require.NoError(e, e.shire.Delete(e.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account, Namespace: "default"}}))
		e.eventuallyReady("shire", v1beta1.ClusterPhaseNotReady, "CredentialsRefused")
	}
	give := func(account string) {
		e.Helper()
		require.NoError(e, e.Get(e.Context(), client.ObjectKeyFromObject(secret), secret))
		secret.Data["token"] = e.shire.token(account)
		require.NoError(e, e.Update(e.Context(), secret))
		e.eventuallyReady("shire", v1beta1.ClusterPhaseReady, "ClusterReady")
	}
	account := "federation"
	var before float64
	for i := range 2 {
		revoke(account)
		o := e.federate(config("credentials", fmt.Sprint("o-", i), "1"))
		e.gondor.eventuallyHas(o, "1")
		e.eventuallySays(o, "shire", "the cluster refuses the credentials")
		e.shire.lacks(o)
		account = fmt.Sprint("account-", i)
		give(account)
		e.shire.eventuallyHas(o, "1")
		e.eventuallySays(o, "shire", "")
		if i == 0 {
			before = routines()
		}
	}
	// Without a Secret there is no client, which holds up nobody either; what was under way is no refusal.
	require.NoError(e, e.Get(e.Context(), client.ObjectKeyFromObject(secret), secret))
	require.NoError(e, e.Delete(e.Context(), secret.DeepCopy()))
	e.eventuallyReady("shire", v1beta1.ClusterPhaseNotReady, "CredentialsMissing")
	web := e.federate(workload("Deployment", "credentials", "web", "replicas: 4"))
	e.gondor.eventually("all replicas", web, func(found *unstructured.Unstructured) bool { return found != nil && replicasOf(found) == 4 })
	e.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: secret.Name, Namespace: hostNamespace}, Data: secret.Data})
	e.eventuallyReady("shire", v1beta1.ClusterPhaseReady, "ClusterReady")
	e.shire.eventuallyHas(e.federate(config("credentials", "last", "1")), "1")
	var events corev1.EventList
	require.NoError(e, e.List(e.Context(), &events))
	require.False(e, slices.ContainsFunc(events.Items, func(event corev1.Event) bool { return strings.Contains(event.Message, "context canceled") }))

	// The member was started twice since; it has some hundred goroutines.
	clusters.EventuallySeen(e.T, bound, "no more goroutines than before", func() (bool, string) {
		n := routines()
		return before > 0 && n < before+100, fmt.Sprint(before, n)
	})
}

func (p *program) eventuallyEnds() {
	p.Helper()
	began := time.Now()
	select {
	case <-p.done:
		p.Logf("ended after %v", time.Since(began))
	case <-time.After(bound):
		p.Fatalf("still running after %v", bound)
	}
}

// writes are the requests of a program to members that change something.
func (p *program) writes() float64 {
	all := 0.0
	for _, method := range []string{"PATCH", "DELETE", "POST", "PUT"} {
		n, _ := p.metric("federation_member_requests_total", `method="`+method+`"`)
		all += n
	}
	return all
}

// A standby writes nothing, and goes on where a leader that is killed in the middle stopped. It is the program from then on, and takes nothing over.
func testStandby(outer *middleEarth, t *testing.T, args []string) {
	e := outer.with(t)
	e.namespace("standby")
	args = append(slices.Clone(args), "--adopt-resources=false", "--leader-elect-lease-duration=14s", "--leader-elect-renew-deadline=12s", "--leader-elect-retry-period=500ms")
	require.NoError(t, e.program.cmd.Process.Signal(syscall.SIGKILL))
	e.program.eventuallyEnds()
	leader := outer.run(args...)
	e.gondor.eventuallyThere(e.federate(config("standby", "led", "1")))
	standby := outer.run(args...)
	standby.eventuallyAnswers("/readyz", 200)
	var all []*unstructured.Unstructured
	for i := range 40 {
		if i == 20 {
			require.Zero(t, standby.writes())
			require.NoError(t, leader.cmd.Process.Signal(syscall.SIGKILL))
		}
		all = append(all, e.federate(config("standby", fmt.Sprint("o-", i), "1")))
		if i%10 == 0 {
			all = append(all, e.federate(fmt.Sprintf(`{apiVersion: batch/v1, kind: Job, metadata: {name: job-%d, namespace: standby}, spec: {parallelism: 4, completions: 10, template: {spec: {restartPolicy: Never, containers: [{name: a, image: a}]}}}}`, i)))
		}
		if i%10 == 9 {
			require.NoError(t, e.Delete(t.Context(), all[i-5].DeepCopy(), client.PropagationPolicy(metav1.DeletePropagationBackground)))
			all = slices.Delete(all, i-5, i-4)
		}
	}
	leader.eventuallyEnds()
	outer.program, e.program = standby, standby
	for _, o := range all {
		var completions int64
		for name, member := range e.members() {
			there := member.eventuallyThere(o)
			part, _, _ := unstructured.NestedInt64(there.Object, "spec", "completions")
			completions += part
			e.eventuallySays(o, name, "")
		}
		if o.GetKind() == "Job" {
			require.Equal(t, int64(10), completions)
		}
	}
	e.eventuallyQuiet()
	for _, of := range federatedtypes.Defaults() {
		for name, member := range e.members() {
			copies, err := member.list(of)
			require.NoError(t, err)
			for _, c := range copies.Items {
				if _, err := e.read(&c); c.GetNamespace() == "standby" || err != nil {
					require.NoError(t, err, "%s has the stray %s %s", name, c.GetKind(), c.GetName())
				}
			}
		}
	}
}

// While the federation's API is away nothing happens to what is placed, and nothing is written when it is back, save what changed meanwhile in a member.
func testFederationAway(outer *middleEarth, t *testing.T, args []string) {
	e := outer.with(t)
	e.namespace("stopped")
	o, drifted := e.federate(config("stopped", "one", "1")), e.federate(config("stopped", "drifted", "1"))
	web := e.federate(workload("Deployment", "stopped", "web", "replicas: 8"))
	for name, member := range e.members() {
		for _, of := range []*unstructured.Unstructured{o, drifted, web} {
			member.eventuallyThere(of)
			e.eventuallySays(of, name, "")
		}
	}
	e.eventuallyQuiet()
	before := e.versions([]*unstructured.Unstructured{o, web})
	e.stop()
	require.NoError(t, e.gondor.Patch(t.Context(), drifted.DeepCopy(), merge(`{"data":{"value":"2"}}`)))
	e.program.eventuallyEnds() // it may not go on without its lease
	require.Contains(t, e.program.log.String(), "leader election lost")
	e.start()
	outer.program = outer.run(args...)
	e.program = outer.program
	e.gondor.eventuallyHas(drifted, "1")
	e.eventuallyQuiet()
	require.Equal(t, before, e.versions([]*unstructured.Unstructured{o, web}))

	// One without an election goes on by itself.
	before = e.versions([]*unstructured.Unstructured{o, drifted, web})
	e.stop()
	clusters.EventuallySeen(t, bound, "it notices", func() (bool, string) {
		code, body := get("http://" + e.program.health + "/readyz")
		return code != 200, body
	})
	e.start()
	e.program.eventuallyAnswers("/readyz", 200)
	e.shire.eventuallyThere(e.federate(config("stopped", "later", "1")))
	e.eventuallyQuiet()
	require.Equal(t, before, e.versions([]*unstructured.Unstructured{o, drifted, web}))
}

// A member that leaves with policy Delete gives back all that the federation placed there, and only that, whatever happens to the program meanwhile.
func testDrain(outer *middleEarth, t *testing.T, args []string) {
	e := outer.with(t)
	e.namespace("drain")
	own := object(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: own, namespace: drain}}`)
	e.shire.create(own.DeepCopy())
	o := e.federate(config("drain", "one", "1"))
	web := e.federate(workload("Deployment", "drain", "web", "replicas: 8"))
	e.eventuallyDivided(web, 4, 4)
	e.shire.eventuallyHas(o, "1")
	e.eventuallySays(o, "shire", "")

	// The program is started in the middle: it knows nothing of the member yet.
	require.NoError(t, e.program.cmd.Process.Signal(syscall.SIGKILL))
	e.program.eventuallyEnds()
	shire := e.cluster("shire")
	require.NoError(t, e.Patch(t.Context(), shire, merge(`{"spec":{"unjoinPolicy":"Delete"}}`)))
	require.NoError(t, e.Delete(t.Context(), shire))
	outer.program = outer.run(args...)
	e.program = outer.program
	clusters.EventuallySeen(t, 2*bound, "shire has left", func() (bool, string) {
		e.shire.finalizeNamespaces()
		err := e.Get(t.Context(), client.ObjectKeyFromObject(shire), shire)
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
	types, err := federatedtypes.All([]string{rings})
	require.NoError(t, err)
	for _, of := range types {
		copies, err := e.shire.list(of)
		require.NoError(t, err)
		require.Empty(t, copies.Items, of.Name())
	}
	_, err = e.shire.read(own)
	require.NoError(t, err, "this was never the federation's")
	e.eventuallyDivided(web, 8, -1)
	e.eventually("shire is not spoken of", o, func(found *unstructured.Unstructured) bool {
		said := statesOf(t, found)
		_, still := said["shire"]
		return !still && said["gondor"].Error == ""
	})
	clusters.EventuallySeen(t, bound, "no metrics of shire", func() (bool, string) {
		n, found := e.program.metric("federation_member_requests_total", `cluster="shire"`)
		return !found, fmt.Sprint(n)
	})
}

// finalizeNamespaces is the part of the namespace controller, which does not run here: a namespace that is being deleted goes.
func (a *api) finalizeNamespaces() {
	var list corev1.NamespaceList
	require.NoError(a, a.List(a.Context(), &list))
	for i := range list.Items {
		n := &list.Items[i]
		if n.DeletionTimestamp != nil && len(n.Spec.Finalizers) > 0 {
			n.Spec.Finalizers = nil
			if err := a.SubResource("finalize").Update(a.Context(), n); !apierrors.IsConflict(err) { // the next look does it
				require.NoError(a, client.IgnoreNotFound(err))
			}
		}
	}
}
