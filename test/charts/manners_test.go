package charts

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// Objects of the user's own are installed beside the chart's, with the templates in them carried out, be they objects or text.
func TestExtraObjects(t *testing.T) {
	const given = `
extraObjects:
  - apiVersion: v1
    kind: ConfigMap
    metadata: {name: "{{ .Release.Name }}-one", namespace: '{{ include "fedhelm.namespace" (dict "context" .) }}'}
    data: {chart: "{{ .Chart.Name }}", text: "a: 1"}
  - |
    {{- range tuple "two" "three" }}
    ---
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: {{ $.Release.Name }}-{{ . }}}
    {{- end }}
`
	for _, r := range []release{fellowship, gondor} {
		result := rendered(t, r.with(given))
		assert.Empty(t, result.unreadable)
		assert.Len(t, result.objects, len(rendered(t, r).objects)+3)
		o, found := result.find("ConfigMap", r.name+"-one")
		require.True(t, found)
		assert.Equal(t, map[string]string{"chart": r.chart, "text": "a: 1"}, o.Object.(*corev1.ConfigMap).Data)
		assert.Equal(t, r.namespace, o.GetNamespace())
		for _, name := range []string{"-two", "-three"} {
			_, found := result.find("ConfigMap", r.name+name)
			assert.True(t, found, name)
		}
		assert.Empty(t, undecodable(result), "fedhook can read the values")
		_, err := render(r.with(`extraObjects: [1]`))
		assert.ErrorContains(t, err, "at '/extraObjects/0': got number, want string or object")
	}
}

// Without hooks there is no Job of one, and nothing for one; what keeps running, and `helm test`, is as it was.
func TestWithoutHooks(t *testing.T) {
	for _, r := range []release{fellowship, gondor, host} {
		with := rendered(t, r)
		without := rendered(t, r.with(merge(t, r.values, `hooks: {enabled: false}`)))
		assert.NotEmpty(t, slices.DeleteFunc(slices.Clone(with.objects), func(o object) bool { return o.hook() == "" || o.hook() == "test" }))
		for _, o := range without.objects {
			assert.Contains(t, []string{"", "test"}, o.hook(), "%s", o)
		}
		kept := 0
		for _, o := range with.objects {
			if o.hook() == "" || o.hook() == "test" {
				kept++
			}
		}
		assert.Len(t, without.objects, kept)
	}
}

// The user's annotations are on the Jobs of hooks, before the chart's own, and nowhere else.
func TestHookAnnotations(t *testing.T) {
	const given = `hooks: {annotations: {helm.sh/hook-delete-policy: before-hook-creation, example.com/hook: "1"}}`
	for _, r := range []release{fellowship, host} {
		jobs := 0
		result := rendered(t, r.with(merge(t, r.values, given)))
		for _, o := range result.objects {
			if _, job := o.Object.(*batchv1.Job); !job {
				assert.NotContains(t, o.GetAnnotations(), "example.com/hook", "%s", o)
				continue
			}
			jobs++
			assert.Equal(t, "1", o.GetAnnotations()["example.com/hook"])
			assert.Equal(t, "before-hook-creation", o.GetAnnotations()["helm.sh/hook-delete-policy"])
			assert.Equal(t, "0", o.GetAnnotations()["helm.sh/hook-weight"], "the chart's others stay")
			assert.Contains(t, phases, o.hook())
		}
		assert.Equal(t, map[string]int{controlPlane: 4, member: 2}[r.chart], jobs)
	}
}

// In another namespace than the release's, everything is there and nothing knows of the other.
func TestNamespaceOverride(t *testing.T) {
	for _, r := range []release{fellowship, gondor, host} {
		r.namespace = "hobbiton"
		result := rendered(t, r.with(merge(t, r.values, `namespaceOverride: rivendell`)))
		for file, text := range result.files {
			if file == "templates/NOTES.txt" {
				assert.NotContains(t, strings.ReplaceAll(text, "helm -n hobbiton", ""), "hobbiton")
				continue
			}
			assert.NotContains(t, text, "hobbiton", file)
		}
		for _, o := range result.objects {
			if !strings.HasPrefix(o.kind(), "Cluster") {
				assert.Equal(t, "rivendell", o.GetNamespace(), "%s", o)
			}
		}
		for _, p := range result.pods() {
			for _, c := range p.containers() {
				if strings.Contains(c.Image, "fedhook") {
					assert.Contains(t, c.Args, "--namespace=rivendell", "%s", p.owner)
				}
			}
		}
	}
}

// Artifact Hub is told of the images that the charts have, and of no others.
func TestArtifactHub(t *testing.T) {
	for _, r := range []release{fellowship, gondor} {
		loaded, err := loadChart(r.chart)
		require.NoError(t, err)
		var told []struct{ Name, Image string }
		require.NoError(t, yaml.UnmarshalStrict([]byte(loaded.Metadata.Annotations["artifacthub.io/images"]), &told))
		var want, got []string
		result := rendered(t, r)
		for _, p := range result.pods() {
			for _, c := range p.containers() {
				want = append(want, c.Image)
			}
		}
		for _, image := range told {
			assert.NotEmpty(t, image.Name)
			got = append(got, image.Image)
		}
		slices.Sort(want)
		slices.Sort(got)
		assert.Equal(t, slices.Compact(want), got, r.chart)

		var links []struct{ Name, URL string }
		require.NoError(t, yaml.Unmarshal([]byte(loaded.Metadata.Annotations["artifacthub.io/links"]), &links))
		for _, link := range links {
			_, path, found := strings.Cut(link.URL, "/main/")
			require.True(t, found, link.URL)
			assert.FileExists(t, filepath.Join("../..", path, map[bool]string{true: "README.md"}[!strings.HasSuffix(path, ".md")]), "what %s leads to", link.Name)
		}
	}
}

// platforms are the values files of examples/values that are written by hand, each for a control plane somewhere.
var platforms = []string{"kind", "k3s", "eks", "gke", "aks"}

// Each renders, keeps the rules, and says why it gives what it gives.
func TestPlatforms(t *testing.T) {
	for _, platform := range platforms {
		t.Run(platform, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("../../examples/values", platform+".yaml"))
			require.NoError(t, err)
			result := rendered(t, fellowship.with(string(text)))
			for _, rule := range rules {
				assert.Empty(t, rule.check(result), rule.says)
			}
			assert.GreaterOrEqual(t, strings.Count(string(text), "\n    # ")+strings.Count(string(text), "\n  # ")+strings.Count(string(text), "\n      # "), 3, "a reason for each value")
			service, _ := result.find("Service", "fellowship-apiserver")
			kind := service.Object.(*corev1.Service).Spec.Type
			assert.Equal(t, platform == "kind", kind == corev1.ServiceTypeNodePort, "only kind has no load balancers")
			_, own := result.find("Deployment", "fellowship-dns")
			assert.Equal(t, platform == "kind" || platform == "k3s", own, "clouds have a DNS of their own")
		})
	}
	all, err := filepath.Glob("../../examples/values/*.yaml")
	require.NoError(t, err)
	generated := 0
	for _, file := range all {
		if !slices.Contains(platforms, strings.TrimSuffix(filepath.Base(file), ".yaml")) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			assert.Contains(t, string(text), "from `kubefed ", "%s is neither generated nor tried here", file)
			generated++
		}
	}
	assert.Equal(t, 3, generated)
}
