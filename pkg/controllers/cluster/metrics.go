package cluster

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// The metrics of a cluster go when the cluster goes.
var (
	readyMetric = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "federation_cluster_ready",
		Help: "1 if the member cluster's condition Ready is True, else 0.",
	}, []string{"cluster"})
	lastProbeMetric = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "federation_cluster_last_probe_timestamp_seconds",
		Help: "When the member cluster was last probed, in Unix time. The Cluster's status does not tell, since it is written only when something changes.",
	}, []string{"cluster"})
	durationMetric = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "federation_cluster_probe_duration_seconds",
		Help:    "How long a probe of the member cluster took, with reading its credentials Secret.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20},
	}, []string{"cluster"})
	failuresMetric = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "federation_cluster_probe_failures_total",
		Help: "Failed probes of the member cluster, by the reason that condition Ready would have.",
	}, []string{"cluster", "reason"})
)

func init() {
	metrics.Registry.MustRegister(readyMetric, lastProbeMetric, durationMetric, failuresMetric)
}

func forgetMetrics(cluster string) {
	readyMetric.DeleteLabelValues(cluster)
	lastProbeMetric.DeleteLabelValues(cluster)
	durationMetric.DeleteLabelValues(cluster)
	failuresMetric.DeletePartialMatch(prometheus.Labels{"cluster": cluster})
}
