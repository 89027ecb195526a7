// Command bench-gateway measures the gateway beside what else could stand in its place: nginx with Lua and
// HAProxy, routing by the same hash of the same header to the same two upstreams. All run on this machine, in
// turn, in one run; the load and the upstreams are this program's own, and the same for all. Latencies are measured by a
// process of its own. Besides, it measures
// requests that pass the gateways of two regions, and how soon ten gateways act on a change of their routing. What was
// measured is written as a page.
package main

import (
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
	gateway, out string
	connections  int
	idle         int
	rounds       int
	length       time.Duration
	changes      int
}

const usage = `bench-gateway measures the gateway beside nginx with Lua and HAProxy, and writes a page of it.

  bench-gateway --gateway bin/gateway --out docs/performance.md

Rounds are interleaved: each goes through all contenders, so that what else the machine does meets them
alike. Contenders that are not installed are left out, and the page says how to get them. The exit status is
0 also when goals are missed: the page says so.

`

func main() {
	if len(os.Args) == 2 && os.Args[1] == pacedCommand {
		if err := runPaced(); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "bench-gateway:", err)
			os.Exit(1)
		}
		return
	}
	o := options{}
	flags := flag.NewFlagSet("bench-gateway", flag.ExitOnError)
	flags.Usage = func() {
		_, _ = fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.gateway, "gateway", "bin/gateway", "the gateway's `program`")
	flags.StringVar(&o.out, "out", "", "`file` that the page is written to (default: standard output)")
	flags.IntVar(&o.connections, "connections", 64, "how many `connections` users have")
	flags.IntVar(&o.idle, "idle", 10_000, "how many idle `connections` the memory is measured with")
	flags.IntVar(&o.rounds, "rounds", 5, "`rounds` of each measurement; the medians count")
	flags.IntVar(&o.changes, "changes", 100, "how many `changes` of the routing ten gateways act on")
	flags.DurationVar(&o.length, "length", 3*time.Second, "how long one measurement takes")
	_ = flags.Parse(os.Args[1:]) // it exits
	report.Run("bench-gateway", func(ctx context.Context) error { return run(ctx, &o) })
}

// run starts everything, measures, and writes the page.
func run(ctx context.Context, o *options) error {
	if o.rounds < 1 || o.connections < 1 || o.length <= 0 || o.changes < 1 {
		return errors.New("--rounds, --connections, --changes and --length must be more than 0")
	}
	gateway, err := filepath.Abs(o.gateway)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-gateway-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	w, err := newWorld(dir)
	if err != nil {
		return err
	}
	defer w.close()
	p := &page{options: o, machine: report.Describe(ctx)}
	for _, part := range []func(context.Context, *options, *world, string, *page) error{compare, forward, change} {
		if err := part(ctx, o, w, gateway, p); err != nil {
			return err
		}
	}
	p.machine.Done()
	if o.out == "" {
		_, err := p.WriteTo(os.Stdout)
		return err
	}
	return p.save(o.out)
}

// compare measures the gateway beside the others.
func compare(ctx context.Context, o *options, w *world, gateway string, p *page) error {
	contenders, missing, err := start(ctx, w, gateway)
	defer func() {
		for _, c := range contenders {
			c.stop()
		}
	}()
	if err != nil {
		return err
	}
	p.missing = missing
	for _, c := range contenders {
		if err := w.check(ctx, c); err != nil {
			return fmt.Errorf("%s does not route as it should: %w", c.name, err)
		}
	}
	return measure(ctx, o, w, contenders, p)
}

// forward measures requests that pass two regions' gateways.
func forward(ctx context.Context, o *options, w *world, gateway string, p *page) (err error) {
	if p.hops, err = measureHops(ctx, o, w, gateway); err != nil {
		return fmt.Errorf("requests that are forwarded: %w", err)
	}
	return nil
}

// change measures how soon gateways act on another routing.
func change(ctx context.Context, o *options, w *world, gateway string, p *page) (err error) {
	if p.views, err = measureViews(ctx, o, w, gateway); err != nil {
		return fmt.Errorf("changes of the routing: %w", err)
	}
	progress("%d gateways act on a change after %s (median), %s (p99)", viewGateways, p.views.share(.5), p.views.share(.99))
	return nil
}
