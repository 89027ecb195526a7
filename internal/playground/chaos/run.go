// Package chaos torments a playground's world: seeded faults of real processes, networks and clocks, while
// writers write through the gateways and orders move owners about; then every region has to be whole again,
// and what the writers and the service noted is judged by package check.
//
// It must be called inside of underlay.Isolate, and never touches anything outside of that.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/playground/chaos/check"
	"multiactive.dev/operator/internal/playground/chaos/history"
	"multiactive.dev/operator/internal/playground/chaos/register"
	"multiactive.dev/operator/internal/playground/chaos/users"
	"multiactive.dev/operator/internal/playground/chaos/writers"
	"multiactive.dev/operator/internal/playground/node"
	"multiactive.dev/operator/internal/playground/term"
	"multiactive.dev/operator/internal/playground/underlay"
	"multiactive.dev/operator/internal/playground/world"
)

const (
	serviceName      = "register"
	serviceNamespace = "chaos"
	exampleName      = "user"
	// bootLimit bounds the wait until a new world serves.
	bootLimit = 4 * time.Minute
	// mostFlaps is after how many losses of a region the world is replaced: what a region that is lost over
	// and over again is held down for would take longer than a run.
	mostFlaps = 3
)

// Regions of every world, all of them homes: those of register.Manifest.
var Regions = []string{"north", "south", "west"}

// Options say what to run.
type Options struct {
	// Seed of the first run; First is its number. A run's plan depends on both.
	Seed  uint64
	First int
	// Runs is how many, and no other begins after Duration; 0: that does not end it. One that has begun is ended, and there is
	// always one.
	Runs     int
	Duration time.Duration
	// KeepGoing goes on after a run that is broken.
	KeepGoing bool
	// Keys that every run writes to, and Rate the writes per second to all of them.
	Keys, Rate int
	// Users is how many people use the example besides; 0: none, and it is not there. Example is its program.
	Users   int
	Example string
	// Dir holds everything; it is removed at the end unless KeepDir, or something was wrong.
	Dir     string
	KeepDir bool
	// Root of the source tree, Bin with programs of the operator whose clock can be set (hack/clockstep),
	// Self is the playground's own.
	Root, Bin, Self string
	// Again is how to say all this on a command line, without seed and runs.
	Again string
	Out   io.Writer
	Color bool
	Clock clock.WithTicker
	Log   *slog.Logger
}

// PrintPlans writes what the runs would do.
func PrintPlans(o Options, out io.Writer) {
	for n := o.First; n < o.First+max(1, o.Runs); n++ {
		_, _ = fmt.Fprintf(out, "run %d of seed %d\n", n, o.Seed) // nobody to tell
		for _, f := range Plan(o.Seed, n, Regions) {
			_, _ = fmt.Fprintf(out, "  %s\n", f)
		}
	}
}

// chaos is a series of runs.
type chaos struct {
	options Options
	console *term.Console
	network *underlay.Network
	worlds  int
	total   total
	// flapping: worlds are for Flap.
	flapping bool
}

// storm is one world and what is done to it.
type storm struct {
	options Options
	// flapping: regions get their keys back without a person's word.
	flapping bool
	dir      string
	world    *world.World
	network  *underlay.Network
	watch    *watcher
	unwatch  func() error
	offsets  map[string]int64 // of the regions' journals
}

// Run runs until enough was run, or something is wrong. broken says that something must never be.
func Run(ctx context.Context, o Options) (broken bool, err error) {
	network, err := underlay.New()
	if err != nil {
		return false, err
	}
	c := &chaos{options: o, console: term.New(o.Out, o.Color, o.Clock), network: network}
	err = c.series(ctx)
	if ctx.Err() == nil || c.total.runs > 0 {
		c.verdict()
	}
	broken = c.total.broken > 0
	return broken, c.leave(broken, err)
}

// leave removes everything, unless it is of interest.
func (c *chaos) leave(broken bool, err error) error {
	if o := c.options; !o.KeepDir && !broken && err == nil {
		return os.RemoveAll(o.Dir)
	}
	c.console.Line("logs, journals and data stay in %s", c.options.Dir)
	return err
}

// series makes the runs, each in the world of the former one unless that is worn.
func (c *chaos) series(ctx context.Context) (err error) {
	o, began := c.options, c.options.Clock.Now()
	var s *storm
	defer func() {
		if s != nil {
			err = errors.Join(err, s.end())
		}
	}()
	for n := o.First; ctx.Err() == nil && !o.enough(n-o.First, c.total.broken, o.Clock.Since(began)); n++ {
		if s != nil && s.watch.worn() {
			worn := s
			s = nil
			if err := worn.end(); err != nil {
				return err
			}
		}
		if s == nil {
			if s, err = c.begin(ctx); err != nil {
				return err
			}
		}
		if err := c.once(ctx, s, n, o.progress(n-o.First, o.Clock.Since(began))); err != nil {
			return err
		}
	}
	return nil
}

// enough reports whether no other run is to begin, after so many that took so long.
func (o *Options) enough(done, broken int, took time.Duration) bool {
	switch {
	case done == 0:
		return false
	case broken > 0 && !o.KeepGoing:
		return true
	case o.Runs > 0 && done >= o.Runs:
		return true
	}
	return o.Duration > 0 && took >= o.Duration
}

// progress says how far a series is when another run begins.
func (o *Options) progress(done int, took time.Duration) string {
	var parts []string
	if o.Runs > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d done", done, o.Runs))
	}
	if o.Duration > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s", took.Round(time.Second), o.Duration))
	}
	return strings.Join(parts, ", ")
}

// worn reports whether the world holds a region down for longer than a run should take.
func (w *watcher) worn() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flaps >= mostFlaps
}

// begin boots a world with the register in it.
func (c *chaos) begin(ctx context.Context) (*storm, error) {
	c.worlds++
	s := &storm{options: c.options, flapping: c.flapping, network: c.network, dir: filepath.Join(c.options.Dir, fmt.Sprintf("world-%d", c.worlds)), offsets: map[string]int64{}}
	c.console.Section(fmt.Sprintf("World %d: a hub and three regions, each in a network of its own", c.worlds))
	if err := s.boot(ctx, c.console); err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

func (s *storm) boot(ctx context.Context, console *term.Console) error {
	if err := os.MkdirAll(filepath.Join(s.dir, "clocks"), 0o700); err != nil {
		return err
	}
	m, err := s.manifest(serviceName, register.Manifest)
	if err != nil {
		return err
	}
	if s.flapping {
		m.Service.Spec.Failover = &v1alpha1.Failover{Handback: "Automatic"}
	}
	o := s.options
	images := node.Programs{register.Image: o.Self}
	var others []*world.Manifest
	if o.Users > 0 {
		example, err := s.manifest(exampleName, users.Manifest)
		if err != nil {
			return err
		}
		others, images[users.Image] = append(others, example), o.Example
	}
	s.world, err = world.New(world.Options{
		Dir: s.dir, Root: o.Root, Programs: o.Bin, Self: o.Self, Manifest: m, Others: others, Regions: Regions,
		Images: images, Progress: console.Step, Clock: o.Clock, Log: o.Log,
		Zone: func(name string, number int) (world.Zone, error) { return s.network.Zone(name, number) },
		Env: func(domain, program string) []string {
			file := s.clock(domain, program)
			if err := setClock(file, 0); err != nil {
				o.Log.Error("preparing a clock", "error", err)
				return nil
			}
			return []string{"CLOCKSTEP_FILE=" + file}
		},
	})
	if err != nil {
		return err
	}
	if err := s.world.Start(ctx); err != nil {
		return err
	}
	if s.watch, s.unwatch, err = follow(ctx, s.world.CoordinationEndpoints()); err != nil {
		return err
	}
	if err := s.world.Deploy(ctx); err != nil {
		return err
	}
	done := console.Step("every region serves, and every key can be written")
	err = s.serves(ctx)
	done(err)
	return err
}

// serves waits until a write to some keys is accepted through every gateway.
func (s *storm) serves(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	if err := s.recover(ctx); err != nil {
		return err
	}
	w := writers.Write(ctx, 0, s.endpoints(), len(Regions)*3, time.Second)
	defer w.End()
	if err := s.settle(ctx, w); err != nil {
		return err
	}
	people := s.people(ctx, 0, min(1, s.options.Users))
	defer people.End()
	return people.Finish(ctx)
}

func (s *storm) endpoints() []writers.Endpoint {
	var out []writers.Endpoint
	for _, r := range s.world.Regions() {
		out = append(out, writers.Endpoint{Region: r.Name, URL: r.Edge()})
	}
	return out
}

func (s *storm) end() (err error) {
	if s.unwatch != nil {
		err = s.unwatch()
	}
	if s.world != nil {
		err = errors.Join(err, s.world.Stop())
	}
	return errors.Join(err, s.network.Clear())
}

// notes reads what the service noted since the last time.
func (s *storm) notes() ([]history.Note, error) {
	var out []history.Note
	for _, r := range Regions {
		notes, offset, err := history.ReadJournal(filepath.Join(s.dir, r, "root", "data", "register.journal"), s.offsets[r])
		if err != nil {
			return nil, err
		}
		s.offsets[r] = offset
		out = append(out, notes...)
	}
	return out, nil
}

// once makes one run and judges it.
func (c *chaos) once(ctx context.Context, s *storm, n int, progress string) error {
	plan := Plan(c.options.Seed, n, Regions)
	c.console.Section(fmt.Sprintf("Run %d of seed %d (%s)", n, c.options.Seed, progress))
	began := history.Now()
	w := writers.Write(ctx, n, s.endpoints(), c.options.Keys, time.Duration(c.options.Keys)*time.Second/time.Duration(c.options.Rate))
	people := s.people(ctx, n, c.options.Users)
	inject := &injector{s: s, down: map[string]bool{}}
	happened := c.storm(ctx, inject, plan, began)
	calmed := history.Now()
	stuck := s.recover(ctx)
	if stuck == nil {
		recovered := history.Now() - calmed
		c.console.Line("%6s  whole again", fmt.Sprintf("+%.1fs", recovered.Seconds()))
		stuck = errors.Join(s.settle(ctx, w), s.finish(ctx, people))
	}
	h := &history.History{Ops: w.End(), Losses: s.watch.lost(), Stalls: inject.stalls}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	notes, err := s.notes()
	if err != nil {
		return err
	}
	h.Notes = notes
	v := check.Judge(h)
	if stuck != nil {
		v.Violations = append(v.Violations, "the regions did not get whole again: "+stuck.Error())
	}
	lives, err := s.lives(ctx, people)
	if err != nil {
		return err
	}
	return c.report(s, n, h, v, lives, happened)
}

// happening is a fault with the true times between which it lasted.
type happening struct {
	Fault
	from, until time.Duration
	err         error
}

// storm carries out a plan, and returns when all of it is undone.
func (c *chaos) storm(ctx context.Context, i *injector, plan []Fault, began time.Duration) []happening {
	happened := make([]happening, len(plan))
	var all sync.WaitGroup
	for n, f := range plan {
		all.Go(func() {
			h := &happened[n]
			h.Fault = f
			if !sleep(ctx, began+f.At-history.Now()) {
				return
			}
			h.from = history.Now()
			undo, err := i.hit(ctx, &h.Fault)
			h.err = err
			c.console.Line("%s", h.String())
			sleep(ctx, f.For)
			if undo != nil {
				h.err = errors.Join(h.err, undo(context.WithoutCancel(ctx)))
			}
			h.until = history.Now()
			if h.err != nil {
				c.console.Line("        %s: %v", h.Kind, h.err)
			}
		})
	}
	all.Wait()
	return happened
}

// sleep waits, and reports whether it was not interrupted.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
