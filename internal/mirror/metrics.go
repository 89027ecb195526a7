package mirror

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the mirror's series. Labels are bounded by the configuration:
// one origin, the listed topics.
type Metrics struct {
	records  *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	skipped  *prometheus.CounterVec
	lost     *prometheus.CounterVec
	errors   *prometheus.CounterVec
	rewinds  *prometheus.CounterVec
	lag      *prometheus.GaugeVec
	inFlight *prometheus.GaugeVec
	up       *prometheus.GaugeVec
}

// Values of the label "stage" of errors_total.
const (
	stageSource  = "source"
	stageTarget  = "target"
	stageProduce = "produce"
	stageCommit  = "commit"
	stageConfig  = "config"
)

// NewMetrics registers the series. It panics when they are there already, as
// that is a mistake in the program.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "multiactive", Subsystem: "mirror", Name: name, Help: help}, labels)
		r.MustRegister(c)
		return c
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "multiactive", Subsystem: "mirror", Name: name, Help: help}, labels)
		r.MustRegister(g)
		return g
	}
	return &Metrics{
		records:  counter("records_total", "Records that the target acknowledged, by source topic.", "origin", "topic"),
		bytes:    counter("bytes_total", "Key, value and header bytes that the target acknowledged.", "origin", "topic"),
		skipped:  counter("skipped_records_total", "Records not forwarded because they did not originate at the source.", "origin", "topic"),
		errors:   counter("errors_total", "Failures by stage: source, target, produce, commit, config.", "origin", "stage"),
		rewinds:  counter("source_rewinds_total", "Times a source partition started again below what was read: records lost there or the topic made anew.", "origin", "topic"),
		lost:     counter("lost_records_total", "Records that were deleted at the source before they were copied.", "origin", "topic"),
		lag:      gauge("lag_records", "Source records that the target has not acknowledged. Absent while unknown.", "origin", "topic"),
		inFlight: gauge("in_flight_bytes", "Bytes read and not yet acknowledged by the target.", "origin"),
		up:       gauge("up", "1 when the last look at the cluster of that side succeeded.", "origin", "side"),
	}
}
