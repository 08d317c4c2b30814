// Package manager is the program federation-controller-manager: its flags, and
// the one controller-runtime manager that runs the controllers.
package manager

import (
	"context"
	"fmt"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/discovery"
	clientcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/fedhelm/fedhelm/pkg/apis/federation/v1beta1"
	"github.com/fedhelm/fedhelm/pkg/controllers/cluster"
	"github.com/fedhelm/fedhelm/pkg/controllers/clusterclient"
	"github.com/fedhelm/fedhelm/pkg/controllers/clusterdns"
	"github.com/fedhelm/fedhelm/pkg/controllers/incarnation"
	"github.com/fedhelm/fedhelm/pkg/controllers/service"
	"github.com/fedhelm/fedhelm/pkg/controllers/sync"
)

// Version is set by the linker: -X github.com/fedhelm/fedhelm/pkg/controllers/manager.Version=…
var Version = "dev"

// gracePeriod is how long the controllers may take to stop.
const gracePeriod = 5 * time.Second

// NewCommand returns the program. It ends with an error when a flag is wrong,
// when it loses the lease, and when the federation's API lost its data; not
// while the API cannot be reached.
func NewCommand() *cobra.Command {
	o := defaults()
	cmd := &cobra.Command{
		Use:           v1beta1.ControllerManager,
		Short:         "Run the controllers of a federation",
		Version:       Version,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			context.AfterFunc(ctx, stop) // a second signal ends it at once
			return Run(ctx, o)
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

// Run runs the controllers until ctx ends.
func Run(ctx context.Context, o Options) error {
	if err := o.validate(); err != nil {
		return err
	}
	logger := logr.FromSlogHandler(o.handler())
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)

	userAgent := fmt.Sprintf("%s/%s (federation %s)", v1beta1.ControllerManager, Version, o.FederationName)
	federation, err := restConfig(o.Kubeconfig, userAgent)
	if err != nil {
		return fmt.Errorf("kubeconfig of the federation: %w", err)
	}
	host, err := o.host(userAgent)
	if err != nil {
		return fmt.Errorf("configuration of the host cluster: %w", err)
	}
	members := o.members(host, userAgent)
	mgr, err := o.newManager(federation, logger)
	if err != nil {
		return err
	}
	if o.enabled(cluster.Name) {
		if err := cluster.Add(mgr, members, cluster.Options{Period: o.ClusterMonitorPeriod, Thresholds: o.Thresholds}); err != nil {
			return fmt.Errorf("controller of Clusters: %w", err)
		}
	}
	if o.enabled(clusterdns.Name) {
		options := clusterdns.Options{Federation: o.FederationName, ConfigMaps: host.ConfigMaps(o.Namespace), Period: o.ClusterMonitorPeriod}
		if err := clusterdns.Add(mgr, members, options); err != nil {
			return fmt.Errorf("controller of the Clusters' DNS: %w", err)
		}
	}
	if err := sync.Add(mgr, members, o.syncOptions()); err != nil {
		return fmt.Errorf("controllers of federated objects: %w", err)
	}
	if o.enabled(service.Name) {
		if err := service.Add(mgr, members, o.serviceOptions()); err != nil {
			return fmt.Errorf("controllers of federated Services: %w", err)
		}
	}
	logger.Info("starting", "program", v1beta1.ControllerManager, "version", Version, "federation", o.FederationName)
	return mgr.Start(ctx)
}

func (o *Options) newManager(federation *rest.Config, logger logr.Logger) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	if err := v1beta1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	grace, yes := gracePeriod, true
	mgr, err := ctrl.NewManager(federation, ctrl.Options{
		Scheme: scheme,
		Logger: logger,
		Cache:  cache.Options{DefaultTransform: cache.TransformStripManagedFields()},
		// Names are the metrics' label; tests run several managers in a process.
		Controller:                    config.Controller{SkipNameValidation: &yes},
		LeaderElection:                o.LeaderElect,
		LeaderElectionID:              v1beta1.ControllerManager,
		LeaderElectionNamespace:       v1beta1.NamespaceFederationSystem,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &o.LeaseDuration,
		RenewDeadline:                 &o.RenewDeadline,
		RetryPeriod:                   &o.RetryPeriod,
		Metrics:                       metricsserver.Options{BindAddress: o.MetricsBindAddress},
		HealthProbeBindAddress:        o.HealthProbeBindAddress,
		GracefulShutdownTimeout:       &grace,
	})
	if err != nil {
		return nil, err
	}
	if err := mgr.Add(&incarnation.Guard{Reader: mgr.GetAPIReader()}); err != nil {
		return nil, err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	ready, err := readyz(mgr)
	if err != nil {
		return nil, err
	}
	return mgr, mgr.AddReadyzCheck("federation", ready)
}

// readyz passes when the federation's API answers and, in the leader, the
// Clusters are in the cache. A standby that could lead is ready.
func readyz(mgr ctrl.Manager) (healthz.Checker, error) {
	api, err := discovery.NewDiscoveryClientForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, err
	}
	return func(request *http.Request) error {
		ctx, cancel := context.WithTimeout(request.Context(), 5*time.Second)
		defer cancel()
		if _, err := api.RESTClient().Get().AbsPath("/version").MaxRetries(0).Do(ctx).Raw(); err != nil {
			return fmt.Errorf("the federation's API does not answer: %w", err)
		}
		select {
		case <-mgr.Elected():
		default:
			return nil
		}
		informer, err := mgr.GetCache().GetInformer(ctx, &v1beta1.Cluster{}, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("the federation's API does not serve Clusters: %w", err)
		}
		if !informer.HasSynced() {
			return fmt.Errorf("the Clusters are not in the cache yet")
		}
		return nil
	}, nil
}

// host makes the client of the host cluster.
func (o *Options) host(userAgent string) (*clientcorev1.CoreV1Client, error) {
	config, err := restConfig(o.HostKubeconfig, userAgent)
	if err != nil {
		return nil, err
	}
	return clientcorev1.NewForConfig(config)
}

// members makes the registry of the members' clients, which reads credentials
// from the host cluster.
func (o *Options) members(host *clientcorev1.CoreV1Client, userAgent string) *clusterclient.Registry {
	ip := o.ClientIP
	if ip == nil {
		// Without one only addresses for everyone are taken.
		ip, _ = utilnet.ChooseHostInterface()
	}
	return clusterclient.New(clusterclient.Options{
		Secrets:   host.Secrets(o.Namespace),
		Namespace: o.Namespace,
		ClientIP:  ip,
		UserAgent: userAgent,
	})
}

// restConfig reads a kubeconfig, or without one takes the pod's service account.
// Neither API is throttled on our side: they have priority and fairness.
func restConfig(kubeconfig, userAgent string) (*rest.Config, error) {
	var (
		c   *rest.Config
		err error
	)
	if kubeconfig == "" {
		c, err = rest.InClusterConfig()
	} else {
		c, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err != nil {
		return nil, err
	}
	c.UserAgent, c.QPS = userAgent, -1
	return c, nil
}
