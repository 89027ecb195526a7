package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"multiactive.dev/operator/internal/deferred"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/port/requestlog"
	"multiactive.dev/operator/internal/port/requestlog/requestlogtest"
	"multiactive.dev/operator/internal/testkit"
)

// bank is the application of every region: it admits who has a cookie, and carries transfers out once for
// an idempotency key.
type bank struct {
	mu sync.Mutex
	// admitted has the requests to admit, done those that were carried out, in order, calls all others.
	admitted, done, calls []seen
	keys                  map[string]bool
	// answer is asked first; status 0: as usual.
	answer func(s *seen) (status int, body string)
}

func (b *bank) handler(region string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s := seen{region, r.Method, r.Host, r.URL.RequestURI(), r.Header.Clone(), string(body), nil}
		if r.URL.Path == "/v1/transfers/admit" {
			b.admit(w, &s)
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.calls = append(b.calls, s)
		status, text := 0, ""
		if b.answer != nil {
			status, text = b.answer(&s)
		}
		if status == 0 {
			status, text = http.StatusCreated, `{"booked":true}`
			if key := s.Header.Get("Idempotency-Key"); !b.keys[key] {
				b.keys[key] = true
				b.done = append(b.done, s)
			}
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

func (b *bank) admit(w http.ResponseWriter, s *seen) {
	b.mu.Lock()
	b.admitted = append(b.admitted, *s)
	b.mu.Unlock()
	if !strings.Contains(s.Header.Get("Cookie"), "sid=") {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"code":"log-in"}`)
		return
	}
	w.Header().Set(HeaderSubject, "user of "+s.Header.Get(HeaderKey))
	w.Header().Set("Set-Cookie", "sid=renewed")
	_, _ = io.WriteString(w, `{"subject":"x"}`)
}

func (b *bank) executed() []seen {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.done)
}

func (b *bank) called() []seen {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.calls)
}

func (b *bank) answers(f func(s *seen) (int, string)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = f
}

// deferring is a world whose regions keep requests for later.
type deferring struct {
	*world
	bank *bank
	logs map[string]*requestlogtest.Memory
	// key is at home in shanghai, and then in beijing.
	key string
}

func newDeferring(t *testing.T, change func(*Options)) *deferring {
	t.Helper()
	d := &deferring{bank: &bank{keys: map[string]bool{}}, logs: map[string]*requestlogtest.Memory{}}
	for _, name := range worldRegions {
		d.logs[name] = requestlogtest.NewMemory(3)
	}
	d.world = newWorld(t, func(o *Options) {
		o.Deferred = d.logs[strings.TrimPrefix(o.Gateway, "gateway-")]
		if change != nil {
			change(o)
		}
	})
	for name, p := range d.places {
		p.handle(d.bank.handler(name))
	}
	d.key = keyHomedIn(t, "shanghai", "beijing")
	testkit.Eventually(t, patience, func() error {
		for name, p := range d.places {
			if !p.gateway.deferrals.isCurrent() {
				return fmt.Errorf("%s has not read its log", name)
			}
		}
		return nil
	})
	return d
}

// lose has shanghai lost, restore has it back with everything.
func (d *deferring) lose(t *testing.T) {
	d.setState("shanghai", ownership.RegionLost)
	d.publish(t)
}

func (d *deferring) restore(t *testing.T) {
	d.setState("shanghai", ownership.RegionServing)
	d.publish(t)
}

// transfer asks beijing's gateway for a transfer.
func (d *deferring) transfer(t *testing.T, key, idempotency, body string) (*http.Response, string) {
	t.Helper()
	header := map[string]string{"X-User-Phone": key, "Cookie": "sid=s3cret", "Authorization": "Bearer t0ken", "X-Api-Key": "k3y", "Content-Type": "application/json"}
	if idempotency != "" {
		header["Idempotency-Key"] = idempotency
	}
	return d.call(t, "beijing", "POST", "/v1/transfers?currency=CNY&access_token=t0ken", header, strings.NewReader(body))
}

// accepted asks beijing for a transfer that must be deferred, and returns its ID.
func (d *deferring) accepted(t *testing.T, key, idempotency, body string) string {
	t.Helper()
	resp, text := d.transfer(t, key, idempotency, body)
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("got %d %s, want 202", resp.StatusCode, text)
	}
	s := decode[DeferredStatus](t, text)
	if got := resp.Header.Get("Location"); got != DeferredPrefix+s.ID || s.ID == "" {
		t.Errorf("Location is %q, and the ID %q", got, s.ID)
	}
	return s.ID
}

func (d *deferring) status(t *testing.T, region, id string) DeferredStatus {
	t.Helper()
	resp, text := d.call(t, region, "GET", DeferredPrefix+id, nil, nil)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status of %s at %s: %d %s", id, region, resp.StatusCode, text)
	}
	return decode[DeferredStatus](t, text)
}

func (d *deferring) await(t *testing.T, id string, want deferred.State) DeferredStatus {
	t.Helper()
	var s DeferredStatus
	testkit.Eventually(t, patience, func() error {
		if s = d.status(t, "beijing", id); s.State != want {
			return fmt.Errorf("%s is %s (%s), want %s", id, s.State, s.Why, want)
		}
		return nil
	})
	return s
}

// events are those that beijing's log has, in the order of its partitions.
func (d *deferring) events(t *testing.T) []deferred.Event {
	t.Helper()
	var out []deferred.Event
	for _, partition := range d.logs["beijing"].Values() {
		for _, value := range partition {
			ev, err := deferred.Decode(value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, ev)
		}
	}
	return out
}

func kinds(events []deferred.Event) []deferred.Kind {
	var out []deferred.Kind
	for _, ev := range events {
		out = append(out, ev.Kind)
	}
	return out
}

// another starts one more gateway in a region, on a log of its own view, until stop is called or the test
// ends. A killed one does not let go of anything by itself.
func (d *deferring) another(t *testing.T, region, name string, log requestlog.Log, change func(*Options)) (_ *Gateway, stop func()) {
	t.Helper()
	o := Options{
		Agent: d.places[region].agent.URL, Namespace: "accounts", Name: "user", Gateway: name,
		OwnerWait: 50 * time.Millisecond, Clock: d.places[region].clock, Log: slog.New(slog.DiscardHandler), Deferred: log,
	}
	if change != nil {
		change(&o)
	}
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { g.Run(ctx); close(done) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	testkit.Eventually(t, patience, func() error {
		if !g.deferrals.isCurrent() {
			return fmt.Errorf("%s has not read the log", name)
		}
		return nil
	})
	return g, stop
}

// receiver takes notifications.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex
	got     []Notification
	headers []http.Header
	bodies  []string
	// status that it answers with.
	status int
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{status: http.StatusNoContent}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		var n Notification
		_ = json.Unmarshal(body, &n)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got, r.headers, r.bodies = append(r.got, n), append(r.headers, req.Header.Clone()), append(r.bodies, string(body))
		w.Header().Set("Location", "http://"+req.Host+"/elsewhere")
		w.WriteHeader(r.status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answers(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

func (r *receiver) notifications() []Notification {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// notifying has the outcomes of transfers posted to a receiver.
func (d *deferring) notifying(t *testing.T, url string) {
	for i := range d.config.Flows {
		if d.config.Flows[i].Name == "transfer" {
			policy := *d.config.Flows[i].Defer
			policy.Notify = url
			d.config.Flows[i].Defer = &policy
		}
	}
	d.publish(t)
}
