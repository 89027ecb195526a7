package operation_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/capacity"
	"multiactive.dev/operator/internal/plan/operation"
)

// announces is an order of half an hour that was given a minute ago, of a service with a flow login.
func announces() *world {
	w := ordered(v1alpha1.OperationAnnounce, true)
	w.o.Spec.Region, w.o.Spec.Announce = "", &v1alpha1.AnnounceSpec{
		Text: []v1alpha1.LocalizedText{{Language: "en", Value: "Sorry."}}, Duration: &metav1.Duration{Duration: 30 * time.Minute},
	}
	w.seen.Service.Spec.Flows = []v1alpha1.Flow{{Name: "login"}}
	w.seen.Services = []capacity.Service{{Declared: w.seen.Service, Slices: map[string]*v1alpha1.RegionalService{
		"beijing": slice(), "shanghai": slice(),
	}}}
	return w.listed()
}

// listed has the order among all orders, as it stands.
func (w *world) listed(others ...v1alpha1.Operation) *world {
	w.seen.Orders = append(slices.Clone(others), *w.o.DeepCopy())
	return w
}

func slice() *v1alpha1.RegionalService {
	return &v1alpha1.RegionalService{ObjectMeta: metav1.ObjectMeta{Generation: 1}, Status: v1alpha1.RegionalServiceStatus{
		Conditions: []metav1.Condition{{Type: v1alpha1.ConditionGatewayReady, ObservedGeneration: 1}},
	}}
}

// shows has the text in regions' slices, and the order taken up.
func (w *world) shows(regions ...string) *world {
	for _, r := range regions {
		w.seen.Services[0].Slices[r].Spec.Announcements = []v1alpha1.Announcement{{Flows: []string{"*"}, Text: w.o.Spec.Announce.Text}}
	}
	w.o.Status.State = v1alpha1.OperationRunning
	return w.listed()
}

// later is an order for the same that was given after w's.
func (w *world) later(state v1alpha1.OperationState) v1alpha1.Operation {
	o := *w.o.DeepCopy()
	o.Name, o.CreationTimestamp, o.Status.State = "newer", metav1.NewTime(now), state
	return o
}

func TestDecideAnnounce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		world  *world
		state  v1alpha1.OperationState
		reason string
		words  []string
		// recheck is when to look again.
		recheck time.Duration
	}{
		"taken up": {
			announces(), v1alpha1.OperationRunning, "OrderRunning", []string{"waits for beijing (it is on its way), shanghai (it is on its way)"}, 29 * time.Minute,
		},
		"without the store": {
			announces().but(func(w *world) { w.seen.StoreKnown = false }), v1alpha1.OperationRunning, "OrderRunning", nil, 29 * time.Minute,
		},
		"one region has it": {
			announces().shows("beijing"), v1alpha1.OperationRunning, "OrderRunning", []string{"gateways have it in beijing", "waits for shanghai"}, 29 * time.Minute,
		},
		"all have it": {
			announces().shows("beijing", "shanghai"), v1alpha1.OperationRunning, "Announced",
			[]string{"gateways have it in beijing, shanghai; it ends at 2026-03-01T12:29:00Z", "spec.announce.course End"}, 29 * time.Minute,
		},
		"the only one that it names has it": {
			announces().but(func(w *world) { w.o.Spec.Announce.Regions = []string{"shanghai"} }).shows("shanghai"), v1alpha1.OperationRunning, "Announced",
			[]string{"have it in shanghai;"}, 29 * time.Minute,
		},
		"a region's member has not acted": {
			announces().shows("beijing", "shanghai").but(func(w *world) { w.seen.Services[0].Slices["beijing"].Generation = 2 }),
			v1alpha1.OperationRunning, "OrderRunning", []string{"beijing (its member has not acted on it)"}, 29 * time.Minute,
		},
		"a region cannot be reached": {
			announces().shows("shanghai").but(func(w *world) { delete(w.seen.Services[0].Slices, "beijing") }),
			v1alpha1.OperationRunning, "OrderRunning", []string{"beijing (the hub cannot use its cluster)"}, 29 * time.Minute,
		},
		"it is ended": {
			announces().shows("beijing").but(func(w *world) { w.o.Spec.Announce.Course = v1alpha1.AnnounceEnd; w.listed() }),
			v1alpha1.OperationSucceeded, "OrderSucceeded", []string{"course says End"}, 0,
		},
		"it is ended in another cluster": {
			announces().shows("beijing").but(func(w *world) {
				other := *w.o.DeepCopy()
				other.Spec.Announce.Course = v1alpha1.AnnounceEnd
				w.listed(other)
			}), v1alpha1.OperationSucceeded, "OrderSucceeded", []string{"course says End"}, 0,
		},
		"its time is up": {
			announces().shows("beijing").but(func(w *world) { w.o.Spec.Announce.Duration = &metav1.Duration{Duration: time.Minute}; w.listed() }),
			v1alpha1.OperationSucceeded, "OrderSucceeded", []string{"until its time was up"}, 0,
		},
		"its time was up before anybody saw it": {
			announces().but(func(w *world) { w.o.Spec.Announce.Duration = &metav1.Duration{Duration: time.Minute}; w.listed() }),
			v1alpha1.OperationFailed, "OrderFailed", []string{"nobody took it up", "Order it anew"}, 0,
		},
		"a later one ends it": {
			announces().shows("beijing").but(func(w *world) { w.listed(w.later(v1alpha1.OperationRunning)) }),
			v1alpha1.OperationSucceeded, "OrderSucceeded", []string{"Operation newer"}, 0,
		},
		"a later one that was refused does not": {
			announces().shows("beijing", "shanghai").but(func(w *world) { w.listed(w.later(v1alpha1.OperationRefused)) }),
			v1alpha1.OperationRunning, "Announced", nil, 29 * time.Minute,
		},
		"the service went": {
			announces().shows("beijing").but(func(w *world) { w.seen.Service = nil }), v1alpha1.OperationSucceeded, "OrderSucceeded", []string{"accounts/user is gone"}, 0,
		},
		"no such service": {
			announces().but(func(w *world) { w.seen.Service = nil }), v1alpha1.OperationRefused, "OrderInvalid", []string{"spec.service", "no MultiActiveService accounts/user"}, 0,
		},
		"the service is being deleted": {
			announces().but(func(w *world) { w.seen.Service.DeletionTimestamp = ptr.To(metav1.NewTime(now)) }),
			v1alpha1.OperationRefused, "OrderRefused", []string{"spec.service", "being deleted"}, 0,
		},
		"no such flow": {
			announces().but(func(w *world) { w.o.Spec.Announce.Flows = []string{"login", "pay"} }),
			v1alpha1.OperationRefused, "OrderInvalid", []string{"spec.announce.flows", "no flow pay; it has: login", `"*"`}, 0,
		},
		"a flow that was taken out of the declaration since": {
			announces().but(func(w *world) { w.o.Spec.Announce.Flows = []string{"pay"} }).shows(), v1alpha1.OperationRunning, "OrderRunning", nil, 29 * time.Minute,
		},
		"no such region": {
			announces().but(func(w *world) { w.o.Spec.Announce.Regions = []string{"shenzhen"} }),
			v1alpha1.OperationRefused, "OrderInvalid", []string{"spec.announce.regions", "does not run in region shenzhen; it runs in: beijing, shanghai"}, 0,
		},
		"one of an earlier version, without a text": {
			announces().but(func(w *world) { w.o.Spec.Announce = nil }), v1alpha1.OperationRefused, "OrderInvalid", []string{"spec.announce: there is no text"}, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := c.world
			p := operation.Decide(now, w.o, w.seen)
			if len(p.Steps) > 0 || p.RecheckAfter != c.recheck {
				t.Errorf("steps %q, another look after %s; want none, and %s", kinds(p), p.RecheckAfter, c.recheck)
			}
			operation.Report(now, w.o, w.seen, p)
			w.says(t, c.state, c.reason, c.words)
		})
	}
}

// The step says from when to when the text was shown, and where.
func TestShowStep(t *testing.T) {
	t.Parallel()
	w := announces()
	look := func(after time.Duration) {
		at := now.Add(after)
		operation.Report(at, w.o, w.seen, operation.Decide(at, w.o, w.listed().seen))
	}
	look(0)
	if len(w.o.Status.Steps) != 0 {
		t.Errorf("steps before any region has it: %+v", w.o.Status.Steps)
	}
	w.shows("beijing")
	look(time.Second)
	w.shows("shanghai")
	look(2 * time.Second)
	look(time.Hour)
	want := []v1alpha1.OperationStep{{
		Name: operation.Show, Message: "in beijing, shanghai",
		StartedAt: ptr.To(metav1.NewTime(now.Add(time.Second))), EndedAt: ptr.To(metav1.NewTime(now.Add(time.Hour))),
	}}
	if diff := cmp.Diff(want, w.o.Status.Steps); diff != "" || w.o.Status.State != v1alpha1.OperationSucceeded {
		t.Errorf("state %s, steps (-want +got)\n%s", w.o.Status.State, diff)
	}
}
