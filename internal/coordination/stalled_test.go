package coordination_test

import (
	"fmt"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/testkit"
)

// A watch that says nothing though the store has news moves to another member; one that has nothing to say stays.
func TestStalledWatch(t *testing.T) {
	members := start(t, "beijing", "shanghai")
	clock := clocktesting.NewFakeClock(time.Now())
	w := &world{t: t, Store: connect(t, coordination.Options{Endpoints: members.Endpoints(), RequestTimeout: 5 * time.Second, Clock: clock})}
	w.StallFirstWatch()
	w.register("one")
	watched, _ := watch(t, w.Store)
	testkit.Eventually(t, 20*time.Second, func() error {
		if n := len(watched.all()); n != 1 {
			return fmt.Errorf("%d configurations", n)
		}
		return nil
	})
	for range 10 {
		clock.Step(5 * time.Second)
	}
	if n := len(watched.all()); n != 1 {
		t.Errorf("%d configurations, though nothing was written", n)
	}
	w.register("two")
	testkit.Eventually(t, 20*time.Second, func() error {
		clock.Step(5 * time.Second)
		if all := watched.all(); all[len(all)-1].Agents["beijing"].Incarnation != "two" {
			return fmt.Errorf("%d configurations, the last of revision %d", len(all), all[len(all)-1].Revision)
		}
		return nil
	})
}
