package generate

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
	sigsyaml "sigs.k8s.io/yaml"
)

// ArgoCD says what of an Argo CD the Applications are for.
type ArgoCD struct {
	// Destination is the host cluster's name in Argo CD; empty means the context's, or in-cluster where there is none.
	Destination string
	// Repository and Revision are where Argo CD finds the charts in Git; empty means those of the charts themselves. Charts in a registry need neither.
	Repository, Revision string
}

// Applications writes the plan as Argo CD Applications. Those that are gone are left out, and said. Errors: charts that are in no repository, values that a chart refuses.
func (p *Plan) Applications(charts Charts, argo ArgoCD) ([]File, error) {
	if !charts.registry() && !filepath.IsLocal(charts.Reference) {
		return nil, fmt.Errorf("Argo CD finds the charts by their path in a repository, which --charts=%s is not: run this at the repository's root, or give an oci:// registry", charts.Reference)
	}
	var documents []*yaml.Node
	names := map[string]string{}
	for _, r := range p.Releases {
		if r.Gone {
			p.warn(fmt.Sprintf("%s has left: delete Application %s, whose finalizer has Argo CD run the hook that lets it go (since Argo CD 3.3)", r.Cluster, r.application()))
			continue
		}
		if other := names[r.application()]; other != "" {
			return nil, fmt.Errorf("%s and %s would both be Application %s: generate them in two runs, for two Argo CD projects or namespaces", other, r.From, r.application())
		}
		names[r.application()] = r.From
		documents = append(documents, r.argoCD(charts, argo))
	}
	if len(documents) == 0 {
		return checked(nil, charts, readApplications)
	}
	text, err := encode(p.argoCDRemark(), documents...)
	if err != nil {
		return nil, err
	}
	return checked([]File{{Name: "applications.yaml", Text: text}}, charts, readApplications)
}

func (p *Plan) argoCDRemark() remark {
	var r remark
	r.say("Federations and their members as Argo CD Applications. The sync waves put control planes before their members where an Application or ApplicationSet applies this file; " +
		"applied at once, a member waits for its federation and is tried again.")
	r.prepare(p.Releases)
	return r
}

// application is the Application's name, which all of an Argo CD share.
func (r *Release) application() string {
	if r.Federation == "" || r.Chart == controlPlaneChart || strings.HasSuffix(r.Name, "-"+r.Federation) {
		return r.Name
	}
	return r.Federation + "-" + r.Name
}

func (r *Release) argoCD(charts Charts, argo ArgoCD) *yaml.Node {
	wave := "0"
	if r.Chart == memberChart {
		wave = "1"
	}
	metadata := mapping("name", r.application(), "namespace", "argocd",
		"annotations", mapping("argocd.argoproj.io/sync-wave", wave),
		"finalizers", sequence(node("resources-finalizer.argocd.argoproj.io")))
	metadata.Content[index(metadata, "finalizers")].HeadComment = "# Without it deleting the Application leaves the release, and runs no hook."

	helm := mapping("releaseName", r.Name)
	if !r.values.empty() {
		add(helm, "valuesObject", r.values.root)
	}
	source := mapping()
	version := charts.of(r.Chart).Metadata.Version
	if charts.registry() {
		add(source, "repoURL", node(strings.TrimPrefix(charts.Reference, "oci://")))
		add(source, "chart", node(r.Chart))
		add(source, "targetRevision", node(version))
	} else {
		repository, revision := argo.Repository, argo.Revision
		if repository == "" {
			repository = charts.of(r.Chart).Metadata.Home
		}
		if revision == "" {
			revision = "v" + version
		}
		add(source, "repoURL", node(repository))
		add(source, "path", node(path.Join(filepath.ToSlash(charts.Reference), r.Chart)))
		add(source, "targetRevision", node(revision))
	}
	add(source, "helm", helm)

	destination := argo.Destination
	if destination == "" {
		destination = r.Context
	}
	if destination == "" {
		destination = "in-cluster"
	}
	to := mapping("name", destination, "namespace", r.Namespace)
	find(to, "name").LineComment = "# the host cluster, as Argo CD calls it"
	application := mapping("apiVersion", "argoproj.io/v1alpha1", "kind", "Application", "metadata", metadata,
		"spec", mapping("project", "default", "source", source, "destination", to,
			"syncPolicy", mapping(
				"automated", mapping("prune", true, "selfHeal", true),
				"syncOptions", sequence(node("CreateNamespace=true")),
				"retry", mapping("limit", 5, "backoff", mapping("duration", "30s", "factor", 2, "maxDuration", "5m")))))
	var about remark
	about.describe(r)
	application.HeadComment = about.String()
	return application
}

var documentStart = regexp.MustCompile(`(?m)^---\n`)

// readApplications reads the releases of Applications back.
func readApplications(file File) ([]written, error) {
	var all []written
	for _, text := range documentStart.Split(string(file.Text), -1) {
		var application struct {
			Spec struct {
				Source struct {
					Path, Chart string
					Helm        struct {
						ReleaseName  string
						ValuesObject map[string]any
					}
				}
				Destination struct{ Namespace string }
			}
		}
		if err := sigsyaml.Unmarshal([]byte(text), &application); err != nil {
			return nil, err
		}
		spec := application.Spec
		all = append(all, written{chart: spec.Source.Path + spec.Source.Chart, name: spec.Source.Helm.ReleaseName, namespace: spec.Destination.Namespace, values: spec.Source.Helm.ValuesObject})
	}
	return all, nil
}
