package topic

import "strconv"

// Shape is a topic as whoever keeps topics for the operator, such as Strimzi, is to be told of it: whole,
// where a step names what differs alone.
type Shape struct {
	Partitions, ReplicationFactor int
	Configs                       map[string]string
}

// ShapeOf returns what of the declaration can be had of the topic that was seen. What Decide refuses is
// left as it is: partitions are never lowered, and not raised where that would break the order of keys. The
// replication factor of a topic that exists stays.
func ShapeOf(want Desired, seen Observed) Shape {
	s := Shape{Partitions: want.Partitions, ReplicationFactor: seen.ReplicationFactor, Configs: configs(want)}
	switch {
	case !seen.Exists:
		s.ReplicationFactor = factor(want, seen)
	case want.Partitions < seen.Partitions || want.OrderedByKey:
		s.Partitions = seen.Partitions
	}
	s.Configs["min.insync.replicas"] = strconv.Itoa(minInsync(s.ReplicationFactor))
	return s
}

// factor is the replication factor that a new topic gets.
func factor(want Desired, seen Observed) int {
	if want.ReplicationFactor < 1 {
		return min(DefaultReplicationFactor, seen.Brokers)
	}
	return min(want.ReplicationFactor, seen.Brokers)
}
