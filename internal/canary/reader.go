package canary

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/port/kafka"
)

// Reader follows the mirrored canaries of other regions in this region's
// Kafka.
type Reader struct {
	origins []string
	opts    kafka.Options
	clock   clock.PassiveClock
	log     *slog.Logger
	tracker Tracker
}

// NewReader checks its arguments and connects to nothing yet.
func NewReader(origins []string, opts kafka.Options, c clock.PassiveClock, log *slog.Logger) (*Reader, error) {
	if len(origins) == 0 || slices.Contains(origins, "") {
		return nil, errors.New("canary reader: needs at least one origin, none of them empty")
	}
	if _, err := kafka.ClientOptions(opts); err != nil {
		return nil, fmt.Errorf("canary reader: %w", err)
	}
	return &Reader{origins: slices.Clone(origins), opts: opts, clock: c, log: log}, nil
}

// Read says what is known now about an origin: its canary's age and what is
// missing. An origin of which nothing was seen is not Known.
func (r *Reader) Read(origin string) Reading { return r.tracker.Read(origin, r.clock.Now()) }

// Age is how old the newest canary from an origin is; known is false while
// none was seen.
func (r *Reader) Age(origin string) (age time.Duration, known bool) {
	reading := r.Read(origin)
	return reading.Age, reading.Known
}

// Run reads until the context ends, whose cause it returns. It starts with the
// newest canary already there, so that a reader started during an outage knows
// how much the lost region had shipped. Topics that do not exist yet, and
// brokers that are down, are waited for.
func (r *Reader) Run(ctx context.Context) error {
	base, err := kafka.ClientOptions(r.opts)
	if err != nil {
		return err
	}
	topics := make([]string, len(r.origins))
	origin := make(map[string]string, len(r.origins))
	for i, o := range r.origins {
		topics[i] = o + "." + Topic
		origin[topics[i]] = o
	}
	consumer, err := kgo.NewClient(append(base,
		kgo.ConsumeTopics(topics...),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtEnd().Relative(-1)),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.MetadataMaxAge(5*time.Second),
		kgo.MetadataMinAge(500*time.Millisecond),
	)...)
	if err != nil {
		return fmt.Errorf("canary reader: %w", err)
	}
	defer consumer.Close()
	for {
		fetches := consumer.PollFetches(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		fetches.EachError(func(topic string, _ int32, err error) {
			// The client keeps to the topic it saw first; one that was made
			// anew is only found after forgetting the old one.
			if errors.Is(err, kerr.UnknownTopicID) {
				consumer.PurgeTopicsFromConsuming(topic)
				consumer.AddConsumeTopics(topic)
			}
		})
		for rec := range fetches.RecordsAll() {
			c, err := decode(rec.Value)
			if err != nil || c.Region != origin[rec.Topic] {
				r.log.Warn("record in a canary topic is not that region's canary; ignored", "topic", rec.Topic, "offset", rec.Offset, "error", err)
				continue
			}
			r.tracker.Observe(c)
		}
	}
}
