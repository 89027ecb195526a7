package storekeeper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	plan "multiactive.dev/operator/internal/plan/store"
	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// observe looks at the server and does what the plan says, one step after the other: what fails is told and
// tried again with the next look.
func (k *keeper) observe(ctx context.Context, server store.Server) {
	k.mu.Lock()
	k.asked = false
	k.mu.Unlock()
	_, t := k.using()
	if !k.read(ctx, server, t) {
		k.again(false)
		return
	}
	settled := k.settle(ctx, server, t)
	settled = k.findErrant(ctx, server, t) && settled
	k.mu.Lock()
	renewed := k.given != "" && k.given != t.Version
	todo := plan.Steps(t.Declared, plan.Seen{Observation: k.look.Observation, Paused: t.Paused, Held: k.look.Held, Renewed: renewed})
	k.mu.Unlock()
	well := true
	for _, step := range todo {
		k.log.Info("Carrying out a step.", "step", step.Kind, "from", step.From+step.Source.Region)
		if err := k.act(ctx, server, t, step); err != nil {
			k.log.Info("A step failed; it is tried again.", "step", step.Kind, "from", step.From+step.Source.Region, "error", err.Error())
			well = false
		}
	}
	if well {
		k.mu.Lock()
		k.given = t.Version
		k.mu.Unlock()
	}
	if len(todo) > 0 {
		well = k.read(ctx, server, t) && well
		kick(k.fenceNow) // a server that is to take writes may have waited for this
	}
	k.again(well && settled)
}

// again says when to look next.
func (k *keeper) again(well bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.news = true
	pause := lookWell
	if !well || k.ill() {
		pause = lookIll
	}
	k.looked = k.config.Clock.Now()
	k.nextLook = k.looked.Add(pause)
	if k.asked {
		k.nextLook = time.Time{}
	}
}

// ill reports whether something is wrong that may change soon.
func (k *keeper) ill() bool {
	if k.look.Problem != nil || !k.look.Observation.Prepared || k.config.Clock.Now().Before(k.unsettled) || slices.ContainsFunc(k.look.Observation.Findings, func(f storage.Finding) bool { return f.Blocks }) {
		return true
	}
	for _, source := range k.target.Declared.Want.Sources {
		l, there := k.look.Observation.Links[source.Region]
		if !k.target.Paused[source.Region] && (!there || l.Fault != nil || !l.Receiving || !l.Applying) {
			return true
		}
	}
	return false
}

// read observes the server.
func (k *keeper) read(ctx context.Context, server store.Server, t Target) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	o, err := server.Observe(ctx, t.Declared.Want)
	if err != nil {
		k.failed(err)
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.look.Known, k.look.Observed, k.look.Problem, k.look.Observation = true, true, nil, o
	for from, l := range o.Links {
		if l.Fault == nil && l.Receiving {
			delete(k.failures, from)
		}
	}
	return true
}

// act carries one step out and keeps its failure.
func (k *keeper) act(ctx context.Context, server store.Server, t Target, step plan.Step) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	want := t.Declared.Want
	var err error
	about := step.From
	switch step.Kind {
	case plan.StepMend:
		err = server.Mend(ctx, step.Findings)
	case plan.StepPrepare:
		err = server.Prepare(ctx, want)
	case plan.StepConnect:
		about = step.Source.Region
		source, loss := k.accepting(step.Source)
		if err = server.Connect(ctx, want, source); err == nil && loss != nil {
			k.haveLost(about, loss)
		}
	case plan.StepPause:
		err = server.Pause(ctx, step.From)
	case plan.StepDisconnect:
		err = server.Disconnect(ctx, want, step.From)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case about == "" && err != nil:
		k.look.Problem = problemOf(fmt.Errorf("%s: %w", step.Kind, err), t)
	case about != "" && err != nil:
		f := failure{text: err.Error()}
		if seed, is := errors.AsType[*store.BootstrapError](err); is {
			f.bootstrap = &seed.Bootstrap
		}
		k.failures[about] = f
	case about != "":
		delete(k.failures, about)
	}
	return err
}
