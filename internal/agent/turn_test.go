package agent_test

import (
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"multiactive.dev/operator/internal/agent"
	"multiactive.dev/operator/internal/ownership"
)

// startIn starts another agent of Shanghai, in a place.
func (w *world) startIn(place string, alone bool) *running {
	w.t.Helper()
	return w.startInPod(place, "", alone)
}

// startInPod starts another agent of Shanghai, in a Pod of a place.
func (w *world) startInPod(place, pod string, alone bool) *running {
	w.t.Helper()
	const region = "shanghai"
	a, err := agent.New(agent.Config{
		Region: region, Store: connect(w.t, w.store.Endpoints()), Clock: agent.SystemClock(), Place: place, Process: place + "-0", Pod: pod, Alone: alone,
		Timings: ownership.FastTimings(), Prober: w.net, Log: testr.New(w.t).WithName(region + " in " + place),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.run(region, a)
	return w.agents[region]
}

// Two members of one region in two clusters, each with gateways of its own: the one that acts goes on, the
// other says what is wrong, and takes over when that has ended and its last lease has run out.
func TestTwoMembersOfOneRegion(t *testing.T) {
	w := newWorld(t)
	old := w.agents["shanghai"]
	first := w.startIn("one", true) // takes the place of one that says no place
	old.wait()
	w.eventually("the first acts", func(ownership.Configuration) bool { return first.Lease() > 0 })

	second := w.startIn("two", true)
	began := w.latest().Beats["shanghai"].N
	ahead := int64(3 * ownership.FastTimings().RegionLease / ownership.FastTimings().BeatInterval)
	w.eventually("the first has beaten on for three leases", func(c ownership.Configuration) bool {
		if second.Lease() > 0 || second.Identity() != "" {
			t.Fatalf("both act: leases %s and %s", first.Lease(), second.Lease())
		}
		return c.Beats["shanghai"].N > began+ahead && c.Rivals["shanghai"].Process == "two-0"
	})
	if trouble := second.Trouble(); !strings.Contains(trouble, "another member acts for region shanghai") || !strings.Contains(trouble, "one") {
		t.Errorf("the second says %q", trouble)
	}
	if first.Lease() == 0 || first.Trouble() != "" {
		t.Errorf("the first has a lease of %s and says %q", first.Lease(), first.Trouble())
	}

	first.stop()
	first.wait()
	ended := time.Now()
	w.eventually("the second takes over", func(ownership.Configuration) bool { return second.Lease() > 0 })
	// The beat may be as old as one interval when the first ends.
	if after := time.Since(ended); after < ownership.FastTimings().RegionLease-2*ownership.FastTimings().BeatInterval {
		t.Errorf("the second has a lease %s after the first ended, whose lease may have run on", after)
	}
	if got := second.Trouble(); got != "" {
		t.Errorf("the second still says %q", got)
	}
}

// A second process of the same cluster, where no election keeps it out, does not take turns with the first.
func TestTwoProcessesWithoutElection(t *testing.T) {
	w := newWorld(t)
	w.startIn("one", false)
	first := w.agents["shanghai"]
	w.eventually("the first acts", func(ownership.Configuration) bool { return first.Lease() > 0 })
	second := w.startIn("one", false)
	w.eventually("the second is announced", func(c ownership.Configuration) bool { return c.Rivals["shanghai"].Process == "one-0" })
	if second.Identity() != "" || !strings.Contains(second.Trouble(), "in the same cluster") {
		t.Errorf("the second is %q and says %q", second.Identity(), second.Trouble())
	}
	select {
	case err := <-first.done:
		t.Errorf("the first has ended with %v", err)
	default:
	}
	first.stop()
	first.wait()
	w.eventually("the second takes over", func(ownership.Configuration) bool { return second.Lease() > 0 })
}

// A process that is started in the Pod of the one which acts has no reason to wait: that one has ended, and its lease runs out.
func TestNextProcessOfAPodActsAtOnce(t *testing.T) {
	w := newWorld(t)
	first := w.startInPod("one", "a", false)
	w.eventually("the first acts", func(ownership.Configuration) bool { return first.Lease() > 0 })
	second := w.startInPod("one", "b", false)
	w.eventually("one of another Pod is announced", func(c ownership.Configuration) bool { return c.Rivals["shanghai"].Process == "one-0" })
	if second.Identity() != "" {
		t.Errorf("one of another Pod acts as %s", second.Identity())
	}
	third := w.startInPod("one", "a", false)
	w.eventually("one of the same Pod acts, though the first beats on", func(ownership.Configuration) bool { return third.Lease() > 0 })
	first.wait()
}

// An agent whose record somebody has deleted registers anew: nobody has replaced it.
func TestDeletedRecordIsWrittenAnew(t *testing.T) {
	w := newWorld(t)
	direct, err := clientv3.New(clientv3.Config{Endpoints: w.store.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = direct.Close() })
	a := w.agents["shanghai"]
	before := w.latest()
	if _, err := direct.Delete(t.Context(), "/multiactive/agent/shanghai"); err != nil {
		t.Fatal(err)
	}
	w.eventually("it beats as another incarnation", func(c ownership.Configuration) bool {
		return c.Agents["shanghai"].Incarnation != "" && c.Agents["shanghai"].Incarnation != before.Agents["shanghai"].Incarnation &&
			c.Beats["shanghai"].Incarnation == c.Agents["shanghai"].Incarnation && a.Lease() > 0
	})
	select {
	case err := <-a.done:
		t.Errorf("the agent has ended with %v", err)
	default:
	}
	// The whole prefix: what was agreed on is put back, what people proposed is proposed anew by the hub.
	if _, err := direct.Delete(t.Context(), "/multiactive/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	w.eventually("the view is back", func(c ownership.Configuration) bool {
		return c.View.Epoch > before.View.Epoch && len(c.Damage) == 0 && w.leased() && w.leader() != ""
	})
	for _, r := range regions {
		if got := w.latest().View.Regions[r]; got.State != ownership.RegionServing {
			t.Errorf("region %s: %+v", r, got)
		}
		select {
		case err := <-w.agents[r].done:
			t.Errorf("the agent of %s has ended with %v", r, err)
		default:
		}
	}
}
