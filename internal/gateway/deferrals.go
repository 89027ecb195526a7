package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"multiactive.dev/operator/internal/deferred"
	"multiactive.dev/operator/internal/port/requestlog"
	"multiactive.dev/operator/internal/routing"
)

const (
	// deferredTick is how often deferred requests are looked at although nothing has happened.
	deferredTick = time.Second
	// boundsTimeout bounds the question how far the log goes.
	boundsTimeout = 10 * time.Second
	// releaseTimeout is how long what is under way may take when its partition goes to another gateway.
	releaseTimeout = 8 * time.Second
	// sweepEvery is how often outcomes that were kept for long enough are forgotten.
	sweepEvery = 30 * time.Second
)

// deferrals keeps the requests of this service that wait for an owner in this region. The log is what
// counts; the ledger is what it says, in every gateway alike. The gateways share its partitions out, and
// whoever holds one carries out its requests.
type deferrals struct {
	g   *Gateway
	log requestlog.Log
	// local reaches the application, notify whoever is told.
	local, notify *http.Client
	metrics       *deferredMetrics
	// wake has a value when there may be something to do.
	wake chan struct{}

	mu     sync.Mutex
	ledger *deferred.Ledger
	// current: all that the log had when this gateway started was read.
	current bool
	// advanced is closed, and replaced, when the ledger has changed.
	advanced chan struct{}
	// promised requests, and their bytes, are being stored.
	promised, promisedBytes int
	held                    map[int32]*holding
	// busy requests are being worked on, tries says how that went before.
	busy  map[string]jobKind
	tries map[string]*tries
	// failing is the last failure of the log, to log each only once.
	failing string
	swept   time.Time
	// acted on last, to try everything again when the routing changes.
	router *Router

	// told is the backlog that the agent was told last, by flow. Only the agent client looks at it.
	told map[string]routing.Backlog
}

// holding is a partition that this gateway works on.
type holding struct {
	// end of the partition when it was gained, or later: what is before it may be another gateway's work.
	// Negative: not known yet.
	end    int64
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
}

func newDeferrals(g *Gateway, log requestlog.Log) *deferrals {
	admit := newTransport(&g.options, connectTimeout, false)
	d := &deferrals{
		g: g, log: log, metrics: newDeferredMetrics(g.metrics.registry),
		local:  &http.Client{Transport: admit, CheckRedirect: noRedirect, Timeout: admitTimeout},
		notify: newNotifyClient(g.options.NotifyRefuse),
		wake:   make(chan struct{}, 1), advanced: make(chan struct{}),
		ledger: deferred.NewLedger(), held: map[int32]*holding{}, busy: map[string]jobKind{}, tries: map[string]*tries{},
	}
	g.metrics.registry.MustRegister(d)
	return d
}

// run works until ctx ends and what is under way has ended.
func (d *deferrals) run(ctx context.Context) {
	// What is under way when ctx ends still ends, and has to read what it wrote.
	lasting := context.WithoutCancel(ctx)
	reading, stopReading := context.WithCancel(lasting)
	var follows, holds sync.WaitGroup
	follows.Go(func() { d.log.Follow(reading, d.take, d.failed) })
	holds.Go(func() { d.log.Hold(ctx, func(p int32) { d.gained(lasting, p) }, d.lost) })
	defer follows.Wait()
	defer stopReading()
	defer holds.Wait()
	for ctx.Err() == nil {
		d.measure(ctx)
		d.work()
		tick, stop := after(d.g.options.Clock, deferredTick)
		select {
		case <-ctx.Done():
		case <-tick:
		case <-d.wake:
		}
		stop()
	}
}

func (d *deferrals) awake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// take takes up records of the log. One that cannot be read is left out: it must not keep the others.
func (d *deferrals) take(records []requestlog.Record) {
	d.mu.Lock()
	for _, r := range records {
		at := deferred.Position(r.Position)
		ev, err := deferred.Decode(r.Value)
		if err != nil {
			d.ledger.Skip(at)
			d.g.options.Log.Error("a record of the deferred requests is left out", slog.Int("partition", int(r.Partition)),
				slog.Int64("offset", r.Offset), slog.Any("error", err))
			continue
		}
		d.ledger.Apply(at, ev)
	}
	d.failing = ""
	close(d.advanced)
	d.advanced = make(chan struct{})
	d.metrics.count(d.ledger.Count())
	d.mu.Unlock()
	d.awake()
}

// failed logs a failure of the log when it begins or changes.
func (d *deferrals) failed(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failing != err.Error() {
		d.failing = err.Error()
		d.g.options.Log.Warn("the log of deferred requests does not answer", slog.Any("error", err))
	}
}

// gained begins to work on a partition, once all is read that its former holder may have written.
func (d *deferrals) gained(ctx context.Context, partition int32) {
	h := &holding{end: -1}
	h.ctx, h.cancel = context.WithCancel(ctx)
	d.mu.Lock()
	d.held[partition] = h
	d.mu.Unlock()
	d.awake()
}

// lost lets go of a partition. It returns when nothing of it is under way here; what does not end soon is
// cut off.
func (d *deferrals) lost(partition int32) {
	d.mu.Lock()
	h := d.held[partition]
	delete(d.held, partition)
	d.mu.Unlock()
	if h == nil {
		return
	}
	stop := d.g.options.Clock.AfterFunc(releaseTimeout, h.cancel)
	h.work.Wait()
	stop()
	h.cancel()
}

// measure finds out how far the log goes, where that is not known.
func (d *deferrals) measure(ctx context.Context) {
	d.mu.Lock()
	asked := map[*holding]int32{}
	for p, h := range d.held {
		if h.end < 0 {
			asked[h] = p
		}
	}
	known := d.current
	d.mu.Unlock()
	if known && len(asked) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, boundsTimeout)
	defer cancel()
	bounds, err := d.log.Bounds(ctx)
	if err != nil {
		if ctx.Err() == nil {
			d.failed(err)
		}
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for h, p := range asked {
		if b, ok := bounds[p]; ok {
			h.end = b.End
			if b.Start >= b.End {
				h.end = 0 // nothing is there to be read
			}
		}
	}
	if !d.current {
		d.current = true
		for p, b := range bounds {
			d.current = d.current && (b.Start >= b.End || d.ledger.Next(p) >= b.End)
		}
		if d.current {
			pending, kept, _ := d.ledger.Count()
			d.g.options.Log.Info("the deferred requests are read", slog.Int("pending", pending), slog.Int("outcomes", kept))
		}
	}
}

// ready reports whether a partition is held here and all is read that its former holder wrote. The
// caller holds the lock.
func (d *deferrals) ready(partition int32) bool {
	h := d.held[partition]
	return h != nil && h.end >= 0 && d.ledger.Next(partition) >= h.end && h.ctx.Err() == nil
}

// applied waits until the ledger has a record, and reports whether it does.
func (d *deferrals) applied(ctx context.Context, at requestlog.Position) bool {
	for {
		d.mu.Lock()
		next, advanced := d.ledger.Next(at.Partition), d.advanced
		d.mu.Unlock()
		if next > at.Offset {
			return true
		}
		select {
		case <-advanced:
		case <-ctx.Done():
			return false
		}
	}
}

// get returns what is known of a request.
func (d *deferrals) get(id string) (deferred.Entry, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ledger.Get(id)
}
