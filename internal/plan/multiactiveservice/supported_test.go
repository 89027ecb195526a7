package multiactiveservice_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/multiactiveservice"
)

func sessions(name string, how v1alpha1.OriginReadType, cookie string) v1alpha1.DataClass {
	return v1alpha1.DataClass{Name: name, Sync: []v1alpha1.SyncPolicy{
		{Method: v1alpha1.SyncOriginRead, OriginRead: &v1alpha1.OriginReadSync{Type: how, Token: v1alpha1.SessionToken{Cookie: cookie}}},
		{Method: v1alpha1.SyncRegenerate},
	}}
}

func TestFieldsThatAreNotActedOnAreNamed(t *testing.T) {
	tests := map[string]struct {
		spec v1alpha1.MultiActiveServiceSpec
		want []string
	}{
		"nothing declared": {},
		"autoscaling": {v1alpha1.MultiActiveServiceSpec{
			Workload: v1alpha1.Workload{Autoscaling: &v1alpha1.Autoscaling{MaxReplicas: 3}}, Failover: &v1alpha1.Failover{Survivors: v1alpha1.SurvivorsScale},
		}, nil},
		"replicas of a region that is autoscaled": {
			v1alpha1.MultiActiveServiceSpec{
				Workload: v1alpha1.Workload{Autoscaling: &v1alpha1.Autoscaling{MaxReplicas: 3}},
				Regions:  []v1alpha1.ServiceRegion{{Name: "beijing", Overrides: &v1alpha1.WorkloadOverrides{Replicas: ptr.To[int32](7)}}},
			},
			[]string{"regions[beijing].overrides.replicas (workload.autoscaling chooses them)"},
		},
		"what a lost home means": {
			v1alpha1.MultiActiveServiceSpec{Flows: []v1alpha1.Flow{
				{Name: "pay", OnHomeLoss: &v1alpha1.OnHomeLoss{Action: v1alpha1.HomeLossTakeover}},
				{Name: "transfer", OnHomeLoss: &v1alpha1.OnHomeLoss{Action: v1alpha1.HomeLossDefer}},
				{Name: "read", OnHomeLoss: &v1alpha1.OnHomeLoss{Action: v1alpha1.HomeLossReadOnly}},
			}},
			nil,
		},
		"survivors that cannot be scaled": {
			v1alpha1.MultiActiveServiceSpec{Failover: &v1alpha1.Failover{Mode: "Manual", Handback: "Automatic", Survivors: v1alpha1.SurvivorsScale}},
			[]string{"failover.survivors Scale (neither workload.replicas nor workload.autoscaling is declared)"},
		},
		"the queue and a store": {
			v1alpha1.MultiActiveServiceSpec{DataClasses: []v1alpha1.DataClass{
				{Name: "account", Sync: []v1alpha1.SyncPolicy{{Method: v1alpha1.SyncMessageQueue}, {Method: v1alpha1.SyncStorageReplication}}},
			}},
			nil,
		},
		"a second read": {
			v1alpha1.MultiActiveServiceSpec{
				DataClasses: []v1alpha1.DataClass{{Name: "account", Sync: []v1alpha1.SyncPolicy{{Method: v1alpha1.SyncSecondRead}}}},
				Flows:       []v1alpha1.Flow{{Name: "login", Key: "phone", Reads: []string{"account"}}},
			}, nil,
		},
		"sessions": {
			v1alpha1.MultiActiveServiceSpec{
				Partition:   &v1alpha1.Partition{Keys: []v1alpha1.PartitionKey{{Name: "phone", From: []v1alpha1.KeySource{{Type: v1alpha1.KeySourceSession}}}}},
				DataClasses: []v1alpha1.DataClass{sessions("session", v1alpha1.OriginFetchSession, "sid")},
				Flows:       []v1alpha1.Flow{{Name: "profile", Reads: []string{"session"}, ServedBy: v1alpha1.ServedByHomeRegion}},
			}, nil,
		},
		"sessions whose token nobody finds": {
			v1alpha1.MultiActiveServiceSpec{
				Partition:   &v1alpha1.Partition{Keys: []v1alpha1.PartitionKey{{Name: "phone", From: []v1alpha1.KeySource{{Type: v1alpha1.KeySourceSession}}}}},
				DataClasses: []v1alpha1.DataClass{{Name: "session", Sync: []v1alpha1.SyncPolicy{{Method: v1alpha1.SyncRegenerate}}}},
			},
			[]string{
				"partition.keys[phone].from Session (no data class has sync OriginRead, which says where the token is, and has its tokens stamped: those without originClaim are)",
				"dataClasses[session].sync Regenerate (without OriginRead, which says where the token is)",
			},
		},
		"sessions that cannot be read": {
			v1alpha1.MultiActiveServiceSpec{
				DataClasses: []v1alpha1.DataClass{
					sessions("a", v1alpha1.OriginForwardRequest, "sid"), sessions("b", v1alpha1.OriginFetchSession, "sid"),
				},
				Flows: []v1alpha1.Flow{
					{Name: "inbox", Reads: []string{"a"}}, {Name: "profile", Reads: []string{"a"}, ServedBy: v1alpha1.ServedByHomeRegion},
				},
			},
			[]string{
				"dataClasses[a].sync OriginRead (ForwardRequest is not for flows with servedBy HomeRegion, use FetchSession: profile)",
				"dataClasses[b].sync OriginRead (another class has its token in the same place)",
			},
		},
		"a second read of pinned data": {
			v1alpha1.MultiActiveServiceSpec{
				DataClasses: []v1alpha1.DataClass{pinned("tariff", "beijing")}, Flows: []v1alpha1.Flow{{Name: "tariffs", Reads: []string{"tariff"}}},
			}, nil,
		},
		"second reads that ask another region than the data's": {
			v1alpha1.MultiActiveServiceSpec{
				DataClasses: []v1alpha1.DataClass{
					pinned("tariff", "beijing"), pinned("rate", "shanghai"),
					{Name: "account", Sync: []v1alpha1.SyncPolicy{{Method: v1alpha1.SyncSecondRead}}},
				},
				Flows: []v1alpha1.Flow{
					{Name: "tariffs", Reads: []string{"tariff"}}, {Name: "rates", Reads: []string{"rate"}},
					{Name: "both", Reads: []string{"rate", "tariff"}}, {Name: "login", Key: "phone", Reads: []string{"account", "rate"}},
				},
			},
			[]string{"dataClasses[rate].sync SecondRead (a miss does not ask its home in flows that have no key of it, or also read a class with another home: both, login)"},
		},
		"a second read without a flow": {
			v1alpha1.MultiActiveServiceSpec{
				DataClasses: []v1alpha1.DataClass{{Name: "account", Sync: []v1alpha1.SyncPolicy{{Method: v1alpha1.SyncSecondRead}}}},
				Flows: []v1alpha1.Flow{
					{Name: "login", Reads: []string{"account"}}, {Name: "other", Key: "phone"},
					{Name: "transfer", Key: "phone", Reads: []string{"account"}, ServedBy: v1alpha1.ServedByHomeRegion},
				},
			},
			[]string{"dataClasses[account].sync SecondRead (no flow with servedBy AnyRegion reads it by the key of its home)"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, multiactiveservice.NotActedOn(tt.spec)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEndpointsThatRegionsDoNotHaveAreNamed(t *testing.T) {
	mas := service()
	mas.Spec.Flows = append(mas.Spec.Flows, v1alpha1.Flow{Name: "transfer", OnHomeLoss: &v1alpha1.OnHomeLoss{
		Action: v1alpha1.HomeLossDefer, Defer: &v1alpha1.DeferPolicy{Notify: &v1alpha1.NotifyTarget{EndpointRef: "sms"}},
	}})
	seen := healthy(mas)
	has, lacks := mas.Spec.Regions[0].Name, mas.Spec.Regions[1].Name
	for _, r := range mas.Spec.Regions {
		if r.Name != lacks {
			seen.Regions[r.Name].Region.Spec.NotifyEndpoints = []v1alpha1.NotifyEndpoint{{Name: "sms"}}
		}
	}
	told := func() string {
		multiactiveservice.Report(start, mas, seen, multiactiveservice.Plan{}, true)
		return meta.FindStatusCondition(mas.Status.Conditions, v1alpha1.ConditionFieldsActedOn).Message
	}
	if got := told(); !strings.Contains(got, "flows[transfer].onHomeLoss.defer.notify.endpointRef sms") || !strings.Contains(got, "in: "+lacks+";") ||
		strings.Contains(got, has) {
		t.Errorf("FieldsActedOn says %q", got)
	}
	seen.Regions[lacks].Region.Spec.NotifyEndpoints = []v1alpha1.NotifyEndpoint{{Name: "sms"}}
	if got := told(); strings.Contains(got, "sms") {
		t.Errorf("every region has the endpoint, and FieldsActedOn says %q", got)
	}
}

// pinned is a class with a second read whose home is a region.
func pinned(name, region string) v1alpha1.DataClass {
	return v1alpha1.DataClass{
		Name: name, Home: &v1alpha1.DataHome{Type: v1alpha1.HomePinned, Pinned: &v1alpha1.PinnedHome{Regions: []string{region}}},
		Sync: []v1alpha1.SyncPolicy{{Method: v1alpha1.SyncSecondRead}},
	}
}
