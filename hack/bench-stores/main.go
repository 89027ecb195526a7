// Command bench-stores measures the engine of MariaDB: how far canaries lag in a mesh that is written to while
// its servers are killed, how quickly fences take effect, and what canaries and digests cost. What was measured
// is written as a section of a page.
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
	"multiactive.dev/operator/internal/port/store/mysql/mysqltest"
	"multiactive.dev/operator/internal/testkit/mariadb"
)

// options are the command line.
type options struct {
	out    string
	kills  int
	rate   int
	quiet  time.Duration
	rounds int
	rows   int
	watch  time.Duration
	// watchOnly: nothing else is measured, and no section is written.
	watchOnly bool
	// bin has the programs of the playground; "": keys are not handed back.
	bin       string
	handbacks int
	seed      uint64
}

const usage = `bench-stores measures the engine of MariaDB with three servers on this machine, and writes a section of a page.

  bench-stores --out docs/performance.md

The exit status is 0 also when goals are missed: the page says so. It is 1 when a row is lost.

`

var regions = []string{"beijing", "shanghai", "shenzhen"}

func main() {
	o := options{}
	flags := flag.NewFlagSet("bench-stores", flag.ExitOnError)
	flags.Usage = func() {
		_, _ = fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.out, "out", "", "`file` whose section is written (default: standard output)")
	flags.IntVar(&o.kills, "kills", 20, "how many `servers` are killed")
	flags.IntVar(&o.rate, "rate", 500, "`rows` that are written each second meanwhile")
	flags.DurationVar(&o.quiet, "quiet", 30*time.Second, "how long rows are written before servers are killed")
	flags.IntVar(&o.rounds, "rounds", 500, "`rounds` of fences and of canaries")
	flags.IntVar(&o.rows, "rows", 1_000_000, "`rows` of the table whose digests are computed")
	flags.StringVar(&o.bin, "bin", "bin", "`directory` with the operator's programs and the playground's; empty: without hand-backs")
	flags.IntVar(&o.handbacks, "handbacks", 20, "how often `keys` are handed back")
	flags.DurationVar(&o.watch, "watch", 2*time.Minute, "how `long` many stores are kept, after a minute in which they settle")
	flags.BoolVar(&o.watchOnly, "watch-only", false, "measure nothing but what keeping many stores costs, and print that")
	flags.Uint64Var(&o.seed, "seed", 1, "of the order in which servers are killed")
	_ = flags.Parse(os.Args[1:]) // it exits
	report.Run("bench-stores", func(ctx context.Context) error { return run(ctx, &o) })
}

// run starts servers, measures, and writes the section.
func run(ctx context.Context, o *options) error {
	if o.kills < 1 || o.rate < len(regions) || o.rounds < 1 || o.rows < 1 || o.quiet <= 0 {
		return errors.New("all numbers must be more than 0")
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	p := &page{options: o, machine: report.Describe(ctx)}
	if !o.watchOnly {
		if err := p.three(ctx, dir); err != nil {
			return err
		}
	}
	if err := p.servers(ctx, dir, func(nodes map[string]map[string]*mysqltest.Node) error { return p.watch(ctx, nodes) }); err != nil {
		return fmt.Errorf("keeping many stores: %w", err)
	}
	if o.watchOnly {
		fmt.Printf("%d stores in %d regions kept for %s: %.2f %% of a processor\n", stores, len(regions), o.watch, p.watched*100)
		return nil
	}
	if o.bin != "" {
		if err := p.handbacks(ctx, dir); err != nil {
			return fmt.Errorf("handing keys back: %w", err)
		}
	}
	p.machine.Done()
	var text bytes.Buffer
	p.write(&text)
	return report.Publish(o.out, "bench-stores", text.Bytes())
}

// three measures with one mesh.
func (p *page) three(ctx context.Context, dir string) error {
	nodes := map[string]*mysqltest.Node{}
	defer func() {
		for _, n := range nodes {
			n.Close()
			_ = n.Kill()
		}
	}()
	for i, region := range regions {
		settings := mysqltest.Settings(i+1, len(regions))
		settings["innodb-buffer-pool-size"] = "256M"
		var err error
		if nodes[region], err = start(ctx, mariadb.Options{Name: region, Dir: filepath.Join(dir, region), Settings: settings}); err != nil {
			return err
		}
	}
	return p.measure(ctx, nodes)
}

// start runs one server, with the users and tables that are measured with.
func start(ctx context.Context, o mariadb.Options) (*mysqltest.Node, error) {
	server, err := mariadb.New(o)
	if err != nil {
		return nil, err
	}
	if err := server.Start(ctx); err != nil {
		return nil, err
	}
	node, err := mysqltest.Equip(ctx, server)
	if err != nil {
		return nil, errors.Join(err, server.Kill())
	}
	return node, nil
}
