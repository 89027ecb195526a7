package gateway

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"multiactive.dev/operator/internal/ownership"
)

// lose takes a region out, as the views of a loss do: closing first.
func (w *world) lose(t *testing.T, name string) {
	t.Helper()
	w.close()
	w.setState(name, ownership.RegionLost)
	w.publish(t)
	w.open()
	w.publish(t)
}

func TestTakeoverAfterALoss(t *testing.T) {
	w := newWorld(t, nil)
	header := map[string]string{"X-User-Phone": keyHomedIn(t, "beijing", "shanghai"), "Accept-Language": "zh-CN"}
	serves := func(asked, want string) {
		t.Helper()
		resp, text := w.call(t, asked, "POST", "/v1/payments", header, strings.NewReader("7"))
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("asked %s: %d %s", asked, resp.StatusCode, text)
		}
		got := decode[seen](t, text)
		if got.Region != want || got.Header.Get(HeaderOwner) != want || got.Header.Get(HeaderEpoch) == "" || got.Body != "7" {
			t.Errorf("asked %s: %s, want it served by %s", asked, text, want)
		}
	}
	serves("shenzhen", "beijing")
	w.lose(t, "beijing")
	for _, asked := range worldRegions {
		serves(asked, "shanghai")
	}

	// What another region refuses reaches the user as that region said it.
	resp, text := w.call(t, "shenzhen", "POST", "/v1/accounts", header, nil)
	got := wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonHomeLost)
	want := Problem{
		Type: TypePrefix + "home-lost", Status: 503, Reason: ReasonHomeLost, Flow: "register", Region: "beijing",
		Title: got.Title, Detail: got.Detail, Instance: got.Instance, Announcement: "部分功能暂不可用。", RetryAfterSeconds: 30,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problem (-want +got):\n%s", diff)
	}
	if h := resp.Header; h.Get("Retry-After") != "30" || h.Get("Content-Language") != "zh-CN" || h.Get(HeaderSource) != "shanghai" {
		t.Errorf("headers are %v", h)
	}
	resp, text = w.call(t, "shenzhen", "GET", "/v1/profile", header, nil)
	if got := decode[seen](t, text); resp.Header.Get(HeaderStale) != "true" || got.Region != "shanghai" {
		t.Errorf("a read: %d %v %s", resp.StatusCode, resp.Header, text)
	}

	w.close()
	w.setState("beijing", ownership.RegionServing)
	w.publish(t)
	w.open()
	w.publish(t)
	serves("shenzhen", "beijing")
}

func TestDrainedRegionIsTakenOverWhole(t *testing.T) {
	w := newWorld(t, nil)
	w.setState("beijing", ownership.RegionDrained)
	w.publish(t)
	header := map[string]string{"X-User-Phone": keyHomedIn(t, "beijing", "shanghai")}
	for _, path := range []string{"/v1/accounts", "/v1/profile", "/v1/transfers"} {
		resp, text := w.call(t, "beijing", "POST", path, header, nil)
		if resp.StatusCode != http.StatusOK || decode[seen](t, text).Region != "shanghai" {
			t.Errorf("%s: %d %s", path, resp.StatusCode, text)
		}
	}
}

func TestClosingHoldsARequestAndThenServesIt(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.OwnerWait = patience })
	header := map[string]string{"X-User-Phone": keyHomedIn(t, "beijing", "shanghai")}
	w.close()
	w.setState("beijing", ownership.RegionDrained)
	w.publish(t)
	w.open()
	go func() {
		<-w.places["shenzhen"].clock.waiting
		w.announce()
	}()
	resp, text := w.call(t, "shenzhen", "POST", "/v1/accounts", header, strings.NewReader(`{"x":1}`))
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("got %d %s", resp.StatusCode, text)
	}
	if got := decode[seen](t, text); got.Region != "shanghai" || got.Body != `{"x":1}` {
		t.Errorf("got %s", text)
	}
}

func TestClosingRefusesAfterOwnerWait(t *testing.T) {
	w := newWorld(t, nil)
	w.close()
	w.setState("beijing", ownership.RegionDrained)
	w.publish(t)
	header := map[string]string{"X-User-Phone": keyHomedIn(t, "beijing")}
	resp, text := w.call(t, "shenzhen", "POST", "/v1/accounts", header, nil)
	if p := wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonClosing); p.RetryAfterSeconds == 0 || p.Announcement == "" {
		t.Errorf("got %s", text)
	}
	resp, text = w.call(t, "shenzhen", "GET", "/v1/profile", header, nil)
	if resp.StatusCode != http.StatusOK || resp.Header.Get(HeaderStale) != "true" {
		t.Errorf("a read of a read-only flow: %d %s", resp.StatusCode, text)
	}
	other := map[string]string{"X-User-Phone": keyHomedIn(t, "shanghai")}
	if resp, text := w.call(t, "shenzhen", "POST", "/v1/accounts", other, nil); resp.StatusCode != http.StatusOK {
		t.Errorf("a key whose owner stays: %d %s", resp.StatusCode, text)
	}
	if n := testutil.ToFloat64(w.places["shenzhen"].counted(t).metrics.affected.WithLabelValues("register")); n != 1 {
		t.Errorf("affected register requests: %v, want 1", n)
	}
}

// Requests that wait for an owner leave room for those that need none.
func TestHeldRequestsAreBounded(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.OwnerWait, o.MaxInFlight = patience, 3 })
	w.close()
	w.setState("beijing", ownership.RegionDrained)
	w.publish(t)
	header := map[string]string{"X-User-Phone": keyHomedIn(t, "beijing")}
	var held sync.WaitGroup
	held.Go(func() { w.call(t, "shenzhen", "POST", "/v1/accounts", header, nil) })
	<-w.places["shenzhen"].clock.waiting
	resp, text := w.call(t, "shenzhen", "POST", "/v1/accounts", header, nil)
	wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonClosing)
	if resp, text := w.call(t, "shenzhen", "POST", "/v1/login", nil, nil); resp.StatusCode != http.StatusOK {
		t.Errorf("login while a request waits: %d %s", resp.StatusCode, text)
	}
	w.open()
	w.announce()
	held.Wait()
	if n := w.places["shenzhen"].gateway.held.Load(); n != 0 {
		t.Errorf("%d requests are held after all", n)
	}
}

// slow has a region's application take a home request for as long as it is not released.
func (p *place) slow() (arrived, release chan struct{}) {
	arrived, release = make(chan struct{}), make(chan struct{})
	p.handle(func(rw http.ResponseWriter, r *http.Request) {
		close(arrived)
		select {
		case <-release:
			_, _ = rw.Write([]byte("done"))
		case <-r.Context().Done():
		}
	})
	return arrived, release
}

// The region acknowledges only when nothing that it has let go of is under way: the gateway says so at
// once, not with the next poll.
func TestBusyIsToldUntilTheLastRequestEnds(t *testing.T) {
	w := newWorld(t, nil)
	p := w.places["beijing"]
	p.agent.mu.Lock()
	p.agent.hold = patience
	p.agent.mu.Unlock()
	arrived, release := p.slow()
	var done sync.WaitGroup
	done.Go(func() {
		resp, text := w.call(t, "beijing", "POST", "/v1/accounts", map[string]string{"X-User-Phone": keyHomedIn(t, "beijing")}, nil)
		if resp.StatusCode != http.StatusOK || text != "done" {
			t.Errorf("the request was cut off: %d %s", resp.StatusCode, text)
		}
	})
	<-arrived
	w.config.Epoch++
	w.announce()
	if n := p.agent.said(t); n != "0" {
		t.Errorf("busy is %s while beijing owns the key, want 0", n)
	}
	w.close()
	w.setState("beijing", ownership.RegionDrained)
	w.announce()
	if n := p.agent.said(t); n != "1" {
		t.Errorf("busy is %s while the request is under way, want 1", n)
	}
	p.agent.mu.Lock()
	settled := p.agent.settled
	p.agent.mu.Unlock()
	close(release)
	awaitClosed(t, settled, "the gateway did not say that the request has ended")
	done.Wait()
}

// A request whose slot closes goes on within the lease that it had, however the lease is renewed.
func TestRequestOfAClosedSlotEndsWithItsLease(t *testing.T) {
	w := newWorld(t, nil)
	p := w.places["beijing"]
	arrived, _ := p.slow()
	go func() {
		<-arrived
		w.close()
		w.setState("beijing", ownership.RegionDrained)
		w.publish(t)
		p.clock.jump(w.lease / 2)
		awaitRenewal(p, w.lease-time.Minute)
		p.clock.jump(w.lease / 2)
	}()
	resp, text := w.call(t, "beijing", "POST", "/v1/accounts", map[string]string{"X-User-Phone": keyHomedIn(t, "beijing")}, nil)
	wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonLeaseLapsed)
}

// A lease that ran out and came back is another one: somebody else may have owned the slot in between.
func TestRequestEndsWithItsLeaseThoughAnotherFollows(t *testing.T) {
	w := newWorld(t, nil)
	p := w.places["beijing"]
	arrived, _ := p.slow()
	go func() {
		<-arrived
		p.agent.leave(true)
		p.clock.jump(w.lease)
		p.agent.leave(false)
		awaitRenewal(p, time.Minute)
	}()
	resp, text := w.call(t, "beijing", "POST", "/v1/accounts", map[string]string{"X-User-Phone": keyHomedIn(t, "beijing")}, nil)
	wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonLeaseLapsed)
}

// A request that is forwarded to a region which has just let go of the key is not lost: it waits for the view
// that the other gateway has already, and goes where that says.
func TestForwardedRequestFollowsANewerView(t *testing.T) {
	for name, body := range map[string]string{"short": "seven", "as long as is kept": strings.Repeat("7", maxRecordedBytes)} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(o *Options) { o.OwnerWait = patience })
			asked, old, next := w.places["shenzhen"], w.places["beijing"], w.places["shanghai"]
			w.close()
			w.setState("beijing", ownership.RegionDrained)
			w.rev++
			w.config.Epoch = w.rev
			old.agent.set(w.configFor("beijing"), w.rev, w.lease)
			old.agent.await(t)

			answered := make(chan string, 1)
			go func() {
				header := map[string]string{"X-User-Phone": keyHomedIn(t, "beijing", "shanghai"), "Content-Type": "text/plain"}
				resp, text := w.call(t, "shenzhen", "POST", "/v1/accounts", header, strings.NewReader(body))
				answered <- resp.Status + " " + text
			}()
			select {
			case <-asked.clock.waiting:
			case text := <-answered:
				t.Fatalf("answered before the view came: %.300s", text)
			}
			w.open()
			w.rev++
			w.config.Epoch = w.rev
			for _, p := range []*place{next, asked} {
				p.agent.set(w.configFor(p.name), w.rev, w.lease)
				p.agent.await(t)
			}
			text := <-answered
			if next.last == nil || next.last.Body != body || !strings.HasPrefix(text, "200") {
				t.Errorf("answered %.300s, and shanghai has %+v", text, next.last)
			}
			if old.last != nil {
				t.Error("the application of beijing has had the request too")
			}
		})
	}
}

// What cannot be sent again is refused as the other region said it, and so is what has waited for as long as
// it may.
func TestForwardedRequestThatCannotFollow(t *testing.T) {
	for name, size := range map[string]int{"too long to be kept": maxRecordedBytes + 1, "the view does not come": 5} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.close()
			w.setState("beijing", ownership.RegionDrained)
			w.rev++
			w.config.Epoch = w.rev
			w.places["beijing"].agent.set(w.configFor("beijing"), w.rev, w.lease)
			w.places["beijing"].agent.await(t)
			header := map[string]string{"X-User-Phone": keyHomedIn(t, "beijing", "shanghai"), "Content-Type": "text/plain"}
			resp, text := w.call(t, "shenzhen", "POST", "/v1/accounts", header, strings.NewReader(strings.Repeat("7", size)))
			wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonClosing)
			if resp.Header.Get(HeaderRefused) != "" || resp.Header.Get(HeaderSource) != "beijing" {
				t.Errorf("headers are %v", resp.Header)
			}
		})
	}
}
