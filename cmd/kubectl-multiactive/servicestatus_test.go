package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/order"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/locked"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares an output with a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		must(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got); -update rewrites it:\n%s", path, diff)
	}
}

// normalDay is the example's world with nothing the matter.
func normalDay(t *testing.T) *hubState {
	t.Helper()
	ready := condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared, "the region is reachable and serves")
	reached := condition(v1alpha1.ConditionClusterReachable, metav1.ConditionTrue, v1alpha1.ReasonConnected, "the cluster answers")
	s := &hubState{regions: map[string]*v1alpha1.Region{}, services: []v1alpha1.MultiActiveService{*userService(t)}}
	for _, name := range []string{"beijing", "shanghai", "shenzhen"} {
		s.regions[name] = regionObject(name, v1alpha1.RegionUp, ready, reached)
	}
	return s
}

// outage is the same with beijing lost four minutes ago.
func outage(t *testing.T) *hubState {
	t.Helper()
	s := normalDay(t)
	lost := condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonRegionLost, "Serving: the region is lost; the others go on without it. See incident beijing-4")
	serving := condition(v1alpha1.ConditionServing, metav1.ConditionFalse, v1alpha1.ReasonRegionLost, "the region is lost; the others go on without it. See incident beijing-4. It is left as it is (AgentNotHeardOf): its agent has not asked to be let in; start the region's member")
	s.regions["beijing"] = regionObject("beijing", v1alpha1.RegionDown, lost, serving, condition(v1alpha1.ConditionClusterReachable, metav1.ConditionFalse, v1alpha1.ReasonClusterUnreachable, "no answer"))
	s.regions["beijing"].Status.LastOutage = &v1alpha1.RegionOutage{Incident: "beijing-4", StartedAt: at(4)}
	mas := &s.services[0]
	mas.Status.Summary = &v1alpha1.ServiceSummary{Regions: "2/3", Degraded: "2/4", DegradedFlows: "register,profile", Lag: "<5m", Epoch: 8}
	mas.Status.Regions[0] = v1alpha1.ServiceRegionStatus{Name: "beijing", State: v1alpha1.RegionDown, Owns: v1alpha1.No, Replicas: "?/3"}
	mas.Status.Flows[1] = v1alpha1.FlowStatus{Name: "register", State: v1alpha1.FlowDegraded, Action: v1alpha1.HomeLossReject, AffectedKeysPercent: ptr.To[int32](52), Since: at(4)}
	mas.Status.Flows[3] = v1alpha1.FlowStatus{Name: "profile", State: v1alpha1.FlowDegraded, Action: v1alpha1.HomeLossReadOnly, AffectedKeysPercent: ptr.To[int32](52), Since: at(4)}
	set := func(kind string, status metav1.ConditionStatus, reason, message string) {
		for i := range mas.Status.Conditions {
			if mas.Status.Conditions[i].Type == kind {
				mas.Status.Conditions[i] = condition(kind, status, reason, message)
			}
		}
	}
	set(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonRegionLost, "RegionsHealthy: beijing: the region is lost; the others go on without it. See incident beijing-4")
	set(v1alpha1.ConditionRegionsHealthy, metav1.ConditionFalse, v1alpha1.ReasonRegionLost, "beijing: the region is lost; the others go on without it. See incident beijing-4")
	set(v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonHomeRegionLost, "degraded: register (Reject for 52 % of the keys), profile (ReadOnly for 52 % of the keys)")
	s.incidents = []v1alpha1.RegionIncident{*incidentObject()}
	return s
}

func incidentObject() *v1alpha1.RegionIncident {
	step := func(name string, after time.Duration, text string) v1alpha1.IncidentTime {
		return v1alpha1.IncidentTime{Step: name, At: ptr.To(metav1.NewMicroTime(at(4).Add(after))), SinceStart: text}
	}
	return &v1alpha1.RegionIncident{
		ObjectMeta: metav1.ObjectMeta{Name: "beijing-4"}, Spec: v1alpha1.RegionIncidentSpec{Region: "beijing"},
		Status: v1alpha1.RegionIncidentStatus{
			State: v1alpha1.IncidentLost, StartedAt: at(4), Epoch: 8, Recovery: "5.0s", DataAtRiskSummary: "2s", Services: ptr.To[int32](1),
			Timeline: []v1alpha1.IncidentTime{
				step("Suspected", 0, "0s"), step("Confirmed", 4100*time.Millisecond, "4.1s"), step("GateClosed", 4900*time.Millisecond, "4.9s"),
				step("ViewCommitted", 4950*time.Millisecond, "5s"), step("FirstSurvivorRouted", 5*time.Second, "~5s"),
			},
			DataAtRisk:    []v1alpha1.DataAtRisk{{Name: "accounts.account-from-beijing", Lag: &metav1.Duration{Duration: 2 * time.Second}, AtMost: &metav1.Duration{Duration: 8 * time.Second}, Records: ptr.To[int64](17)}, {Name: "store-users-from-beijing"}},
			WorstServices: []v1alpha1.IncidentService{{Namespace: "accounts", Name: "user", DegradedFlows: []string{"profile", "register"}, Deferred: "<10"}},
			Conditions:    []metav1.Condition{condition(v1alpha1.ConditionResolved, metav1.ConditionFalse, v1alpha1.ReasonIncidentOpen, "region beijing is lost; look at its site")},
		},
	}
}

// shown is a picture of a state.
func shown(t *testing.T, o overviewOptions, s *hubState) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := o.show(t.Context(), terminal{out: &out, err: &out, now: func() time.Time { return night }}, s)
	return out.String(), err
}

func TestStatusText(t *testing.T) {
	returned := outage(t)
	returned.regions["beijing"].Status.State = v1alpha1.RegionReturning
	mas := &returned.services[0]
	mas.Status.Regions[0].State = v1alpha1.RegionReturning
	handback := "the region serves what any region may, and owns its keys again once this is ordered: " + order.Command(v1alpha1.OperationHandback, "beijing", nil)
	for i, c := range mas.Status.Conditions {
		if c.Type == v1alpha1.ConditionRegionsHealthy {
			mas.Status.Conditions[i] = condition(c.Type, metav1.ConditionFalse, v1alpha1.ReasonHandbackAwaited, "beijing: "+handback)
		}
	}
	returned.incidents[0].Status.State = v1alpha1.IncidentReturning
	returned.incidents[0].Status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionResolved, metav1.ConditionFalse, v1alpha1.ReasonHandbackAwaited, handback)}
	returned.orders = []v1alpha1.Operation{{
		ObjectMeta: metav1.ObjectMeta{Name: "handback-beijing-x"}, Spec: v1alpha1.OperationSpec{Type: v1alpha1.OperationHandback, Region: "beijing"},
		Status: v1alpha1.OperationStatus{State: v1alpha1.OperationRunning, Conditions: []metav1.Condition{condition(v1alpha1.ConditionComplete, metav1.ConditionFalse, v1alpha1.ReasonOrderRunning, "waits until beijing has caught up with the others")}},
	}}
	blind := normalDay(t)
	blind.services[0].Status = v1alpha1.MultiActiveServiceStatus{}
	for _, rg := range blind.regions {
		rg.Status = v1alpha1.RegionStatus{}
	}
	unread := &hubState{regions: normalDay(t).regions, unread: []string{"MultiActiveServices"}}
	for name, c := range map[string]struct {
		seen      *hubState
		attention bool
	}{
		"status-normal": {normalDay(t), false}, "status-outage": {outage(t), true}, "status-returning": {returned, true}, "status-unobserved": {blind, true}, "status-unread": {unread, false},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := shown(t, overviewOptions{}, c.seen)
			if errors.Is(err, errAttention) != c.attention {
				t.Errorf("ends with %v", err)
			}
			golden(t, name, out)
		})
	}
	out, _ := shown(t, overviewOptions{output: "json"}, outage(t))
	golden(t, "status-outage-json", out)
}

func testStatus(t *testing.T, w *hubWorld) {
	w.expect(0, "status").has("Nothing is served here", "No MultiActiveService in namespace default; -A shows all namespaces")
	s := normalDay(t)
	for _, name := range s.regionNames() {
		w.put(s.regions[name])
	}
	w.put(&s.services[0])
	w.expect(0, "status", "-A").has("Every flow is served as declared.", "beijing 51%, shanghai 49%")
	w.expect(exitUsage, "status", "usr", "-n", "accounts").has(`no MultiActiveService "usr" in namespace accounts`)
	w.expect(exitUsage, "status", "-o", "xml").has("neither wide, json nor yaml")
	w.expect(exitUsage, "status", "user", "-A").has("do not go together")
	w.expect(0, "status", "user", "-n", "accounts", "-o", "yaml").has("core: true", "servedBy: HomeRegion")
	link := &v1alpha1.ReplicationLink{
		ObjectMeta: metav1.ObjectMeta{Name: "accounts.account-from-shanghai"},
		Spec:       v1alpha1.ReplicationLinkSpec{Topic: "accounts.account", Engine: v1alpha1.LinkBuiltin, From: "shanghai", To: "beijing"},
		Status: v1alpha1.ReplicationLinkStatus{
			State: v1alpha1.LinkLagging, Lag: "<1h", LastError: "the broker is slow",
			Conditions: []metav1.Condition{condition(v1alpha1.ConditionCaughtUp, metav1.ConditionFalse, v1alpha1.ReasonLagging, "late")},
		},
	}
	w.put(link)
	w.contexts = map[string]*rest.Config{"bj": w.config, "away": {Host: "http://127.0.0.1:1"}}
	w.expect(0, "status", "-A", "--contexts", "bj,away").has("accounts.account  Builtin  shanghai  beijing  Lagging  <1h  False",
		"accounts.account from shanghai to beijing: the broker is slow", "links could not be read: context away: ")
	w.expect(0, "status", "-A", "--contexts", "bj", "-o", "json").has(`"state": "Lagging"`, `"caughtUp": "False"`)
	must(t, w.client.Delete(t.Context(), link))
	w.expect(0, "__complete", "status", "-n", "accounts", "").has("user\n")
	w.expect(0, "__complete", "drain", "").has("beijing\tUp")

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, ended := &locked.Buffer{}, make(chan error, 1)
	term := w.terminal(&bytes.Buffer{})
	term.out, term.err = out, out
	go func() { ended <- run(ctx, []string{"status", "-A", "--watch"}, term) }()
	sees := func(word string) {
		t.Helper()
		testkit.Eventually(t, 30*time.Second, func() error {
			if !strings.Contains(out.String(), word) {
				return fmt.Errorf("does not say %q yet", word)
			}
			return nil
		})
	}
	sees("Every flow is served as declared.")
	lost := &v1alpha1.Region{}
	must(t, w.client.Get(t.Context(), client.ObjectKey{Name: "beijing"}, lost))
	lost.Status = outage(t).regions["beijing"].Status
	must(t, w.client.Status().Update(t.Context(), lost))
	sees("Down")
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
