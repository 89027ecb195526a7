package gateway

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"multiactive.dev/operator/internal/routing"
)

// backlog tells how many requests wait here to be carried out, by flow, in the steps that statuses know; nil without any.
// There may be more flows than are told of: a question that is too long would get no routing and no lease.
// Only the agent client calls it, from one goroutine.
func (d *deferrals) backlog() []routing.Backlog {
	waiting := d.waiting()
	now := d.g.options.Clock.Now()
	told := make(map[string]routing.Backlog, len(waiting))
	var list []routing.Backlog
	for _, flow := range slices.Sorted(maps.Keys(waiting)) {
		told[flow] = routing.BacklogOf(flow, d.told[flow], waiting[flow], now)
		list = append(list, told[flow])
	}
	d.told = told
	return list[:min(len(list), routing.MaxBacklogs)]
}

// waiting is what waits now; nil before all was read that the log had when this gateway started.
func (d *deferrals) waiting() map[string]routing.Waiting {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.current {
		return nil
	}
	out := map[string]routing.Waiting{}
	for e := range d.ledger.Pending() {
		w := out[e.Flow]
		if w.Requests++; w.Requests == 1 || e.AcceptedAt.Before(w.Oldest) {
			w.Oldest = e.AcceptedAt
		}
		if w.Expiry.IsZero() || e.ExpiresAt.Before(w.Expiry) {
			w.Expiry = e.ExpiresAt
		}
		out[e.Flow] = w
	}
	return out
}

var (
	waitingDesc = prometheus.NewDesc("multiactive_gateway_deferred_waiting_requests",
		"Deferred requests in this region that wait to be carried out, by flow.", []string{"flow"}, nil)
	oldestDesc = prometheus.NewDesc("multiactive_gateway_deferred_oldest_seconds",
		"Time since the oldest deferred request that waits in this region was accepted, by flow.", []string{"flow"}, nil)
	expiryDesc = prometheus.NewDesc("multiactive_gateway_deferred_next_expiry_seconds",
		"Time until the first deferred request that waits in this region is given up, by flow.", []string{"flow"}, nil)
)

// Describe implements prometheus.Collector.
func (*deferrals) Describe(c chan<- *prometheus.Desc) {
	c <- waitingDesc
	c <- oldestDesc
	c <- expiryDesc
}

// Collect implements prometheus.Collector.
func (d *deferrals) Collect(c chan<- prometheus.Metric) {
	now := d.g.options.Clock.Now()
	for flow, w := range d.waiting() {
		c <- prometheus.MustNewConstMetric(waitingDesc, prometheus.GaugeValue, float64(w.Requests), flow)
		c <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, max(now.Sub(w.Oldest).Seconds(), 0), flow)
		c <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, max(w.Expiry.Sub(now).Seconds(), 0), flow)
	}
}
