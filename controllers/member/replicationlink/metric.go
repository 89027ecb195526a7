package replicationlink

import (
	"github.com/prometheus/client_golang/prometheus"

	"multiactive.dev/operator/internal/canary"
)

// lagMetrics are the exact figures; statuses know coarse steps alone. What is not known has no
// series.
type lagMetrics struct {
	lag, missing *prometheus.GaugeVec
}

func newLagMetrics() lagMetrics {
	labels := []string{"from"}
	return lagMetrics{
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "multiactive_link_lag_seconds", Help: "Age of the newest canary that arrived from the region.",
		}, labels),
		missing: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "multiactive_link_missing_canaries", Help: "Canaries of the region that were jumped over and have not arrived since.",
		}, labels),
	}
}

func (m lagMetrics) set(from string, r canary.Reading) {
	if !r.Known {
		m.forget(from)
		return
	}
	m.lag.WithLabelValues(from).Set(r.Age.Seconds())
	m.missing.WithLabelValues(from).Set(float64(r.Missing))
}

func (m lagMetrics) forget(from string) {
	m.lag.DeleteLabelValues(from)
	m.missing.DeleteLabelValues(from)
}

// Describe implements prometheus.Collector.
func (c *Canaries) Describe(out chan<- *prometheus.Desc) {
	c.metrics.lag.Describe(out)
	c.metrics.missing.Describe(out)
}

// Collect implements prometheus.Collector: multiactive_link_lag_seconds and
// multiactive_link_missing_canaries, by source region.
func (c *Canaries) Collect(out chan<- prometheus.Metric) {
	c.metrics.lag.Collect(out)
	c.metrics.missing.Collect(out)
}
