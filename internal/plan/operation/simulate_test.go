package operation_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/capacity"
	"multiactive.dev/operator/internal/plan/operation"
	"multiactive.dev/operator/internal/plan/order"
)

// drained is one drain on its way: the hub's two controllers, a member and a leader, each of which acts
// when it likes, on what the others have written.
type drained struct {
	*world
	now   time.Time
	given bool
}

func (d *drained) slice() *v1alpha1.RegionalService { return d.seen.Services[0].Slices["shanghai"] }

// pass is one of the order's controller. What it hands over must not be more than shanghai can carry,
// unless nobody waits for that, or beijing's keys are there already.
func (d *drained) pass(t *rapid.T) {
	p := operation.Decide(d.now, d.o, d.seen)
	name := order.Name(d.o)
	for _, s := range p.Steps {
		switch s.Kind {
		case operation.StepPropose:
			ready := d.slice().Status.Workload.Ready
			if serves := d.seen.Configuration.View.Regions["beijing"].State == ownership.RegionServing; serves && d.o.Spec.Capacity != v1alpha1.CapacityIgnore && ready < 6 {
				t.Fatalf("handed over with %d of 6 replicas", ready)
			}
			d.seen.Configuration.OrderIntents[name] = s.Intent
			d.given = true
		case operation.StepWithdraw:
			delete(d.seen.Configuration.OrderIntents, name)
			delete(d.seen.Configuration.Orders, name)
		case operation.StepAddFinalizer:
			d.o.Finalizers = []string{operation.Finalizer}
		case operation.StepRemoveFinalizer:
			d.o.Finalizers = nil
		case operation.StepAbandon:
			t.Fatal("a drain abandons nothing")
		}
	}
	operation.Report(d.now, d.o, d.seen, p)
}

// service is one of the service's controller, member one of shanghai's: it starts at most one replica.
func (d *drained) service() {
	s := d.slice()
	if want := capacity.PreparedFor(d.seen.Services[0].Declared, []v1alpha1.Operation{*d.o}); len(want) != len(s.Spec.Workload.PreparedFor) {
		s.Spec.Workload.PreparedFor = want
		s.Generation++
	}
}

func (d *drained) member(broken bool) {
	s := d.slice()
	s.Status.ObservedGeneration = s.Generation
	w := s.Status.Workload
	w.Desired = *regional.Replicas(&s.Spec, d.seen.Configuration)
	switch {
	case w.Ready > w.Desired:
		w.Ready = w.Desired
	case w.Ready < w.Desired && (!broken || w.Ready != 4):
		w.Ready++
	}
}

// leader takes up what it is given, and drains beijing.
func (d *drained) leader() {
	name := order.Name(d.o)
	c := d.seen.Configuration
	if _, proposed := c.OrderIntents[name]; !proposed {
		return
	}
	switch record, taken := c.Orders[name]; {
	case !taken:
		c.Orders[name] = ownership.OrderRecord{Name: name, State: ownership.OrderRunning, StartedAt: d.now}
	case record.State == ownership.OrderRunning && c.View.Regions["beijing"].State == ownership.RegionLost:
		record.State, record.EndedAt = ownership.OrderRefused, ptr.To(d.now)
		c.Orders[name] = record
	case record.State == ownership.OrderRunning:
		c.View.Regions["beijing"] = ownership.RegionRecord{State: ownership.RegionDrained}
		record.State, record.EndedAt = ownership.OrderSucceeded, ptr.To(d.now)
		c.Orders[name] = record
	}
}

// TestSimulateDrain runs drains to their end under any order of who acts, without the store or the hub for
// a while, with a region that is lost midway, and with survivors that never get ready.
func TestSimulateDrain(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := &drained{world: ordered(v1alpha1.OperationDrain, rapid.Bool().Draw(t, "of one service")).runs(v1alpha1.SurvivorsScale), now: now}
		d.o.CreationTimestamp, d.o.Spec.Timeout = metav1.NewTime(now), &metav1.Duration{Duration: 5 * time.Minute}
		d.o.Spec.Capacity = rapid.SampledFrom([]v1alpha1.CapacityPolicy{"", v1alpha1.CapacityWait, v1alpha1.CapacityIgnore}).Draw(t, "capacity")
		broken, lost := rapid.Bool().Draw(t, "a replica never gets ready"), false
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			d.now = d.now.Add(time.Second)
			switch rapid.SampledFrom([]string{"pass", "service", "member", "leader", "store", "lost"}).Draw(t, "what") {
			case "pass":
				d.pass(t)
			case "service":
				d.service()
			case "member":
				d.member(broken)
			case "leader":
				d.leader()
			case "store":
				d.seen.StoreConnected = !d.seen.StoreConnected
			case "lost":
				if !lost && d.seen.Configuration.View.Regions["beijing"].State == ownership.RegionServing {
					lost = rapid.Bool().Draw(t, "beijing is lost")
				}
				if lost {
					d.region(ownership.RegionLost)
				}
			}
		}
		d.seen.StoreConnected = true
		for range 60 {
			d.now = d.now.Add(10 * time.Second)
			for _, act := range []func(){func() { d.pass(t) }, d.service, func() { d.member(broken) }, d.leader} {
				act()
			}
		}
		state, beijing := d.o.Status.State, d.seen.Configuration.View.Regions["beijing"].State
		if !operation.Ended(state) || len(d.o.Finalizers)+len(d.seen.Configuration.OrderIntents) > 0 {
			t.Fatalf("after ten minutes it is %s, with finalizers %v, and the store has %v", state, d.o.Finalizers, d.seen.Configuration.OrderIntents)
		}
		if (state == v1alpha1.OperationSucceeded) != (beijing == ownership.RegionDrained) {
			t.Fatalf("it is %s, and beijing %s", state, beijing)
		}
		waited := d.o.Spec.Capacity != v1alpha1.CapacityIgnore
		if broken && waited && !lost && (d.given || d.o.Status.Conditions[0].Reason != v1alpha1.ReasonCapacityLacking) {
			t.Fatalf("handed over: %t, and it says %+v", d.given, d.o.Status.Conditions)
		}
		if !broken && !lost && state != v1alpha1.OperationSucceeded {
			t.Fatalf("it is %s though nothing was in its way: %+v", state, d.o.Status.Conditions)
		}
		if want := int32(3); beijing == ownership.RegionServing && (d.slice().Status.Workload.Desired != want || len(d.slice().Spec.Workload.PreparedFor) > 0) {
			t.Fatalf("shanghai is not scaled back: %+v, prepared for %v", d.slice().Status.Workload, d.slice().Spec.Workload.PreparedFor)
		}
		if beijing != ownership.RegionServing && d.slice().Status.Workload.Desired != 6 {
			t.Fatalf("shanghai has been scaled back to %d without beijing", d.slice().Status.Workload.Desired)
		}
	})
}
