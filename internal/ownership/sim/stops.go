package sim

import (
	"time"

	"multiactive.dev/operator/internal/ownership/sim/world"
)

func (p *plan) killRegion() *fault { return p.killAll(p.target()) }

func (p *plan) killAll(r *region) *fault {
	if r.down {
		return nil
	}
	return p.kill(r)
}

func (p *plan) kill(r *region) *fault {
	r.down = true
	for len(r.agents) > 0 {
		r.agents[0].end("its region is killed")
	}
	for len(r.gateways) > 0 {
		r.gateways[0].end()
	}
	was := p.s.store.members[r.index].alive
	p.s.store.kill(r.index)
	return &fault{name: "region " + r.name + " is killed", undo: func() {
		if r.gone {
			return
		}
		r.down = false
		if was {
			p.s.store.start(r.index)
		}
		r.revive()
	}}
}

// freezeRegion stops all processes of a region; its clocks go on.
func (p *plan) freezeRegion() *fault { return p.freeze(p.target()) }

func (p *plan) freeze(r *region) *fault {
	var frozen []*world.Process
	for _, a := range r.agents {
		frozen = append(frozen, a.p)
	}
	for _, g := range r.gateways {
		frozen = append(frozen, g.p)
	}
	silent := p.between([]int{r.storeNode}, p.nodes(func(*region) bool { return true }))
	p.s.net.Cut(silent)
	r.frozen++
	return p.pause("region "+r.name+" is frozen", frozen, func() {
		r.frozen--
		p.s.net.Mend(silent)
	})
}

func (p *plan) pause(name string, frozen []*world.Process, also func()) *fault {
	for _, x := range frozen {
		x.Pause()
	}
	return &fault{name: name, undo: func() {
		also()
		for _, x := range frozen {
			x.Resume()
		}
	}}
}

func (p *plan) killAgent() *fault {
	r := p.target()
	if len(r.agents) == 0 {
		return nil
	}
	r.agents[0].end("it is killed")
	return &fault{name: "an agent of " + r.name + " is killed", undo: func() {}}
}

// deposeLeader kills the session of the leader: its agent lives, and another may lead.
func (p *plan) deposeLeader() *fault {
	for _, r := range p.s.regions {
		for _, a := range r.agents {
			if l := a.leader; l != nil {
				p.s.store.close(l.session)
				return &fault{name: a.p.Name + " is deposed", undo: func() {}}
			}
		}
	}
	return nil
}

func (p *plan) pauseAgent() *fault {
	r := p.target()
	if len(r.agents) == 0 {
		return nil
	}
	a := r.agents[0]
	return p.pause(a.p.Name+" is paused", []*world.Process{a.p}, func() {})
}

// secondAgent starts another agent in a region, as a rolling update does; the first may be paused and
// come back to find itself replaced.
func (p *plan) secondAgent() *fault {
	r := p.target()
	if r.down || len(r.agents) == 0 {
		return nil
	}
	var frozen []*world.Process
	if p.s.Chance(0.5) {
		frozen = append(frozen, r.agents[0].p)
	}
	p.s.startAgent(r)
	return p.pause("a second agent starts in "+r.name, frozen, func() {})
}

func (p *plan) killGateway() *fault {
	r := p.target()
	if len(r.gateways) == 0 {
		return nil
	}
	r.gateways[0].end()
	return &fault{name: "a gateway of " + r.name + " is killed", undo: func() {}}
}

func (p *plan) pauseGateway() *fault {
	r := p.target()
	if len(r.gateways) == 0 {
		return nil
	}
	return p.pause("a gateway of "+r.name+" is paused", []*world.Process{r.gateways[0].p}, func() {})
}

func (p *plan) killMember() *fault {
	i := p.target().index
	if !p.s.store.members[i].alive {
		return nil
	}
	p.s.store.kill(i)
	return &fault{name: "the store's member in " + p.s.regions[i].name + " is killed", undo: func() {
		if !p.s.regions[i].down {
			p.s.store.start(i)
		}
	}}
}

func (p *plan) compact() *fault {
	c := p.s.store
	c.compacted = max(c.compacted, c.content.Now().Revision-1)
	return &fault{name: "the store is compacted", undo: func() {}}
}

// restore replaces the store by a backup of a while ago.
func (p *plan) restore() *fault {
	s := p.s
	backup, wait := s.store.content.Backup(), s.Between(time.Second, 2*s.timings.RegionLease)
	identity, down := backup.Now().ClusterID+1, time.Duration(0)
	if s.o.Restore == OldIdentity || s.o.Restore == "" && s.Chance(0.5) {
		identity, down = backup.Now().ClusterID, 2*s.timings.RegionLease
	}
	s.After(wait, func() {
		if down > 0 {
			s.Tracef("fault: the store's members are down for %s", down)
			p.membersDown(down)
		}
	})
	s.After(wait+down, func() {
		s.restored = true
		s.store.restore(backup, identity)
		s.last = s.store.content.Now()
		s.Tracef("fault: the store is restored from a backup of %s ago, at revision %d", wait+down, s.last.Revision)
		if s.Chance(0.5) { // who starts now has what its predecessor kept to tell by
			s.After(s.Between(0, s.timings.RegionLease), func() { p.killAgent() })
		}
	})
	p.end = max(p.end, s.Now()+wait+down+2*s.timings.RegionLease)
	return &fault{name: "a backup is made", undo: func() {}}
}

// membersDown takes all members down for a time.
func (p *plan) membersDown(lasts time.Duration) {
	for i, m := range p.s.store.members {
		if m.alive {
			p.s.store.kill(i)
			p.s.After(lasts, func() {
				if !p.s.regions[i].down {
					p.s.store.start(i)
				}
			})
		}
	}
}

// freezeAtBeat stops a region between the commit of its beat and the answer.
func (p *plan) freezeAtBeat() *fault {
	r := p.target()
	lasts := p.s.timings.RegionLease + p.s.timings.LeaderSession
	p.moments[moment{beatCommitted, r.name}] = func() {
		p.begin(p.freeze(r), lasts)
	}
	return &fault{name: "region " + r.name + " will be frozen at its next beat", atLeast: lasts + p.s.timings.BeatInterval, undo: func() {}}
}

// loseLeader kills or cuts off the region of the leader.
func (p *plan) loseLeader() *fault {
	for _, r := range p.s.regions {
		for _, a := range r.agents {
			if a.leader == nil {
				continue
			}
			if p.s.lostAt = p.s.Now(); p.s.Chance(0.5) {
				return p.killAll(r)
			}
			return p.isolate(r)
		}
	}
	return nil
}

// killLeader kills the agent that leads; another one of its region starts at once.
func (p *plan) killLeader() *fault {
	for _, r := range p.s.regions {
		for _, a := range r.agents {
			if a.leader != nil {
				a.end("it is killed while it leads")
				return &fault{name: a.p.Name + " is killed, the leader", undo: func() {}}
			}
		}
	}
	return nil
}
