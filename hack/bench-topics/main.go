// Command bench-topics measures what many topics cost: how long it takes from their declaration until every region
// has them, with links and copies, and what the operator's processes take when nothing happens any more. It runs a
// world of the playground: real API servers, a hub, members and built-in mirrors, and an embedded Kafka in every
// region. What was measured is written as a section of a page.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"multiactive.dev/operator/hack/internal/report"
)

// options are the command line.
type options struct {
	bin, out        string
	topics, classes int
	partitions      int
	length          time.Duration
}

const usage = `bench-topics measures what many topics cost, in three regions, and writes a section of a page.

  bench-topics --bin bin --out docs/performance.md

Needs bin/kubernetes (make kubernetes) and the operator's programs (make build). The exit status is 0 also when goals
are missed: the page says so.

`

func main() {
	o := options{}
	flags := flag.NewFlagSet("bench-topics", flag.ExitOnError)
	flags.Usage = func() {
		_, _ = fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.bin, "bin", "bin", "`directory` with the operator's programs and the playground's")
	flags.StringVar(&o.out, "out", "", "`file` whose section is written (default: standard output)")
	flags.IntVar(&o.topics, "topics", 1000, "how many `topics` are declared")
	flags.IntVar(&o.classes, "classes", 20, "`topics` of one service")
	flags.IntVar(&o.partitions, "partitions", 2, "`partitions` of a topic")
	flags.DurationVar(&o.length, "length", 10*time.Minute, "how long steady state is measured, without topics and with them")
	_ = flags.Parse(os.Args[1:]) // it exits
	report.Run("bench-topics", func(ctx context.Context) error { return run(ctx, &o) })
}

// run boots the world, measures, and writes the section.
func run(ctx context.Context, o *options) (err error) {
	if o.topics < 1 || o.classes < 1 || o.classes > maxClasses || o.partitions < 1 || o.length < time.Second {
		return fmt.Errorf("--topics, --partitions and --length must be more than 0, --classes from 1 to %d", maxClasses)
	}
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-topics-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	p := &page{options: o, machine: report.Describe(ctx)}
	w, err := boot(ctx, bin, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Stop()) }()
	if err := measure(ctx, o, w, p); err != nil {
		return err
	}
	p.machine.Done()
	var text bytes.Buffer
	p.write(&text)
	return report.Publish(o.out, "bench-topics", text.Bytes())
}
