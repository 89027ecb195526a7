package operation_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/capacity"
	"multiactive.dev/operator/internal/plan/operation"
	"multiactive.dev/operator/internal/plan/order"
)

// drill is a drill of beijing, with a service whose core flows are served.
func drill() *world {
	return ordered(v1alpha1.OperationDrill, false).serves("user", metav1.ConditionTrue)
}

// serves adds a service of both regions, or changes how its core flows are served.
func (w *world) serves(name string, core metav1.ConditionStatus, flows ...v1alpha1.FlowStatus) *world {
	mas := &v1alpha1.MultiActiveService{ObjectMeta: metav1.ObjectMeta{Namespace: "accounts", Name: name, UID: uid}}
	mas.Spec.Regions = []v1alpha1.ServiceRegion{{Name: "beijing"}, {Name: "shanghai"}}
	mas.Status.Summary = &v1alpha1.ServiceSummary{Lag: "<5m"}
	mas.Status.Flows = flows
	meta.SetStatusCondition(&mas.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionCoreAvailable, Status: core, Reason: "R"})
	for i := range w.seen.Services {
		if w.seen.Services[i].Declared.Name == name {
			w.seen.Services[i].Declared = mas
			return w
		}
	}
	w.seen.Services = append(w.seen.Services, capacity.Service{Declared: mas})
	return w
}

// goes lets the leader say how far the drill is.
func (w *world) goes(state ownership.OrderState, message string, d ownership.DrillRecord) *world {
	w.proposed().answers(state, message)
	record := w.seen.Configuration.Orders[order.Name(w.o)]
	record.Drill = &d
	w.seen.Configuration.Orders[record.Name] = record
	return w
}

func (w *world) out() *world {
	return w.goes(ownership.OrderRunning, "region beijing is out", ownership.DrillRecord{OutAt: ptr.To(now.Add(-20 * time.Second))})
}

func (w *world) endedBy(state ownership.OrderState, ending, why string) *world {
	return w.goes(state, why, ownership.DrillRecord{
		OutAt: ptr.To(now.Add(-20 * time.Second)), Ending: ending, Because: why, EndingAt: ptr.To(now.Add(-15 * time.Second)),
	})
}

func (w *world) course(c v1alpha1.DrillCourse) *world {
	w.o.Spec.Drill = &v1alpha1.DrillSpec{Course: c}
	return w
}

func TestDecideDrill(t *testing.T) {
	t.Parallel()
	const (
		running, failed, refused = v1alpha1.OperationRunning, v1alpha1.OperationFailed, v1alpha1.OperationRefused
		no                       = metav1.ConditionFalse
	)
	for name, c := range map[string]struct {
		world  *world
		steps  string
		state  v1alpha1.OperationState
		reason string
		words  []string
	}{
		"handed over":                      {drill(), "AddFinalizer Propose", v1alpha1.OperationPending, "OrderPending", nil},
		"core flows are lacking already":   {drill().serves("user", no), "", refused, "OrderRefused", []string{"accounts/user", "CoreAvailable", "anew"}},
		"also where it does not run":       {drill().serves("other", no), "", refused, "OrderRefused", []string{"accounts/other"}},
		"not known":                        {drill().serves("other", metav1.ConditionUnknown), "AddFinalizer Propose", v1alpha1.OperationPending, "OrderPending", nil},
		"aborted before":                   {drill().course(v1alpha1.DrillAbort), "", refused, "OrderRefused", []string{"aborted before it began"}},
		"a region that is not there":       {drill().but(func(w *world) { w.o.Spec.Region = "nanjing" }), "", refused, "OrderInvalid", []string{"no Region nanjing"}},
		"out":                              {drill().out(), "", running, "OrderRunning", []string{"region beijing is out"}},
		"out, and it is to go on":          {drill().course(v1alpha1.DrillRun).out(), "", running, "OrderRunning", nil},
		"aborted":                          {drill().course(v1alpha1.DrillAbort).out(), "Propose", running, "OrderRunning", nil},
		"a core flow is lost":              {drill().out().serves("user", no), "Propose", running, "OrderRunning", nil},
		"and the leader has been told":     {drill().out().serves("user", no).told(), "", running, "OrderRunning", nil},
		"and it ends already":              {drill().endedBy(ownership.OrderRunning, "TimeIsUp", "so").serves("user", no), "", running, "OrderRunning", nil},
		"passed":                           {drill().endedBy(ownership.OrderSucceeded, "TimeIsUp", "so"), "", v1alpha1.OperationSucceeded, "OrderSucceeded", []string{"was out for 10m0s", "serves and owns its keys again"}},
		"aborted, and back":                {drill().endedBy(ownership.OrderFailed, "AnotherRegion", "region shenzhen is Lost"), "", failed, "DrillAborted", []string{"region shenzhen is Lost", "serves and owns its keys again", "anew"}},
		"aborted, and another has drained": {drill().endedBy(ownership.OrderFailed, "AnotherOrder", "order x").region(ownership.RegionDrained), "", failed, "DrillAborted", []string{"Region beijing is Drained now"}},
		"given up before it was out":       {drill().goes(ownership.OrderFailed, "regions not fenced: [beijing]", ownership.DrillRecord{}), "", failed, "OrderFailed", []string{"not fenced"}},
		"refused by the leader":            {drill().proposed().answers(ownership.OrderRefused, "region shenzhen is Lost"), "", refused, "OrderRefused", []string{"nothing was done", "shenzhen"}},
		"deleted while it is out": {drill().out().but(func(w *world) { w.o.DeletionTimestamp = ptr.To(metav1.NewTime(now)) }),
			"Withdraw RemoveFinalizer", "", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := operation.Decide(now, c.world.o, c.world.seen)
			if got := kinds(plan); got != c.steps {
				t.Errorf("steps are %q, want %q", got, c.steps)
			}
			if c.reason == "" {
				return
			}
			if plan.Answer == nil || plan.Answer.State != c.state || plan.Answer.Reason != c.reason {
				t.Fatalf("answer is %+v, want %s for %s", plan.Answer, c.state, c.reason)
			}
			for _, word := range c.words {
				if !strings.Contains(plan.Answer.Message, word) {
					t.Errorf("the message does not say %q: %s", word, plan.Answer.Message)
				}
			}
		})
	}
}

// told lets the store have the abort.
func (w *world) told() *world {
	name := order.Name(w.o)
	w.seen.Configuration.OrderIntents[name] = ownership.OrderIntent{Name: name, Abort: "why"}
	return w
}

// What the leader is told of a drill.
func TestDrillIntents(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		world *world
		want  ownership.OrderIntent
	}{
		"by default": {drill(), ownership.OrderIntent{Duration: 10 * time.Minute, Mode: "Failover"}},
		"as a drain": {drill().but(func(w *world) {
			w.o.Spec.Drill = &v1alpha1.DrillSpec{Mode: v1alpha1.DrillDrain, Duration: &metav1.Duration{Duration: time.Hour}}
		}), ownership.OrderIntent{Duration: time.Hour, Mode: "Drain"}},
		"aborted": {drill().course(v1alpha1.DrillAbort).out(), ownership.OrderIntent{
			Duration: 10 * time.Minute, Mode: "Failover", Abort: "spec.drill.course says Abort",
		}},
		"core flows lost": {drill().out().serves("user", metav1.ConditionFalse), ownership.OrderIntent{
			Duration: 10 * time.Minute, Mode: "Failover", Abort: "core flows are not served for every key: accounts/user",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.want.Name, c.want.Type, c.want.Region, c.want.Timeout = order.Name(c.world.o), "Drill", "beijing", operation.DefaultTimeout
			steps := operation.Decide(now, c.world.o, c.world.seen).Steps
			if diff := cmp.Diff(c.want, steps[len(steps)-1].Intent); diff != "" {
				t.Errorf("intent (-want +got):\n%s", diff)
			}
		})
	}
}

func (w *world) pass() *v1alpha1.DrillReport {
	operation.Report(now, w.o, w.seen, operation.Decide(now, w.o, w.seen))
	return w.o.Status.Drill
}

// A report gathers what was seen of the services while the region was out, at worst.
func TestReportDrill(t *testing.T) {
	t.Parallel()
	flow := func(name string, percent int32) v1alpha1.FlowStatus {
		return v1alpha1.FlowStatus{
			Name: name, Tier: v1alpha1.TierNonCore, State: v1alpha1.FlowDegraded, Action: v1alpha1.HomeLossReject, AffectedKeysPercent: ptr.To(percent),
		}
	}
	fine := v1alpha1.FlowStatus{Name: "login", State: v1alpha1.FlowAvailable}
	w := drill().serves("alone", metav1.ConditionTrue)
	w.seen.Services[1].Declared.Spec.Regions = w.seen.Services[1].Declared.Spec.Regions[1:]
	w.serves("cart", metav1.ConditionTrue, flow("before", 3))
	w.pass()

	w.out().serves("user", metav1.ConditionTrue, fine, flow("register", 34), flow("profile", 30))
	w.serves("cart", metav1.ConditionTrue)
	w.pass()
	w.serves("user", metav1.ConditionTrue, fine, flow("register", 20), flow("profile", 31))
	w.pass()
	w.endedBy(ownership.OrderRunning, ownership.DrillTimeIsUp, "it has lasted 10m0s").serves("cart", metav1.ConditionTrue, flow("late", 9))
	w.pass()
	w.endedBy(ownership.OrderSucceeded, ownership.DrillTimeIsUp, "it has lasted 10m0s")
	at := func(ago time.Duration) *metav1.Time { return ptr.To(metav1.NewTime(now.Add(-ago))) }
	worst := func(name string, percent int32) v1alpha1.DrillFlow {
		return v1alpha1.DrillFlow{
			Name: name, Tier: v1alpha1.TierNonCore, State: v1alpha1.FlowDegraded, Action: v1alpha1.HomeLossReject, AffectedKeysPercent: ptr.To(percent),
		}
	}
	want := &v1alpha1.DrillReport{
		StartedAt: at(30 * time.Second), OutAt: at(20 * time.Second), EndsAt: at(-580 * time.Second), EndedAt: at(15 * time.Second), BackAt: at(10 * time.Second),
		Ended: v1alpha1.DrillEndTimeIsUp, Because: "it has lasted 10m0s", Verdict: v1alpha1.DrillPassed,
		Services: []v1alpha1.DrillService{
			{Namespace: "accounts", Name: "user", CoreAvailable: v1alpha1.Yes, LagBefore: "<5m", Flows: []v1alpha1.DrillFlow{worst("register", 34), worst("profile", 31)}},
			{Namespace: "accounts", Name: "cart", CoreAvailable: v1alpha1.Yes, LagBefore: "<5m"},
		},
	}
	if diff := cmp.Diff(want, w.pass()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, w.pass()); diff != "" {
		t.Errorf("report, once more (-want +got):\n%s", diff)
	}
}

func TestReportDrillVerdicts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		world   *world
		ended   v1alpha1.DrillEnd
		verdict v1alpha1.DrillVerdict
		back    bool
	}{
		"passed":            {drill().endedBy(ownership.OrderSucceeded, "TimeIsUp", ""), v1alpha1.DrillEndTimeIsUp, v1alpha1.DrillPassed, true},
		"by order":          {drill().endedBy(ownership.OrderFailed, "Aborted", "spec.drill.course says Abort"), v1alpha1.DrillEndOrdered, v1alpha1.DrillAborted, true},
		"for core flows":    {drill().endedBy(ownership.OrderFailed, "Aborted", "core flows of x"), v1alpha1.DrillEndCoreUnavailable, v1alpha1.DrillAborted, true},
		"another region":    {drill().endedBy(ownership.OrderFailed, "AnotherRegion", "x"), v1alpha1.DrillEndAnotherRegion, v1alpha1.DrillAborted, true},
		"another order":     {drill().endedBy(ownership.OrderFailed, "AnotherOrder", "x").region(ownership.RegionDrained), v1alpha1.DrillEndAnotherOrder, v1alpha1.DrillAborted, false},
		"lost for good":     {drill().endedBy(ownership.OrderFailed, "RegionLost", "x").region(ownership.RegionLost), v1alpha1.DrillEndRegionLost, v1alpha1.DrillAborted, false},
		"not in time":       {drill().goes(ownership.OrderFailed, "x", ownership.DrillRecord{Ending: "NotOut"}), v1alpha1.DrillEndNotOut, v1alpha1.DrillNotBegun, false},
		"given up":          {drill().goes(ownership.OrderFailed, "x", ownership.DrillRecord{}), "", v1alpha1.DrillNotBegun, false},
		"on its way":        {drill().out(), "", "", false},
		"a later version's": {drill().endedBy(ownership.OrderFailed, "Whatever", "x"), "", v1alpha1.DrillAborted, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := c.world.pass()
			if got.Ended != c.ended || got.Verdict != c.verdict || (got.BackAt != nil) != c.back {
				t.Errorf("the report is %+v, want it to have ended by %q with %q, back %t", got, c.ended, c.verdict, c.back)
			}
		})
	}
	if got := drill().proposed().answers(ownership.OrderRefused, "x").pass(); got != nil {
		t.Errorf("a drill that is refused is reported as %+v", got)
	}
}

// However many services and flows there are, a report has room, and those that were hit most are in it.
func TestReportDrillIsBounded(t *testing.T) {
	t.Parallel()
	w := drill()
	for i := range 300 {
		w.serves(fmt.Sprintf("s%03d", i), metav1.ConditionTrue)
	}
	w.pass()
	var flows []v1alpha1.FlowStatus
	for i := range 64 {
		flows = append(flows, v1alpha1.FlowStatus{Name: fmt.Sprintf("f%02d", i), State: v1alpha1.FlowUnavailable, AffectedKeysPercent: ptr.To[int32](100)})
	}
	w.out().serves("s250", metav1.ConditionTrue, flows...).serves("s299", metav1.ConditionFalse, flows[0])
	got := w.pass()
	if len(got.Services) != 20 || got.OtherServices != 281 {
		t.Fatalf("%d services are reported and %d are not", len(got.Services), got.OtherServices)
	}
	if s := got.Services[0]; s.Name != "s299" || s.CoreAvailable != v1alpha1.No {
		t.Errorf("the first service is %+v", s)
	}
	if s := got.Services[1]; s.Name != "s250" || len(s.Flows) != 10 || s.OtherFlows != 54 {
		t.Errorf("the second service is %+v", s)
	}
}
