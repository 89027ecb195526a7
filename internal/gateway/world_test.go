package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
	"multiactive.dev/operator/internal/testkit/poll"
)

// patience bounds every wait for an event in these tests.
const patience = 10 * time.Second

// jumpClock is the machine's clock, with a Boot that can jump as after a suspension.
type jumpClock struct {
	SystemClock
	offset atomic.Int64
	// ahead is how far the wall clock is.
	ahead atomic.Int64
	// waiting gets a value whenever somebody starts to wait for patience.
	waiting chan struct{}
}

func (c *jumpClock) AfterFunc(d time.Duration, f func()) func() bool {
	if d == patience {
		c.waiting <- struct{}{}
	}
	return c.SystemClock.AfterFunc(d, f)
}

func (c *jumpClock) Boot() time.Duration {
	return c.SystemClock.Boot() + time.Duration(c.offset.Load())
}

func (c *jumpClock) Now() time.Time { return c.SystemClock.Now().Add(time.Duration(c.ahead.Load())) }

func (c *jumpClock) jump(d time.Duration) { c.offset.Add(int64(d)) }

// fakeAgent answers long polls as a region's agent does.
type fakeAgent struct {
	*httptest.Server
	mu      sync.Mutex
	answer  routing.Answer
	config  *routing.Config
	away    bool
	changed chan struct{}
	acked   chan struct{} // closed when a gateway acts on the present version
	settled chan struct{} // closed when it also has no write under way that this does not admit
	busy    string        // as the gateway said last, of the present version
	waiting string        // what the gateway said last that waits of the deferred requests
	hold    time.Duration // for how long a poll is held
}

func newFakeAgent(t *testing.T) *fakeAgent {
	t.Helper()
	a := &fakeAgent{changed: make(chan struct{}), acked: make(chan struct{}), settled: make(chan struct{}), hold: 50 * time.Millisecond}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

// set makes a configuration current without waiting for the gateway.
func (a *fakeAgent) set(cfg routing.Config, revision int64, lease time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.config = &cfg
	a.answer = routing.Answer{Version: fmt.Sprintf("v%d", revision), Revision: revision, LeaseRemaining: lease}
	a.acked, a.settled = make(chan struct{}), make(chan struct{})
	a.wake()
}

func (a *fakeAgent) wake() {
	close(a.changed)
	a.changed = make(chan struct{})
}

// leave makes the agent unreachable, or brings it back.
func (a *fakeAgent) leave(away bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.away = away
	a.acked = make(chan struct{})
	a.wake()
}

// await waits until the gateway acts on the present version.
func (a *fakeAgent) await(t *testing.T) {
	t.Helper()
	a.mu.Lock()
	acked := a.acked
	a.mu.Unlock()
	awaitClosed(t, acked, "the gateway did not acknowledge its configuration")
}

func awaitClosed(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal(what)
	}
}

func (a *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.waiting = r.URL.Query().Get(routing.ParamDeferred)
	if r.URL.Query().Get("version") == a.answer.Version && !a.away {
		a.busy = r.URL.Query().Get("busy")
		closeOnce(a.acked)
		if a.busy == "0" {
			closeOnce(a.settled)
		}
		changed, hold := a.changed, a.hold
		a.mu.Unlock()
		select {
		case <-changed:
		case <-r.Context().Done():
		case <-time.After(hold): // the long poll's own end
		}
		a.mu.Lock()
	}
	defer a.mu.Unlock()
	if a.away || a.config == nil {
		http.Error(w, "away", http.StatusServiceUnavailable)
		return
	}
	answer := a.answer
	if r.URL.Query().Get("version") != answer.Version {
		answer.Config = a.config
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

// said returns how many writes the gateway said are under way that its configuration does not admit, once
// it acts on the present version.
func (a *fakeAgent) said(t *testing.T) string {
	t.Helper()
	a.await(t)
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.busy
}

// seen is what an application got.
type seen struct {
	Region  string
	Method  string
	Host    string
	URI     string
	Header  http.Header
	Body    string
	Trailer http.Header
}

// place is one region: application, agent and gateway.
type place struct {
	name    string
	app     *httptest.Server
	agent   *fakeAgent
	gateway *Gateway
	server  *gatewayServer
	clock   *jumpClock
	mu      sync.Mutex
	handler http.Handler
	last    *seen
}

// world is a service in three regions.
type world struct {
	places map[string]*place
	config routing.Config
	rev    int64
	lease  time.Duration
}

var worldRegions = []string{"beijing", "shanghai", "shenzhen"}

// newWorld starts three regions, all serving; options may change each gateway's.
func newWorld(t *testing.T, change func(*Options)) *world {
	t.Helper()
	w := &world{places: map[string]*place{}, config: testConfig(), rev: 100, lease: time.Hour}
	w.config.Regions = nil
	for _, name := range worldRegions {
		p := newPlace(t, name, change)
		w.places[name] = p
		w.config.Regions = append(w.config.Regions, routing.Region{
			Name: name, Weight: 1, Endpoint: p.server.URL, State: ownership.RegionServing,
		})
	}
	w.publish(t)
	return w
}

func newPlace(t *testing.T, name string, change func(*Options)) *place {
	t.Helper()
	p := &place{name: name, agent: newFakeAgent(t), clock: &jumpClock{waiting: make(chan struct{}, 1)}}
	p.app = httptest.NewUnstartedServer(http.HandlerFunc(p.serveApp))
	p.app.Config.Protocols = bothProtocols()
	p.app.Start()
	t.Cleanup(p.app.Close)
	options := Options{
		Agent: p.agent.URL, Namespace: "accounts", Name: "user", Gateway: "gateway-" + name,
		OwnerWait: 50 * time.Millisecond, Clock: p.clock, Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&options)
	}
	var err error
	if p.gateway, err = New(options); err != nil {
		t.Fatal(err)
	}
	p.server = newGatewayServer(p.gateway)
	t.Cleanup(p.server.Close)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { p.gateway.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return p
}

// gatewayServer serves a gateway as the program does: plain requests by the fast path, unless the tests are run
// without it.
type gatewayServer struct {
	*httptest.Server
	fast *FastListener
	// accepted counts connections.
	accepted atomic.Int32
}

// countedListener counts the connections that come.
type countedListener struct {
	net.Listener
	accepted *atomic.Int32
}

func (l countedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return conn, err
}

func newGatewayServer(g *Gateway) *gatewayServer {
	s := &gatewayServer{Server: httptest.NewUnstartedServer(g)}
	s.Config.Protocols = bothProtocols()
	s.Listener = countedListener{s.Listener, &s.accepted}
	if os.Getenv(envNoFastPath) == "" {
		s.Listener = g.NewFastListener(s.Listener, s.Config)
		s.fast, _ = s.Listener.(*FastListener)
	}
	s.Start()
	return s
}

// envNoFastPath has the tests run against net/http alone.
const envNoFastPath = "MULTIACTIVE_TEST_NO_FAST_PATH"

func (s *gatewayServer) CloseClientConnections() {
	if s.fast != nil {
		s.fast.Cut()
	}
	s.Server.CloseClientConnections()
}

func bothProtocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// serveApp records the request and answers with it, unless a test set another handler.
func (p *place) serveApp(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	h := p.handler
	p.mu.Unlock()
	if h != nil {
		h.ServeHTTP(w, r)
		return
	}
	p.record(w, r)
}

// record answers with what it got.
func (p *place) record(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s := &seen{p.name, r.Method, r.Host, r.URL.RequestURI(), r.Header.Clone(), string(body), r.Trailer.Clone()}
	p.mu.Lock()
	p.last = s
	p.mu.Unlock()
	w.Header().Set("Multiactive-Miss", "true")
	w.Header().Set("X-App", p.name)
	_ = json.NewEncoder(w).Encode(s)
}

func (p *place) handle(h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handler = h
}

// publish gives every region the present configuration as a new revision, and waits for it.
func (w *world) publish(t *testing.T) {
	t.Helper()
	w.announce()
	for _, p := range w.places {
		p.agent.await(t)
	}
}

// announce gives every region the present configuration as a new revision.
func (w *world) announce() {
	w.rev++
	w.config.Epoch = w.rev
	for name, p := range w.places {
		p.agent.set(w.configFor(name), w.rev, w.lease)
	}
}

// configFor is the present configuration as one region has it.
func (w *world) configFor(name string) routing.Config {
	cfg := w.config
	cfg.Region = name
	cfg.Upstream = w.places[name].app.URL
	cfg.Regions = slices.Clone(cfg.Regions)
	return cfg
}

// setState changes a region's state in the view. A lost one has not shipped everything.
func (w *world) setState(name string, s ownership.RegionState) {
	for i := range w.config.Regions {
		if w.config.Regions[i].Name == name {
			w.config.Regions[i].State, w.config.Regions[i].Unshipped = s, s == ownership.RegionLost
		}
	}
}

// close begins a change of owners: the states that the test sets next are to come.
func (w *world) close() {
	w.config.Closing, w.config.Before = true, slices.Clone(w.config.Regions)
}

// open ends it.
func (w *world) open() { w.config.Closing, w.config.Before = false, nil }

// keyHomedIn finds a phone number whose home is the first region, and whose order goes on as given.
func keyHomedIn(t testing.TB, order ...string) string {
	t.Helper()
	var weighted []ownership.WeightedRegion
	for _, r := range worldRegions {
		weighted = append(weighted, ownership.WeightedRegion{Name: r, Weight: 1})
	}
	for i := range 10_000 {
		key := fmt.Sprintf("138%08d", i)
		if slices.Equal(ownership.Rank(ownership.Slot(key), weighted)[:len(order)], order) {
			return key
		}
	}
	t.Fatalf("no key is at home in %v", order)
	return ""
}

// testConfig is the example service's routing as seen from beijing.
func testConfig() routing.Config {
	return routing.Config{
		Namespace: "accounts", Name: "user", UID: "1b4e28ba", Region: "beijing", Epoch: 7,
		Upstream: "http://127.0.0.1:1",
		Regions: []routing.Region{
			{Name: "beijing", DisplayName: "北京", Weight: 1, Endpoint: "http://127.0.0.1:1", State: ownership.RegionServing},
			{Name: "shanghai", Weight: 1, Endpoint: "http://127.0.0.1:2", State: ownership.RegionServing},
			{Name: "shenzhen", Weight: 1, Endpoint: "http://127.0.0.1:3", State: ownership.RegionServing},
		},
		Keys: []routing.Key{{
			Name: "phone", Normalize: []string{"Trim"},
			From: []routing.Source{
				{Type: routing.SourceHeader, Name: "X-User-Phone"},
				{Type: routing.SourceJSONBody, Name: "/phone"},
				{Type: routing.SourceQuery, Name: "phone"},
			},
		}},
		Flows: []routing.Flow{
			{Name: "login", Core: true, Match: []routing.Match{{Method: "POST", Path: "/v1/login"}}},
			{Name: "register", Key: "phone", HomeRegion: true, OnHomeLoss: "Reject", Match: []routing.Match{{Method: "POST", Path: "/v1/accounts"}}},
			{Name: "profile", Key: "phone", HomeRegion: true, OnHomeLoss: "ReadOnly", Match: []routing.Match{{Path: "/v1/profile"}}},
			{Name: "transfer", Core: true, Key: "phone", HomeRegion: true, OnHomeLoss: "Defer", Match: []routing.Match{{Method: "POST", Path: "/v1/transfers"}},
				Defer: &routing.Defer{AdmitPath: "/v1/transfers/admit", ExpireAfter: 24 * time.Hour, IdempotencyHeader: "Idempotency-Key"}},
			{Name: "settings", HomeRegion: true, Pinned: []string{"shanghai", "beijing"}, Match: []routing.Match{{Path: "/v1/settings/"}}},
			{Name: "pay", Core: true, Key: "phone", HomeRegion: true, OnHomeLoss: "Takeover", Match: []routing.Match{{Method: "POST", Path: "/v1/payments"}}},
		},
		Announcements: []routing.Announcement{{Flows: []string{"*"}, Text: []routing.LocalizedText{
			{Language: "en", Value: "Some features are paused."}, {Language: "zh-CN", Value: "部分功能暂不可用。"},
		}}},
		PeerKey: []byte("0123456789abcdef0123456789abcdef"),
	}
}

// call makes a request at a region's gateway and returns the answer with its whole body.
func (w *world) call(t *testing.T, region, method, path string, header map[string]string, body io.Reader) (*http.Response, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, w.places[region].server.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(header)) {
		req.Header.Set(name, header[name])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s %s at %s: %v", method, path, region, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s at %s: reading the answer: %v", method, path, region, err)
	}
	return resp, string(text)
}

// counted is the region's gateway once it has counted every request that it has answered: it counts after it has
// written the answer.
func (p *place) counted(t *testing.T) *Gateway {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := poll.Until(ctx, time.Millisecond, func(context.Context) error {
		if n := p.gateway.InFlight(); n != 0 {
			return fmt.Errorf("%d requests are in flight", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return p.gateway
}

// decode reads a JSON document of an answer.
func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("reading %q: %v", text, err)
	}
	return v
}

// wantProblem checks a refusal.
func wantProblem(t *testing.T, resp *http.Response, text string, status int, reason Reason) Problem {
	t.Helper()
	p := decode[Problem](t, text)
	if resp.StatusCode != status || p.Status != status || p.Reason != reason || p.Type != TypePrefix+string(reason) {
		t.Errorf("got %d %s, want %d with reason %s", resp.StatusCode, text, status, reason)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type is %q, want application/problem+json", got)
	}
	if p.Title == "" || p.Detail == "" || p.Instance == "" {
		t.Errorf("title, detail and instance must be given: %s", text)
	}
	return p
}
