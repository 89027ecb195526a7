package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/testkit"
)

// report is what a hub says of a drill.
func report(ended v1alpha1.DrillEnd, verdict v1alpha1.DrillVerdict) *v1alpha1.DrillReport {
	at := func(s int) *metav1.Time { return ptr.To(metav1.NewTime(time.Date(2026, 1, 2, 3, 4, s, 0, time.UTC))) }
	r := &v1alpha1.DrillReport{
		StartedAt: at(0), OutAt: at(4), EndsAt: at(50), OtherServices: 3,
		Services: []v1alpha1.DrillService{{
			Namespace: "accounts", Name: "user", CoreAvailable: v1alpha1.Yes, LagBefore: "<5m", OtherFlows: 2,
			Flows: []v1alpha1.DrillFlow{{Name: "register", State: v1alpha1.FlowDegraded, Action: v1alpha1.HomeLossReject, AffectedKeysPercent: ptr.To[int32](34)}},
		}},
	}
	if verdict != "" {
		r.EndedAt, r.BackAt, r.Ended, r.Because, r.Verdict = at(30), at(45), ended, "that is why", verdict
	}
	return r
}

// says has the hub tell of an order, once it is there.
func (w *hubWorld) says(name string, state v1alpha1.OperationState, r *v1alpha1.DrillReport) {
	w.t.Helper()
	testkit.Eventually(w.t, 30*time.Second, func() error {
		o := &v1alpha1.Operation{}
		if err := w.client.Get(w.t.Context(), client.ObjectKey{Name: name}, o); err != nil {
			return err
		}
		o.Status = v1alpha1.OperationStatus{State: state, Drill: r, Conditions: []metav1.Condition{
			condition(v1alpha1.ConditionComplete, metav1.ConditionFalse, v1alpha1.ReasonOrderRunning, "region beijing is out"),
		}}
		return w.client.Status().Update(w.t.Context(), o)
	})
}

func testDrill(t *testing.T, w *hubWorld) {
	w.put(regionObject("beijing", v1alpha1.RegionUp), regionObject("shanghai", v1alpha1.RegionUp), regionObject("shenzhen", v1alpha1.RegionUp), userService(t))

	w.expect(exitUsage, "drill", "beijing", "--for", "30s").has("--for: 30s is not between 1m0s and 4h0m0s")
	w.expect(exitUsage, "drill", "beijing", "--mode", "Chaos").has("neither Failover nor Drain")
	w.expect(exitUsage, "drain", "beijing", "--for", "5m").has("unknown flag: --for")
	w.expect(exitUsage, "drill", "nanjing", "--abort").has(`there is no Region "nanjing"`)
	w.expect(exitFailed, "drill", "beijing", "--abort").has("no drill of region beijing is under way")
	w.expect(0, "drill", "beijing", "--dry-run=client").has("Takeover alone", "register: refused for", "back by itself after 10m0s", "nothing was ordered")
	w.expect(0, "drill", "beijing", "--dry-run=client", "--mode=Drain", "--for", "1h").
		has("beijing to shanghai", "flows     as before: login, register", "back by itself after 1h0m0s")
	w.expect(0, "drill", "beijing", "--dry-run=client", "-o", "yaml", "--for", "30m", "--mode", "Failover", "--capacity", "Ignore").
		has("generateName: drill-beijing-", "type: Drill", "duration: 30m0s", "mode: Failover", "capacity: Ignore")
	w.expect(0, "drill", "beijing", "--dry-run=server").has("the API server would take the order")

	w.expect(0, "drill", "beijing", "--yes", "--wait=false", "--name", "first").has("To take it back: kubectl multiactive drill beijing --abort")
	w.says("first", v1alpha1.OperationRunning, report("", ""))
	w.expect(0, "drill", "beijing", "--abort", "--dry-run=client").has("would abort operation/first")
	w.expect(0, "drill", "beijing", "--abort", "--dry-run=server").has("would let operation/first be aborted")
	w.expect(exitAttention, "drill", "beijing", "--abort", "--wait-timeout", "2s").has("Aborted: operation/first", "degraded so far: 3 flows of 1 services",
		"ends by itself at 03:04:50 UTC")
	for _, o := range w.orders() {
		if o.Spec.Drill.Course != v1alpha1.DrillAbort {
			t.Errorf("%s was not aborted: %+v", o.Name, o.Spec.Drill)
		}
	}
	w.says("first", v1alpha1.OperationFailed, report(v1alpha1.DrillEndOrdered, v1alpha1.DrillAborted))
	w.expect(exitFailed, "drill", "beijing", "--abort").has("no drill of region beijing is under way")

	for _, c := range []struct {
		name    string
		state   v1alpha1.OperationState
		ended   v1alpha1.DrillEnd
		verdict v1alpha1.DrillVerdict
		code    int
	}{
		{"passes", v1alpha1.OperationSucceeded, v1alpha1.DrillEndTimeIsUp, v1alpha1.DrillPassed, 0},
		{"ends-early", v1alpha1.OperationFailed, v1alpha1.DrillEndAnotherRegion, v1alpha1.DrillAborted, exitFailed},
	} {
		code, out := w.during(func() { w.says(c.name, c.state, report(c.ended, c.verdict)) }, "drill", "beijing", "--yes", "--name", c.name)
		if code != c.code {
			t.Errorf("%s ended with %d, want %d", c.name, code, c.code)
		}
		for _, words := range []string{
			"Drill of region beijing: " + string(c.verdict), "out       2026-01-02 03:04:04  (+4s)", "back      2026-01-02 03:04:45  (+45s)",
			"ended by  " + string(c.ended) + ": that is why", "accounts/user: core served, lag before <5m; degraded: register (Reject for 34 % of the keys), 2 more",
			"and 3 services more",
		} {
			if !strings.Contains(out, words) {
				t.Errorf("%s does not say %q:\n%s", c.name, words, out)
			}
		}
	}
	w.expect(0, "drill", "beijing", "--yes", "--wait=false", "--name", "mine")
	code, out := w.during(func() {
		testkit.Eventually(t, 30*time.Second, func() error {
			o := &v1alpha1.Operation{}
			if err := w.client.Get(t.Context(), client.ObjectKey{Name: "mine"}, o); err != nil {
				return err
			}
			if o.Spec.Drill.Course != v1alpha1.DrillAbort {
				return errors.New("not aborted yet")
			}
			return nil
		})
		w.says("mine", v1alpha1.OperationFailed, report(v1alpha1.DrillEndOrdered, v1alpha1.DrillAborted))
	}, "drill", "beijing", "--abort")
	if code != 0 || !strings.Contains(out, "Drill of region beijing: Aborted") {
		t.Errorf("the abort that was wanted ended with %d:\n%s", code, out)
	}
}

// during runs the command while something else happens.
func (w *hubWorld) during(happens func(), args ...string) (code int, said string) {
	w.t.Helper()
	var out bytes.Buffer
	ctx, stop := context.WithTimeout(w.t.Context(), time.Minute)
	defer stop()
	ended := make(chan int, 1)
	go func() { ended <- exitCode(run(ctx, args, w.terminal(&out)), &out) }()
	happens()
	code = <-ended
	return code, out.String()
}
