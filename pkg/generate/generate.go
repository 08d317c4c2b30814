// Package generate writes federations down for GitOps: from kubefed's command lines, or from a kubeconfig, it makes values files, a helmfile.yaml, or Argo CD
// Applications, one release a federation and member.
//
// It runs nothing and changes no cluster. Secrets are named in what it writes, never held; the commands that make them stand in comments. What a command line said and
// no value says is in the comments too, and among the warnings. Before anything is given out it is read back, and each release rendered through its chart by Helm's own
// engine, which checks the values against the chart's schema.
package generate

import (
	"slices"
)

// The charts, by the kind of release.
const (
	controlPlaneChart = "federation-control-plane"
	memberChart       = "federation-member"
)

// Plan is the releases to be: each federation, then its members in the order in which they were named.
type Plan struct {
	Releases []*Release
	// Warnings are what could not be translated, each one sentence after where it stood.
	Warnings []string
}

// Release is one Helm release to be.
type Release struct {
	// Chart is the name of the chart.
	Chart string
	// Name and Namespace of the release.
	Name, Namespace string
	// Cluster is a member's name in the federation; empty in a control plane's release.
	Cluster string
	// Federation is the federation's name; empty in that of a member that joins the only one there is.
	Federation string
	// Context is the host cluster's in a kubeconfig, empty the current one; Kubeconfig is what KUBECONFIG is to be, empty what it is.
	Context, Kubeconfig string
	// From says for a person what it is made from: "`kubefed init fellowship` (init.sh:3)".
	From string
	// Gone says that the release is to be uninstalled.
	Gone bool
	// context is a member's own, from which its kubeconfig is made, in the file credentials or else the usual one; inCluster says that the host cluster joins its own federation.
	context, credentials string
	inCluster            bool

	// values are those that differ from the chart's, or that somebody gave.
	values *tree
	// secrets are the commands that make what the values name.
	secrets []string
	// notes are what could not be translated.
	notes []string
	// controlPlane is the release that a member waits for, nil if it is not planned here.
	controlPlane *Release
}

// File is a file to be written.
type File struct {
	// Name of the file: "helmfile.yaml".
	Name string
	Text []byte
}

// note says of a release what could not be translated.
func (p *Plan) note(r *Release, at, text string) {
	if at != "" {
		p.warn(at + ": " + text)
	} else {
		p.warn(text)
	}
	r.notes = append(r.notes, text)
}

// warn says a thing once.
func (p *Plan) warn(text string) {
	if !slices.Contains(p.Warnings, text) {
		p.Warnings = append(p.Warnings, text)
	}
}

// controlPlanes are the releases of federations.
func (p *Plan) controlPlanes() []*Release {
	return slices.DeleteFunc(slices.Clone(p.Releases), func(r *Release) bool { return r.Chart != controlPlaneChart })
}

// members are the releases of members.
func (p *Plan) members() []*Release {
	return slices.DeleteFunc(slices.Clone(p.Releases), func(r *Release) bool { return r.Chart != memberChart })
}

// sort puts each federation before its members, and members of none of them last.
func (p *Plan) sort() {
	var sorted []*Release
	members := p.members()
	for _, f := range append(p.controlPlanes(), nil) {
		if f != nil {
			sorted = append(sorted, f)
		}
		for _, m := range members {
			if m.controlPlane == f {
				sorted = append(sorted, m)
			}
		}
	}
	p.Releases = sorted
}
