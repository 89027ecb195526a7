package sim

import (
	"fmt"
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/sim/world"
)

// gateway repeats internal/gateway: the long polls of its agent, the lease that comes with the
// answers, and the decision about a home write.
type gateway struct {
	s *Sim
	r *region
	p *world.Process

	has bool
	// conf, owned and leaseUntil change together, as gateway.snapshot does.
	conf       ownership.Configuration
	owned      []bool // by slot of Sim.slots
	leaseUntil time.Duration
	backoff    time.Duration
	// leasedOnce: it has held a lease, so that a refused write is a loss.
	leasedOnce bool
}

// answer repeats routing.Answer.
type answer struct {
	conf            ownership.Configuration
	remaining, held time.Duration
	ended           bool
}

// poll is one question to the agent.
type poll struct {
	has     bool
	version int64
	// arrived is when the agent began to serve it, on the agent's clock.
	arrived time.Duration
	reply   func(answer)
	fail    func()
}

func (s *Sim) startGateway(r *region) {
	s.processes++
	g := &gateway{s: s, r: r, backoff: minBackoff}
	g.p = s.Start(fmt.Sprintf("gateway-%s%d", r.name, s.processes), r.edgeNode, s.NewClock(ownership.MaxDrift))
	r.gateways = append(r.gateways, g)
	g.poll()
	g.load()
}

func (g *gateway) end() {
	g.p.Kill()
	g.r.forgetGateway(g)
}

func (g *gateway) leased() bool { return g.has && g.p.Clock.Now() < g.leaseUntil }

// poll repeats agentClient.run and poll: one question at a time, and a pause after a failed one.
func (g *gateway) poll() {
	asked := g.p.Clock.Now()
	done := false
	finish := func(pause time.Duration) {
		done = true
		g.p.After(pause, g.poll)
	}
	failed := func() {
		if !done {
			pause := g.backoff
			g.backoff = min(2*g.backoff, maxBackoff)
			finish(pause)
		}
	}
	g.p.After(maxWait+agentTimeout, failed)
	if len(g.r.agents) == 0 {
		failed()
		return
	}
	a := g.r.agents[g.s.IntN(len(g.r.agents))]
	home := func(do func()) {
		if d, ok := g.s.net.Delay(a.p.Node, g.p.Node); ok {
			g.s.After(d, func() { g.p.Receive(do) })
		}
	}
	q := &poll{has: g.has, version: g.conf.View.Epoch, fail: func() { home(failed) }}
	q.reply = func(x answer) {
		home(func() {
			if done {
				return
			}
			if !g.take(x, asked) {
				failed()
				return
			}
			g.backoff = minBackoff
			finish(minPollTime - (g.p.Clock.Now() - asked))
		})
	}
	if d, ok := g.s.net.Delay(g.p.Node, a.p.Node); ok {
		g.s.After(d, func() {
			if !a.p.Alive() {
				q.fail()
				return
			}
			a.p.Receive(func() { a.serve(q) })
		})
	}
}

// leaseAfter repeats leaseUntil and routing.Answer.LeaseFrom (R4, R11).
func (g *gateway) leaseAfter(x answer, asked time.Duration) time.Duration {
	from := asked + time.Duration(float64(x.held)/(1+ownership.MaxDrift))
	switch {
	case g.s.mutant(LeaseFromAnswer):
		from = g.p.Clock.Now()
	case g.s.mutant(HeldNotCounted):
		from = asked
	}
	until := from + x.remaining
	switch {
	case x.ended:
		return asked
	case g.s.mutant(LeaseTakenBack):
		return until
	default:
		return max(until, g.leaseUntil)
	}
}

// take repeats agentClient.take (R2, R11): an answer counts whole or not at all.
func (g *gateway) take(x answer, asked time.Duration) bool {
	c := x.conf
	if g.has && c.Revision < g.conf.Revision && !g.s.mutant(OlderSnapshotTaken) {
		return false
	}
	g.s.taken(g, c)
	if !g.has || c.View.Epoch != g.conf.View.Epoch || c.ClusterID != g.conf.ClusterID {
		g.s.Tracef("%s acts on epoch %d, revision %d", g.p.Name, c.View.Epoch, c.Revision)
	}
	if !g.has || c.Decided != g.conf.Decided || c.ClusterID != g.conf.ClusterID {
		g.owned = g.s.ownedBy(g.r.name, c)
	}
	g.conf, g.leaseUntil, g.has = c, g.leaseAfter(x, asked), true
	if g.leased() {
		g.leasedOnce = true
	}
	g.s.mayAccept(g)
	return true
}

// load sends home writes and other requests to the gateway, as users do.
func (g *gateway) load() {
	g.p.After(g.s.Between(100*time.Millisecond, 400*time.Millisecond), func() {
		g.anyRegion()
		if !g.r.witness {
			g.homeWrite(g.r.index)
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

// homeWrite repeats Router.decide for a write to a slot.
func (g *gateway) homeWrite(slot int) {
	if !g.has {
		return
	}
	switch {
	case !g.owned[slot]:
		g.refused(slot, "another region or none owns it")
	case !g.leased():
		g.refused(slot, "the region is fenced")
	default:
		g.s.accepted++
	}
}

func (g *gateway) refused(slot int, why string) {
	g.s.refusals++
	if g.s.o.Harmless && g.leasedOnce && g.s.Now() > g.s.plan.warm {
		g.s.violate(HomeWritesGoOn, "%s refuses a write to its own slot %d: %s", g.p.Name, slot, why)
	}
}

// ownedBy says which slots the region owns in a configuration. Today a slot's home owns it or nobody
// does. With takeover the first region that may owns it, as it will (R6 to R8 are not simulated): a
// region that was lost gets nothing back, because giving it back takes a planned change (R12).
func (s *Sim) ownedBy(name string, c ownership.Configuration) []bool {
	views := c.RegionViews(c.Services[serviceUID], s.weights)
	owned := make([]bool, len(s.slots))
	if s.o.Takeover {
		for i, v := range views {
			if v.State == ownership.RegionServing && c.View.Regions[v.Name].LostAt != nil {
				views[i].State = ownership.RegionReturning
			}
		}
	}
	for i, slot := range s.slots {
		if s.o.Takeover {
			owned[i] = ownership.Owner(slot, views) == name
		} else {
			owned[i] = ownership.HomeOwner(slot, views) == name
		}
	}
	return owned
}
