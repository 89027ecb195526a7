package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/deferred"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/port/requestlog/requestlogtest"
	"multiactive.dev/operator/internal/routing"
	"multiactive.dev/operator/internal/testkit"
)

// TestDeferred is a request's way from the loss of its home to its return.
func TestDeferred(t *testing.T) {
	d := newDeferring(t, nil)
	d.lose(t)
	id := d.accepted(t, d.key, "lunch-1", `{"amount":250}`)

	admitted := d.bank.admitted[0]
	if admitted.Method != "POST" || admitted.Header.Get("Cookie") != "sid=s3cret" || admitted.Header.Get("Authorization") != "Bearer t0ken" ||
		admitted.Body != `{"amount":250}` || admitted.Header.Get(HeaderFlow) != "transfer" || admitted.Header.Get(HeaderEpoch) != "" {
		t.Errorf("to be admitted was %+v", admitted)
	}
	if events := d.events(t); len(events) != 1 || events[0].Request.Subject != "user of "+d.key {
		t.Errorf("stored is %+v", events)
	}
	for _, partition := range d.logs["beijing"].Values() {
		for _, value := range partition {
			for _, secret := range []string{"s3cret", "t0ken", "k3y", "renewed"} {
				if strings.Contains(string(value), secret) {
					t.Errorf("stored is the credential %q: %s", secret, value)
				}
			}
		}
	}
	if s := d.status(t, "beijing", id); s.State != deferred.StatePending || s.Flow != "transfer" || s.ExpiresAt.Sub(s.AcceptedAt) < 23*time.Hour {
		t.Errorf("the status is %+v", s)
	}
	if again := d.accepted(t, d.key, "lunch-1", `{"amount":250}`); again != id {
		t.Errorf("the same request is %s and %s", id, again)
	}
	resp, text := d.transfer(t, d.key, "lunch-1", `{"amount":999}`)
	wantProblem(t, resp, text, http.StatusUnprocessableEntity, ReasonIdempotencyKeyReused)
	if other := d.accepted(t, d.key, "", `{"amount":1}`); other == id {
		t.Error("another request has the same ID")
	}
	if n := len(d.bank.executed()); n > 0 {
		t.Errorf("%d were carried out without an owner", n)
	}

	d.restore(t)
	s := d.await(t, id, deferred.StateExecuted)
	if s.Status != http.StatusCreated || s.Why != "" || s.DecidedAt == nil {
		t.Errorf("the status is %+v", s)
	}
	got := d.bank.executed()[0]
	want := map[string]string{
		"Idempotency-Key": "lunch-1", HeaderSubject: "user of " + d.key, HeaderDeferred: id, HeaderKey: d.key, HeaderOwner: "shanghai",
		"Cookie": "", "Authorization": "", "X-Api-Key": "", "Content-Type": "application/json", HeaderHop: "",
	}
	for name, value := range want {
		if got.Header.Get(name) != value {
			t.Errorf("%s is %q, want %q", name, got.Header.Get(name), value)
		}
	}
	if got.Region != "shanghai" || got.URI != "/v1/transfers?currency=CNY" || got.Body != `{"amount":250}` {
		t.Errorf("carried out was %+v", got)
	}
	if s := d.status(t, "shenzhen", id); s.State != deferred.StateExecuted {
		t.Errorf("asked in another region, the status is %+v", s)
	}
	testkit.Eventually(t, patience, func() error {
		if n := len(d.bank.executed()); n != 2 {
			return fmt.Errorf("%d were carried out, want 2", n)
		}
		return nil
	})
}

// TestDeferredHere: the region that keeps the request owns the key in the end.
func TestDeferredHere(t *testing.T) {
	d := newDeferring(t, nil)
	d.lose(t)
	id := d.accepted(t, d.key, "a", "{}")
	for i := range d.config.Regions { // lost for good: beijing has all there is
		d.config.Regions[i].Unshipped = false
	}
	d.publish(t)
	d.await(t, id, deferred.StateExecuted)
	if got := d.bank.executed()[0]; got.Region != "beijing" || got.Header.Get(HeaderOwner) != "beijing" || got.Header.Get(HeaderSubject) != "user of "+d.key {
		t.Errorf("carried out was %+v", got)
	}
}

// TestDeferredAtOnce: the view has the home as serving, and it cannot be reached; and this region is the
// owner and has lost its lease.
func TestDeferredAtOnce(t *testing.T) {
	d := newDeferring(t, nil)
	d.places["shanghai"].server.CloseClientConnections()
	endpoint := d.config.Regions[1].Endpoint
	d.config.Regions[1].Endpoint = "http://127.0.0.1:1"
	d.publish(t)
	far := d.accepted(t, d.key, "a", `{"amount":1}`)
	d.config.Regions[1].Endpoint = endpoint
	d.publish(t)
	d.await(t, far, deferred.StateExecuted)

	d.places["beijing"].clock.jump(2 * time.Hour) // past the lease
	d.places["beijing"].agent.leave(true)
	d.places["beijing"].clock.jump(2 * time.Hour)
	near := d.accepted(t, keyHomedIn(t, "beijing"), "a", `{"amount":1}`)
	if s := d.status(t, "beijing", near); s.State != deferred.StatePending {
		t.Errorf("without a lease, the status is %+v", s)
	}
	d.places["beijing"].agent.leave(false)
	d.publish(t)
	d.await(t, near, deferred.StateExecuted)
}

// TestNotDeferred: never a 202 for what is not admitted or not stored.
func TestNotDeferred(t *testing.T) {
	d := newDeferring(t, func(o *Options) {
		o.DeferredLimits, o.DeferredBodyBytes = deferred.Limits{Requests: 3, PerKey: 2}, 100
	})
	d.lose(t)
	resp, text := d.call(t, "beijing", "POST", "/v1/transfers", map[string]string{"X-User-Phone": d.key}, strings.NewReader("{}"))
	if resp.StatusCode != http.StatusUnauthorized || text != `{"code":"log-in"}` || resp.Header.Get("Location") != "" {
		t.Errorf("not admitted: %d %s", resp.StatusCode, text)
	}
	resp, text = d.transfer(t, d.key, "a", `{"x":"`+strings.Repeat("x", 100)+`"}`)
	wantProblem(t, resp, text, http.StatusRequestEntityTooLarge, ReasonBodyTooLarge)
	resp, text = d.transfer(t, d.key, strings.Repeat("k", 300), "{}")
	wantProblem(t, resp, text, http.StatusBadRequest, ReasonInvalidIdempotencyKey)
	resp, text = d.call(t, "beijing", "GET", "/v1/transfers", map[string]string{"X-User-Phone": d.key}, nil)
	if resp.StatusCode == http.StatusAccepted {
		t.Errorf("a safe request was deferred: %s", text)
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", d.places["beijing"].server.URL+"/v1/transfers", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"X-User-Phone": {d.key}, "Content-Type": {"application/grpc"}, "Cookie": {"sid=1"}}
	if resp, err = h2cClient(t).Do(req); err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Location") != "" {
		t.Fatalf("gRPC: %v with %v, want a status in the trailers alone", err, resp)
	}
	_ = resp.Body.Close()
	if events := d.events(t); len(events) > 0 {
		t.Fatalf("stored were %v", kinds(events))
	}

	d.logs["beijing"].Fail(requestlogtest.ErrDown)
	resp, text = d.transfer(t, d.key, "a", "{}")
	p := wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonDeferralUnavailable)
	if !strings.Contains(p.Detail, "same idempotency key") || strings.Contains(text, requestlogtest.ErrDown.Error()) {
		t.Errorf("the user is told %q", text)
	}
	d.logs["beijing"].Fail(nil)
	d.accepted(t, d.key, "a", "{}")
	d.accepted(t, d.key, "b", "{}")
	resp, text = d.transfer(t, d.key, "c", "{}")
	wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonDeferralFull)
	d.places["beijing"].app.CloseClientConnections()
	d.places["beijing"].app.Close()
	resp, text = d.transfer(t, keyHomedIn(t, "shanghai", "beijing"), "d", "{}")
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without the application: %d %s", resp.StatusCode, text)
	}
	if events := d.events(t); len(events) != 2 {
		t.Errorf("stored were %v", kinds(events))
	}
}

// TestDeferredInOrder: of one key, whatever fails; other keys do not wait.
func TestDeferredInOrder(t *testing.T) {
	d := newDeferring(t, nil)
	d.lose(t)
	other := ""
	for i := 0; other == "" || other == d.key; i++ {
		if k := fmt.Sprintf("139%08d", i); slices.Equal(d.places["beijing"].gateway.state.load().router.orders.Order(ownership.Slot(k))[:2], []string{"shanghai", "beijing"}) {
			other = k
		}
	}
	failures := 2
	d.bank.answers(func(s *seen) (int, string) {
		if s.Header.Get("Idempotency-Key") == "first" && failures > 0 {
			failures--
			return http.StatusInternalServerError, "{}"
		}
		if s.Header.Get("Idempotency-Key") == "second" {
			return http.StatusUnprocessableEntity, `{"title":"No","detail":"not\nenough money"}`
		}
		return 0, ""
	})
	first := d.accepted(t, d.key, "first", "{}")
	second := d.accepted(t, d.key, "second", "{}")
	third := d.accepted(t, d.key, "third", "{}")
	apart := d.accepted(t, other, "apart", "{}")
	d.restore(t)
	d.await(t, apart, deferred.StateExecuted)
	d.await(t, third, deferred.StateExecuted)
	if s := d.status(t, "beijing", first); s.State != deferred.StateExecuted {
		t.Errorf("the first is %+v", s)
	}
	if s := d.status(t, "beijing", second); s.State != deferred.StateRefused || s.Status != http.StatusUnprocessableEntity || s.Why != "not enough money" {
		t.Errorf("the second is %+v", s)
	}
	var got []string
	for _, s := range d.bank.called() {
		if s.Header.Get(HeaderKey) == d.key {
			got = append(got, s.Header.Get("Idempotency-Key"))
		}
	}
	if diff := cmp.Diff([]string{"first", "first", "first", "second", "third"}, got); diff != "" {
		t.Errorf("the application got (-want +got):\n%s", diff)
	}
}

// TestDeferredExpires: in time, with why, and never as if nothing had happened when something may have.
func TestDeferredExpires(t *testing.T) {
	d := newDeferring(t, nil)
	d.lose(t)
	lonely := d.accepted(t, d.key, "a", "{}")
	d.places["beijing"].clock.ahead.Store(int64(25 * time.Hour))
	s := d.await(t, lonely, deferred.StateExpired)
	if s.MayHaveBeenExecuted || !strings.Contains(s.Why, "24h0m0s") || !strings.Contains(s.Why, reasons[ReasonHomeLost].title) {
		t.Errorf("nobody was there: %+v", s)
	}
	d.bank.answers(func(*seen) (int, string) { return http.StatusInternalServerError, "" })
	tried := d.accepted(t, d.key, "b", "{}")
	d.restore(t)
	testkit.Eventually(t, patience, func() error {
		if len(d.bank.called()) == 0 {
			return errors.New("it was not tried")
		}
		return nil
	})
	d.places["beijing"].clock.ahead.Store(int64(50 * time.Hour))
	s = d.await(t, tried, deferred.StateExpired)
	if !s.MayHaveBeenExecuted || !strings.Contains(s.Why, "500") {
		t.Errorf("it was sent: %+v", s)
	}

	d.bank.answers(nil)
	d.places["shanghai"].app.CloseClientConnections()
	d.places["shanghai"].app.Close()
	d.lose(t)
	unsent := d.accepted(t, d.key, "c", "{}")
	d.restore(t)
	testkit.Eventually(t, patience, func() error {
		if events := d.events(t); events[len(events)-1].Kind != deferred.Begun {
			return fmt.Errorf("the last event is %s", events[len(events)-1].Kind)
		}
		return nil
	})
	d.places["beijing"].clock.ahead.Store(int64(75 * time.Hour))
	if s = d.await(t, unsent, deferred.StateExpired); s.MayHaveBeenExecuted {
		t.Errorf("it reached nobody: %+v", s)
	}
}

// TestDeferredPages of what is not there.
func TestDeferredPages(t *testing.T) {
	d := newDeferring(t, nil)
	for _, id := range []string{"beijing.none", "shanghai.none", "nowhere.none", "none", "", "shanghai.a/../../x"} {
		resp, text := d.call(t, "beijing", "GET", DeferredPrefix+id, nil, nil)
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%q: %d %s", id, resp.StatusCode, text)
		}
	}
	// An endpoint that leads back here must not be asked for ever.
	d.config.Regions[1].Endpoint = d.config.Regions[0].Endpoint
	d.publish(t)
	if resp, text := d.call(t, "beijing", "GET", DeferredPrefix+"shanghai.x", nil, nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("asked in a circle: %d %s", resp.StatusCode, text)
	}
}

// TestAdmissionHasNoStamp: the application that is asked for admission sees the session's token as it issued it.
func TestAdmissionHasNoStamp(t *testing.T) {
	d := newDeferring(t, nil)
	d.config.Sessions = []routing.Session{{Class: "session", Cookie: "sid", FetchPath: "/internal/session"}}
	d.publish(t)
	d.lose(t)
	stamped := (&sealer{peerKey: d.config.PeerKey, uid: d.config.UID, class: "session"}).seal(stamp{region: "beijing", slot: noSlot}, "tok")
	resp, text := d.call(t, "beijing", "POST", "/v1/transfers", map[string]string{"X-User-Phone": d.key, "Cookie": "sid=" + stamped}, strings.NewReader("{}"))
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("got %d %s", resp.StatusCode, text)
	}
	d.bank.mu.Lock()
	defer d.bank.mu.Unlock()
	if got := d.bank.admitted[0].Header.Get("Cookie"); got != "sid=tok" {
		t.Errorf("the application saw %q", got)
	}
}
