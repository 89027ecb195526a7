package demo

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"multiactive.dev/operator/internal/playground/term"
	"multiactive.dev/operator/internal/playground/world"
)

// results are the values of all rounds, by what was measured.
type results struct {
	mu      sync.Mutex
	order   []string
	series  map[string]*series
	largest map[string]int64 // memory in bytes, by kind of program
}

// series is one measure: its values and the most that the 95th percentile may be.
type series struct {
	goal float64
	// bounded is false for what is shown only.
	bounded bool
	counted bool // a number, not seconds
	values  []float64
}

func newResults() *results {
	return &results{series: map[string]*series{}, largest: map[string]int64{}}
}

// took adds a time with its goal; 0: none.
func (r *results) took(what string, goal, value time.Duration) {
	r.add(what, series{goal: goal.Seconds(), bounded: goal > 0}, value.Seconds())
}

// count adds a number that may be at most goal; a negative goal is none.
func (r *results) count(what string, goal, value int) {
	r.add(what, series{goal: float64(goal), bounded: goal >= 0, counted: true}, float64(value))
}

func (r *results) add(what string, fresh series, value float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.series[what]
	if s == nil {
		s = &fresh
		r.series[what] = s
		r.order = append(r.order, what)
	}
	s.values = append(s.values, value)
}

// memory keeps the largest programs.
func (r *results) memory(d *Demo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for kind, all := range map[string][]world.Memory{"manager": d.world.Managers(), "gateway": d.world.Pods("-gateway-")} {
		for _, m := range all {
			r.largest[kind] = max(r.largest[kind], m.Bytes)
		}
	}
}

// table returns all rows, and whether a goal was missed.
func (r *results) table() (rows [][]string, broken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rows = [][]string{{"MEASURED", "N", "MEDIAN", "P95", "MAX", "GOAL", "MET"}}
	for _, what := range r.order {
		s := r.series[what]
		p95 := percentile(s.values, 0.95)
		goal, met := "-", "-"
		if s.bounded {
			goal, met = s.text(s.goal), "yes"
			if p95 > s.goal {
				met, broken = "NO", true
			}
		}
		rows = append(rows, []string{
			what, strconv.Itoa(len(s.values)), s.text(percentile(s.values, 0.5)), s.text(p95), s.text(slices.Max(s.values)), goal, met,
		})
	}
	return rows, broken
}

func (s *series) text(value float64) string {
	if s.counted {
		return strconv.Itoa(int(value))
	}
	return term.Seconds(time.Duration(value * float64(time.Second)))
}

// percentile returns a percentile by the nearest rank.
func percentile(values []float64, share float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(share * float64(len(sorted))))
	return sorted[max(0, rank-1)]
}

// summary shows everything, and tells whether a goal was missed.
func (b *bench) summary() (broken bool) {
	console := term.New(b.options.Out, b.options.Color, b.options.Clock)
	console.Section("What was measured")
	names := make([]string, 0, len(b.parts))
	for _, p := range b.parts {
		names = append(names, string(p))
	}
	console.Line("parts: %s; %d rounds of each; load of this machine now: %s", strings.Join(names, ", "), b.rounds, machineLoad())
	console.Line("everything runs on this one machine; times are from the fault, goals are for the 95th percentile")
	if slices.Contains(b.parts, PartCut) && !world.Drops() {
		console.Note("packets were not dropped, which takes root and iptables: processes were halted, and the kernel went on acknowledging")
	}
	console.Line("")
	rows, broken := b.results.table()
	console.Table(rows)
	console.Line("")
	for _, kind := range sortedKeys(b.results.largest) {
		console.Line("largest %s: %s", kind, megabytes(b.results.largest[kind]))
	}
	return broken
}

// machineLoad returns the load averages of the last 1, 5 and 15 minutes.
func machineLoad() string {
	content, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	if fields := strings.Fields(string(content)); len(fields) > 3 {
		return strings.Join(fields[:3], " ")
	}
	return fmt.Sprintf("%q", content)
}
