package chartgen

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/strvals"
	"sigs.k8s.io/yaml"

	"github.com/fedhelm/fedhelm/pkg/values"
)

// Each case is what a user gives, and what Helm says then; nothing, if it is accepted.
func TestSchema(t *testing.T) {
	const (
		controlPlane = "federation-control-plane"
		member       = "federation-member"
	)
	for _, test := range []struct{ chart, given, refused string }{
		{controlPlane, ``, ``},
		{member, ``, ``},

		{controlPlane, `apiserver: {replicas: 2}`, "at '': additional properties 'apiserver' not allowed"},
		{controlPlane, `dns: {zone: a.}`, "at '/dns': additional properties 'zone' not allowed"},
		{controlPlane, `etcd: {replicas: 3}`, "at '/etcd': additional properties 'replicas' not allowed"},
		{controlPlane, `apiServer: {image: {name: x}}`, "at '/apiServer/image': additional properties 'name' not allowed"},
		{member, `credentials: {secret: x}`, "at '/credentials': additional properties 'secret' not allowed"},

		// Parent charts.
		{controlPlane, `{global: {imageRegistry: mirror.example, storageClass: fast, nested: {a: 1}}, enabled: true}`, ``},
		{controlPlane, `global: {imageRegistry: 1}`, "at '/global/imageRegistry': got number, want string"},
		{member, `enabled: "yes"`, "at '/enabled': got string, want boolean"},

		// Flags.
		{controlPlane, `apiServer: {argOverrides: {a: text, b: 1, c: 1.5, d: true, e: null}}`, ``},
		{controlPlane, `apiServer: {argOverrides: {a: [x]}}`, "at '/apiServer/argOverrides/a': got array, want null or boolean or number or string"},

		// What has the shape of Kubernetes.
		{controlPlane, `etcd: {resources: {requests: {cpu: 1, memory: 100Mi}, limits: {cpu: 0.5, hugepages-2Mi: 1e3}}}`, ``},
		{controlPlane, `etcd: {resources: {requests: {cpu: much}}}`, "at '/etcd/resources/requests/cpu': 'much' does not match pattern"},
		{controlPlane, `etcd: {resources: {request: {cpu: 1}}}`, "at '/etcd/resources': additional properties 'request' not allowed"},
		{controlPlane, `hooks: {tolerations: [{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 5}]}`, ``},
		{controlPlane, `hooks: {tolerations: [{keys: a}]}`, "at '/hooks/tolerations/0': additional properties 'keys' not allowed"},
		{controlPlane, `hooks: {affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1}]}}}`, ``},
		{controlPlane, `hooks: {affinity: {podAntiafinity: {}}}`, "at '/hooks/affinity': additional properties 'podAntiafinity' not allowed"},
		{controlPlane, `commonLabels: {a: 1}`, "at '/commonLabels/a': got number, want string"},

		// Words, numbers and patterns.
		{controlPlane, `apiServer: {service: {type: Ingress}}`, "at '/apiServer/service/type': value must be one of 'LoadBalancer', 'NodePort', 'ClusterIP'"},
		{controlPlane, `apiServer: {service: {port: 65536}}`, "at '/apiServer/service/port': maximum: got 65,536, want 65,535"},
		{controlPlane, `apiServer: {replicas: 0}`, "at '/apiServer/replicas': minimum: got 0, want 1"},
		{controlPlane, `apiServer: {replicas: 1.5}`, "at '/apiServer/replicas': got number, want integer"},
		{controlPlane, `dns: {zoneName: middle-earth.example}`, ``},
		{controlPlane, `dns: {zoneName: middle-earthXexample..}`, "at '/dns/zoneName': 'middle-earthXexample..' does not match pattern"},
		{controlPlane, `dns: {zoneName: a..b}`, "at '/dns/zoneName': 'a..b' does not match pattern"},
		{controlPlane, `dns: {check: off}`, ``},
		{controlPlane, `dns: {check: "off"}`, ``},
		{controlPlane, `dns: {check: true}`, "at '/dns/check': value must be one of 'warn', 'strict', 'off', false"},
		{controlPlane, `etcd: {persistence: {size: 1.5Gi}}`, ``},
		{controlPlane, `etcd: {persistence: {size: 1x5Gi}}`, "at '/etcd/persistence/size': '1x5Gi' does not match pattern"},
		{controlPlane, `controllerManager: {clusterMonitorPeriod: 1m30s}`, ``},
		{controlPlane, `controllerManager: {clusterMonitorPeriod: soon}`, "at '/controllerManager/clusterMonitorPeriod': 'soon' does not match pattern"},
		{member, `clusterName: gondor_needs-no_king`, "at '/clusterName': 'gondor_needs-no_king' does not match pattern"},
		{member, `clusterName: ` + strings.Repeat("a", 41), "at '/clusterName': maxLength: got 41, want 40"},
		{member, `secretName: 11kingdom`, ``},
		{member, `secretName: Kingdom`, "at '/secretName': 'Kingdom' does not match pattern"},
		{member, `server: http://gondor`, "at '/server': 'http://gondor' does not match pattern"},
		{member, `clientCIDR: everybody`, "at '/clientCIDR': 'everybody' does not match pattern"},
		{member, `unjoin: {policy: Keep}`, "at '/unjoin/policy': value must be one of 'Orphan', 'Delete'"},

		// What a user sets to null, Helm drops; what it leaves is taken where Go takes it.
		{controlPlane, `{commonLabels: null, etcd: null, apiServer: {service: {type: null}, affinity: null, tolerations: null, resources: {limits: null}}}`, ``},
		{controlPlane, `apiServer: {affinity: {nodeAffinity: null}}`, ``},
		{member, `{zones: null, credentials: {context: null}, hooks: {podAnnotations: {linkerd.io/inject: null}}}`, ``},
	} {
		t.Run(test.chart+" "+test.given, func(t *testing.T) {
			var given map[string]any
			require.NoError(t, yaml.Unmarshal([]byte(test.given), &given))
			_, err := chartutil.ToRenderValues(helmChart(t, test.chart), given, chartutil.ReleaseOptions{}, nil)
			if test.refused == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, test.refused)
			}
		})
	}
}

// What a user or a parent chart sets to null for a chart that is part of another comes through as well.
func TestSchemaInParentChart(t *testing.T) {
	parent := &chart.Chart{
		Metadata: &chart.Metadata{Name: "middle-earth"},
		Values:   map[string]any{"federation-member": map[string]any{"zones": nil}},
	}
	parent.AddDependency(helmChart(t, "federation-member"))
	given, err := strvals.Parse("federation-member.hooks.resources=null,federation-member.labels=null,global.other=1")
	require.NoError(t, err)
	_, err = chartutil.ToRenderValues(parent, given, chartutil.ReleaseOptions{}, nil)
	assert.NoError(t, err)
}

// Tags are split at commas and unquoted: every pattern that reaches the schema must be one that stands in a tag as a whole.
func TestPatternsSurviveTheirTags(t *testing.T) {
	for chart, defaults := range charts {
		text := generated(t, chart, "values.schema.json")
		var schema map[string]any
		require.NoError(t, json.Unmarshal(text, &schema))
		eachTag(reflect.TypeOf(defaults), "", func(path, tag string) {
			_, pattern, found := strings.Cut(tag, "pattern=")
			if !found {
				return
			}
			property, ok := lookup(schema, "properties."+strings.ReplaceAll(path, ".", ".properties."))
			require.True(t, ok, path)
			// A comma may stand escaped in a pattern; none may follow it unescaped.
			assert.Equal(t, strings.ReplaceAll(pattern, `\,`, `,`), property.(map[string]any)["pattern"], path)
			_, err := regexp.Compile(pattern)
			assert.NoError(t, err, path)
		})
	}
}

func eachTag(section reflect.Type, path string, do func(path, tag string)) {
	for _, f := range reflect.VisibleFields(section) {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous {
			continue
		}
		key = strings.TrimPrefix(path+"."+key, ".")
		if f.Type.Kind() == reflect.Struct && f.Type.PkgPath() == valuesPackage {
			eachTag(f.Type, key, do)
		}
		do(key, f.Tag.Get("jsonschema"))
	}
}

func TestSchemaIsClosed(t *testing.T) {
	for chart := range charts {
		var schema map[string]any
		require.NoError(t, json.Unmarshal(generated(t, chart, "values.schema.json"), &schema))
		eachObject("", schema, func(path string, object map[string]any) {
			assert.Equal(t, path != "/global", object["additionalProperties"] == false, path)
			assert.NotContains(t, object, "required", path)
		})
	}
}

// eachObject calls do for every schema with properties.
func eachObject(path string, schema map[string]any, do func(path string, object map[string]any)) {
	properties, ok := schema["properties"].(map[string]any)
	if !ok {
		return
	}
	do(path, schema)
	for key, property := range properties {
		eachObject(path+"/"+key, property.(map[string]any), do)
	}
}

// What the schema lets pass, fedhook can read.
func TestSchemaAgreesWithTheTypes(t *testing.T) {
	given := `{apiServer: {argOverrides: {v: 4}, resources: {limits: {cpu: 0.5}}, affinity: {nodeAffinity: {}}, tolerations: null}, commonLabels: null}`
	var v map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(given), &v))
	require.NoError(t, chartutil.ValidateAgainstSingleSchema(v, generated(t, "federation-control-plane", "values.schema.json")))
	_, err := values.DecodeControlPlane([]byte(given))
	assert.NoError(t, err)
}

func helmChart(t *testing.T, name string) *chart.Chart {
	t.Helper()
	return &chart.Chart{
		Metadata: &chart.Metadata{Name: name},
		Values:   chartValues(t, name),
		Schema:   generated(t, name, "values.schema.json"),
	}
}
