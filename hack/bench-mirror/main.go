// Command bench-mirror measures the built-in mirror beside MirrorMaker 2: both copy topics of their own, of
// the same records, between the same two Apache Kafka brokers, in turn, in one run. What was measured is
// written as a section of a page.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"multiactive.dev/operator/hack/internal/report"
)

// options are the command line.
type options struct {
	mirror, out string
	records     int
	rounds      int
	rate        int
	length      time.Duration
}

const usage = `bench-mirror measures the built-in mirror beside MirrorMaker 2, and writes a section of a page.

  bench-mirror --mirror bin/mirror --out docs/performance.md

Rounds are interleaved: each goes through all contenders, so that what else the machine does meets them
alike. Needs bin/kafka (make kafka). The exit status is 0 also when goals are missed: the page says so.

`

func main() {
	o := options{}
	flags := flag.NewFlagSet("bench-mirror", flag.ExitOnError)
	flags.Usage = func() {
		_, _ = fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.mirror, "mirror", "bin/mirror", "the mirror's `program`")
	flags.StringVar(&o.out, "out", "", "`file` whose section is written (default: standard output)")
	flags.IntVar(&o.records, "records", 200_000, "how many `records` one measurement at full speed copies")
	flags.IntVar(&o.rounds, "rounds", 5, "`rounds` of each measurement; the medians count")
	flags.IntVar(&o.rate, "rate", 500, "`records` a second while latency is measured")
	flags.DurationVar(&o.length, "length", 10*time.Second, "how long one measurement of latency takes")
	_ = flags.Parse(os.Args[1:]) // it exits
	report.Run("bench-mirror", func(ctx context.Context) error { return run(ctx, &o) })
}

// run starts everything, measures, and writes the section.
func run(ctx context.Context, o *options) error {
	if o.rounds < 1 || o.records < partitions || o.rate < 1 || o.length <= 0 {
		return fmt.Errorf("--rounds, --rate and --length must be more than 0, --records at least %d", partitions)
	}
	program, err := filepath.Abs(o.mirror)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-mirror-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	w, err := newWorld(ctx, dir)
	if err != nil {
		return err
	}
	defer w.close()
	contenders, err := w.start(ctx, program)
	if err != nil {
		return err
	}
	p := &page{options: o, machine: report.Describe(ctx)}
	if err := measure(ctx, o, w, contenders, p); err != nil {
		return err
	}
	p.machine.Done()
	var text bytes.Buffer
	p.write(&text)
	return report.Publish(o.out, "bench-mirror", text.Bytes())
}
