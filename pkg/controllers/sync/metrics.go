package sync

import (
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// Queue depth, work time and retries are controller-runtime's, by controller: a type's name, or copies for what is done in the members.
var (
	latencyMetric = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "federation_sync_duration_seconds",
		Help:    "Time from a change of a federated object's plan until it is applied in a cluster.",
		Buckets: prometheus.ExponentialBuckets(0.005, 2, 14),
	}, []string{"type"})
	failuresMetric = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "federation_sync_failures_total",
		Help: "Writes to a cluster that failed, by type and the API's reason.",
	}, []string{"cluster", "type", "reason"})
	requestsMetric = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "federation_member_requests_total",
		Help: "Requests to a cluster for federated objects, by method and status code.",
	}, []string{"cluster", "method", "code"})
	queueDescription   = prometheus.NewDesc("federation_member_queue_depth", "Copies in a cluster that wait to be worked on.", []string{"cluster"}, nil)
	objectsDescription = prometheus.NewDesc("federation_objects", "Federated objects, by type and state: placed; pending, also where a cluster is waited for; failed, where one refuses it or its annotations cannot be read.", []string{"type", "state"}, nil)
)

func init() { metrics.Registry.MustRegister(latencyMetric, failuresMetric, requestsMetric) }

// forgetMetrics takes out what was counted of a cluster that is gone.
func forgetMetrics(cluster string) {
	failuresMetric.DeletePartialMatch(prometheus.Labels{"cluster": cluster})
	requestsMetric.DeletePartialMatch(prometheus.Labels{"cluster": cluster})
}

// registerMetrics counts the objects and queues of these controllers, in place of those registered before.
func registerMetrics(s *syncer) {
	for _, c := range []prometheus.Collector{objectsCollector{s}, queuesCollector{s}} {
		metrics.Registry.Unregister(c)
		_ = metrics.Registry.Register(c)
	}
}

type queuesCollector struct{ *syncer }

func (c queuesCollector) Describe(to chan<- *prometheus.Desc) { to <- queueDescription }

func (c queuesCollector) Collect(to chan<- prometheus.Metric) {
	c.mutex.RLock()
	defer c.mutex.RUnlock()
	for name, m := range c.members {
		if queue := m.queue.Load(); queue != nil {
			to <- prometheus.MustNewConstMetric(queueDescription, prometheus.GaugeValue, float64((*queue).Len()), name)
		}
	}
}

type objectsCollector struct{ *syncer }

func (c objectsCollector) Describe(to chan<- *prometheus.Desc) { to <- objectsDescription }

func (c objectsCollector) Collect(to chan<- prometheus.Metric) {
	for _, k := range c.kinds {
		count := map[string]float64{"placed": 0, "pending": 0, "failed": 0}
		for _, e := range k.allEntries() {
			count[e.state()]++
		}
		for state, n := range count {
			to <- prometheus.MustNewConstMetric(objectsDescription, prometheus.GaugeValue, n, k.Name(), state)
		}
	}
}

func (e *entry) state() string {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.frozen {
		return "failed"
	}
	for _, r := range e.reports {
		if r.problem != "" {
			return "failed"
		}
	}
	if e.waits || !e.changed.IsZero() {
		return "pending"
	}
	return "placed"
}

// courtesy limits the Events of what went well: people see them, thousands at once are of no use to anybody.
type courtesy struct{ *rate.Limiter }

func newCourtesy() courtesy { return courtesy{rate.NewLimiter(5, 50)} }
