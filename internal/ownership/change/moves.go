package change

import (
	"maps"
	"slices"

	"multiactive.dev/operator/internal/ownership"
)

// moves are the regions that a change of owners concerns, of all services together. Which slots move
// depends on the specs, which the leader does not have; which regions may lose or gain some does not.
type moves struct {
	lose, gain map[string]bool
}

// movesOf compares the last Open configuration with the next, service by service.
func movesOf(c ownership.Configuration, before, next map[string]ownership.RegionRecord, services map[string]ownership.ServiceRecord) moves {
	m := moves{map[string]bool{}, map[string]bool{}}
	for uid, record := range c.Services {
		if record.Deleted {
			continue
		}
		was, is := stateBefore(c, record), record.ServiceState
		if changed, ok := services[uid]; ok {
			is = changed.ServiceState
		}
		m.add(was, before, is, next)
	}
	if len(c.Services) > 0 {
		m.addShipped(before, next)
	}
	return m
}

// addShipped has the owners of the slots that an Unshipped region may have owned for them catch up with
// it before it counts as shipped.
func (m moves) addShipped(before, next map[string]ownership.RegionRecord) {
	for name, rec := range before {
		if is := next[name]; rec.Unshipped && !is.Unshipped && !is.Gone {
			owners := slices.DeleteFunc(slices.Clone(rec.Behind), func(r string) bool {
				return next[r].State != ownership.RegionServing && next[r].State != ownership.RegionReturning
			})
			if len(owners) > 0 {
				m.note([]string{name}, owners)
			}
		}
	}
}

// stateBefore returns a service's state in the last Open configuration.
func stateBefore(c ownership.Configuration, record ownership.ServiceRecord) ownership.ServiceState {
	if state, _, closing := c.Before(record); closing {
		return state
	}
	return record.ServiceState
}

// add notes the regions of one service. With rendezvous hashing a region that leaves gives its slots to
// any other and takes none from them; one that joins takes slots from any other; another spec may move
// every slot.
func (m moves) add(was ownership.ServiceState, before map[string]ownership.RegionRecord, is ownership.ServiceState, next map[string]ownership.RegionRecord) {
	owned, owns := was.MayOwn(before), is.MayOwn(next)
	left, joined := minus(owned, owns), minus(owns, owned)
	switch {
	case was.SpecHash != is.SpecHash:
		m.note(owned, owns)
		return
	case len(joined) > 0:
		m.note(owned, joined)
	}
	kept := append(minus(was.Withholding(before), is.Withholding(next)), freed(before, next)...)
	if len(left)+len(kept) > 0 {
		m.note(append(left, kept...), owns)
	}
}

// freed returns the regions whose slots may be owned by some that they were kept from. They lose nothing,
// but if they are back, it is they who know what those must have.
func freed(before, next map[string]ownership.RegionRecord) []string {
	var out []string
	for name, rec := range before {
		if len(minus(rec.Awaits, next[name].Awaits)) > 0 {
			out = append(out, name)
		}
	}
	return out
}

func (m moves) note(lose, gain []string) {
	for _, r := range lose {
		m.lose[r] = true
	}
	for _, r := range gain {
		m.gain[r] = true
	}
}

func (m moves) losers() []string  { return slices.Sorted(maps.Keys(m.lose)) }
func (m moves) gainers() []string { return slices.Sorted(maps.Keys(m.gain)) }

// minus returns what is in a and not in b.
func minus(a, b []string) []string {
	var out []string
	for _, x := range a {
		if !slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}
