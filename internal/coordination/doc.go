// Package coordination is the only user of the coordination store, an etcd stretched over the
// regions. It turns the store's content into complete configurations in order of revision (R2) and
// every write into a transaction that compares what the writer's right depends on (R1, R3, R4).
//
// It must never retry a write whose comparison failed, hand out a configuration of a lower
// revision than it has handed out or been told of, or decide anything: that is internal/health's
// and internal/ownership's part.
package coordination
