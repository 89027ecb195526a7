package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"time"

	"multiactive.dev/operator/internal/deferred"
	"multiactive.dev/operator/internal/port/requestlog"
	"multiactive.dev/operator/internal/routing"
)

const (
	// maxJobs of each kind are under way in one gateway at a time.
	maxJobs = 8
	// executeTimeout bounds one attempt.
	executeTimeout = 30 * time.Second
	// minRetry and maxRetry bound the pause after a failed attempt.
	minRetry = time.Second
	maxRetry = time.Minute
	// maxKeptAnswer bounds what is read of an application's answer.
	maxKeptAnswer = 16 << 10
)

// tries is how this gateway's attempts at a request went.
type tries struct {
	failed int
	next   time.Time
	why    string
	// unsent is the holding under which the request was begun, as long as no attempt has reached an
	// application. The log says so only when it matters.
	unsent *holding
}

// jobKind keeps the kinds of work apart: telling nobody's address must not hold up what is to be done.
type jobKind int

const (
	jobExecute jobKind = iota
	jobExpire
	jobTell
)

// work starts what is to be done in the partitions that are held.
func (d *deferrals) work() {
	now := d.g.options.Clock.Now()
	snap := d.g.state.load()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sweep(now)
	if snap == nil || len(d.held) == 0 {
		return
	}
	d.follow(snap.router, now)
	for e := range d.ledger.Overdue(now, d.ready) {
		if !d.start(&e, jobExpire, d.expire) {
			break
		}
	}
	for e := range d.ledger.Heads(d.ready) {
		if d.due(&e, now) && d.mayRun(snap, &e) && !d.start(&e, jobExecute, d.execute) {
			break
		}
	}
	if !snap.router.notifiesAny() {
		return
	}
	for e := range d.ledger.Untold(d.ready) {
		if d.due(&e, now) && snap.router.notifies(e.Flow) && !d.start(&e, jobTell, d.tell) {
			break
		}
	}
}

// sweep forgets what was kept for long enough. The caller holds the lock.
func (d *deferrals) sweep(now time.Time) {
	if now.Sub(d.swept) < sweepEvery {
		return
	}
	d.swept = now
	d.ledger.Sweep(now)
	d.metrics.count(d.ledger.Count())
	maps.DeleteFunc(d.tries, func(id string, _ *tries) bool { _, known := d.ledger.Get(id); return !known })
}

// follow has everything tried again when the routing has changed. The caller holds the lock.
func (d *deferrals) follow(router *Router, now time.Time) {
	if d.router == router {
		return
	}
	d.router = router
	for _, t := range d.tries {
		t.next = now // whoever was missing may be there
	}
}

// due reports whether it is time to try. The caller holds the lock.
func (d *deferrals) due(e *deferred.Entry, now time.Time) bool {
	t := d.tries[e.ID]
	return t == nil || !now.Before(t.next)
}

// mayRun reports whether somebody could carry a request out now. The caller holds the lock.
func (d *deferrals) mayRun(snap *snapshot, e *deferred.Entry) bool {
	f := snap.router.flowNamed(e.Flow)
	if f == nil || !f.home {
		return true // whatever the declaration says of it now
	}
	decision := snap.router.decide(question{flow: f, slot: f.slotOf(e.Request.Key), leased: snap.leased(d.g.options.Clock.Boot()), waited: true})
	if decision.action == actRefuse {
		d.note(e.ID).why = reasons[decision.reason].title
		return false
	}
	return true
}

// note returns the tries of a request. The caller holds the lock.
func (d *deferrals) note(id string) *tries {
	t := d.tries[id]
	if t == nil {
		t = &tries{}
		d.tries[id] = t
	}
	return t
}

// start works on a request in the background, unless somebody does. It reports false when as much is under
// way as may be. The caller holds the lock.
func (d *deferrals) start(e *deferred.Entry, kind jobKind, job func(context.Context, *holding, deferred.Entry) error) bool {
	if _, busy := d.busy[e.ID]; busy {
		return true
	}
	running := 0
	for _, k := range d.busy {
		if k == kind {
			running++
		}
	}
	if running >= maxJobs {
		return false
	}
	h := d.held[e.Position.Partition]
	d.busy[e.ID] = kind
	entry := *e
	h.work.Go(func() {
		d.ended(&entry, job(h.ctx, h, entry))
	})
	return true
}

// ended notes how a job went.
func (d *deferrals) ended(e *deferred.Entry, err error) {
	defer d.awake()
	now := d.g.options.Clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.busy, e.ID)
	if err == nil {
		delete(d.tries, e.ID)
		return
	}
	t := d.note(e.ID)
	t.failed++
	t.next = now.Add(pause(t.failed))
	if waiting, ok := errors.AsType[errWaiting](err); ok { // others are not for users
		t.why = string(waiting)
	}
}

// pause after so many failures.
func pause(failed int) time.Duration {
	return min(minRetry<<min(failed-1, 10), maxRetry)
}

// about stores an event about a request, and returns once the ledger has it.
func (d *deferrals) about(ctx context.Context, e *deferred.Entry, ev deferred.Event) (deferred.Entry, error) {
	ev.ID, ev.Of, ev.At = e.ID, e.Position.Offset, d.g.options.Clock.Now().UTC()
	at, err := d.append(ctx, ev, func(ctx context.Context, value []byte) (requestlog.Position, error) {
		return d.log.AppendTo(ctx, e.Position.Partition, value)
	})
	if err == nil && !d.applied(ctx, at) {
		err = context.Cause(ctx)
	}
	if err != nil {
		return deferred.Entry{}, err
	}
	now, _ := d.get(e.ID)
	return now, nil
}

// errWaiting is why a request is tried again, for its user.
type errWaiting string

// Error implements error.
func (e errWaiting) Error() string { return string(e) }

// execute carries one request out. The log says that it is begun before anything is sent, so that nobody
// takes it for untouched afterwards, and nobody sends what has an outcome by then. It says so once: what
// may have been sent stays so.
func (d *deferrals) execute(ctx context.Context, h *holding, e deferred.Entry) error {
	if !e.Begun() {
		now, err := d.about(ctx, &e, deferred.Event{Kind: deferred.Begun})
		switch {
		case err != nil:
			d.failed(err)
			return err
		case now.State != deferred.StatePending || now.Position != e.Position:
			return nil
		}
		d.setUnsent(e.ID, h)
	}
	answer := d.g.perform(ctx, &e)
	if answer.outcome != "" {
		return d.decided(ctx, &e, deferred.Event{Kind: answer.outcome, Status: answer.status, Why: answer.why})
	}
	if !answer.unsent {
		d.setUnsent(e.ID, nil)
	}
	return errWaiting(answer.why)
}

func (d *deferrals) setUnsent(id string, h *holding) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(id).unsent = h
}

// decided stores an outcome, as long as it takes: what was carried out must not be tried again only
// because the log did not answer.
func (d *deferrals) decided(ctx context.Context, e *deferred.Entry, ev deferred.Event) error {
	for failed := 1; ; failed++ {
		now, err := d.about(ctx, e, ev)
		if err == nil {
			d.metrics.outcome(e.Flow, now.State)
			d.g.options.Log.Info("deferred request decided", slog.String("id", e.ID), slog.String("flow", e.Flow),
				slog.String("state", string(now.State)), slog.Int("status", now.Status))
			return nil
		}
		d.failed(err)
		again, stop := after(d.g.options.Clock, pause(failed))
		select {
		case <-again:
		case <-ctx.Done():
			stop()
			return context.Cause(ctx)
		}
	}
}

// expire gives up a request whose time is over.
func (d *deferrals) expire(ctx context.Context, h *holding, e deferred.Entry) error {
	d.mu.Lock()
	t := d.note(e.ID)
	why, unsent := t.why, t.unsent == h
	d.mu.Unlock()
	if e.Begun() && unsent {
		now, err := d.about(ctx, &e, deferred.Event{Kind: deferred.Unsent})
		if err != nil {
			d.failed(err)
			return err
		}
		e = now
	}
	if e.State != deferred.StatePending {
		return nil
	}
	if why == "" {
		why = "the requests of this user before it were not carried out"
	}
	ev := deferred.Event{Kind: deferred.Expired, Unknown: e.Begun(), Why: fmt.Sprintf("not carried out within %s: %s", e.ExpiresAt.Sub(e.AcceptedAt), why)}
	if ev.Unknown {
		ev.Why = fmt.Sprintf("it was sent to the application, which did not say within %s that it was carried out: look before you repeat it (%s)",
			e.ExpiresAt.Sub(e.AcceptedAt), why)
	}
	return d.decided(ctx, &e, ev)
}

// performance is what came of one attempt.
type performance struct {
	// outcome is Executed or Refused; empty: the request waits on.
	outcome deferred.Kind
	status  int
	why     string
	// unsent: no application got it.
	unsent bool
}

// perform sends a request the way that a user's goes now.
func (g *Gateway) perform(ctx context.Context, e *deferred.Entry) performance {
	ctx, cancel := context.WithTimeout(ctx, executeTimeout)
	defer cancel()
	r := e.Request
	req, err := http.NewRequestWithContext(ctx, r.Method, "http://gateway.invalid"+r.URI, nil)
	if err != nil {
		return performance{outcome: deferred.Refused, why: "the request cannot be read any more"}
	}
	req.Host, req.Header = r.Host, http.Header{}
	maps.Copy(req.Header, r.Header)
	req.Header.Set(r.IdempotencyHeader, r.IdempotencyKey)
	if len(r.Body) > 0 {
		req.Body, req.ContentLength = &bufferedBody{bytes.NewReader(r.Body)}, int64(len(r.Body))
	}
	rec := &recorder{header: http.Header{}}
	conn := &connection{clock: g.options.Clock, ctl: http.NewResponseController(rec)}
	ex := &exchange{
		g: g, r: req, start: g.options.Clock.Now(), outcome: OutcomeAborted, passage: passageOf(e), waited: true,
		w: &responseWriter{ResponseWriter: rec, conn: conn},
	}
	g.inFlight.Add(1)
	defer ex.finish()
	ex.serveRecorded()
	return ex.performed(rec)
}

// serveRecorded serves without a connection that could be broken off. Whatever a request does, it must
// not end the gateway: the next one would carry it out again.
func (ex *exchange) serveRecorded() {
	defer func() {
		if v := recover(); v != nil && v != http.ErrAbortHandler { //nolint:errorlint // it is compared as net/http does
			ex.g.options.Log.Error("a deferred request ended in a panic", slog.String("id", ex.passage.ID), slog.Any("panic", v))
		}
	}()
	ex.serve()
}

// performed reads what has become of the request.
func (ex *exchange) performed(rec *recorder) performance {
	status := ex.w.status
	switch {
	case status == 0:
		return performance{why: "there was no answer"}
	case ex.problem != nil:
		return performance{why: reasons[ex.problem.reason].title, unsent: ex.unsent()}
	case !ex.passage.answered:
		return performance{why: fmt.Sprintf("region %s did not carry it out", ex.target.peer), unsent: ex.unsent()}
	case status >= 200 && status <= 299:
		return performance{outcome: deferred.Executed, status: status}
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests, status < 200:
		return performance{why: answered(status)}
	}
	return performance{outcome: deferred.Refused, status: status, why: whyRefused(status, rec)}
}

func answered(status int) string {
	return fmt.Sprintf("the application answered %d %s", status, http.StatusText(status))
}

// whyRefused is what the application's problem document says, as one line; nothing else of its answer is
// kept.
func whyRefused(status int, rec *recorder) string {
	var doc struct{ Title, Detail string }
	if isJSON(rec.header.Get("Content-Type")) && json.Unmarshal(rec.body, &doc) == nil {
		for _, text := range []string{doc.Detail, doc.Title} {
			if text != "" {
				return routing.Refusal(text)
			}
		}
	}
	return answered(status)
}

// recorder keeps the beginning of an answer.
type recorder struct {
	header http.Header
	body   []byte
}

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter; the exchange's own writer remembers the status.
func (r *recorder) WriteHeader(int) {}

// Write implements http.ResponseWriter.
func (r *recorder) Write(p []byte) (int, error) {
	r.body = append(r.body, p[:min(len(p), maxKeptAnswer-len(r.body))]...)
	return len(p), nil
}
