// Package search visits every state that a small model of the ownership protocol can reach within its
// bounds, and checks in each what is promised. The decisions are the real code's: change.Decide,
// change.Orders, change.Target, change.Concerns, ownership.Owner and ownership.Between. What stands
// around them - store, agents, gateways, data - is as small as it can be and as free as the protocol
// allows: whatever may happen at some time may happen at any time.
package search

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// bounds limit a search. Within them it is exhaustive.
type bounds struct {
	writes, losses, returns, changes, lates, orders, respecs, crashes, stuck uint8
	// lag is how many views an agent may be behind.
	lag uint8
	// states after which a search is given up, 0: never.
	states int
}

// model is what is searched.
type model struct {
	name   string
	bounds bounds
	// deeper is added to the bounds when asked for.
	deeper bounds
	// quick ones are searched also when there is little time.
	quick bool
	// specs that the service may have, the first in the beginning.
	specs  []spec
	orders []ownership.OrderIntent
	manual bool
	// begin changes what a search begins with.
	begin func(c *ownership.Configuration)
	// data is what regions have accepted and have of each other in the beginning.
	data func(s *state)
	// settles: it is checked too that owners come about once faults end.
	settles bool
	// promise that a mutant breaks: how the violation begins.
	promise string
	mutant
	tables
}

// mutant breaks one rule.
type mutant struct {
	// decidesFrom falsifies what a leader decides from, commits what it then writes (from is what it
	// decided from), sees what owners are found from, catchesUpWith what Target is found from.
	decidesFrom, sees, catchesUpWith func(c *ownership.Configuration)
	commits                          func(from ownership.Configuration, x *txn)
	// unguarded: the store takes a transaction whatever has changed.
	unguarded bool
	// onlyMovedSlots: of a service whose keys change, only slots that change owners are closed.
	onlyMovedSlots bool
	// routingLags: gateways get routing from before what their agent has acknowledged.
	routingLags                               bool
	vectorEarly, sampleEarly, ackAfterRestart bool
}

// result of a search.
type result struct {
	states, contents, bases int
	depth                   int
	took                    time.Duration
	complete                bool
	// violation with the shortest way to it, if there is one.
	violation string
	trace     []string
}

func (r result) String() string {
	return fmt.Sprintf("%d states, %d contents of the store, %d views, depth %d, %s", r.states, r.contents, r.bases, r.depth, r.took.Round(time.Millisecond))
}

// run searches breadth first, so that the first violation has a shortest trace.
func (m *model) run() result {
	m.tables = newTables()
	began := time.Now()
	first := state{conf: m.number(m.initial())}
	for r := range names {
		m.follow(&first, r)
	}
	if m.data != nil {
		m.data(&first)
	}
	states, parents, seen := []state{first}, []int32{-1}, map[state]struct{}{first: {}}
	res := result{complete: true}
	bad, level := -1, 1
	for i := 0; i < len(states) && bad < 0; i++ {
		if i == level {
			res.depth, level = res.depth+1, len(states)
		}
		if m.bounds.states > 0 && len(states) >= m.bounds.states {
			res.complete = false
			break
		}
		m.steps(states[i], func(next state, _ func() string) {
			if _, known := seen[next]; known || bad >= 0 {
				return
			}
			seen[next] = struct{}{}
			states, parents = append(states, next), append(parents, int32(i))
			res.violation = m.violation(&next)
			if res.violation == "" && m.settles {
				res.violation = m.unsettled(next)
			}
			if res.violation != "" {
				bad = len(states) - 1
			}
		})
	}
	res.states, res.contents, res.bases, res.took = len(states), len(m.contents), len(m.bases), time.Since(began)
	if bad >= 0 {
		res.trace = m.trace(states, parents, bad)
	}
	return res
}

// trace tells how a state is reached.
func (m *model) trace(states []state, parents []int32, last int) []string {
	var out []string
	for at := last; parents[at] >= 0; at = int(parents[at]) {
		step := ""
		m.steps(states[parents[at]], func(next state, why func() string) {
			if step == "" && next == states[at] {
				step = why()
			}
		})
		out = append([]string{step}, out...)
	}
	return out
}

func (r result) report() string {
	return r.violation + "\n  " + strings.Join(r.trace, "\n  ")
}

var (
	deeper = flag.Bool("deeper", false, "search within larger bounds, which takes hours and much memory")
	limit  = flag.Int("states", 0, "give a search up after so many states, as if it had found nothing")
)

func TestSearch(t *testing.T) {
	for _, m := range scenarios() {
		if (testing.Short() || raceEnabled) && !m.quick {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			if *deeper {
				m.bounds = m.bounds.plus(m.deeper)
			}
			m.settles, m.bounds.lag, m.bounds.states = true, 1, *limit
			res := m.run()
			switch {
			case res.violation != "":
				t.Errorf("%s\n%s", res, res.report())
			case !res.complete:
				t.Logf("%s: given up", res)
			default:
				t.Logf("%s: every state within the bounds", res)
			}
		})
	}
}

func (b bounds) plus(more bounds) bounds {
	b.writes += more.writes
	b.losses += more.losses
	b.returns += more.returns
	b.changes += more.changes
	b.lates += more.lates
	b.orders += more.orders
	b.respecs += more.respecs
	b.crashes += more.crashes
	b.stuck += more.stuck
	return b
}
