//go:build e2e

package strimzi_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/desired/strimzi"
	"multiactive.dev/operator/internal/plan/topic"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/binaries"
	"multiactive.dev/operator/internal/testkit/crds"
)

// TestPublishedSchemas applies what the operator writes to an API server with the definitions that Strimzi
// publishes, which refuse a field that they do not know: `make strimzi` writes them into bin/strimzi.
func TestPublishedSchemas(t *testing.T) {
	server := testkit.StartServer(t, apiserver.Options{})
	config := testkit.Config(t, server, apiserver.Admin)
	root, err := binaries.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	names, err := crds.InstallDir(ctx, config, filepath.Join(root, "bin", "strimzi"))
	if err != nil || len(names) != 2 {
		t.Fatalf("installed %v, %v; run make strimzi", names, err)
	}
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: kafka.Namespace}}); err != nil {
		t.Fatal(err)
	}
	auth := &v1alpha1.KafkaAuth{SecretRef: v1alpha1.SecretReference{Name: "kafka"}}
	end := func(address, mechanism string) regional.MirrorCluster {
		return regional.MirrorCluster{Kafka: v1alpha1.RegionKafka{BootstrapServers: []string{address}, Auth: auth}, Mechanism: mechanism, CA: true}
	}
	secured := regional.MirrorMaker{
		From: "beijing", To: "shanghai", Topics: []string{"accounts.account"}, Groups: []string{"account-sync"}, ReplicationFactor: 3, ExactlyOnce: true,
		Source: end("kafka.bj:9093", "SCRAM-SHA-256"), Target: end("kafka.sh:9093", "SCRAM-SHA-512"),
	}
	plain := secured
	plain.From, plain.Groups = "shenzhen", nil
	plain.Source, plain.Target = end("kafka.sz:9092", "PLAIN"), regional.MirrorCluster{Kafka: v1alpha1.RegionKafka{BootstrapServers: []string{"a:1", "b:1"}}}
	shape := topic.Shape{Partitions: 12, ReplicationFactor: 3, Configs: map[string]string{"retention.ms": "1000", "cleanup.policy": "delete"}}
	users := strimzi.Users{Source: "there", Target: "here"}
	for name, obj := range map[string]*unstructured.Unstructured{
		"a topic":                    strimzi.Topic(kafka, "accounts.account", shape),
		"a topic of a name unlike":   strimzi.Topic(kafka, "accounts._deferred.User", shape),
		"a mirror with logins":       strimzi.MirrorMaker(kafka, secured, users),
		"a mirror with few of these": strimzi.MirrorMaker(kafka, plain, users),
	} {
		if err := regional.Stamp(obj); err != nil {
			t.Fatal(err)
		}
		if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(obj), client.FieldOwner("test")); err != nil {
			t.Errorf("%s is refused: %v", name, err)
		}
		wrong := obj.DeepCopy()
		wrong.SetManagedFields(nil)
		wrong.SetResourceVersion("")
		_ = unstructured.SetNestedField(wrong.Object, "x", "spec", "noSuchField")
		if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(wrong), client.FieldOwner("test")); err == nil {
			t.Errorf("%s: a field that Strimzi does not know is accepted: the test would not notice one", name)
		}
	}
}
