package sim

import (
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/sim/world"
)

// stuckLink lets a link between two regions' stores carry nothing for long.
func (p *plan) stuckLink() *fault {
	r := p.target()
	l := r.links[p.s.IntN(len(r.links))]
	l.stuck++
	return &fault{
		name:    "data of " + r.name + " does not reach " + l.to.name,
		atLeast: p.s.timings.PlannedLimit + 2*p.s.timings.RegionLease, undo: func() { l.stuck-- },
	}
}

// stuckService lets a region apply nothing of one service.
func (p *plan) stuckService() *fault {
	r := p.target()
	r.data.stuck[stuckIndex]++
	return &fault{
		name:    "region " + r.name + " does not apply what it receives of " + stuckUID,
		atLeast: p.s.timings.LossLimit + 2*p.s.timings.RegionLease, undo: func() { r.data.stuck[stuckIndex]-- },
	}
}

// allStuck lets no region apply anything of one service for the time of so many leases.
func (p *plan) allStuck(leases int) {
	for _, r := range p.s.regions {
		r.data.stuck[stuckIndex]++
	}
	f := &fault{name: "no region applies what it receives of " + stuckUID, undo: func() {
		for _, r := range p.s.regions {
			r.data.stuck[stuckIndex]--
		}
	}}
	p.begin(f, time.Duration(leases)*p.s.timings.RegionLease)
}

// twoLosses cuts two regions off, the second when the first is about to be lost: with many regions that is
// a second loss during a first, which takes long because nobody catches up.
func (p *plan) twoLosses() *fault {
	first, second := p.target(), p.target()
	p.begin(p.isolate(first), 3*p.s.timings.RegionLease)
	p.allStuck(5)
	p.s.After(p.s.Between(0, p.s.timings.LossLimit), func() {
		if !p.s.calm && first != second {
			p.begin(p.isolate(second), 3*p.s.timings.RegionLease)
		}
	})
	return &fault{name: "two regions are lost", undo: func() {}}
}

// lossWhileStuck orders something that takes long, and cuts a region off as soon as owners change.
func (p *plan) lossWhileStuck() *fault {
	r := p.target()
	p.allStuck(5)
	p.moments[moment{closingCommitted, ""}] = func() { p.begin(p.isolate(r), 3*p.s.timings.RegionLease) }
	if p.s.Chance(0.5) {
		p.respec()
	} else {
		p.anyOrder()
	}
	return &fault{name: "region " + r.name + " will be lost when owners change", atLeast: 2 * p.s.timings.RegionLease, undo: func() {}}
}

// halfLost cuts a region off from everything but its users and the others' stores: it is lost, and what it
// accepts until its lease ends still reaches the others.
func (p *plan) halfLost() *fault {
	r := p.target()
	var agents []int
	for _, other := range p.s.regions {
		if other != r {
			agents = append(agents, other.agentNode)
		}
	}
	links := append(both([]int{r.agentNode}, p.storeNodes()), both([]int{r.edgeNode}, agents)...)
	p.s.net.Cut(links)
	return &fault{
		name: "only users and data reach " + r.name, atLeast: 2*p.s.timings.RegionLease + p.s.timings.LeaderSession,
		undo: func() { p.s.net.Mend(links) },
	}
}

// whenClosing does its worst a moment after a change of owners has begun: an agent restarts, or a region
// is lost, or one that is lost comes back.
func (p *plan) whenClosing() *fault {
	s := p.s
	r := p.target()
	long := s.timings.RegionLease + s.timings.LeaderSession
	do := func() {
		if s.Chance(0.25) {
			p.restartUnheard(r)
			return
		}
		s.After(s.Between(0, s.timings.BeatInterval), func() {
			if s.calm {
				return
			}
			switch s.IntN(4) {
			case 0:
				if len(r.agents) > 0 {
					r.agents[0].end("it is killed while owners change")
				}
			case 1:
				if !r.down {
					p.begin(p.kill(r), long+s.timings.DownAfter)
				}
			case 2:
				p.begin(p.isolate(r), p.lasts()+s.timings.DownAfter)
			default:
				for len(p.active) > 0 {
					p.finish(p.active[0])
				}
			}
		})
	}
	p.moments[moment{closingCommitted, ""}] = do
	return &fault{name: "something happens to region " + r.name + " when owners change next", atLeast: 3 * s.timings.RegionLease, undo: func() {}}
}

// restartUnheard ends a region's agent while its gateways are paused: the next agent does not know them,
// nor what leases they hold.
func (p *plan) restartUnheard(r *region) {
	var gateways []*world.Process
	for _, g := range r.gateways {
		gateways = append(gateways, g.p)
	}
	p.begin(p.pause("the gateways of "+r.name+" are paused", gateways, func() {}), p.s.Between(p.s.timings.BeatInterval, p.s.timings.RegionLease))
	if len(r.agents) > 0 {
		r.agents[0].end("it is killed while its gateways are paused")
	}
}

// leaderDiesBetween ends the leader after one of its writes, several times.
func (p *plan) leaderDiesBetween() *fault {
	times := 1 + p.s.IntN(4)
	m := moment{leaderHasWritten, ""}
	var again func()
	again = func() {
		p.killLeader()
		if times--; times > 0 {
			p.s.After(p.s.Between(0, p.s.timings.LeaderSession), func() { p.moments[m] = again })
		}
	}
	p.moments[m] = again
	return &fault{name: "leaders die after their next write", atLeast: 2 * p.s.timings.RegionLease, undo: func() {}}
}

// freezeBeforeAck stops a region's agent when it is about to acknowledge, and starts another one.
func (p *plan) freezeBeforeAck() *fault {
	r := p.target()
	p.moments[moment{aboutToAcknowledge, r.name}] = func() {
		if len(r.agents) == 0 || r.down {
			return
		}
		a := r.agents[0]
		p.begin(p.pause(a.p.Name+" is paused while it acknowledges", []*world.Process{a.p}, func() {}), p.lasts())
		if p.s.Chance(0.5) {
			p.s.startAgent(r)
		}
	}
	return &fault{name: "the agent of " + r.name + " will be paused when it acknowledges", atLeast: 3 * p.s.timings.RegionLease, undo: func() {}}
}

// gatewaysComeBack has the gateways of a region silent for longer than any lease that they were given, and
// speak again just when its agent, which is late to publish, is about to acknowledge that the region is drained.
func (p *plan) gatewaysComeBack() *fault {
	s, r := p.s, p.target()
	if len(r.agents) == 0 || len(r.gateways) == 0 || r.witness {
		return nil
	}
	var gateways []*world.Process
	for _, g := range r.gateways {
		gateways = append(gateways, g.p)
	}
	s.publishLate++
	silent := p.pause("the gateways of "+r.name+" say nothing", gateways, func() {})
	p.begin(silent, 5*s.timings.RegionLease)
	p.later(5, func() {
		p.moments[moment{aboutToAcknowledge, r.name}] = func() { p.finish(silent) }
		s.order(ownership.OrderDrain, r.name, "")
	})
	return &fault{
		name: "the gateways of " + r.name + " will be back when it acknowledges", atLeast: 6 * s.timings.RegionLease,
		undo: func() { s.publishLate-- },
	}
}

// loseForGood kills a region that never comes back, or cuts off one that lives on, and has a person declare it
// lost, early or late.
func (p *plan) loseForGood() *fault {
	r := p.target()
	for _, other := range p.s.regions {
		if other.gone {
			return nil // one is what any number of regions survives
		}
	}
	if r.witness || r.down {
		return nil
	}
	r.gone = true
	var f *fault
	if p.s.Chance(0.7) {
		f = p.kill(r)
	} else {
		p.s.net.Cut(both(r.nodes(), p.nodes(func(other *region) bool { return other != r })))
		f = &fault{name: "region " + r.name + " is cut off", undo: func() {}}
	}
	f.name += " for good"
	p.s.After(p.s.Between(p.s.timings.RegionLease, 4*p.s.timings.RegionLease), func() { p.s.order(ownership.OrderDeclareLost, r.name, "") })
	return f
}
