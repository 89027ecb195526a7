// Package demo is the story that the playground tells: a service in several regions, one region lost,
// what the others do, and the region's return, with measured times and promises that are checked.
//
// What it says of a service it learns from the service's own gateways and from the hub, as users and
// operators would; package load adds users for the one service that it knows. It must never report a
// time that it did not measure.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/playground/crowd"
	"multiactive.dev/operator/internal/playground/load"
	"multiactive.dev/operator/internal/playground/node"
	"multiactive.dev/operator/internal/playground/term"
	"multiactive.dev/operator/internal/playground/world"
)

// Options say what to run.
type Options struct {
	// Service is the manifest's file.
	Service string
	// Regions replace those of the manifest; empty: the manifest's.
	Regions []string
	// Programs for images.
	Programs node.Programs
	// Kill is the region to lose; empty: the first that owns keys, or, with Peer, the leader's.
	Kill string
	// Peer runs a hub beside every member, and none of its own.
	Peer bool
	// Keep leaves the world running at the end, until ctx ends.
	Keep bool
	// Dir holds everything; it is removed at the end unless KeepDir.
	Dir     string
	KeepDir bool
	// Root of the source tree, Bin with the operator's programs, Self is the playground's own.
	Root, Bin, Self string
	// Users of the example service act when LoadUsers; Rate is their operations per second.
	LoadUsers    bool
	Rate, People int
	Out          io.Writer
	Color        bool
	Clock        clock.WithTicker
	Log          *slog.Logger

	// audit has the API servers log what is written to them; prepare changes the service before it is deployed.
	audit   bool
	prepare func(*v1alpha1.MultiActiveService)
}

// Demo is one run.
type Demo struct {
	options  Options
	console  *term.Console
	manifest *world.Manifest
	world    *world.World
	killed   *world.Region
	promises []promise
	people   *people // nil without LoadUsers
	// turn goes through the regions that a benchmark loses.
	turn int
	// crowds are the gateways of many more services, by region; nil without.
	crowds map[string]*crowd.Gateways
}

// promise is something that the operator promises, and what was seen.
type promise struct {
	text, measured string
	kept           bool
}

// Run tells the story. broken says that a promise was not kept; err that the story could not go on.
func Run(ctx context.Context, o Options) (broken bool, err error) {
	d, err := start(ctx, o)
	if d == nil {
		return false, errors.Join(err, tidy(o))
	}
	defer func() { err = errors.Join(err, d.end()) }()
	if err == nil {
		err = d.tell(ctx)
	}
	if err != nil {
		d.explain(ctx)
		return false, err
	}
	broken = d.summary()
	if o.Keep {
		d.stay(ctx)
	}
	return broken, nil
}

// start boots the world with the service in it. The Demo is there whenever something has to be ended.
func start(ctx context.Context, o Options) (*Demo, error) {
	m, err := world.ReadManifest(o.Service)
	if err != nil {
		return nil, err
	}
	if o.prepare != nil {
		o.prepare(m.Service)
	}
	if len(o.Regions) == 0 {
		o.Regions = m.RegionNames()
	}
	d := &Demo{options: o, manifest: m, console: term.New(o.Out, o.Color, o.Clock)}
	if err := d.checkImages(); err != nil {
		return nil, err
	}
	booting := fmt.Sprintf("Booting a hub and %d regions on this machine", len(o.Regions))
	if o.Peer {
		booting = fmt.Sprintf("Booting %d regions, each with a hub of its own, on this machine", len(o.Regions))
	}
	d.console.Section(booting)
	d.console.Line("everything listens on 127.0.0.0/8; logs and data: %s", o.Dir)
	d.world, err = world.New(world.Options{
		Dir: o.Dir, Root: o.Root, Programs: o.Bin, Self: o.Self, Manifest: m, Regions: o.Regions,
		Peer: o.Peer, Images: o.Programs, Audit: o.audit, Idle: []string{crowd.Namespace}, Progress: d.console.Step, Clock: o.Clock, Log: o.Log,
	})
	if err != nil {
		return nil, err
	}
	if err := d.chooseVictim(); err != nil {
		return d, err
	}
	if err := d.world.Start(ctx); err != nil {
		return d, err
	}
	if err := d.regionsUp(ctx); err != nil {
		return d, err
	}
	d.lookAround(ctx)
	err = d.deploy(ctx)
	return d, err
}

// regionsUp waits until the regions have agreed that they all serve.
func (d *Demo) regionsUp(ctx context.Context) error {
	hub, err := d.world.HubClient()
	if err != nil {
		return err
	}
	done := d.console.Step("the regions elect a leader and see each other")
	err = d.await(ctx, deployTimeout, func(ctx context.Context) error {
		list := &v1alpha1.RegionList{}
		if err := hub.List(ctx, list); err != nil {
			return err
		}
		for i := range list.Items {
			if r := &list.Items[i]; r.Status.State != v1alpha1.RegionUp {
				return fmt.Errorf("region %s is %q", r.Name, r.Status.State)
			}
		}
		return nil
	})
	done(err)
	return err
}

// checkImages names the images that nothing stands for, before anything is booted.
func (d *Demo) checkImages() error {
	for _, image := range d.manifest.Images() {
		if !d.options.Programs.Has(image) {
			return fmt.Errorf("no program stands for image %s of the service: give --program %s=COMMAND", image, image)
		}
	}
	return nil
}

func (d *Demo) chooseVictim() error {
	name := d.options.Kill
	if name == "" {
		for _, r := range d.manifest.Service.Spec.Regions {
			if r.Weight == nil || *r.Weight > 0 {
				name = r.Name
				break
			}
		}
	}
	if d.killed = d.world.Region(name); d.killed == nil {
		return fmt.Errorf("--kill %s: there is no such region; there are %v", name, d.options.Regions)
	}
	return nil
}

// lookAround chooses, in peer mode, the leader's region as the one to lose, which takes the most with it,
// and one that stays to look from.
func (d *Demo) lookAround(ctx context.Context) {
	if !d.options.Peer {
		return
	}
	if leads := d.world.Region(d.leader(ctx)); d.options.Kill == "" && leads != nil {
		d.killed = leads
	}
	d.world.LookFrom(d.survivors()[0])
}

// deploy applies the service and waits until every region's gateway serves it.
func (d *Demo) deploy(ctx context.Context) error {
	s := d.manifest.Service
	d.console.Section(fmt.Sprintf("Deploying %s/%s", s.Namespace, s.Name))
	d.console.Command("kubectl apply --server-side -f " + d.options.Service)
	if d.options.Peer {
		d.console.Line("in every region's cluster")
	}
	d.console.Line("with this machine's addresses in place of the manifest's endpoints and Kafka servers")
	for _, r := range d.world.Regions() {
		d.console.Line("  %-10s %s", r.Name, r.Edge())
	}
	done := d.console.Step("the hub accepts the service")
	err := d.world.Deploy(ctx)
	done(err)
	if err != nil {
		return err
	}
	done = d.console.Step("every region serves it through its gateway")
	err = d.await(ctx, deployTimeout, func(ctx context.Context) error {
		for _, r := range d.world.Regions() {
			if err := healthy(ctx, r); err != nil {
				return err
			}
		}
		return nil
	})
	done(err)
	return err
}

// tell is the story after the boot.
func (d *Demo) tell(ctx context.Context) error {
	if d.options.LoadUsers {
		if err := d.populate(ctx); err != nil {
			return err
		}
	}
	if err := d.settle(ctx); err != nil {
		return err
	}
	d.ready(ctx)
	if err := d.show(ctx, "A normal day"); err != nil {
		return err
	}
	if err := d.outage(ctx); err != nil {
		return err
	}
	return d.comeback(ctx)
}

// show prints what an operator would look at.
func (d *Demo) show(ctx context.Context, title string) error {
	d.console.Section(title)
	for _, c := range []struct {
		cluster string
		args    []string
	}{
		{d.world.Front(), []string{"get", "regions,mas,ri", "-A"}},
		{d.survivors()[0].Name, []string{"get", "rl"}},
		{d.survivors()[0].Name, []string{"get", "deploy,pods", "-n", d.manifest.Service.Namespace}},
	} {
		d.console.Command("kubectl --context " + c.cluster + " " + strings.Join(c.args, " "))
		out, err := d.world.Kubectl(ctx, c.cluster, c.args...)
		if err != nil {
			return err
		}
		d.console.Block(out)
	}
	return nil
}

// survivors are the regions that are not killed.
func (d *Demo) survivors() []*world.Region {
	return slices.DeleteFunc(slices.Clone(d.world.Regions()), func(r *world.Region) bool { return r == d.killed })
}

func (d *Demo) endpoints() []load.Endpoint {
	out := make([]load.Endpoint, 0, len(d.world.Regions()))
	for _, r := range d.world.Regions() {
		out = append(out, load.Endpoint{Region: r.Name, URL: r.Edge()})
	}
	return out
}

// promised records a promise and shows it at the end.
func (d *Demo) promised(kept bool, text, format string, args ...any) {
	d.promises = append(d.promises, promise{text: text, measured: fmt.Sprintf(format, args...), kept: kept})
}

// summary prints the promises and the memory, and tells whether one was broken.
func (d *Demo) summary() (broken bool) {
	d.memory()
	d.console.Section("Promises")
	for _, p := range d.promises {
		d.console.Verdict(p.kept, p.text, p.measured)
		broken = broken || !p.kept
	}
	return broken
}

// explain shows the ends of the logs, after a failure.
func (d *Demo) explain(ctx context.Context) {
	if ctx.Err() != nil {
		return // ended on purpose
	}
	d.console.Section("What the logs say")
	logs := d.world.Logs()
	for _, file := range world.LogFiles(logs) {
		d.console.Note("%s ends with", file)
		d.console.Block(logs[file])
	}
	d.options.KeepDir = true
	d.console.Line("all logs stay in %s", d.options.Dir)
}

func (d *Demo) end() error {
	for _, c := range d.crowds {
		c.End()
	}
	return errors.Join(d.world.Stop(), tidy(d.options))
}

// tidy removes the directory unless it is to stay.
func tidy(o Options) error {
	if o.KeepDir {
		return nil
	}
	return os.RemoveAll(o.Dir)
}

// condition returns a condition of the service's status; nil when it is not there.
func condition(s *v1alpha1.MultiActiveService, name string) (status, message string) {
	for _, c := range s.Status.Conditions {
		if c.Type == name {
			return string(c.Status), c.Message
		}
	}
	return "", ""
}

// deployTimeout bounds the wait until a new service is served everywhere.
const deployTimeout = 90 * time.Second
