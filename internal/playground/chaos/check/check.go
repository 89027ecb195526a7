// Package check judges a history of writes: whether there was ever more than one owner, and whether anything
// that was acknowledged has got lost. It knows the true time and what an entry is; of the operator it knows
// only that a region may be lost, and that what such a region had not shipped may be lost with it.
package check

import (
	"slices"
	"time"

	"multiactive.dev/operator/internal/playground/chaos/history"
)

// afterStall is how long after it could go on again a service may meet requests from before.
const afterStall = 3 * time.Second

// Verdict is what a history came to.
type Verdict struct {
	// Violations say what must never be; there are none in a good history.
	Violations []string
	// Keys and Acknowledged count what the writers wrote; Accepted what the service did.
	Keys, Acknowledged, Accepted int
	// Handovers counts changes of owners between two writes to a slot.
	Handovers int
	// Unshipped counts acknowledged writes that were lost with a region and may be: those which it had not
	// shipped when the regions agreed on its loss.
	Unshipped int
	// TooLate, Fenced and Stalled count writes that the service did not answer as accepted: their request
	// had broken off, a newer fencing token had been there, or the process had stood still.
	TooLate, Fenced, Stalled int
}

// judge collects a verdict.
type judge struct {
	verdict      Verdict
	acknowledged map[string]bool // by ID
	entries      map[string]history.Entry
}

// Judge returns the verdict on a history.
func Judge(h *history.History) Verdict {
	j := &judge{acknowledged: map[string]bool{}, entries: map[string]history.Entry{}}
	keys := map[string][]history.Op{}
	for _, n := range h.Notes {
		if n.What != history.Fenced {
			j.entries[n.ID] = n.Entry
		}
	}
	for _, op := range h.Ops {
		keys[op.Key] = append(keys[op.Key], op)
		if op.Acknowledged() {
			j.verdict.Acknowledged++
			j.acknowledged[op.ID] = true
			j.entries[op.ID] = op.Entry
		}
	}
	j.verdict.Keys = len(keys)
	j.singleOwner(h)
	for key, ops := range keys {
		j.chain(key, ops, h.Losses)
	}
	slices.Sort(j.verdict.Violations)
	return j.verdict
}
