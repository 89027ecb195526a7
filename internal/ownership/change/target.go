package change

import (
	"slices"

	"multiactive.dev/operator/internal/ownership"
)

// Concerns reports what the change under way asks of a region: to be fenced because it loses slots, to
// catch up because it gains some. Both are false while the view is Open.
func Concerns(c ownership.Configuration, region string) (fence, catchUp bool) {
	if c.View.Phase != ownership.PhaseClosing {
		return false, false
	}
	m := movesOf(c, c.View.Previous, c.View.Regions, nil)
	return m.lose[region], m.gain[region]
}

// Target returns what a region must have applied before it says that it has caught up with the change
// under way: the debts, and all that the regions had that lose slots in it (R9, R10). Of a region whose
// gate is closed it must have applied what it received, which Target does not know; it leaves that
// region's data out. ready is false until every region that loses slots is fenced: before, its data
// still grows.
func Target(c ownership.Configuration, region string) (v ownership.Vector, ready bool) {
	for _, d := range c.Debts {
		v = v.Join(d.Vector)
	}
	for _, loser := range movesOf(c, c.View.Previous, c.View.Regions, nil).losers() {
		ack := c.Acks[loser]
		switch {
		case acknowledged(c, loser):
			v = v.Join(ack.Vector)
		case !gateClosed(c, loser):
			return nil, false
		}
	}
	return v.Without(func(origin string) bool { return origin == region || gateClosed(c, origin) }), true
}

// acknowledged reports whether a region says that it is fenced for the epoch under way (R8).
func acknowledged(c ownership.Configuration, region string) bool {
	ack := c.Acks[region]
	return ack.Epoch == c.View.Epoch && ack.Fenced
}

func gateClosed(c ownership.Configuration, region string) bool { return !c.Gates[region].Open }

// fenced reports whether a region accepts no home write any more for what it loses (R7).
func fenced(c ownership.Configuration, region string) bool {
	return acknowledged(c, region) || gateClosed(c, region)
}

// LostNow returns the regions whose gates are closed, sorted: nothing that they accept can be
// acknowledged any more.
func LostNow(c ownership.Configuration) []string {
	var out []string
	for name := range c.View.Regions {
		if gateClosed(c, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
