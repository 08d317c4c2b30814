package service

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/fedhelm/fedhelm/pkg/dnsrecords"
)

var (
	recordsMetric = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "federation_dns_records",
		Help: "Records that the federation DNS should have, by level: zone, region, global.",
	}, []string{"level"})
	problemsMetric = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "federation_dns_problems",
		Help: "Services and clusters that lack names in the federation DNS: Events on them say why.",
	})
	syncMetric = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "federation_dns_sync_duration_seconds",
		Help:    "Time of reading the zone and writing what differs, by result: written, failed.",
		Buckets: prometheus.ExponentialBuckets(0.005, 2, 16),
	}, []string{"result"})
	changesMetric = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "federation_dns_changes_total",
		Help: "Changes made in the zone.",
	})
	failingMetric = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "federation_dns_failing",
		Help: "1 if the zone could not be written the last time, else 0.",
	})
	successMetric = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "federation_dns_last_success_timestamp_seconds",
		Help: "When the zone was last known to be as it should be, in Unix time.",
	})
	latencyMetric = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "federation_dns_latency_seconds",
		Help:    "Time from a change in a member or in the federation until the zone has it.",
		Buckets: prometheus.ExponentialBuckets(0.05, 2, 16),
	})
)

func init() {
	metrics.Registry.MustRegister(recordsMetric, problemsMetric, syncMetric, changesMetric, failingMetric, successMetric, latencyMetric)
}

func measure(o outcome) {
	for level, count := range o.records.Levels {
		recordsMetric.WithLabelValues(dnsrecords.Level(level).String()).Set(float64(count))
	}
	problemsMetric.Set(float64(len(o.records.Problems)))
	failingMetric.Set(0)
	if o.failure != nil {
		failingMetric.Set(1)
		return
	}
	successMetric.Set(float64(time.Now().UnixNano()) / 1e9)
}
