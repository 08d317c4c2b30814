package clusterdns

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// The metrics of a cluster go when the cluster goes.
var (
	configuredMetric = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "federation_cluster_dns_configured",
		Help: "1 if the member cluster's condition DNSConfigured is True, else 0; nothing for a cluster whose DNS is left alone.",
	}, []string{"cluster"})
	changesMetric = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "federation_cluster_dns_changes_total",
		Help: "How often the member cluster's DNS configuration was changed. One that goes on growing has somebody else who writes over ours.",
	}, []string{"cluster"})
)

func init() { metrics.Registry.MustRegister(configuredMetric, changesMetric) }

func forgetMetrics(cluster string) {
	configuredMetric.DeleteLabelValues(cluster)
	changesMetric.DeleteLabelValues(cluster)
}
