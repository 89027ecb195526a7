package metrics_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/metrics"
)

func conditions(typ, status, reason string) []metav1.Condition {
	return []metav1.Condition{{Type: typ, Status: metav1.ConditionStatus(status), Reason: reason}}
}

func duration(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

func objectsReader(t *testing.T) client.Reader {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	began := metav1.Unix(1700000000, 0)
	incident := func(name string, ended *metav1.Time) *v1alpha1.RegionIncident {
		return &v1alpha1.RegionIncident{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.RegionIncidentSpec{Region: "beijing"},
			Status: v1alpha1.RegionIncidentStatus{
				State: v1alpha1.IncidentReturning, StartedAt: &began, EndedAt: ended, Conditions: conditions("Resolved", "False", "HandbackAwaited"),
			},
		}
	}
	service := metav1.ObjectMeta{Namespace: "accounts", Name: "user"}
	link := func(name, topic, store string) *v1alpha1.ReplicationLink {
		return &v1alpha1.ReplicationLink{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       v1alpha1.ReplicationLinkSpec{Topic: topic, Store: store, From: "beijing", To: "shanghai"},
		}
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		&v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: "beijing"}, Status: v1alpha1.RegionStatus{Conditions: conditions("Serving", "False", "RegionLost")}},
		&v1alpha1.MultiActiveService{ObjectMeta: service, Status: v1alpha1.MultiActiveServiceStatus{Conditions: conditions("DesignSound", "False", "DesignErrors")}},
		incident("beijing-4", nil), incident("beijing-3", &began),
		&v1alpha1.RegionalService{
			ObjectMeta: service,
			Spec: v1alpha1.RegionalServiceSpec{
				Behaviours: []v1alpha1.FlowBehaviour{{Name: "login", Tier: v1alpha1.TierCore}},
				Topics:     []v1alpha1.TopicSlice{{Name: "accounts.account", Objective: duration(5 * time.Minute)}},
				Stores: []v1alpha1.StoreSlice{{Name: "users-db", Classes: []v1alpha1.StoreClass{
					{Name: "password", Objective: duration(time.Minute)}, {Name: "profile", Objective: duration(time.Hour)}, {Name: "balance"},
				}}},
			},
			Status: v1alpha1.RegionalServiceStatus{DataAtRisk: []v1alpha1.DataAtRisk{
				{Name: "account", Lag: duration(7 * time.Second)}, {Name: "users-db"},
			}},
		},
		link("account", "accounts.account", ""), link("users-db", "", "users-db"), link("other", "accounts.other", ""),
	).Build()
}

const hubSeries = `
# HELP multiactive_condition 1 for each condition that an object has now, by its status and reason.
# TYPE multiactive_condition gauge
multiactive_condition{kind="MultiActiveService",name="user",namespace="accounts",reason="DesignErrors",status="False",type="DesignSound"} 1
multiactive_condition{kind="Region",name="beijing",namespace="",reason="RegionLost",status="False",type="Serving"} 1
multiactive_condition{kind="RegionIncident",name="beijing-4",namespace="",reason="HandbackAwaited",status="False",type="Resolved"} 1
# HELP multiactive_incident_start_timestamp_seconds When an outage that is not over began, by the state that it is in.
# TYPE multiactive_incident_start_timestamp_seconds gauge
multiactive_incident_start_timestamp_seconds{incident="beijing-4",region="beijing",state="Returning"} 1.7e+09
`

const memberSeries = `
# HELP multiactive_flow_info 1 for each declared flow, by its tier.
# TYPE multiactive_flow_info gauge
multiactive_flow_info{flow="login",namespace="accounts",service="user",tier="Core"} 1
# HELP multiactive_link_data_at_risk_seconds Lag of a link when its source region was lost; no series while it is not, or when the lag was not known.
# TYPE multiactive_link_data_at_risk_seconds gauge
multiactive_link_data_at_risk_seconds{from="beijing",link="account",to="shanghai"} 7
# HELP multiactive_link_objective_seconds Strictest objective of the data classes that a link carries, while no region is lost.
# TYPE multiactive_link_objective_seconds gauge
multiactive_link_objective_seconds{from="beijing",link="account",to="shanghai"} 300
multiactive_link_objective_seconds{from="beijing",link="users-db",to="shanghai"} 60
`

// What is over, unknown or not declared has no series; hub and member each tell of their own kinds.
func TestObjects(t *testing.T) {
	reader := objectsReader(t)
	for name, tt := range map[string]struct {
		hub, member bool
		want        string
	}{
		"hub":    {hub: true, want: hubSeries},
		"member": {member: true, want: memberSeries},
	} {
		t.Run(name, func(t *testing.T) {
			if err := testutil.CollectAndCompare(&metrics.Objects{Reader: reader, Hub: tt.hub, Member: tt.member}, strings.NewReader(tt.want)); err != nil {
				t.Error(err)
			}
		})
	}
	all := &metrics.Objects{Reader: reader, Hub: true, Member: true}
	if want, got := 8, testutil.CollectAndCount(all); got != want {
		t.Errorf("a peer has %d series, want %d", got, want)
	}
}

type deaf struct{ client.Reader }

func (deaf) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("the cache is not started")
}

func TestObjectsWithoutCache(t *testing.T) {
	if n := testutil.CollectAndCount(&metrics.Objects{Reader: deaf{}, Hub: true, Member: true}); n != 0 {
		t.Errorf("%d series without a cache, want none", n)
	}
}
