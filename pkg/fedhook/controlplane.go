package fedhook

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/fedhelm/fedhelm/pkg/controlplane"
	"github.com/fedhelm/fedhelm/pkg/kube"
	"github.com/fedhelm/fedhelm/pkg/values"
)

func certsCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "certs",
		Short: "Ensure the control plane's certificates and keys, each in a Secret",
		Long: `certs ensures the control plane's certificates and keys, each in a Secret of its own; and, where apiServer.basicAuth and apiServer.tokenAuth are on, the administrator's password
and token.

What is there and good is not touched. A certificate past two thirds of its life, or that lacks a name, is issued anew by the same CA. A CA is never
replaced, since that invalidates every kubeconfig: one that is broken or missing is an error that says what to do. A password or token is made anew when its Secret is deleted.`,
		Args: cobra.NoArgs,
		RunE: o.controlPlane(func(ctx context.Context, hook controlplane.Hook) error { return hook.Certs(ctx) }),
	}
}

func dnsCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "dns",
		Short: "Ensure the DNS provider's configuration, and check that its zone may be written",
		Long: `dns ensures Secret <federation>-dns-provider, which the controller manager reads: the provider's configuration, and the files that it names. It comes from dns.existingSecret,
dns.config or the values of the provider.

A configuration that cannot be read is an error with the line and the known keys. Then the provider is asked for the zone, and a record is written, read and deleted in it. If that
fails, dns.check says whether it is a warning (warn) or an error (strict); with off it is not tried. The controller manager tries the same with its own identity, which may be
another.`,
		Args: cobra.NoArgs,
		RunE: o.controlPlane(func(ctx context.Context, hook controlplane.Hook) error { return hook.DNS(ctx) }),
	}
}

func prepareCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "prepare",
		Short: "Ensure what the control plane's pods mount: certs, then dns",
		Long: `prepare ensures what the control plane's pods mount before there is one: the certificates and keys (see certs), then the configuration of the DNS provider (see dns).
Where etcd.external.servers names an etcd, it sees first that the certificates for it are there and can be used.`,
		Args: cobra.NoArgs,
		RunE: o.controlPlane(func(ctx context.Context, hook controlplane.Hook) error { return hook.Prepare(ctx) }),
	}
}

func publishCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "publish",
		Short: "Publish the addresses of the federation's API and DNS, and the administrator's kubeconfig",
		Long: `publish finds out where the federation's API is reached, for which it waits as long as apiServer.service.addressTimeoutSeconds says, and writes that into the serving
certificate and into Secret <federation>-kubeconfig. Without an address it publishes the one in the cluster, and says so. If the federation runs its own DNS, the address of that
goes into ConfigMap <federation>-nameservers, within the same time, and pods of the DNS that are older than their certificate are replaced, as are pods of the API server that are
older than their tokens. For a CoreDNS of yours, what its key coredns-endpoints names goes there. What was made for a DNS, a password or a token that is no longer used is removed.

It never fails for lack of an address: the keeper publishes a late one, or you do with this command. To be sure of one, set apiServer.service.advertiseAddress and dns.nameservers, or
set apiServer.service.type and dns.server.service.type to NodePort. Then it waits up to a minute until the API is ready, and sets it up (see bootstrap) in case that was done through
an API server that an upgrade has replaced. It fails if the API does not come up because etcd's claim does not bind, or because the etcd that
etcd.external.servers names does not answer.`,
		Args: cobra.NoArgs,
		RunE: o.controlPlane(func(ctx context.Context, hook controlplane.Hook) error {
			if err := hook.Publish(ctx); err != nil {
				return err
			}
			return hook.EnsureUsable(ctx)
		}),
	}
}

func teardownCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "teardown",
		Short: "Let go of the members that are still joined, before the control plane is uninstalled",
		Long: `teardown lets go of every member that is still joined: its Cluster, its DNS entries, the federation's account and role in it, and, where the Cluster's unjoinPolicy is
Delete, what the federation put there. Then it removes the federation's records from a DNS zone that is not the chart's own.

It is best effort: a member that does not answer, or a federation whose API is gone, is a warning that says what was left where and how to remove it by hand.
With teardown.strict it is an error at the end. Releases of members stay: uninstall them too.`,
		Args: cobra.NoArgs,
		RunE: o.controlPlane(func(ctx context.Context, hook controlplane.Hook) error { return hook.Teardown(ctx) }),
	}
}

func cleanupCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "cleanup",
		Short: "Remove what the hooks made, after the control plane is uninstalled",
		Long: `cleanup deletes what the hooks made in the release's namespace, by a fixed table of names: the Secrets with certificates, keys, CAs, kubeconfigs, password, token and the
configuration of the DNS provider, ConfigMap <federation>-nameservers, and the federation's key in Secret federation-registrars. What is already gone is fine; what another release
made stays, with a warning.

The CAs go too, so every kubeconfig of the federation is invalid from then on. Never run it on a federation that you want to keep.`,
		Args: cobra.NoArgs,
		RunE: o.controlPlane(func(ctx context.Context, hook controlplane.Hook) error { return hook.Cleanup(ctx) }),
	}
}

func bootstrapCommand(o *options) *cobra.Command {
	var kubeconfig, controllers string
	var types, etcdServers []string
	command := &cobra.Command{
		Use:   "bootstrap",
		Short: "Set up the federation's API: the definition of Cluster, namespaces and roles",
		Long: `bootstrap waits up to three minutes for the federation's API, and ensures in it the definition of Cluster, namespace federation-system, and the rights of the controllers, of the
members' hooks and of the administrators. It runs before the controller manager, as a cluster-admin of the federation.

If it waits in vain, the API server or etcd does not come up: see their pods' logs, or whether the etcd answers that --etcd-servers names.`,
		Args: cobra.NoArgs,
		RunE: o.run(func(ctx context.Context) error {
			if err := o.checkFederation(); err != nil {
				return err
			}
			federation, err := federationConfig(kubeconfig)
			if err != nil {
				return err
			}
			hook := controlplane.Hook{Federation: o.release, Namespace: o.namespace, Log: o.log}
			hook.Values.ControllerManager.FederatedTypes = types
			hook.Values.ControllerManager.ArgOverrides = map[string]values.Argument{"controllers": {Text: &controllers}}
			hook.Values.Etcd.External.Servers = etcdServers
			return hook.Bootstrap(ctx, federation)
		}),
	}
	federationFlag(command, &kubeconfig)
	command.Flags().StringSliceVar(&types, "federated-types", nil, "types to federate besides the defaults, each as group/version/resource: the controllers are given rights to them")
	command.Flags().StringVar(&controllers, "controllers", "", "what federation-controller-manager is told by its flag of that name: objects of a type that is turned off get no finalizer")
	command.Flags().StringSliceVar(&etcdServers, "etcd-servers", nil, "servers of the API's etcd where somebody else runs it, to be named when the API does not come up")
	return command
}

func keepCommand(o *options) *cobra.Command {
	var kubeconfig string
	command := &cobra.Command{
		Use:   "keep",
		Short: "Keep the federation going: certs, dns, bootstrap and publish, as the keeper does every few minutes",
		Long: `keep renews certificates, sets up again an API that lost its data, and publishes late or changed addresses. An API server that still runs though its etcd was emptied is
restarted first, since it does not notice. To run the keeper now, with its own rights:

  kubectl -n federation-system create job --from=cronjob/fellowship-keeper fellowship-keeper-$(date +%s)`,
		Args: cobra.NoArgs,
		RunE: o.controlPlane(func(ctx context.Context, hook controlplane.Hook) error {
			federation, err := federationConfig(kubeconfig)
			if err != nil {
				return err
			}
			return hook.Keep(ctx, federation)
		}),
	}
	federationFlag(command, &kubeconfig)
	return command
}

// controlPlane gives a command's work the control plane it is for.
func (o *options) controlPlane(work func(context.Context, controlplane.Hook) error) func(*cobra.Command, []string) error {
	return withValues(o, o.checkFederation, values.DecodeControlPlane, func(ctx context.Context, host *kube.API, namespace string, v values.ControlPlane) error {
		return work(ctx, controlplane.Hook{Federation: o.release, Namespace: namespace, Values: v, Host: host, Log: o.log})
	})
}

func federationFlag(command *cobra.Command, kubeconfig *string) {
	command.Flags().StringVar(kubeconfig, "federation-kubeconfig", "", "kubeconfig of a cluster-admin of the federation's API (required)")
}

func federationConfig(path string) (*rest.Config, error) {
	if path == "" {
		return nil, errors.New("the federation's API is not named: give --federation-kubeconfig")
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("read --federation-kubeconfig %s: %w", path, err)
	}
	return config, nil
}
