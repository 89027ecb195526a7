package storekeeper

import (
	"maps"

	"github.com/prometheus/client_golang/prometheus"

	"multiactive.dev/operator/internal/storage"
)

// The exact figures; statuses know coarse steps alone. What is not known has no series.
var (
	lagDesc = prometheus.NewDesc("multiactive_store_link_lag_seconds",
		"Age of the newest canary that arrived from the region by the store.", []string{"store", "from"}, nil)
	missingDesc = prometheus.NewDesc("multiactive_store_link_missing_canaries",
		"Canaries of the region that are missing among the last ones that arrived by the store.", []string{"store", "from"}, nil)
	lateDesc = prometheus.NewDesc("multiactive_store_late_changes",
		"Changes that the region had accepted and not shipped when it was lost last, by what became of them.", []string{"store", "region", "outcome"}, nil)
	differentDesc = prometheus.NewDesc("multiactive_store_link_different_parts",
		"Parts of tables whose rows were found to differ from those of the region when this one came back last.", []string{"store", "from"}, nil)
	usableDesc = prometheus.NewDesc("multiactive_store_server_usable",
		"1 while the region's server of the store answers and takes the operator's user, else 0.", []string{"store"}, nil)
)

// Describe implements prometheus.Collector.
func (k *Keepers) Describe(out chan<- *prometheus.Desc) {
	out <- lagDesc
	out <- missingDesc
	out <- differentDesc
	out <- usableDesc
	out <- lateDesc
}

// Collect implements prometheus.Collector.
func (k *Keepers) Collect(out chan<- prometheus.Metric) {
	k.mu.Lock()
	keepers := maps.Clone(k.keepers)
	k.mu.Unlock()
	for name, keeper := range keepers {
		look := keeper.seen()
		if !look.Known {
			continue
		}
		usable := 1.0
		if look.Problem != nil {
			usable = 0
		}
		out <- prometheus.MustNewConstMetric(usableDesc, prometheus.GaugeValue, usable, name)
		for _, l := range look.Late {
			for outcome, count := range map[storage.Outcome]int64{
				storage.OutcomeApplied: l.Applied, storage.OutcomeOwnerStands: l.OwnerStands, storage.OutcomeLateStands: l.LateStands, storage.OutcomeOpen: l.Open,
			} {
				out <- prometheus.MustNewConstMetric(lateDesc, prometheus.GaugeValue, float64(count), name, l.Region, string(outcome))
			}
		}
		for _, from := range look.Sources {
			if c := look.Links[from].Compared; c != nil && c.Done {
				out <- prometheus.MustNewConstMetric(differentDesc, prometheus.GaugeValue, float64(len(c.Rows.Differences)), name, from)
			}
			if l := look.Links[from]; l.Known {
				out <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, l.Age.Seconds(), name, from)
				out <- prometheus.MustNewConstMetric(missingDesc, prometheus.GaugeValue, float64(l.Missing), name, from)
			}
		}
	}
}
