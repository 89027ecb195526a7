package embedded_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/port/kafka/kafkatest"
)

// A batch must not be written before the one that its producer sent ahead of
// it, also when the broker was killed in between and forgot the producer: the
// batch that was skipped would come after it, and the order of a key be lost.
func TestKilledBrokerKeepsOrder(t *testing.T) {
	b := kafkatest.StartBroker(t, "order")
	admin := kafkatest.NewAdmin(t, b.Addr)
	if err := admin.Create(t.Context(), kafka.NewTopic{Name: "t", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	topics, err := admin.Describe(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	begin := kmsg.NewPtrInitProducerIDRequest()
	begin.ProducerID, begin.ProducerEpoch = -1, -1
	producer, err := begin.RequestWith(t.Context(), cl)
	if err != nil {
		t.Fatal(err)
	}
	send := func(sequence int32) error {
		partition := kmsg.NewProduceRequestTopicPartition()
		partition.Records = batch(producer.ProducerID, producer.ProducerEpoch, sequence)
		topic := kmsg.NewProduceRequestTopic()
		topic.Topic, topic.TopicID, topic.Partitions = "t", topics["t"].ID, append(topic.Partitions, partition)
		req := kmsg.NewPtrProduceRequest()
		req.Acks, req.TimeoutMillis, req.Topics = -1, 5000, append(req.Topics, topic)
		resp, err := req.RequestWith(t.Context(), cl)
		if err != nil {
			t.Fatal(err)
		}
		return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	}
	if err := send(0); err != nil {
		t.Fatal(err)
	}
	b.Kill()
	b.Start()
	if err := send(2); !errors.Is(err, kerr.UnknownProducerID) && !errors.Is(err, kerr.OutOfOrderSequenceNumber) {
		t.Errorf("batch 2 was taken before batch 1 (error %v)", err)
	}
}

// batch is one record of a producer with a sequence number, as Kafka's record
// batch format 2 has it.
func batch(producer int64, epoch int16, sequence int32) []byte {
	record := kmsg.Record{Value: []byte("v")}
	record.Length = int32(len(record.AppendTo(nil)) - 1) // without the length itself
	rb := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, ProducerID: producer, ProducerEpoch: epoch,
		FirstSequence: sequence, NumRecords: 1, Records: record.AppendTo(nil),
	}
	raw := rb.AppendTo(nil)
	const lengthAt, crcAt, afterCRC = 8, 17, 21
	binary.BigEndian.PutUint32(raw[lengthAt:], uint32(len(raw)-lengthAt-4))
	binary.BigEndian.PutUint32(raw[crcAt:], crc32.Checksum(raw[afterCRC:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}
