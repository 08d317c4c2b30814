package generate

import (
	"fmt"
	"path"
	"path/filepath"

	"helm.sh/helm/v3/pkg/chartutil"
)

// ValuesFiles writes the plan as one values file a release, which says in a comment how the release is installed once it is in the directory. Those that are gone have none, and are said. Errors: values that a
// chart refuses.
func (p *Plan) ValuesFiles(charts Charts, directory string) ([]File, error) {
	var files []File
	releases := map[string]*Release{}
	for _, r := range p.Releases {
		if r.Gone {
			p.warn(fmt.Sprintf("%s has left: %s", r.Cluster, r.helm("uninstall", r.Name)))
			continue
		}
		file := File{Name: r.valuesFile()}
		if other := releases[file.Name]; other != nil {
			return nil, fmt.Errorf("%s and %s would both have values file %s: generate a helmfile, or them in two runs", other.From, r.From, file.Name)
		}
		releases[file.Name] = r
		var err error
		if file.Text, err = encode(r.valuesRemark(charts, directory), r.values.root); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return checked(files, charts, func(file File) ([]written, error) {
		r := releases[file.Name]
		values, err := chartutil.ReadValues(file.Text)
		return []written{{chart: r.Chart, name: r.Name, namespace: r.Namespace, values: values}}, err
	})
}

func (r *Release) valuesFile() string { return r.Name + ".yaml" }

func (r *Release) valuesRemark(charts Charts, directory string) remark {
	var about remark
	about.describe(r)
	about.prepare([]*Release{r})
	about.paragraph()
	arguments := []string{"upgrade", "--install", r.Name, charts.reference(r.Chart), "--values=" + path.Join(filepath.ToSlash(directory), r.valuesFile()), "--create-namespace"}
	if charts.registry() {
		arguments = append(arguments, "--version="+charts.of(r.Chart).Metadata.Version)
	}
	about.say("To install it:")
	about.run(r.helm(arguments...))
	return about
}

// helm is a command line of Helm for the release's namespace.
func (r *Release) helm(words ...string) string {
	line := []string{"helm"}
	if r.Context != "" {
		line = append(line, "--kube-context="+r.Context)
	}
	return r.environment() + quote(append(append(line, "--namespace="+r.Namespace), words...)...)
}
