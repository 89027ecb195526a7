package region

import (
	"fmt"

	"multiactive.dev/operator/internal/health"
)

// heldWords are what a reason for leaving a region as it is means, and what to do about it, in the
// words of docs/concepts/ownership.md; a test compares them.
var heldWords = map[string]struct{ meaning, todo string }{
	health.ReasonTooFewObservers: {"fewer than two other regions run agents that beat", "look at the other regions' agents first; if the region is gone for good, order DeclareLost"},
	health.ReasonNoMajority:      {"some observers reach the region, or only its agent is silent", "look at the links between regions, or at the region's agent"},
	health.ReasonBeatsArrive:     {"its users cannot reach it, but its agent beats: it is emptied by a planned change", "repair its edge"},
	health.ReasonLeaseRunning:    {"its last lease may still run", "wait: seconds"},
	health.ReasonLastServing:     {"no other region serves", "repair any region"},
	health.ReasonOneAtATime:      {"another loss is under way", "wait for that one; if this region is gone for good, order DeclareLost"},
	health.ReasonNotAsked:        {"its agent has not asked to be let in", "start the region's member"},
	health.ReasonUnreachable:     {"its agent asks, but a majority cannot reach it", "repair its edge"},
	health.ReasonHoldDown:        {"it has not been reachable for long enough", "wait: longer with every flap"},
	health.ReasonGone:            {"a person declared it lost for good", "nothing; a new region takes its place under another name"},
}

// held says why the leader leaves the region as it is, for the end of a message; empty when it has
// no reason to do more.
func held(name string, seen Seen) string {
	reason := seen.Configuration.Held[name]
	words, known := heldWords[reason]
	switch {
	case reason == "":
		return ""
	case !known: // the leader is of a newer version
		return fmt.Sprintf(". It is left as it is: %s", reason)
	default:
		return fmt.Sprintf(". It is left as it is (%s): %s; %s", reason, words.meaning, words.todo)
	}
}
