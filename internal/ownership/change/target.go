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
// under way: the debts, and all that the regions had that lose slots in it (R9, R10). Of a region that is
// lost it must have applied what it received (LostNow), which Target does not know; it leaves that
// region's data out. A region whose gate is closed counts as lost only once the view says so: a change
// that began before must not open without its data. ready is false until every region that loses slots is
// fenced: before, its data still grows.
func Target(c ownership.Configuration, region string) (v ownership.Vector, ready bool) {
	for _, d := range c.Debts {
		v = v.Join(d.Vector)
	}
	for _, loser := range movesOf(c, c.View.Previous, c.View.Regions, nil).losers() {
		ack := c.Acks[loser]
		switch {
		case acknowledged(c, loser):
			v = v.Join(ack.Vector)
		case !lost(c, loser):
			return nil, false
		}
	}
	return v.Without(func(origin string) bool { return origin == region || lost(c, origin) }), true
}

// lost reports whether a region is lost in the view that is to come; its gate is closed as long as that
// is under way or in force.
func lost(c ownership.Configuration, region string) bool {
	return c.View.Regions[region].State == ownership.RegionLost
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

// LostNow returns the regions of which a region must have applied all that it has received before it
// says that it has caught up, sorted: those that are lost, and those that have returned and do not serve,
// whose slots may still go to somebody who had not applied that when they were lost. What Target asks of
// the latter it must have besides.
func LostNow(c ownership.Configuration) []string {
	var out []string
	for name, rec := range c.View.Regions {
		if lost(c, name) || rec.Unshipped {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
