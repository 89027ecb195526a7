package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"multiactive.dev/operator/hack/internal/report"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/playground/world"
	"multiactive.dev/operator/internal/routing"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/poll"
)

const (
	readyTimeout  = 30 * time.Minute
	calmTimeout   = 5 * time.Minute
	returnTimeout = 10 * time.Minute
	// calm is how long the operator may write nothing until steady state is measured.
	calm      = 10 * time.Second
	lookEvery = 100 * time.Millisecond
	// lossEvery is how often to look whether a loss is routed.
	lossEvery = 10 * time.Millisecond
)

// figures are what was measured in one world.
type figures struct {
	services int
	// ready is from the first declaration until all are Ready.
	ready time.Duration
	// work is the processor time until then, by kind of process, and passes the controllers' by name.
	work   map[string]time.Duration
	passes map[string]float64
	// writes are the operator's until everything was calm, by what; leases and others are not among them.
	writes map[string]int
	// steadyWrites are what was written while nothing happened, leases among them, and steady the processor time.
	steadyWrites map[string]int
	steady       map[string]time.Duration
	// hubMB and memberMB are the most that was resident, in steady state.
	hubMB, memberMB float64
	// routed is from the loss of a region until the last gateway acts on it, and back from its return until it owns its
	// users again for all services.
	routed, back time.Duration
}

// calmed and steadied report how far the measurement has come.
func (f *figures) calmed() bool   { return f.writes != nil }
func (f *figures) steadied() bool { return f.steadyWrites != nil }

func progress(format string, args ...any) { _, _ = fmt.Fprintf(os.Stderr, format+"\n", args...) }

func measure(ctx context.Context, o *options, w *benched) (figures, error) {
	f := figures{services: w.services}
	began := time.Now()
	profiled, err := w.profiling(ctx, o.profile)
	if err != nil {
		return f, err
	}
	if err := errors.Join(w.deploy(ctx, &f), profiled()); err != nil {
		return f, err
	}
	progress("%d services are Ready after %v, which took %v", f.services, f.ready.Round(lookEvery), f.work)
	if err := await(ctx, calmTimeout, time.Second, func(context.Context) error { return w.calm() }); err != nil {
		return f, fmt.Errorf("the operator does not stop writing: %w", err)
	}
	all, err := w.written(began)
	if err != nil {
		return f, err
	}
	f.writes = all
	if f.passes, err = w.passes(ctx); err != nil {
		return f, err
	}
	progress("calm after %v; %d writes", time.Since(began).Round(lookEvery), sum(f.writes))
	if o.verbose {
		f.list(all, f.passes)
	}
	if err := w.steady(ctx, o.length, &f); err != nil {
		return f, err
	}
	progress("in %v: %v written, processor time %v, hub %.0f MB, member %.0f MB", o.length, f.steadyWrites, f.steady, f.hubMB, f.memberMB)
	if o.lose {
		err = w.lose(ctx, &f)
	}
	return f, err
}

func (f *figures) list(all map[string]int, passes map[string]float64) {
	for _, what := range slices.Sorted(maps.Keys(all)) {
		progress("  %7.2f  %s", float64(all[what])/float64(f.services), what)
	}
	for _, what := range slices.Sorted(maps.Keys(passes)) {
		progress("  %7.2f passes of %s", passes[what]/float64(f.services), what)
	}
}

// deploy declares the services and waits until they are Ready.
func (b *benched) deploy(ctx context.Context, f *figures) error {
	before, err := b.everything()
	if err != nil {
		return err
	}
	progress("serving: all regions, %d services are declared now", b.services)
	began := time.Now()
	if err := b.declare(ctx); err != nil {
		return err
	}
	progress("declared after %v", time.Since(began).Round(lookEvery))
	if err := await(ctx, readyTimeout, lookEvery, b.ready); err != nil {
		return err
	}
	f.ready = time.Since(began)
	f.work, err = b.since(before)
	return err
}

// tellEvery is how often it is told what is awaited.
const tellEvery = 10 * time.Second

// await waits, and tells now and then what it is still waiting for.
func await(ctx context.Context, limit, every time.Duration, look func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errors.New("it takes too long"))
	defer cancel()
	began := time.Now()
	told := began
	return poll.Until(ctx, every, func(ctx context.Context) error {
		err := look(ctx)
		if err != nil && time.Since(told) > tellEvery {
			told = time.Now()
			progress("after %v: %v", time.Since(began).Round(time.Second), err)
		}
		return err
	})
}

// calm says what the operator has written lately.
func (b *benched) calm() error {
	all, err := b.written(time.Now().Add(-calm))
	if err == nil && sum(all) > 0 {
		err = fmt.Errorf("%v was written in %v", all, calm)
	}
	return err
}

// written counts what the operator has written to API servers since then, but for leases, by what: those of the regions
// together.
func (b *benched) written(since time.Time) (map[string]int, error) {
	all, err := b.counted(since)
	maps.DeleteFunc(all, func(what string, _ int) bool { return strings.Contains(what, " leases.") })
	return all, err
}

func (b *benched) counted(since time.Time) (map[string]int, error) {
	writes, err := b.Writes(since)
	out := map[string]int{}
	for cluster, list := range writes {
		where := "regions"
		if cluster == hub {
			where = hub
		}
		for _, w := range list {
			if w.User == apiserver.Admin || strings.HasPrefix(w.User, "system:apiserver") {
				continue
			}
			out[fmt.Sprintf("%s, %s: %s %s %d", where, w.User, w.Verb, w.Resource, w.Code)]++
		}
	}
	return out, err
}

const hub = "hub"

func sum(all map[string]int) (total int) {
	for _, n := range all {
		total += n
	}
	return total
}

// steady measures while nothing happens.
func (b *benched) steady(ctx context.Context, length time.Duration, f *figures) error {
	before, err := b.everything()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := poll.Pause(ctx, length); err != nil {
		return err
	}
	if f.steady, err = b.since(before); err != nil {
		return err
	}
	if f.steadyWrites, err = b.counted(began); err != nil {
		return err
	}
	if f.hubMB, err = report.ResidentMB(b.Manager().PIDs()...); err != nil {
		return err
	}
	for _, r := range b.Regions() {
		mb, err := report.ResidentMB(r.Manager().PIDs()...)
		if err != nil {
			return err
		}
		f.memberMB = max(f.memberMB, mb)
	}
	return nil
}

// lose kills a region that does not lead, and has it return.
func (b *benched) lose(ctx context.Context, f *figures) error {
	leader, err := b.leader(ctx)
	if err != nil {
		return err
	}
	regions := b.Regions()
	victim := regions[slices.IndexFunc(regions, func(r *world.Region) bool { return r.Name != leader })]
	began := time.Now()
	lost := b.running[victim.Name]
	go lost.end() // its gateways go with it; what they ask until then nobody answers
	if err := victim.Kill(); err != nil {
		return err
	}
	without := func(r routing.Region) bool { return r.State == ownership.RegionLost }
	if err := await(ctx, returnTimeout, lossEvery, func(context.Context) error { return b.acting(victim.Name, without) }); err != nil {
		return fmt.Errorf("the loss of %s is not routed: %w", victim.Name, err)
	}
	f.routed = time.Since(began)
	progress("%s is lost, which every gateway acts on after %v", victim.Name, f.routed.Round(lossEvery))
	if err := victim.Return(ctx); err != nil {
		return err
	}
	began = time.Now()
	if err := b.run(ctx, victim); err != nil {
		return err
	}
	with := func(r routing.Region) bool { return r.State == ownership.RegionServing }
	if err := await(ctx, returnTimeout, lookEvery, func(context.Context) error { return b.acting(victim.Name, with) }); err != nil {
		return fmt.Errorf("%s does not serve again: %w", victim.Name, err)
	}
	f.back = time.Since(began)
	progress("it serves again, which every gateway acts on after %v", f.back.Round(lookEvery))
	return nil
}

// acting says how many gateways of regions that are not lost themselves do not have the region so.
func (b *benched) acting(region string, is func(routing.Region) bool) error {
	for name, r := range b.running {
		if name == region {
			continue
		}
		if n := r.gateways.Acting(region, is); n < b.services {
			return fmt.Errorf("%d of %d gateways of %s", n, b.services, name)
		}
	}
	return nil
}

// Kinds of processes.
const (
	kindHub, kindMembers             = "hub", "members"
	kindAPI, kindEtcd                = "API servers", "API servers' storages"
	kindCoordination, kindSimulation = "coordination store", "simulation"
)

var kinds = []string{kindHub, kindMembers, kindAPI, kindEtcd, kindCoordination, kindSimulation}

// everything is the processor time of all processes of the world that run, by kind.
func (b *benched) everything() (map[string]time.Duration, error) {
	pids := map[string][]int{kindHub: b.Manager().PIDs(), kindSimulation: {os.Getpid()}}
	servers := [][]int{b.API().PIDs()}
	for _, r := range b.Regions() {
		pids[kindMembers] = append(pids[kindMembers], r.Manager().PIDs()...)
		pids[kindCoordination] = append(pids[kindCoordination], r.Coordination().PIDs()...)
		servers = append(servers, r.API().PIDs())
	}
	for _, s := range servers {
		pids[kindAPI], pids[kindEtcd] = append(pids[kindAPI], s[0]), append(pids[kindEtcd], s[1:]...)
	}
	return report.ProcessorTimes(pids)
}

// since is the processor time since then.
func (b *benched) since(before map[string]time.Duration) (map[string]time.Duration, error) {
	after, err := b.everything()
	for kind := range after {
		after[kind] -= before[kind]
	}
	return after, err
}

// passes are those of all controllers, by name: the members' together.
func (b *benched) passes(ctx context.Context) (map[string]float64, error) {
	out := map[string]float64{}
	urls := []string{b.Metrics()}
	for _, r := range b.Regions() {
		urls = append(urls, r.Metrics())
	}
	for _, url := range urls {
		if err := addPasses(ctx, url, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func addPasses(ctx context.Context, url string, out map[string]float64) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		rest, is := strings.CutPrefix(lines.Text(), "controller_runtime_reconcile_total{controller=\"")
		if !is {
			continue
		}
		controller, _, _ := strings.Cut(rest, "\"")
		value, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			return err
		}
		out[controller] += value
	}
	return lines.Err()
}
