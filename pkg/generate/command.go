package generate

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"github.com/fedhelm/fedhelm/pkg/values"
)

// command is a command line of kubefed, understood.
type command struct {
	commandLine
	// verb is init, join or unjoin; name the federation's or the cluster's.
	verb, name string
	// given are the flags by name, with what they were given.
	given map[string]string
}

// String names the command for a person.
func (c command) String() string { return fmt.Sprintf("`kubefed %s %s`", c.verb, c.name) }

// from says where the command stands.
func (c command) from() string { return fmt.Sprintf("%s (%s)", c, c.at) }

// flag gives what a flag was given, or what it is without.
func (c command) flag(name, without string) string {
	if given, found := c.given[name]; found {
		return given
	}
	return without
}

// namespace is that of the federation in the host cluster.
func (c command) namespace() string {
	return c.flag("federation-system-namespace", "federation-system")
}

// clusterContext is the context of the cluster that joins or leaves.
func (c command) clusterContext() string { return c.flag("cluster-context", c.name) }

// kubeconfigPath is the kubeconfig that kubefed used, empty for the usual one.
func (c command) kubeconfigPath() string { return c.flag("kubeconfig", c.kubeconfig) }

// Of kubefed's verbs those that change nothing, so that there is nothing to translate.
var idle = map[string]bool{"": true, "version": true, "help": true, "options": true, "completion": true}

// parseCommand understands a command line as kubefed did; nil for one that changes nothing. Errors: an unknown verb or flag, a flag that the verb did not have, a name that is
// missing, double or not good.
func parseCommand(line commandLine) (*command, error) {
	for _, word := range line.words {
		if !utf8.ValidString(word) || strings.ContainsFunc(word, unicode.IsControl) {
			return nil, fmt.Errorf("%s: the word %q has characters that are no text: write it without them", line.at, word)
		}
	}
	set := pflag.NewFlagSet("kubefed", pflag.ContinueOnError)
	set.Usage = func() {}
	set.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName { // kubefed took both
		return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
	})
	for _, f := range flags {
		if f.boolean {
			set.BoolP(f.name, f.short, false, "")
		} else {
			set.StringP(f.name, f.short, "", "")
		}
	}
	if err := set.Parse(line.words); err != nil {
		return nil, fmt.Errorf("%s: kubefed does not understand its flags: %w; docs/kubefed.md lists those it had", line.at, err)
	}
	operands := append(set.Args(), "")
	c := &command{commandLine: line, verb: operands[0], given: map[string]string{}}
	on, known := byVerb[c.verb]
	switch {
	case idle[c.verb] || set.Changed("help"):
		return nil, nil
	case !known:
		return nil, fmt.Errorf("%s: kubefed has no command %q: it had init, join and unjoin", line.at, c.verb)
	case operands[1] == "":
		return nil, fmt.Errorf("%s: `kubefed %s` names no %s: write it after %s", line.at, c.verb, c.kind(), c.verb)
	case len(operands) > 3:
		return nil, fmt.Errorf("%s: `kubefed %s` takes one name, and there are several: %s; write each in a command line of its own", line.at, c.verb, strings.Join(set.Args()[1:], ", "))
	}
	c.name = operands[1]
	if err := values.CheckName(c.kind(), c.name); err != nil {
		return nil, fmt.Errorf("%s: %w", line.at, err)
	}
	for _, f := range flags {
		if !set.Changed(f.name) || set.Lookup(f.name).Value.String() == "" { // to kubefed an empty flag was none
			continue
		}
		if f.on&on == 0 {
			return nil, fmt.Errorf("%s: `kubefed %s` has no flag --%s: take it out; docs/kubefed.md lists the flags", line.at, c.verb, f.name)
		}
		c.given[f.name] = set.Lookup(f.name).Value.String()
	}
	return c, c.contradiction()
}

// kind says what the verb takes the name of.
func (c command) kind() string {
	if c.verb == "init" {
		return "federation"
	}
	return "cluster"
}

// contradiction says which flags do not go together, as kubefed did.
func (c command) contradiction() error {
	if c.verb != "init" || c.flag("api-server-service-type", "LoadBalancer") == "NodePort" {
		return nil
	}
	for _, name := range []string{"api-server-advertise-address", "api-server-port"} {
		if given := c.flag(name, ""); given != "" && given != "0" {
			return fmt.Errorf("%s: --%s goes only with --api-server-service-type=NodePort, as in kubefed: give that too, or leave the other out", c.at, name)
		}
	}
	return nil
}
