package search

import (
	"fmt"

	"multiactive.dev/operator/internal/ownership"
)

// state is one state of the whole: what the store holds, by number, and what every region knows, accepts
// and has. It is its own key.
type state struct {
	conf int32
	// agent is the base that the region's agent has.
	agent [3]int32
	// gateway of the region: 0 if it accepts no home write for the key, because of its lease or of its
	// snapshot; else the snapshot's epoch and, in the last bit, whether it accepts all flows.
	gateway [3]uint8
	// log is what the region has accepted: the number of writes, and bits of each.
	log [3]uint8
	// pairs is what a region has of another's log, by pair.
	pairs [6]uint8
	// fresh are the agents, a bit each, that do not know what leases their predecessors handed out.
	fresh uint8
	// early is what an agent noted too early, for mutants that do.
	early [3]uint8
	used  used
}

// used is what of the bounds is used up.
type used struct{ writes, losses, returns, changes, lates, orders, respecs, crashes, stuck uint8 }

// Bits of a log.
const (
	logCount    = 3
	logComplete = 2 // first of a bit for each write: accepted while complete
	logLost     = 5 // first of a bit for each write: its region was lost since
)

func (s *state) count(r int) uint8        { return s.log[r] & logCount }
func (s *state) bit(r, i, first int) bool { return s.log[r]>>(first+i)&1 == 1 }
func (s *state) accepts(r int) bool       { return s.gateway[r] != 0 }
func (s *state) epoch(r int) uint8        { return s.gateway[r] >> 1 }
func (s *state) acceptsAll(r int) bool    { return s.gateway[r]&1 == 1 }
func (s *state) isFresh(r int) bool       { return s.fresh>>r&1 == 1 }

// pair is what a region has of another's log: received, applied, and what it had received when the
// other's gate was last closed and has not applied yet.
type pair struct{ received, applied, due uint8 }

func pairOf(r, origin int) int {
	if origin > r {
		origin--
	}
	return 2*r + origin
}

func (s *state) pair(r, origin int) pair {
	b := s.pairs[pairOf(r, origin)]
	return pair{b & 3, b >> 2 & 3, b >> 4 & 3}
}

func (s *state) setPair(r, origin int, p pair) {
	if p.due <= p.applied {
		p.due = 0 // done with for good
	}
	s.pairs[pairOf(r, origin)] = p.received | p.applied<<2 | p.due<<4
}

// has returns how much of an origin's log a region has applied.
func (s *state) has(r, origin int) uint8 {
	if r == origin {
		return s.count(r)
	}
	return s.pair(r, origin).applied
}

// violation says which promise a state breaks, "" if none.
func (m *model) violation(s *state) string {
	accepting := -1
	for r := range names {
		if !s.accepts(r) {
			continue
		}
		if accepting >= 0 {
			return fmt.Sprintf("single owner: %s and %s may both accept a home write", names[accepting], names[r])
		}
		accepting = r
	}
	if accepting < 0 {
		return ""
	}
	return m.lostWrite(s, accepting)
}

// lostWrite says which write a region lacks that it must have to accept others.
func (m *model) lostWrite(s *state, r int) string {
	regions := m.contents[s.conf].conf.View.Regions
	for o := range names {
		if o != r && s.pair(r, o).due > 0 {
			return fmt.Sprintf("planned: %s may accept and has not applied all that it had received of %s when that was lost", names[r], names[o])
		}
		for i := int(s.has(r, o)); i < int(s.count(o)); i++ {
			switch {
			case !s.bit(o, i, logLost):
				return fmt.Sprintf("planned: %s may accept and lacks write %d of %s, which was not lost since", names[r], i+1, names[o])
			case s.acceptsAll(r) && s.bit(o, i, logComplete) && !regions[names[o]].Gone:
				return fmt.Sprintf("complete: %s may accept all flows and lacks write %d of %s, which had everything", names[r], i+1, names[o])
			}
		}
	}
	return ""
}

func vectorOf(v [3]uint8) ownership.Vector {
	out := ownership.Vector{}
	for o, n := range v {
		if n > 0 {
			out[names[o]] = map[string]int64{stream: int64(n)}
		}
	}
	return out
}
