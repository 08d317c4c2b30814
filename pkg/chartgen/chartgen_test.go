package chartgen

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chartutil"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/yaml"

	"github.com/fedhelm/fedhelm/pkg/values"
)

const root = "../.."

func TestGeneratedFilesAreFresh(t *testing.T) {
	for path, content := range generate(t) {
		written, err := os.ReadFile(filepath.Join(root, path))
		require.NoError(t, err)
		assert.True(t, string(content) == string(written), "%s is stale: run `make generate` and commit what it writes", path)
	}
}

func TestGenerateDoesNotDependOnWhereItRuns(t *testing.T) {
	absolute, err := filepath.Abs(root)
	require.NoError(t, err)
	files, err := Generate(absolute)
	require.NoError(t, err)
	assert.Equal(t, generate(t), files)
}

// What values.yaml says, read into nothing, is what the chart's binary takes for its defaults.
func TestValuesAreTheDefaults(t *testing.T) {
	for chart, defaults := range charts {
		t.Run(chart, func(t *testing.T) {
			read := reflect.New(reflect.TypeOf(defaults))
			require.NoError(t, yaml.UnmarshalStrict(generated(t, chart, "values.yaml"), read.Interface()))
			// Semantic equality takes an empty list or map for a nil one.
			assert.True(t, equality.Semantic.DeepEqual(defaults, read.Elem().Interface()), "read:\n%+v\ndefaults:\n%+v", read.Elem().Interface(), defaults)
		})
	}
}

func TestReadmeDocumentsTheValues(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| `([A-Za-z0-9.]+)` \\| (?:string|int|bool|list|object) \\| `([^`]*)` \\| (.+) \\|$")
	for chart := range charts {
		t.Run(chart, func(t *testing.T) {
			documented := map[string]any{}
			for _, match := range row.FindAllStringSubmatch(string(generated(t, chart, "README.md")), -1) {
				assert.NotContains(t, documented, match[1], "documented twice")
				var value any
				require.NoError(t, json.Unmarshal([]byte(match[2]), &value))
				documented[match[1]] = value
			}
			for key, want := range documented {
				got, ok := lookup(chartValues(t, chart), key)
				assert.True(t, ok, "%s is in the README but not in values.yaml", key)
				assert.Equal(t, want, got, key)
			}
			assert.Empty(t, undocumented(documented, "", chartValues(t, chart)))
		})
	}
}

// undocumented lists the keys of value, which stands at path, that have no row of their own and belong to no key that has one.
func undocumented(documented map[string]any, path string, value any) []string {
	section, _ := value.(map[string]any)
	switch _, ok := documented[path]; {
	case ok:
		return nil
	case len(section) == 0:
		return []string{path}
	}
	var keys []string
	for key, value := range section {
		keys = append(keys, undocumented(documented, strings.TrimPrefix(path+"."+key, "."), value)...)
	}
	return keys
}

// lookup finds the value of a dotted key.
func lookup(v any, key string) (any, bool) {
	for _, part := range strings.Split(key, ".") {
		section, _ := v.(map[string]any)
		var ok bool
		if v, ok = section[part]; !ok {
			return nil, false
		}
	}
	return v, true
}

func TestFieldWithoutComment(t *testing.T) {
	c, err := readComments(root)
	require.NoError(t, err)
	delete(c, "Component.Image")
	_, err = c.fields("", reflect.ValueOf(values.DefaultControlPlane()))
	assert.EqualError(t, err, "Component.Image in pkg/values has no comment: write one, it documents the value dns.server.image")
}

func TestValuesYAML(t *testing.T) {
	text := string(generated(t, "federation-control-plane", "values.yaml"))
	assert.Contains(t, text, `
# The federation's DNS zone, and the provider that hosts it.
dns:
  # -- Name of the zone`)
	assert.Contains(t, text, "    sidecar.istio.io/inject: \"false\"\n")
	assert.NotContains(t, text, "null\n")
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			assert.LessOrEqual(t, len(strings.TrimSpace(line)), 125, line)
		}
	}
}

// once generates the files from the root as the tests see it.
var once = sync.OnceValues(func() (map[string][]byte, error) { return Generate(root) })

func generate(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := once()
	require.NoError(t, err)
	return files
}

func generated(t *testing.T, chart, name string) []byte {
	t.Helper()
	content, ok := generate(t)["charts/"+chart+"/"+name]
	require.True(t, ok)
	return content
}

// chartValues reads the generated values.yaml as Helm does.
func chartValues(t *testing.T, chart string) map[string]any {
	t.Helper()
	v, err := chartutil.ReadValues(generated(t, chart, "values.yaml"))
	require.NoError(t, err)
	return v
}
