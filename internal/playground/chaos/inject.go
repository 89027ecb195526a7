package chaos

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"multiactive.dev/operator/internal/playground/chaos/history"
	"multiactive.dev/operator/internal/playground/world"
)

const (
	hub      = "hub"
	gateways = "gateways"
	// restartEvery is how long what is restarted again and again may live.
	restartEvery = 3 * time.Second
	// reviveLimit bounds how long what was killed may take to start again; a member needs a majority.
	reviveLimit = 2 * time.Minute
)

// injector makes faults happen, and undoes them.
type injector struct {
	s *storm

	mu sync.Mutex
	// down are the regions of which everything was killed: nothing in them is started one by one.
	down   map[string]bool
	stalls []history.Stall
}

// undo ends a fault.
type undo func(context.Context) error

func nothing(context.Context) error { return nil }

// hit makes a fault happen. The region that it names is where it happened.
func (i *injector) hit(ctx context.Context, f *Fault) (undo, error) {
	switch f.Kind { //nolint:exhaustive // the rest is below
	case KillLeader, FreezeLeader, KillLeaderRegion, StepLeader:
		f.Region, _, _ = strings.Cut(i.s.watch.now().Leader, "/")
		if i.s.world.Region(f.Region) == nil {
			return nothing, nil // nobody leads just now
		}
	}
	switch f.Kind {
	case KillHub, KillLeader, KillMember, KillManager, KillGateway, KillService, KillBroker, KillAPI:
		return i.kill(f)
	case RestartManager, RestartMember:
		return i.restart(ctx, f)
	case FreezeHub, FreezeLeader, FreezeMember, FreezeManager, FreezeGateway, FreezeService, FreezeBroker, FreezeMirrors, FreezeRegion:
		return i.freeze(f)
	case KillRegion, KillLeaderRegion:
		return i.killRegion(f.Region)
	case CutOneWay, CutBothWays, CutOut, CutIn, CutOff, CutOffHub:
		return i.cut(f)
	case StepManager, StepHub, StepLeader, StepGateway:
		return i.stepClock(f)
	case Drain, DrainService:
		return i.drain(ctx, f)
	}
	return nil, fmt.Errorf("nobody knows how to %s", f.Kind)
}

// part is what a fault of one process hits.
func (i *injector) part(f *Fault) world.Part {
	r := i.s.world.Region(f.Region)
	switch f.Kind { //nolint:exhaustive // the others hit no single part
	case KillHub, FreezeHub:
		return i.s.world.Manager()
	case KillMember, FreezeMember, RestartMember:
		return r.Coordination()
	case KillGateway, FreezeGateway:
		return r.Deployment(serviceName+"-gateway", exampleName+"-gateway")
	case KillService, FreezeService:
		return r.Deployment(serviceName, exampleName)
	case KillBroker, FreezeBroker:
		return r.Broker()
	case FreezeMirrors:
		return r.Mirrors()
	case KillAPI:
		return r.API()
	case FreezeRegion:
		return r.All()
	}
	return r.Manager()
}

func (i *injector) kill(f *Fault) (undo, error) {
	part := i.part(f)
	return i.restore(f.Region, part), part.Kill()
}

func (i *injector) restart(ctx context.Context, f *Fault) (undo, error) {
	part, ended := i.part(f), make(chan struct{})
	restore := i.restore(f.Region, part)
	ctx, cancel := context.WithCancel(ctx)
	var failed error
	go func() {
		defer close(ended)
		ticker := time.NewTicker(restartEvery)
		defer ticker.Stop()
		for {
			failed = errors.Join(failed, part.Kill())
			if again := restore(ctx); again != nil && ctx.Err() == nil {
				failed = errors.Join(failed, again)
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}()
	return func(ctx context.Context) error {
		cancel()
		<-ended
		return errors.Join(failed, restore(ctx))
	}, nil
}

func (i *injector) freeze(f *Fault) (undo, error) {
	part, from := i.part(f), history.Now()
	restore := i.restore(f.Region, part)
	return func(ctx context.Context) error {
		if f.Kind == FreezeService || f.Kind == FreezeRegion {
			i.mu.Lock()
			i.stalls = append(i.stalls, history.Stall{Region: f.Region, From: from, Until: history.Now()})
			i.mu.Unlock()
		}
		return restore(ctx)
	}, part.Freeze()
}

// restore has a part run again, unless all of its region is down: then that is not for one part.
func (i *injector) restore(region string, part world.Part) undo {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, reviveLimit)
		defer cancel()
		i.mu.Lock()
		down := i.down[region]
		i.mu.Unlock()
		if down {
			return nil
		}
		return part.Restore(ctx)
	}
}

func (i *injector) killRegion(name string) (undo, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.down[name] {
		return nothing, nil
	}
	i.down[name] = true
	region := i.s.world.Region(name)
	return func(ctx context.Context) error {
		// It is down until it is back as a whole: half a region cannot be killed.
		err := region.Return(ctx)
		i.mu.Lock()
		defer i.mu.Unlock()
		delete(i.down, name)
		return err
	}, region.Kill()
}

func (i *injector) cut(f *Fault) (undo, error) {
	var ways [][2]string
	others := slices.DeleteFunc(append(slices.Clone(Regions), hub), func(name string) bool { return name == f.Region })
	for _, other := range others {
		out, in := [2]string{f.Region, other}, [2]string{other, f.Region}
		switch f.Kind { //nolint:exhaustive // only cuts come here
		case CutOneWay:
			if other == f.Other {
				ways = append(ways, out)
			}
		case CutBothWays:
			if other == f.Other {
				ways = append(ways, out, in)
			}
		case CutOut:
			ways = append(ways, out)
		case CutIn:
			ways = append(ways, in)
		case CutOff:
			ways = append(ways, out, in)
		case CutOffHub:
			if other != hub {
				ways = append(ways, [2]string{hub, other}, [2]string{other, hub})
			}
		}
	}
	var failed error
	for _, way := range ways {
		failed = errors.Join(failed, i.s.network.Cut(way[0], way[1]))
	}
	return func(context.Context) error {
		var failed error
		for _, way := range ways {
			failed = errors.Join(failed, i.s.network.Heal(way[0], way[1]))
		}
		return failed
	}, failed
}

func (i *injector) stepClock(f *Fault) (undo, error) {
	domain, program, seconds := f.Region, "manager", int64(step/time.Second)
	switch f.Kind { //nolint:exhaustive // the others are of a region's manager
	case StepHub:
		domain = hub
	case StepGateway:
		program = gateways
	}
	if f.Back {
		seconds = -seconds
	}
	file := i.s.clock(domain, program)
	return func(context.Context) error { return setClock(file, 0) }, setClock(file, seconds)
}

// clock is the file of a program's wall clock (hack/clockstep). A region's gateways share one.
func (s *storm) clock(domain, program string) string {
	if strings.HasSuffix(program, "-gateway") {
		program = gateways
	}
	return filepath.Join(s.dir, "clocks", domain+"-"+program)
}

// setClock writes a difference in seconds. The file is overwritten in place: programs have it mapped.
func setClock(file string, seconds int64) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("setting a clock: %w", err)
	}
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(seconds)), 0)
	return errors.Join(err, f.Close())
}
