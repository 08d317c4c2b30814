package generate

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/fedhelm/fedhelm/pkg/values"
)

// FromScript plans what a shell script with command lines of kubefed made. Errors: one sentence with the line, for what cannot be known without running the script, and for
// what kubefed would have refused.
func FromScript(text io.Reader, shell Shell, charts Charts) (*Plan, error) {
	lines, warnings, err := readScript(text, shell)
	if err != nil {
		return nil, err
	}
	if len(lines) == 0 && len(warnings) == 0 {
		return nil, fmt.Errorf("%s has no command line of kubefed: give a script that runs kubefed init, join or unjoin", shell.Name)
	}
	return planCommands(lines, warnings, charts)
}

// FromArguments plans what the command lines of kubefed made that a shell has taken apart, several separated by ";". A single argument is taken for a script. Errors: as FromScript.
func FromArguments(arguments []string, shell Shell, charts Charts) (*Plan, error) {
	lines, warnings, err := readArguments(arguments, shell)
	if err != nil {
		return nil, err
	}
	return planCommands(lines, warnings, charts)
}

// planner makes a plan out of command lines.
type planner struct {
	*Plan
	charts Charts
}

func planCommands(lines []commandLine, warnings []string, charts Charts) (*Plan, error) {
	p := planner{&Plan{Warnings: warnings}, charts}
	for _, line := range lines {
		c, err := parseCommand(line)
		if err != nil {
			return nil, err
		}
		if c == nil {
			continue
		}
		if err := map[string]func(command) error{"init": p.init, "join": p.join, "unjoin": p.unjoin}[c.verb](*c); err != nil {
			return nil, err
		}
	}
	if len(p.Releases) == 0 {
		return nil, errors.New(strings.Join(append([]string{"no command line of kubefed makes or joins a federation: give one with kubefed init, join or unjoin"}, warnings...), "; "))
	}
	return p.Plan, p.finish()
}

// finish puts the releases in order, and gives them and their Secrets names that no two share.
func (p *Plan) finish() error {
	p.sort()
	return p.distinguish()
}

// init plans a control plane.
func (p planner) init(c command) error {
	r := p.release(controlPlaneChart, c)
	r.Name, r.Federation = c.name, c.name
	for _, other := range p.controlPlanes() {
		if other.Name == r.Name && other.place() == r.place() {
			return fmt.Errorf("%s: federation %s is made a second time, after %s: take one of the two lines out", c.at, c.name, other.From)
		}
	}
	if c.flag("host-cluster-context", "") == "" {
		p.note(r, c.at, "--host-cluster-context is missing, which kubefed wanted: the kubeconfig's current context is taken")
	}
	if c.flag("dns-provider", "") == "" {
		p.note(r, c.at, "--dns-provider is missing, which kubefed wanted from 1.6 on: the chart's default is taken")
	}
	p.Releases = append(p.Releases, r)
	return p.translate(c, r, p.charts.controlPlane)
}

// join plans a member, or again one that has left.
func (p planner) join(c command) error {
	r, err := p.member(c)
	if err != nil {
		return err
	}
	for i, other := range p.Releases {
		if !other.sameMember(r) {
			continue
		}
		if !other.Gone {
			return fmt.Errorf("%s: cluster %s joins a second time, after %s: take one of the two lines out", c.at, c.name, other.From)
		}
		p.Releases = slices.Delete(p.Releases, i, i+1)
		break
	}
	p.Releases = append(p.Releases, r)
	r.context, r.credentials = c.clusterContext(), c.flag("credentials-kubeconfig", "")
	r.inCluster = r.context == r.Context && r.credentials == ""
	return p.translate(c, r, p.charts.member)
}

// unjoin plans that a member is gone: one that joined before, or one whose release is there already.
func (p planner) unjoin(c command) error {
	r, err := p.member(c)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(p.Releases, func(other *Release) bool { return other.sameMember(r) })
	if i < 0 {
		p.Releases = append(p.Releases, r)
	} else {
		p.Releases[i].From += ", " + r.From
		r = p.Releases[i]
	}
	r.Gone = true
	return p.translate(c, r, p.charts.member)
}

// member begins the release of the cluster that a command is about.
func (p planner) member(c command) (*Release, error) {
	r := p.release(memberChart, c)
	r.Name, r.Cluster = c.name, c.name
	var err error
	if r.controlPlane, r.Federation, err = p.federationOf(c, r); err != nil {
		return nil, err
	}
	if r.Federation != "" {
		r.values.set("federation", r.Federation, "")
	}
	if c.flag("host-cluster-context", "") == "" && r.controlPlane == nil {
		p.note(r, c.at, "--host-cluster-context is missing, which kubefed wanted: the kubeconfig's current context is taken")
	}
	return r, nil
}

// release begins a release where a command puts it.
func (p planner) release(chart string, c command) *Release {
	return &Release{Chart: chart, Namespace: c.namespace(), Context: c.flag("host-cluster-context", ""), Kubeconfig: c.kubeconfigPath(), From: c.from(), values: newTree()}
}

// federationOf says which federation a cluster joins or leaves, which kubefed knew from the kubeconfig's current context: the one whose context is given or was chosen, else the only one
// in the host cluster's namespace; without any, nil and what the context says. Errors: one of several, which cannot be known.
func (p planner) federationOf(c command, r *Release) (*Release, string, error) {
	var here []*Release
	for _, f := range p.controlPlanes() {
		if f.place() == r.place() {
			here = append(here, f)
		}
	}
	for _, context := range []string{c.flag("context", ""), c.context} {
		if i := slices.IndexFunc(here, func(f *Release) bool { return f.Name == context }); i >= 0 {
			return here[i], context, nil
		}
	}
	if given := c.flag("context", ""); given != "" {
		if err := values.CheckName("federation", given); err != nil {
			return nil, "", fmt.Errorf("%s: --context=%s: %w", c.at, given, err)
		}
		return nil, given, nil
	}
	switch {
	case len(here) == 1:
		return here[0], here[0].Name, nil
	case len(here) > 1:
		return nil, "", fmt.Errorf("%s: %s does not say which federation it is about, and there are several before it: add --context=%s, or the context of another", c.at, c, here[0].Name)
	case c.context != r.Context && values.CheckName("federation", c.context) == nil:
		return nil, c.context, nil
	}
	return nil, "", nil
}

// place is where a release is, as far as two of a name exclude each other.
func (r *Release) place() [3]string { return [3]string{r.Kubeconfig, r.Context, r.Namespace} }

func (r *Release) sameMember(other *Release) bool {
	return r.Chart == memberChart && other.Chart == memberChart && r.Cluster == other.Cluster && r.Federation == other.Federation && r.place() == other.place()
}

// reach says how a member is reached to join it: it is the host cluster, or there is a Secret with a kubeconfig, made from a context of the usual one or of a file. The Secret is named after
// the release, since a cluster may be in two federations by different contexts.
func (r *Release) reach() {
	if r.inCluster {
		r.values.set("credentials.inCluster", true, "its context is the host cluster's")
		return
	}
	name := r.Name + "-kubeconfig"
	r.values.set("credentials.existingSecret", name, "")
	view := []string{"kubectl"}
	if r.credentials != "" {
		view = append(view, "--kubeconfig="+r.credentials)
	}
	view = append(view, "config", "view", "--raw", "--minify", "--flatten", "--context="+r.context)
	r.secrets = append(r.secrets, r.environment()+quote(view...)+" | "+r.createSecret(name, "--from-file=kubeconfig=/dev/stdin"))
}

// slot is a name in a place, which one object of a kind can have.
type slot struct {
	place [3]string
	name  string
}

// distinguish gives the releases of a place names of their own. A federation has its release's name, so a member gives way: to "<cluster>-<federation>". So do the Secrets with the
// credentials of a cluster in two federations.
func (p *Plan) distinguish() error {
	releases, secrets := map[slot]*Release{}, map[slot]*Release{}
	for _, f := range p.controlPlanes() {
		releases[slot{f.place(), f.Name}] = f
	}
	for _, m := range p.members() {
		if releases[slot{m.place(), m.Name}] != nil && m.Federation != "" {
			m.Name = m.Cluster + "-" + m.Federation
			m.values.set("clusterName", m.Cluster, "")
		}
		if other := releases[slot{m.place(), m.Name}]; other != nil {
			return fmt.Errorf("%s and %s would both be release %s in namespace %s: give the cluster another name, or the federation another --federation-system-namespace",
				other.From, m.From, m.Name, m.Namespace)
		}
		releases[slot{m.place(), m.Name}] = m
		if !m.Gone {
			m.reach()
		}
		if secrets[slot{m.place(), m.credentialsSecret()}] != nil && m.values.get("secretName") == "" {
			m.values.set("secretName", m.Name+"-credentials", "")
		}
		if other := secrets[slot{m.place(), m.credentialsSecret()}]; other != nil {
			return fmt.Errorf("%s and %s would both keep their credentials in Secret %s: give one of them another --secret-name", other.From, m.From, m.credentialsSecret())
		}
		secrets[slot{m.place(), m.credentialsSecret()}] = m
	}
	return nil
}

// credentialsSecret is the name of the Secret with the credentials that the federation uses.
func (r *Release) credentialsSecret() string {
	if name := r.values.get("secretName"); name != "" {
		return name
	}
	return r.Cluster + "-federation-credentials"
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
