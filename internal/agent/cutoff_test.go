package agent_test

import (
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/etcdstore"
	"multiactive.dev/operator/internal/testkit/link"
)

// links are the ways from one region to all members.
type links []*link.Link

func newLinks(t *testing.T, s *etcdstore.Store) links {
	t.Helper()
	var all links
	for _, e := range s.Endpoints() {
		all = append(all, link.New(t, e))
	}
	return all
}

func (all links) connect(t *testing.T) *coordination.Store {
	t.Helper()
	var endpoints []string
	for _, l := range all {
		endpoints = append(endpoints, l.Endpoint())
	}
	return connect(t, endpoints)
}

func (all links) set(cut bool) {
	for _, l := range all {
		l.Cut(cut)
	}
}

// A region that is cut off and runs on must hold no lease when the others take it for Lost, and
// come back as the same incarnation. What it sent before and arrives late must do no harm.
func TestCutOffRegion(t *testing.T) {
	w := newWorld(t)
	const victim = "shanghai"
	ways := newLinks(t, w.store)
	w.agents[victim].stop()
	w.agents[victim].wait()
	w.startOn(victim, ways.connect(t))
	a := w.agents[victim]
	w.eventually("it has a lease again", func(c ownership.Configuration) bool {
		return a.Lease() > 0 && !c.View.Regions[victim].Suspect && c.Leader != ""
	})

	leaseAtLoss := make(chan time.Duration, 1)
	w.onChange(func(c ownership.Configuration) {
		if !c.Gates[victim].Open {
			select {
			case leaseAtLoss <- a.Lease():
			default:
			}
		}
	})
	ways.set(true)
	w.net.kill(victim, true)
	w.eventually("it is Lost", func(c ownership.Configuration) bool {
		return c.View.Regions[victim].State == ownership.RegionLost
	})
	if lease := <-leaseAtLoss; lease > 0 {
		t.Errorf("the gate was closed while the region held a lease for another %s", lease)
	}
	if reachable, _ := a.StoreReachable(); reachable {
		t.Error("the region that is cut off takes the store for reachable")
	}
	identity := a.Identity()
	ways.set(false)
	testkit.Eventually(t, 30*time.Second, func() error {
		c, _ := a.Snapshot()
		if c.View.Regions[victim].State == ownership.RegionServing || a.Lease() > 0 {
			return fmt.Errorf("the region has not heard of its loss: %+v, lease %s", c.View.Regions[victim], a.Lease())
		}
		return nil
	})
	w.net.kill(victim, false)
	w.eventually("it serves again", func(c ownership.Configuration) bool {
		return c.View.Regions[victim].State == ownership.RegionServing && a.Lease() > 0
	})
	if a.Identity() != identity {
		t.Errorf("the agent is %s, was %s", a.Identity(), identity)
	}
	w.checkHistory(victim)
}

// The new leader's incident begins when it saw the first evidence itself: its own probes, while the
// store, which has lost its leader too, took no evidence from anybody.
func TestLossOfTheLeaderIsMeasured(t *testing.T) {
	ways := map[string]links{}
	w := newWorldOn(t, func(s *etcdstore.Store, region string) *coordination.Store {
		ways[region] = newLinks(t, s)
		return ways[region].connect(t)
	})
	w.eventually("an agent leads and nobody is suspect", func(c ownership.Configuration) bool {
		return c.Leader != "" && len(c.Held) == 0 && w.quiet(5)
	})
	victim := w.leader()
	leadStore(t, w.store, victim)
	w.eventually("all goes on", func(ownership.Configuration) bool { return w.quiet(5) })

	lost := time.Now()
	ways[victim].set(true) // it cannot even resign
	w.net.kill(victim, true)
	if err := w.store.Member(victim).Kill(); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is Lost", func(c ownership.Configuration) bool { return hasStep(c, victim, ownership.StepCommitted) })
	w.checkMeasured(victim, lost)
}

// checkMeasured holds the incident so far against the wall clock, which all regions share here.
func (w *world) checkMeasured(victim string, lost time.Time) {
	w.t.Helper()
	incident := incidentOf(w.latest(), victim)
	w.t.Logf("lost at %s: %+v", lost.UTC(), incident)
	interval, began := ownership.FastTimings().ProbeInterval, incident.Timeline[0].At
	// A probe is sent in every interval, by each agent that may come to lead; a second is for a machine
	// that has other things to do.
	most := interval + time.Second
	if late := began.Sub(lost); late < -interval || late > most {
		w.t.Errorf("suspected %s after the loss, want when the first probe failed", late)
	}
	for _, step := range incident.Timeline {
		if off := step.At.Sub(began) - step.SinceSuspected; step.Approximate || off.Abs() > most {
			w.t.Errorf("%+v is %s off what the clock on the wall says", step, off)
		}
	}
}

// leadStore makes a region's member lead the store, so that it has no leader once that is lost.
func leadStore(t *testing.T, s *etcdstore.Store, region string) {
	t.Helper()
	client := func(endpoint string) *clientv3.Client {
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	wanted := s.Member(region).Endpoint()
	testkit.Eventually(t, 20*time.Second, func() error {
		status, err := client(wanted).Status(t.Context(), wanted)
		if err != nil || status.Leader == status.Header.GetMemberId() {
			return err
		}
		for _, m := range s.Members() {
			at, err := client(m.Endpoint()).Status(t.Context(), m.Endpoint())
			if err == nil && at.Leader == at.Header.GetMemberId() {
				_, err = client(m.Endpoint()).MoveLeader(t.Context(), status.Header.GetMemberId())
			}
			if err != nil {
				return err
			}
		}
		return fmt.Errorf("the member of %s does not lead the store yet", region)
	})
}
