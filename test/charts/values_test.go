package charts

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/fedhelm/fedhelm/pkg/controlplane"
)

var update = flag.Bool("update", false, "write testdata anew; look at what changes in it")

// byFedhook are the values that no template reads: they are fedhook's, which gets all values in Secrets.
var byFedhook = map[string][]string{
	controlPlane: {"clusterDomain", "apiServer.certificateSANs", "apiServer.service.advertiseAddress", "dns.check", "teardown.strict"},
	member: {"credentials.context", "server", "clientCIDR", "labels", "annotations", "region", "zones", "clusterDNS.clusterDomain",
		"clusterDNS.template", "join.federationTimeoutSeconds", "join.readyTimeoutSeconds", "unjoin.policy", "unjoin.strict", "unjoin.timeoutSeconds"},
}

// others are values that differ from the default and are good, where adding "x" or 1 is not.
var others = map[string]any{
	"apiServer.service.type":                 "NodePort",
	"extraObjects":                           []any{map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "mine"}}},
	"controllerManager.clusterMonitorPeriod": "50s",
	"controllerManager.forceAfter":           "20m",
	"clientCIDR":                             "10.0.0.0/8",
	"server":                                 "https://gondor:6443",
	"clusterDNS.mode":                        "none",
	"unjoin.policy":                          "Delete",
	"etcd.persistence.size":                  "11Gi",
	"keeper.schedule":                        "@hourly",
	"etcd.external.servers":                  []any{"http://another:2379"},
	"etcd.external.prefix":                   "/shire",
	"dns.zoneName":                           "middle-earth.example",
	"dns.provider":                           "none",
	"dns.check":                              "strict",
	"dns.google.endpointURL":                 "https://dns.example",
	"dns.aws.endpointURL":                    "https://route53.example",
	"dns.webhook.url":                        "http://localhost:8888",
	"dns.rfc2136.tsigAlgorithm":              "hmac-sha512",
	"dns.server.service.type":                "NodePort",
	"hooks.activeDeadlineSeconds":            100,
}

// given is what some values need beside them to mean something.
var given = map[string]string{
	"credentials.key":                         `credentials: {kubeconfig: x}`,
	"apiServer.basicAuth.":                    `apiServer: {basicAuth: {enabled: true}}`,
	"apiServer.basicAuth.enabled":             `{}`,
	"apiServer.basicAuth.resources.requests.": `apiServer: {basicAuth: {enabled: true}}`,
	"apiServer.tokenAuth.":                    `apiServer: {tokenAuth: {enabled: true}}`,
	"apiServer.tokenAuth.enabled":             `{}`,
	"etcd.external.existingSecret":            `etcd: {external: {servers: ["https://etcd:2379"], existingSecret: a}}`,
	"etcd.external.ca":                        `etcd: {external: {servers: ["https://etcd:2379"], ca: a, certificate: a, key: a}}`,
	"etcd.external.certificate":               `etcd: {external: {servers: ["https://etcd:2379"], ca: a, certificate: a, key: a}}`,
	"etcd.external.key":                       `etcd: {external: {servers: ["https://etcd:2379"], ca: a, certificate: a, key: a}}`,
	"etcd.external.":                          `etcd: {external: {servers: ["http://etcd:2379"]}}`,
	"dns.coredns.":                            `dns: {coredns: {etcdEndpoints: ["https://etcd:2379"]}}`,
	"dns.google.":                             `dns: {provider: google-clouddns}`,
	"dns.aws.":                                `dns: {provider: aws-route53}`,
	"dns.rfc2136.":                            `dns: {provider: rfc2136}`,
	"dns.azure.":                              `dns: {provider: azure}`,
	"dns.webhook.":                            `dns: {provider: webhook}`,
}

// beside gives what a value needs beside it: its own, or its section's, or several pods.
func beside(path string) string {
	for _, section := range replicatedSections {
		if strings.HasPrefix(path, section+".podDisruptionBudget.") {
			return inSections(`replicas: 2`, section)
		}
	}
	return cmp.Or(given[path], given[path[:strings.LastIndex(path, ".")+1]])
}

// othersBySuffix is the same for values that stand in several sections, by the end of the key.
var othersBySuffix = map[string]any{
	".zoneVisibility":            "private",
	".pullPolicy":                "Always",
	".digest":                    "sha256:" + strings.Repeat("0a", 32),
	".tolerations":               []any{map[string]any{"key": "x"}},
	".affinity":                  map[string]any{"nodeAffinity": map[string]any{"requiredDuringSchedulingIgnoredDuringExecution": map[string]any{"nodeSelectorTerms": []any{map[string]any{"matchFields": []any{map[string]any{"key": "x", "operator": "Exists"}}}}}}},
	".cpu":                       "3",
	".memory":                    "3Gi",
	".topologySpreadConstraints": []any{map[string]any{"maxSkew": 2, "topologyKey": "x", "whenUnsatisfiable": "DoNotSchedule"}},
}

// The table of every value and the rendered fields that it reaches, beyond the Secrets with the values for fedhook, is kept in testdata: a value that reaches
// nothing stands there as fedhook's, or is a mistake.
func TestValuesReachWhatTheyAreFor(t *testing.T) {
	t.Parallel()
	for _, r := range []release{fellowship, gondor} {
		t.Run(r.chart, func(t *testing.T) {
			loaded, err := loadChart(r.chart)
			require.NoError(t, err)
			asIs := fieldsOf(t, rendered(t, r))
			var table strings.Builder
			for _, path := range leaves("", loaded.Values) {
				changed := nested(t, path, other(path, rendering{merged: loaded.Values}.value(path)))
				before := asIs
				if beside(path) != "" {
					before = fieldsOf(t, rendered(t, r.with(beside(path))))
				}
				reached := differences(before, fieldsOf(t, rendered(t, r.with(merge(t, beside(path), changed)))))
				switch fedhooks := slices.Contains(byFedhook[r.chart], path); {
				case fedhooks && len(reached) > 0:
					t.Errorf("%s reaches %v, so it is not fedhook's alone", path, reached)
				case !fedhooks && len(reached) == 0:
					t.Errorf("%s reaches nothing: no template reads it", path)
				case fedhooks:
					reached = []string{"fedhook"}
				}
				fmt.Fprintf(&table, "%s\n    %s\n", path, strings.Join(reached, "\n    "))
			}
			golden(t, r.chart+".values.txt", table.String())
		})
	}
}

// golden compares text with a file in testdata.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), text, "if this is right, write it anew with `go test ./test/charts -update`")
}

// leaves lists the dotted keys of all values that are no sections; what stands in a map that is not empty counts by itself.
func leaves(path string, section map[string]any) (list []string) {
	for _, key := range slices.Sorted(maps.Keys(section)) {
		below := strings.TrimPrefix(path+"."+key, ".")
		if deeper, _ := section[key].(map[string]any); len(deeper) > 0 && !strings.Contains(key, "/") {
			list = append(list, leaves(below, deeper)...)
		} else if !strings.Contains(key, "/") {
			list = append(list, below)
		}
	}
	return list
}

// other gives a value that is not the given one.
func other(path string, value any) any {
	if other, found := others[path]; found {
		return other
	}
	for suffix, other := range othersBySuffix {
		if strings.HasSuffix(path, suffix) {
			return other
		}
	}
	switch value := value.(type) {
	case bool:
		return !value
	case float64:
		return value + 1
	case string:
		return value + "x"
	case []any:
		return []any{"x"}
	default:
		return map[string]any{"x": "x"}
	}
}

// nested gives values in YAML with one key set.
func nested(t *testing.T, path string, value any) string {
	t.Helper()
	keys := strings.Split(path, ".")
	for _, key := range slices.Backward(keys) {
		value = map[string]any{key: value}
	}
	text, err := yaml.Marshal(value)
	require.NoError(t, err)
	return string(text)
}

// fieldsOf gives every field of what is rendered, as `Kind name: path`, without the values for fedhook. NOTES.txt is a field.
func fieldsOf(t *testing.T, r rendering) map[string]any {
	t.Helper()
	all := map[string]any{"NOTES": r.files["templates/NOTES.txt"]}
	for _, o := range r.objects {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o.Object)
		require.NoError(t, err)
		if secretValues(o) != "" {
			unstructured.RemoveNestedField(fields, "data", "values.yaml")
		}
		flatten(all, o.String()+": ", fields)
	}
	return all
}

// flatten adds the fields of an object: those of lists by their names where they have them, and flags by theirs.
func flatten(all map[string]any, path string, value any) {
	switch value := value.(type) {
	case map[string]any:
		for key, value := range value {
			flatten(all, strings.Replace(path+"."+key, " .", " ", 1), value)
		}
	case []any:
		for i, value := range value {
			element := fmt.Sprint(i)
			if named, _ := value.(map[string]any); named["name"] != nil {
				element = fmt.Sprint(named["name"])
			} else if flag, _, found := strings.Cut(fmt.Sprint(value), "="); found && strings.HasPrefix(flag, "--") {
				element = flag
			}
			flatten(all, path+"["+element+"]", value)
		}
	default:
		all[path] = value
	}
}

var index = regexp.MustCompile(`\[[0-9]+\]`)

// differences lists the fields that are not the same in both, of lists without the elements' numbers, and of an object that is in one alone its name.
func differences(a, b map[string]any) (paths []string) {
	both := maps.Clone(a)
	maps.Copy(both, b)
	for path := range both {
		if reflect.DeepEqual(a[path], b[path]) {
			continue
		}
		object, _, _ := strings.Cut(path, ": ")
		if a[object+": kind"] != b[object+": kind"] {
			path = object
		}
		paths = append(paths, index.ReplaceAllString(path, "[]"))
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// A value set to null is as good as an empty one; where the chart cannot do without it, one sentence says so.
func TestNull(t *testing.T) {
	t.Parallel()
	for _, r := range []release{fellowship, gondor} {
		t.Run(r.chart, func(t *testing.T) {
			loaded, err := loadChart(r.chart)
			require.NoError(t, err)
			for _, path := range append(leaves("", loaded.Values), sections("", loaded.Values)...) {
				value := rendering{merged: loaded.Values}.value(path)
				null := r.with(nested(t, path, nil))
				result, err := render(null)
				if needed(path, value) {
					require.Error(t, err, path)
					assert.Equal(t, path+" is null or missing, and the chart needs it: leave it out of your values to have its default, "+
						"and upgrade with --reset-then-reuse-values instead of --reuse-values", sentence(err))
					continue
				}
				require.NoError(t, err, path)
				for _, complaints := range [][]string{result.unreadable, undecodable(result)} {
					assert.Empty(t, complaints, path)
				}
			}
		})
	}
}

// needed says whether a chart cannot do without the value: sections, and what is not empty by default. Of what has the shape of Kubernetes nothing is needed.
func needed(path string, value any) bool {
	if strings.Contains(path, "resources") || strings.HasSuffix(path, "podAnnotations") || strings.HasSuffix(path, "topologySpreadConstraints") {
		return false
	}
	section, _ := value.(map[string]any)
	list, isList := value.([]any)
	return len(section) > 0 || len(list) > 0 || section == nil && !isList && !reflect.ValueOf(value).IsZero()
}

// sections lists the dotted keys of all maps that are not empty.
func sections(path string, section map[string]any) (list []string) {
	for _, key := range slices.Sorted(maps.Keys(section)) {
		if deeper, _ := section[key].(map[string]any); len(deeper) > 0 {
			below := strings.TrimPrefix(path+"."+key, ".")
			list = append(append(list, below), sections(below, deeper)...)
		}
	}
	return list
}

// sentence is what is said to a user: what an error of Helm's says without the place in the template.
func sentence(err error) string {
	_, text, found := strings.Cut(err.Error(), "): ")
	if !found {
		return err.Error()
	}
	return text
}

// Settings for all pods reach every pod, of the release and of its hooks.
func TestEveryPodIsToldTheSame(t *testing.T) {
	for _, r := range []release{
		fellowship.with(inSections(everywhere, controlPlaneSections...) + pullSecrets),
		gondor.with(inSections(everywhere, "hooks") + pullSecrets),
	} {
		pods := rendered(t, r)
		for _, p := range pods.pods() {
			t.Run(p.owner.String(), func(t *testing.T) {
				assert.Equal(t, []corev1.LocalObjectReference{{Name: "1"}, {Name: "shared"}, {Name: "own"}}, p.Spec.ImagePullSecrets)
				assert.Equal(t, map[string]string{"disk": "1"}, p.Spec.NodeSelector)
				assert.Equal(t, "100", p.Spec.PriorityClassName)
				require.Len(t, p.Spec.Tolerations, 1)
				assert.Equal(t, "dedicated", p.Spec.Tolerations[0].Key)
				assert.NotNil(t, p.Spec.Affinity.NodeAffinity)
				assert.Equal(t, "true", p.Labels["example.com/pod"])
				assert.Equal(t, "pod", p.Labels["example.com/common"], "a pod's own label goes before the common one")
				assert.Equal(t, r.name, p.Labels["app.kubernetes.io/instance"])
				assert.NotEqual(t, "mine", p.Labels["helm.sh/chart"])
				assert.Equal(t, "1", p.Annotations["example.com/pod"])
				assert.Equal(t, "pod", p.Annotations["example.com/common"])
				if p.owner.hook() != "" {
					assert.Equal(t, "false", p.Annotations["sidecar.istio.io/inject"], "a sidecar keeps a Job from ending")
				}
				for _, c := range p.containers() {
					assert.Equal(t, "1500m", c.Resources.Limits.Cpu().String(), c.Name)
				}
			})
		}
	}
}

const pullSecrets = `
global: {imagePullSecrets: ["1", shared]}
imagePullSecrets: [shared, own]
commonLabels: {example.com/common: common}
commonAnnotations: {example.com/common: common}
`

func TestImage(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0a", 32)
	for _, test := range []struct{ values, want string }{
		{``, "ghcr.io/fedhelm/fedhook:0.1.0"},
		{`hooks: {image: {tag: 1.2.3}}`, "ghcr.io/fedhelm/fedhook:1.2.3"},
		{`hooks: {image: {registry: "", repository: fedhook}}`, "fedhook:0.1.0"},
		{`hooks: {image: {digest: "` + digest + `"}}`, "ghcr.io/fedhelm/fedhook:0.1.0@" + digest},
		{`{global: {imageRegistry: "mirror.example:5000/k8s"}, hooks: {image: {registry: own.example}}}`, "mirror.example:5000/k8s/fedhelm/fedhook:0.1.0"},
	} {
		result := rendered(t, gondor.with(test.values))
		assert.Equal(t, test.want, result.pods()[0].containers()[0].Image, test.values)
	}
}

// Flags are given as kubefed's --apiserver-arg-overrides were, or as a map should be; null drops one of the chart's own.
func TestArgumentOverrides(t *testing.T) {
	for _, test := range []struct {
		given   string
		has     []string
		without string
	}{
		{`{v: 4}`, []string{"--v=4", "--secure-port=8443"}, ""},
		{`{"--v": "4", "-secure-port": 6443}`, []string{"--v=4", "--secure-port=6443"}, "--secure-port=8443"},
		{`{max-requests-inflight: 2000000, quota: 9007199254740991, rate: 0.5}`, []string{"--max-requests-inflight=2000000", "--quota=9007199254740991", "--rate=0.5"}, ""},
		{`{anonymous-auth: false, profiling: "false"}`, []string{"--anonymous-auth=false", "--profiling=false"}, ""},
		{`{endpoint-reconciler-type: null, absent: null}`, nil, "--endpoint-reconciler-type"},
		{`{feature-gates: "A=true,B=false"}`, []string{"--feature-gates=A=true,B=false"}, ""},
		{`{audit-policy-file: ""}`, []string{"--audit-policy-file="}, ""},
	} {
		t.Run(test.given, func(t *testing.T) {
			result := rendered(t, fellowship.with(`apiServer: {argOverrides: `+test.given+`}`))
			o, _ := result.find("Deployment", "fellowship-apiserver")
			command := strings.Join(o.Object.(*appsv1.Deployment).Spec.Template.Spec.Containers[0].Command, "\n") + "\n"
			for _, flag := range test.has {
				assert.Contains(t, command, flag+"\n")
			}
			assert.NotContains(t, command, "--absent")
			if test.without != "" {
				assert.NotContains(t, command, test.without)
			}
		})
	}
}

// A kubelet has no certificate for the API: without anonymous access its probes can only connect, however the flag is written.
func TestProbesWithoutAnonymousAccess(t *testing.T) {
	for _, test := range []struct {
		given   string
		connect bool
	}{
		{`{}`, false}, {`{anonymous-auth: true}`, false}, {`{anonymous-auth: false}`, true}, {`{anonymous-auth: "false"}`, true}, {`{--anonymous-auth: false}`, true},
	} {
		result := rendered(t, fellowship.with(`apiServer: {argOverrides: `+test.given+`}`))
		o, _ := result.find("Deployment", "fellowship-apiserver")
		container := o.Object.(*appsv1.Deployment).Spec.Template.Spec.Containers[0]
		for _, probe := range []*corev1.Probe{container.StartupProbe, container.LivenessProbe, container.ReadinessProbe} {
			assert.Equal(t, test.connect, probe.TCPSocket != nil, test.given)
			assert.Equal(t, !test.connect, probe.HTTPGet != nil, test.given)
		}
	}
}

// The hooks may keep the Secrets of the certificates' table, those of the kubeconfigs and of the DNS provider, and no others.
func TestRolesNameTheCertificates(t *testing.T) {
	cas, keys, leaves := controlplane.Components()
	table := []string{}
	for _, component := range slices.Concat(cas, []string{keys}, leaves) {
		table = append(table, "fellowship-"+component)
	}
	published := []string{"fellowship-kubeconfig", "federation-registrars"}
	dns := []string{"fellowship-dns-provider"}
	logins := []string{"fellowship-apiserver-basic-auth", "fellowship-apiserver-token"}
	result := rendered(t, fellowship)
	for role, want := range map[string]struct {
		verb  string
		names []string
	}{
		"fellowship-prepare":  {"patch", append(dns, table...)},
		"fellowship-publish":  {"patch", append(published, table...)},
		"fellowship-keeper":   {"patch", slices.Concat(dns, published, table)},
		"fellowship-cleanup":  {"delete", slices.Concat(dns, published, logins, table, []string{"fellowship-prepare", "fellowship-publish", "fellowship-teardown", "fellowship-status"})},
		"fellowship-status":   {"get", append([]string{"fellowship-kubeconfig", "fellowship-status"}, table...)},
		"fellowship-teardown": {"get", append(dns, "federation-registrars", "fellowship-teardown")},
	} {
		o, found := result.find("Role", role)
		require.True(t, found, role)
		var named []string
		for _, rule := range o.Object.(*rbacv1.Role).Rules {
			if slices.Contains(rule.Resources, "secrets") && slices.Contains(rule.Verbs, want.verb) {
				named = append(named, rule.ResourceNames...)
			}
		}
		assert.ElementsMatch(t, want.names, named, role)
	}
}

// A volume that was made for kubefed binds to the claim of the same name and label.
func TestClaimOfV1(t *testing.T) {
	result := rendered(t, fellowship.with(`commonLabels: {app: mine}`))
	o, found := result.find("PersistentVolumeClaim", "fellowship-federation-apiserver-etcd-claim")
	require.True(t, found)
	assert.Equal(t, "federated-cluster", o.GetLabels()["app"])
	claim := o.Object.(*corev1.PersistentVolumeClaim).Spec
	assert.Equal(t, []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, claim.AccessModes)
	assert.Equal(t, "10Gi", claim.Resources.Requests.Storage().String())
	assert.Nil(t, claim.StorageClassName)
	assert.NotContains(t, o.GetAnnotations(), "helm.sh/resource-policy")

	for _, test := range []struct {
		values string
		claim  string
		volume string
		class  *string
		keep   string
	}{
		{`{storageClass: "-"}`, "own", "own", new(""), ""},
		{`{storageClass: fast, keep: true}`, "own", "own", new("fast"), "keep"},
		{`{existingClaim: other}`, "", "other", nil, ""},
		{`{enabled: false}`, "", "", nil, ""},
	} {
		t.Run(test.values, func(t *testing.T) {
			result := rendered(t, fellowship.with(`etcd: {persistence: `+test.values+`}`))
			own := "fellowship-federation-apiserver-etcd-claim"
			o, found := result.find("PersistentVolumeClaim", own)
			assert.Equal(t, test.claim == "own", found)
			if found {
				assert.Equal(t, test.class, o.Object.(*corev1.PersistentVolumeClaim).Spec.StorageClassName)
				assert.Equal(t, test.keep, o.GetAnnotations()["helm.sh/resource-policy"])
			}
			etcd, _ := result.find("StatefulSet", "fellowship-etcd")
			data := etcd.Object.(*appsv1.StatefulSet).Spec.Template.Spec.Volumes[0]
			if test.volume == "" {
				assert.NotNil(t, data.EmptyDir)
			} else {
				assert.Equal(t, strings.Replace(test.volume, "own", own, 1), data.PersistentVolumeClaim.ClaimName)
			}
		})
	}
}

// As parts of another chart both render as they do alone, and what the parent sets to null for them or keeps in global does no harm.
func TestInParentChart(t *testing.T) {
	parent := &chart.Chart{Metadata: &chart.Metadata{APIVersion: chart.APIVersionV2, Name: "middle-earth", Version: "0.1.0"}}
	for _, name := range []string{controlPlane, member} {
		part, err := loader.Load(filepath.Join(chartsDir, name)) // one of its own, which learns of its parent
		require.NoError(t, err)
		parent.AddDependency(part)
	}
	for _, given := range []string{
		``,
		`{federation-control-plane: {commonLabels: null, apiServer: {argOverrides: null}}, federation-member: {imagePullSecrets: null, hooks: {podLabels: null}}}`,
		`{global: {other: {a: 1}}, federation-control-plane: {enabled: true}, federation-member: {enabled: true}}`,
	} {
		values, err := chartutil.ReadValues([]byte(given))
		require.NoError(t, err)
		values, err = chartutil.ToRenderValues(parent, values, chartutil.ReleaseOptions{Name: fellowship.name, Namespace: fellowship.namespace}, nil)
		require.NoError(t, err, given)
		files, err := engine.Render(parent, values)
		require.NoError(t, err, given)
		for _, part := range []string{controlPlane, member} {
			together := rendering{release: release{chart: part}, files: map[string]string{}}
			for path, text := range files {
				if path, found := strings.CutPrefix(path, "middle-earth/charts/"+part+"/"); found {
					together.files[path] = text
				}
			}
			together.parse()
			assert.Empty(t, together.unreadable, given)
			assert.Empty(t, undecodable(together), given)
			alone := rendered(t, release{chart: part, name: fellowship.name, namespace: fellowship.namespace})
			assert.Empty(t, differences(fieldsOf(t, alone), fieldsOf(t, together)), "%s with %s", part, given)
		}
	}
}

// The Secret that somebody made for the DNS provider may be read by those who copy it, and by nobody else; without a provider there is nothing to make.
func TestRolesForTheDNSProvider(t *testing.T) {
	result := rendered(t, fellowship.with(`dns: {provider: aws-route53, existingSecret: own}`))
	for role, may := range map[string]bool{"prepare": true, "keeper": true, "publish": false, "teardown": false, "cleanup": false} {
		o, found := result.find("Role", "fellowship-"+role)
		require.True(t, found, role)
		var verbs []string
		for _, rule := range o.Object.(*rbacv1.Role).Rules {
			if slices.Contains(rule.ResourceNames, "own") {
				verbs = append(verbs, rule.Verbs...)
			}
		}
		if may {
			assert.Equal(t, []string{"get"}, verbs, role)
		} else {
			assert.Empty(t, verbs, role)
		}
	}
	result = rendered(t, fellowship.with(`dns: {provider: none}`))
	o, _ := result.find("Role", "fellowship-prepare")
	assert.Contains(t, o.Object.(*rbacv1.Role).Rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"fellowship-dns-provider"}, Verbs: []string{"get", "delete"}})
	o, _ = result.find("Deployment", "fellowship-controller-manager")
	container := o.Object.(*appsv1.Deployment).Spec.Template.Spec.Containers[0]
	assert.Contains(t, container.Args, "--dns-provider=none")
	assert.NotContains(t, strings.Join(container.Args, " "), "--dns-provider-config")

	for check, want := range map[string]string{"off": "--dns-check=false", "warn": "--dns-check=true", "strict": "--dns-check=true"} {
		result = rendered(t, fellowship.with(`dns: {check: "`+check+`"}`))
		o, _ = result.find("Deployment", "fellowship-controller-manager")
		assert.Contains(t, o.Object.(*appsv1.Deployment).Spec.Template.Spec.Containers[0].Args, want)
	}
}

// What turns controllers off is told to what sets up the API too, which gives no finalizer to their objects.
func TestControllersReachTheBootstrap(t *testing.T) {
	arguments := func(values string) []string {
		result := rendered(t, fellowship.with(values))
		o, found := result.find("Deployment", "fellowship-controller-manager")
		require.True(t, found)
		return o.Object.(*appsv1.Deployment).Spec.Template.Spec.InitContainers[0].Args
	}
	for _, flag := range []string{"controllers", "--controllers"} {
		assert.Contains(t, arguments(nested(t, "controllerManager.argOverrides", map[string]any{flag: "services=false,secrets=false"})), "--controllers=services=false,secrets=false", flag)
	}
	assert.NotContains(t, strings.Join(arguments(`{}`), " "), "--controllers")
}
