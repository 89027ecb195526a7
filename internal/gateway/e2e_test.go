package gateway

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

func TestHomeRequestIsServedWhereItsKeyIsAtHome(t *testing.T) {
	w := newWorld(t, nil)
	for _, asked := range worldRegions {
		for _, home := range worldRegions {
			key := keyHomedIn(t, home)
			resp, text := w.call(t, asked, "POST", "/v1/accounts?x=a%2Fb", map[string]string{
				"Content-Type": "application/json", "Multiactive-Epoch": "999", "multiactive_owner": "mars",
			}, strings.NewReader(`{"phone": "`+key+`"}`))
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("asked %s for home %s: %d %s", asked, home, resp.StatusCode, text)
			}
			got := decode[seen](t, text)
			want := map[string]string{
				"Region": home, "Body": `{"phone": "` + key + `"}`, "URI": "/v1/accounts?x=a%2Fb",
				"Host": strings.TrimPrefix(w.places[asked].server.URL, "http://"),
				"Key":  key, "Slot": strconv.Itoa(ownership.Slot(key)), "Epoch": "101", "Owner": home,
				"Hop": "", "Forged": "",
			}
			have := map[string]string{
				"Region": got.Region, "Body": got.Body, "URI": got.URI, "Host": got.Host,
				"Key": got.Header.Get(HeaderKey), "Slot": got.Header.Get(HeaderSlot), "Epoch": got.Header.Get(HeaderEpoch),
				"Owner": got.Header.Get(HeaderOwner), "Hop": got.Header.Get(HeaderHop), "Forged": got.Header.Get("multiactive_owner"),
			}
			if diff := cmp.Diff(want, have); diff != "" {
				t.Errorf("asked %s for home %s (-want +got):\n%s", asked, home, diff)
			}
			wantSource := home
			if asked == home {
				wantSource = ""
			}
			if s := resp.Header.Get(HeaderSource); s != wantSource {
				t.Errorf("asked %s for home %s: source %q, want %q", asked, home, s, wantSource)
			}
			if resp.Header.Get("Multiactive-Miss") != "" {
				t.Error("an internal header of the application reached the user")
			}
			wantForwarded := 1
			if asked != home {
				wantForwarded = 2
			}
			if f := strings.Split(got.Header.Get("X-Forwarded-For"), ","); len(f) != wantForwarded {
				t.Errorf("asked %s for home %s: X-Forwarded-For has %d entries, want %d", asked, home, len(f), wantForwarded)
			}
		}
	}
}

func TestAnyRegionRequestNeedsNoLeaseAndNoKey(t *testing.T) {
	w := newWorld(t, nil)
	p := w.places["beijing"]
	p.agent.leave(true)
	p.clock.jump(2 * w.lease)
	resp, text := w.call(t, "beijing", "POST", "/v1/login", nil, strings.NewReader("x"))
	if got := decode[seen](t, text); resp.StatusCode != http.StatusOK || got.Region != "beijing" {
		t.Errorf("login without lease: %d %s", resp.StatusCode, text)
	}
}

func TestLeaseExpiryFencesHomeRequests(t *testing.T) {
	w := newWorld(t, nil)
	p := w.places["beijing"]
	header := map[string]string{"X-User-Phone": keyHomedIn(t, "beijing")}
	p.agent.leave(true)
	if resp, text := w.call(t, "beijing", "POST", "/v1/accounts", header, nil); resp.StatusCode != http.StatusOK {
		t.Fatalf("the agent is away and the lease lasts: %d %s", resp.StatusCode, text)
	}
	p.clock.jump(w.lease)
	resp, text := w.call(t, "beijing", "POST", "/v1/accounts", header, nil)
	if got := wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonFenced); got.Region != "beijing" {
		t.Errorf("region is %q, want beijing", got.Region)
	}
	resp, text = w.call(t, "beijing", "GET", "/v1/profile", header, nil)
	if resp.StatusCode != http.StatusOK || resp.Header.Get(HeaderStale) != "true" {
		t.Errorf("a read of a read-only flow: %d %s", resp.StatusCode, text)
	}
	resp, text = w.call(t, "shanghai", "POST", "/v1/accounts", header, nil)
	wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonFenced)

	p.agent.leave(false)
	awaitRenewal(p, time.Minute)
	if resp, text := w.call(t, "beijing", "POST", "/v1/accounts", header, nil); resp.StatusCode != http.StatusOK {
		t.Errorf("the agent is back: %d %s", resp.StatusCode, text)
	}
}

func TestLeaseThatEndsMeanwhileEndsTheRequest(t *testing.T) {
	w := newWorld(t, nil)
	p := w.places["beijing"]
	arrived, ended := make(chan struct{}), make(chan struct{})
	p.handle(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(ended)
	})
	go func() {
		<-arrived
		p.agent.leave(true)
		p.clock.jump(w.lease)
	}()
	resp, text := w.call(t, "beijing", "POST", "/v1/accounts", map[string]string{"X-User-Phone": keyHomedIn(t, "beijing")}, nil)
	got := wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonLeaseLapsed)
	if !strings.Contains(got.Detail, "not known whether") {
		t.Errorf("the detail must say that the outcome is unknown: %s", got.Detail)
	}
	awaitClosed(t, ended, "the application's request went on after the lease")
}

func TestLeaseThatIsRenewedCarriesLongRequests(t *testing.T) {
	w := newWorld(t, nil)
	p := w.places["beijing"]
	looked := make(chan struct{})
	p.handle(func(rw http.ResponseWriter, r *http.Request) {
		// Beyond the lease at admission, but renewed: the agent gives an hour with each poll.
		p.clock.jump(w.lease / 2)
		awaitRenewal(p, w.lease-time.Minute)
		p.clock.jump(w.lease / 2)
		select {
		case <-r.Context().Done():
		case <-time.After(2 * guardInterval): // the guard looks at least once
			close(looked)
		}
		_, _ = rw.Write([]byte("done"))
	})
	resp, text := w.call(t, "beijing", "POST", "/v1/accounts", map[string]string{"X-User-Phone": keyHomedIn(t, "beijing")}, nil)
	if resp.StatusCode != http.StatusOK || text != "done" {
		t.Errorf("got %d %s", resp.StatusCode, text)
	}
	awaitClosed(t, looked, "the request was cut off although its lease was renewed")
}

// awaitRenewal waits until the lease lasts at least d.
func awaitRenewal(p *place, d time.Duration) {
	for deadline := time.Now().Add(patience); p.gateway.leaseRemaining() < d && time.Now().Before(deadline); {
		p.agent.mu.Lock()
		changed := p.agent.changed
		p.agent.mu.Unlock()
		select {
		case <-changed:
		case <-time.After(time.Millisecond):
		}
	}
}

func TestLostHome(t *testing.T) {
	w := newWorld(t, nil)
	w.setState("beijing", ownership.RegionLost)
	w.publish(t)
	phone := keyHomedIn(t, "beijing", "shanghai")
	chinese := map[string]string{"X-User-Phone": phone, "Accept-Language": "zh, en;q=0.5"}

	resp, text := w.call(t, "shanghai", "POST", "/v1/accounts", chinese, nil)
	got := wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonHomeLost)
	want := Problem{
		Type: TypePrefix + "home-lost", Status: 503, Reason: ReasonHomeLost, Flow: "register", Region: "beijing",
		Title: got.Title, Detail: got.Detail, Instance: got.Instance,
		Announcement: "部分功能暂不可用。", RetryAfterSeconds: 30,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problem (-want +got):\n%s", diff)
	}
	if resp.Header.Get("Retry-After") != "30" || resp.Header.Get("Content-Language") != "zh-CN" {
		t.Errorf("Retry-After %q, Content-Language %q", resp.Header.Get("Retry-After"), resp.Header.Get("Content-Language"))
	}
	resp, text = w.call(t, "shanghai", "POST", "/v1/transfers", chinese, nil)
	if p := wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonHomeLost); strings.Contains(strings.ToLower(p.Detail), "defer") {
		t.Errorf("nothing is deferred, and the problem speaks of it: %s", p.Detail)
	}
	resp, text = w.call(t, "shanghai", "GET", "/v1/profile", chinese, nil)
	if got := decode[seen](t, text); resp.Header.Get(HeaderStale) != "true" || got.Region != "shanghai" || got.Header.Get(HeaderOwner) != "" {
		t.Errorf("reading the profile: %d %v %s", resp.StatusCode, resp.Header, text)
	}
	resp, text = w.call(t, "shanghai", "PUT", "/v1/profile", chinese, nil)
	wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonHomeLost)

	other := map[string]string{"X-User-Phone": keyHomedIn(t, "shenzhen")}
	if resp, text = w.call(t, "shanghai", "POST", "/v1/accounts", other, nil); resp.StatusCode != http.StatusOK {
		t.Errorf("a key with another home: %d %s", resp.StatusCode, text)
	}
	resp, text = w.call(t, "beijing", "POST", "/v1/accounts", chinese, nil)
	wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonHomeLost)

	m := w.places["shanghai"].gateway.metrics
	if n := testutil.ToFloat64(m.affected.WithLabelValues("register")); n != 2 {
		t.Errorf("affected register requests: %v, want those of two regions' users", n)
	}
	if n := testutil.ToFloat64(m.requests.WithLabelValues("profile", OutcomeStale)); n != 1 {
		t.Errorf("stale profile requests: %v, want 1", n)
	}
}

func TestNoSecondHop(t *testing.T) {
	w := newWorld(t, nil)
	// shanghai still believes in beijing, beijing knows that the key moved to shenzhen.
	key := keyHomedIn(t, "beijing")
	cfg := w.configFor("beijing")
	cfg.Regions[0].Weight = 0
	for i := range cfg.Regions {
		if name := cfg.Regions[i].Name; name != "beijing" && name != ownership.Rank(ownership.Slot(key), weightsIn(cfg.Regions))[0] {
			cfg.Regions[i].Weight = 0
		}
	}
	w.places["beijing"].agent.set(cfg, w.rev+1, w.lease)
	w.places["beijing"].agent.await(t)
	resp, text := w.call(t, "shanghai", "POST", "/v1/accounts", map[string]string{"X-User-Phone": key}, nil)
	wantProblem(t, resp, text, http.StatusLoopDetected, ReasonSecondHop)
	for _, p := range w.places {
		p.mu.Lock()
		if p.last != nil {
			t.Errorf("the application in %s got the request", p.name)
		}
		p.mu.Unlock()
	}
}

func TestHopWithNewerViewWaitsForIt(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.OwnerWait = patience })
	key := keyHomedIn(t, "beijing")
	// beijing's own view is old: the key belongs to another region there.
	behind := w.configFor("beijing")
	behind.Regions[0].Weight = 0
	w.places["beijing"].agent.set(behind, w.rev+1, w.lease)
	w.places["beijing"].agent.await(t)
	ahead := w.configFor("shanghai")
	ahead.Epoch += 10
	w.places["shanghai"].agent.set(ahead, w.rev+10, w.lease)
	w.places["shanghai"].agent.await(t)
	go func() {
		<-w.places["beijing"].clock.waiting
		now := w.configFor("beijing")
		now.Epoch += 10
		w.places["beijing"].agent.set(now, w.rev+10, w.lease)
	}()
	resp, text := w.call(t, "shanghai", "POST", "/v1/accounts", map[string]string{"X-User-Phone": key}, nil)
	if resp.StatusCode != http.StatusOK || decode[seen](t, text).Region != "beijing" {
		t.Errorf("got %d %s", resp.StatusCode, text)
	}
}

func weightsIn(regions []routing.Region) []ownership.WeightedRegion {
	var list []ownership.WeightedRegion
	for _, r := range regions {
		list = append(list, ownership.WeightedRegion{Name: r.Name, Weight: r.Weight})
	}
	return list
}

func TestForgedHop(t *testing.T) {
	w := newWorld(t, nil)
	cfg := w.configFor("beijing")
	genuine := hop{from: "shanghai", to: "beijing", epoch: 1, nonce: "n", host: "example.com"}
	cases := map[string]struct {
		value string
		want  int
	}{
		"genuine":       {genuine.sign(cfg.PeerKey, cfg.UID, "POST", "/v1/login"), http.StatusOK},
		"text":          {"shanghai", http.StatusForbidden},
		"empty":         {"", http.StatusForbidden},
		"other key":     {genuine.sign([]byte("another-key-another-key"), cfg.UID, "POST", "/v1/login"), http.StatusForbidden},
		"other service": {genuine.sign(cfg.PeerKey, "other", "POST", "/v1/login"), http.StatusForbidden},
		"other method":  {genuine.sign(cfg.PeerKey, cfg.UID, "GET", "/v1/login"), http.StatusForbidden},
		"other path":    {genuine.sign(cfg.PeerKey, cfg.UID, "POST", "/v1/accounts"), http.StatusForbidden},
		"to another": {(&hop{from: "shanghai", to: "shenzhen", epoch: 1, nonce: "n"}).
			sign(cfg.PeerKey, cfg.UID, "POST", "/v1/login"), http.StatusForbidden},
		"to itself": {(&hop{from: "beijing", to: "beijing", epoch: 1, nonce: "n"}).
			sign(cfg.PeerKey, cfg.UID, "POST", "/v1/login"), http.StatusForbidden},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			resp, text := w.call(t, "beijing", "POST", "/v1/login", map[string]string{HeaderHop: tc.value}, nil)
			if resp.StatusCode != tc.want {
				t.Fatalf("got %d %s, want %d", resp.StatusCode, text, tc.want)
			}
			if tc.want != http.StatusOK {
				wantProblem(t, resp, text, tc.want, ReasonHopRefused)
			} else if got := decode[seen](t, text); got.Host != "example.com" {
				t.Errorf("host is %q, want the one that the first gateway was asked for", got.Host)
			}
		})
	}
}

func TestClosedServiceWaitsForItsOwner(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.OwnerWait = patience })
	header := map[string]string{"X-User-Phone": keyHomedIn(t, "beijing")}
	w.config.Closed, w.config.ClosedReason = true, "owners change"
	w.publish(t)
	w.config.Closed = false
	go func() {
		<-w.places["beijing"].clock.waiting
		w.announce()
	}()
	resp, text := w.call(t, "beijing", "POST", "/v1/accounts", header, strings.NewReader(`{}`))
	if resp.StatusCode != http.StatusOK {
		t.Errorf("got %d %s", resp.StatusCode, text)
	}
}

func TestClosedServiceRefusesAfterOwnerWait(t *testing.T) {
	w := newWorld(t, nil)
	w.config.Closed, w.config.ClosedReason = true, "owners change"
	w.publish(t)
	resp, text := w.call(t, "beijing", "POST", "/v1/accounts", map[string]string{"X-User-Phone": keyHomedIn(t, "beijing")}, nil)
	if p := wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonClosed); !strings.Contains(p.Detail, "owners change") {
		t.Errorf("the detail does not tell why: %s", p.Detail)
	}
}

func TestConfigurationThatComesWithTheBodyCounts(t *testing.T) {
	w := newWorld(t, nil)
	body, feed := io.Pipe()
	go func() {
		_, _ = io.WriteString(feed, `{"phone":`)
		w.config.Closed = true
		w.announce()
		w.places["beijing"].agent.mu.Lock()
		acked := w.places["beijing"].agent.acked
		w.places["beijing"].agent.mu.Unlock()
		<-acked
		_, _ = io.WriteString(feed, `"`+keyHomedIn(t, "beijing")+`"}`)
		_ = feed.Close()
	}()
	resp, text := w.call(t, "beijing", "POST", "/v1/accounts", nil, body)
	wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonClosed)
}

func TestDeadUpstream(t *testing.T) {
	w := newWorld(t, nil)
	w.places["beijing"].app.Close()
	resp, text := w.call(t, "beijing", "POST", "/v1/login", nil, strings.NewReader("secret"))
	got := decode[seen](t, text)
	if resp.StatusCode != http.StatusOK || got.Region != "shanghai" || got.Body != "secret" || resp.Header.Get(HeaderSource) != "shanghai" {
		t.Errorf("login with a dead upstream: %d %s", resp.StatusCode, text)
	}
	resp, text = w.call(t, "beijing", "POST", "/v1/accounts", map[string]string{"X-User-Phone": keyHomedIn(t, "beijing")}, nil)
	wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonUpstreamUnreachable)

	// shanghai's application answers nothing either, and a request hops only once.
	w.places["shanghai"].app.Close()
	resp, text = w.call(t, "beijing", "GET", "/v1/anything", nil, nil)
	wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonUpstreamUnreachable)
}

func TestUpstreamThatBreaksOff(t *testing.T) {
	w := newWorld(t, nil)
	w.places["beijing"].handle(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	resp, text := w.call(t, "beijing", "POST", "/v1/login", nil, strings.NewReader("x"))
	wantProblem(t, resp, text, http.StatusBadGateway, ReasonUpstreamFailed)
	resp, text = w.call(t, "beijing", "POST", "/v1/login", nil, nil)
	wantProblem(t, resp, text, http.StatusBadGateway, ReasonUpstreamFailed)
	resp, text = w.call(t, "beijing", "GET", "/v1/anything", nil, nil)
	if resp.StatusCode != http.StatusOK || decode[seen](t, text).Region != "shanghai" {
		t.Errorf("a safe request may be repeated elsewhere: %d %s", resp.StatusCode, text)
	}
}

func TestDeadOwner(t *testing.T) {
	w := newWorld(t, nil)
	w.places["beijing"].server.Close()
	header := map[string]string{"X-User-Phone": keyHomedIn(t, "beijing")}
	resp, text := w.call(t, "shanghai", "POST", "/v1/accounts", header, strings.NewReader(`{}`))
	if p := wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonOwnerUnreachable); p.Region != "beijing" || p.Announcement == "" {
		t.Errorf("region and announcement must be given: %s", text)
	}
	resp, text = w.call(t, "shanghai", "GET", "/v1/profile", header, nil)
	if resp.StatusCode != http.StatusOK || resp.Header.Get(HeaderStale) != "true" {
		t.Errorf("a read before the view knows: %d %s", resp.StatusCode, text)
	}
}

func TestShed(t *testing.T) {
	w := newWorld(t, nil)
	w.config.Flows = slices.Clone(w.config.Flows)
	w.config.Flows[2].Shed, w.config.Flows[2].Degraded = true, true
	w.publish(t)
	resp, text := w.call(t, "beijing", "GET", "/v1/profile", nil, nil)
	wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonShed)
}

func TestUnmatched(t *testing.T) {
	w := newWorld(t, nil)
	if resp, text := w.call(t, "beijing", "GET", "/favicon.ico", nil, nil); resp.StatusCode != http.StatusOK {
		t.Errorf("a safe request: %d %s", resp.StatusCode, text)
	}
	resp, text := w.call(t, "beijing", "POST", "/v1/forgotten", nil, nil)
	wantProblem(t, resp, text, http.StatusForbidden, ReasonUnmatched)
	resp, text = w.call(t, "beijing", "GET", "/chat", map[string]string{"Connection": "Upgrade", "Upgrade": "websocket"}, nil)
	wantProblem(t, resp, text, http.StatusForbidden, ReasonUnmatched)
	if n := testutil.ToFloat64(w.places["beijing"].counted(t).metrics.requests.WithLabelValues(UnmatchedFlow, OutcomeInvalid)); n != 2 {
		t.Errorf("unmatched refused requests: %v, want 2", n)
	}
}

// TestPinnedFlow holds that the application is told the slot that the stores' fences have for the list.
func TestPinnedFlow(t *testing.T) {
	w := newWorld(t, nil)
	_, text := w.call(t, "beijing", "PUT", "/v1/settings/theme", nil, nil)
	if got := decode[seen](t, text); got.Region != "shanghai" || got.Header.Get(HeaderSlot) != strconv.Itoa(ownership.PinnedSlot([]string{"shanghai", "beijing"})) || got.Header.Get(HeaderOwner) != "shanghai" {
		t.Errorf("got %s", text)
	}
}
