package check

import (
	"cmp"
	"fmt"
	"slices"

	"multiactive.dev/operator/internal/playground/chaos/history"
)

// singleOwner holds the writes that the service accepted against their fencing tokens and the true time: an
// epoch of a slot has one owner, and no owner accepts anything once one of a later epoch has begun to.
func (j *judge) singleOwner(h *history.History) {
	slots := map[int][]history.Note{}
	for _, n := range h.Notes {
		switch n.What {
		case history.Accepted:
			j.verdict.Accepted++
		case history.TooLate:
			j.verdict.TooLate++
			continue
		case history.Fenced:
			j.verdict.Fenced++
			j.fenced(h, n)
			continue
		default:
			continue
		}
		if n.Owner != n.Region {
			j.violation(n.Slot, n.Key, "%s accepted %s as the key of %s (epoch %d)", n.Region, n.ID, n.Owner, n.Epoch)
		}
		if !j.acknowledged[n.ID] && stalled(h.Stalls, n) {
			j.verdict.Stalled++ // it went on with a request that had broken off, and nobody was answered
			continue
		}
		slots[n.Slot] = append(slots[n.Slot], n)
	}
	for slot, notes := range slots {
		j.ownersOf(slot, notes)
	}
}

// fenced judges a write that the service refused because it had one of a newer epoch: when that is another
// owner's, the write should not have reached the service.
func (j *judge) fenced(h *history.History, n history.Note) {
	newer := j.entries[n.Prev]
	if newer.Owner != n.Owner && newer.Owner != "" && !stalled(h.Stalls, n) {
		j.violation(n.Slot, n.Key, "%s, owner of epoch %d, was sent %s after %s, owner of epoch %d, had accepted %s; only the service refused it",
			n.Owner, n.Epoch, n.ID, newer.Owner, newer.Epoch, newer.ID)
	}
}

// ownersOf judges one slot. All writes of an earlier epoch by another owner must have ended before a write
// begins.
func (j *judge) ownersOf(slot int, notes []history.Note) {
	slices.SortFunc(notes, func(a, b history.Note) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Begin, b.Begin))
	})
	last := map[string]history.Note{} // by owner, of the epochs so far: what ended last
	var former history.Note
	for _, n := range notes {
		if former.Epoch == n.Epoch && former.Owner != "" && former.Owner != n.Owner {
			j.violation(slot, n.Key, "epoch %d has two owners: %s accepted %s, %s accepted %s", n.Epoch, former.Owner, former.ID, n.Owner, n.ID)
		}
		for owner, other := range last {
			if owner != n.Owner && other.End >= n.Begin {
				j.violation(slot, n.Key, "%s, owner of epoch %d, accepted %s until %s, %s after %s, owner of epoch %d, began to accept %s",
					owner, other.Epoch, other.ID, other.End, other.End-n.Begin, n.Owner, n.Epoch, n.ID)
			}
		}
		if n.End > last[n.Owner].End {
			last[n.Owner] = n
		}
		if former.Owner != "" && former.Owner != n.Owner {
			j.verdict.Handovers++
		}
		former = n
	}
}

// stalled reports whether the region's processes stood still while the write was made, or had just done so.
func stalled(stalls []history.Stall, n history.Note) bool {
	return slices.ContainsFunc(stalls, func(s history.Stall) bool {
		return s.Region == n.Region && n.Begin <= s.Until+afterStall && n.End >= s.From
	})
}

func (j *judge) violation(slot int, key, format string, args ...any) {
	where := "key " + key
	if slot >= 0 {
		where = fmt.Sprintf("slot %d, key %s", slot, key)
	}
	j.verdict.Violations = append(j.verdict.Violations, where+": "+fmt.Sprintf(format, args...))
}
