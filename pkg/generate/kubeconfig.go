package generate

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/values"
)

// Federation is a federation to be, named by contexts of a kubeconfig.
type Federation struct {
	// Name of the federation, and its namespace in the host cluster.
	Name, Namespace string
	// HostContext is the host cluster's.
	HostContext string
	// Members are the clusters to join, in order.
	Members []Member
	// Kubeconfig is the path of the kubeconfig; empty means the usual ones.
	Kubeconfig string
}

// Member is a cluster to join.
type Member struct {
	// Name in the federation, and the context of the kubeconfig.
	Name, Context string
	// Server is the address of its API as the host cluster sees it, "https://host:port"; empty means the kubeconfig's.
	Server string
}

// FromKubeconfig plans a federation of clusters that a kubeconfig reaches. It looks at the kubeconfig only, not at the clusters. Errors: names that are not good or double,
// contexts that are not there, and members whose credentials would not work in a pod of the host cluster, such as those of an exec plugin; none quotes a credential.
func FromKubeconfig(f Federation) (*Plan, error) {
	if err := values.CheckName("federation", f.Name); err != nil {
		return nil, err
	}
	loading := clientcmd.NewDefaultClientConfigLoadingRules()
	loading.ExplicitPath = f.Kubeconfig
	kubeconfig, err := loading.Load()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w; name another with --kubeconfig", err)
	}
	source := strings.Join(loading.GetLoadingPrecedence(), ", ")
	switch {
	case f.HostContext == "" && kubeconfig.CurrentContext == "":
		return nil, fmt.Errorf("the kubeconfig in %s has no current context: name the host cluster's with --host-context", source)
	case f.HostContext == "":
		f.HostContext = kubeconfig.CurrentContext
	}
	if err := hasContext(kubeconfig, source, f.HostContext, "the host cluster", "--host-context=CONTEXT"); err != nil {
		return nil, err
	}

	p := &Plan{}
	control := &Release{
		Chart: controlPlaneChart, Name: f.Name, Namespace: f.Namespace, Federation: f.Name, Context: f.HostContext, Kubeconfig: f.Kubeconfig,
		From: "`fedhook generate`", values: newTree(),
	}
	p.Releases = append(p.Releases, control)
	for _, m := range f.Members {
		r, err := control.member(m, kubeconfig, source)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(p.members(), func(other *Release) bool { return other.Cluster == r.Cluster }) {
			return nil, fmt.Errorf("member %s is named twice: give --member once for each cluster", m.Name)
		}
		p.Releases = append(p.Releases, r)
	}
	return p, p.finish()
}

// member plans a member of a federation.
func (r *Release) member(m Member, kubeconfig *clientcmdapi.Config, source string) (*Release, error) {
	if err := values.CheckName("cluster", m.Name); err != nil {
		return nil, err
	}
	if err := hasContext(kubeconfig, source, m.Context, "member "+m.Name, "--member="+m.Name+"=CONTEXT"); err != nil {
		return nil, err
	}
	joined := &Release{
		Chart: memberChart, Name: m.Name, Namespace: r.Namespace, Cluster: m.Name, Federation: r.Name, Context: r.Context, Kubeconfig: r.Kubeconfig,
		From: r.From, values: newTree(), controlPlane: r, context: m.Context, inCluster: m.Context == r.Context,
	}
	joined.values.set("federation", r.Name, "")
	if joined.inCluster {
		return joined, nil
	}
	if err := checkCredentials(m, kubeconfig, source); err != nil {
		return nil, fmt.Errorf("member %s: %w", m.Name, err)
	}
	joined.values.set("credentials.context", m.Context, "")
	if m.Server != "" {
		joined.values.set("server", m.Server, "")
	}
	return joined, nil
}

// hasContext says that a context is not there, and which are.
func hasContext(kubeconfig *clientcmdapi.Config, source, context, what, remedy string) error {
	if kubeconfig.Contexts[context] != nil {
		return nil
	}
	return fmt.Errorf("the kubeconfig in %s has no context %q for %s, it has: %s; give %s", source, context, what, strings.Join(sortedKeys(kubeconfig.Contexts), ", "), remedy)
}

// checkCredentials says why the credentials of a context would not work in the host cluster, as joining would. Files that it names are read into it before, as `kubectl config view --flatten` does.
func checkCredentials(m Member, kubeconfig *clientcmdapi.Config, source string) error {
	only := kubeconfig.DeepCopy()
	only.CurrentContext = m.Context
	var text []byte
	err := clientcmdapi.MinifyConfig(only)
	if err == nil {
		err = clientcmdapi.FlattenConfig(only)
	}
	if err == nil {
		text, err = clientcmd.Write(*only)
	}
	if err != nil {
		return fmt.Errorf("flatten context %s of the kubeconfig in %s: %w; mend it there", m.Context, source, err)
	}
	_, err = kube.ParseKubeconfig(text, kube.Choice{Source: source, Context: m.Context, Cluster: m.Name, Server: m.Server})
	return err
}

// CheckContexts sees whether the contexts that a plan names are in a kubeconfig, and whether the members' credentials would work in a pod of the host cluster. Errors: as FromKubeconfig.
func (p *Plan) CheckContexts(path string) error {
	kubeconfig, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return fmt.Errorf("read the kubeconfig: %w; name another with --kubeconfig", err)
	}
	for _, r := range p.Releases {
		if r.Context != "" {
			if err := hasContext(kubeconfig, path, r.Context, "the host cluster of "+r.From, "the kubeconfig that the command line was for"); err != nil {
				return err
			}
		}
		if r.Chart == controlPlaneChart || r.inCluster || r.Gone || r.credentials != "" { // a file of its own has the context
			continue
		}
		m := Member{Name: r.Cluster, Context: r.context}
		if err := hasContext(kubeconfig, path, m.Context, "member "+m.Name, "--cluster-context=CONTEXT in its command line"); err != nil {
			return err
		}
		if err := checkCredentials(m, kubeconfig, path); err != nil {
			return fmt.Errorf("%s: %w", r.From, err)
		}
	}
	return nil
}
