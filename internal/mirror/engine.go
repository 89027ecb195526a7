package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/port/kafka"
)

// Settings bound what the engine uses. The zero value means the defaults.
type Settings struct {
	// Interval is how often positions are stored; topics are compared and lag
	// is measured as often, with more than 200 topics once in as many intervals as
	// there are times 200. Default 1s: a restart repeats at most that much.
	Interval time.Duration
	// BufferBytes bounds what is read but not acknowledged. Default 32 MiB.
	BufferBytes int
	// FetchBytes bounds one answer of a source broker, of which one for each
	// broker may be held, as it is sent: compressed. Default 4 MiB.
	FetchBytes int32
	// FlushTimeout bounds the wait for acknowledgements at a stop. Default 10s.
	FlushTimeout time.Duration
	// ReplicationFactor of the target topics that the mirror makes; lowered to
	// the number of brokers. Default 3.
	ReplicationFactor int
	// AdminTimeout bounds every administrative call. Default 5s.
	AdminTimeout time.Duration
}

func (s Settings) withDefaults() Settings {
	def := func(p *time.Duration, d time.Duration) {
		if *p <= 0 {
			*p = d
		}
	}
	def(&s.Interval, time.Second)
	def(&s.FlushTimeout, 10*time.Second)
	def(&s.AdminTimeout, 5*time.Second)
	if s.BufferBytes <= 0 {
		s.BufferBytes = 32 << 20
	}
	if s.FetchBytes <= 0 {
		s.FetchBytes = 4 << 20
	}
	if s.ReplicationFactor <= 0 {
		s.ReplicationFactor = 3
	}
	return s
}

// Engine mirrors one source to one target until it is stopped. It is used
// once; for another configuration make another.
type Engine struct {
	cfg      Config
	set      Settings
	clock    clock.WithTicker
	log      *slog.Logger
	metrics  *Metrics
	consumer *kgo.Client
	// producer is another one after revive. Only the pump uses it without the lock.
	producer *kgo.Client
	// produces is how the target is reached.
	produces kafka.Options
	source   *kafka.Client
	target   *kafka.Client

	mu         sync.Mutex
	partitions map[topicPartition]*partition
	// queued are changes to what is consumed. Only the pump carries them out,
	// between two polls, so that no record of before mixes with those after.
	queued []func()
	status Status
	// denied are the partitions that might not be read when that was last tried.
	denied map[topicPartition]denial
	// refused: the target gives the producer no identity, which that takes for final; revived is when there was another.
	refused bool
	revived time.Time
	// warned is when a partition that cannot be read was last in the log. Only the pump uses it.
	warned map[topicPartition]time.Time
	// limits are the largest batches, in bytes, by target topic, and applied
	// those that the producer works with.
	limits, applied map[string]int32
	// limitsOf are the identities of the topics that the limits were read of.
	limitsOf map[string][16]byte
	// gaps are still to be judged; losses are what came of earlier ones.
	gaps   []gap
	losses map[topicPartition]*loss
	// departed are the last positions of partitions that are not there any more, until what is known to be lost of
	// them is stored.
	departed map[topicPartition]kafka.GroupOffset
	// starts are the oldest records' offsets that the source last said, and startsIn after how many looks it is
	// asked again. Only supervise uses them.
	starts   map[string]map[int32]int64
	startsIn int
}

type topicPartition struct {
	topic     string
	partition int32
}

// New prepares an engine: it reads the credentials and checks the options, and
// connects to nothing yet.
func New(cfg Config, set Settings, c clock.WithTicker, log *slog.Logger, m *Metrics) (*Engine, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	e := &Engine{
		cfg: cfg, set: set.withDefaults(), clock: c, log: log.With("origin", cfg.Origin), metrics: m,
		partitions: map[topicPartition]*partition{}, warned: map[topicPartition]time.Time{}, denied: map[topicPartition]denial{}, limits: map[string]int32{}, limitsOf: map[string][16]byte{}, applied: map[string]int32{}, losses: map[topicPartition]*loss{}, departed: map[topicPartition]kafka.GroupOffset{},
		status: Status{Source: errNotYet, Target: errNotYet},
	}
	if err := e.connect(); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (e *Engine) connect() error {
	id := "multiactive-mirror-" + e.cfg.Origin
	source, err := e.cfg.Source.options(id)
	if err != nil {
		return fmt.Errorf("source.%w", err)
	}
	target, err := e.cfg.Target.options(id)
	if err != nil {
		return fmt.Errorf("target.%w", err)
	}
	source.Timeout, target.Timeout = e.set.AdminTimeout, e.set.AdminTimeout
	if e.source, err = kafka.NewClient(source); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	if e.target, err = kafka.NewClient(target); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	if e.consumer, err = newConsumer(source, e.set); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	e.produces = target
	if e.producer, err = e.newProducer(target); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	return nil
}

func newConsumer(o kafka.Options, s Settings) (*kgo.Client, error) {
	base, err := kafka.ClientOptions(o)
	if err != nil {
		return nil, err
	}
	return kgo.NewClient(append(base,
		// An aborted transaction's records were never accepted by the source.
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// Markers have offsets too: without them a caught-up transactional
		// topic would look one record behind for ever.
		kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxBytes(s.FetchBytes),
		kgo.FetchMaxPartitionBytes(min(s.FetchBytes, 1<<20)),
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.MetadataMaxAge(10*time.Second),
		kgo.MetadataMinAge(250*time.Millisecond),
	)...)
}

func (e *Engine) newProducer(o kafka.Options) (*kgo.Client, error) {
	base, err := kafka.ClientOptions(o)
	if err != nil {
		return nil, err
	}
	// Idempotence is the library's default, with it order within a partition
	// holds through retries; retries are unlimited by default.
	return kgo.NewClient(append(base,
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MaxBufferedBytes(e.set.BufferBytes),
		kgo.MaxBufferedRecords(100_000),
		kgo.ProducerBatchMaxBytesFn(e.batchLimit),
		kgo.ProducerBatchCompression(kgo.Lz4Compression(), kgo.NoCompression()),
		kgo.ProducerLinger(5*time.Millisecond),
		kgo.MetadataMaxAge(10*time.Second),
		kgo.MetadataMinAge(250*time.Millisecond),
	)...)
}

// Run mirrors until the context ends, whose cause it returns. It then waits
// for what is on its way and stores the positions. Clusters that are down are
// waited for; see Status for what is wrong at the moment.
func (e *Engine) Run(ctx context.Context) error {
	defer e.close()
	// Records on their way outlive the stop by the flush timeout.
	sending, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	var wg sync.WaitGroup
	wg.Go(func() { e.supervise(ctx) })
	wg.Go(func() {
		select {
		case <-ctx.Done():
		case <-sending.Done():
			return
		}
		select {
		case <-e.clock.After(e.set.FlushTimeout):
			giveUp()
		case <-sending.Done():
		}
	})
	e.pump(ctx, sending)
	if err := e.producer.Flush(sending); err != nil {
		e.log.Warn("stopping with records that the target did not acknowledge; they will be sent again", "error", err)
	}
	giveUp()
	wg.Wait()
	rest := context.WithoutCancel(ctx)
	if e.pendingGaps() > 0 {
		_ = e.readStarts(rest, e.cfg.topics()) // without an answer what is behind a gap is copied once more
	}
	e.commit(rest)
	return context.Cause(ctx)
}

// close releases the connections; a nil client was never made.
func (e *Engine) close() {
	for _, c := range []*kgo.Client{e.consumer, e.producer} {
		if c != nil {
			c.Close()
		}
	}
	for _, c := range []*kafka.Client{e.source, e.target} {
		if c != nil {
			c.Close()
		}
	}
}

// errNotYet stands for a cluster that was not looked at yet.
var errNotYet = errors.New("not contacted yet")
