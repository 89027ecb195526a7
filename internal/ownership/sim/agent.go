package sim

import (
	"fmt"
	"time"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/sim/store"
	"multiactive.dev/operator/internal/ownership/sim/world"
)

// agent repeats internal/agent.Agent: what it reads, waits for and writes around the decisions.
type agent struct {
	s  *Sim
	r  *region
	p  *world.Process
	cl *client
	// skew of the machine's wall clock, which nothing safe depends on.
	skew time.Duration
	// before is the position that the region's agents had kept when this one started.
	before position

	// registration is set once the agent is registered, superseded once another process is after it.
	// registeredAt is on the agent's clock.
	registration *store.Registration
	registeredAt time.Duration
	superseded   bool

	conf       ownership.Configuration
	have       bool
	leaseUntil time.Duration
	refused    bool
	// committed and previous are the revisions of the last two beats.
	committed, previous int64
	n                   int64
	beating, beatAgain  bool

	watching *watch
	attempt  int
	shown    bool
	lag      int64

	observer  *health.Observer
	memory    *memory
	asking    map[string]bool
	reporting bool

	published     ownership.Configuration
	havePublished bool
	publishing    bool
	polls         []*poll

	book   *book
	said   ownership.Ack
	acking bool

	// candidate stands for election, leader leads: nil when it does not.
	candidate, leader *leader
}

// startAgent starts a process of the region's agent.
func (s *Sim) startAgent(r *region) {
	s.processes++
	p := s.Start(fmt.Sprintf("agent-%s%d", r.name, s.processes), r.agentNode, s.NewClock(ownership.MaxDrift))
	a := &agent{
		s: s, r: r, p: p, before: r.kept, asking: map[string]bool{}, observer: health.NewObserver(s.timings),
		memory: s.newMemory(), book: newBook(), skew: s.Between(-time.Second/2, time.Second/2),
	}
	a.cl = newClient(s.store, p, r.index)
	a.cl.trusting = s.mutant(RestoredStoreAccepted)
	if !s.mutant(PositionForgotten) {
		a.cl.known, a.cl.restored = r.kept, r.restored
	}
	if s.mutant(LaggingFirstRead) {
		a.lag = int64(s.IntN(20))
	}
	r.agents = append(r.agents, a)
	s.Tracef("%s starts", p.Name)
	a.startWatch()
	a.register()
	a.probe()
	a.acknowledgeOften()
	a.campaign()
}

// end ends the process, as Run returning does. A region without an agent gets another one.
func (a *agent) end(why string) {
	if !a.p.Alive() {
		return
	}
	a.s.Tracef("%s ends: %s", a.p.Name, why)
	a.p.Kill()
	a.leaseUntil = 0
	if a.watching != nil {
		a.watching.close()
	}
	for _, q := range a.polls {
		q.fail()
	}
	a.polls = nil
	a.r.forget(a)
}

// lease repeats Agent.Lease.
func (a *agent) lease() time.Duration { return max(a.leaseUntil-a.p.Clock.Now(), 0) }

// register repeats Agent.register: it tries until it succeeds, every time as another incarnation.
func (a *agent) register() {
	again := func() { a.p.After(a.s.timings.BeatInterval, a.register) }
	a.cl.read(0, func(_ int, c ownership.Configuration, err error) {
		if err != nil {
			a.storeAnswered(err)
			again()
			return
		}
		a.s.incarnations++
		r := &store.Registration{
			Region: a.r.name, Incarnation: fmt.Sprintf("%s-%d", a.p.Name, a.s.incarnations), LastBeat: c.Beats[a.r.name].N,
		}
		a.cl.write(store.Register(r.Region, r.Incarnation), requestTimeout, func(int64) { a.s.registered(a) }, func(revision int64, err error) {
			a.storeAnswered(err)
			if err != nil {
				again()
				return
			}
			r.Revision = revision
			first := a.registration == nil
			a.registration, a.registeredAt = r, a.p.Clock.Now()
			if a.s.Tracef("%s is registered at revision %d", a.p.Name, revision); first {
				a.n = r.LastBeat
				a.beat()
			}
		})
	})
}

// beat repeats Agent.beat: a ticker, of which one tick waits for a beat that takes long.
func (a *agent) beat() {
	a.p.After(a.s.timings.BeatInterval, a.beat)
	if a.beating {
		a.beatAgain = true
		return
	}
	a.beatOnce()
}

// beatOnce repeats Agent.beatOnce (R3, R5).
func (a *agent) beatOnce() {
	if !a.have || a.refused {
		return
	}
	a.n++
	gate := a.conf.Gates[a.r.name]
	if !gate.Open {
		want := ownership.Ask{Generation: gate.Generation, Incarnation: a.registration.Incarnation}
		if have, asked := a.conf.Asks[a.r.name]; asked && have == want || a.s.mutant(NeverAsks) {
			return
		}
		a.beating = true
		a.write(a.registration.Ask(a.conf), requestTimeout, func(_ int64, err error) { a.beaten(err) })
		return
	}
	a.beating = true
	t0 := a.p.Clock.Now()
	timeout := min(a.s.timings.RegionLease/8, requestTimeout)
	if a.s.mutant(PatientBeats) {
		timeout = requestTimeout
	}
	a.write(a.registration.Beat(a.conf, a.n), timeout, func(revision int64, err error) {
		from := t0
		if a.s.mutant(LeaseFromSuccess) {
			from = a.p.Clock.Now()
		}
		switch {
		case err == nil:
			if a.conf.Gates[a.r.name] == gate && !a.refused {
				a.extend(from + a.s.timings.RegionLease)
			}
			a.noteCommitted(revision)
		case failedGuard(err, store.GuardGate) && a.s.mutant(LeaseAfterGateClosed):
			a.extend(from + a.s.timings.RegionLease)
		}
		a.beaten(err)
	})
}

func (a *agent) beaten(err error) {
	a.beating = false
	a.storeAnswered(err)
	a.afterWrite(err)
	if again := a.beatAgain; again && a.p.Alive() {
		a.beatAgain = false
		a.beatOnce()
	}
}

// extend repeats Agent.extendLease.
func (a *agent) extend(until time.Duration) {
	short := a.lease() < a.s.timings.RegionLease/2
	a.leaseUntil = max(a.leaseUntil, until)
	a.s.leaseExtended(a)
	a.s.reached(leaseExtended, a.r.name)
	if short && !a.s.mutant(RenewalWaits) {
		a.answerAll()
	}
}

// write sends a guarded write of the agent.
func (a *agent) write(r store.Request, timeout time.Duration, done func(int64, error)) {
	if a.s.mutant(AgentWithoutIncarnation) {
		r = r.Without(store.GuardAgent)
	}
	a.cl.write(r, timeout, func(int64) {
		a.s.agentWrote(a, r.What)
		if a.beating {
			a.s.reached(beatCommitted, a.r.name)
		}
	}, done)
}

// afterWrite repeats Agent.afterWrite (R1).
func (a *agent) afterWrite(err error) {
	switch {
	case failedGuard(err, store.GuardAgent):
		if a.s.mutant(TwoAgentsBeat) {
			a.register()
			return
		}
		a.end("another agent of this region has registered")
	case isRefusal(err):
		a.readAgain()
	}
}
