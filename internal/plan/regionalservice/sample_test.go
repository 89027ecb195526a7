package regionalservice_test

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/regionalservice"
)

const hash = "0123456789abcdef"

var (
	now     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	options = regional.Options{Region: "beijing", OperatorNamespace: "multiactive-system", AgentURL: "http://agent:8090", GatewayImage: "g", MirrorImage: "m"}
)

// sample is a Managed service with a topic that arrives from shanghai.
func sample() *v1alpha1.RegionalService {
	template := func() *corev1.PodTemplateSpec {
		return &corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app:1"}}}}
	}
	kafka := func(address string) *v1alpha1.RegionKafka {
		return &v1alpha1.RegionKafka{BootstrapServers: []string{address}}
	}
	return &v1alpha1.RegionalService{
		ObjectMeta: metav1.ObjectMeta{Namespace: "accounts", Name: "user", UID: "b7a2", Generation: 3, Finalizers: []string{plan.Finalizer}},
		Spec: v1alpha1.RegionalServiceSpec{
			Region: "beijing", ServiceID: "uid-1", Stamp: v1alpha1.SliceStamp{Generation: 4}, Kafka: kafka("kafka.bj:9092"),
			Workload: v1alpha1.WorkloadSlice{
				Type: v1alpha1.WorkloadManaged, Hash: "w1", ServiceAccountName: "deployer",
				Replicas: ptr.To[int32](2), Port: 8080, Template: template(),
				Additional: []v1alpha1.AdditionalWorkload{{Name: "cron", Activation: v1alpha1.ActivationOwnerOnly, Template: template()}},
			},
			Peers: []v1alpha1.Peer{
				{Name: "beijing", Endpoint: "https://user.bj.example.com", Kafka: kafka("kafka.bj:9092")},
				{Name: "shanghai", Endpoint: "https://user.sh.example.com", Kafka: kafka("kafka.sh:9092")},
			},
			Ownership: []v1alpha1.OwnershipSlice{{
				Hash:    hash,
				Regions: []v1alpha1.RegionWeight{{Name: "beijing", Weight: 50}, {Name: "shanghai", Weight: 50}},
				Flows:   []v1alpha1.FlowRouting{{Name: "register", Key: "phone", ServedBy: v1alpha1.ServedByHomeRegion}},
			}},
			Behaviours: []v1alpha1.FlowBehaviour{{Name: "register", Tier: v1alpha1.TierNonCore}},
			Topics:     []v1alpha1.TopicSlice{{Name: "accounts.account", DataClass: "account", Partitions: 3, ReplicationFactor: 3, Objective: &metav1.Duration{Duration: time.Minute}}},
		},
		Status: v1alpha1.RegionalServiceStatus{ActedStamp: &v1alpha1.ActedStamp{ServiceID: "uid-1", Stamp: v1alpha1.SliceStamp{Generation: 4}}},
	}
}

// well is everything as it is when nothing is left to do.
func well(t *testing.T, rs *v1alpha1.RegionalService) plan.Seen {
	t.Helper()
	seen := plan.Seen{
		Complete: true, HasConfiguration: true, LeaseHeld: true, LeaseSettled: true,
		Configuration: ownership.Configuration{
			View: ownership.View{Epoch: 7, Regions: map[string]ownership.RegionRecord{
				"beijing": {State: ownership.RegionServing}, "shanghai": {State: ownership.RegionServing},
			}},
			Services: map[string]ownership.ServiceRecord{"uid-1": {UID: "uid-1", ServiceState: ownership.ServiceState{SpecHash: hash}}},
		},
		Pods: []corev1.Pod{{
			ObjectMeta: metav1.ObjectMeta{Name: "user-gateway-1", Labels: regional.Selector("user", regional.ComponentGateway)},
			Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		}},
		Acknowledged: map[string]int64{"user-gateway-1": 7},
		Topics:       plan.Topics{Known: true, Results: map[string]plan.TopicResult{"accounts.account": {Ready: true}}},
		Links:        map[string]plan.Link{"shanghai": {Known: true, Age: time.Second}},
	}
	settle(t, rs, &seen)
	return seen
}

// settle carries plans out until nothing changes any more, as a cluster would.
func settle(t *testing.T, rs *v1alpha1.RegionalService, seen *plan.Seen) {
	t.Helper()
	for range 10 {
		p, err := plan.Decide(rs, *seen, options)
		if err != nil {
			t.Fatal(err)
		}
		changed := false
		for _, step := range p.Steps {
			switch step.Kind {
			case plan.StepApply:
				remove(seen, step.Object)
				seen.Owned, changed = append(seen.Owned, run(step.Object)), true
			case plan.StepDelete:
				remove(seen, step.Object)
				changed = true
			default:
			}
		}
		if !changed {
			return
		}
	}
	t.Fatal("plans never end")
}

func remove(seen *plan.Seen, obj regional.Object) {
	kept := seen.Owned[:0:0]
	for _, o := range seen.Owned {
		if o.GetName() != obj.GetName() || o.GetObjectKind().GroupVersionKind() != obj.GetObjectKind().GroupVersionKind() {
			kept = append(kept, o)
		}
	}
	seen.Owned = kept
}

// run sets what a cluster adds to an object.
func run(obj regional.Object) regional.Object {
	switch o := obj.(type) {
	case *appsv1.Deployment:
		o.Status = available(ptr.Deref(o.Spec.Replicas, 1))
	case *corev1.Service:
		o.Spec.ClusterIP = "10.0.0.7"
	}
	return obj
}

func available(n int32) appsv1.DeploymentStatus {
	return appsv1.DeploymentStatus{Replicas: n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n}
}

// application returns the application's Deployment, to be changed.
func application(t *testing.T, seen *plan.Seen) *appsv1.Deployment {
	t.Helper()
	for _, o := range seen.Owned {
		if d, ok := o.(*appsv1.Deployment); ok && d.Name == "user" {
			return d
		}
	}
	t.Fatal("no Deployment user")
	return nil
}
