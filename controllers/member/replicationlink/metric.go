package replicationlink

import "github.com/prometheus/client_golang/prometheus"

// lagMetric reads the exact figures when it is scraped; statuses know coarse steps alone.
type lagMetric struct {
	canaries *Canaries
	lag      *prometheus.Desc
	missing  *prometheus.Desc
}

// LagMetric returns the metrics of the canaries: multiactive_link_lag_seconds and
// multiactive_link_missing_canaries, by source region. A lag that is not known has no series.
func LagMetric(c *Canaries) prometheus.Collector {
	labels := []string{"from"}
	return lagMetric{
		canaries: c,
		lag:      prometheus.NewDesc("multiactive_link_lag_seconds", "Age of the newest canary that arrived from the region.", labels, nil),
		missing:  prometheus.NewDesc("multiactive_link_missing_canaries", "Canaries of the region that were jumped over and have not arrived since.", labels, nil),
	}
}

// Describe implements prometheus.Collector.
func (m lagMetric) Describe(out chan<- *prometheus.Desc) {
	out <- m.lag
	out <- m.missing
}

// Collect implements prometheus.Collector.
func (m lagMetric) Collect(out chan<- prometheus.Metric) {
	for _, from := range m.canaries.Origins() {
		if r := m.canaries.Read(from); r.Known {
			out <- prometheus.MustNewConstMetric(m.lag, prometheus.GaugeValue, r.Age.Seconds(), from)
			out <- prometheus.MustNewConstMetric(m.missing, prometheus.GaugeValue, float64(r.Missing), from)
		}
	}
}
