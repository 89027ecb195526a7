package playground_test

import (
	"fmt"

	"multiactive.dev/operator/internal/playground/world"
	"multiactive.dev/operator/internal/testkit"
)

// leaderIsLost kills the process that leads, and nothing else of its region: another one leads, owners stay as they are, and no
// order is refused meanwhile, at whichever gateway. The region's own lease has to outlast its agent.
func leaderIsLost(w *secured) {
	former := w.regionLeads()
	load, before := place(w.t, w), w.epoch()
	load.served("before the leader's process is lost")
	if err := w.Region(former).Manager().Kill(); err != nil {
		w.t.Fatal(err)
	}
	next := w.awaitLeader(former)
	w.t.Logf("%s leads after %s", next, former)
	testkit.Consistently(w.t, quiet, load.unharmed) // longer than the lease that it left behind
	load.served("with another leader")
	load.check()
	if after := w.epoch(); after != before {
		w.t.Errorf("owners have changed: epoch %s, was %s", after, before)
	}
}

// leads is the region, or witness, whose agent leads as the hub has it; empty when nobody does.
func (w *secured) leads() string {
	w.t.Helper()
	return w.kubectl("hub", "get", "regions", "-o", `jsonpath={.items[?(@.status.coordination.leads=="Yes")].metadata.name}`)
}

// regionLeads returns the region that leads. A witness that does hands on: it has no users who could notice.
func (w *secured) regionLeads() string {
	w.t.Helper()
	leads := w.awaitLeader("")
	if leads != world.WitnessName {
		return leads
	}
	if err := w.Witness().Kill(); err != nil {
		w.t.Fatal(err)
	}
	return w.awaitLeader(world.WitnessName)
}

// awaitLeader waits until another one than the former leads, and returns that.
func (w *secured) awaitLeader(former string) (leads string) {
	w.t.Helper()
	testkit.Eventually(w.t, storyTimeout, func() error {
		if leads = w.leads(); leads == "" || leads == former {
			return fmt.Errorf("the leader is %q, was %q", leads, former)
		}
		return nil
	})
	return leads
}
