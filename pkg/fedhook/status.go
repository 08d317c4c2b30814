package fedhook

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fedhelm/fedhelm/pkg/status"
)

func statusCommand(o *options) *cobra.Command {
	var (
		check  bool
		format string
	)
	command := &cobra.Command{
		Use:   "status",
		Short: "Show a federation: its API, members, certificates and DNS",
		Long: `status shows a federation in a table: whether its API is ready and where it is, its members and what their own DNS is set to, how long its certificates last, and its DNS zone. It changes nothing. Run it where
your kubeconfig reaches the host cluster, with the namespace of the control plane:

  fedhook status -n federation-system
  fedhook status -n federation-system --check    fails with one sentence if anything is wrong

Wrong are an API that is not ready, a member that is not Ready or whose own DNS could not be configured, and a certificate that is missing, has expired, or has less than a sixth of its
life left (they are renewed when a third is left).`,
		Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context) error {
			if !slices.Contains(status.Formats, format) {
				return fmt.Errorf("there is no format %q: give -o one of %s", format, strings.Join(status.Formats, ", "))
			}
			host, namespace, err := o.connect()
			if err != nil {
				return err
			}
			viewer := status.Viewer{Host: host, Namespace: namespace, InCluster: os.Getenv("KUBERNETES_SERVICE_HOST") != ""}
			report, err := viewer.Look(ctx, o.release)
			if err != nil {
				return err
			}
			if err := report.Print(o.stdout, format); err != nil {
				return err
			}
			if check {
				return report.Err()
			}
			return nil
		}),
	}
	command.Flags().BoolVar(&check, "check", false, "exit with 1 and say why if anything is wrong")
	command.Flags().StringVarP(&format, "output", "o", status.Formats[0], "format: "+strings.Join(status.Formats, ", "))
	return command
}
