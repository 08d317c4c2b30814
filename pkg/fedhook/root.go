// Package fedhook is the command line of fedhook: what each command is told, and how it ends.
package fedhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/values"
)

// Version of the program, set when it is built.
var Version = "development"

const (
	// valuesKey is the key of the release's values in their Secret.
	valuesKey = "values.yaml"
	// valuesTimeout is how long a hook waits until the API server has seen its role.
	valuesTimeout = 15 * time.Second
	// terminationLog is where a container says why it ended; `kubectl describe pod` shows it.
	terminationLog = "/dev/termination-log"
)

// Main runs fedhook and gives its exit code: 0, or 1 with one sentence on stderr and in the termination message that says what to do.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o := &options{stdout: stdout}
	handler := slog.NewTextHandler(stderr, &slog.HandlerOptions{ReplaceAttr: withoutTime, Level: &o.level})
	o.log = slog.New(handler)
	log.SetLogger(logr.FromSlogHandler(handler)) // the client library's own, which else complains that it has none
	command := newCommand(o)
	command.SetArgs(args)
	command.SetOut(stdout)
	command.SetErr(stderr)
	err := command.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	message := oneLine(explain(ctx, err))
	_, _ = fmt.Fprintln(stderr, "fedhook: "+message)
	if file, err := os.OpenFile(o.terminationLog, os.O_WRONLY|os.O_TRUNC, 0); err == nil {
		_, _ = io.WriteString(file, message)
		_ = file.Close()
	}
	return 1
}

// options are the flags that every command has.
type options struct {
	release, namespace       string
	valuesFile, valuesSecret string
	kubeconfig, context      string
	timeout                  time.Duration
	terminationLog           string
	verbose                  bool

	level  slog.LevelVar
	stdout io.Writer
	log    *slog.Logger
}

func newCommand(o *options) *cobra.Command {
	root := &cobra.Command{
		Use:   "fedhook",
		Short: "Does the work of the hooks of the charts federation-control-plane and federation-member",
		Long: `fedhook does the work of the hooks of the charts federation-control-plane and federation-member.

Every command ensures a state: run twice it changes nothing, and if it is killed half-way the next run finishes it. So a hook that failed can be
run by hand, with a kubeconfig of the host cluster and the values of the release:

  helm -n federation-system get values --all -o yaml gondor > values.yaml
  fedhook unjoin --release gondor --namespace federation-system --values values.yaml`,
		Version:       Version,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRun: func(*cobra.Command, []string) {
			if o.verbose {
				o.level.Set(slog.LevelDebug)
			}
		},
	}
	root.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		return fmt.Errorf("%w: `%s --help` lists what it takes", err, command.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.StringVar(&o.release, "release", "", "name of the Helm release: the federation's, or for join and unjoin the member's")
	flags.StringVarP(&o.namespace, "namespace", "n", "", "namespace of the release in the host cluster (default: the kubeconfig's, in a pod the pod's)")
	flags.StringVar(&o.valuesFile, "values", "", "file with the release's values, as helm get values --all -o yaml gives them")
	flags.StringVar(&o.valuesSecret, "values-secret", "", "Secret in the namespace that holds them under the key "+valuesKey+", as the charts' hooks have it")
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig of the host cluster (default: the pod's service account, else $KUBECONFIG, else ~/.kube/config)")
	flags.StringVar(&o.context, "context", "", "context of that kubeconfig")
	flags.DurationVar(&o.timeout, "timeout", 4*time.Minute, "time after which the command gives up, whatever it waits for")
	flags.StringVar(&o.terminationLog, "termination-log", terminationLog, "file to write the failure message to; ignored if it does not exist")
	flags.BoolVarP(&o.verbose, "verbose", "v", false, "also log what needed no change")
	root.AddCommand(
		prepareCommand(o), certsCommand(o), dnsCommand(o), bootstrapCommand(o), publishCommand(o), keepCommand(o), teardownCommand(o), cleanupCommand(o),
		basicAuthProxyCommand(o), joinCommand(o), unjoinCommand(o), statusCommand(o), generateCommand(o), versionCommand(o),
	)
	return root
}

// run gives a command's work a context that ends with the timeout.
func (o *options) run(work func(ctx context.Context) error) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, _ []string) error {
		ctx, cancel := context.WithTimeout(command.Context(), o.timeout)
		defer cancel()
		err := work(ctx)
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return fmt.Errorf("gave up after %s, the --timeout, run it again to finish the work: %w", o.timeout, err)
		}
		return err
	}
}

func versionCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of fedhook",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(o.stdout, Version)
			return err
		},
	}
}

// host is the configuration of a client of the host cluster, and the namespace of the release in it.
func (o *options) host() (*rest.Config, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	deferred := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: o.context})
	config, err := deferred.ClientConfig()
	if err != nil {
		return nil, "", fmt.Errorf("find the host cluster: %w; give its --kubeconfig and --context", err)
	}
	namespace := o.namespace
	if namespace == "" {
		namespace, _, err = deferred.Namespace()
	}
	return config, namespace, err
}

// connect makes the client of the host cluster, and gives the namespace of the release in it.
func (o *options) connect() (*kube.API, string, error) {
	config, namespace, err := o.host()
	if err != nil {
		return nil, "", err
	}
	host, err := kube.Connect(config)
	return host, namespace, err
}

// checkFederation says what is wrong with the release's name, which is the federation's.
func (o *options) checkFederation() error {
	if err := o.checkRelease(); err != nil {
		return err
	}
	return values.CheckName("federation", o.release)
}

func (o *options) checkRelease() error {
	if o.release == "" {
		return errors.New("no release is named: give --release")
	}
	return nil
}

// withValues gives a command's work the host cluster, the namespace of the release in it, and the release's values.
func withValues[V any](o *options, check func() error, decode func([]byte) (V, error), work func(context.Context, *kube.API, string, V) error) func(*cobra.Command, []string) error {
	return o.run(func(ctx context.Context) error {
		if err := check(); err != nil {
			return err
		}
		host, namespace, err := o.connect()
		if err != nil {
			return err
		}
		text, err := o.readValues(ctx, host, namespace)
		if err != nil {
			return err
		}
		decoded, err := decode(text)
		if err != nil {
			return err
		}
		return work(ctx, host, namespace, decoded)
	})
}

// readValues gives the text of the release's values, from the file or the Secret.
func (o *options) readValues(ctx context.Context, host *kube.API, namespace string) ([]byte, error) {
	switch {
	case o.valuesFile != "" && o.valuesSecret != "":
		return nil, errors.New("--values and --values-secret both give the values: give one of them")
	case o.valuesFile != "":
		return os.ReadFile(o.valuesFile)
	case o.valuesSecret == "":
		return nil, fmt.Errorf("the release's values are missing: give --values with the output of `helm -n %s get values --all -o yaml %s`", namespace, o.release)
	}
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: namespace, Name: o.valuesSecret}
	what := fmt.Sprintf("Secret %s with the values of release %s", key, o.release)
	err := kube.Wait(ctx, time.Second/2, valuesTimeout, what, func(ctx context.Context) (bool, error) {
		err := host.Get(ctx, key, secret)
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
			return false, kube.Fatal(fmt.Errorf("get %s: %w", what, err))
		}
		return err == nil, err
	})
	if err != nil {
		return nil, err
	}
	text, found := secret.Data[valuesKey]
	if !found {
		return nil, fmt.Errorf("Secret %s has no key %s: upgrade release %s, which writes it", key, valuesKey, o.release)
	}
	return text, nil
}

// explain adds why the context ended, where that is why the work did.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("stopped by a signal, run it again to finish the work: %w", err)
	}
	return err
}

// oneLine puts a sentence that was wrapped or joined on one line.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' }), "; ")
}

// withoutTime drops the time of a line: a Job's log has it from the kubelet.
func withoutTime(groups []string, attribute slog.Attr) slog.Attr {
	if len(groups) == 0 && attribute.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return attribute
}
