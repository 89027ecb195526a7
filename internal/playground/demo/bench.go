package demo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"multiactive.dev/operator/api/v1alpha1"
)

// Part is something that the benchmark does.
type Part string

// The parts.
const (
	// PartKill kills every process of a region.
	PartKill Part = "kill"
	// PartCut drops all packets from and to a region.
	PartCut Part = "cut"
	// PartAlone loses the leader's process, the hub, and a member of the coordination store, each alone.
	PartAlone Part = "alone"
	// PartDrain empties a region and fills it again, as people order it.
	PartDrain Part = "drain"
	// PartMany kills a region of a world with many services, and counts what that writes.
	PartMany Part = "many"
)

// Parts are all of them, in the order in which one world goes through them.
func Parts() []Part { return []Part{PartAlone, PartDrain, PartKill, PartCut, PartMany} }

// lossesPerWorld bounds the losses of one world: a region that returns again and again is kept waiting for
// longer each time (R14), which is not what is measured here.
const lossesPerWorld = 4

// BenchOptions say what is measured.
type BenchOptions struct {
	// Rounds of each part; those of PartKill and PartCut are shared between the leader's region and others.
	Rounds int
	// Services of PartMany, which has one round.
	Services int
	// Only these parts; empty: all.
	Only []Part
}

// bench is one run over several worlds.
type bench struct {
	options Options
	parts   []Part
	rounds  int
	many    int
	results *results
}

// Bench measures what is promised for the loss of regions and of single parts, and for moves that people
// order. broken says that a goal was missed.
func Bench(ctx context.Context, o Options, b BenchOptions) (broken bool, err error) {
	if b.Rounds < 1 {
		return false, fmt.Errorf("--rounds %d: at least one is needed", b.Rounds)
	}
	if b.Services < 1 {
		return false, fmt.Errorf("--services %d: at least one is needed", b.Services)
	}
	parts, err := chosen(b.Only)
	if err != nil {
		return false, err
	}
	o.LoadUsers, o.audit, o.prepare = true, true, takesOver
	run := &bench{options: o, parts: parts, rounds: b.Rounds, many: b.Services, results: newResults()}
	worlds := run.plan()
	for i, w := range worlds {
		if err := run.world(ctx, i, len(worlds), w); err != nil {
			return false, err
		}
	}
	return run.summary(), tidy(o)
}

// chosen returns the parts in their order.
func chosen(only []Part) ([]Part, error) {
	for _, p := range only {
		if !slices.Contains(Parts(), p) {
			return nil, fmt.Errorf("--only %s: there is no such part; there are %s", p, PartNames())
		}
	}
	if len(only) == 0 {
		return Parts(), nil
	}
	return slices.DeleteFunc(Parts(), func(p Part) bool { return !slices.Contains(only, p) }), nil
}

// PartNames lists the parts for people.
func PartNames() string {
	names := make([]string, 0, len(Parts()))
	for _, p := range Parts() {
		names = append(names, string(p))
	}
	return strings.Join(names, ", ")
}

// worldPlan is what happens in one world.
type worldPlan struct {
	alone, drain, many bool
	losses             []loss
}

// loss is one region to lose: the leader's or another.
type loss struct {
	part   Part
	leader bool
}

// plan spreads the rounds over worlds.
func (b *bench) plan() []worldPlan {
	var losses []loss
	for i := range b.rounds {
		for _, part := range []Part{PartKill, PartCut} {
			if slices.Contains(b.parts, part) {
				losses = append(losses, loss{part: part, leader: i%2 == 0})
			}
		}
	}
	var worlds []worldPlan
	for chunk := range slices.Chunk(losses, lossesPerWorld) {
		worlds = append(worlds, worldPlan{losses: chunk})
	}
	alone, drain := slices.Contains(b.parts, PartAlone), slices.Contains(b.parts, PartDrain)
	if alone || drain {
		if len(worlds) == 0 {
			worlds = []worldPlan{{}}
		}
		worlds[0].alone, worlds[0].drain = alone, drain
	}
	if slices.Contains(b.parts, PartMany) {
		worlds = append(worlds, worldPlan{many: true})
	}
	return worlds
}

// takesOver lets others register the users of a lost region, so that there is a home write whose takeover
// can be timed. The example itself rejects them until the region is back.
func takesOver(s *v1alpha1.MultiActiveService) {
	for i := range s.Spec.Flows {
		if f := &s.Spec.Flows[i]; f.Name == "register" && f.OnHomeLoss != nil {
			f.OnHomeLoss.Action = v1alpha1.HomeLossTakeover
		}
	}
}

// world goes through one world.
func (b *bench) world(ctx context.Context, i, of int, plan worldPlan) (err error) {
	o := b.options
	o.Dir = filepath.Join(o.Dir, fmt.Sprintf("world-%d", i+1))
	d, err := start(ctx, o)
	if d == nil {
		return errors.Join(err, tidy(o))
	}
	defer func() { err = errors.Join(err, d.end()) }()
	if err == nil {
		err = d.populate(ctx)
	}
	if err == nil {
		err = d.settle(ctx)
	}
	if err == nil {
		d.console.Section(fmt.Sprintf("World %d of %d", i+1, of))
		err = b.goThrough(ctx, d, plan)
	}
	if err != nil {
		d.explain(ctx)
		return err
	}
	b.results.memory(d)
	return nil
}

// goThrough goes through the parts of one world.
func (b *bench) goThrough(ctx context.Context, d *Demo, plan worldPlan) error {
	if plan.alone {
		for range b.rounds {
			if err := d.alone(ctx, b.results); err != nil {
				return err
			}
		}
	}
	if plan.drain {
		for i := range b.rounds {
			if err := d.move(ctx, i, b.results); err != nil {
				return err
			}
		}
	}
	if plan.many {
		return d.many(ctx, b.many, b.results)
	}
	for i, l := range plan.losses {
		if err := d.lose(ctx, l, i == len(plan.losses)-1, b.results); err != nil {
			return err
		}
	}
	return nil
}

// roundTimeout bounds one round of anything.
const roundTimeout = 3 * time.Minute
