package search

import (
	"fmt"
	"maps"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

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
