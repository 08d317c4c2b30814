package fedhook

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/member"
	"github.com/fedhelm/fedhelm/pkg/values"
)

func joinCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "join",
		Short: "Join a cluster to its federation, or repair an earlier join",
		Long: `join makes a cluster a member of its federation: an account in the member, its credentials in the host cluster, the Cluster in the federation, and the member's DNS.
It checks everything before it writes anything, and waits until the federation finds the cluster Ready. Running it again repairs what is not as it should be.`,
		Args: cobra.NoArgs,
		RunE: o.member(func(ctx context.Context, hook member.Hook) error { return hook.Join(ctx) }),
	}
}

func unjoinCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "unjoin",
		Short: "Let a cluster go from its federation",
		Long: `unjoin takes back what join made, in the federation, the member and the host cluster. What is already gone is fine. What cannot be reached stays, with a
warning that says where it is and how to remove it by hand; only with unjoin.strict does that make unjoin fail.`,
		Args: cobra.NoArgs,
		RunE: o.member(func(ctx context.Context, hook member.Hook) error { return hook.Unjoin(ctx) }),
	}
}

// member gives a command's work the cluster it is for.
func (o *options) member(work func(context.Context, member.Hook) error) func(*cobra.Command, []string) error {
	return withValues(o, o.checkRelease, values.DecodeMember, func(ctx context.Context, host *kube.API, namespace string, v values.Member) error {
		return work(ctx, member.Hook{Release: o.release, Namespace: namespace, Values: v, Host: host, Log: o.log})
	})
}
