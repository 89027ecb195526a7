package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"multiactive.dev/operator/hack/internal/report"
	"multiactive.dev/operator/internal/playground/world"
	"multiactive.dev/operator/internal/testkit/poll"
)

const (
	startTimeout = 20 * time.Minute
	// settleTime is how long everything is left alone before steady state is measured: longer than the time after
	// which topics are looked at again.
	settleTime = 45 * time.Second
	lookEvery  = 2 * time.Second // to look at all links is work for the API servers
)

// steady is what the processes of the three regions, and the hub, took while nothing happened.
type steady struct {
	// member is that of the region that took most; mirrors that of all its mirrors.
	member, mirrors, hub time.Duration
	memberMB, mirrorsMB  float64
}

// figures are what was measured.
type figures struct {
	services              int
	ready, linked, copied time.Duration
	// work is the processor time of all that took, until every copy was there, and kinds that of each kind of process.
	work     time.Duration
	kinds    map[string]time.Duration
	one, all steady
}

func progress(format string, args ...any) { _, _ = fmt.Fprintf(os.Stderr, format+"\n", args...) }

func measure(ctx context.Context, o *options, w *benched, p *page) error {
	services := w.services(o)
	p.figures.services = len(services)
	for _, s := range services {
		if err := w.Hub.Create(ctx, s); err != nil {
			return err
		}
	}
	if err := await(ctx, func(ctx context.Context) error { return w.acted(ctx, len(services)) }); err != nil {
		return err
	}
	// One topic has mirrors and canaries, which do not depend on how many there are.
	if err := w.declare(ctx, o, services, 0, 1); err != nil {
		return err
	}
	if err := await(ctx, func(ctx context.Context) error { return w.copied(ctx, 1) }); err != nil {
		return err
	}
	var err error
	if p.figures.one, err = w.steady(ctx, o.length); err != nil {
		return err
	}
	progress("with one topic: %+v", p.figures.one)
	begin := time.Now()
	before, err := w.everything()
	if err != nil {
		return err
	}
	if err := w.declare(ctx, o, services, 1, o.topics); err != nil {
		return err
	}
	for _, what := range []struct {
		name string
		look func(context.Context, int) error
		took *time.Duration
	}{{"topics", w.ready, &p.figures.ready}, {"links", w.linked, &p.figures.linked}, {"copies", w.copied, &p.figures.copied}} {
		if err := await(ctx, func(ctx context.Context) error { return what.look(ctx, o.topics) }); err != nil {
			return err
		}
		*what.took = time.Since(begin)
		after, err := w.everything()
		if err != nil {
			return err
		}
		p.figures.work, p.figures.kinds = 0, map[string]time.Duration{}
		for kind, took := range after {
			p.figures.kinds[kind] = took - before[kind]
			p.figures.work += took - before[kind]
		}
		progress("%s are there after %s, which took %v", what.name, what.took.Round(100*time.Millisecond), p.figures.kinds)
	}
	if p.figures.all, err = w.steady(ctx, o.length); err != nil {
		return err
	}
	progress("with all topics: %+v", p.figures.all)
	return nil
}

func await(ctx context.Context, look func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("it takes too long"))
	defer cancel()
	return poll.Until(ctx, lookEvery, look)
}

// steady waits until everything has settled, and measures.
func (b *benched) steady(ctx context.Context, length time.Duration) (s steady, err error) {
	if err := poll.Pause(ctx, settleTime); err != nil {
		return s, err
	}
	before, err := b.times()
	if err != nil {
		return s, err
	}
	if err := poll.Pause(ctx, length); err != nil {
		return s, err
	}
	after, err := b.times()
	if err != nil {
		return s, err
	}
	s.hub = after.hub - before.hub
	for _, r := range b.Regions() {
		if took := after.members[r.Name] - before.members[r.Name]; took > s.member {
			s.member = took
		}
		if took := after.mirrors[r.Name] - before.mirrors[r.Name]; took > s.mirrors {
			s.mirrors = took
		}
		memory, err := report.ResidentMB(r.Manager().PIDs()...)
		if err != nil {
			return s, err
		}
		s.memberMB = max(s.memberMB, memory)
		if memory, err = report.ResidentMB(r.Mirrors().PIDs()...); err != nil {
			return s, err
		}
		s.mirrorsMB = max(s.mirrorsMB, memory)
	}
	return s, nil
}

// times are processor times since the beginning, by region.
type times struct {
	hub              time.Duration
	members, mirrors map[string]time.Duration
}

func (b *benched) times() (t times, err error) {
	t.members, t.mirrors = map[string]time.Duration{}, map[string]time.Duration{}
	if t.hub, err = report.ProcessorTime(b.Manager().PIDs()...); err != nil {
		return t, err
	}
	for _, r := range b.Regions() {
		if t.members[r.Name], err = report.ProcessorTime(r.Manager().PIDs()...); err != nil {
			return t, err
		}
		if t.mirrors[r.Name], err = report.ProcessorTime(r.Mirrors().PIDs()...); err != nil {
			return t, err
		}
	}
	return t, nil
}

// Kinds of processes.
const (
	kindHub, kindMembers, kindMirrors    = "the hub", "the members", "the mirrors"
	kindAPI, kindCoordination, kindKafka = "API servers and their storages", "the coordination store", "the Kafkas"
)

// everything is the processor time of all processes of the world that run, but this one, by kind.
func (b *benched) everything() (map[string]time.Duration, error) {
	pids := map[string][]int{kindHub: b.Manager().PIDs()}
	for _, r := range b.Regions() {
		for kind, part := range map[string]world.Part{
			kindMembers: r.Manager(), kindMirrors: r.Mirrors(), kindAPI: r.API(), kindCoordination: r.Coordination(), kindKafka: r.Broker(),
		} {
			pids[kind] = append(pids[kind], part.PIDs()...)
		}
	}
	return report.ProcessorTimes(pids)
}
