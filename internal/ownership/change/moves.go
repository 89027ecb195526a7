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
		m.addShipped(before, next, is.MayOwn(next))
	}
	return m
}

// addShipped has whoever owns slots that an Unshipped region was the last to own with everything in them
// catch up with it before it counts as shipped: those that did not serve when it was lost, and everybody
// if it does not take its own slots back. Who owns nothing now does so before it does.
func (m moves) addShipped(before, next map[string]ownership.RegionRecord, owns []string) {
	for name, rec := range before {
		is := next[name]
		switch {
		case !rec.Unshipped || is.Unshipped || is.Gone:
		case is.State != ownership.RegionServing:
			m.note([]string{name}, owns)
		default:
			if behind := both(owns, rec.Behind); len(behind) > 0 {
				m.note([]string{name}, behind)
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
// every slot. A region whose slots were kept from others gives them away only now: it is fenced, so that
// others catch up with all that it had if it is back, and with all that they received if it is not. So is
// everybody who owned some, since those from whom slots were kept may have had them before.
func (m moves) add(was ownership.ServiceState, before map[string]ownership.RegionRecord, is ownership.ServiceState, next map[string]ownership.RegionRecord) {
	owned, owns := was.MayOwn(before), is.MayOwn(next)
	if was.SpecHash != is.SpecHash {
		m.note(owned, owns)
		return
	}
	if joined := minus(owns, owned); len(joined) > 0 {
		m.note(owned, joined)
	}
	if left := minus(owned, owns); len(left) > 0 {
		m.note(left, owns)
	}
	kept := minus(append(minus(was.Withholding(before), is.Withholding(next)), freed(before, next)...), owns)
	if len(kept) > 0 {
		m.note(append(kept, owned...), owns)
	}
}

// freed returns the regions whose slots may be owned by one that they were kept from.
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
func both(a, b []string) []string { return minus(a, minus(a, b)) }

func minus(a, b []string) []string {
	var out []string
	for _, x := range a {
		if !slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}
