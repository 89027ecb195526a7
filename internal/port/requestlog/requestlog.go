// Package requestlog is the port to the log that holds a service's deferred requests in one region: what
// the gateways need of the region's Kafka, and no more.
//
// It must never acknowledge a record that could be lost with one broker, give two gateways one partition
// at a time while both can reach the brokers, or put a record's content into an error.
package requestlog

import "context"

// Position is a place in the log.
type Position struct {
	Partition int32
	Offset    int64
}

// Record is one record of the log.
type Record struct {
	Position
	Value []byte
}

// Bounds of a partition: the oldest record that is still there, and the next that will be.
type Bounds struct {
	Start, End int64
}

// Log is one service's log in one region. It is safe for concurrent use.
type Log interface {
	// Append stores a record in the partition of a slot, and returns when every replica that is in sync
	// has it. After an error it is not known whether it was stored.
	Append(ctx context.Context, slot int, value []byte) (Position, error)
	// AppendTo does the same with a record about one that is in the partition.
	AppendTo(ctx context.Context, partition int32, value []byte) (Position, error)
	// Follow hands over every record, in the order of its partition, from the oldest that is there, until
	// ctx ends. It goes on by itself after failures, and tells them.
	Follow(ctx context.Context, take func([]Record), failed func(error))
	// Bounds returns those of every partition.
	Bounds(ctx context.Context) (map[int32]Bounds, error)
	// Hold competes with the service's other gateways for partitions until ctx ends: each is held by one
	// of them. A partition goes to another only after lost has returned, unless this gateway was not
	// heard of for long. Neither function is called concurrently.
	Hold(ctx context.Context, gained, lost func(partition int32))
	// Close ends all connections.
	Close()
}
