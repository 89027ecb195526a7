package sim

import (
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
		(*plan).anyOrder, (*plan).anyOrder, (*plan).anyOrder, (*plan).anyOrder, (*plan).respec, (*plan).respec, (*plan).drainThenLose, (*plan).drainThenLose,
		(*plan).stuckLink, (*plan).stuckLink, (*plan).stuckService, (*plan).stuckService, (*plan).halfLost, (*plan).halfLost,
		(*plan).whenClosing, (*plan).whenClosing, (*plan).whenClosing, (*plan).leaderDiesBetween, (*plan).leaderDiesBetween,
		(*plan).freezeBeforeAck, (*plan).gatewaysComeBack, (*plan).gatewaysComeBack, (*plan).loseForGood, (*plan).twoLosses, (*plan).twoLosses, (*plan).lossWhileStuck, (*plan).lossWhileStuck,
		(*plan).owing, (*plan).owing, (*plan).excludeAll, (*plan).silentSurvivor,
	}
}

// harmlessKinds must cost no home write: the leader or a minority of the store is lost.
func harmlessKinds() []func(*plan) *fault {
	return []func(*plan) *fault{(*plan).killMember, (*plan).cutMember, (*plan).killLeader, (*plan).deposeLeader, (*plan).compact}
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

// both returns the links between two sets of nodes in both directions.
func both(a, b []int) []world.Link {
	var links []world.Link
	for _, x := range a {
		for _, y := range b {
			links = append(links, world.Link{From: x, To: y}, world.Link{From: y, To: x})
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
		p.begin(p.isolate(r), lasts)
		p.s.hubWrites(p.s.Now() + lasts)
	}
	return &fault{name: "region " + r.name + " will be cut off after its next beat", atLeast: lasts + p.s.timings.BeatInterval, undo: func() {}}
}

// busyHub makes the hub write often, so that there is news for the leader at any time.
func (p *plan) busyHub() *fault {
	p.s.hubWrites(p.s.Now() + p.s.timings.RegionLease)
	return &fault{name: "the hub is busy", undo: func() {}}
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

func (p *plan) cutMember() *fault {
	r := p.target()
	return p.cut("the store's member in "+r.name+" is cut off",
		p.between([]int{r.storeNode}, p.nodes(func(*region) bool { return true })))
}
