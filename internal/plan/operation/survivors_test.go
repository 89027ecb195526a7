package operation_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/capacity"
	"multiactive.dev/operator/internal/plan/operation"
	"multiactive.dev/operator/internal/plan/order"
)

// runs adds the service to what the hub sees, in two regions alike with three replicas each.
func (w *world) runs(survivors string) *world {
	mas := &v1alpha1.MultiActiveService{ObjectMeta: metav1.ObjectMeta{Namespace: "accounts", Name: "user", UID: uid}}
	mas.Spec.Workload = v1alpha1.Workload{Type: v1alpha1.WorkloadManaged, Replicas: ptr.To[int32](3)}
	mas.Spec.Failover = &v1alpha1.Failover{Survivors: survivors}
	s := capacity.Service{Declared: mas, Slices: map[string]*v1alpha1.RegionalService{}}
	mas.Spec.Regions = []v1alpha1.ServiceRegion{{Name: "beijing"}, {Name: "shanghai"}}
	for _, name := range []string{"beijing", "shanghai"} {
		slice := slices.Build(slices.Input{Service: mas}, name)
		slice.Status.Features = []string{regional.FeaturePreparedFor}
		slice.Status.Workload = &v1alpha1.ReplicaStatus{Desired: 3, Ready: 3}
		s.Slices[name] = slice
	}
	record := w.seen.Configuration.Services[uid]
	record.SpecHash = slices.Ownership(mas).Hash
	w.seen.Configuration.Services[uid] = record
	w.seen.Services = []capacity.Service{s}
	return w
}

// has lets a region have so many replicas, prepared for the drain of beijing.
func (w *world) has(region string, ready, desired int32) *world {
	slice := w.seen.Services[0].Slices[region]
	slice.Status.Workload = &v1alpha1.ReplicaStatus{Desired: desired, Ready: ready}
	slice.Spec.Workload.PreparedFor = []string{"beijing"}
	return w
}

// held lets the order have been held back for its survivors since a while ago.
func (w *world) held() *world {
	w.o.Status.State = v1alpha1.OperationRunning
	w.o.Status.Steps = []v1alpha1.OperationStep{{Name: operation.PrepareSurvivors, StartedAt: ptr.To(metav1.NewTime(now.Add(-time.Minute)))}}
	return w
}

func TestDecideCapacity(t *testing.T) {
	t.Parallel()
	const (
		drain, undrain, handback = v1alpha1.OperationDrain, v1alpha1.OperationUndrain, v1alpha1.OperationHandback
		scale, keep              = v1alpha1.SurvivorsScale, v1alpha1.SurvivorsKeep
		running, pending, failed = v1alpha1.OperationRunning, v1alpha1.OperationPending, v1alpha1.OperationFailed
	)
	const handedOver = "AddFinalizer Propose"
	late := func(w *world) { w.o.Spec.Timeout = &metav1.Duration{Duration: 30 * time.Second} }
	excluded := func(w *world) {
		r := w.seen.Configuration.Services[uid]
		r.Excluded = []string{"beijing"}
		w.seen.Configuration.Services[uid] = r
	}
	for name, c := range map[string]struct {
		world  *world
		steps  string
		state  v1alpha1.OperationState
		reason string
		words  []string
	}{
		"a drain is held back": {
			ordered(drain, false).runs(scale), "", running, "CapacityAwaited", []string{"accounts/user in shanghai: 3/6 ready", "spec.capacity Ignore"},
		},
		"so is one of a service": {
			ordered(drain, true).runs(scale), "", running, "CapacityAwaited", []string{"accounts/user in shanghai: 3/6 ready"},
		},
		"not when the survivors have what they need": {
			ordered(drain, false).runs(scale).held().has("shanghai", 6, 6), handedOver, running, "OrderRunning", []string{"leader"},
		},
		"not when they are kept": {ordered(drain, false).runs(keep), handedOver, pending, "OrderPending", []string{"leader"}},
		"not when told not to wait": {
			ordered(drain, false).runs(scale).but(func(w *world) { w.o.Spec.Capacity = v1alpha1.CapacityIgnore }), handedOver, pending, "OrderPending", nil,
		},
		"one that the leader has is not held back any more": {
			ordered(drain, false).runs(scale).proposed().answers(ownership.OrderRunning, "waits"), "", running, "OrderRunning", []string{"waits"},
		},
		"what cannot be is refused first": {
			ordered(drain, false).runs(scale).but(func(w *world) { w.o.Spec.Region = "nanjing" }), "", v1alpha1.OperationRefused, "OrderInvalid", nil,
		},
		"the region is lost meanwhile: the leader says so": {
			ordered(drain, false).runs(scale).held().region(ownership.RegionLost), handedOver, running, "OrderRunning", nil,
		},
		"the store is away meanwhile": {
			ordered(drain, false).runs(scale).held().but(func(w *world) { w.seen.StoreConnected = false }), "", pending, "StoreUnreachable", nil,
		},
		"they never get what they need": {
			ordered(drain, false).runs(scale).held().but(late), "", failed, "CapacityLacking",
			[]string{"no owner has changed", "scaled back", "accounts/user in shanghai: 3/6 ready", "spec.capacity Ignore"},
		},
		"the hub was away for all of the time": {
			ordered(drain, false).runs(scale).but(late), "", failed, "OrderFailed", []string{"order it anew"},
		},
		"done, with survivors that were kept": {
			ordered(drain, false).runs(keep).region(ownership.RegionDrained).proposed().answers(ownership.OrderSucceeded, "done"), "",
			v1alpha1.OperationSucceeded, "OrderSucceeded", []string{
				`"type":"Undrain"`, "Not scaled up: accounts/user (survivors: Keep): shanghai will own 100 % more keys than its replicas are sized for",
			},
		},
		"an undrain of a service without a ready replica": {
			ordered(undrain, true).runs(scale).but(excluded).has("beijing", 0, 3), "", pending, "CapacityAwaited",
			[]string{"waits for a ready replica of accounts/user in beijing: 0/3 ready"},
		},
		"with one": {ordered(undrain, true).runs(scale).but(excluded).has("beijing", 1, 3), handedOver, pending, "OrderPending", nil},
		"it never gets one": {
			ordered(undrain, true).runs(scale).but(excluded).has("beijing", 0, 3).but(late), "", failed, "CapacityLacking",
			[]string{"nothing was done", "accounts/user in beijing: 0/3 ready", "order it anew"},
		},
		"a handback of a service without a ready replica": {
			ordered(handback, true).runs(keep).region(ownership.RegionReturning).has("beijing", 0, 3), "", pending, "CapacityAwaited", nil,
		},
		"a handback of all is the leader's": {
			ordered(handback, false).runs(keep).region(ownership.RegionReturning).has("beijing", 0, 3), handedOver, pending, "OrderPending", nil,
		},
		"who is left out is told": {
			ordered(handback, false).runs(keep).region(ownership.RegionReturning).has("beijing", 0, 3).proposed().answers(ownership.OrderRunning, "waits"), "",
			running, "OrderRunning", []string{"waits. Services without a ready replica", "accounts/user in beijing: 0/3 ready"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := c.world
			p := operation.Decide(now, w.o, w.seen)
			if got := kinds(p); got != c.steps {
				t.Errorf("steps %q, want %q", got, c.steps)
			}
			if !operation.Ended(c.state) && c.reason == "CapacityAwaited" && (p.RecheckAfter <= 0 || p.RecheckAfter > 5*time.Second) {
				t.Errorf("looks again after %s", p.RecheckAfter)
			}
			operation.Report(now, w.o, w.seen, p)
			w.says(t, c.state, c.reason, c.words)
		})
	}
}

// The step begins when the order is first held back, and ends when it is handed over.
func TestPrepareSurvivors(t *testing.T) {
	t.Parallel()
	w := ordered(v1alpha1.OperationDrain, false).runs(v1alpha1.SurvivorsScale)
	look := func(at time.Time) {
		operation.Report(at, w.o, w.seen, operation.Decide(at, w.o, w.seen))
	}
	at := func(d time.Duration) *metav1.Time { return ptr.To(metav1.NewTime(now.Add(d))) }
	is := func(want ...v1alpha1.OperationStep) {
		t.Helper()
		if diff := cmp.Diff(want, w.o.Status.Steps); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	look(now)
	look(now.Add(time.Second))
	is(v1alpha1.OperationStep{Name: operation.PrepareSurvivors, StartedAt: at(0), Message: "waits for accounts/user in shanghai: 3/6 ready"})
	w.seen.StoreConnected = false
	look(now.Add(2 * time.Second))
	is(v1alpha1.OperationStep{Name: operation.PrepareSurvivors, StartedAt: at(0), Message: "waits for accounts/user in shanghai: 3/6 ready"})
	w.seen.StoreConnected = true
	w.has("shanghai", 6, 6)
	look(now.Add(3 * time.Second))
	prepared := v1alpha1.OperationStep{
		Name: operation.PrepareSurvivors, StartedAt: at(0), EndedAt: at(3 * time.Second), Message: "scaled up: accounts/user in shanghai: 6/6 ready",
	}
	is(prepared)
	w.proposed()
	look(now.Add(4 * time.Second))
	is(prepared, v1alpha1.OperationStep{Name: operation.HandOver, StartedAt: at(3 * time.Second)})
	w.region(ownership.RegionDrained).seen.Configuration.Orders[order.Name(w.o)] = ownership.OrderRecord{
		State: ownership.OrderSucceeded, StartedAt: now.Add(5 * time.Second), EndedAt: ptr.To(now.Add(6 * time.Second)), Message: "done",
	}
	look(now.Add(7 * time.Second))
	is(prepared, v1alpha1.OperationStep{Name: operation.HandOver, StartedAt: at(3 * time.Second), EndedAt: at(5 * time.Second)},
		v1alpha1.OperationStep{Name: operation.CarryOut, StartedAt: at(5 * time.Second), EndedAt: at(6 * time.Second), Message: "done"})

	unsaid := ordered(v1alpha1.OperationDrain, false).runs(v1alpha1.SurvivorsScale)
	operation.Report(now, unsaid.o, unsaid.seen, operation.Decide(now, unsaid.o, unsaid.seen))
	unsaid.proposed() // and the status was not written
	operation.Report(now, unsaid.o, unsaid.seen, operation.Decide(now, unsaid.o, unsaid.seen))
	want := v1alpha1.OperationStep{Name: operation.PrepareSurvivors, StartedAt: at(0), EndedAt: at(0), Message: "scaled up"}
	if diff := cmp.Diff(want, unsaid.o.Status.Steps[0]); diff != "" {
		t.Errorf("handed over without a word (-want +got)\n%s", diff)
	}

	kept := ordered(v1alpha1.OperationDrain, false).runs(v1alpha1.SurvivorsKeep)
	operation.Report(now, kept.o, kept.seen, operation.Decide(now, kept.o, kept.seen))
	want.Message = "not scaled up: accounts/user (survivors: Keep): shanghai will own 100 % more keys than its replicas are sized for"
	if diff := cmp.Diff([]v1alpha1.OperationStep{want}, kept.o.Status.Steps); diff != "" {
		t.Errorf("kept (-want +got)\n%s", diff)
	}
}
