package search

import (
	"fmt"
	"slices"
	"time"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

// outlook is what a leader may find besides the configuration: what time and evidence say.
type outlook struct {
	// late: the change under way has been Closing for longer than its limit.
	late bool
	// reachable: every region whose gate is open can be reached. ready: Returning ones have been for long
	// enough.
	reachable, ready bool
	// back is the region whose agent asks to be let in, -1: none does.
	back int
}

// move is a transaction of the leader that the store accepts.
type move struct {
	to   int32
	cost cost
	what string
	// out is what the leader found.
	out outlook
}

// cost is what of its bounds a move uses up.
type cost struct{ changes, returns, lates uint8 }

// decisions returns the moves that a leader may make which decides from the configuration that an agent
// has, lagging behind the store's or not. Its memory is fresh: what it has tried, and for how long, only
// keeps a leader from acting.
func (m *model) decisions(b, c int32) []move {
	key := [2]int32{b, c}
	if known, ok := m.moves[key]; ok {
		return known
	}
	from, to := m.mix(b, c), m.contents[c].conf
	var out []move
	for _, o := range outlooks(from) {
		x, ok := m.decide(from, o)
		if !ok || (refused(from, to, x) && !m.unguarded) {
			continue
		}
		mv := move{to: m.number(carriedOut(to, x)), what: describe(x), cost: costOf(x), out: o}
		if o.late {
			mv.cost.lates = 1
		}
		if i := slices.IndexFunc(out, func(other move) bool { return other.to == mv.to }); i < 0 {
			out = append(out, mv)
		}
	}
	m.moves[key] = out
	return out
}

// outlooks returns what a leader may find, the plain ones first: of two that lead to the same, the first
// counts.
func outlooks(c ownership.Configuration) []outlook {
	if c.View.Phase == ownership.PhaseClosing {
		return []outlook{{reachable: true, back: -1}, {back: -1}, {late: true, reachable: true, back: -1}}
	}
	out := []outlook{{back: -1}, {reachable: true, back: -1}, {reachable: true, ready: true, back: -1}}
	for r, name := range names {
		if rec := c.View.Regions[name]; rec.State == ownership.RegionLost && !rec.Gone && !c.Gates[name].Open {
			out = append(out, outlook{back: r})
		}
	}
	return out
}

// decide asks the real code.
func (m *model) decide(c ownership.Configuration, o outlook) (change.Txn, bool) {
	decision := health.Decision{}
	for r, name := range names {
		rec, open := c.View.Regions[name], c.Gates[name].Open
		switch {
		case rec.State != ownership.RegionLost && !open:
			decision.Intents = append(decision.Intents, health.Intent{Kind: health.DeclareLost, Region: name})
		case o.back == r:
			decision.Intents = append(decision.Intents, health.Intent{Kind: health.OpenGateReturning, Region: name})
		case open && o.reachable:
			decision.Reachable = append(decision.Reachable, name)
		}
		if open && o.ready && rec.State == ownership.RegionReturning {
			decision.Ready = append(decision.Ready, name)
		}
	}
	from := c
	if m.decidesFrom != nil {
		m.decidesFrom(&c)
	}
	in := change.Input{Conf: c, Timings: ownership.DefaultTimings(), Health: decision, Memory: change.NewMemory()}
	if o.late {
		change.Orders(in) // the memory notes since when it sees this change under way
		in.Now = time.Hour
	}
	x, ok := change.Decide(in)
	if ok && m.commits != nil {
		m.commits(from, &x)
	}
	return x, ok
}

func costOf(x change.Txn) cost {
	var out cost
	if x.View.Phase == ownership.PhaseClosing && x.View.Change.Kind.Planned() {
		out.changes = 1
	}
	if x.OpenGate != "" {
		out.returns = 1
	}
	return out
}

func describe(x change.Txn) string {
	s := fmt.Sprintf("leader commits %q: epoch %d %s", x.What, x.View.Epoch, x.View.Phase)
	for _, name := range names {
		rec := x.View.Regions[name]
		s += fmt.Sprintf(" %s=%s", name, rec.State)
		if rec.Unshipped {
			s += fmt.Sprintf("(unshipped, behind %v)", rec.Behind)
		}
		if len(rec.Awaits) > 0 {
			s += fmt.Sprintf("(awaits %v)", rec.Awaits)
		}
	}
	if len(x.Services) > 0 {
		s += fmt.Sprintf("; service: %s excluded %v handedBack %v withheld %v", x.Services[0].SpecHash, x.Services[0].Excluded, x.Services[0].HandedBack, x.Services[0].Withheld)
	}
	for origin, debt := range x.Debts {
		s += fmt.Sprintf("; debt of %s: %v", origin, debt.Vector)
	}
	return s + " (" + x.Because + ")"
}

// standing asks the real code what becomes of the order that waits, if one does.
func standing(c ownership.Configuration) (ownership.OrderRecord, bool) {
	in := change.Input{Conf: c, Timings: ownership.DefaultTimings(), Memory: change.NewMemory()}
	records := change.Orders(in)
	if len(records) == 0 {
		return ownership.OrderRecord{}, false
	}
	return records[0], true
}
