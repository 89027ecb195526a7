package main

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"multiactive.dev/operator/hack/internal/report"
)

// page is what was measured.
type page struct {
	options *options
	machine report.Machine
	figures []figures
}

// Goals, as the design has them: throughput per processor second, memory and latency of the built-in mirror,
// of MirrorMaker 2's.
const (
	goalCPU    = 2.0
	goalMemory = 0.2
)

func (p *page) figureOf(name string) *figures {
	return &p.figures[slices.IndexFunc(p.figures, func(f figures) bool { return f.name == name })]
}

// median of what rounds say.
func median[R any, T cmp.Ordered](rounds []R, of func(R) T) T {
	values := make([]T, len(rounds))
	for i, r := range rounds {
		values[i] = of(r)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func (f *figures) perSecond() float64    { return median(f.full, full.perSecond) }
func (f *figures) perCPUSecond() float64 { return median(f.full, full.perCPUSecond) }
func (f *figures) peakMB() float64       { return median(f.full, func(r full) float64 { return r.peakMB }) }
func (f *figures) p50() time.Duration {
	return median(f.late, func(r late) time.Duration { return r.p50 })
}
func (f *figures) p99() time.Duration {
	return median(f.late, func(r late) time.Duration { return r.p99 })
}

// brokersMS is the processor time of both brokers for a megabyte, in milliseconds.
func (f *figures) brokersMS() float64 {
	return median(f.full, func(r full) float64 { return r.brokers.Seconds() * 1000 / r.megabytes })
}

func (p *page) write(b *bytes.Buffer) {
	p.head(b)
	p.goals(b)
	p.table(b)
	b.WriteString(tail)
}

func (p *page) head(b *bytes.Buffer) {
	o := p.options
	fmt.Fprintf(b, `# How fast the built-in mirror is

`+"`make bench-mirror`"+` has measured this and written the section: edit `+"`hack/bench-mirror`"+` instead.

%s
Rounds go through all contenders in turn, so ratios say more than absolute values. Two brokers of Apache Kafka, the
contenders and the load share the processors.

Each contender copies a topic of its own, of %d partitions, from one broker to the other. Records have values of %d bytes
of text, compressed with LZ4 by their producer. At full speed a contender stands still while %d records are written, and is
then let go; the time ends when the target has them all. Each value is the median of %d rounds; one more before them is
not counted, because Java has compiled little then.

`, p.machine.Paragraph(), partitions, valueBytes, o.records, o.rounds)
	for _, f := range p.figures {
		fmt.Fprintf(b, "- %s: %s\n", f.name, f.about)
	}
	b.WriteString("\n")
}

// goals writes what was to be reached, and whether it was.
func (p *page) goals(b *bytes.Buffer) {
	own, other := p.figureOf(nameBuiltin), p.figureOf(nameMM2)
	b.WriteString("| goal | wanted | measured | |\n|---|---|---|---|\n")
	row := func(what, wanted, measured string, met bool) {
		verdict := "met"
		if !met {
			verdict = "**missed**"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", what, wanted, measured, verdict)
	}
	cpu, memory := own.perCPUSecond()/other.perCPUSecond(), own.peakMB()/other.peakMB()
	row("bytes for a second of processor time, of those of MirrorMaker 2", fmt.Sprintf("at least %.1f", goalCPU), fmt.Sprintf("%.2f", cpu), cpu >= goalCPU)
	row("resident memory at full speed, of that of MirrorMaker 2", fmt.Sprintf("at most %.2f", goalMemory), fmt.Sprintf("%.2f", memory), memory <= goalMemory)
	row("added latency, p50", "at most that of MirrorMaker 2, "+round(other.p50()), round(own.p50()), own.p50() <= other.p50())
	row("added latency, p99", "at most that of MirrorMaker 2, "+round(other.p99()), round(own.p99()), own.p99() <= other.p99())
	for _, f := range p.figures {
		row("records at the target, of those at the source, "+f.name, "1", fmt.Sprintf("%.6f", float64(f.target)/float64(f.source)), f.target == f.source)
	}
	b.WriteString("\n")
}

func round(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }

// table writes what all contenders did.
func (p *page) table(b *bytes.Buffer) {
	fmt.Fprintf(b, "| | MB a second (least to most) | MB for a second of its processor time | the brokers' processor time for a MB | memory at full speed | latency it adds at %d records a second, p50 and p99 | when idle |\n|---|---|---|---|---|---|---|\n", p.options.rate)
	for i := range p.figures {
		f := &p.figures[i]
		by := func(x, y full) int { return cmp.Compare(x.perSecond(), y.perSecond()) }
		fmt.Fprintf(b, "| %s | %.0f (%.0f to %.0f) | %.0f | %.1f ms | %.0f MB | %s, %s | %.1f %% of a processor, %.0f MB |\n", f.name,
			f.perSecond(), slices.MinFunc(f.full, by).perSecond(), slices.MaxFunc(f.full, by).perSecond(), f.perCPUSecond(), f.brokersMS(),
			f.peakMB(), round(f.p50()), round(f.p99()), 100*f.idleCPU, f.idleMB)
	}
}

const tail = `
Added latency is the time between a record's arrival at a consumer of the source and at one of the target, with records
sent at a fixed rate that does not wait for answers. Memory is the most that was resident while a round was copied.
`
