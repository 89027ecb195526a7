package search

import (
	"fmt"
	"slices"

	"multiactive.dev/operator/internal/ownership"
)

// Once faults end, owners must come about. That is checked from every state by the one run in which
// everybody does at once what may be done, data arrives, and a leader gives up only what does not go on
// by itself. It runs twice: with the lost regions staying away, and with all of them coming back.

// maxSettle bounds such a run, in steps.
const maxSettle = 200

// calm is a state with nothing left to be done but by agents and the leader.
type calm struct {
	conf int32
	log  [3]uint8
	// pairs as in state.
	pairs [6]uint8
	back  bool
}

// calmed has everybody see what the store holds, and all data arrive and be applied that can.
func (m *model) calmed(s state, back bool) calm {
	gates := m.contents[s.conf].conf.Gates
	for r := range names {
		for o := range names {
			if o == r {
				continue
			}
			p := s.pair(r, o)
			if gates[names[o]].Open {
				p.received = s.count(o)
			}
			p.applied = p.received
			s.setPair(r, o, p)
		}
	}
	return calm{s.conf, s.log, s.pairs, back}
}

func (m *model) stateOf(c calm) state {
	s := state{conf: c.conf, log: c.log, pairs: c.pairs}
	for r := range names {
		m.follow(&s, r)
	}
	return s
}

// unsettled says what is missing after everything that can be done from a state without a fault, "" if
// nothing is.
func (m *model) unsettled(s state) string {
	for _, back := range []bool{false, true} {
		c := m.calmed(s, back)
		var path []calm
		for range maxSettle {
			if m.settled[c] {
				break
			}
			path = append(path, c)
			next, ok := m.goesOn(c)
			if !ok {
				if why := m.missing(c); why != "" {
					return why
				}
				break
			}
			c = next
		}
		if len(path) == maxSettle {
			return "settling: goes on and on"
		}
		for _, c := range path {
			m.settled[c] = true
		}
	}
	return ""
}

// goesOn makes the next step without a fault, if there is one.
func (m *model) goesOn(c calm) (calm, bool) {
	s := m.stateOf(c)
	next, found := state{}, false
	take := func(n state, _ func() string) {
		if !found && n.conf != s.conf {
			next, found = n, true
		}
	}
	within := m.bounds
	m.bounds = bounds{} // nothing more happens
	for r := range names {
		m.agentSteps(s, r, take)
	}
	m.people(s, take)
	m.bounds = within
	if !found {
		if to, ok := m.chosen(s, c.back); ok {
			next, found = s, true
			next.conf = to
		}
	}
	if !found {
		return c, false
	}
	return m.calmed(next, c.back), true
}

// chosen returns what the leader makes of it.
func (m *model) chosen(s state, back bool) (int32, bool) {
	moves := m.decisions(s.agent[0], s.conf)
	best, rank := int32(0), -1
	for _, mv := range moves {
		now := 1
		switch {
		case mv.out.late:
			now = 0
		case mv.out.back >= 0:
			now = 4
		case mv.out.ready:
			now = 3
		case mv.out.reachable:
			now = 2
		}
		if (mv.out.back < 0 || back) && now > rank && mv.to != s.conf {
			best, rank = mv.to, now
		}
	}
	return best, rank >= 0
}

// missing says what is not as it should be where nothing goes on.
func (m *model) missing(c calm) string {
	conf := m.contents[c.conf].conf
	b := m.bases[m.contents[c.conf].base]
	if b.closing {
		return "settling: a change of owners does not end: " + about(conf)
	}
	record := conf.Services[uid]
	sp := m.spec(record.SpecHash)
	views := conf.RegionViews(record, sp.weights)
	var wanted string
	for _, name := range ownership.Rank(sp.slot, sp.weights) {
		v := views[slices.IndexFunc(views, func(v ownership.RegionView) bool { return v.Name == name })]
		if v.MayOwn() {
			wanted = name
			break
		}
		if v.Withheld && record.Manual && !v.Excluded {
			break
		}
	}
	if owner := indexOf(wanted); b.owner != owner {
		return fmt.Sprintf("settling: %q should own the key: %s", wanted, about(conf))
	}
	if !c.back {
		return ""
	}
	for _, name := range names {
		rec := conf.View.Regions[name]
		if (rec.Unshipped || len(rec.Lacks) > 0 || rec.State == ownership.RegionReturning) && !rec.Gone {
			return fmt.Sprintf("settling: %s is not over its loss: %s", name, about(conf))
		}
	}
	if wanted != "" && !b.complete {
		return "settling: the owner should be complete: " + about(conf)
	}
	if len(conf.Debts) > 0 {
		return "settling: debts remain: " + about(conf)
	}
	return ""
}

func about(c ownership.Configuration) string {
	return encoded(c.View, "\n    ", c.Services, "\n    ", c.Gates, c.Acks, c.Debts, c.OrderIntents)
}
