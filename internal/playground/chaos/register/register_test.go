package register_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/playground/chaos/history"
	"multiactive.dev/operator/internal/playground/chaos/register"
)

// log is a Log that the test holds up.
type log struct {
	notReady error
	// gate lets one Append pass with its outcome; nil: all pass.
	gate    chan error
	arrived chan history.Entry
}

func (l *log) Ready() error { return l.notReady }

func (l *log) Append(_ context.Context, e history.Entry) error {
	if l.gate == nil {
		return nil
	}
	l.arrived <- e
	return <-l.gate
}

type journal struct {
	mu    sync.Mutex
	notes []history.Note
}

func (j *journal) Append(n history.Note) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.notes = append(j.notes, n)
	return nil
}

// whats are the notes by write.
func (j *journal) whats() map[string][]string {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := map[string][]string{}
	for i := range j.notes {
		out[j.notes[i].ID] = append(out[j.notes[i].ID], j.notes[i].What)
	}
	return out
}

type fixture struct {
	*register.Service
	log     *log
	journal *journal
}

func newFixture() fixture {
	l, j := &log{}, &journal{}
	return fixture{&register.Service{Region: "north", Register: register.New(), Log: l, Journal: j}, l, j}
}

func (f fixture) write(ctx context.Context, id string, epoch int64) (int, history.Entry) {
	return f.writeTo(ctx, "7", id, epoch)
}

func (f fixture) writeTo(ctx context.Context, slot, id string, epoch int64) (int, history.Entry) {
	r := httptest.NewRequestWithContext(ctx, http.MethodPut, "/keys/k?id="+id, http.NoBody)
	r.Header.Set("Multiactive-Slot", slot)
	r.Header.Set("Multiactive-Epoch", strconv.FormatInt(epoch, 10))
	r.Header.Set("Multiactive-Owner", "north")
	w := httptest.NewRecorder()
	f.Handler().ServeHTTP(w, r)
	var e history.Entry
	_ = json.Unmarshal(w.Body.Bytes(), &e) // a refusal is none
	return w.Code, e
}

func TestWritesAreLinked(t *testing.T) {
	t.Parallel()
	f := newFixture()
	_, first := f.write(t.Context(), "a", 1)
	_, second := f.write(t.Context(), "b", 1)
	want := history.Entry{Key: "k", ID: "b", Prev: "a", Seq: 2, Slot: 7, Epoch: 1, Owner: "north", Region: "north"}
	if diff := cmp.Diff(want, second); diff != "" || first.Prev != "" {
		t.Errorf("the first is %+v, the second (-want +got):\n%s", first, diff)
	}
	if diff := cmp.Diff([]string{history.Attempted, history.Accepted}, f.journal.whats()["a"]); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}

func TestSlots(t *testing.T) {
	t.Parallel()
	f := newFixture()
	if status, e := f.writeTo(t.Context(), "1909551211", "a", 1); status != http.StatusOK || e.Slot != 1909551211 {
		t.Errorf("a write whose home is pinned: %d, in slot %d", status, e.Slot)
	}
	if status, _ := f.writeTo(t.Context(), "", "b", 1); status != http.StatusBadRequest {
		t.Errorf("a write without a slot: %d", status)
	}
}

func TestOlderTokensAreFenced(t *testing.T) {
	t.Parallel()
	f := newFixture()
	f.Register.Apply(history.Entry{Key: "k", ID: "far", Seq: 9, Epoch: 5, Region: "south"})
	if status, _ := f.write(t.Context(), "a", 4); status != http.StatusConflict {
		t.Errorf("a token of an older epoch: status %d", status)
	}
	if status, e := f.write(t.Context(), "b", 5); status != http.StatusOK || e.Prev != "far" {
		t.Errorf("a token of the same epoch: status %d, entry %+v", status, e)
	}
	f.Register.Apply(history.Entry{Key: "k", ID: "late", Seq: 30, Epoch: 4, Region: "south"})
	if got := f.Register.Get("k").ID; got != "b" {
		t.Errorf("the newest is %s: an entry of an older epoch has replaced it", got)
	}
}

func TestNotReady(t *testing.T) {
	t.Parallel()
	f := newFixture()
	f.log.notReady = errors.New("reading")
	if status, _ := f.write(t.Context(), "a", 1); status != http.StatusServiceUnavailable || len(f.journal.whats()["a"]) > 0 {
		t.Errorf("status %d, notes %v", status, f.journal.whats()["a"])
	}
}

// TestBrokenOff ends the request while the write is on its way: nobody is told that it was accepted, and
// what follows knows of it.
func TestBrokenOff(t *testing.T) {
	t.Parallel()
	f := newFixture()
	f.log.gate, f.log.arrived = make(chan error), make(chan history.Entry)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); f.write(ctx, "a", 1) }()
	<-f.log.arrived
	cancel()
	<-ended
	if diff := cmp.Diff([]string{history.Attempted}, f.journal.whats()["a"]); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	next := make(chan history.Entry)
	go func() { _, e := f.write(t.Context(), "b", 1); next <- e }()
	f.log.gate <- nil // the first has been durable after all
	<-f.log.arrived
	f.log.gate <- nil
	if e := <-next; e.Prev != "a" || e.Seq != 2 {
		t.Errorf("the next write is %+v, want it behind the one that broke off", e)
	}
}

// TestUnknownFate fails a write that may be in the log all the same: no other gets its number.
func TestUnknownFate(t *testing.T) {
	t.Parallel()
	f := newFixture()
	f.log.gate, f.log.arrived = make(chan error, 2), make(chan history.Entry, 2)
	f.log.gate <- errors.New("no answer")
	f.log.gate <- nil
	if status, _ := f.write(t.Context(), "a", 1); status != http.StatusInternalServerError {
		t.Errorf("status %d of a write that failed", status)
	}
	if _, e := f.write(t.Context(), "b", 1); e.Seq != 2 || e.Prev != "" {
		t.Errorf("the next write is %+v, want number 2 behind nothing", e)
	}
	f.Register.Tried("k", 10) // by an earlier process
	f.log.gate = nil
	if _, e := f.write(t.Context(), "c", 1); e.Seq != 11 {
		t.Errorf("number %d after an earlier process has tried 10", e.Seq)
	}
}

func TestTooLate(t *testing.T) {
	t.Parallel()
	f := newFixture()
	f.log.gate, f.log.arrived = make(chan error), make(chan history.Entry)
	status := make(chan int)
	go func() { code, _ := f.write(t.Context(), "a", 1); status <- code }()
	<-f.log.arrived
	for from := history.Now(); history.Now()-from < 2100*time.Millisecond; {
		<-time.After(100 * time.Millisecond) // real time is what the limit is about
	}
	f.log.gate <- nil
	if code := <-status; code != http.StatusGatewayTimeout {
		t.Errorf("status %d after more than the limit", code)
	}
	if diff := cmp.Diff([]string{history.Attempted, history.TooLate}, f.journal.whats()["a"]); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
}
