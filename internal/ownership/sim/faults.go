package sim

import (
	"strconv"
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/sim/store"
	"multiactive.dev/operator/internal/ownership/sim/world"
)

// kinds are all faults but the restore of a backup, which nothing recovers from by itself.
func kinds() []func(*plan) *fault {
	return []func(*plan) *fault{
		func(p *plan) *fault { return p.isolate(p.target()) },
		func(p *plan) *fault { return p.isolate(p.target()) },
		(*plan).isolateUntilClosing, (*plan).isolateUntilClosing, (*plan).isolateAfterBeat, (*plan).isolateAfterBeat, (*plan).isolateAfterBeat,
		(*plan).freezeAtBeat, (*plan).busyHub,
		(*plan).agentFromStore, (*plan).insideRegion, (*plan).edgeFromAgents, (*plan).anyLinks, (*plan).split,
		(*plan).slowLinks, (*plan).lossy, (*plan).killRegion, (*plan).freezeRegion, (*plan).killAgent,
		(*plan).pauseAgent, (*plan).secondAgent, (*plan).killGateway, (*plan).pauseGateway,
		(*plan).killMember, (*plan).cutMember, (*plan).compact,
	}
}

// harmlessKinds must cost no home write: the leader or a minority of the store is lost.
func harmlessKinds() []func(*plan) *fault {
	return []func(*plan) *fault{(*plan).killMember, (*plan).cutMember, (*plan).deposeLeader, (*plan).compact}
}

// target draws a region, the leader's more often than the others.
func (p *plan) target() *region {
	if p.s.Chance(0.4) {
		for _, r := range p.s.regions {
			for _, a := range r.agents {
				if a.leader != nil {
					return r
				}
			}
		}
	}
	return p.s.regions[p.s.IntN(len(p.s.regions))]
}

// between returns the links between two sets of nodes: in both directions or in one.
func (p *plan) between(a, b []int) []world.Link {
	direction := p.s.IntN(4)
	var links []world.Link
	for _, x := range a {
		for _, y := range b {
			if x == y {
				continue
			}
			if direction != 0 {
				links = append(links, world.Link{From: x, To: y})
			}
			if direction != 1 {
				links = append(links, world.Link{From: y, To: x})
			}
		}
	}
	return links
}

func (r *region) nodes() []int { return []int{r.agentNode, r.edgeNode, r.storeNode} }

func (p *plan) nodes(in func(*region) bool) []int {
	var nodes []int
	for _, r := range p.s.regions {
		if in(r) {
			nodes = append(nodes, r.nodes()...)
		}
	}
	return nodes
}

func (p *plan) storeNodes() []int {
	var nodes []int
	for _, m := range p.s.store.members {
		nodes = append(nodes, m.node)
	}
	return nodes
}

func (p *plan) cut(name string, links []world.Link) *fault {
	p.s.net.Cut(links)
	return &fault{name: name, undo: func() { p.s.net.Mend(links) }}
}

func (p *plan) isolate(r *region) *fault {
	return p.cut("region "+r.name+" is cut off", p.between(r.nodes(), p.nodes(func(other *region) bool { return other != r })))
}

// isolateUntilClosing cuts a region off until a leader is about to close its gate, whose words then
// take their time: the worst moment for the region to beat again.
func (p *plan) isolateUntilClosing() *fault {
	r := p.target()
	f := p.isolate(r)
	f.name += " until its gate is about to be closed"
	f.atLeast = 2*p.s.timings.RegionLease + p.s.timings.LeaderSession
	p.moments[moment{gateAboutToClose, r.name}] = func() {
		p.finish(f)
		var slow []world.Link
		for _, other := range p.s.regions {
			if other != r {
				for _, n := range p.storeNodes() {
					slow = append(slow, world.Link{From: other.agentNode, To: n})
				}
			}
		}
		p.s.net.Slow(slow, p.s.timings.BeatInterval)
		p.s.After(p.s.timings.BeatInterval, func() { p.s.net.Slow(slow, -p.s.timings.BeatInterval) })
	}
	return f
}

// isolateAfterBeat cuts a region off just after its agent has got a lease, and the hub is busy.
func (p *plan) isolateAfterBeat() *fault {
	r := p.target()
	lasts := p.s.timings.RegionLease + p.s.timings.LeaderSession
	p.moments[moment{leaseExtended, r.name}] = func() {
		if !p.s.calm {
			f := p.isolate(r)
			p.active = append(p.active, f)
			p.s.After(lasts, func() { p.finish(f) })
			p.s.hubWrites(p.s.Now() + lasts)
		}
	}
	return &fault{name: "region " + r.name + " will be cut off after its next beat", atLeast: lasts + p.s.timings.BeatInterval, undo: func() {}}
}

// freezeAtBeat stops a region between the commit of its beat and the answer.
func (p *plan) freezeAtBeat() *fault {
	r := p.target()
	lasts := p.s.timings.RegionLease + p.s.timings.LeaderSession
	p.moments[moment{beatCommitted, r.name}] = func() {
		if !p.s.calm {
			f := p.freeze(r)
			p.active = append(p.active, f)
			p.s.After(lasts, func() { p.finish(f) })
		}
	}
	return &fault{name: "region " + r.name + " will be frozen at its next beat", atLeast: lasts + p.s.timings.BeatInterval, undo: func() {}}
}

// busyHub makes the hub write often, so that there is news for the leader at any time.
func (p *plan) busyHub() *fault {
	p.s.hubWrites(p.s.Now() + p.s.timings.RegionLease)
	return &fault{name: "the hub is busy", undo: func() {}}
}

func (s *Sim) hubWrites(until time.Duration) {
	s.After(s.Between(time.Millisecond, 20*time.Millisecond), func() {
		if s.Now() > until {
			return
		}
		if s.store.leader != noLeader {
			s.incarnations++
			s.store.content.Do(store.PutServiceIntent(ownership.ServiceIntent{UID: "other", SpecHash: strconv.Itoa(s.incarnations)}))
			s.store.committed()
		}
		s.hubWrites(until)
	})
}

// agentFromStore cuts a region's agents off from some or all members of the store.
func (p *plan) agentFromStore() *fault {
	r := p.target()
	var some []int
	all := p.s.Chance(0.5)
	for _, n := range p.storeNodes() {
		if all || p.s.Chance(0.5) {
			some = append(some, n)
		}
	}
	return p.cut("the agents of "+r.name+" are cut off from members of the store", p.between([]int{r.agentNode}, some))
}

func (p *plan) insideRegion() *fault {
	r := p.target()
	return p.cut("agents and edge of "+r.name+" are cut off from each other", p.between([]int{r.agentNode}, []int{r.edgeNode}))
}

// edgeFromAgents makes a region unreachable for the others' probes while its agent beats on.
func (p *plan) edgeFromAgents() *fault {
	r := p.target()
	var others []int
	for _, other := range p.s.regions {
		if other != r {
			others = append(others, other.agentNode)
		}
	}
	return p.cut("the edge of "+r.name+" cannot be reached", p.between([]int{r.edgeNode}, others))
}

func (p *plan) anyLinks() *fault {
	var links []world.Link
	for from := range p.s.net.Size() {
		for to := range p.s.net.Size() {
			if from != to && p.s.Chance(0.33) {
				links = append(links, world.Link{From: from, To: to})
			}
		}
	}
	return p.cut("a third of all links is cut", links)
}

func (p *plan) split() *fault {
	side := map[*region]bool{}
	for _, r := range p.s.regions {
		side[r] = p.s.Chance(0.5)
	}
	return p.cut("the regions are split", p.between(p.nodes(func(r *region) bool { return side[r] }), p.nodes(func(r *region) bool { return !side[r] })))
}

// slowLinks makes a region's words take long in one direction or both.
func (p *plan) slowLinks() *fault {
	r := p.target()
	links := p.between(r.nodes(), p.nodes(func(*region) bool { return true }))
	by := p.s.Between(0, p.s.timings.RegionLease/5)
	p.s.net.Slow(links, by)
	return &fault{name: "links of region " + r.name + " are slow by " + by.String(), undo: func() { p.s.net.Slow(links, -by) }}
}

func (p *plan) lossy() *fault {
	p.s.net.Loss += 0.2
	return &fault{name: "a fifth of all messages is lost", undo: func() { p.s.net.Loss = max(p.s.net.Loss-0.2, 0) }}
}

func (p *plan) killRegion() *fault {
	r := p.target()
	if r.down {
		return nil
	}
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
	return p.pause("region "+r.name+" is frozen", frozen, func() { p.s.net.Mend(silent) })
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

func (p *plan) cutMember() *fault {
	r := p.target()
	return p.cut("the store's member in "+r.name+" is cut off",
		p.between([]int{r.storeNode}, p.nodes(func(*region) bool { return true })))
}

func (p *plan) compact() *fault {
	c := p.s.store
	c.compacted = max(c.compacted, c.content.Now().Revision-1)
	return &fault{name: "the store is compacted", undo: func() {}}
}

// restore replaces the store by a backup of a while ago, under another identity.
func (p *plan) restore() *fault {
	s := p.s
	backup, wait := s.store.content.Backup(), s.Between(time.Second, 2*s.timings.RegionLease)
	s.After(wait, func() {
		s.restored = true
		s.store.restore(backup, backup.Now().ClusterID+1)
		s.last = s.store.content.Now()
		s.Tracef("fault: the store is restored from a backup of %s ago", wait)
	})
	p.end = max(p.end, s.Now()+wait+s.timings.RegionLease)
	return &fault{name: "a backup is made", undo: func() {}}
}
