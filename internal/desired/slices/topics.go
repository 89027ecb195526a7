package slices

import (
	"cmp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
)

// Defaults of a topic and of a class's objectives.
const (
	DefaultPartitions        = 12
	DefaultReplicationFactor = 3
	DefaultRetention         = 168 * time.Hour
	DefaultStaleness         = 5 * time.Minute
	DefaultOutageStaleness   = time.Hour
)

// OrderByKey is the value of a message queue's orderBy that has records in order by their partition.
const OrderByKey = "Key"

// TopicName returns a topic's name in Kafka.
func TopicName(namespace, topic string) string { return namespace + "." + topic }

// reserved is the namespace that the operator's own topics are named by.
const reserved = "multiactive"

// RefusedTopic is a declared topic whose name would be taken for a mirrored one, or, without a Region, for one of the
// operator's own.
type RefusedTopic struct {
	DataClass, Name, Region string
}

// RefusedTopics returns the declared topics whose names begin with a region's name and a dot: in
// that region's mirrors they could not be told from copies; and those in the operator's own namespace.
func RefusedTopics(mas *v1alpha1.MultiActiveService, regions map[string]*v1alpha1.Region) []RefusedTopic {
	var out []RefusedTopic
	for _, c := range mas.Spec.DataClasses {
		if q := MessageQueue(c); q != nil {
			name := TopicName(mas.Namespace, q.Topic)
			if r, is := mistaken(name, regions); is {
				out = append(out, RefusedTopic{DataClass: c.Name, Name: name, Region: r})
			}
		}
	}
	return out
}

// SharedTopic is a topic that two data classes of one service name.
type SharedTopic struct {
	// Name of the topic in Kafka; First is the class whose settings count.
	Name, First, Other string
}

// SharedTopics returns the topics that a data class names after another class has.
func SharedTopics(mas *v1alpha1.MultiActiveService) []SharedTopic {
	var out []SharedTopic
	first := map[string]string{}
	for _, c := range mas.Spec.DataClasses {
		q := MessageQueue(c)
		if q == nil {
			continue
		}
		name := TopicName(mas.Namespace, q.Topic)
		if class, taken := first[name]; taken {
			out = append(out, SharedTopic{Name: name, First: class, Other: c.Name})
			continue
		}
		first[name] = c.Name
	}
	return out
}

// mistaken reports whether a topic would be taken for another's: a copy from a region, or the operator's own.
func mistaken(topic string, regions map[string]*v1alpha1.Region) (region string, is bool) {
	alias, _, _ := strings.Cut(topic, ".")
	if _, is := regions[alias]; is {
		return alias, true
	}
	return "", alias == reserved
}

// ShortTopic is a topic whose records may be gone before a region that was away has them.
type ShortTopic struct {
	DataClass         string
	Retention, Outage time.Duration
}

// ShortTopics returns the topics that keep records for less than their class's objective while a region is lost.
func ShortTopics(mas *v1alpha1.MultiActiveService) []ShortTopic {
	var out []ShortTopic
	for _, c := range mas.Spec.DataClasses {
		q := MessageQueue(c)
		if q == nil || q.Retention == nil || q.Retention.Duration <= 0 {
			continue
		}
		if _, outage := Objectives(c); q.Retention.Duration < outage {
			out = append(out, ShortTopic{DataClass: c.Name, Retention: q.Retention.Duration, Outage: outage})
		}
	}
	return out
}

// MessageQueue returns the class's synchronisation through a topic, or nil.
func MessageQueue(c v1alpha1.DataClass) *v1alpha1.MessageQueueSync {
	for _, s := range c.Sync {
		if s.Method == v1alpha1.SyncMessageQueue {
			return s.MessageQueue
		}
	}
	return nil
}

// Partitions returns how many partitions a class's topic is to have.
func Partitions(q *v1alpha1.MessageQueueSync) int32 { return cmp.Or(q.Partitions, DefaultPartitions) }

// Objectives returns a class's staleness objectives: normally, and while a region is lost.
func Objectives(c v1alpha1.DataClass) (normal, outage time.Duration) {
	normal, outage = DefaultStaleness, DefaultOutageStaleness
	if c.Staleness != nil {
		if c.Staleness.Normal != nil {
			normal = c.Staleness.Normal.Duration
		}
		if c.Staleness.Outage != nil {
			outage = c.Staleness.Outage.Duration
		}
	}
	return normal, max(normal, outage)
}

func topics(mas *v1alpha1.MultiActiveService, regions map[string]*v1alpha1.Region) []v1alpha1.TopicSlice {
	var out []v1alpha1.TopicSlice
	for _, c := range mas.Spec.DataClasses {
		q := MessageQueue(c)
		if q == nil {
			continue
		}
		name := TopicName(mas.Namespace, q.Topic)
		if _, is := mistaken(name, regions); is {
			continue // the condition says so
		}
		if slices.ContainsFunc(out, func(t v1alpha1.TopicSlice) bool { return t.Name == name }) {
			continue // two classes name it: the first one counts, and the condition says so
		}
		normal, _ := Objectives(c)
		topic := v1alpha1.TopicSlice{
			Name: name, DataClass: c.Name,
			Partitions:        Partitions(q),
			ReplicationFactor: cmp.Or(q.ReplicationFactor, DefaultReplicationFactor),
			Retention:         metav1.Duration{Duration: DefaultRetention},
			Adoption:          cmp.Or(q.Adoption, v1alpha1.TopicCreate),
			DeletionPolicy:    deletionPolicy(q),
			ConsumerGroups:    q.ConsumerGroups,
			Objective:         &metav1.Duration{Duration: normal},
		}
		if q.Retention != nil {
			topic.Retention = *q.Retention
		}
		if q.OrderBy == OrderByKey {
			topic.OrderByKey = v1alpha1.Yes
		}
		out = append(out, topic)
	}
	return out
}

// deletionPolicy leaves the default out: members of before it know none.
func deletionPolicy(q *v1alpha1.MessageQueueSync) v1alpha1.DeletionPolicy {
	if q.DeletionPolicy == v1alpha1.DeletionDelete && q.Adoption != v1alpha1.TopicObserve {
		return v1alpha1.DeletionDelete
	}
	return ""
}
