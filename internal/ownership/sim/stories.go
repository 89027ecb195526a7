package sim

import (
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/sim/world"
)

// Faults of several steps, which chance would hardly ever put in this order.

// later does something after a while, unless the faults are over by then.
func (p *plan) later(beats int, do func()) {
	beat := p.s.timings.BeatInterval
	p.s.After(time.Duration(beats)*2*beat+p.s.Between(-beat, beat), func() {
		if !p.s.calm {
			do()
		}
	})
}

// owing has a region drained whose data one other does not get, which is not there to be asked for it. That
// one is let in again, and then either of the others is lost: what was not lost with it is owed.
func (p *plan) owing() *fault {
	s := p.s
	active := len(s.slots)
	i := s.IntN(active)
	late, drained, last := s.regions[i], s.regions[(i+1)%active], s.regions[(i+2)%active]
	for _, l := range drained.links {
		if l.to == late {
			l.stuck++
			p.begin(&fault{name: "data of " + drained.name + " does not reach " + late.name, undo: func() { l.stuck-- }}, 60*s.timings.BeatInterval)
		}
	}
	s.order(ownership.OrderDrain, late.name, "")
	p.later(3, func() { s.order(ownership.OrderDrain, drained.name, "") })
	p.later(8, func() {
		s.order(ownership.OrderUndrain, late.name, "")
		lost := last
		if s.Chance(0.5) {
			lost = drained
		}
		p.later(2, func() { p.begin(p.isolate(lost), 20*s.timings.BeatInterval) })
		p.later(12, func() { s.order(ownership.OrderHandback, late.name, "") })
	})
	return &fault{name: "region " + drained.name + " will owe " + late.name + " data", atLeast: 45 * s.timings.BeatInterval, undo: func() {}}
}

// excludeAll takes one region after the other out of a service, until nobody may own it, and one in again.
func (p *plan) excludeAll() *fault {
	s := p.s
	uid := serviceUIDs()[s.IntN(len(serviceUIDs()))]
	active := len(s.slots)
	first := s.IntN(active)
	for n := range active {
		p.later(1+3*n, func() { s.order(ownership.OrderDrain, s.regions[(first+n)%active].name, uid) })
	}
	p.later(3*active, func() { s.order(ownership.OrderUndrain, s.regions[s.IntN(active)].name, uid) })
	return &fault{name: "all regions will be excluded from service " + uid, atLeast: time.Duration(8*active) * s.timings.BeatInterval, undo: func() {}}
}

// silentSurvivor has a region lost while the agent of another says nothing and nobody catches up, so that
// the loss is opened without that one; and then the region returns.
func (p *plan) silentSurvivor() *fault {
	s := p.s
	lost, silent := p.target(), p.target()
	if lost == silent || len(silent.agents) == 0 {
		return nil
	}
	lease := s.timings.RegionLease
	p.allStuck(8)
	agent := []*world.Process{silent.agents[0].p}
	p.begin(p.pause("the agent of "+silent.name+" is paused", agent, func() {}), 3*lease)
	p.begin(p.isolate(lost), 3*lease)
	return &fault{name: "region " + lost.name + " is lost while " + silent.name + " is silent", atLeast: 6 * lease, undo: func() {}}
}
