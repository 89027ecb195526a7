package multiactiveservice_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/multiactiveservice"
)

func TestFieldsThatAreNotActedOnAreNamed(t *testing.T) {
	tests := map[string]struct {
		spec v1alpha1.MultiActiveServiceSpec
		want []string
	}{
		"nothing declared": {},
		"autoscaling": {
			v1alpha1.MultiActiveServiceSpec{Workload: v1alpha1.Workload{Autoscaling: &v1alpha1.Autoscaling{MaxReplicas: 3}}},
			[]string{"workload.autoscaling (replicas are left alone: make the HorizontalPodAutoscaler in each region)"},
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
			[]string{"failover.survivors Scale (workload.replicas is not declared)"},
		},
		"other means than the queue": {
			v1alpha1.MultiActiveServiceSpec{DataClasses: []v1alpha1.DataClass{
				{Name: "account", Sync: []v1alpha1.SyncPolicy{{Method: v1alpha1.SyncMessageQueue}, {Method: v1alpha1.SyncSecondRead}}},
			}},
			[]string{"dataClasses[account].sync SecondRead"},
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
