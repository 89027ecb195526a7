package operation_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/operation"
	"multiactive.dev/operator/internal/plan/order"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const uid = "0f5e"

type world struct {
	o    *v1alpha1.Operation
	seen operation.Seen
}

// ordered is an order that nobody has seen yet, in a world in which it can be carried out.
func ordered(kind v1alpha1.OperationType, service bool) *world {
	w := &world{
		o: &v1alpha1.Operation{
			ObjectMeta: metav1.ObjectMeta{Name: "o", UID: "u", Generation: 1, CreationTimestamp: metav1.NewTime(now.Add(-time.Minute))},
			Spec:       v1alpha1.OperationSpec{Type: kind, Region: "beijing"},
		},
		seen: operation.Seen{
			StoreKnown: true, StoreConnected: true, Regions: map[string]*v1alpha1.Region{},
			Configuration: ownership.Configuration{
				Leader: "shanghai-1",
				View: ownership.View{Epoch: 7, Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{
					"beijing": {State: ownership.RegionServing}, "shanghai": {State: ownership.RegionServing},
				}},
				Services: map[string]ownership.ServiceRecord{uid: {UID: uid, Namespace: "accounts", Name: "user"}},
				Orders:   map[string]ownership.OrderRecord{}, OrderIntents: map[string]ownership.OrderIntent{},
			},
		},
	}
	for _, name := range []string{"beijing", "shanghai", "witness", "shenzhen"} {
		r := &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: name}}
		meta.SetStatusCondition(&r.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionClusterReachable, Status: metav1.ConditionTrue, Reason: "Connected"})
		w.seen.Regions[name] = r
	}
	w.seen.Regions["witness"].Spec.Role = v1alpha1.RegionRoleWitness
	if service {
		w.o.Spec.Service = &v1alpha1.ServiceKey{Namespace: "accounts", Name: "user"}
		w.seen.Service = &v1alpha1.MultiActiveService{
			ObjectMeta: metav1.ObjectMeta{Namespace: "accounts", Name: "user", UID: uid},
			Spec:       v1alpha1.MultiActiveServiceSpec{Regions: []v1alpha1.ServiceRegion{{Name: "beijing"}, {Name: "shanghai"}}},
		}
	}
	return w
}

// proposed lets the store have the intent.
func (w *world) proposed() *world {
	w.o.Finalizers = []string{operation.Finalizer}
	w.seen.Configuration.OrderIntents[order.Name(w.o)] = ownership.OrderIntent{Name: order.Name(w.o)}
	return w
}

// answers lets the leader answer.
func (w *world) answers(state ownership.OrderState, message string) *world {
	r := ownership.OrderRecord{Name: order.Name(w.o), State: state, Message: message, StartedAt: now.Add(-30 * time.Second)}
	if state != ownership.OrderRunning {
		r.EndedAt = ptr.To(now.Add(-10 * time.Second))
	}
	w.seen.Configuration.Orders[r.Name] = r
	return w
}

func (w *world) but(change func(*world)) *world {
	change(w)
	return w
}

func (w *world) region(state ownership.RegionState) *world {
	w.seen.Configuration.View.Regions["beijing"] = ownership.RegionRecord{State: state}
	return w
}

// deleting lets the service be deleted while beijing cannot be reached.
func (w *world) deleting() *world {
	w.seen.Service.DeletionTimestamp = ptr.To(metav1.NewTime(now))
	w.seen.Regions["beijing"].Status.Conditions = nil
	return w
}

func (w *world) ended() *world {
	w.o.Status.State = v1alpha1.OperationSucceeded
	return w
}

func kinds(p operation.Plan) string {
	var out []string
	for _, s := range p.Steps {
		out = append(out, string(s.Kind))
	}
	return strings.Join(out, " ")
}

func TestDecide(t *testing.T) {
	t.Parallel()
	const drain, handback = v1alpha1.OperationDrain, v1alpha1.OperationHandback
	for name, c := range map[string]struct {
		world *world
		steps string
		state v1alpha1.OperationState
		// reason is "" when the status stays.
		reason string
		words  []string
	}{
		"handed over": {ordered(drain, false), "AddFinalizer Propose", v1alpha1.OperationPending, "OrderPending", []string{"leader"}},
		"handed over, for a service": {
			ordered(drain, true), "AddFinalizer Propose", v1alpha1.OperationPending, "OrderPending", nil,
		},
		"not taken up yet": {ordered(drain, false).proposed(), "", v1alpha1.OperationPending, "OrderPending", []string{"leader"}},
		"nobody leads": {
			ordered(drain, false).proposed().but(func(w *world) { w.seen.Configuration.Leader = "" }), "", v1alpha1.OperationPending, "OrderPending",
			[]string{"elected a leader"},
		},
		"the store was never read": {
			ordered(drain, false).but(func(w *world) { w.seen.StoreKnown, w.seen.StoreConnected = false, false }), "",
			v1alpha1.OperationPending, "StoreUnreachable", []string{"store's members"},
		},
		"the store does not answer": {
			ordered(drain, false).but(func(w *world) { w.seen.StoreConnected = false }), "",
			v1alpha1.OperationPending, "StoreUnreachable", []string{"store's members"},
		},
		"nobody took it up in time: withdrawn first": {
			ordered(drain, false).proposed().but(func(w *world) { w.o.Spec.Timeout = &metav1.Duration{Duration: 30 * time.Second} }),
			"Withdraw", v1alpha1.OperationPending, "OrderPending", nil,
		},
		"nobody took it up in time": {
			ordered(drain, false).but(func(w *world) { w.o.Spec.Timeout = &metav1.Duration{Duration: 30 * time.Second} }), "",
			v1alpha1.OperationFailed, "OrderFailed", []string{"order it anew"},
		},
		"waiting": {
			ordered(drain, true).proposed().answers(ownership.OrderRunning, "services not caught up: [0f5e]"), "",
			v1alpha1.OperationRunning, "OrderRunning", []string{"[accounts/user]"},
		},
		"waiting, and nobody leads": {
			ordered(drain, true).proposed().answers(ownership.OrderRunning, "waits").but(func(w *world) { w.seen.Configuration.Leader = "" }), "",
			v1alpha1.OperationRunning, "OrderRunning", []string{"elected a leader"},
		},
		"done": {
			ordered(drain, false).proposed().answers(ownership.OrderSucceeded, "done"), "", v1alpha1.OperationSucceeded, "OrderSucceeded",
			[]string{"region beijing owns no keys of any service", `"type":"Undrain"`},
		},
		"given up by the leader": {
			ordered(drain, false).proposed().answers(ownership.OrderFailed, "not done within its timeout: waits"), "",
			v1alpha1.OperationFailed, "OrderFailed", []string{"not done within its timeout", "Order it anew"},
		},
		"refused by the leader": {
			ordered(drain, false).proposed().answers(ownership.OrderRefused, "region beijing is lost already"), "",
			v1alpha1.OperationRefused, "OrderRefused", []string{"nothing was done", "lost already"},
		},
		"ended: withdrawn": {
			ordered(drain, false).proposed().answers(ownership.OrderSucceeded, "done").ended(), "Withdraw RemoveFinalizer", v1alpha1.OperationSucceeded, "", nil,
		},
		"ended, and the store has it again": {
			ordered(drain, false).proposed().ended().but(func(w *world) { w.o.Finalizers = nil }), "Withdraw", v1alpha1.OperationSucceeded, "", nil,
		},
		"ended and withdrawn": {ordered(drain, false).ended(), "", v1alpha1.OperationSucceeded, "", nil},
		"somebody took the intent away while it runs": {
			ordered(drain, false).answers(ownership.OrderRunning, "waits"), "AddFinalizer Propose", v1alpha1.OperationPending, "OrderPending", nil,
		},
		"deleted while it runs": {
			ordered(drain, false).proposed().answers(ownership.OrderRunning, "waits").but(func(w *world) {
				w.o.DeletionTimestamp = ptr.To(metav1.NewTime(now))
			}), "Withdraw RemoveFinalizer", "", "", nil,
		},
		"deleted without the store": {
			ordered(drain, false).proposed().but(func(w *world) {
				w.o.DeletionTimestamp, w.seen.StoreConnected = ptr.To(metav1.NewTime(now)), false
				w.o.Status.State = v1alpha1.OperationRunning
			}), "Withdraw RemoveFinalizer", v1alpha1.OperationRunning, "StoreUnreachable", []string{"being deleted"},
		},
		"no such region": {
			ordered(drain, false).but(func(w *world) { w.o.Spec.Region = "nanjing" }), "", v1alpha1.OperationRefused, "OrderInvalid",
			[]string{"spec.region", "no Region nanjing", "beijing, shanghai, shenzhen, witness"},
		},
		"a witness": {
			ordered(drain, false).but(func(w *world) { w.o.Spec.Region = "witness" }), "", v1alpha1.OperationRefused, "OrderInvalid",
			[]string{"spec.region", "is a witness", "role Active"},
		},
		"no such service": {
			ordered(drain, true).but(func(w *world) { w.seen.Service = nil }), "", v1alpha1.OperationRefused, "OrderInvalid",
			[]string{"spec.service", "no MultiActiveService accounts/user", "kubectl get mas -n accounts"},
		},
		"the service does not run there": {
			ordered(drain, true).but(func(w *world) { w.o.Spec.Region = "shenzhen" }), "", v1alpha1.OperationRefused, "OrderInvalid",
			[]string{"spec.region", "does not run in region shenzhen", "beijing, shanghai"},
		},
		"the service is being deleted": {
			ordered(drain, true).but(func(w *world) { w.seen.Service.DeletionTimestamp = ptr.To(metav1.NewTime(now)) }), "",
			v1alpha1.OperationRefused, "OrderRefused", []string{"spec.service", "being deleted"},
		},
		"the regions have not agreed on the service": {
			ordered(drain, true).but(func(w *world) { w.seen.Configuration.Services = nil }), "",
			v1alpha1.OperationPending, "OrderPending", []string{"accounts/user", "RoutingReady"},
		},
		"a loss of one service": {
			ordered(v1alpha1.OperationDeclareLost, true), "", v1alpha1.OperationRefused, "OrderInvalid", []string{"spec.service", "as a whole"},
		},
		"a handback of what was drained": {
			ordered(handback, false).region(ownership.RegionDrained), "", v1alpha1.OperationRefused, "OrderRefused", []string{`"type":"Undrain"`},
		},
		"a handback of one service that was drained": {
			ordered(handback, true).but(func(w *world) {
				s := w.seen.Configuration.Services[uid]
				s.Excluded = []string{"beijing"}
				w.seen.Configuration.Services[uid] = s
			}), "", v1alpha1.OperationRefused, "OrderRefused", []string{`"type":"Undrain"`, `"name":"user"`},
		},
		"an approval of nothing": {
			ordered(v1alpha1.OperationApproveFailover, false), "", v1alpha1.OperationRefused, "OrderRefused", []string{"is not lost", "Condition Serving"},
		},
		"an approval": {
			ordered(v1alpha1.OperationApproveFailover, true).region(ownership.RegionLost), "AddFinalizer Propose", v1alpha1.OperationPending, "OrderPending", nil,
		},
		"a type of another version": {
			ordered("Future", false), "", v1alpha1.OperationRefused, "NotSupportedYet", []string{"API reference"},
		},
		"abandon": {
			ordered(v1alpha1.OperationAbandon, true).deleting(), "Abandon", v1alpha1.OperationRunning, "OrderRunning", []string{"without waiting for: beijing"},
		},
		"abandon: noted": {
			ordered(v1alpha1.OperationAbandon, true).deleting().but(func(w *world) {
				w.seen.Service.Annotations = map[string]string{v1alpha1.AnnotationAbandoned: "beijing"}
			}), "", v1alpha1.OperationRunning, "OrderRunning", []string{"beijing"},
		},
		"abandon: gone": {
			ordered(v1alpha1.OperationAbandon, true).but(func(w *world) {
				w.seen.Service, w.o.Status.State = nil, v1alpha1.OperationRunning
			}), "", v1alpha1.OperationSucceeded, "OrderSucceeded", []string{"is deleted"},
		},
		"abandon: declared anew": {
			ordered(v1alpha1.OperationAbandon, true).but(func(w *world) { w.o.Status.State = v1alpha1.OperationRunning }), "",
			v1alpha1.OperationSucceeded, "OrderSucceeded", []string{"is deleted"},
		},
		"abandon: it waits for something else": {
			ordered(v1alpha1.OperationAbandon, true).deleting().but(func(w *world) {
				w.o.Status.State, w.o.Spec.Timeout = v1alpha1.OperationRunning, &metav1.Duration{Duration: time.Second}
			}), "", v1alpha1.OperationFailed, "OrderFailed", []string{"condition Ready"},
		},
		"abandon what is not being deleted": {
			ordered(v1alpha1.OperationAbandon, true), "", v1alpha1.OperationRefused, "OrderRefused", []string{"spec.service", "not being deleted", "Delete it"},
		},
		"abandon what is not there": {
			ordered(v1alpha1.OperationAbandon, true).but(func(w *world) { w.seen.Service = nil }), "", v1alpha1.OperationRefused, "OrderInvalid",
			[]string{"spec.service", "no MultiActiveService"},
		},
		"abandon a region that it does not run in": {
			ordered(v1alpha1.OperationAbandon, true).deleting().but(func(w *world) { w.o.Spec.Region = "shenzhen" }), "",
			v1alpha1.OperationRefused, "OrderInvalid", []string{"spec.region", "beijing, shanghai"},
		},
		"abandon a region that can be reached": {
			ordered(v1alpha1.OperationAbandon, true).deleting().but(func(w *world) { w.o.Spec.Region = "shanghai" }), "",
			v1alpha1.OperationRefused, "OrderRefused", []string{"out of reach", "Condition Ready"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := c.world
			p := operation.Decide(now, w.o, w.seen)
			if got := kinds(p); got != c.steps {
				t.Errorf("steps %q, want %q", got, c.steps)
			}
			before := w.o.Status.DeepCopy()
			operation.Report(now, w.o, w.seen, p)
			if c.reason == "" {
				if diff := cmp.Diff(*before, w.o.Status); diff != "" {
					t.Errorf("the status changes (-before +after)\n%s", diff)
				}
				return
			}
			w.says(t, c.state, c.reason, c.words)
		})
	}
}

func (w *world) says(t *testing.T, state v1alpha1.OperationState, reason string, words []string) {
	t.Helper()
	got := meta.FindStatusCondition(w.o.Status.Conditions, v1alpha1.ConditionComplete)
	want := metav1.ConditionFalse
	if operation.Ended(state) {
		want = metav1.ConditionTrue
	}
	if got == nil || w.o.Status.State != state || got.Status != want || got.Reason != reason || got.ObservedGeneration != 1 {
		t.Fatalf("state %s, condition %+v; want %s, %s", w.o.Status.State, got, state, reason)
	}
	for _, word := range words {
		if !strings.Contains(got.Message, word) {
			t.Errorf("%q does not say %q", got.Message, word)
		}
	}
}

func TestIntent(t *testing.T) {
	t.Parallel()
	w := ordered(v1alpha1.OperationDrain, true)
	w.o.Spec.ExpectedEpoch, w.o.Finalizers = 7, []string{operation.Finalizer}
	p := operation.Decide(now, w.o, w.seen)
	want := []operation.Step{{Kind: operation.StepPropose, Intent: ownership.OrderIntent{
		Name: order.Name(w.o), Type: "Drain", Region: "beijing", Service: uid, ExpectedEpoch: 7, Timeout: 10 * time.Minute,
	}}}
	if diff := cmp.Diff(want, p.Steps); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if p.RecheckAfter != 9*time.Minute {
		t.Errorf("looks again after %s, want when the timeout passes", p.RecheckAfter)
	}
}

// The steps' times are the leader's where it says them, and the hub's where it does not.
func TestSteps(t *testing.T) {
	t.Parallel()
	w := ordered(v1alpha1.OperationDrain, false).proposed()
	look := func(at time.Time) {
		operation.Report(at, w.o, w.seen, operation.Decide(at, w.o, w.seen))
	}
	look(now)
	w.answers(ownership.OrderRunning, "owners are changing")
	w.seen.Configuration.View.Change = &ownership.Change{Kind: ownership.ChangeDrain, Order: order.Name(w.o)}
	look(now.Add(time.Second))
	look(now.Add(2 * time.Second))
	w.seen.Configuration.View.Change = nil
	look(now.Add(3 * time.Second))
	w.answers(ownership.OrderSucceeded, "done")
	look(now.Add(4 * time.Second))
	at := func(d time.Duration) *metav1.Time { return ptr.To(metav1.NewTime(now.Add(d))) }
	want := []v1alpha1.OperationStep{
		{Name: operation.HandOver, StartedAt: at(-time.Minute), EndedAt: at(-30 * time.Second)},
		{Name: operation.CarryOut, StartedAt: at(-30 * time.Second), EndedAt: at(-10 * time.Second), Message: "done"},
		{Name: operation.ChangeOwners, StartedAt: at(time.Second), EndedAt: at(3 * time.Second)},
	}
	if diff := cmp.Diff(want, w.o.Status.Steps); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	stays := w.o.DeepCopy()
	look(now.Add(time.Hour))
	if diff := cmp.Diff(stays, w.o); diff != "" {
		t.Errorf("an order that has ended changes (-before +after)\n%s", diff)
	}
}
