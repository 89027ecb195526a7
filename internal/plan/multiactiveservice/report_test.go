package multiactiveservice_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
)

var allConditions = []string{
	"CoreAvailable", "DNSReady", "Degraded", "DesignSound", "FieldsActedOn", "PeersAuthenticated", "Ready", "RegionsHealthy",
	"ReplicationHealthy", "RoutingReady", "SpecInSync", "StoresReady", "TopicsReady", "WorkloadsAvailable",
}

// asDeclared is what the conditions of the healthy world say.
var asDeclared = map[string]string{
	"CoreAvailable": "True/AllFlowsAvailable", "DNSReady": "True/NoDNS", "Degraded": "False/AllFlowsAvailable", "DesignSound": "True/DesignWarnings",
	"FieldsActedOn": "True/AsDeclared", "PeersAuthenticated": "False/PlaintextHops", "Ready": "True/AsDeclared", "RegionsHealthy": "True/RegionServing",
	"ReplicationHealthy": "True/Streaming", "RoutingReady": "True/AsDeclared", "SpecInSync": "True/SingleCopy",
	"StoresReady": "True/NoStores", "TopicsReady": "True/AsDeclared", "WorkloadsAvailable": "True/AsDeclared",
}

// deferCore makes register a core flow that defers.
func deferCore(m *v1alpha1.MultiActiveService) {
	m.Spec.Flows[1].Tier = v1alpha1.TierCore
	m.Spec.Flows[1].OnHomeLoss = &v1alpha1.OnHomeLoss{Action: v1alpha1.HomeLossDefer}
}

func TestReport(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		world func(*v1alpha1.MultiActiveService, *plan.Seen)
		// want is what differs from asDeclared.
		want  map[string]string
		words map[string]string
	}{
		"as declared": {world: func(*v1alpha1.MultiActiveService, *plan.Seen) {}},
		"a region is lost": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { lose(s, "beijing") },
			want: map[string]string{
				"Ready": "False/RegionLost", "RegionsHealthy": "False/RegionLost", "Degraded": "True/HomeRegionLost",
				"WorkloadsAvailable": "Unknown/RegionUnreachable", "TopicsReady": "Unknown/RegionUnreachable",
			},
			words: map[string]string{"RegionsHealthy": "incident beijing-7", "Degraded": "register (Reject for 5"},
		},
		"a region is lost, and others take its flow over": {
			world: func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				m.Spec.Flows[1].OnHomeLoss = &v1alpha1.OnHomeLoss{Action: v1alpha1.HomeLossTakeover}
				lose(s, "beijing")
			},
			want: map[string]string{
				"Ready": "False/RegionLost", "RegionsHealthy": "False/RegionLost",
				"WorkloadsAvailable": "Unknown/RegionUnreachable", "TopicsReady": "Unknown/RegionUnreachable",
			},
		},
		"a region is lost, and a core flow keeps its requests": {
			world: func(m *v1alpha1.MultiActiveService, s *plan.Seen) { deferCore(m); lose(s, "beijing") },
			want: map[string]string{
				"Ready": "False/RegionLost", "RegionsHealthy": "False/RegionLost", "Degraded": "True/HomeRegionLost",
				"WorkloadsAvailable": "Unknown/RegionUnreachable", "TopicsReady": "Unknown/RegionUnreachable",
			},
			words: map[string]string{"CoreAvailable": "keeps its requests for later: register", "Degraded": "register (Defer for 5"},
		},
		"a region is lost, and a core flow has no Kafka to keep its requests in": {
			world: func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				deferCore(m)
				lose(s, "beijing")
				s.Regions["shenzhen"].Region.Spec.Kafka = nil
			},
			want: map[string]string{
				"Ready": "False/RegionLost", "RegionsHealthy": "False/RegionLost", "Degraded": "True/HomeRegionLost", "CoreAvailable": "False/HomeRegionLost",
				"WorkloadsAvailable": "Unknown/RegionUnreachable", "TopicsReady": "False/NoKafka",
			},
			words: map[string]string{"CoreAvailable": "register"},
		},
		"a region is lost, and a core flow's topic is not there": {
			world: func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				deferCore(m)
				lose(s, "beijing")
				meta.SetStatusCondition(&s.Regions["shenzhen"].Slice.Status.Conditions, metav1.Condition{
					Type: v1alpha1.ConditionTopicsReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonBrokersUnreachable,
					Message: "no broker", ObservedGeneration: 1,
				})
			},
			want: map[string]string{
				"Ready": "False/RegionLost", "RegionsHealthy": "False/RegionLost", "Degraded": "True/HomeRegionLost", "CoreAvailable": "False/HomeRegionLost",
				"WorkloadsAvailable": "Unknown/RegionUnreachable", "TopicsReady": "False/BrokersUnreachable",
			},
		},
		"a region is lost, and a person has to approve": {
			world: func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				m.Spec.Flows[1].OnHomeLoss = &v1alpha1.OnHomeLoss{Action: v1alpha1.HomeLossTakeover}
				lose(s, "beijing")
				r := s.Configuration.Services[uid]
				r.Manual = true
				s.Configuration.Services[uid] = r
			},
			want: map[string]string{
				"Ready": "False/FailoverAwaited", "RegionsHealthy": "False/FailoverAwaited", "Degraded": "True/HomeRegionLost",
				"WorkloadsAvailable": "Unknown/RegionUnreachable", "TopicsReady": "Unknown/RegionUnreachable",
			},
			words: map[string]string{"Degraded": "register (Takeover for 5"},
		},
		"a region without keys is lost: no flow is degraded": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { lose(s, "shenzhen") },
			want: map[string]string{
				"Ready": "False/RegionLost", "RegionsHealthy": "False/RegionLost",
				"WorkloadsAvailable": "Unknown/RegionUnreachable", "TopicsReady": "Unknown/RegionUnreachable",
			},
		},
		"the hub alone cannot reach a region": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.Regions["beijing"].Connection, s.Regions["beijing"].Slice = plan.Unusable, nil
			},
			want: map[string]string{
				"Ready": "False/RegionUnreachable", "RegionsHealthy": "False/RegionUnreachable", "RoutingReady": "Unknown/RegionUnreachable",
				"WorkloadsAvailable": "Unknown/RegionUnreachable", "TopicsReady": "Unknown/RegionUnreachable",
			},
		},
		"the store does not answer": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { s.StoreConnected = false },
			want: map[string]string{
				"Ready": "Unknown/StoreUnreachable", "RegionsHealthy": "Unknown/StoreUnreachable", "CoreAvailable": "Unknown/StoreUnreachable",
				"Degraded": "Unknown/StoreUnreachable", "RoutingReady": "Unknown/StoreUnreachable",
			},
		},
		"not accepted yet": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { delete(s.Configuration.Services, uid) },
			want: map[string]string{
				"Ready": "False/Progressing", "RoutingReady": "False/Progressing", "CoreAvailable": "Unknown/Progressing", "Degraded": "Unknown/Progressing",
			},
		},
		"there is no such region": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.Regions["shenzhen"] = &plan.RegionSeen{Connection: plan.Unusable}
			},
			want:  map[string]string{"Ready": "False/RegionUnknown", "RegionsHealthy": "False/RegionUnknown"},
			words: map[string]string{"RegionsHealthy": "shenzhen: there is no such Region"},
		},
		"a container crashes": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				report(s.Regions["beijing"].Slice, metav1.ConditionFalse)
			},
			want:  map[string]string{"Ready": "False/CrashLoop", "WorkloadsAvailable": "False/CrashLoop"},
			words: map[string]string{"WorkloadsAvailable": "beijing: container user crashes"},
		},
		"nothing serves anywhere": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				for _, r := range s.Regions {
					r.Slice.Status.Gateway.Ready = 0
				}
			},
			want: map[string]string{"Ready": "False/ReplicasUnavailable", "CoreAvailable": "False/ReplicasUnavailable"},
		},
		"the first rollout is on its way": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				for _, r := range s.Regions {
					r.Slice.Status.Workload.Ready, r.Slice.Status.Gateway.Ready = 0, 0
					for i := range r.Slice.Status.Conditions {
						c := &r.Slice.Status.Conditions[i]
						if c.Type == v1alpha1.ConditionWorkloadAvailable || c.Type == v1alpha1.ConditionGatewayReady {
							c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1alpha1.ReasonProgressing, "starts"
						}
					}
				}
			},
			want: map[string]string{
				"Ready": "False/Progressing", "CoreAvailable": "False/Progressing", "WorkloadsAvailable": "False/Progressing", "RoutingReady": "False/Progressing",
			},
			words: map[string]string{"WorkloadsAvailable": "beijing, shanghai, shenzhen: starts"},
		},
		"gateways are behind": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { s.Regions["shanghai"].Slice.Status.Epoch = 6 },
			want:  map[string]string{"Ready": "False/GatewaysBehind", "RoutingReady": "False/GatewaysBehind"},
		},
		"gateways refuse their routing": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				slice := s.Regions["shanghai"].Slice
				slice.Status.Epoch = 6
				slice.Status.Conditions = append(slice.Status.Conditions, metav1.Condition{
					Type: v1alpha1.ConditionRouted, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonGatewaysRefuse,
					Message: "user-gateway-1: upstream", ObservedGeneration: slice.Generation,
				})
			},
			want:  map[string]string{"Ready": "False/GatewaysRefuse", "RoutingReady": "False/GatewaysRefuse"},
			words: map[string]string{"RoutingReady": "shanghai: user-gateway-1: upstream"},
		},
		"a region has no Kafka": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { s.Regions["beijing"].Region.Spec.Kafka = nil },
			want:  map[string]string{"Ready": "False/NoKafka", "TopicsReady": "False/NoKafka"},
			words: map[string]string{"TopicsReady": "beijing: the Region has no spec.kafka"},
		},
		"what several regions say alike is told once": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				for name, r := range s.Regions {
					r.Region.Spec.Kafka = nil
					if name != "shanghai" {
						r.Region.Spec.AllowedNamespaces = nil
					}
				}
				report(s.Regions["shanghai"].Slice, metav1.ConditionFalse)
			},
			want: map[string]string{
				"Ready": "False/NamespaceNotAllowed", "RegionsHealthy": "False/NamespaceNotAllowed",
				"TopicsReady": "False/NoKafka", "WorkloadsAvailable": "False/CrashLoop",
			},
			words: map[string]string{
				"RegionsHealthy":     "beijing, shenzhen: the Region does not allow namespace accounts",
				"TopicsReady":        "beijing, shanghai, shenzhen: the Region has no spec.kafka",
				"WorkloadsAvailable": "shanghai: container user crashes",
			},
		},
		"what they say differently is not": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				lose(s, "beijing")
				lose(s, "shenzhen")
				delete(s.Configuration.Incidents, "beijing-7")
				report(s.Regions["shanghai"].Slice, metav1.ConditionFalse)
			},
			want: map[string]string{
				"Ready": "False/RegionLost", "RegionsHealthy": "False/RegionLost", "Degraded": "True/HomeRegionLost",
				"WorkloadsAvailable": "False/CrashLoop", "TopicsReady": "Unknown/RegionUnreachable", "RoutingReady": "False/GatewaysBehind",
			},
			words: map[string]string{
				"RegionsHealthy":     "See incident beijing-7; shenzhen: the region is lost",
				"WorkloadsAvailable": "shanghai: container user crashes; beijing, shenzhen: not known",
			},
		},
		"two data classes name one topic": {
			world: func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				m.Spec.DataClasses = append(m.Spec.DataClasses, v1alpha1.DataClass{Name: "avatar", Sync: m.Spec.DataClasses[0].Sync})
				for _, r := range s.Regions {
					r.Slice.Status.Lag = append(r.Slice.Status.Lag, v1alpha1.DataClassStatus{Name: "avatar", Lag: v1alpha1.LagWithinObjective})
				}
			},
			want:  map[string]string{"Ready": "False/TopicConflict", "TopicsReady": "False/TopicConflict"},
			words: map[string]string{"TopicsReady": "dataClasses[account] and dataClasses[avatar] both name topic accounts.account"},
		},
		"a region refuses an earlier slice": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				slice := s.Regions["beijing"].Slice
				slice.Generation++ // the other conditions speak of the one before
				slice.Status.Conditions = append(slice.Status.Conditions, metav1.Condition{
					Type: "Ready", Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonStaleSlice, Message: "this slice is older", ObservedGeneration: slice.Generation,
				})
			},
			want: map[string]string{
				"Ready": "False/StaleSlice", "WorkloadsAvailable": "False/StaleSlice", "TopicsReady": "False/StaleSlice", "RoutingReady": "False/StaleSlice",
			},
			words: map[string]string{"WorkloadsAvailable": "beijing: this slice is older"},
		},
		"a topic that would be taken for a copy": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.Regions["accounts"] = &plan.RegionSeen{Region: &v1alpha1.Region{}, Connection: plan.Unusable}
			},
			want:  map[string]string{"Ready": "False/TopicNameRefused", "TopicsReady": "False/TopicNameRefused"},
			words: map[string]string{"TopicsReady": "accounts.account"},
		},
		"records are deleted before a lost region is back": {
			world: func(mas *v1alpha1.MultiActiveService, _ *plan.Seen) {
				for i := range mas.Spec.DataClasses {
					if q := slices.MessageQueue(mas.Spec.DataClasses[i]); q != nil {
						q.Retention = &metav1.Duration{Duration: time.Minute}
					}
				}
			},
			want:  map[string]string{"Ready": "False/RetentionShort", "TopicsReady": "False/RetentionShort"},
			words: map[string]string{"TopicsReady": "raise messageQueue.retention"},
		},
		"data lags": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.Regions["beijing"].Slice.Status.Lag[0].Lag = v1alpha1.LagBeyondObjective
			},
			want: map[string]string{"Ready": "False/Lagging", "ReplicationHealthy": "False/Lagging"},
		},
		"lag is not known": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { s.Regions["beijing"].Slice.Status.Lag = nil },
			want:  map[string]string{"Ready": "Unknown/LagUnknown", "ReplicationHealthy": "Unknown/LagUnknown"},
		},
		"an ownership change waits": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				r := s.Configuration.Services[uid]
				r.SpecHash = "former"
				s.Configuration.Services[uid] = r
			},
			want: map[string]string{"Ready": "False/OwnershipChangePending", "RoutingReady": "False/OwnershipChangePending"},
		},
		"fields that are not acted on": {
			world: func(m *v1alpha1.MultiActiveService, _ *plan.Seen) {
				m.Spec.Failover = &v1alpha1.Failover{Survivors: v1alpha1.SurvivorsScale}
				m.Spec.Workload.Replicas = nil
			},
			want:  map[string]string{"FieldsActedOn": "False/NotSupportedYet"},
			words: map[string]string{"FieldsActedOn": "does not act on: failover.survivors Scale", "Ready": "FieldsActedOn"},
		},
		"a flow without a home": {
			world: func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				m.Spec.Partition = nil
				*s = healthy(m)
			},
			want:  map[string]string{"Ready": "False/FlowWithoutHome", "DesignSound": "False/FlowWithoutHome"},
			words: map[string]string{"DesignSound": "register"},
		},
		"being deleted, with a region down": {
			world: func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				lose(s, "beijing")
				m.DeletionTimestamp = ptr.To(metav1.NewTime(start))
				s.Configuration.Services[uid] = ownership.ServiceRecord{UID: uid, Deleted: true}
				s.Configuration.ServiceIntents[uid] = ownership.ServiceIntent{UID: uid, Deleted: true}
				s.Regions["shanghai"].Slice = nil
			},
			want: map[string]string{
				"Ready": "False/Deleting", "RoutingReady": "False/Deleting", "CoreAvailable": "False/Deleting", "Degraded": "Unknown/Deleting",
				"WorkloadsAvailable": "False/Deleting", "StoresReady": "False/Deleting", "TopicsReady": "False/Deleting", "ReplicationHealthy": "False/Deleting",
				"RegionsHealthy": "False/RegionLost",
			},
			words: map[string]string{
				"Ready":         "the service is being deleted: cannot reach beijing to delete what runs there",
				"RoutingReady":  "the service is being deleted: cannot reach beijing",
				"CoreAvailable": `"type":"Abandon"`,
				"TopicsReady":   `"type":"Abandon"`,
			},
		},
		"being deleted, and nothing is in the way": {
			world: func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				m.DeletionTimestamp = ptr.To(metav1.NewTime(start))
				for _, r := range s.Regions {
					r.Slice = nil
				}
				s.Configuration.Services = nil
			},
			want: map[string]string{
				"Ready": "False/Deleting", "RoutingReady": "False/Deleting", "CoreAvailable": "False/Deleting", "Degraded": "Unknown/Deleting",
				"WorkloadsAvailable": "False/Deleting", "StoresReady": "False/Deleting", "TopicsReady": "False/Deleting", "ReplicationHealthy": "False/Deleting",
			},
		},
		"being deleted without the store": {
			world: func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				m.DeletionTimestamp = ptr.To(metav1.NewTime(start))
				s.StoreConnected = false
			},
			want: map[string]string{
				"Ready": "False/Deleting", "RoutingReady": "False/Deleting", "CoreAvailable": "False/Deleting", "Degraded": "Unknown/Deleting",
				"WorkloadsAvailable": "False/Deleting", "StoresReady": "False/Deleting", "TopicsReady": "False/Deleting", "ReplicationHealthy": "False/Deleting",
				"RegionsHealthy": "Unknown/StoreUnreachable",
			},
			words: map[string]string{"RoutingReady": "the coordination store does not answer"},
		},
		"a region's cluster refuses the slice": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.Regions["beijing"].StageError = &plan.StageError{Reason: v1alpha1.ReasonNamespaceMissing, Message: "create it"}
			},
			want: map[string]string{
				"Ready": "False/NamespaceMissing", "WorkloadsAvailable": "False/NamespaceMissing", "TopicsReady": "False/NamespaceMissing",
				"RoutingReady": "False/NamespaceMissing",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mas := service()
			seen := healthy(mas)
			c.world(mas, &seen)
			todo := plan.Decide(start, mas, seen)
			plan.Report(start, mas, seen, todo, true)
			want := map[string]string{}
			for _, kind := range allConditions {
				want[kind] = asDeclared[kind]
				if other, differs := c.want[kind]; differs {
					want[kind] = other
				}
			}
			got := map[string]string{}
			for _, condition := range mas.Status.Conditions {
				got[condition.Type] = string(condition.Status) + "/" + condition.Reason
			}
			if _, matters := c.want[v1alpha1.ConditionDesignSound]; !matters {
				want[v1alpha1.ConditionDesignSound] = got[v1alpha1.ConditionDesignSound] // the design is not what most cases are about
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			for kind, word := range c.words {
				if m := meta.FindStatusCondition(mas.Status.Conditions, kind).Message; !strings.Contains(m, word) {
					t.Errorf("%s says %q, want %q in it", kind, m, word)
				}
			}
			again := mas.DeepCopy()
			plan.Report(start.Add(time.Hour), again, seen, plan.Decide(start, mas, seen), true)
			if diff := cmp.Diff(mas.Status, again.Status); diff != "" {
				t.Errorf("the same world an hour later gives another status (-first +later)\n%s", diff)
			}
		})
	}
}

func TestReportOutage(t *testing.T) {
	t.Parallel()
	mas := service()
	seen := healthy(mas)
	plan.Report(start.Add(-time.Minute), mas, seen, plan.Plan{}, true)
	lose(&seen, "beijing")
	seen.Regions["shanghai"].Slice.Status.DataAtRisk = []v1alpha1.DataAtRisk{{Name: "account"}}
	seen.Regions["shenzhen"].Slice.Status.DataAtRisk = []v1alpha1.DataAtRisk{{Name: "account", Lag: &metav1.Duration{Duration: 2 * time.Second}}}
	plan.Report(start, mas, seen, plan.Plan{}, true)

	if diff := cmp.Diff(&v1alpha1.ServiceSummary{
		Regions: "2/3", Degraded: "1/2", DegradedFlows: "register", Lag: "<5m", Epoch: 8,
	}, mas.Status.Summary); diff != "" {
		t.Errorf("summary (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(v1alpha1.ServiceRegionStatus{
		Name: "beijing", State: v1alpha1.RegionDown, Owns: v1alpha1.No, Replicas: "?/3",
		Message: "beijing: the region is lost; the others go on without it. See incident beijing-7",
	}, mas.Status.Regions[0]); diff != "" {
		t.Errorf("region (-want +got)\n%s", diff)
	}
	login, register := mas.Status.Flows[0], mas.Status.Flows[1]
	if login.State != v1alpha1.FlowAvailable || !login.Since.Time.Equal(start.Add(-time.Minute)) {
		t.Errorf("login is %s since %s, want available since before", login.State, login.Since)
	}
	if register.State != v1alpha1.FlowDegraded || !register.Since.Time.Equal(start) || *register.AffectedKeysPercent < 45 {
		t.Errorf("register is %+v, want about half degraded since now", register)
	}
	started := metav1.NewTime(start.Add(-10 * time.Second))
	if diff := cmp.Diff(&v1alpha1.ServiceIncident{
		Name: "beijing-7", StartedAt: &started, RecoverySeconds: ptr.To[int64](4),
		DataAtRisk: []v1alpha1.DataAtRisk{{Name: "account", Lag: &metav1.Duration{Duration: 2 * time.Second}}},
	}, mas.Status.LastIncident); diff != "" {
		t.Errorf("incident (-want +got)\n%s", diff)
	}
	if objective := mas.Status.DataClasses[0].Objective.Duration; objective != time.Hour {
		t.Errorf("objective %s, want the outage's", objective)
	}
	// What the store and the regions forget stays.
	seen.Configuration.Incidents = map[string]ownership.Incident{}
	plan.Report(start, mas, seen, plan.Plan{}, true)
	if mas.Status.LastIncident == nil || len(mas.Status.LastIncident.DataAtRisk) != 1 {
		t.Errorf("the incident was forgotten: %+v", mas.Status.LastIncident)
	}
}

func TestReportAfterAFailedRead(t *testing.T) {
	t.Parallel()
	mas := service()
	plan.Report(start, mas, plan.Seen{}, plan.Plan{}, false)
	var got []string
	for _, c := range mas.Status.Conditions {
		if c.Status != metav1.ConditionUnknown || c.Reason != v1alpha1.ReasonNotYetObserved {
			t.Errorf("%s is %s/%s", c.Type, c.Status, c.Reason)
		}
		got = append(got, c.Type)
	}
	if len(got) != len(allConditions) {
		t.Errorf("conditions %v, want all of %v", got, allConditions)
	}
}
