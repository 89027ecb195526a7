package search

import (
	"fmt"
	"maps"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

// action names what happens in a step.
type action uint8

const (
	actFence action = iota
	actCaughtUp
	actStuck
	actApplied
	actClose
	actOrder
	actOrderEnds
	actRespec
)

// visit is told of every state that may follow; why is made only when somebody wants to know.
type visit func(next state, why func() string)

// steps calls do with every state that may follow s.
func (m *model) steps(s state, do visit) {
	for r := range names {
		m.agentSteps(s, r, do)
		m.gatewaySteps(s, r, do)
		m.dataSteps(s, r, do)
		m.leaderSteps(s, r, do)
		m.faults(s, r, do)
	}
	m.people(s, do)
}

// stores makes the store hold another content. Agents follow at once that would lag too far behind.
func (m *model) stores(s *state, conf int32) {
	s.conf = conf
	b := m.contents[conf].base
	for r := range names {
		if m.bases[s.agent[r]].epoch+m.bounds.lag < m.bases[b].epoch {
			m.follow(s, r)
		}
	}
}

// follow lets an agent see what the store holds.
func (m *model) follow(s *state, r int) {
	s.agent[r] = m.contents[s.conf].base
	if !m.sampleEarly {
		s.early[r] = 0
	}
}

func (m *model) gateOpen(s *state, r int) bool {
	have, is := m.bases[s.agent[r]].conf.Gates[names[r]], m.contents[s.conf].conf.Gates[names[r]]
	return is.Open && have == is
}

func (m *model) agentSteps(s state, r int, do visit) {
	if s.agent[r] != m.contents[s.conf].base {
		next := s
		m.follow(&next, r)
		do(next, func() string { return "agent of " + names[r] + " sees what the store holds" })
	}
	if !m.gateOpen(&s, r) {
		return
	}
	if m.routingLags { // it acts on what the store holds, and its gateways on what it had
		had := s.agent[r]
		m.follow(&s, r)
		do = routedBy(r, had, do)
	}
	b := m.bases[s.agent[r]]
	ack := m.contents[s.conf].conf.Acks[names[r]]
	if int64(b.epoch) != ack.Epoch {
		ack.Epoch, ack.Fenced, ack.Vector, ack.CaughtUp, ack.Stuck = int64(b.epoch), false, nil, false, nil
	}
	if m.sampleEarly && s.early[r] == 0 && m.appliedReceived(&s, r, [3]bool{true, true, true}) {
		next := s
		next.early[r] = 1
		do(next, func() string { return "agent of " + names[r] + " has applied all that it has received so far" })
	}
	if b.closing {
		m.fenceStep(s, r, ack, do)
		m.caughtUpSteps(s, r, ack, do)
	}
	m.appliedStep(s, r, ack, do)
}

func routedBy(r int, had int32, do visit) visit {
	return func(next state, why func() string) {
		next.agent[r] = had
		do(next, why)
	}
}

// acks lets an agent write an acknowledgement.
func (m *model) acks(s state, w write, ack ownership.Ack, do visit, what string) {
	w.to, w.epoch = s.conf, uint8(ack.Epoch)
	n := m.written(w, func(c *ownership.Configuration) { c.Acks = put(c.Acks, names[w.region], ack) })
	if n == s.conf {
		return
	}
	m.stores(&s, n)
	do(s, func() string {
		return fmt.Sprintf("agent of %s acknowledges epoch %d: %s", names[w.region], ack.Epoch, what)
	})
}

// fenceStep lets an agent say that its region is fenced, once nothing accepts what it loses (R8).
func (m *model) fenceStep(s state, r int, ack ownership.Ack, do visit) {
	if !m.bases[s.agent[r]].fence[r] || ack.Fenced {
		return
	}
	vector := m.vector(&s, r)
	if m.vectorEarly {
		if s.early[r] == 0 {
			next := s
			next.early[r] = s.count(r) + 1
			do(next, func() string { return "agent of " + names[r] + " takes its vector before writes have ended" })
		} else {
			vector[r] = s.early[r] - 1
		}
	}
	waits := s.accepts(r) && s.epoch(r) < m.bases[s.agent[r]].epoch
	if m.ackAfterRestart {
		waits = waits && !s.isFresh(r)
	} else {
		waits = waits || s.isFresh(r)
	}
	if waits {
		return
	}
	ack.Fenced, ack.Vector = true, vectorOf(vector)
	m.acks(s, write{kind: actFence, region: uint8(r), vector: vector}, ack, do, fmt.Sprint("fenced, having ", ack.Vector))
}

// vector is all that a region has: received counts.
func (m *model) vector(s *state, r int) [3]uint8 {
	var v [3]uint8
	for o := range names {
		if o == r {
			v[o] = s.count(r)
		} else {
			v[o] = s.pair(r, o).received
		}
	}
	return v
}

// caughtUpSteps let an agent say that its region has caught up, or that it cannot.
func (m *model) caughtUpSteps(s state, r int, ack ownership.Ack, do visit) {
	if !m.bases[s.agent[r]].caught[r] || (ack.CaughtUp && len(ack.Stuck) == 0) {
		return
	}
	t := m.target(s.agent[r], s.conf, r)
	if !t.ready {
		return
	}
	covered := s.early[r] == 1 && m.sampleEarly || m.appliedReceived(&s, r, t.lost)
	for o := range names {
		covered = covered && s.has(r, o) >= t.vector[o]
	}
	if covered {
		caught := ack
		caught.CaughtUp, caught.Stuck = true, nil
		m.acks(s, write{kind: actCaughtUp, region: uint8(r)}, caught, do, "caught up")
	} else if s.used.stuck < m.bounds.stuck && len(ack.Stuck) == 0 {
		ack.CaughtUp, ack.Stuck = true, []string{uid}
		s.used.stuck++
		m.acks(s, write{kind: actStuck, region: uint8(r)}, ack, do, "caught up, but the service is stuck")
	}
}

// appliedReceived reports whether a region has applied all that it received of the given origins.
func (m *model) appliedReceived(s *state, r int, origins [3]bool) bool {
	for o := range names {
		if o == r || !origins[o] {
			continue
		}
		if p := s.pair(r, o); p.applied < p.received {
			return false
		}
	}
	return true
}

type targetKey struct {
	base, conf int32
	region     int
}

// target is what a region must have applied: so much of every log, and all that it received of the lost.
type target struct {
	vector [3]uint8
	lost   [3]bool
	ready  bool
}

func (m *model) target(b, c int32, r int) target {
	key := targetKey{b, c, r}
	if t, known := m.targets[key]; known {
		return t
	}
	conf := m.mix(b, c)
	if m.catchesUpWith != nil {
		m.catchesUpWith(&conf)
	}
	var t target
	var v ownership.Vector
	v, t.ready = change.Target(conf, names[r])
	for o, name := range names {
		t.vector[o] = uint8(v[name][stream])
	}
	for _, lost := range change.LostNow(conf) {
		t.lost[indexOf(lost)] = true
	}
	m.targets[key] = t
	return t
}

// appliedStep lets an agent say that it has applied a debt.
func (m *model) appliedStep(s state, r int, ack ownership.Ack, do visit) {
	for origin, debt := range m.contents[s.conf].conf.Debts {
		o := indexOf(origin)
		if o == r || ack.Applied[origin] >= debt.Epoch {
			continue
		}
		all := true
		for i, name := range names {
			all = all && int64(s.has(r, i)) >= debt.Vector[name][stream]
		}
		if all {
			said := ack
			said.Applied = maps.Clone(ack.Applied)
			said.Applied = put(said.Applied, origin, debt.Epoch)
			m.acks(s, write{kind: actApplied, region: uint8(r), extra: uint8(o)}, said, do, "debt of "+origin+" applied")
		}
	}
}

func (m *model) gatewaySteps(s state, r int, do visit) {
	if s.accepts(r) {
		next := s
		next.gateway[r] = 0
		m.forget(&next, r)
		do(next, func() string { return "gateway of " + names[r] + " loses its lease" })
	}
	if !m.gateOpen(&s, r) {
		return
	}
	b := m.bases[s.agent[r]]
	next := s
	next.gateway[r] = 0
	if b.owner == r {
		next.gateway[r] = b.epoch << 1
		if b.complete {
			next.gateway[r]++
		}
	}
	m.forget(&next, r)
	if next != s {
		do(next, func() string {
			return fmt.Sprintf("gateway of %s has the snapshot of epoch %d: accepts %v, all flows %v", names[r], b.epoch, b.owner == r, b.owner == r && b.complete)
		})
	}
}

// forget notes that an agent that has restarted knows the region's gateway now, or need not.
func (m *model) forget(s *state, r int) { s.fresh &^= 1 << r }

func (m *model) dataSteps(s state, r int, do visit) {
	if s.accepts(r) && s.used.writes < m.bounds.writes && s.count(r) < logCount {
		next := s
		i := int(s.count(r))
		next.used.writes++
		next.log[r]++
		if s.acceptsAll(r) {
			next.log[r] |= 1 << (logComplete + i)
		}
		do(next, func() string { return "home write at " + names[r] })
	}
	for o := range names {
		if o != r {
			m.replication(s, r, o, do)
		}
	}
}

// replication lets a region receive or apply more of another's log. That the two differ matters only
// where regions are lost.
func (m *model) replication(s state, r, o int, do visit) {
	p := s.pair(r, o)
	if p.received < s.count(o) {
		next, q := s, p
		q.received++
		if m.bounds.losses == 0 {
			q.applied++
		}
		next.setPair(r, o, q)
		do(next, func() string { return fmt.Sprintf("%s receives write %d of %s", names[r], q.received, names[o]) })
	}
	if p.applied < p.received {
		next, q := s, p
		q.applied++
		next.setPair(r, o, q)
		do(next, func() string { return fmt.Sprintf("%s applies write %d of %s", names[r], q.applied, names[o]) })
	}
}

// leaderSteps let the region's agent lead, or act on what it decided when it led: from what it has, which
// the store may have left behind.
func (m *model) leaderSteps(s state, r int, do visit) {
	if m.bases[s.agent[r]].epoch != m.bases[m.contents[s.conf].base].epoch && !m.unguarded {
		return // refused: the view is not the one that it decides from
	}
	for o := range r {
		if s.agent[o] == s.agent[r] {
			return // decides the same
		}
	}
	for _, mv := range m.decisions(s.agent[r], s.conf) {
		next := s
		next.used.changes += mv.cost.changes
		next.used.returns += mv.cost.returns
		next.used.lates += mv.cost.lates
		if next.used.changes > m.bounds.changes || next.used.returns > m.bounds.returns || next.used.lates > m.bounds.lates {
			continue
		}
		m.stores(&next, mv.to)
		do(next, func() string { return mv.what })
	}
}

func (m *model) faults(s state, r int, do visit) {
	conf := m.contents[s.conf].conf
	if s.used.losses < m.bounds.losses && conf.Gates[names[r]].Open && conf.View.Regions[names[r]].State != ownership.RegionLost && othersServe(conf, r) {
		m.closeGate(s, r, do)
	}
	if s.used.crashes < m.bounds.crashes && s.accepts(r) && !s.isFresh(r) {
		next := s
		next.used.crashes++
		next.fresh |= 1 << r
		m.follow(&next, r)
		do(next, func() string { return "agent of " + names[r] + " restarts" })
	}
}

// othersServe is the brake (R14): the last region is not lost.
func othersServe(c ownership.Configuration, r int) bool {
	for o, name := range names {
		st := c.View.Regions[name].State
		if o != r && c.Gates[name].Open && (st == ownership.RegionServing || st == ownership.RegionReturning) {
			return true
		}
	}
	return false
}

// closeGate closes a region's gate, whose leases have run out (R4). What others have received of it by
// then is what a takeover must have.
func (m *model) closeGate(s state, r int, do visit) {
	s.gateway[r] = 0
	m.forget(&s, r)
	s.used.losses++
	for i := range int(s.count(r)) {
		if s.bit(r, i, logLost) {
			continue // lost before: who has taken over since need not have it
		}
		s.log[r] |= 1 << (logLost + i)
		for o := range names {
			if o == r {
				continue
			}
			if p := s.pair(o, r); int(p.received) > i {
				p.due = max(p.due, uint8(i+1))
				s.setPair(o, r, p)
			}
		}
	}
	m.stores(&s, m.written(write{to: s.conf, kind: actClose, region: uint8(r)}, func(c *ownership.Configuration) {
		gate := c.Gates[names[r]]
		c.Gates = put(c.Gates, names[r], ownership.Gate{Generation: gate.Generation + 1})
	}))
	do(s, func() string { return "leader closes the gate of " + names[r] })
}

// people order changes and declare services anew.
func (m *model) people(s state, do visit) {
	conf := m.contents[s.conf].conf
	if len(conf.OrderIntents) == 0 && s.used.orders < m.bounds.orders {
		for i, o := range m.orders {
			m.place(s, i, o, do)
		}
	}
	if len(conf.OrderIntents) > 0 {
		next := s
		next.conf = m.written(write{to: s.conf, kind: actOrderEnds}, func(c *ownership.Configuration) {
			if record, changed := standing(*c); changed && record.State != ownership.OrderRunning {
				c.Orders, c.OrderIntents = nil, nil
			}
		})
		if next.conf != s.conf {
			do(next, func() string { return "the order has ended, the hub withdraws it" })
		}
	}
	if s.used.respecs < m.bounds.respecs {
		for i, sp := range m.specs[1:] {
			next := s
			next.used.respecs++
			next.conf = m.written(write{to: s.conf, kind: actRespec, extra: uint8(i)}, func(c *ownership.Configuration) {
				c.ServiceIntents = map[string]ownership.ServiceIntent{uid: {
					UID: uid, SpecHash: sp.hash, Regions: sp.regions(), Manual: m.manual, Handback: ownership.HandbackAutomatic,
				}}
			})
			if next.conf != s.conf {
				do(next, func() string { return "the hub proposes the spec " + sp.hash + ", order " + sp.order() })
			}
		}
	}
}

// place lets a person order something, which the leader takes up at once or refuses.
func (m *model) place(s state, i int, o ownership.OrderIntent, do visit) {
	o.Name = orderName
	before := s.conf
	s.conf = m.written(write{to: s.conf, kind: actOrder, extra: uint8(i)}, func(c *ownership.Configuration) {
		with := *c
		with.OrderIntents = map[string]ownership.OrderIntent{orderName: o}
		if record, changed := standing(with); changed && record.State == ownership.OrderRunning {
			record.Message = "" // for people
			with.Orders = map[string]ownership.OrderRecord{orderName: record}
			*c = with
		}
	})
	s.used.orders++
	if s.conf != before {
		do(s, func() string {
			return fmt.Sprintf("a person orders %s of %s (service %q)", o.Type, o.Region, o.Service)
		})
	}
}
