package replicationlink

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"multiactive.dev/operator/internal/canary"
	plan "multiactive.dev/operator/internal/plan/replicationlink"
	"multiactive.dev/operator/internal/port/kafka"
)

const canariesTick = time.Second

// Canaries writes this region's canary and reads the mirrored ones of the others, in the member's
// process. It is safe for concurrent use.
type Canaries struct {
	region string
	clock  clock.WithTicker
	log    logr.Logger

	changed chan event.GenericEvent
	wake    chan struct{}
	metrics lagMetrics

	mu      sync.Mutex
	options *kafka.Options // nil: no Kafka
	origins []string
	readers map[string]*canary.Reader
	dampers map[string]*plan.Damper
	steps   map[string]string
}

// NewCanaries returns canaries that work while Start runs.
func NewCanaries(region string, c clock.WithTicker, log logr.Logger) *Canaries {
	return &Canaries{
		region: region, clock: c, log: log, changed: make(chan event.GenericEvent, 16), wake: make(chan struct{}, 1), metrics: newLagMetrics(),
		readers: map[string]*canary.Reader{}, dampers: map[string]*plan.Damper{}, steps: map[string]string{},
	}
}

// Changed announces source regions whose lag is in another step.
func (c *Canaries) Changed() <-chan event.GenericEvent { return c.changed }

// Set says where this region's Kafka is, nil for nowhere, and which regions to listen to. It does
// not wait.
func (c *Canaries) Set(o *kafka.Options, origins []string) {
	origins = slices.Sorted(slices.Values(origins))
	c.mu.Lock()
	defer c.mu.Unlock()
	if reflect.DeepEqual(c.options, o) && slices.Equal(c.origins, origins) {
		return
	}
	c.options, c.origins = o, origins
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Read says what is known of an origin.
func (c *Canaries) Read(origin string) canary.Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.readers[origin]; r != nil {
		return r.Read(origin)
	}
	return canary.Reading{}
}

// Origins are the regions that are listened to, sorted.
func (c *Canaries) Origins() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.origins
}

// Lag is the lag of an origin with its damped step.
func (c *Canaries) Lag(origin string) plan.Lag {
	reading := c.Read(origin)
	c.mu.Lock()
	defer c.mu.Unlock()
	step := c.steps[origin]
	if step == "" {
		step = plan.StepUnknown
	}
	return plan.Lag{Known: reading.Known, Age: reading.Age, Step: step}
}

// Start writes and reads until ctx ends.
func (c *Canaries) Start(ctx context.Context) error {
	tick := c.clock.NewTicker(canariesTick)
	defer tick.Stop()
	var parts running
	defer func() { parts.stopAll() }()
	for {
		c.adjust(ctx, &parts)
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-tick.C():
			c.look(ctx)
		}
	}
}

// running are the goroutines of one set of options.
type running struct {
	options *kafka.Options
	stop    map[string]context.CancelFunc // by origin, "" for the writer
	all     sync.WaitGroup
}

func (r *running) stopAll() {
	for _, stop := range r.stop {
		stop()
	}
	r.all.Wait()
	r.stop = nil
}

// adjust starts and stops what Set has changed. Readers that stay keep what they know.
func (c *Canaries) adjust(ctx context.Context, parts *running) {
	c.mu.Lock()
	options, origins := c.options, c.origins
	c.mu.Unlock()
	if !reflect.DeepEqual(parts.options, options) {
		parts.stopAll()
		parts.options = options
		c.mu.Lock()
		c.readers = map[string]*canary.Reader{}
		c.mu.Unlock()
	}
	if options == nil {
		return
	}
	if parts.stop == nil {
		parts.stop = map[string]context.CancelFunc{}
	}
	for origin, stop := range parts.stop {
		if origin == "" || slices.Contains(origins, origin) {
			continue
		}
		stop()
		delete(parts.stop, origin)
		c.metrics.forget(origin)
		c.mu.Lock()
		delete(c.readers, origin)
		delete(c.dampers, origin)
		delete(c.steps, origin)
		c.mu.Unlock()
	}
	if err := c.start(ctx, parts, *options, origins); err != nil {
		c.log.Error(err, "Canaries are not running.")
	}
}

func (c *Canaries) start(ctx context.Context, parts *running, o kafka.Options, origins []string) error {
	logger := slog.New(logr.ToSlogHandler(c.log))
	if parts.stop[""] == nil {
		writer, err := canary.NewWriter(c.region, o, c.clock, logger)
		if err != nil {
			return err
		}
		c.run(ctx, parts, "", writer.Run)
	}
	for _, origin := range origins {
		if parts.stop[origin] != nil {
			continue
		}
		reader, err := canary.NewReader([]string{origin}, o, c.clock, logger)
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.readers[origin] = reader
		c.mu.Unlock()
		c.run(ctx, parts, origin, reader.Run)
	}
	return nil
}

func (c *Canaries) run(ctx context.Context, parts *running, name string, run func(context.Context) error) {
	ctx, parts.stop[name] = context.WithCancel(ctx)
	parts.all.Go(func() {
		if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			c.log.Error(err, "A canary's work ended.", "origin", name)
		}
	})
}

// look announces the origins whose step is another one than with the last look.
func (c *Canaries) look(ctx context.Context) {
	for _, origin := range c.Origins() {
		reading := c.Read(origin)
		c.metrics.set(origin, reading)
		c.mu.Lock()
		if c.dampers[origin] == nil {
			c.dampers[origin] = &plan.Damper{}
		}
		step := c.dampers[origin].Look(reading.Known, reading.Age)
		news := c.steps[origin] != step
		c.steps[origin] = step
		c.mu.Unlock()
		if !news {
			continue
		}
		announce(ctx, c.changed, origin)
	}
}
