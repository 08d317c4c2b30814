package fedhook

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fedhelm/fedhelm/pkg/generate"
)

// generation is what all of `fedhook generate` is told.
type generation struct {
	*options
	charts    string
	variables map[string]string
	// federation and the rest name a federation by a kubeconfig's contexts.
	federation, hostContext string
	members                 []string
	servers                 map[string]string
}

func generateCommand(o *options) *cobra.Command {
	g := &generation{options: o}
	command := &cobra.Command{
		Use:   "generate",
		Short: "Write a federation down for Helm, Helmfile or Argo CD, from kubefed's command lines or a kubeconfig",
		Long: `generate writes a federation down for Helm, Helmfile or Argo CD. It changes no cluster. What it is given is one of

  a shell script with command lines of kubefed, as a file, or - for standard input:
    fedhook generate helmfile federate.sh
  one command line after --, or several with ';' between them:
    fedhook generate values -- kubefed init fellowship --host-cluster-context=rivendell --dns-provider=coredns --dns-zone-name=example.com.
  contexts of a kubeconfig:
    fedhook generate argocd --federation fellowship --host-context rivendell --member gondor --member shire=shire-context

A script is read, not run. Where a line of kubefed needs what only a run shows, the variable has to be given with --variable. What has no value is said in a comment and in a
warning. Secrets are named, never held: the comments have the commands that make them. Each release is rendered with its chart before anything is written.`,
		RunE: func(command *cobra.Command, arguments []string) error {
			if len(arguments) == 0 {
				return command.Help()
			}
			return fmt.Errorf("%q is nothing that can be written: say helmfile, values or argocd before what is translated", arguments[0])
		},
	}
	flags := command.PersistentFlags()
	flags.StringVar(&g.charts, "charts", "charts", "where the charts are, for what is written: a folder, or a registry such as oci://registry.example/charts")
	flags.StringToStringVar(&g.variables, "variable", nil, "value of a variable in the script, as NAME=VALUE, whatever the script sets")
	flags.StringVar(&g.federation, "federation", "", "name of a federation to write down from a kubeconfig, without command lines of kubefed")
	flags.StringVar(&g.hostContext, "host-context", "", "with --federation: context of the host cluster (default: the current one)")
	flags.StringArrayVar(&g.members, "member", nil, "with --federation: a cluster to join, as NAME or NAME=CONTEXT; may be repeated")
	flags.StringToStringVar(&g.servers, "server", nil, "with --federation: address of a member's API as the host cluster sees it, as NAME=https://host:port")
	command.AddCommand(generateValues(g), generateHelmfile(g), generateArgoCD(g))
	return command
}

func generateValues(g *generation) *cobra.Command {
	var directory string
	command := &cobra.Command{
		Use:   "values [SCRIPT | - | -- kubefed ...]",
		Short: "Write values files, one a release",
		RunE: g.run(func(plan *generate.Plan, charts generate.Charts) ([]generate.File, error) {
			return plan.ValuesFiles(charts, directory)
		},
			func(files []generate.File) error {
				if directory == "" {
					return g.print(files)
				}
				return g.write(directory, files)
			}),
	}
	command.Flags().StringVarP(&directory, "directory", "d", "", "folder to write the files to (default: standard output)")
	return command
}

func generateHelmfile(g *generation) *cobra.Command {
	return &cobra.Command{
		Use:   "helmfile [SCRIPT | - | -- kubefed ...]",
		Short: "Write a helmfile.yaml",
		RunE: g.run(func(plan *generate.Plan, charts generate.Charts) ([]generate.File, error) {
			return plan.Helmfile(charts)
		}, g.print),
	}
}

func generateArgoCD(g *generation) *cobra.Command {
	var argo generate.ArgoCD
	command := &cobra.Command{
		Use:   "argocd [SCRIPT | - | -- kubefed ...]",
		Short: "Write Argo CD Applications, one a release",
		RunE: g.run(func(plan *generate.Plan, charts generate.Charts) ([]generate.File, error) {
			return plan.Applications(charts, argo)
		}, g.print),
	}
	flags := command.Flags()
	flags.StringVar(&argo.Destination, "destination", "", "the host cluster's name in Argo CD (default: the host cluster's context)")
	flags.StringVar(&argo.Repository, "repository", "", "Git repository with the charts (default: fedhelm's own)")
	flags.StringVar(&argo.Revision, "revision", "", "revision of that repository (default: the tag of the charts' version)")
	return command
}

// run plans, gives out the warnings, and then what is written: all of it or, after an error, nothing.
func (g *generation) run(write func(*generate.Plan, generate.Charts) ([]generate.File, error), give func([]generate.File) error) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, arguments []string) error {
		charts, err := generate.OpenCharts(g.charts)
		if err != nil {
			return err
		}
		plan, err := g.plan(command, arguments, charts)
		if err != nil {
			return err
		}
		files, err := write(plan, charts)
		for _, warning := range plan.Warnings {
			g.log.Warn(warning)
		}
		if err != nil {
			return err
		}
		if charts.Embedded {
			g.log.Warn(fmt.Sprintf("--charts=%s is no folder here: the releases were rendered with the charts that fedhook %s holds", g.charts, Version))
		}
		return give(files)
	}
}

func (g *generation) plan(command *cobra.Command, arguments []string, charts generate.Charts) (*generate.Plan, error) {
	for _, flag := range []string{"context", "release", "values", "values-secret"} {
		if command.Flags().Changed(flag) {
			return nil, fmt.Errorf("--%s says nothing to `fedhook generate`: leave it out; the host cluster is named by --host-context, or in kubefed's command lines", flag)
		}
	}
	if g.federation != "" {
		if len(arguments) > 0 {
			return nil, errors.New("--federation writes down a federation from a kubeconfig, and command lines of kubefed are given too: give one of them")
		}
		return g.fromKubeconfig()
	}
	if len(g.members) > 0 || g.hostContext != "" || len(g.servers) > 0 {
		return nil, errors.New("--host-context, --member and --server go with --federation: give its name")
	}
	if g.namespace != "" {
		return nil, errors.New("--namespace goes with --federation: command lines of kubefed have --federation-system-namespace")
	}
	afterDash := command.ArgsLenAtDash()
	shell := generate.Shell{Name: "the command line", Home: os.Getenv("HOME"), Variables: g.variables}
	var plan *generate.Plan
	var err error
	switch {
	case afterDash == 0:
		plan, err = generate.FromArguments(arguments, shell, charts)
	case afterDash > 0 || len(arguments) > 1:
		return nil, fmt.Errorf("%q is more than one source: give one script, or a command line after --", strings.Join(arguments, " "))
	case len(arguments) == 0:
		return nil, errors.New("nothing is given to translate: name a script, - for standard input, a command line after --, or a kubeconfig's contexts with --federation")
	default:
		plan, err = fromScript(command.InOrStdin(), arguments[0], shell, charts)
	}
	if err != nil || g.kubeconfig == "" {
		return plan, err
	}
	return plan, plan.CheckContexts(g.kubeconfig)
}

func fromScript(stdin io.Reader, name string, shell generate.Shell, charts generate.Charts) (*generate.Plan, error) {
	shell.Name = "standard input"
	if name == "-" {
		return generate.FromScript(stdin, shell, charts)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the script: %w; a command line of kubefed goes after --", err)
	}
	shell.Name = filepath.Base(name)
	return generate.FromScript(bytes.NewReader(text), shell, charts)
}

func (g *generation) fromKubeconfig() (*generate.Plan, error) {
	f := generate.Federation{Name: g.federation, Namespace: g.namespace, HostContext: g.hostContext, Kubeconfig: g.kubeconfig}
	if f.Namespace == "" {
		f.Namespace = "federation-system"
	}
	named := map[string]bool{}
	for _, member := range g.members {
		name, context, found := strings.Cut(member, "=")
		if !found {
			context = name
		}
		named[name] = true
		f.Members = append(f.Members, generate.Member{Name: name, Context: context, Server: g.servers[name]})
	}
	for name := range g.servers {
		if !named[name] {
			return nil, fmt.Errorf("--server names %q, which no --member is: give --member %s too", name, name)
		}
	}
	return generate.FromKubeconfig(f)
}

// print writes the files one after the other, as documents of YAML.
func (g *generation) print(files []generate.File) error {
	for i, file := range files {
		text := string(file.Text)
		if len(files) > 1 {
			text = "# " + file.Name + "\n#\n" + text
		}
		if i > 0 {
			text = "---\n" + text
		}
		if _, err := io.WriteString(g.stdout, text); err != nil {
			return err
		}
	}
	return nil
}

// write writes the files to a folder. Errors: a file of that name that has something else in it, which nothing is written over.
func (g *generation) write(directory string, files []generate.File) error {
	for _, file := range files {
		path := filepath.Join(directory, file.Name)
		if before, err := os.ReadFile(path); err == nil && !bytes.Equal(before, file.Text) {
			return fmt.Errorf("%s is there and has something else in it: move it away, or give another --directory", path)
		}
	}
	if err := os.MkdirAll(directory, 0o755); err != nil { //nolint:gosec // nothing secret is in them
		return err
	}
	for _, file := range files {
		path := filepath.Join(directory, file.Name)
		if err := os.WriteFile(path, file.Text, 0o644); err != nil { //nolint:gosec // nothing secret is in them
			return err
		}
		g.log.Info("wrote", "file", path)
	}
	return nil
}
