package search

import (
	"multiactive.dev/operator/internal/ownership"
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
