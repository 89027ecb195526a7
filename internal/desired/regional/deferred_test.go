package regional_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/routing"
)

// deferring is the sample whose registrations are deferred for a time.
func deferring(expireAfter time.Duration) *v1alpha1.RegionalService {
	rs := sample()
	rs.Spec.Kafka = &v1alpha1.RegionKafka{
		BootstrapServers: []string{"kafka-0:9092", "kafka-1:9092"},
		Auth:             &v1alpha1.KafkaAuth{SecretRef: v1alpha1.SecretReference{Name: "kafka-admin"}},
	}
	rs.Spec.Behaviours[1].OnHomeLoss = &v1alpha1.OnHomeLoss{Action: v1alpha1.HomeLossDefer, Defer: &v1alpha1.DeferPolicy{
		AdmitPath: "/admit", ExpireAfter: &metav1.Duration{Duration: expireAfter}, IdempotencyHeader: "Idempotency-Key",
		Notify: &v1alpha1.NotifyTarget{EndpointRef: "sms"},
	}}
	return rs
}

func TestDeferring(t *testing.T) {
	golden(t, "gateway-deferring.golden.yaml", regional.GatewayDeployment(deferring(24*time.Hour), options))
	without := deferring(24 * time.Hour)
	without.Spec.Kafka = nil
	if args := regional.GatewayDeployment(without, options).Spec.Template.Spec.Containers[0].Args; slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, "deferred") }) {
		t.Errorf("without a Kafka, the gateway's arguments are %q", args)
	}
}

func TestDeferredTopic(t *testing.T) {
	rs := deferring(24 * time.Hour)
	topics := regional.KeptTopics(rs)
	want := v1alpha1.TopicSlice{
		Name: "accounts._deferred.user", Partitions: 12, ReplicationFactor: 3, Retention: metav1.Duration{Duration: 72 * time.Hour},
		Adoption: v1alpha1.TopicCreate, OrderByKey: v1alpha1.Yes,
	}
	if diff := cmp.Diff(append(sample().Spec.Topics, want), topics); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(rs.Spec.Topics) != 1 {
		t.Error("the slice was changed: its topics are mirrored")
	}
	if got := regional.KeptTopics(sample()); len(got) != 1 {
		t.Errorf("nothing is deferred, and there are the topics %v", got)
	}
}

func TestDeferredRouting(t *testing.T) {
	rs := deferring(time.Hour)
	flow := func() routing.Flow { return regional.Routing(rs, "beijing", "http://127.0.0.1", agreed()).Flows[1] }
	if got := flow(); got.OnHomeLoss != "Defer" || *got.Defer != (routing.Defer{AdmitPath: "/admit", ExpireAfter: time.Hour, IdempotencyHeader: "Idempotency-Key"}) {
		t.Errorf("routed is %+v", got.Defer)
	}
	if got := regional.UnknownNotifyEndpoints(rs); got["register"] != "sms" {
		t.Errorf("unknown endpoints are %v", got)
	}
	rs.Spec.NotifyEndpoints = []v1alpha1.NotifyEndpoint{{Name: "sms", URL: "https://sms.example.com/hook"}}
	if got := flow(); got.Defer.Notify != "https://sms.example.com/hook" || len(regional.UnknownNotifyEndpoints(rs)) > 0 {
		t.Errorf("routed is %+v", got.Defer)
	}
	states := regional.FlowStates(&rs.Spec, agreed("shanghai"))
	if states[1].Action != v1alpha1.HomeLossDefer {
		t.Errorf("the flow is %+v", states[1])
	}
	rs.Spec.Kafka = nil
	if states := regional.FlowStates(&rs.Spec, agreed("shanghai")); states[1].Action != v1alpha1.HomeLossReject {
		t.Errorf("without a Kafka, the flow is %+v", states[1])
	}
	if rs.Spec.Behaviours[1].OnHomeLoss == nil {
		t.Error("the slice was changed")
	}
}
