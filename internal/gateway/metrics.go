package gateway

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics of one gateway, in a registry of its own. Labels are bounded: flows are those of the
// configuration, UnmatchedFlow and UnknownFlow, outcomes and reasons are constants of this package.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	refused  *prometheus.CounterVec
	affected *prometheus.CounterVec
	duration *prometheus.HistogramVec
	polls    *prometheus.CounterVec
	peers    *prometheus.CounterVec
	epoch    prometheus.Gauge
	// certificate is when the one for peers expires.
	certificate prometheus.Gauge
	version     *prometheus.GaugeVec
	// flows that have series.
	flows        map[string]bool
	users        *affectedUsers
	compensation *compensation
}

func newMetrics(g *Gateway) *metrics {
	const ns, sub = "multiactive", "gateway"
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.GaugeOpts {
		return prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: counter("requests_total", "Requests by flow and outcome.", "flow", "outcome"),
		refused:  counter("refused_requests_total", "Requests that the gateway answered with a problem, by flow and reason.", "flow", "reason"),
		affected: counter("affected_requests_total", "Requests that an outage or a change of owners refused or served worse, by flow.", "flow"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: ns, Subsystem: sub, Name: "request_duration_seconds",
			Help:    "Time from the first byte of a request to the last of its answer, by flow.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"flow"}),
		polls: counter("agent_polls_total", "Polls of the region's agent by result.", "result"),
		peers: counter("refused_peers_total", "Connections of mutual TLS that this gateway refused, by its side of them and reason.", "side", "reason"),
		certificate: prometheus.NewGauge(gauge("peer_certificate_expiry_timestamp_seconds",
			"When the certificate that other regions' gateways are shown expires; 0 without one.")),
		epoch:        prometheus.NewGauge(gauge("epoch", "Epoch of the view that the gateway acts on.")),
		version:      prometheus.NewGaugeVec(gauge("config_info", "Version of the routing configuration; always 1."), []string{"version"}),
		flows:        map[string]bool{},
		users:        newAffectedUsers(),
		compensation: newCompensation(&g.options),
	}
	count := func(name, help string, n *atomic.Int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help},
			func() float64 { return float64(n.Load()) })
	}
	m.registry.MustRegister(
		count("fast_requests_total", "Requests that the fast path served.", &g.fast.served),
		count("fast_lent_requests_total", "Requests that the fast path left to net/http, whose connections it has back after them.", &g.fast.lent),
		count("fast_detached_connections_total", "How often a connection left its event loop for a goroutine of its own, because a request or its answer was not of the simplest kind.", &g.fast.detached),
		count("fast_left_connections_total", "Connections that the fast path left to net/http for good.", &g.fast.left))
	m.registry.MustRegister(m.requests, m.refused, m.affected, m.duration, m.polls, m.peers, m.certificate, m.epoch, m.version, m.users,
		prometheus.NewGaugeFunc(gauge("lease_remaining_seconds", "Time that the gateway may still accept home writes; 0 without a lease."),
			func() float64 { return g.leaseRemaining().Seconds() }),
		prometheus.NewGaugeFunc(gauge("in_flight_requests", "Requests under way."),
			func() float64 { return float64(g.inFlight.Load()) }),
		prometheus.NewGaugeFunc(gauge("open_connections", "Users' connections that are open."),
			func() float64 { return float64(g.connections.open.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: ns, Subsystem: sub, Name: "refused_connections_total", Help: "Users' connections that were refused, for as many are open as may be.",
		}, func() float64 { return float64(g.connections.refused.Load()) }),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// DescribeMetrics tells which metrics a gateway has, for whoever checks what is written about them.
func DescribeMetrics(out chan<- *prometheus.Desc) {
	registry := newMetrics(&Gateway{}).registry
	newDeferredMetrics(registry)
	registry.Describe(out)
	(*deferrals)(nil).Describe(out)
}

// handler serves the metrics.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{DisableCompression: true, EnableOpenMetrics: true})
}

// configured notes a new configuration and forgets the flows that are gone. Only the agent
// client calls it, from one goroutine.
func (m *metrics) configured(s *snapshot) {
	m.epoch.Set(float64(s.router.cfg.Epoch))
	m.version.Reset()
	m.version.WithLabelValues(s.version).Set(1)
	now := map[string]bool{UnmatchedFlow: true, UnknownFlow: true}
	for i := range s.router.flows {
		now[s.router.flows[i].name] = true
	}
	for flow := range m.flows {
		if now[flow] {
			continue
		}
		gone := prometheus.Labels{"flow": flow}
		m.requests.DeletePartialMatch(gone)
		m.refused.DeletePartialMatch(gone)
		m.affected.DeletePartialMatch(gone)
		m.duration.DeletePartialMatch(gone)
	}
	m.flows = now
	m.users.keep(now)
}

// timed observes how long a request took, with its trace as an example if it is recorded.
func (*metrics) timed(in prometheus.Observer, ex *exchange, took time.Duration) {
	if id := ex.traceID(); id != "" {
		if o, ok := in.(prometheus.ExemplarObserver); ok {
			o.ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": id})
			return
		}
	}
	in.Observe(took.Seconds())
}

// observe counts a finished exchange.
func (m *metrics) observe(ex *exchange, took time.Duration) {
	flow := UnknownFlow
	if ex.flow != nil {
		flow = ex.flow.name
	}
	m.requests.WithLabelValues(flow, ex.outcome).Inc()
	m.timed(m.duration.WithLabelValues(flow), ex, took)
	if ex.problem != nil {
		m.refused.WithLabelValues(flow, string(ex.problem.reason)).Inc()
	}
	if ex.affected {
		m.affected.WithLabelValues(flow).Inc()
		m.users.note(flow, ex.problem != nil, ex.affectedUser(), ex.start)
		if ex.key != "" {
			m.compensation.note(flow, ex.flow.key.name, ex.key, ex.problem != nil, ex.start)
		}
	}
}
