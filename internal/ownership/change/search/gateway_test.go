package search

import (
	"fmt"
)

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
