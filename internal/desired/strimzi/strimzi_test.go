package strimzi_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/desired/strimzi"
	"multiactive.dev/operator/internal/plan/topic"
)

var kafka = v1alpha1.StrimziKafka{Namespace: "kafka", Cluster: "main"}

func TestTopic(t *testing.T) {
	shape := topic.Shape{Partitions: 12, ReplicationFactor: 3, Configs: map[string]string{"retention.ms": "1000"}}
	obj := strimzi.Topic(kafka, "accounts.account", shape)
	want := map[string]any{
		"apiVersion": "kafka.strimzi.io/v1", "kind": "KafkaTopic",
		"metadata": map[string]any{
			"namespace": "kafka", "name": "accounts.account",
			"labels": map[string]any{"strimzi.io/cluster": "main", "app.kubernetes.io/managed-by": "multiactive"},
		},
		"spec": map[string]any{"partitions": int64(12), "replicas": int64(3), "config": map[string]any{"retention.ms": "1000"}},
	}
	if d := cmp.Diff(want, obj.Object); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if !regional.Made(obj) || strimzi.TopicOf(obj) != "accounts.account" || strimzi.Replicas(obj) != 3 {
		t.Errorf("read back: ours %t, topic %s, replicas %d", regional.Made(obj), strimzi.TopicOf(obj), strimzi.Replicas(obj))
	}
	other := strimzi.Topic(kafka, "accounts._deferred.user", shape)
	if strimzi.TopicOf(other) != "accounts._deferred.user" || other.GetName() == "accounts._deferred.user" {
		t.Errorf("a topic that is no name of an object is named %s, for topic %s", other.GetName(), strimzi.TopicOf(other))
	}
}

func TestManaged(t *testing.T) {
	for name, test := range map[string]struct {
		kafka *v1alpha1.RegionKafka
		want  *v1alpha1.StrimziKafka
	}{
		"no Kafka":  {nil, nil},
		"by nobody": {&v1alpha1.RegionKafka{}, nil},
		"Admin":     {&v1alpha1.RegionKafka{Management: &v1alpha1.KafkaManagement{Type: v1alpha1.KafkaManagementAdmin}}, nil},
		"Strimzi":   {&v1alpha1.RegionKafka{Management: &v1alpha1.KafkaManagement{Type: v1alpha1.KafkaManagementStrimzi, Strimzi: &kafka}}, &kafka},
	} {
		if got := strimzi.Managed(test.kafka); got != test.want {
			t.Errorf("%s: managed through %v, want %v", name, got, test.want)
		}
	}
}

func TestStateOf(t *testing.T) {
	condition := func(kind, status string) []any {
		return []any{map[string]any{"type": kind, "status": status, "reason": "KafkaError", "message": "no"}}
	}
	for name, test := range map[string]struct {
		generation, observed int64
		conditions           []any
		want                 strimzi.State
	}{
		"nobody has looked":       {1, 0, nil, strimzi.State{}},
		"an earlier one was seen": {2, 1, condition("Ready", "True"), strimzi.State{}},
		"ready":                   {2, 2, condition("Ready", "True"), strimzi.State{Known: true, Ready: true}},
		"not ready":               {2, 2, condition("Ready", "False"), strimzi.State{Known: true, Reason: "KafkaError", Message: "no"}},
		"not ready, other word":   {2, 2, condition("NotReady", "True"), strimzi.State{Known: true, Reason: "KafkaError", Message: "no"}},
		"a warning alone":         {2, 2, condition("Warning", "True"), strimzi.State{}},
		"no condition":            {2, 2, nil, strimzi.State{}},
	} {
		obj := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"observedGeneration": test.observed, "conditions": test.conditions}}}
		obj.SetGeneration(test.generation)
		if d := cmp.Diff(test.want, strimzi.StateOf(obj)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// What is compared and applied is a copy: the status is still needed, and so is the kind.
func TestContentLeavesTheObjectAlone(t *testing.T) {
	obj := strimzi.Topic(kafka, "accounts.account", topic.Shape{Partitions: 1, ReplicationFactor: 1})
	obj.Object["status"] = map[string]any{"observedGeneration": int64(1)}
	before := obj.DeepCopy()
	if same, err := regional.UpToDate(obj, obj); err != nil || !same {
		t.Errorf("an object is like itself: %t, %v", same, err)
	}
	if d := cmp.Diff(before.Object, obj.Object); d != "" {
		t.Errorf("comparing changes it (-want +got):\n%s", d)
	}
}
