package sim

import (
	"slices"
	"time"
)

// right is what a gateway may accept for a cell.
type right int8

const (
	// none: nobody or another region owns it.
	none right = iota
	// takeover: the owner may lack what a lost region accepted, and only flows that may be taken over
	// are served.
	takeover
	// all home flows are served.
	all
)

// write is a home write that a gateway has accepted and the application works on.
type write struct {
	cell int
	// complete: it was accepted by an owner that has everything.
	complete bool
	// deadline is the true time at which the gateway gives up, and ends when the application is done.
	deadline, ends time.Duration
	// entry is its number in the region's stream, 0 before it is there.
	entry int64
}

// load sends home writes and other requests to the gateway, as users do: more of them if none may be
// refused, which may be for an instant only.
func (g *gateway) load() {
	pause := g.s.Between(100*time.Millisecond, 400*time.Millisecond)
	if g.s.o.Harmless {
		pause /= 4
	}
	g.p.After(pause, func() {
		g.anyRegion()
		if own := g.r.index; g.s.o.Harmless || g.s.Chance(0.5) {
			g.homeWrite(own + g.s.IntN(len(serviceUIDs()))*len(g.s.slots))
		} else {
			g.homeWrite(g.s.IntN(g.s.cells()))
		}
		g.load()
	})
}

// anyRegion repeats Router.decide for a flow that every region serves.
func (g *gateway) anyRegion() {
	served := g.has
	if g.s.mutant(AnyRegionWaits) {
		served = g.leased()
	}
	if g.has && !served {
		g.s.violate(AnyRegionServed, "%s refuses an any-region request", g.p.Name)
	}
}

// homeWrite repeats Router.decide for a write: half of the flows may be taken over.
func (g *gateway) homeWrite(cell int) {
	if !g.has {
		return
	}
	mayBeTakenOver := g.s.Chance(0.5)
	switch has := g.rights[cell]; {
	case has == none:
		g.refused(cell, "another region or none owns it")
	case !g.leased():
		g.refused(cell, "the region is fenced")
	case has == takeover && !mayBeTakenOver && !g.s.mutant(IncompleteServesAll):
		g.refused(cell, "its home is lost")
	default:
		g.accept(cell, has == all || !mayBeTakenOver)
	}
}

func (g *gateway) refused(cell int, why string) {
	g.s.refusals++
	home := cell%len(g.s.slots) == g.r.index
	if home && g.s.o.Harmless && g.leasedOnce && g.s.Now() > g.s.plan.warm {
		g.s.violate(HomeWritesGoOn, "%s refuses a write to its own cell %d: %s", g.p.Name, cell, why)
	}
}

// accept hands a write to the application, with a deadline within the lease (R11). Most are done at once.
func (g *gateway) accept(cell int, complete bool) {
	s := g.s
	s.accepted++
	s.acceptable(g, cell, complete)
	w := &write{cell: cell, complete: complete, deadline: g.p.Clock.TrueTime(g.leaseUntil)}
	takes := s.Between(time.Millisecond, 20*time.Millisecond)
	switch s.IntN(10) {
	case 0:
		takes = s.Between(0, w.deadline-s.Now())
	case 1, 2:
		takes = s.Between(0, 500*time.Millisecond)
	}
	w.ends = min(s.Now()+takes, w.deadline)
	g.writes = append(g.writes, w)
	g.r.underWay[cell] = max(g.r.underWay[cell], w.ends)
	s.After(s.Between(0, w.ends-s.Now()), func() {
		// A machine that does not run writes nothing; the fence table, which is not simulated, keeps a
		// late one from doing it afterwards.
		if !g.r.halted() {
			w.entry = g.r.written(s.serviceOf(cell))
		}
	})
	s.After(w.ends-s.Now(), func() { g.p.Receive(func() { g.ended(w) }) })
}

// ended is when the application has answered, and the user hears of it unless the deadline has passed.
func (g *gateway) ended(w *write) {
	if i := slices.Index(g.writes, w); i >= 0 {
		g.writes = slices.Delete(g.writes, i, i+1)
	}
	if w.entry > 0 && g.s.Now() <= w.deadline {
		g.s.acknowledged(g.r, w)
	}
	if again := g.settled; again != nil && g.busy() == 0 {
		g.settled = nil
		again()
	}
}

// busy is the number of writes under way that the gateway may not accept any more.
func (g *gateway) busy() int {
	n := 0
	for _, w := range g.writes {
		if g.rights[w.cell] == none {
			n++
		}
	}
	return n
}
