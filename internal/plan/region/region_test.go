package region_test

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
	plan "multiactive.dev/operator/internal/plan/region"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var apiProbe = ownership.Probe{Name: plan.ProbeAPIServer, URL: "https://10.0.0.1:6443/readyz", CABundle: []byte("ca")}

func region() *v1alpha1.Region {
	return &v1alpha1.Region{
		ObjectMeta: metav1.ObjectMeta{Name: "beijing", Generation: 1, Finalizers: []string{plan.Finalizer}},
		Spec: v1alpha1.RegionSpec{
			Role:    v1alpha1.RegionRoleActive,
			Cluster: &v1alpha1.ClusterAccess{KubeconfigSecretRef: v1alpha1.SecretReference{Name: "beijing"}},
			Probes:  []v1alpha1.RegionProbe{{Name: "edge", HTTP: v1alpha1.HTTPProbe{URL: "https://edge/healthz"}}},
		},
	}
}

func intent() ownership.RegionIntent {
	return ownership.RegionIntent{Name: "beijing", Role: "Active", Probes: []ownership.Probe{
		apiProbe, {Name: "edge", URL: "https://edge/healthz"},
	}}
}

// healthy is a world in which the region serves and two others see it.
func healthy() plan.Seen {
	return plan.Seen{
		Cluster:    plan.ClusterSeen{Reason: v1alpha1.ReasonConnected, Probe: &apiProbe},
		StoreKnown: true, StoreConnected: true,
		Beating: map[string]bool{"beijing": true, "shanghai": true, "shenzhen": true},
		Configuration: ownership.Configuration{
			View: ownership.View{Epoch: 7, Regions: map[string]ownership.RegionRecord{
				"beijing": {State: ownership.RegionServing, Since: start.Add(-time.Hour)},
			}},
			RegionIntents: map[string]ownership.RegionIntent{"beijing": intent(), "shanghai": {}, "shenzhen": {}},
			Gates:         map[string]ownership.Gate{"beijing": {Open: true}},
			Beats:         map[string]ownership.Beat{"beijing": {N: 1}},
		},
	}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	deleted := func(r *v1alpha1.Region) { r.DeletionTimestamp = ptr.To(metav1.NewTime(start)) }
	for name, c := range map[string]struct {
		world   func(*v1alpha1.Region, *plan.Seen)
		want    []plan.Step
		blocked string
	}{
		"as proposed": {world: func(*v1alpha1.Region, *plan.Seen) {}},
		"new": {
			world: func(r *v1alpha1.Region, s *plan.Seen) {
				r.Finalizers = nil
				delete(s.Configuration.RegionIntents, "beijing")
			},
			want: []plan.Step{{Kind: plan.StepAddFinalizer}, {Kind: plan.StepPropose, Intent: intent()}},
		},
		"the store is not known yet": {
			world: func(_ *v1alpha1.Region, s *plan.Seen) { *s = plan.Seen{Cluster: s.Cluster} },
		},
		"a broken kubeconfig does not change how the region is judged": {
			world: func(_ *v1alpha1.Region, s *plan.Seen) {
				s.Cluster = plan.ClusterSeen{Reason: v1alpha1.ReasonKubeconfigInvalid}
			},
		},
		"another declared probe": {
			world: func(r *v1alpha1.Region, _ *plan.Seen) { r.Spec.Probes = nil },
			want: []plan.Step{{Kind: plan.StepPropose, Intent: ownership.RegionIntent{
				Name: "beijing", Role: "Active", Probes: []ownership.Probe{apiProbe},
			}}},
		},
		"somebody else has written over it a moment ago": {
			world: func(r *v1alpha1.Region, s *plan.Seen) { r.Spec.Probes, s.Contested = nil, true },
		},
		"somebody else has written over it, and has had its time": {
			world: func(r *v1alpha1.Region, s *plan.Seen) {
				r.Spec.Probes, s.Contested, s.ProposedAgo = nil, true, 2*time.Minute
			},
			want: []plan.Step{{Kind: plan.StepPropose, Intent: ownership.RegionIntent{
				Name: "beijing", Role: "Active", Probes: []ownership.Probe{apiProbe},
			}}},
		},
		"deletion: nobody needs it": {
			world: func(r *v1alpha1.Region, _ *plan.Seen) { deleted(r) },
			want:  []plan.Step{{Kind: plan.StepWithdraw}, {Kind: plan.StepDisconnect}, {Kind: plan.StepRemoveFinalizer}},
		},
		"deletion: a service declares it": {
			world:   func(r *v1alpha1.Region, s *plan.Seen) { deleted(r); s.Services = []string{"accounts/user"} },
			blocked: "accounts/user",
		},
		"deletion: the store has a service that the hub does not": {
			world: func(r *v1alpha1.Region, s *plan.Seen) {
				deleted(r)
				s.Configuration.Services = map[string]ownership.ServiceRecord{"1": {Namespace: "accounts", Name: "user"}}
			},
			blocked: "accounts/user",
		},
		"deletion: a service that is settled elsewhere is no matter": {
			world: func(r *v1alpha1.Region, s *plan.Seen) {
				deleted(r)
				s.Configuration.Services = map[string]ownership.ServiceRecord{"1": {Namespace: "accounts", Name: "user"}}
				s.Settled = map[string]bool{"1": true}
			},
			want: []plan.Step{{Kind: plan.StepWithdraw}, {Kind: plan.StepDisconnect}, {Kind: plan.StepRemoveFinalizer}},
		},
		"deletion: a service that has left it runs there still": {
			world:   func(r *v1alpha1.Region, s *plan.Seen) { deleted(r); s.Holding = []string{"accounts/user"} },
			blocked: "accounts/user; condition RoutingReady",
		},
		"deletion: the store does not answer": {
			world:   func(r *v1alpha1.Region, s *plan.Seen) { deleted(r); s.StoreConnected = false },
			blocked: "coordination store",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rg, seen := region(), healthy()
			c.world(rg, &seen)
			got := plan.Decide(rg, seen)
			if diff := cmp.Diff(c.want, got.Steps); diff != "" {
				t.Errorf("steps (-want +got)\n%s", diff)
			}
			if (c.blocked == "") != (got.Blocked == "") || !strings.Contains(got.Blocked, c.blocked) {
				t.Errorf("blocked %q, want %q in it", got.Blocked, c.blocked)
			}
		})
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	type status struct {
		State      v1alpha1.RegionPhase
		Observers  string
		Agent      string
		Conditions map[string]string
	}
	record := func(s *plan.Seen, rec ownership.RegionRecord) { s.Configuration.View.Regions["beijing"] = rec }
	for name, c := range map[string]struct {
		world func(*v1alpha1.Region, *plan.Seen)
		want  status
	}{
		"serves": {
			world: func(*v1alpha1.Region, *plan.Seen) {},
			want: status{v1alpha1.RegionUp, "2/2", "Active", map[string]string{
				"Ready": "True/AsDeclared", "ClusterReachable": "True/Connected", "Serving": "True/RegionServing", "LeaseHeld": "True/AgentBeating",
			}},
		},
		"suspected by one": {
			world: func(_ *v1alpha1.Region, s *plan.Seen) {
				record(s, ownership.RegionRecord{State: ownership.RegionServing, Suspect: true})
				s.Configuration.Evidence = map[string]ownership.Evidence{"shanghai": {Failing: []string{"beijing"}}}
			},
			want: status{v1alpha1.RegionSuspect, "1/2", "Active", map[string]string{
				"Ready": "True/AsDeclared", "ClusterReachable": "True/Connected", "Serving": "True/RegionSuspect", "LeaseHeld": "True/AgentBeating",
			}},
		},
		"lost": {
			world: func(_ *v1alpha1.Region, s *plan.Seen) {
				record(s, ownership.RegionRecord{State: ownership.RegionLost, Incident: "beijing-7"})
				s.Configuration.Gates["beijing"] = ownership.Gate{}
				s.Beating = map[string]bool{"shanghai": true, "shenzhen": true}
				s.Configuration.Evidence = map[string]ownership.Evidence{
					"shanghai": {Unreachable: []string{"beijing"}}, "shenzhen": {Unreachable: []string{"beijing"}},
				}
				s.Cluster = plan.ClusterSeen{Reason: v1alpha1.ReasonClusterUnreachable, Message: "does not answer", Probe: &apiProbe}
			},
			want: status{v1alpha1.RegionDown, "0/2", "Silent", map[string]string{
				"Ready": "False/ClusterUnreachable", "ClusterReachable": "False/ClusterUnreachable", "Serving": "False/RegionLost", "LeaseHeld": "False/AgentSilent",
			}},
		},
		"returning": {
			world: func(_ *v1alpha1.Region, s *plan.Seen) {
				record(s, ownership.RegionRecord{State: ownership.RegionReturning})
			},
			want: status{v1alpha1.RegionReturning, "2/2", "Active", map[string]string{
				"Ready": "False/RegionReturning", "ClusterReachable": "True/Connected", "Serving": "False/RegionReturning", "LeaseHeld": "True/AgentBeating",
			}},
		},
		"returning, and somebody has to hand it back": {
			world: func(_ *v1alpha1.Region, s *plan.Seen) {
				record(s, ownership.RegionRecord{State: ownership.RegionReturning, ReturnedEpoch: 6})
				s.Configuration.Services = map[string]ownership.ServiceRecord{"1": {UID: "1", Namespace: "accounts", Name: "user"}}
			},
			want: status{v1alpha1.RegionReturning, "2/2", "Active", map[string]string{
				"Ready": "False/HandbackAwaited", "ClusterReachable": "True/Connected", "Serving": "False/HandbackAwaited", "LeaseHeld": "True/AgentBeating",
			}},
		},
		"drained": {
			world: func(_ *v1alpha1.Region, s *plan.Seen) {
				record(s, ownership.RegionRecord{State: ownership.RegionDrained})
			},
			want: status{v1alpha1.RegionDrained, "2/2", "Active", map[string]string{
				"Ready": "False/RegionDrained", "ClusterReachable": "True/Connected", "Serving": "False/RegionDrained", "LeaseHeld": "True/AgentBeating",
			}},
		},
		"out for a drill": {
			world: func(_ *v1alpha1.Region, s *plan.Seen) {
				record(s, ownership.RegionRecord{State: ownership.RegionDrained, Drill: "d-12345678"})
			},
			want: status{v1alpha1.RegionDrained, "2/2", "Active", map[string]string{
				"Ready": "False/RegionInDrill", "ClusterReachable": "True/Connected", "Serving": "False/RegionInDrill", "LeaseHeld": "True/AgentBeating",
			}},
		},
		"back from a drill": {
			world: func(_ *v1alpha1.Region, s *plan.Seen) {
				record(s, ownership.RegionRecord{State: ownership.RegionReturning, Drill: "d-12345678"})
				s.Configuration.Services = map[string]ownership.ServiceRecord{"1": {UID: "1", Namespace: "accounts", Name: "user"}}
			},
			want: status{v1alpha1.RegionReturning, "2/2", "Active", map[string]string{
				"Ready": "False/RegionInDrill", "ClusterReachable": "True/Connected", "Serving": "False/RegionInDrill", "LeaseHeld": "True/AgentBeating",
			}},
		},
		"an observer that does not beat says nothing": {
			world: func(_ *v1alpha1.Region, s *plan.Seen) {
				delete(s.Beating, "shanghai")
				s.Configuration.Evidence = map[string]ownership.Evidence{"shanghai": {Unreachable: []string{"beijing"}}}
			},
			want: status{v1alpha1.RegionUp, "1/1", "Active", map[string]string{
				"Ready": "True/AsDeclared", "ClusterReachable": "True/Connected", "Serving": "True/RegionServing", "LeaseHeld": "True/AgentBeating",
			}},
		},
		"no member has ever run": {
			world: func(_ *v1alpha1.Region, s *plan.Seen) {
				s.Configuration.View.Regions, s.Configuration.Beats = nil, nil
			},
			want: status{v1alpha1.RegionUnknown, "", "Never", map[string]string{
				"Ready": "False/AgentNeverSeen", "ClusterReachable": "True/Connected", "Serving": "Unknown/RegionUnknown", "LeaseHeld": "False/AgentNeverSeen",
			}},
		},
		"the store does not answer": {
			world: func(_ *v1alpha1.Region, s *plan.Seen) { s.StoreConnected = false },
			want: status{v1alpha1.RegionUnknown, "", "", map[string]string{
				"Ready": "Unknown/StoreUnreachable", "ClusterReachable": "True/Connected", "Serving": "Unknown/StoreUnreachable", "LeaseHeld": "Unknown/StoreUnreachable",
			}},
		},
		"a second member of its name waits": {
			world: func(_ *v1alpha1.Region, s *plan.Seen) {
				s.Configuration.Rivals = map[string]ownership.Rival{"beijing": {Process: "member-0", Place: "elsewhere"}}
			},
			want: status{v1alpha1.RegionUp, "2/2", "Active", map[string]string{
				"Ready": "False/AgentContested", "ClusterReachable": "True/Connected", "Serving": "True/RegionServing", "LeaseHeld": "True/AgentBeating",
			}},
		},
		"a second hub proposes something else": {
			world: func(_ *v1alpha1.Region, s *plan.Seen) { s.Contested = true },
			want: status{v1alpha1.RegionUp, "2/2", "Active", map[string]string{
				"Ready": "False/HubContested", "ClusterReachable": "True/Connected", "Serving": "True/RegionServing", "LeaseHeld": "True/AgentBeating",
			}},
		},
		"a witness has no cluster": {
			world: func(r *v1alpha1.Region, s *plan.Seen) {
				r.Spec.Cluster, r.Spec.Role, s.Cluster = nil, v1alpha1.RegionRoleWitness, plan.ClusterSeen{}
			},
			want: status{v1alpha1.RegionUp, "2/2", "Active", map[string]string{
				"Ready": "True/AsDeclared", "ClusterReachable": "Unknown/NoCluster", "Serving": "True/RegionServing", "LeaseHeld": "True/AgentBeating",
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rg, seen := region(), healthy()
			c.world(rg, &seen)
			plan.Report(start, rg, seen, plan.Plan{}, true)
			got := status{State: rg.Status.State, Observers: rg.Status.ObserversSummary, Conditions: map[string]string{}}
			if rg.Status.Coordination != nil {
				got.Agent = rg.Status.Coordination.Agent
			}
			for _, condition := range rg.Status.Conditions {
				got.Conditions[condition.Type] = string(condition.Status) + "/" + condition.Reason
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			again := rg.DeepCopy()
			plan.Report(start.Add(time.Hour), again, seen, plan.Plan{}, true)
			if diff := cmp.Diff(rg.Status, again.Status); diff != "" {
				t.Errorf("the same world an hour later gives another status (-first +later)\n%s", diff)
			}
		})
	}
}

func TestReportDeletion(t *testing.T) {
	t.Parallel()
	rg := region()
	rg.DeletionTimestamp = ptr.To(metav1.NewTime(start))
	plan.Report(start, rg, healthy(), plan.Plan{Blocked: "services declare the region: accounts/user"}, true)
	c := meta.FindStatusCondition(rg.Status.Conditions, v1alpha1.ConditionReady)
	if c.Reason != v1alpha1.ReasonDeleting || !strings.Contains(c.Message, "accounts/user") {
		t.Errorf("Ready is %s: %s, want it to say what the deletion waits for", c.Reason, c.Message)
	}
}

// What is known of the store's trouble is in every condition that depends on it, with what to do.
func TestReportTellsTheStoresProblem(t *testing.T) {
	t.Parallel()
	rg, seen := region(), healthy()
	seen.StoreConnected, seen.StoreProblem = false, "its content is damaged: gate/beijing: it is gone"
	plan.Report(start, rg, seen, plan.Plan{}, true)
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionServing, v1alpha1.ConditionLeaseHeld} {
		c := meta.FindStatusCondition(rg.Status.Conditions, kind)
		if c.Reason != v1alpha1.ReasonStoreUnreachable || !strings.Contains(c.Message, "gate/beijing: it is gone") {
			t.Errorf("%s is %s: %s", kind, c.Reason, c.Message)
		}
	}
}

func TestReportLastOutage(t *testing.T) {
	t.Parallel()
	rg, seen := region(), healthy()
	at := func(ago time.Duration) []ownership.IncidentStep {
		return []ownership.IncidentStep{{Step: ownership.StepSuspected, At: start.Add(-ago)}}
	}
	seen.Configuration.Incidents = map[string]ownership.Incident{
		"beijing-3":  {Region: "beijing", Name: "beijing-3", Timeline: at(time.Hour)},
		"beijing-20": {Region: "beijing", Name: "beijing-20", Timeline: at(time.Minute)},
		"shanghai-1": {Region: "shanghai", Name: "shanghai-1", Timeline: at(time.Second)},
	}
	plan.Report(start, rg, seen, plan.Plan{}, true)
	if out := rg.Status.LastOutage; out == nil || out.EndedAt != nil {
		t.Errorf("last outage %+v, want an open one", out)
	}
	for _, end := range []string{ownership.StepServing, ownership.StepFalseAlarm} {
		ended := ownership.Incident{Region: "beijing", Name: "beijing-20", Timeline: append(at(time.Minute), ownership.IncidentStep{Step: end, At: start})}
		seen.Configuration.Incidents["beijing-20"] = ended
		rg.Status.LastOutage = nil
		if plan.Report(start, rg, seen, plan.Plan{}, true); rg.Status.LastOutage.EndedAt == nil {
			t.Errorf("%s: last outage %+v, want an end", end, rg.Status.LastOutage)
		}
	}
	seen.Configuration.Incidents = nil
	plan.Report(start, rg, seen, plan.Plan{}, true) // the store forgets, the Region does not
	if rg.Status.LastOutage == nil || rg.Status.LastOutage.Incident != "beijing-20" {
		t.Errorf("last outage %+v, want beijing-20", rg.Status.LastOutage)
	}
}

func TestLeads(t *testing.T) {
	t.Parallel()
	for leader, want := range map[string]v1alpha1.Choice{"beijing/7-a": v1alpha1.ChoiceYes, "shanghai/8-b": v1alpha1.ChoiceNo, "": v1alpha1.ChoiceNo} {
		rg, seen := region(), healthy()
		seen.Configuration.Leader = leader
		plan.Report(start, rg, seen, plan.Plan{}, true)
		if got := rg.Status.Coordination.Leads; got != want {
			t.Errorf("with the leader %q, %s leads: %s, want %s", leader, rg.Name, got, want)
		}
	}
}
