// Package strimzi builds the objects that Strimzi acts on, and reads what it says of them: KafkaTopic and
// KafkaMirrorMaker2, of the version that Strimzi 0.49 introduced and 1.0 kept alone.
//
// They are written without Strimzi's types: of all that these can say, a handful of fields is needed, and
// the schemas of the cluster that they are written into check them. It is pure. It must never put a credential
// into an object; Strimzi gets those from Secrets by reference.
//
// What fields mean is from Strimzi's own reference of 1.2.
package strimzi

import (
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/plan/topic"
)

// LabelCluster names the Kafka object that a KafkaTopic belongs to, by which Strimzi's Topic Operator selects; on Pods
// it names the object that they are for.
const (
	LabelCluster = "strimzi.io/cluster"
	// LabelKind is on Pods that Strimzi runs, with the kind of the object that they are for.
	LabelKind = "strimzi.io/kind"
)

// Version of Strimzi's API that is written.
var Version = schema.GroupVersion{Group: "kafka.strimzi.io", Version: "v1"}

// Kinds that are written, and the resources that a cluster has for them.
const (
	KindTopic           = "KafkaTopic"
	KindMirrorMaker     = "KafkaMirrorMaker2"
	ResourceTopic       = "kafkatopics." + "kafka.strimzi.io"
	ResourceMirrorMaker = "kafkamirrormaker2s." + "kafka.strimzi.io"
)

// Managed returns the Kafka object that a Region's topics are managed through, nil for the admin protocol.
func Managed(k *v1alpha1.RegionKafka) *v1alpha1.StrimziKafka {
	if k == nil || k.Management == nil || k.Management.Type != v1alpha1.KafkaManagementStrimzi {
		return nil
	}
	return k.Management.Strimzi
}

// TopicName is the name of the KafkaTopic of a topic.
func TopicName(name string) string { return regional.ObjectName(name, "") }

// Topic returns the KafkaTopic of a topic, in the Kafka object's namespace.
func Topic(k v1alpha1.StrimziKafka, name string, s topic.Shape) *unstructured.Unstructured {
	obj := object(KindTopic, k.Namespace, TopicName(name), map[string]string{LabelCluster: k.Cluster})
	spec := map[string]any{
		"partitions": int64(s.Partitions), "replicas": int64(s.ReplicationFactor), "config": map[string]any{},
	}
	if TopicName(name) != name {
		spec["topicName"] = name
	}
	for key, value := range s.Configs {
		spec["config"].(map[string]any)[key] = value //nolint:forcetypeassert // made above
	}
	obj.Object["spec"] = spec
	return obj
}

// TopicOf returns the name in Kafka of the topic that a KafkaTopic is about.
func TopicOf(obj *unstructured.Unstructured) string {
	if name, _, _ := unstructured.NestedString(obj.Object, "spec", "topicName"); name != "" {
		return name
	}
	return obj.GetName()
}

// Replicas is the replication factor that a KafkaTopic asks for; 0 when it asks for none.
func Replicas(obj *unstructured.Unstructured) int {
	n, _, _ := unstructured.NestedInt64(obj.Object, "spec", "replicas")
	return int(n)
}

func object(kind, namespace, name string, labels map[string]string) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	obj.SetGroupVersionKind(Version.WithKind(kind))
	obj.SetNamespace(namespace)
	obj.SetName(name)
	all := map[string]string{regional.LabelManagedBy: regional.ManagedBy}
	maps.Copy(all, labels)
	obj.SetLabels(all)
	return obj
}

// State is what Strimzi says of an object.
type State struct {
	// Known is false until Strimzi has looked at the object as it is now.
	Known bool
	// Ready is true when it is carried out.
	Ready bool
	// Reason and Message are Strimzi's own when it is not.
	Reason, Message string
}

// StateOf reads an object's status. A Ready condition that is not True counts as well as the NotReady one
// that some kinds have.
func StateOf(obj *unstructured.Unstructured) State {
	seen, _, _ := unstructured.NestedInt64(obj.Object, "status", "observedGeneration")
	if seen < obj.GetGeneration() || seen == 0 {
		return State{}
	}
	conditions, _, _ := unstructured.NestedSlice(obj.Object, "status", "conditions")
	for _, entry := range conditions {
		c, _ := entry.(map[string]any)
		kind, _ := c["type"].(string)
		status, _ := c["status"].(string)
		switch {
		case kind == "Ready" && status == "True":
			return State{Known: true, Ready: true}
		case kind == "Ready" && status == "False", kind == "NotReady" && status == "True":
			s := State{Known: true}
			s.Reason, _ = c["reason"].(string)
			s.Message, _ = c["message"].(string)
			return s
		}
	}
	return State{}
}
