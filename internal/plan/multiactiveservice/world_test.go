package multiactiveservice_test

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
)

const uid = "0f5e"

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func service() *v1alpha1.MultiActiveService {
	return &v1alpha1.MultiActiveService{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "accounts", Name: "user", UID: types.UID(uid), Generation: 1,
			Finalizers: []string{plan.Finalizer}, CreationTimestamp: metav1.NewTime(start.Add(-time.Hour)),
		},
		Spec: v1alpha1.MultiActiveServiceSpec{
			Regions: []v1alpha1.ServiceRegion{
				{Name: "beijing", Weight: ptr.To[int32](50), Endpoint: "http://bj"},
				{Name: "shanghai", Weight: ptr.To[int32](50), Endpoint: "http://sh"},
				{Name: "shenzhen", Weight: ptr.To[int32](0), Endpoint: "http://sz"},
			},
			Partition: &v1alpha1.Partition{Keys: []v1alpha1.PartitionKey{{Name: "phone", From: []v1alpha1.KeySource{
				{Type: v1alpha1.KeySourceHeader, Header: &v1alpha1.NamedSource{Name: "X-User-Phone"}},
			}}}},
			Workload: v1alpha1.Workload{
				Type: v1alpha1.WorkloadManaged, ServiceAccountName: "deployer", Port: 8080, Replicas: ptr.To[int32](3),
				Template: &corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "user", Image: "user:1"}}}},
			},
			Flows: []v1alpha1.Flow{
				{Name: "login", Tier: v1alpha1.TierCore, Match: []v1alpha1.RequestMatch{{Method: "POST", Path: "/v1/login"}}},
				{
					Name: "register", Tier: v1alpha1.TierNonCore, ServedBy: v1alpha1.ServedByHomeRegion,
					Match: []v1alpha1.RequestMatch{{Method: "POST", Path: "/v1/accounts"}},
				},
			},
			DataClasses: []v1alpha1.DataClass{{Name: "account", Mutability: v1alpha1.CreateOnly, Sync: []v1alpha1.SyncPolicy{
				{Method: v1alpha1.SyncMessageQueue, MessageQueue: &v1alpha1.MessageQueueSync{Topic: "account"}},
			}}},
		},
	}
}

// healthy is a world in which the service is everywhere as declared.
func healthy(mas *v1alpha1.MultiActiveService) plan.Seen {
	seen := plan.Seen{
		Regions: map[string]*plan.RegionSeen{}, NamespaceLabels: map[string]string{"multi": "yes"},
		StoreKnown: true, StoreConnected: true,
		Configuration: ownership.Configuration{
			View: ownership.View{Epoch: 7, Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{}},
			Services: map[string]ownership.ServiceRecord{uid: {
				UID: uid, Namespace: "accounts", Name: "user",
				ServiceState: ownership.ServiceState{SpecHash: slices.Ownership(mas).Hash, Regions: []string{"beijing", "shanghai", "shenzhen"}},
			}},
			ServiceIntents: map[string]ownership.ServiceIntent{uid: {
				UID: uid, Namespace: "accounts", Name: "user", SpecHash: slices.Ownership(mas).Hash,
				Regions: []string{"beijing", "shanghai", "shenzhen"},
			}},
			Incidents: map[string]ownership.Incident{},
		},
	}
	regions := map[string]*v1alpha1.Region{}
	for _, r := range mas.Spec.Regions {
		regions[r.Name] = &v1alpha1.Region{
			ObjectMeta: metav1.ObjectMeta{Name: r.Name},
			Spec: v1alpha1.RegionSpec{
				Role:              v1alpha1.RegionRoleActive,
				AllowedNamespaces: &v1alpha1.AllowedNamespaces{Selector: &metav1.LabelSelector{}},
				Kafka:             &v1alpha1.RegionKafka{BootstrapServers: []string{"kafka." + r.Name + ":9092"}},
			},
		}
	}
	for name, r := range regions {
		slice := slices.Build(slices.Input{Service: mas, Regions: regions}, name)
		slice.Generation = 1
		report(slice, metav1.ConditionTrue)
		seen.Regions[name] = &plan.RegionSeen{Region: r, Connection: plan.Connected, Slice: slice}
		seen.Configuration.View.Regions[name] = ownership.RegionRecord{State: ownership.RegionServing, Role: "Active"}
	}
	return seen
}

// report plays the member: it has acted on the slice.
func report(s *v1alpha1.RegionalService, available metav1.ConditionStatus) {
	s.Status = v1alpha1.RegionalServiceStatus{
		ActedStamp: &v1alpha1.ActedStamp{ServiceID: s.Spec.ServiceID, Stamp: s.Spec.Stamp},
		Epoch:      7, ObservedGeneration: s.Generation,
		Workload: &v1alpha1.ReplicaStatus{Desired: 3, Ready: 3}, Gateway: &v1alpha1.ReplicaStatus{Desired: 2, Ready: 2},
		Lag: []v1alpha1.DataClassStatus{{Name: "account", Lag: v1alpha1.LagWithinObjective}},
	}
	if available == metav1.ConditionTrue {
		s.Status.WorkloadHash = s.Spec.Workload.Hash
	}
	for _, kind := range []string{v1alpha1.ConditionWorkloadAvailable, v1alpha1.ConditionGatewayReady, v1alpha1.ConditionTopicsReady} {
		c := metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAsDeclared, ObservedGeneration: s.Generation}
		if kind == v1alpha1.ConditionWorkloadAvailable && available != metav1.ConditionTrue {
			c.Status, c.Reason, c.Message = available, v1alpha1.ReasonCrashLoop, "container user crashes"
		}
		s.Status.Conditions = append(s.Status.Conditions, c)
	}
}

// lose lets a region be lost as the leader and the hub see it.
func lose(seen *plan.Seen, region string) {
	seen.Configuration.View.Epoch = 8
	seen.Configuration.View.Regions[region] = ownership.RegionRecord{
		State: ownership.RegionLost, Role: "Active", Incident: region + "-7", Unshipped: true, LostEpoch: 8,
	}
	seen.Configuration.Incidents[region+"-7"] = ownership.Incident{
		Name: region + "-7", Region: region, Epoch: 8,
		Timeline: []ownership.IncidentStep{
			{Step: ownership.StepSuspected, At: start.Add(-10 * time.Second)},
			{Step: ownership.StepCommitted, At: start.Add(-6500 * time.Millisecond)},
		},
	}
	at := seen.Regions[region]
	at.Connection, at.Problem, at.Slice = plan.Unusable, "the API server does not answer", nil
	for name, other := range seen.Regions {
		if name != region && other.Slice != nil {
			other.Slice.Status.Epoch = 8
		}
	}
}
