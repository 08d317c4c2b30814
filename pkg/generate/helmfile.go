package generate

import (
	"go.yaml.in/yaml/v3"
	sigsyaml "sigs.k8s.io/yaml"
)

// Helmfile writes the plan as a helmfile.yaml. Errors: values that a chart refuses.
func (p *Plan) Helmfile(charts Charts) ([]File, error) {
	list := sequence()
	for _, r := range p.Releases {
		list.Content = append(list.Content, r.helmfile(charts))
	}
	text, err := encode(p.helmfileRemark(charts), mapping("releases", list))
	if err != nil {
		return nil, err
	}
	return checked([]File{{Name: "helmfile.yaml", Text: text}}, charts, readHelmfile)
}

func (p *Plan) helmfileRemark(charts Charts) remark {
	var r remark
	r.say("Federations and their members as Helm releases: `helmfile apply` makes them and follows changes here, `helmfile destroy` lets the members go and removes the rest.")
	if !charts.registry() {
		r.say("The charts are in %s, seen from this file.", charts.Reference)
	}
	for _, kubeconfig := range p.kubeconfigs() {
		r.say("The kubeconfig was %s: run helmfile with KUBECONFIG set to it.", kubeconfig)
	}
	r.prepare(p.Releases)
	return r
}

// kubeconfigs are those that the releases were made with, if not the usual one.
func (p *Plan) kubeconfigs() []string {
	all := map[string]bool{}
	for _, r := range p.Releases {
		if r.Kubeconfig != "" {
			all[r.Kubeconfig] = true
		}
	}
	return sortedKeys(all)
}

func (r *Release) helmfile(charts Charts) *yaml.Node {
	var about remark
	about.describe(r)
	release := mapping("name", r.Name, "namespace", r.Namespace)
	if r.Context != "" {
		add(release, "kubeContext", node(r.Context))
	}
	add(release, "chart", node(charts.reference(r.Chart)))
	if charts.registry() {
		add(release, "version", node(charts.of(r.Chart).Metadata.Version))
	}
	if r.Gone {
		about.say("It has left the federation, so the release is uninstalled.")
		add(release, "installed", node(false))
	}
	if r.controlPlane != nil {
		add(release, "needs", sequence(node(r.Namespace+"/"+r.controlPlane.Name)))
	}
	if !r.values.empty() && !r.Gone {
		add(release, "values", sequence(r.values.root))
	}
	release.HeadComment = about.String()
	return release
}

// readHelmfile reads the releases of a helmfile.yaml back.
func readHelmfile(file File) ([]written, error) {
	var content struct {
		Releases []struct {
			Name, Namespace, Chart string
			Values                 []map[string]any
		}
	}
	if err := sigsyaml.Unmarshal(file.Text, &content); err != nil {
		return nil, err
	}
	var all []written
	for _, r := range content.Releases {
		w := written{chart: r.Chart, name: r.Name, namespace: r.Namespace}
		if len(r.Values) > 0 {
			w.values = r.Values[0]
		}
		all = append(all, w)
	}
	return all, nil
}
