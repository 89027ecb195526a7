package member_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/strimzi"
	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/binaries"
	"multiactive.dev/operator/internal/testkit/crds"
)

// throughStrimzi has topics managed by a Strimzi that is installed while the member runs. The test does what
// Strimzi's Topic Operator does.
func throughStrimzi(w *world) {
	const ns, topic, kafkas = "strimzi", "strimzi.account", "kafka"
	w.namespace(ns)
	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: kafkas}})
	rs := w.withTopic(slice(ns, "user"), topic)
	rs.Spec.Kafka.Management = &v1alpha1.KafkaManagement{
		Type: v1alpha1.KafkaManagementStrimzi, Strimzi: &v1alpha1.StrimziKafka{Namespace: kafkas, Cluster: "main"},
	}
	w.create(rs)
	message := w.condition(ns, "user", v1alpha1.ConditionTopicsReady, metav1.ConditionFalse, v1alpha1.ReasonStrimziMissing)
	if !strings.Contains(message, "install Strimzi") {
		w.t.Errorf("message %q does not say what to install", message)
	}
	w.installStrimzi()
	message = w.condition(ns, "user", v1alpha1.ConditionTopicsReady, metav1.ConditionFalse, v1alpha1.ReasonProgressing)
	if !strings.Contains(message, "waits for Strimzi's Topic Operator") {
		w.t.Errorf("message %q does not say who is waited for", message)
	}
	if topics, err := w.admin().Describe(w.t.Context(), topic); err != nil || topics[topic].Exists {
		w.t.Fatalf("the member made topic %v itself, %v", topics[topic], err)
	}
	w.topicOperator(topic, "KafkaError", "no such thing")
	message = w.condition(ns, "user", v1alpha1.ConditionTopicsReady, metav1.ConditionFalse, v1alpha1.ReasonStrimziRefused)
	if !strings.Contains(message, "no such thing") {
		w.t.Errorf("message %q does not repeat what Strimzi says", message)
	}
	w.topicOperator(topic, "", "")
	w.condition(ns, "user", v1alpha1.ConditionTopicsReady, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared)
	w.strimziGrows(ns, topic)
	w.strimziTopicOfOthers(ns, kafkas)
}

// strimziGrows raises the partitions, and puts back what somebody has changed in the KafkaTopic.
func (w *world) strimziGrows(ns, topic string) {
	w.t.Helper()
	edit(w, &v1alpha1.RegionalService{}, ns, "user", func(rs *v1alpha1.RegionalService) { rs.Spec.Topics[0].Partitions = 4 })
	w.kafkaTopic(topic, func(obj *unstructured.Unstructured) error {
		if n, _, _ := unstructured.NestedInt64(obj.Object, "spec", "partitions"); n != 4 {
			return fmt.Errorf("the KafkaTopic asks for %d partitions, want 4", n)
		}
		return nil
	})
	w.topicOperator(topic, "", "")
	w.condition(ns, "user", v1alpha1.ConditionTopicsReady, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared)
	edit(w, newKafkaTopic(), "kafka", topic, func(obj *unstructured.Unstructured) {
		_ = unstructured.SetNestedField(obj.Object, "60000", "spec", "config", "retention.ms")
	})
	edit(w, &v1alpha1.RegionalService{}, ns, "user", func(rs *v1alpha1.RegionalService) { rs.Spec.Topics[0].Partitions = 5 })
	w.kafkaTopic(topic, func(obj *unstructured.Unstructured) error {
		if got, _, _ := unstructured.NestedString(obj.Object, "spec", "config", "retention.ms"); got != "604800000" {
			return fmt.Errorf("the KafkaTopic has retention.ms %s, want a week's", got)
		}
		return nil
	})
}

// strimziTopicOfOthers leaves a KafkaTopic alone that somebody else made.
func (w *world) strimziTopicOfOthers(ns, kafkas string) {
	w.t.Helper()
	theirs := newKafkaTopic()
	theirs.SetNamespace(kafkas)
	theirs.SetName("theirs")
	theirs.SetLabels(map[string]string{strimzi.LabelCluster: "main"})
	theirs.Object["spec"] = map[string]any{"topicName": "strimzi.theirs", "partitions": int64(7)}
	w.create(theirs)
	rs := w.withTopic(slice(ns, "other"), "strimzi.theirs")
	rs.Spec.Kafka.Management = &v1alpha1.KafkaManagement{
		Type: v1alpha1.KafkaManagementStrimzi, Strimzi: &v1alpha1.StrimziKafka{Namespace: kafkas, Cluster: "main"},
	}
	w.create(rs)
	message := w.condition(ns, "other", v1alpha1.ConditionTopicsReady, metav1.ConditionFalse, v1alpha1.ReasonTopicNotOurs)
	if !strings.Contains(message, "kafka/theirs") {
		w.t.Errorf("message %q does not name the KafkaTopic", message)
	}
	if _, err := get(w, newKafkaTopic(), kafkas, "strimzi.theirs"); !apierrors.IsNotFound(err) {
		w.t.Errorf("a second KafkaTopic was made: %v", err)
	}
}

// installStrimzi installs what the operator needs of Strimzi's resources.
func (w *world) installStrimzi() {
	w.t.Helper()
	root, err := binaries.ModuleRoot()
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), timeout)
	defer cancel()
	if _, err := crds.InstallDir(ctx, w.admins, filepath.Join(root, "internal", "desired", "strimzi", "testdata", "crds")); err != nil {
		w.t.Fatal(err)
	}
}

// topicOperator makes the topic as its KafkaTopic says and reports that, or reports a failure.
func (w *world) topicOperator(topic, reason, message string) {
	w.t.Helper()
	testkit.Eventually(w.t, timeout, func() error {
		obj, err := get(w, newKafkaTopic(), "kafka", topic)
		if err != nil {
			return err
		}
		status := "True"
		if reason != "" {
			status = "False"
		} else if err := w.carryOut(obj); err != nil {
			return err
		}
		obj.Object["status"] = map[string]any{
			"observedGeneration": obj.GetGeneration(),
			"conditions":         []any{map[string]any{"type": "Ready", "status": status, "reason": reason, "message": message}},
		}
		return w.client.Status().Update(w.t.Context(), obj)
	})
}

func (w *world) carryOut(obj *unstructured.Unstructured) error {
	name := strimzi.TopicOf(obj)
	partitions, _, _ := unstructured.NestedInt64(obj.Object, "spec", "partitions")
	configs, _, err := unstructured.NestedStringMap(obj.Object, "spec", "config")
	if err != nil {
		return err
	}
	admin := w.admin()
	topics, err := admin.Describe(w.t.Context(), name)
	if err != nil {
		return err
	}
	if !topics[name].Exists {
		return admin.Create(w.t.Context(), kafka.NewTopic{Name: name, Partitions: int(partitions), ReplicationFactor: strimzi.Replicas(obj), Configs: configs})
	}
	if err := admin.CreatePartitions(w.t.Context(), name, int(partitions)); err != nil {
		return err
	}
	return admin.AlterConfigs(w.t.Context(), name, configs)
}

func (w *world) kafkaTopic(topic string, check func(*unstructured.Unstructured) error) {
	w.t.Helper()
	testkit.Eventually(w.t, timeout, func() error {
		obj, err := get(w, newKafkaTopic(), "kafka", topic)
		if err != nil {
			return err
		}
		return check(obj)
	})
}

func newKafkaTopic() *unstructured.Unstructured {
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(strimzi.Version.WithKind(strimzi.KindTopic))
	return obj
}
