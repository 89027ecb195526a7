// Package mirrormaker knows where Kafka's MirrorMaker 2 keeps how far it has come, and reads and writes it: the
// topic in the target in which Connect, under which MirrorMaker runs, stores the source offsets of connectors.
//
// A record there says, for a partition of a source topic, the offset of the last record that is in the target.
// With exactly-once delivery it is written in one transaction with the records; without, a little later. Either
// way everything up to it has been acknowledged by the target, which is what a planned change of owners waits for.
//
// It must never write while a MirrorMaker of that source runs. What MirrorMaker does not record cannot be known:
// a source topic that was deleted and made anew under its name keeps the position of the old one until the
// first record of the new one is mirrored.
//
// Names and formats are from Kafka 4.3 (connect-mirror, connect-runtime), checked against it by `make e2e`.
package mirrormaker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/twmb/franz-go/pkg/kgo"

	"multiactive.dev/operator/internal/port/kafka"
)

// Connector is the name of the connector that mirrors records: as a dedicated MirrorMaker calls it, and the end
// of what Strimzi calls it.
const Connector = "MirrorSourceConnector"

// StrimziConnector is Strimzi's name of the connector between two regions.
func StrimziConnector(from, to string) string { return from + "->" + to + "." + Connector }

// OffsetsTopic is the topic in the target with the positions in one source.
func OffsetsTopic(from string) string { return "mm2-offsets." + from + ".internal" }

// Positions are by topic and partition: the source offset below which everything is in the target.
type Positions = map[string]map[int32]int64

// Offsets follows the positions in one source. It keeps what it has read: the topic may be long, and a
// question is answered with what was written since the last. It is not safe for concurrent use.
type Offsets struct {
	from  string
	opts  kafka.Options
	admin *kafka.Client

	consumer *kgo.Client
	// next is the offset to read next, by the topic's partition.
	next map[int32]int64
	at   map[key]entry
}

// key is whose position a record has.
type key struct {
	connector, topic string
	partition        int32
}

// entry is the newest record of a key: its bytes as they were written, and the position.
type entry struct {
	raw    []byte
	offset int64
}

// NewOffsets checks its arguments and connects to nothing yet.
func NewOffsets(from string, target kafka.Options) (*Offsets, error) {
	admin, err := kafka.NewClient(target)
	if err != nil {
		return nil, fmt.Errorf("positions of MirrorMaker from %s: %w", from, err)
	}
	return &Offsets{from: from, opts: target, admin: admin, next: map[int32]int64{}, at: map[key]entry{}}, nil
}

// Close releases the connections.
func (o *Offsets) Close() {
	o.forget()
	o.admin.Close()
}

func (o *Offsets) forget() {
	if o.consumer != nil {
		o.consumer.Close()
		o.consumer = nil
	}
	clear(o.next)
	clear(o.at)
}

// Positions returns what is stored now. It reads to the end of what was committed when it was asked, as far as
// ctx allows; an error then says that it is not there yet, and the next call goes on from where this one was.
func (o *Offsets) Positions(ctx context.Context) (Positions, error) {
	if err := o.read(ctx); err != nil {
		return nil, fmt.Errorf("positions of MirrorMaker from %s: %w", o.from, err)
	}
	out := Positions{}
	for k, e := range o.at {
		if out[k.topic] == nil {
			out[k.topic] = map[int32]int64{}
		}
		out[k.topic][k.partition] = max(out[k.topic][k.partition], e.offset+1)
	}
	return out, nil
}

func (o *Offsets) read(ctx context.Context) error {
	topic := OffsetsTopic(o.from)
	ends, err := o.admin.StableOffsets(ctx, topic)
	if err != nil {
		return err
	}
	if o.anew(ends[topic]) {
		o.forget()
	}
	if o.consumer == nil {
		if err := o.open(ends[topic]); err != nil {
			return err
		}
	}
	for !o.reached(ends[topic]) {
		fetches := o.consumer.PollFetches(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("still reading topic %s: %w", topic, context.Cause(ctx))
		}
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("reading topic %s: %w", topic, err)
		}
		for r := range fetches.RecordsAll() {
			o.next[r.Partition] = r.Offset + 1
			if !r.Attrs.IsControl() {
				o.take(r)
			}
		}
	}
	return nil
}

// anew reports whether the topic is another one, or has other partitions, than the one that was read.
func (o *Offsets) anew(ends map[int32]int64) bool {
	for p, next := range o.next {
		if end, there := ends[p]; !there || end < next {
			return true
		}
	}
	return len(o.next) != len(ends)
}

func (o *Offsets) open(ends map[int32]int64) error {
	start := map[int32]kgo.Offset{}
	for p := range ends {
		start[p], o.next[p] = kgo.NewOffset().AtStart(), 0
	}
	base, err := kafka.ClientOptions(o.opts)
	if err != nil {
		return err
	}
	o.consumer, err = kgo.NewClient(append(base,
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{OffsetsTopic(o.from): start}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // the end of what is committed is behind a marker
	)...)
	return err
}

func (o *Offsets) reached(ends map[int32]int64) bool {
	for p, end := range ends {
		if o.next[p] < end {
			return false
		}
	}
	return true
}

// take understands one record; others' are left alone.
func (o *Offsets) take(r *kgo.Record) {
	k, err := o.parse(r.Key)
	if err != nil {
		return
	}
	if len(r.Value) == 0 {
		delete(o.at, k)
		return
	}
	var value struct {
		Offset *int64 `json:"offset"`
	}
	if err := json.Unmarshal(r.Value, &value); err == nil && value.Offset != nil {
		o.at[k] = entry{raw: r.Key, offset: *value.Offset}
	}
}

// partitionOf is what a key names besides the connector. Its order is the one in which Connect writes it: two
// keys are the same to Connect only if their bytes are.
type partitionOf struct {
	Cluster   string `json:"cluster"`
	Partition int32  `json:"partition"`
	Topic     string `json:"topic"`
}

var errOthers = errors.New("another connector's")

func (o *Offsets) parse(raw []byte) (key, error) {
	var parts []json.RawMessage
	if err := json.Unmarshal(raw, &parts); err != nil || len(parts) != 2 {
		return key{}, errOthers
	}
	var connector string
	var p partitionOf
	if json.Unmarshal(parts[0], &connector) != nil || json.Unmarshal(parts[1], &p) != nil {
		return key{}, errOthers
	}
	if p.Cluster != o.from || p.Topic == "" {
		return key{}, errOthers
	}
	if connector != Connector && !isStrimzi(connector, o.from) {
		return key{}, errOthers
	}
	return key{connector, p.Topic, p.Partition}, nil
}

// Store makes MirrorMaker, when it starts, go on from these positions: the ones of to's dedicated and of Strimzi's
// connector alike. Topics of wanted that have no position start from their first record.
func (o *Offsets) Store(ctx context.Context, to string, wanted []string, positions Positions, replicationFactor int) error {
	if err := o.ensure(ctx, replicationFactor); err != nil {
		return err
	}
	if err := o.read(ctx); err != nil {
		return fmt.Errorf("positions of MirrorMaker from %s: %w", o.from, err)
	}
	var records []*kgo.Record
	for _, topic := range wanted {
		for _, connector := range []string{Connector, StrimziConnector(o.from, to)} {
			records = append(records, o.records(connector, topic, positions[topic])...)
		}
	}
	if len(records) == 0 {
		return nil
	}
	base, err := kafka.ClientOptions(o.opts)
	if err != nil {
		return err
	}
	// Partitions are chosen by key as Kafka's own client does it: a newer record must be in the one of the older.
	producer, err := kgo.NewClient(append(base, kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))...)
	if err != nil {
		return err
	}
	defer producer.Close()
	if err := producer.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("storing positions of MirrorMaker from %s in topic %s: %w", o.from, OffsetsTopic(o.from), err)
	}
	return nil
}

// Forget takes away the positions of a topic.
func (o *Offsets) Forget(ctx context.Context, to, topic string) error {
	positions, err := o.Positions(ctx)
	if err != nil || len(positions[topic]) == 0 {
		return err
	}
	return o.Store(ctx, to, []string{topic}, nil, 1) // the topic is there, or there would be no position
}

// records returns those that make the positions of a topic the given ones, and take others away.
func (o *Offsets) records(connector, topic string, positions map[int32]int64) []*kgo.Record {
	wanted := maps.Clone(positions)
	if wanted == nil {
		wanted = map[int32]int64{}
	}
	for k := range o.at {
		if _, known := wanted[k.partition]; k.connector == connector && k.topic == topic && !known {
			wanted[k.partition] = 0
		}
	}
	var out []*kgo.Record
	for p, position := range wanted {
		k := key{connector, topic, p}
		before, known := o.at[k]
		if known && before.offset == position-1 || !known && position == 0 {
			continue
		}
		r := &kgo.Record{Topic: OffsetsTopic(o.from), Key: before.raw}
		if !known {
			r.Key = o.key(k)
		}
		if position > 0 {
			r.Value = fmt.Appendf(nil, `{"offset":%d}`, position-1)
		}
		out = append(out, r)
	}
	return out
}

// key is how Connect writes it.
func (o *Offsets) key(k key) []byte {
	name, _ := json.Marshal(k.connector) //nolint:errchkjson // text always marshals
	of, _ := json.Marshal(partitionOf{Cluster: o.from, Partition: k.partition, Topic: k.topic})
	// Marshal writes > as an escape, Connect does not.
	return fmt.Appendf(nil, "[%s,%s]", unescaped(name), of)
}
