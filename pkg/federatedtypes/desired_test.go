package federatedtypes

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// object reads a manifest, or a part of one, as from an API: whole numbers are int64.
func object(t *testing.T, manifest string) *unstructured.Unstructured {
	t.Helper()
	text, err := yaml.YAMLToJSON([]byte(manifest))
	require.NoError(t, err, manifest)
	o := &unstructured.Unstructured{}
	require.NoError(t, json.Unmarshal(text, &o.Object), manifest)
	return o
}

// typeOf gives a default type by its resource.
func typeOf(t *testing.T, resource string) *Type {
	t.Helper()
	at := slices.IndexFunc(defaults, func(d *Type) bool { return d.Resource == resource })
	require.NotEqual(t, -1, at, resource)
	return defaults[at]
}

// What is wanted of a copy is the object without what its API, our controllers and kubectl put there, and nothing of the object is changed for it.
func TestDesired(t *testing.T) {
	for _, test := range []struct{ name, resource, object, want string }{
		{"what an API and controllers put on an object", "configmaps", `
apiVersion: v1
kind: ConfigMap
metadata:
  name: one
  namespace: shop
  uid: 1-2-3
  resourceVersion: "7"
  generation: 3
  creationTimestamp: "2026-01-01T00:00:00Z"
  deletionTimestamp: "2026-01-01T00:00:00Z"
  deletionGracePeriodSeconds: 0
  generateName: o
  selfLink: /one
  finalizers: [federation.kubernetes.io/delete-from-underlying-clusters]
  ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: two, uid: 4-5-6}]
  managedFields: [{manager: kubectl}]
  labels: {app: web}
  annotations:
    colour: white
    federation.fedhelm.dev/clusters: "{}"
    federation.fedhelm.dev/orphan: "true"
    federation.alpha.kubernetes.io/cluster-selector: "[]"
    kubectl.kubernetes.io/last-applied-configuration: "{}"
data: {a: b}
binaryData: {c: ZA==}
immutable: true
status: {phase: x}`, `
apiVersion: v1
kind: ConfigMap
metadata:
  name: one
  namespace: shop
  labels: {app: web, federation.fedhelm.dev/federated-by: fellowship}
  annotations: {colour: white, federation.alpha.kubernetes.io/cluster-selector: "[]"}
data: {a: b}
binaryData: {c: ZA==}
immutable: true`},
		{"somebody else's mark", "configmaps",
			`{apiVersion: v1, kind: ConfigMap, metadata: {name: one, labels: {federation.fedhelm.dev/federated-by: mordor}}}`,
			`{apiVersion: v1, kind: ConfigMap, metadata: {name: one, labels: {federation.fedhelm.dev/federated-by: fellowship}, annotations: {}}}`},
		{"a Namespace", "namespaces",
			`{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {kubernetes.io/metadata.name: shop, team: hobbits}}, spec: {finalizers: [kubernetes]}, status: {phase: Active}}`,
			`{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: hobbits, federation.fedhelm.dev/federated-by: fellowship}, annotations: {}}}`},
		{"a ServiceAccount", "serviceaccounts",
			`{apiVersion: v1, kind: ServiceAccount, metadata: {name: one, namespace: shop}, secrets: [{name: one-token-x}], imagePullSecrets: [{name: pull}], automountServiceAccountToken: false}`,
			`{apiVersion: v1, kind: ServiceAccount, metadata: {name: one, namespace: shop, labels: {federation.fedhelm.dev/federated-by: fellowship}, annotations: {}}, imagePullSecrets: [{name: pull}], automountServiceAccountToken: false}`},
		{"a Service", "services", `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: LoadBalancer
  clusterIP: 10.0.0.7
  clusterIPs: [10.0.0.7]
  ipFamilies: [IPv4]
  ipFamilyPolicy: SingleStack
  healthCheckNodePort: 31000
  externalTrafficPolicy: Local
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30080, protocol: TCP}, {name: dns, port: 53, protocol: UDP, nodePort: 30053}]
status: {loadBalancer: {ingress: [{ip: 1.2.3.4}]}}`, `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, labels: {federation.fedhelm.dev/federated-by: fellowship}, annotations: {}}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080, protocol: TCP}, {name: dns, port: 53, protocol: UDP}]`},
		{"a Service that wants two families", "services",
			`{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv6, IPv4], ports: [{port: 80}]}}`,
			`{apiVersion: v1, kind: Service, metadata: {name: web, labels: {federation.fedhelm.dev/federated-by: fellowship}, annotations: {}}, spec: {ipFamilyPolicy: PreferDualStack, ports: [{port: 80}]}}`},
		{"a headless Service", "services",
			`{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: None, clusterIPs: [None], ports: [{port: 80}]}}`,
			`{apiVersion: v1, kind: Service, metadata: {name: web, labels: {federation.fedhelm.dev/federated-by: fellowship}, annotations: {}}, spec: {clusterIP: None, ports: [{port: 80}]}}`},
		{"a Service without ports", "services",
			`{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: ExternalName, externalName: shire.example.com}}`,
			`{apiVersion: v1, kind: Service, metadata: {name: web, labels: {federation.fedhelm.dev/federated-by: fellowship}, annotations: {}}, spec: {type: ExternalName, externalName: shire.example.com}}`},
		{"a Job", "jobs", `
apiVersion: batch/v1
kind: Job
metadata: {name: one, namespace: shop, labels: {team: hobbits, controller-uid: 1-2-3, job-name: one}}
spec:
  parallelism: 2
  ttlSecondsAfterFinished: 60
  selector: {matchLabels: {batch.kubernetes.io/controller-uid: 1-2-3}}
  manualSelector: false
  template:
    metadata: {labels: {app: a, controller-uid: 1-2-3, batch.kubernetes.io/controller-uid: 1-2-3, job-name: one, batch.kubernetes.io/job-name: one}}
    spec: {restartPolicy: Never}
status: {active: 1}`, `
apiVersion: batch/v1
kind: Job
metadata: {name: one, namespace: shop, labels: {team: hobbits, federation.fedhelm.dev/federated-by: fellowship}, annotations: {}}
spec:
  parallelism: 2
  manualSelector: false
  template:
    metadata: {labels: {app: a}}
    spec: {restartPolicy: Never}`},
		{"a Job with a selector of its own", "jobs",
			`{apiVersion: batch/v1, kind: Job, metadata: {name: one}, spec: {manualSelector: true, selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a, job-name: mine}}}}}`,
			`{apiVersion: batch/v1, kind: Job, metadata: {name: one, labels: {federation.fedhelm.dev/federated-by: fellowship}, annotations: {}}, spec: {manualSelector: true, selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a, job-name: mine}}}}}`},
		{"a Deployment", "deployments",
			`{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 9, template: {spec: {containers: [{name: web}]}}}, status: {replicas: 9}}`,
			`{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, labels: {federation.fedhelm.dev/federated-by: fellowship}, annotations: {}}, spec: {replicas: 9, template: {spec: {containers: [{name: web}]}}}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			given := object(t, test.object)
			before := given.DeepCopy()
			fields := typeOf(t, test.resource).Desired(given, "fellowship")
			require.Equal(t, object(t, test.want).Object, fields)

			// What callers may do with it.
			Scale(fields, map[string]int64{"replicas": 1, "parallelism": 1, "completions": 1})
			metadata := fields["metadata"].(map[string]any)
			metadata["labels"].(map[string]any)["more"] = "x"
			metadata["annotations"].(map[string]any)["more"] = "x"
			fields["more"] = "x"
			require.Equal(t, before, given, "the object is the cache's")
		})
	}
}

// Objects without what is edited are no reason to fail.
func TestDesiredOfOddObjects(t *testing.T) {
	for _, resource := range []string{"namespaces", "services", "serviceaccounts", "jobs", "deployments"} {
		for _, odd := range []string{`{metadata: {name: one}}`, `{metadata: {name: one}, spec: null}`, `{metadata: {name: one}, spec: {ports: [null, 1], template: {metadata: null}}}`} {
			given := object(t, odd)
			before := given.DeepCopy()
			require.Equal(t, "one", typeOf(t, resource).Desired(given, "fellowship")["metadata"].(map[string]any)["name"], odd)
			require.Equal(t, before, given)
		}
	}
}

func TestScale(t *testing.T) {
	for _, test := range []struct {
		name, fields string
		values       map[string]int64
		want         string
	}{
		{"nothing", `{spec: {replicas: 9}}`, nil, `{spec: {replicas: 9}}`},
		{"a field", `{spec: {replicas: 9, paused: true}}`, map[string]int64{"replicas": 4}, `{spec: {replicas: 4, paused: true}}`},
		{"a field that is absent", `{spec: {}}`, map[string]int64{"replicas": 4}, `{spec: {replicas: 4}}`},
		{"zero is a number", `{spec: {replicas: 9}}`, map[string]int64{"replicas": 0}, `{spec: {replicas: 0}}`},
		{"below zero it goes", `{spec: {replicas: 9}}`, map[string]int64{"replicas": -1}, `{spec: {}}`},
		{"several", `{spec: {minReplicas: 1, maxReplicas: 9}}`, map[string]int64{"minReplicas": 2, "maxReplicas": 3}, `{spec: {minReplicas: 2, maxReplicas: 3}}`},
		{"no spec", `{data: {a: b}}`, map[string]int64{"replicas": 4}, `{data: {a: b}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			fields := object(t, test.fields).Object
			spec, _ := fields["spec"].(map[string]any)
			before := len(spec)
			Scale(fields, test.values)
			require.Equal(t, object(t, test.want).Object, fields)
			require.Len(t, spec, before, "the spec is shared with the object")
		})
	}
}

func TestParse(t *testing.T) {
	types, err := Parse([]string{"example.com/v1/rings", "stable.example.com/v1beta2/swords", "v1/limitranges", "/v1/resourcequotas"})
	require.NoError(t, err)
	var names []string
	for _, of := range types {
		require.Equal(t, SpreadNothing, of.Spread)
		require.False(t, of.HasStatus())
		names = append(names, of.Name())
	}
	require.Equal(t, []string{"rings.example.com", "swords.stable.example.com", "limitranges", "resourcequotas"}, names)

	for _, test := range []struct {
		entry string
		want  string
	}{
		{"", "is not of the form"},
		{"rings", "is not of the form"},
		{"example.com/v1", "is not of the form"}, // the resource is forgotten
		{"rings.example.com/v1", "is not of the form"},
		{"example.com/rings", "is not of the form"},
		{"example.com//rings", "is not of the form"},
		{"example.com/v1/", "is not of the form"},
		{"example.com/v1/Ring", "is not of the form"},
		{"example.com/v1/rings/status", "is not of the form"},
		{" example.com/v1/rings", "is not of the form"},
		{"example.com/v1/*", "is not of the form"},
		{"apps/v1/deployments", "is there already"},
		{"apps/v1beta1/deployments", "is there already"}, // an API has each object once
		{"v1/configmaps", "is there already"},
		{"v1/events", "without end"},
		{"events.k8s.io/v1/events", "without end"},
		{"federation.fedhelm.dev/v1beta1/clusters", "the federation's members are its own"},
		{"coordination.k8s.io/v1/leases", "renews it where it runs"},
		{"v1/nodes", "its own machines"},
	} {
		_, err := Parse([]string{test.entry})
		require.ErrorContains(t, err, test.want, test.entry)
		require.ErrorContains(t, err, `"`+test.entry+`"`)
	}
	_, err = Parse([]string{"example.com/v1/rings", "example.com/v2/rings"})
	require.ErrorContains(t, err, `"example.com/v2/rings" is there already`)

	all, err := All([]string{"example.com/v1/rings"})
	require.NoError(t, err)
	require.Len(t, all, len(defaults)+1)
	require.Len(t, Defaults(), len(defaults), "more types are not the defaults'")
}

// Each type that divides something has a name for it in a spec, and each default type v1's name for its controller.
func TestTypes(t *testing.T) {
	for _, of := range Defaults() {
		require.Equal(t, of.Resource, of.Name())
		require.Equal(t, of.Resource == "namespaces", of.IsNamespace())
		require.Equal(t, of.Spread != SpreadNothing, of.Spread.Amount() != "")
		require.Equal(t, of.Resource == "deployments", of.AppliedAmong() == "labels")
		require.Equal(t, of.HasStatus() || of.Spread != SpreadNothing, of.ReadsCopies())
	}
}
