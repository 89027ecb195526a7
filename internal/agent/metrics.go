package agent

import (
	"github.com/prometheus/client_golang/prometheus"

	"multiactive.dev/operator/internal/ownership"
)

var (
	leaseDesc = agentDesc("lease_remaining_seconds", "Time that the region may still accept home writes; 0 without a lease.")
	storeDesc = agentDesc("store_reachable", "1 while the coordination store answers and is the one that the region follows, else 0.")
	soundDesc = agentDesc("store_damaged", "1 while the store holds what the regions have not agreed on: nothing is decided then.")
	epochDesc = agentDesc("epoch", "Epoch of the view that the agent knows.")
	rivalDesc = agentDesc("contested", "1 while this process waits because another acts for the same region in another cluster or Pod.")
	leadsDesc = agentDesc("leader", "1 while this agent decides for all regions, else 0.")
	stateDesc = agentDesc("region_state", "1 for the state that a region has in the agreed view.", "peer", "state")
	reachDesc = agentDesc("peer_reachable", "1 while a region answers this one's probes, else 0.", "peer")
)

func agentDesc(name, help string, more ...string) *prometheus.Desc {
	return prometheus.NewDesc("multiactive_agent_"+name, help, append([]string{"region"}, more...), nil)
}

// Describe implements prometheus.Collector.
func (*Agent) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{leaseDesc, storeDesc, soundDesc, epochDesc, rivalDesc, leadsDesc, stateDesc, reachDesc} {
		out <- d
	}
}

// Collect implements prometheus.Collector. An agent that stands by, or waits for another to end, has a lease of 0: the
// highest of a region's series counts.
func (a *Agent) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, more ...string) {
		out <- a.gauge(d, v, more...)
	}
	reachable, _ := a.StoreReachable()
	gauge(leaseDesc, a.Lease().Seconds())
	gauge(storeDesc, one(reachable))
	a.mu.Lock()
	defer a.mu.Unlock()
	gauge(soundDesc, one(a.damaged != nil))
	gauge(rivalDesc, one(a.taken != ""))
	gauge(leadsDesc, one(a.term != nil))
	if !a.have {
		return
	}
	gauge(epochDesc, float64(a.conf.View.Epoch))
	for name, rec := range a.conf.View.Regions {
		for _, s := range []ownership.RegionState{ownership.RegionServing, ownership.RegionLost, ownership.RegionReturning, ownership.RegionDrained} {
			gauge(stateDesc, one(rec.State == s), name, string(s))
		}
	}
	failing := a.observer.Failing()
	for name, intent := range a.conf.RegionIntents {
		if name != a.config.Region && len(intent.Probes) > 0 {
			_, fails := failing[name]
			gauge(reachDesc, one(!fails), name)
		}
	}
}

func (a *Agent) gauge(desc *prometheus.Desc, v float64, more ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, append([]string{a.config.Region}, more...)...)
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
