package generate

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sigsyaml "sigs.k8s.io/yaml"
)

const examples = "../../examples"

// What stands in examples is what its script makes; -update writes it.
func TestExamplesAreGenerated(t *testing.T) {
	script, err := os.ReadFile(filepath.Join(examples, "federate.sh"))
	require.NoError(t, err)
	charts := repository(t)
	generated := func(write func(*Plan) ([]File, error)) []File {
		p, err := FromScript(strings.NewReader(string(script)), Shell{Name: "federate.sh"}, charts)
		require.NoError(t, err)
		files, err := write(p)
		require.NoError(t, err)
		return files
	}
	for _, file := range generated(func(p *Plan) ([]File, error) { return p.ValuesFiles(charts, "examples/values") }) {
		golden(t, filepath.Join(examples, "values", file.Name), string(file.Text))
	}
	golden(t, filepath.Join(examples, "argocd/applications.yaml"), string(generated(func(p *Plan) ([]File, error) {
		return p.Applications(charts, ArgoCD{Destination: "in-cluster"})
	})[0].Text))
	charts.Reference = "../../charts"
	golden(t, filepath.Join(examples, "helmfile/helmfile.yaml"), string(generated(func(p *Plan) ([]File, error) { return p.Helmfile(charts) })[0].Text))
}

// The examples that are written by hand are rendered by the charts, too.
func TestExamplesRender(t *testing.T) {
	charts := repository(t)
	for _, r := range append(fluxReleases(t), applicationSet(t)...) {
		assert.NoError(t, charts.check(r), r.name)
		assert.Equal(t, "federation-system", r.namespace)
	}
}

// documents reads a file of examples.
func documents(t *testing.T, name string, each func(text []byte)) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(examples, name))
	require.NoError(t, err)
	for _, document := range documentStart.Split(string(text), -1) {
		each([]byte(document))
	}
}

func fluxReleases(t *testing.T) []written {
	var all []written
	documents(t, "flux/fellowship.yaml", func(text []byte) {
		var object struct {
			Kind     string
			Metadata struct{ Namespace string }
			Spec     struct {
				ReleaseName string
				Chart       struct{ Spec struct{ Chart string } }
				DependsOn   []struct{ Name string }
				Values      map[string]any
			}
		}
		require.NoError(t, sigsyaml.Unmarshal(text, &object))
		if object.Kind != "HelmRelease" {
			return
		}
		chart := object.Spec.Chart.Spec.Chart
		assert.DirExists(t, filepath.Join("../..", chart))
		assert.Equal(t, path.Base(chart) == memberChart, len(object.Spec.DependsOn) == 1)
		all = append(all, written{chart: chart, name: object.Spec.ReleaseName, namespace: object.Metadata.Namespace, values: object.Spec.Values})
	})
	require.Len(t, all, 3)
	return all
}

// applicationSet gives the Application in the file and those that the set makes of its list.
func applicationSet(t *testing.T) []written {
	var all []written
	documents(t, "argocd/applicationset.yaml", func(text []byte) {
		var set struct {
			Kind string
			Spec struct {
				Generators []struct {
					List struct{ Elements []map[string]string }
				}
				Template map[string]any
			}
		}
		require.NoError(t, sigsyaml.Unmarshal(text, &set))
		if set.Kind == "Application" {
			one, err := readApplications(File{Text: text})
			require.NoError(t, err)
			all = append(all, one...)
			return
		}
		template, err := sigsyaml.Marshal(set.Spec.Template)
		require.NoError(t, err)
		for _, element := range set.Spec.Generators[0].List.Elements {
			application := string(template)
			for key, value := range element {
				application = strings.ReplaceAll(application, "{{."+key+"}}", value)
			}
			assert.NotContains(t, application, "{{")
			one, err := readApplications(File{Text: []byte(application)})
			require.NoError(t, err)
			all = append(all, one...)
		}
	})
	require.Len(t, all, 3)
	return all
}
