package manager

import (
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	cliflag "k8s.io/component-base/cli/flag"

	"github.com/fedhelm/fedhelm/pkg/controllers/cluster"
	"github.com/fedhelm/fedhelm/pkg/controllers/clusterdns"
	"github.com/fedhelm/fedhelm/pkg/controllers/service"
	"github.com/fedhelm/fedhelm/pkg/controllers/sync"
	"github.com/fedhelm/fedhelm/pkg/dnsrecords"
	"github.com/fedhelm/fedhelm/pkg/federatedtypes"
)

// maxVerbosity is the highest -v. From 6 on client-go would log requests, from
// 8 on their bodies, and Secrets with them.
const maxVerbosity = 5

// Options are the program's flags.
type Options struct {
	// Kubeconfig is the path of the kubeconfig for the federation's API. When
	// it names certificate files they are read again as they change.
	Kubeconfig string
	// HostKubeconfig is the path of the kubeconfig for the host cluster's API;
	// empty means the pod's own service account.
	HostKubeconfig string
	FederationName string
	// Namespace of the control plane in the host cluster, where the members'
	// credentials Secrets are.
	Namespace string
	// ClientIP is this program's address, for the members' clientCIDRs.
	ClientIP net.IP

	ClusterMonitorPeriod time.Duration
	Thresholds           cluster.Thresholds
	// Controllers turns controllers off (or on) by name; those not named are on.
	Controllers map[string]bool

	// Sync is about the federated objects; its Types are all that may be, FederatedTypes those besides the defaults.
	Sync           sync.Options
	FederatedTypes []string

	// DNSProvider has the zone with the records of federated Services; empty or "none" keeps no records. DNSProviderConfig is the path of its
	// configuration, which is read again when it, or a file beside it, changes.
	DNSProvider, DNSProviderConfig string
	// DNSCheck says whether it is tried if the zone may be written, before there is anything to write.
	DNSCheck bool
	// Service is about federated Services; its ZoneName is --zone-name.
	Service service.Options

	LeaderElect                               bool
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration

	// MetricsBindAddress serves /metrics in plain HTTP, HealthProbeBindAddress
	// /healthz and /readyz; "0" turns them off.
	MetricsBindAddress, HealthProbeBindAddress string

	LogFormat string
	Verbosity int
}

// defaults are the flags' defaults. Leader election has the times of the
// Kubernetes components.
func defaults() Options {
	return Options{
		Namespace:              os.Getenv("POD_NAMESPACE"),
		ClientIP:               net.ParseIP(os.Getenv("POD_IP")),
		ClusterMonitorPeriod:   cluster.DefaultMonitorPeriod,
		Thresholds:             cluster.Thresholds{Failure: 3, Success: 1},
		Controllers:            map[string]bool{},
		Sync:                   sync.DefaultOptions(),
		DNSCheck:               true,
		Service:                service.DefaultOptions(),
		LeaderElect:            true,
		LeaseDuration:          15 * time.Second,
		RenewDeadline:          10 * time.Second,
		RetryPeriod:            2 * time.Second,
		MetricsBindAddress:     ":8080",
		HealthProbeBindAddress: ":8081",
		LogFormat:              "json",
	}
}

func (o *Options) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig, "kubeconfig file for the federation's API; certificate files that it names are read again as they change (required)")
	f.StringVar(&o.HostKubeconfig, "host-kubeconfig", o.HostKubeconfig, "kubeconfig file for the host cluster's API (default: the pod's service account)")
	f.StringVar(&o.FederationName, "federation-name", o.FederationName, "the federation's name (required)")
	f.StringVar(&o.Namespace, "namespace", o.Namespace, "namespace of the control plane in the host cluster, with the members' credentials Secrets (default: $POD_NAMESPACE)")
	f.IPVar(&o.ClientIP, "client-ip", o.ClientIP, "address of this program, by which a member's server address is chosen from its clientCIDRs (default: $POD_IP)")
	f.DurationVar(&o.ClusterMonitorPeriod, "cluster-monitor-period", o.ClusterMonitorPeriod, "time between two probes of a member that is Ready, and between two looks at its DNS; after a failed probe at most a quarter of it")
	f.IntVar(&o.Thresholds.Failure, "cluster-failure-threshold", o.Thresholds.Failure, "failed probes in a row after which a Ready member is no longer Ready")
	f.IntVar(&o.Thresholds.Success, "cluster-success-threshold", o.Thresholds.Success, "successful probes in a row after which a member that is not Ready is Ready")
	f.Var(cliflag.NewMapStringBool(&o.Controllers), "controllers", fmt.Sprintf("controllers to turn on or off, as name=true|false,...; all are on by default; known are: %v", known(federatedtypes.Defaults())))
	f.StringSliceVar(&o.FederatedTypes, "federated-types", o.FederatedTypes, "types to federate besides the defaults, each as group/version/resource, such as example.com/v1/rings")
	f.BoolVar(&o.Sync.AdoptResources, "adopt-resources", o.Sync.AdoptResources, "take over what is in a member already under a federated object's name; otherwise it is left alone, and the conflict reported")
	f.DurationVar(&o.Sync.ForceAfter, "force-after", o.Sync.ForceAfter, "how long the deletion of a federated object waits for a member that is away")
	f.IntVar(&o.Sync.Concurrency, "concurrent-syncs", o.Sync.Concurrency, "objects of a type, and copies in a member, that are worked on at once")
	f.DurationVar(&o.Sync.UnschedulableAfter, "unschedulable-after", o.Sync.UnschedulableAfter, "how long a pod waits for a node before its replica is asked of another member")
	f.DurationVar(&o.Sync.HPAForbiddenWindow, "hpa-scale-forbidden-window", o.Sync.HPAForbiddenWindow, "how long an HPA that has just scaled neither gives nor takes replicas")
	f.StringVar(&o.DNSProvider, "dns-provider", o.DNSProvider, "provider of the federation's DNS zone, which gets a record for each federated Service: google-clouddns, aws-route53, coredns, rfc2136, azure, webhook or none (default none)")
	f.StringVar(&o.DNSProviderConfig, "dns-provider-config", o.DNSProviderConfig, "file with the provider's configuration, with those that it names beside it; they are read again as they change")
	f.BoolVar(&o.DNSCheck, "dns-check", o.DNSCheck, "write, read and delete a record of our own to see whether the zone may be written, before there is anything else to write")
	f.StringVar(&o.Service.ZoneName, "zone-name", o.Service.ZoneName, "name of the federation's DNS zone; the trailing dot may be left out (required with --dns-provider)")
	f.DurationVar(&o.Service.CheckPeriod, "dns-check-period", o.Service.CheckPeriod, "time between two looks whether all records are still in the zone")
	f.DurationVar(&o.Service.ResolvePeriod, "load-balancer-resolve-period", o.Service.ResolvePeriod, "time between two resolutions of a load balancer that has a host name")
	f.StringVar(&o.Service.Resolver, "load-balancer-resolver", o.Service.Resolver, "DNS server, ip:port, that is asked for the host names of load balancers (default: the system's)")
	f.BoolVar(&o.LeaderElect, "leader-elect", o.LeaderElect, "run the controllers only while holding the lease in the federation's API")
	f.DurationVar(&o.LeaseDuration, "leader-elect-lease-duration", o.LeaseDuration, "how long others wait for a leader that does not renew its lease")
	f.DurationVar(&o.RenewDeadline, "leader-elect-renew-deadline", o.RenewDeadline, "how long the leader tries to renew its lease before it exits")
	f.DurationVar(&o.RetryPeriod, "leader-elect-retry-period", o.RetryPeriod, "time between two tries to get or renew the lease")
	f.StringVar(&o.MetricsBindAddress, "metrics-bind-address", o.MetricsBindAddress, "address of /metrics, in plain HTTP: it tells nothing secret; 0 turns it off")
	f.StringVar(&o.HealthProbeBindAddress, "health-probe-bind-address", o.HealthProbeBindAddress, "address of /healthz and /readyz, in plain HTTP; 0 turns it off")
	f.StringVar(&o.LogFormat, "log-format", o.LogFormat, "json or text")
	f.IntVarP(&o.Verbosity, "v", "v", o.Verbosity, fmt.Sprintf("log level, 0 to %d", maxVerbosity))
}

func (o *Options) validate() error {
	switch {
	case o.Kubeconfig == "":
		return fmt.Errorf("--kubeconfig is missing: name the kubeconfig file for the federation's API")
	case o.FederationName == "":
		return fmt.Errorf("--federation-name is missing: name the federation")
	case o.Namespace == "":
		return fmt.Errorf("--namespace is missing: name the control plane's namespace in the host cluster, or set POD_NAMESPACE")
	case o.ClusterMonitorPeriod < time.Second:
		return fmt.Errorf("--cluster-monitor-period %v is too short: give 1s or more", o.ClusterMonitorPeriod)
	case o.Thresholds.Failure < 1:
		return fmt.Errorf("--cluster-failure-threshold %d is too low: give 1 or more", o.Thresholds.Failure)
	case o.Thresholds.Success < 1:
		return fmt.Errorf("--cluster-success-threshold %d is too low: give 1 or more", o.Thresholds.Success)
	case o.Sync.ForceAfter < 0:
		return fmt.Errorf("--force-after %v is negative: give 0 or more", o.Sync.ForceAfter)
	case o.Sync.Concurrency < 1:
		return fmt.Errorf("--concurrent-syncs %d is too low: give 1 or more", o.Sync.Concurrency)
	case o.Sync.UnschedulableAfter < time.Second:
		return fmt.Errorf("--unschedulable-after %v is too short: give 1s or more", o.Sync.UnschedulableAfter)
	case o.keepsDNS() && strings.Trim(o.Service.ZoneName, ".") == "":
		return fmt.Errorf("--zone-name is missing: name the zone for the records of DNS provider %s", o.DNSProvider)
	case o.keepsDNS() && !dnsrecords.IsZone(o.Service.ZoneName):
		return fmt.Errorf("--zone-name %q is no DNS name: give letters, digits and dashes, with dots between, such as federation.example.com", o.Service.ZoneName)
	case o.keepsDNS() && o.DNSProviderConfig == "":
		return fmt.Errorf("--dns-provider-config is missing: name the file with the configuration of DNS provider %s", o.DNSProvider)
	case o.Service.CheckPeriod < time.Second:
		return fmt.Errorf("--dns-check-period %v is too short: give 1s or more", o.Service.CheckPeriod)
	case o.Service.ResolvePeriod < time.Second:
		return fmt.Errorf("--load-balancer-resolve-period %v is too short: give 1s or more", o.Service.ResolvePeriod)
	case o.Service.Resolver != "" && !isAddressAndPort(o.Service.Resolver):
		return fmt.Errorf("--load-balancer-resolver %q is no address: give ip:port", o.Service.Resolver)
	case o.RetryPeriod <= 0 || o.RenewDeadline <= o.RetryPeriod*6/5 || o.LeaseDuration <= o.RenewDeadline:
		return fmt.Errorf("leader election's times do not fit: the lease duration (%v) must exceed the renew deadline (%v), and that 1.2 times the retry period (%v)",
			o.LeaseDuration, o.RenewDeadline, o.RetryPeriod)
	case o.LogFormat != "json" && o.LogFormat != "text":
		return fmt.Errorf("--log-format %q is unknown: give json or text", o.LogFormat)
	case o.Verbosity < 0 || o.Verbosity > maxVerbosity:
		return fmt.Errorf("-v %d is out of range: give 0 to %d, since higher levels would log requests with the Secrets in them", o.Verbosity, maxVerbosity)
	}
	types, err := federatedtypes.All(o.FederatedTypes)
	if err != nil {
		return fmt.Errorf("--federated-types: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Controllers)) {
		if !slices.Contains(known(types), name) {
			return fmt.Errorf("--controllers names %q, which is unknown: known are %v", name, known(types))
		}
	}
	return nil
}

// enabled says whether a controller is to run: v1's --controllers only takes
// away.
func (o *Options) enabled(name string) bool {
	on, named := o.Controllers[name]
	return on || !named
}

func (o *Options) handler() slog.Handler {
	h := &slog.HandlerOptions{Level: slog.Level(-o.Verbosity)}
	if o.LogFormat == "text" {
		return slog.NewTextHandler(os.Stderr, h)
	}
	return slog.NewJSONHandler(os.Stderr, h)
}

// known are the names of --controllers: those of the types are v1's.
func known(types []*federatedtypes.Type) []string {
	names := []string{cluster.Name, clusterdns.Name, service.DNSName}
	for _, t := range types {
		names = append(names, t.Name())
	}
	slices.Sort(names)
	return names
}

// syncOptions are those of the types that are not turned off. The flags are valid.
func (o *Options) syncOptions() sync.Options {
	options := o.Sync
	options.FederationName = o.FederationName
	types, _ := federatedtypes.All(o.FederatedTypes)
	options.Types = slices.DeleteFunc(types, func(t *federatedtypes.Type) bool { return !o.enabled(t.Name()) })
	return options
}
