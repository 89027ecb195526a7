package agent_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"multiactive.dev/operator/internal/agent"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/testkit"
)

// acting waits until one agent's hub acts, and returns its region and ballot.
func (w *world) acting() (string, int64) {
	w.t.Helper()
	var region string
	var ballot int64
	testkit.Eventually(w.t, 60*time.Second, func() error {
		region = ""
		for name, a := range w.agents {
			n, acts := a.Ballot()
			switch {
			case acts && region != "":
				return fmt.Errorf("%s and %s act", region, name)
			case acts:
				region, ballot = name, n
			}
		}
		if region == "" || region != w.leader() {
			return fmt.Errorf("%q acts, %q leads", region, w.leader())
		}
		return nil
	})
	return region, ballot
}

// The hub beside the leader acts, with a ballot above those of all before it, and no other proposes.
func TestBallots(t *testing.T) {
	w := newWorld(t)
	first, ballot := w.acting()
	for name, a := range w.agents {
		_, err := a.PutServiceIntent(t.Context(), ownership.ServiceIntent{UID: "u", SpecHash: name})
		if name != first && !errors.Is(err, agent.ErrNotLeading) || name == first && err != nil {
			t.Errorf("%s proposes, %s leads: error %v", name, first, err)
		}
	}
	w.agents[first].RaiseBallot(ballot + 10)
	if got, acts := w.agents[first].Ballot(); acts {
		t.Errorf("acts with ballot %d, having met %d", got, ballot+10)
	}
	if _, raised := w.acting(); raised <= ballot+10 {
		t.Errorf("ballot %d after %d was met", raised, ballot+10)
	}
	_, ballot = w.acting()
	w.agents[first].stop()
	w.agents[first].wait()
	if _, acts := w.agents[first].Ballot(); acts {
		t.Error("an agent that was stopped acts")
	}
	if _, err := w.agents[first].DeleteServiceIntent(t.Context(), "u"); !errors.Is(err, agent.ErrNotLeading) {
		t.Errorf("an agent that was stopped proposes: error %v", err)
	}
	next, higher := w.acting()
	if next == first || higher <= ballot {
		t.Errorf("%s acts with ballot %d after %s with %d", next, higher, first, ballot)
	}
}
