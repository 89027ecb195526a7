// Command bench-scale measures what many services cost: how long it takes from their declaration until all are Ready in
// every region, what is written for one, what is written and used when nothing happens any more, and how fast the loss
// of a region is routed. It runs worlds of the playground, with real API servers, a hub and members, and does that with
// few services and with many: what grows is the point. What was measured is written as a section of a page.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"multiactive.dev/operator/hack/internal/report"
)

// options are the command line.
type options struct {
	bin, out string
	services []int
	length   time.Duration
	limit    time.Duration
	lose     bool
	verbose  bool
	profile  string
}

const usage = `bench-scale measures what many services cost, in three regions, and writes a section of a page.

  bench-scale --bin bin --services 10,100,1000 --out docs/performance.md

Needs bin/kubernetes (make kubernetes) and the operator's programs (make build). The exit status is 0 also when goals
are missed: the page says so. When --limit has passed, or something fails, what was measured until then is written.

`

func main() {
	o := options{services: []int{10, 100, 1000}}
	flags := flag.NewFlagSet("bench-scale", flag.ExitOnError)
	flags.Usage = func() {
		_, _ = fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.bin, "bin", "bin", "`directory` with the operator's programs and the playground's")
	flags.StringVar(&o.out, "out", "", "`file` whose section is written (default: standard output)")
	flags.Func("services", "how many services each world has, `one after the other` (default 10,100,1000)", o.worlds)
	flags.DurationVar(&o.length, "length", time.Minute, "how long steady state is measured")
	flags.DurationVar(&o.limit, "limit", 33*time.Minute, "how long all worlds together may take; what is under way then is given up")
	flags.BoolVar(&o.lose, "lose", true, "lose a region of each world, and have it return")
	flags.BoolVar(&o.verbose, "verbose", false, "list every kind of write, and every controller's passes")
	flags.StringVar(&o.profile, "profile", "", "`directory` for profiles of API servers and managers, from the declaration until all are Ready")
	_ = flags.Parse(os.Args[1:]) // it exits
	log.SetLogger(logr.Discard())
	report.Run("bench-scale", func(ctx context.Context) error { return run(ctx, &o) })
}

// worlds reads the numbers of services.
func (o *options) worlds(text string) error {
	o.services = nil
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is no number of services", field)
		}
		o.services = append(o.services, n)
	}
	slices.Sort(o.services)
	o.services = slices.Compact(o.services)
	return nil
}

// run measures one world after the other, and writes the section.
func run(ctx context.Context, o *options) error {
	if o.length < time.Second {
		return errors.New("--length must be a second or more")
	}
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeoutCause(ctx, o.limit, fmt.Errorf("%v have passed", o.limit))
	defer cancel()
	p := &page{options: o, machine: report.Describe(ctx)}
	for _, n := range o.services {
		progress("a world for %d services is started", n)
		f, err := one(limited, o, bin, n)
		if f.ready > 0 {
			p.figures = append(p.figures, f)
		}
		if err != nil {
			if limited.Err() != nil {
				err = fmt.Errorf("it was ended before, since %w", context.Cause(limited))
			}
			p.ended = fmt.Errorf("with %d services: %w", n, err)
			break
		}
	}
	p.machine.Done()
	if len(p.figures) == 0 {
		return p.ended
	}
	var text bytes.Buffer
	p.write(&text)
	return errors.Join(report.Publish(o.out, "bench-scale", text.Bytes()), p.ended)
}

// one measures a world of its own. With an error come the figures that there are until then.
func one(ctx context.Context, o *options, bin string, services int) (f figures, err error) {
	dir, err := os.MkdirTemp("", "bench-scale-")
	if err != nil {
		return f, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	w, err := boot(ctx, bin, dir, services, o.profile != "")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, w.end()) }()
	return measure(ctx, o, w)
}
