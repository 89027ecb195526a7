package sim

import (
	"fmt"
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/sim/world"
)

// gateway repeats internal/gateway: the long polls of its agent, and the lease that comes with
// the answers. The decisions about home writes are in writes.go.
type gateway struct {
	s *Sim
	r *region
	p *world.Process

	has bool
	// conf, rights and leaseUntil change together, as gateway.snapshot does.
	conf       ownership.Configuration
	rights     []right // by cell
	leaseUntil time.Duration
	// writes are under way. settled, if set, ends a question early once none is that may not be accepted
	// any more.
	writes  []*write
	settled func()
	failed  bool
	backoff time.Duration
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
	from    *gateway
	has     bool
	version int64
	// busy is the number of writes under way that the gateway may not accept any more.
	busy int
	wait time.Duration
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
	// What it has accepted, up to this instant, may be under way until its lease ends.
	if until := g.p.Clock.TrueTime(g.leaseUntil); g.leased() {
		for cell, has := range g.rights {
			if has != none {
				g.r.underWay[cell] = max(g.r.underWay[cell], until)
			}
		}
	}
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
			g.failed = true
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
	q := &poll{from: g, has: g.has, version: g.conf.View.Epoch, busy: g.busy(), wait: maxWait, fail: func() { home(failed) }}
	if g.failed {
		q.wait = 0
	}
	if q.busy > 0 {
		g.settled = func() { // repeats agentClient.untilSettled
			if !done {
				finish(minPollTime - (g.p.Clock.Now() - asked))
			}
		}
	}
	q.reply = func(x answer) {
		home(func() {
			if done {
				return
			}
			if !g.take(x, asked) {
				failed()
				return
			}
			g.backoff, g.failed = minBackoff, false
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
		g.rights = g.rightsOf(c)
	}
	g.conf, g.leaseUntil, g.has = c, g.leaseAfter(x, asked), true
	if g.leased() {
		g.leasedOnce = true
	}
	g.s.mayAccept(g)
	return true
}

// rightsOf says what the gateway may accept while it holds a lease.
func (g *gateway) rightsOf(c ownership.Configuration) []right {
	rights := make([]right, g.s.cells())
	for cell, owned := range g.s.owners(c) {
		switch {
		case owned.Region != g.r.name:
		case owned.Complete:
			rights[cell] = all
		default:
			rights[cell] = takeover
		}
	}
	return rights
}
