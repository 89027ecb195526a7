package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/deferred"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/port/requestlog"
	"multiactive.dev/operator/internal/port/requestlog/requestlogtest"
	"multiactive.dev/operator/internal/testkit"
)

// crashLog ends a gateway's connection to its log at a chosen event: as if the process had been killed
// there.
type crashLog struct {
	requestlog.Log
	mu sync.Mutex
	// at is the kind of event at which it breaks; stored: the event itself gets through, its answer does
	// not.
	at      deferred.Kind
	stored  bool
	broken  bool
	reached chan struct{}
}

func (l *crashLog) breaks(value []byte) (before, after bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return true, true
	}
	if l.at == "" || !bytes.Contains(value, []byte(`"kind":"`+string(l.at)+`"`)) {
		return false, false
	}
	l.broken = true
	close(l.reached)
	return !l.stored, true
}

func (l *crashLog) through(ctx context.Context, value []byte, to func() (requestlog.Position, error)) (requestlog.Position, error) {
	before, after := l.breaks(value)
	if before {
		<-ctx.Done()
		return requestlog.Position{}, errors.New("killed")
	}
	at, err := to()
	if after {
		return requestlog.Position{}, errors.New("killed")
	}
	return at, err
}

// Append implements requestlog.Log.
func (l *crashLog) Append(ctx context.Context, slot int, value []byte) (requestlog.Position, error) {
	return l.through(ctx, value, func() (requestlog.Position, error) { return l.Log.Append(ctx, slot, value) })
}

// AppendTo implements requestlog.Log.
func (l *crashLog) AppendTo(ctx context.Context, partition int32, value []byte) (requestlog.Position, error) {
	return l.through(ctx, value, func() (requestlog.Position, error) { return l.Log.AppendTo(ctx, partition, value) })
}

// crashing is a world where shanghai is lost and beijing's gateway breaks at an event.
func crashing(t *testing.T, at deferred.Kind, stored bool) (*deferring, *crashLog) {
	t.Helper()
	log := &crashLog{at: at, stored: stored, reached: make(chan struct{})}
	d := newDeferring(t, func(o *Options) {
		if o.Gateway == "gateway-beijing" {
			log.Log = o.Deferred
			o.Deferred = log
		}
	})
	d.lose(t)
	return d, log
}

// successor starts a gateway in place of one that was killed.
func (d *deferring) successor(t *testing.T) *Gateway {
	t.Helper()
	d.logs["beijing"].Expel()
	g, _ := d.another(t, "beijing", "gateway-beijing", d.logs["beijing"], nil)
	return g
}

func (d *deferring) decidedAt(t *testing.T, g *Gateway, id string, want deferred.State) deferred.Entry {
	t.Helper()
	var e deferred.Entry
	testkit.Eventually(t, patience, func() error {
		if e, _ = g.deferrals.get(id); e.State != want {
			return fmt.Errorf("it is %+v, want %s", e, want)
		}
		return nil
	})
	return e
}

// TestKilledBetweenStoringAndAnswering: the user gets no 202, and repeats the request: it is one.
func TestKilledBetweenStoringAndAnswering(t *testing.T) {
	d, _ := crashing(t, deferred.Accepted, true)
	resp, text := d.transfer(t, d.key, "a", "{}")
	wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonDeferralUnavailable)
	if events := d.events(t); len(events) != 1 {
		t.Fatalf("stored are %v", kinds(events))
	}
	id := d.events(t)[0].ID
	if again := d.accepted(t, d.key, "a", "{}"); again != id {
		t.Errorf("repeated, it is %s and was %s", again, id)
	}
	d.restore(t)
	g := d.successor(t)
	d.decidedAt(t, g, id, deferred.StateExecuted)
	if n := len(d.bank.executed()); n != 1 {
		t.Errorf("%d were carried out, want 1", n)
	}
}

// TestKilledBetweenExecutionAndItsRecord: it is sent again under the same key, and the application does it
// once.
func TestKilledBetweenExecutionAndItsRecord(t *testing.T) {
	d, log := crashing(t, deferred.Executed, false)
	id := d.accepted(t, d.key, "a", "{}")
	d.restore(t)
	awaitClosed(t, log.reached, "it was not carried out")
	g := d.successor(t)
	d.decidedAt(t, g, id, deferred.StateExecuted)
	calls := d.bank.called()
	if len(calls) < 2 || len(d.bank.executed()) != 1 {
		t.Errorf("sent %d times and carried out %d times", len(calls), len(d.bank.executed()))
	}
	for _, c := range calls {
		if c.Header.Get("Idempotency-Key") != "a" || c.Header.Get(HeaderDeferred) != id {
			t.Errorf("sent was %+v", c.Header)
		}
	}
}

// TestKilledBeforeItsRecordAndTooLate: nobody may say that it was not carried out.
func TestKilledBeforeItsRecordAndTooLate(t *testing.T) {
	d, log := crashing(t, deferred.Executed, false)
	id := d.accepted(t, d.key, "a", "{}")
	d.restore(t)
	awaitClosed(t, log.reached, "it was not carried out")
	d.places["beijing"].clock.ahead.Store(int64(25 * 3600e9))
	g := d.successor(t)
	if e := d.decidedAt(t, g, id, deferred.StateExpired); !e.Unknown {
		t.Errorf("it is %+v", e)
	}
}

// TestKilledBetweenOutcomeAndNotification, and between the notification and its record: it is told, each
// time under the same ID.
func TestKilledBetweenOutcomeAndNotification(t *testing.T) {
	d, log := crashing(t, deferred.Notified, false)
	r := newReceiver(t)
	d.notifying(t, r.URL)
	id := d.accepted(t, d.key, "a", "{}")
	d.restore(t)
	awaitClosed(t, log.reached, "nobody was told")
	g := d.successor(t)
	testkit.Eventually(t, patience, func() error {
		if e, _ := g.deferrals.get(id); !e.Notified {
			return fmt.Errorf("it is %+v", e)
		}
		return nil
	})
	got := r.notifications()
	if len(got) < 2 || got[0] != got[1] || got[0].Request != id || got[0].State != deferred.StateExecuted {
		t.Errorf("told was %+v", got)
	}
	if len(d.bank.executed()) != 1 {
		t.Error("it was carried out again")
	}
}

// TestRebalancing: gateways come and go while requests are carried out: each once, and in the order of
// its key.
func TestRebalancing(t *testing.T) {
	d := newDeferring(t, nil)
	d.lose(t)
	orders := d.places["beijing"].gateway.state.load().router.orders
	var keys []string
	for i := 0; len(keys) < 6; i++ {
		if k := fmt.Sprintf("137%08d", i); slices.Equal(orders.Order(ownership.Slot(k))[:2], []string{"shanghai", "beijing"}) {
			keys = append(keys, k)
		}
	}
	const each = 8
	want := map[string][]string{}
	var ids []string
	for n := range each {
		for _, k := range keys {
			name := fmt.Sprintf("%s-%d", k, n)
			ids = append(ids, d.accepted(t, k, name, "{}"))
			want[k] = append(want[k], name)
		}
	}
	d.restore(t)
	for i := range 4 {
		_, stop := d.another(t, "beijing", fmt.Sprint("more-", i), d.logs["beijing"], nil)
		if i%2 == 0 {
			stop()
		}
	}
	for _, id := range ids {
		d.await(t, id, deferred.StateExecuted)
	}
	got := map[string][]string{}
	for _, s := range d.bank.called() {
		k := s.Header.Get(HeaderKey)
		got[k] = append(got[k], s.Header.Get("Idempotency-Key"))
	}
	for k := range got { // what was cut off by a change is sent again: the same one, nothing in between
		got[k] = slices.Compact(got[k])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the application got (-want +got):\n%s", diff)
	}
	if n := len(d.bank.executed()); n != each*len(keys) {
		t.Errorf("%d were carried out, want %d", n, each*len(keys))
	}
}

// TestPoison: a record that nobody can read, and a request that breaks the connection each time, hold
// nobody up but the latter's own key.
func TestPoison(t *testing.T) {
	d := newDeferring(t, nil)
	d.lose(t)
	for p := range int32(3) {
		if _, err := d.logs["beijing"].AppendTo(t.Context(), p, []byte("{poison")); err != nil {
			t.Fatal(err)
		}
	}
	d.places["shanghai"].handle(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Idempotency-Key") == "poison" {
			panic(http.ErrAbortHandler)
		}
		d.bank.handler("shanghai")(w, r)
	})
	poison := d.accepted(t, d.key, "poison", "{}")
	behind := d.accepted(t, d.key, "behind", "{}")
	var others []string
	orders := d.places["beijing"].gateway.state.load().router.orders
	for i := 0; len(others) < 10; i++ {
		if k := fmt.Sprintf("136%08d", i); slices.Equal(orders.Order(ownership.Slot(k))[:2], []string{"shanghai", "beijing"}) {
			others = append(others, d.accepted(t, k, "", "{}"))
		}
	}
	d.restore(t)
	for _, id := range others {
		d.await(t, id, deferred.StateExecuted)
	}
	for _, id := range []string{poison, behind} {
		if s := d.status(t, "beijing", id); s.State != deferred.StatePending {
			t.Errorf("%s is %+v", id, s)
		}
	}
	d.places["beijing"].clock.ahead.Store(int64(25 * 3600e9))
	if s := d.await(t, poison, deferred.StateExpired); !s.MayHaveBeenExecuted {
		t.Errorf("the poison is %+v", s)
	}
	if s := d.await(t, behind, deferred.StateExpired); s.MayHaveBeenExecuted || s.Why == "" {
		t.Errorf("what was behind it is %+v", s)
	}
}

// TestNotReady: before the log is read, nothing is accepted and nothing is denied.
func TestNotReady(t *testing.T) {
	logs := map[string]*requestlogtest.Memory{}
	w := newWorld(t, func(o *Options) {
		log := requestlogtest.NewMemory(3)
		log.Fail(requestlogtest.ErrDown)
		logs[strings.TrimPrefix(o.Gateway, "gateway-")], o.Deferred = log, log
	})
	w.setState("shanghai", ownership.RegionLost)
	w.publish(t)
	header := map[string]string{"X-User-Phone": keyHomedIn(t, "shanghai", "beijing"), "Cookie": "sid=1"}
	resp, text := w.call(t, "beijing", "POST", "/v1/transfers", header, strings.NewReader("{}"))
	wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonDeferralUnavailable)
	resp, text = w.call(t, "beijing", "GET", DeferredPrefix+"beijing.x", nil, nil)
	wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonDeferralUnavailable)
}
