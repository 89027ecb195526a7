package gateway

import (
	"github.com/prometheus/client_golang/prometheus"

	"multiactive.dev/operator/internal/deferred"
)

// deferredMetrics of one gateway: the gauges are the same in all gateways of a region that keep up, the
// counters are of what this one did.
type deferredMetrics struct {
	requests *prometheus.GaugeVec
	bytes    prometheus.Gauge
	outcomes *prometheus.CounterVec
	told     *prometheus.CounterVec
}

func newDeferredMetrics(registry *prometheus.Registry) *deferredMetrics {
	const ns, sub = "multiactive", "gateway"
	m := &deferredMetrics{
		requests: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: ns, Subsystem: sub, Name: "deferred_requests", Help: "Deferred requests in this region: pending, and those whose outcome is kept.",
		}, []string{"state"}),
		bytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: ns, Subsystem: sub, Name: "deferred_pending_bytes", Help: "Size of the pending deferred requests in memory, about.",
		}),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "deferred_outcomes_total", Help: "Deferred requests that this gateway decided, by flow and state.",
		}, []string{"flow", "state"}),
		told: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "deferred_notifications_total", Help: "Notifications of outcomes, by flow and result.",
		}, []string{"flow", "result"}),
	}
	registry.MustRegister(m.requests, m.bytes, m.outcomes, m.told)
	return m
}

func (m *deferredMetrics) count(pending, kept, bytes int) {
	m.requests.WithLabelValues("pending").Set(float64(pending))
	m.requests.WithLabelValues("decided").Set(float64(kept))
	m.bytes.Set(float64(bytes))
}

func (m *deferredMetrics) outcome(flow string, state deferred.State) {
	m.outcomes.WithLabelValues(flow, string(state)).Inc()
}

func (m *deferredMetrics) notified(flow, result string) { m.told.WithLabelValues(flow, result).Inc() }
