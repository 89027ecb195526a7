package sim

import (
	"maps"
	"slices"
	"time"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/sim/store"
)

// plan is what goes wrong in a run, and when.
type plan struct {
	s *Sim
	// warm is when the world has settled after its start, end when the last fault is over.
	warm, end time.Duration
	starts    []planned
	active    []*fault
	// moments has what is to happen at the worst of times.
	moments map[moment]func()
}

type planned struct {
	at, lasts time.Duration
	begin     func(*plan) *fault
}

// moment is a time at which a fault does its worst.
type moment struct {
	of     instant
	region string
}

type instant int

const (
	// gateAboutToClose: a leader has decided to close the region's gate, and not yet written so.
	gateAboutToClose instant = iota
	// beatCommitted: a beat of the region has taken effect, and its agent does not know yet.
	beatCommitted
	// leaseExtended: the region's agent has its lease.
	leaseExtended
	// closingCommitted: a change of owners has begun, or another one in its place. Of no region.
	closingCommitted
	// leaderHasWritten: a write of a leader has taken effect, and it does not know yet. Of no region.
	leaderHasWritten
	// aboutToAcknowledge: the region's agent is about to say what it has done of a change of owners.
	aboutToAcknowledge
)

// fault is something that is wrong now.
type fault struct {
	name string
	// atLeast is how long the fault lasts if its plan says less.
	atLeast time.Duration
	undo    func()
	over    bool
}

// newPlan draws the faults of a run: harmless ones, one region that comes and goes, or anything.
func (s *Sim) newPlan() *plan {
	p := &plan{s: s, warm: 3*s.timings.LeaderSession + 5*s.timings.BeatInterval, moments: map[moment]func(){}}
	switch class := s.IntN(20); {
	case s.o.Harmless:
		p.harmlessFaults()
	case s.o.Flaps > 0:
		p.flapping(s.o.Flaps)
	case s.o.LeaderLost:
		p.add(p.warm, 2*s.timings.RegionLease+s.timings.LeaderSession, (*plan).loseLeader)
	case class == 0:
		p.flapping(3 + s.IntN(3))
	case class == 1:
		p.oneLoss()
	default:
		p.anything()
	}
	return p
}

func (p *plan) harmlessFaults() {
	at := p.warm
	for range 1 + p.s.IntN(3) {
		lasts := p.s.Between(p.s.timings.BeatInterval, 2*p.s.timings.RegionLease)
		p.add(at, lasts, pick(p.s, harmlessKinds()))
		at += lasts + 2*p.s.timings.RegionLease
	}
}

func (p *plan) flapping(times int) {
	r := p.s.regions[p.s.IntN(len(p.s.regions))]
	at := p.warm / 2
	for range times {
		lasts := p.lasts() + p.s.timings.RegionLease
		p.add(at, lasts, func(p *plan) *fault { return p.isolate(r) })
		at += lasts + p.s.Between(p.s.timings.DownAfter, 3*p.s.timings.UpAfter)
	}
}

// oneLoss kills one region, for good as far as the plan goes, and leaves everything else alone: whatever
// may be taken over has an owner within OwnerBound.
func (p *plan) oneLoss() {
	p.s.quiet = true
	bound := OwnerBound(p.s.timings)
	p.add(p.warm+2*p.s.timings.RegionLease, bound+p.s.timings.RegionLease, func(p *plan) *fault {
		f := p.killRegion()
		if f != nil {
			p.s.After(bound, p.s.ownersInTime)
		}
		return f
	})
}

func (p *plan) anything() {
	s := p.s
	if s.Chance(0.3) {
		s.net.Loss = []float64{0.001, 0.01, 0.05}[s.IntN(3)]
	}
	if s.Chance(0.3) {
		s.net.Tail = []float64{0.01, 0.1}[s.IntN(2)]
	}
	window := p.warm + 3*s.timings.RegionLease
	for range 1 + min(s.IntN(7), s.IntN(7)) {
		p.add(s.Between(s.timings.BeatInterval, window), p.lasts(), pick(s, kinds()))
	}
	if s.o.Restore != "" || s.Chance(0.04) {
		p.add(s.Between(window/2, window), s.timings.RegionLease, (*plan).restore)
	}
}

// lasts draws how long a fault lasts: shorter than a lease, about as long as a loss takes, or longer.
func (p *plan) lasts() time.Duration {
	t := p.s.timings
	switch p.s.IntN(3) {
	case 0:
		return p.s.Between(t.BeatInterval, t.RegionLease)
	case 1:
		return health.Expiry(t) + p.s.Between(-t.BeatInterval, 2*t.BeatInterval)
	default:
		return p.s.Between(t.RegionLease, 3*t.RegionLease)
	}
}

func (p *plan) add(at, lasts time.Duration, begin func(*plan) *fault) {
	p.starts = append(p.starts, planned{at, lasts, begin})
	p.end = max(p.end, at+lasts)
}

// start plans the faults of the run.
func (p *plan) start() {
	for _, x := range p.starts {
		p.s.After(x.at, func() {
			if p.s.calm {
				return
			}
			f := x.begin(p)
			if f == nil {
				return
			}
			p.begin(f, max(x.lasts, f.atLeast))
		})
	}
}

// begin notes a fault that is there now, and ends it when its time is over.
func (p *plan) begin(f *fault, lasts time.Duration) {
	p.s.Tracef("fault: %s for %s", f.name, lasts)
	p.active = append(p.active, f)
	p.s.After(lasts, func() { p.finish(f) })
	p.end = max(p.end, p.s.Now()+lasts)
}

func (p *plan) finish(f *fault) {
	if f.over {
		return
	}
	f.over = true
	p.active = slices.DeleteFunc(p.active, func(other *fault) bool { return other == f })
	p.s.Tracef("fault over: %s", f.name)
	f.undo()
}

// endFaults ends all that is wrong.
func (s *Sim) endFaults() {
	s.Tracef("all faults are over")
	s.calm = true
	s.net.Loss, s.net.Tail = 0, 0
	for len(s.plan.active) > 0 {
		s.plan.finish(s.plan.active[0])
	}
	for i, m := range s.store.members {
		if !m.alive && !s.regions[i].down {
			s.store.start(i)
		}
	}
	c := s.store.content.Now()
	for _, name := range slices.Sorted(maps.Keys(c.OrderIntents)) { // people think better of it
		if c.OrderIntents[name].Type == ownership.OrderDrain && !done(c.Orders[name].State) {
			s.hubDoes(store.DeleteOrderIntent(name))
		}
	}
}

// reached lets happen what waits for a moment.
func (s *Sim) reached(of instant, region string) {
	m := moment{of, region}
	if do := s.plan.moments[m]; do != nil && !s.calm {
		delete(s.plan.moments, m)
		do()
	}
}

func pick(s *Sim, from []func(*plan) *fault) func(*plan) *fault { return from[s.IntN(len(from))] }
