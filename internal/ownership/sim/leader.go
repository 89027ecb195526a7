package sim

import (
	"fmt"
	"maps"
	"time"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
	"multiactive.dev/operator/internal/ownership/sim/store"
)

// campaign repeats Agent.campaign and coordination.Store.Stand: a session, a candidate's key, and waiting
// until the agent's own watch shows no older one.
func (a *agent) campaign() {
	again := func() { a.p.After(a.s.timings.BeatInterval, a.campaign) }
	if a.registration == nil || a.refused {
		again()
		return
	}
	a.s.terms++
	ttl := (a.s.timings.LeaderSession + time.Second - 1).Truncate(time.Second) // whole seconds, rounded up
	x := &session{ttl: ttl, term: store.Term{Key: fmt.Sprintf("leader/%d", a.s.terms)}}
	c := a.s.store
	a.cl.call(requestTimeout, func(int) func() { // grant
		c.open(x)
		return func() { a.stand(x, again) }
	}, again)
}

func (a *agent) stand(x *session, again func()) {
	l := &leader{a: a, session: x, again: again}
	l.keepAlive()
	r := store.Stand(x.term.Key, a.registration.Incarnation)
	c, before := a.s.store, a.cl.known
	a.cl.call(requestTimeout, func(int) func() {
		if !c.has(x) {
			return func() { l.resign("its session is not known") }
		}
		answer := c.content.Do(r)
		x.term.Created = answer.Revision
		c.committed()
		return func() {
			if err := a.cl.accept(before, position{answer.ClusterID, answer.Revision}); err != nil {
				l.resign("its candidature: " + err.Error())
				return
			}
			a.candidate = l
			l.elected()
		}
	}, func() { l.resign("no answer to its candidature") })
}

// leader repeats the leader of internal/agent, and the coordination.Term that it holds.
type leader struct {
	a       *agent
	session *session
	term    store.Term
	again   func()
	leading bool
	over    bool
	memory  *change.Memory
	written int64
	busy    bool
	news    bool
}

// elected repeats Agent.elected.
func (l *leader) elected() {
	if !l.over && l.a.have && l.session.term.Leads(l.a.conf) {
		l.a.candidate = nil
		l.lead()
	}
}

// keepAlive keeps the session, until the store says that it is over, or nothing for twice as long as it lives.
func (l *leader) keepAlive() {
	a, x := l.a, l.session
	heard := a.p.Clock.Now()
	var send func()
	send = func() {
		if l.over {
			return
		}
		if a.p.Clock.Now()-heard > 2*x.ttl {
			l.resign("its session is not kept")
			return
		}
		a.cl.call(x.ttl/3, func(int) func() {
			alive := a.s.store.has(x)
			if alive {
				x.expires = a.s.Now() + x.ttl
			}
			return func() {
				if heard = a.p.Clock.Now(); !alive {
					l.resign("its session has expired")
				}
			}
		}, func() {})
		a.p.After(x.ttl/3, send)
	}
	a.p.After(x.ttl/3, send)
}

// resign repeats Term.Resign and what campaign does after it.
func (l *leader) resign(why string) {
	if l.over {
		return
	}
	l.over = true
	if l.leading {
		l.a.s.Tracef("%s leads no more: %s", l.a.p.Name, why)
	}
	if l.a.leader == l {
		l.a.leader = nil
	}
	if l.a.candidate == l {
		l.a.candidate = nil
	}
	c, x := l.a.s.store, l.session
	l.a.cl.call(requestTimeout, func(int) func() {
		c.close(x)
		return func() {}
	}, func() {})
	l.again()
}

// lead repeats Agent.lead.
func (l *leader) lead() {
	if l.over {
		return
	}
	a := l.a
	a.s.Tracef("%s leads", a.p.Name)
	a.leader, l.leading, l.term = l, true, l.session.term
	l.memory = change.NewMemory()
	if a.s.mutant(InheritedStillness) && a.have {
		a.inherit()
	}
	l.tick()
	l.pass()
}

func (l *leader) tick() {
	l.a.p.After(l.a.s.timings.BeatInterval/2, func() {
		if !l.over {
			l.pass()
			l.tick()
		}
	})
}

// pass repeats leader.pass: one decision, carried out write by write.
func (l *leader) pass() {
	if l.busy {
		l.news = true
		return
	}
	a := l.a
	if a.refused {
		l.resign("the store is refused")
		return
	}
	c := a.conf
	if l.over || !a.have || c.Revision < l.written || !a.upToDate() {
		return
	}
	now, at := a.p.Clock.Now(), a.wall()
	watch := a.look()
	watch.Routed(a.book.epoch)
	d := health.Decide(now, c, watch)
	if steps := l.steps(now, at, c, d, watch); len(steps) > 0 {
		l.busy = true
		l.carryOut(steps)
	}
}

// wall returns the machine's wall clock.
func (a *agent) wall() time.Time {
	if a.s.wildWalls {
		return time.Unix(0, 0).Add(a.p.Clock.Now())
	}
	return time.Unix(0, 0).Add(a.s.Now() + a.skew)
}

func (l *leader) carryOut(steps []store.Request) {
	if len(steps) == 0 {
		l.free()
		return
	}
	r := steps[0]
	a := l.a
	if a.s.mutant(LeaderWithoutGuard) {
		r = r.Without(store.GuardLeader)
	}
	if a.s.mutant(ViewWithoutGuard) {
		r = r.Without(store.GuardView)
	}
	if a.s.mutant(CloseWithoutBeat) {
		r = r.Without(store.GuardBeat)
	}
	a.cl.write(r, requestTimeout, func(int64) { a.s.leaderWrote(l, r) }, func(revision int64, err error) {
		switch {
		case l.over:
		case failedGuard(err, store.GuardLeader):
			l.resign("a write was refused: it is deposed")
		case err != nil:
			a.s.Tracef("%s: writing %s: %v", a.p.Name, r.What, err)
			l.free()
		default:
			l.written = max(l.written, revision)
			l.carryOut(steps[1:])
		}
	})
}

func (l *leader) free() {
	l.busy = false
	if l.news {
		l.news = false
		l.pass()
	}
}

// steps repeats leader.steps, without what is only tidied up.
func (l *leader) steps(
	now time.Duration, at time.Time, c ownership.Configuration, d health.Decision, w *health.Watch,
) []store.Request {
	var steps []store.Request
	for _, i := range d.Intents {
		switch i.Kind { //nolint:exhaustive // the others are for package change, or incidents
		case health.CloseGate:
			l.a.s.reached(gateAboutToClose, i.Region)
			steps = append(steps, l.term.CloseGate(c, i.Region))
		case health.OpenGate:
			steps = append(steps, l.term.OpenGate(c, i.Region))
		}
	}
	in := change.Input{Now: now, At: at, Conf: l.a.s.ledBy(c), Timings: l.a.s.timings, Health: d, Silent: w.Silent(now), Memory: l.memory}
	if txn, ok := l.decide(in); ok {
		steps = append(steps, l.commit(c, txn))
	}
	for _, i := range health.Incidents(now, at, c, w, d.Intents) {
		steps = append(steps, l.term.PutIncident(c, i))
	}
	for _, uid := range serviceUIDs() { // accept.go
		_, known := c.Services[uid]
		if i, proposed := c.ServiceIntents[uid]; proposed && !known && c.View.Phase == ownership.PhaseOpen {
			steps = append(steps, l.term.PutServiceRecord(c, accepted(i)))
		}
	}
	for _, o := range change.Orders(in) {
		steps = append(steps, l.term.PutOrder(c, o))
	}
	for _, name := range change.FinishedOrders(c) {
		steps = append(steps, l.term.DeleteOrder(c, name))
	}
	if !maps.Equal(c.Held, d.Held) {
		steps = append(steps, l.term.PutHeld(d.Held))
	}
	return steps
}
