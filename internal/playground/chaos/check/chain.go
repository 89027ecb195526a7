package check

import (
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"multiactive.dev/operator/internal/playground/chaos/history"
)

// searchLimit bounds the search for an order of one key's writes.
const searchLimit = time.Minute

// chain judges one key: what was acknowledged is in the chain that the last acknowledged write ends, but for
// what was lost with a region, and the writes are linearizable.
func (j *judge) chain(key string, ops []history.Op, losses []history.Loss) {
	var last history.Entry
	for _, op := range ops {
		if op.Acknowledged() && op.Entry.Newer(last) {
			last = op.Entry
		}
	}
	if last.ID == "" {
		return // nothing was promised
	}
	place, links := j.links(last)
	judged := make([]porcupine.Operation, 0, len(ops))
	for _, op := range ops {
		_, kept := place[op.ID]
		switch {
		case !kept && !op.Acknowledged():
			continue // it never happened
		case !kept && j.excused(op.Entry, place, links, losses):
			j.verdict.Unshipped++
			continue
		case !kept:
			j.violation(op.Entry.Slot, key, "%s was acknowledged by %s in epoch %d and is lost: the chain that ends with %s of %s, epoch %d, goes past it",
				op.ID, op.Entry.Region, op.Entry.Epoch, last.ID, last.Region, last.Epoch)
		}
		judged = append(judged, j.operation(op))
	}
	switch porcupine.CheckOperationsTimeout(model, judged, searchLimit) {
	case porcupine.Illegal:
		j.violation(-1, key, "its %d writes are not linearizable", len(judged))
	case porcupine.Unknown:
		j.violation(-1, key, "no order of its %d writes was found within %s, nor that there is none", len(judged), searchLimit)
	case porcupine.Ok:
	}
}

// links walks back from the last entry. It returns the links from the first to the last, and each one's place.
func (j *judge) links(last history.Entry) (map[string]int, []history.Entry) {
	var links []history.Entry
	seen := map[string]bool{}
	for e := last; e.ID != "" && !seen[e.ID]; e = j.entries[e.Prev] {
		seen[e.ID] = true
		links = append(links, e)
	}
	slices.Reverse(links)
	place := map[string]int{}
	for i, e := range links {
		place[e.ID] = i
	}
	return place, links
}

// excused reports whether a write that is not in the chain was lost with its region: the loss was agreed on
// after the write's epoch, and not after that of the write which took its place.
func (j *judge) excused(e history.Entry, place map[string]int, links []history.Entry, losses []history.Loss) bool {
	if e.Strict {
		return false // nobody may have taken it over, and the region has it still
	}
	successor := 0
	for at := e; at.Prev != ""; at = j.entries[at.Prev] {
		if i, kept := place[at.Prev]; kept {
			successor = i + 1
			break
		}
	}
	return successor < len(links) && slices.ContainsFunc(losses, func(l history.Loss) bool {
		return l.Region == e.Region && e.Epoch < l.Epoch && l.Epoch <= links[successor].Epoch
	})
}

// output is what is known of a write's place.
type output struct {
	known bool
	prev  string
}

// operation is the write for the model. One that was not acknowledged may have happened at any later time.
func (j *judge) operation(op history.Op) porcupine.Operation {
	out, end := output{}, op.Return
	if e, known := j.entries[op.ID]; known {
		out = output{known: true, prev: e.Prev}
	}
	if !op.Acknowledged() {
		end = math.MaxInt64
	}
	return porcupine.Operation{Input: op.ID, Output: out, Call: int64(op.Call), Return: int64(end)}
}

// model is a register whose writes return what they replace.
var model = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, result any) (bool, any) {
		out := result.(output) //nolint:forcetypeassert // operation makes nothing else
		return !out.known || out.prev == state, input
	},
}
