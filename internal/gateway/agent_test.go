package gateway

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"multiactive.dev/operator/internal/routing"
)

// newAgentClient returns a client without an agent, to give answers to.
func newAgentClient(t *testing.T) (*agentClient, *Gateway) {
	t.Helper()
	g, err := New(Options{
		Agent: "http://127.0.0.1:1", Namespace: "accounts", Name: "user", Gateway: "g", Clock: &jumpClock{}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return &agentClient{options: &g.options, state: &g.state, metrics: g.metrics}, g
}

func TestTake(t *testing.T) {
	cfg := testConfig()
	broken, foreign := testConfig(), testConfig()
	broken.Upstream = "nowhere"
	foreign.Name = "other"
	cases := map[string]struct {
		answer routing.Answer
		err    error
		fails  bool
		// version and lease that hold after it; before, v1 until 10 s.
		version string
		lease   time.Duration
	}{
		"renewal":         {routing.Answer{Version: "v1", Revision: 5, LeaseRemaining: 6 * time.Second}, nil, false, "v1", 106 * time.Second},
		"held":            {routing.Answer{Version: "v1", Revision: 5, LeaseRemaining: 6 * time.Second, Held: 1010 * time.Millisecond}, nil, false, "v1", 107 * time.Second},
		"shorter lease":   {routing.Answer{Version: "v1", Revision: 5}, nil, false, "v1", 100 * time.Second},
		"negative lease":  {routing.Answer{Version: "v1", Revision: 6, LeaseRemaining: -time.Hour}, nil, false, "v1", 100 * time.Second},
		"newer":           {routing.Answer{Version: "v2", Revision: 6, LeaseRemaining: time.Second, Config: &cfg}, nil, false, "v2", 101 * time.Second},
		"same revision":   {routing.Answer{Version: "v2", Revision: 5, LeaseRemaining: time.Second, Config: &cfg}, nil, false, "v2", 101 * time.Second},
		"older":           {routing.Answer{Version: "v0", Revision: 4, LeaseRemaining: time.Second, Config: &cfg}, errOlder, true, "v1", 10 * time.Second},
		"older renewal":   {routing.Answer{Version: "v1", Revision: 4, LeaseRemaining: time.Second}, errOlder, true, "v1", 10 * time.Second},
		"unasked renewal": {routing.Answer{Version: "v2", Revision: 6, LeaseRemaining: time.Second}, errUnasked, true, "v1", 10 * time.Second},
		"other service":   {routing.Answer{Version: "v2", Revision: 6, LeaseRemaining: time.Second, Config: &foreign}, errForeign, true, "v1", 10 * time.Second},
		"unusable":        {routing.Answer{Version: "v2", Revision: 6, LeaseRemaining: time.Second, Config: &broken}, nil, true, "v1", 10 * time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a, _ := newAgentClient(t)
			first := testConfig()
			if err := a.take(&routing.Answer{Version: "v1", Revision: 5, LeaseRemaining: 10 * time.Second, Config: &first}, 0); err != nil {
				t.Fatal(err)
			}
			before := a.state.load()
			err := a.take(&tc.answer, 100*time.Second)
			if (err != nil) != tc.fails || tc.err != nil && !errors.Is(err, tc.err) {
				t.Errorf("got error %v, want %v", err, tc.err)
			}
			got := a.state.load()
			if got.version != tc.version || got.leaseUntil != tc.lease {
				t.Errorf("got version %s with lease until %v, want %s until %v", got.version, got.leaseUntil, tc.version, tc.lease)
			}
			select {
			case <-before.replaced:
				if got.router == before.router {
					t.Error("waiters were woken without a new configuration")
				}
			default:
				if got.router != before.router {
					t.Error("waiters were not told of the new configuration")
				}
			}
		})
	}
}

// After a question that failed the next one does not wait: what is left of the lease may not last so long.
func TestQuestionAfterAFailureDoesNotWait(t *testing.T) {
	a, _ := newAgentClient(t)
	wait := func() string {
		t.Helper()
		u, err := url.Parse(a.url(0))
		if err != nil {
			t.Fatal(err)
		}
		return u.Query().Get(routing.ParamWait)
	}
	if got := wait(); got != routing.MaxWait.String() {
		t.Errorf("the first question waits %s, want %s", got, routing.MaxWait)
	}
	a.report(t.Context(), errors.New("refused"))
	if got := wait(); got != "0s" {
		t.Errorf("the question after a failure waits %s", got)
	}
	a.report(t.Context(), nil)
	if got := wait(); got != routing.MaxWait.String() {
		t.Errorf("the question after an answer waits %s, want %s", got, routing.MaxWait)
	}
}

// The agent hears of a routing that cannot be used with the next poll, until another was taken.
func TestRefusalIsTold(t *testing.T) {
	a, _ := newAgentClient(t)
	told := func() [2]string {
		t.Helper()
		u, err := url.Parse(a.url(0))
		if err != nil {
			t.Fatal(err)
		}
		return [2]string{u.Query().Get("refused"), u.Query().Get("reason")}
	}
	broken, cfg := testConfig(), testConfig()
	broken.Upstream = "nowhere\n" + strings.Repeat("x", 1000)
	if err := a.take(&routing.Answer{Version: "v1", Revision: 1, Config: &broken}, 0); err == nil {
		t.Fatal("a broken routing was taken")
	}
	if got := told(); got[0] != "v1" || !strings.HasPrefix(got[1], `upstream: "nowhere`) || len(got[1]) > routing.MaxRefusal {
		t.Errorf("refused %q for %q, want v1 for its upstream, cut", got[0], got[1])
	}
	if err := a.take(&routing.Answer{Version: "v0", Revision: 0}, 0); err == nil || told()[0] != "v1" {
		t.Errorf("refused %q after an answer that was not taken (%v)", told()[0], err)
	}
	if err := a.take(&routing.Answer{Version: "v2", Revision: 2, Config: &cfg}, 0); err != nil {
		t.Fatal(err)
	}
	if got := told(); got != [2]string{} {
		t.Errorf("still refused: %q", got)
	}
}

// An agent that has just started takes no lease back; one whose gate is closed, or whose store is
// another one, does.
func TestShorterLease(t *testing.T) {
	cfg := testConfig()
	cases := map[string]struct {
		answer routing.Answer
		until  time.Duration
	}{
		"none yet":                        {routing.Answer{Version: "v1", Revision: 5}, 10 * time.Second},
		"none yet, with other routing":    {routing.Answer{Version: "v2", Revision: 6, Config: &cfg}, 10 * time.Second},
		"shorter":                         {routing.Answer{Version: "v1", Revision: 5, LeaseRemaining: time.Second}, 10 * time.Second},
		"held for longer than it lasts":   {routing.Answer{Version: "v1", Revision: 5, Held: 3 * time.Second}, 10 * time.Second},
		"negative":                        {routing.Answer{Version: "v1", Revision: 5, LeaseRemaining: -time.Hour, Held: -time.Hour}, 10 * time.Second},
		"longer":                          {routing.Answer{Version: "v1", Revision: 5, LeaseRemaining: 6 * time.Second}, 11 * time.Second},
		"ended":                           {routing.Answer{Version: "v1", Revision: 5, LeaseEnded: true}, 5 * time.Second},
		"ended, with other routing":       {routing.Answer{Version: "v2", Revision: 6, LeaseEnded: true, Config: &cfg}, 5 * time.Second},
		"ended and remaining, which lies": {routing.Answer{Version: "v1", Revision: 5, LeaseRemaining: time.Hour, LeaseEnded: true}, 5 * time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a, _ := newAgentClient(t)
			first := testConfig()
			if err := a.take(&routing.Answer{Version: "v1", Revision: 5, LeaseRemaining: 10 * time.Second, Config: &first}, 0); err != nil {
				t.Fatal(err)
			}
			if err := a.take(&tc.answer, 5*time.Second); err != nil {
				t.Fatal(err)
			}
			if got := a.state.load().leaseUntil; got != tc.until {
				t.Errorf("the lease lasts until %v, want %v", got, tc.until)
			}
		})
	}
}

func TestLeaseCountsFromBeforeTheQuestion(t *testing.T) {
	a, g := newAgentClient(t)
	clock := g.options.Clock.(*jumpClock)
	cfg := testConfig()
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		clock.jump(time.Hour) // the answer was long under way
		_ = json.NewEncoder(w).Encode(routing.Answer{Version: "v1", Revision: 1, LeaseRemaining: time.Minute, Config: &cfg})
	}))
	defer agent.Close()
	g.options.Agent, a.client = agent.URL, agent.Client()
	if err := a.poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := g.leaseRemaining(); d != 0 {
		t.Errorf("the lease lasts another %v, want none", d)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"error":   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "{}", http.StatusInternalServerError) },
		"text":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") },
		"cut off": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"version":"v1","leaseRem`) },
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, g := newAgentClient(t)
			agent := httptest.NewServer(h)
			defer agent.Close()
			g.options.Agent = agent.URL
			a.client = &http.Client{CheckRedirect: noRedirect}
			defer a.client.CloseIdleConnections()
			if err := a.poll(t.Context()); err == nil || g.state.load() != nil {
				t.Errorf("accepted; error %v", err)
			}
		})
	}
}

func TestAccessLogHasNoSecrets(t *testing.T) {
	a, g := newAgentClient(t)
	var out bytes.Buffer
	g.options.Log, g.options.AccessLog = slog.New(slog.NewJSONHandler(&out, nil)), true
	cfg := testConfig()
	if err := a.take(&routing.Answer{Version: "v1", Revision: 1, LeaseRemaining: time.Hour, Config: &cfg}, g.options.Clock.Boot()); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/v1/accounts?phone="+keyHomedIn(t, "beijing")+"&token=t0p", nil)
	r.Header.Set("Authorization", "Bearer s3cret")
	g.ServeHTTP(httptest.NewRecorder(), r)
	log := out.String()
	for _, want := range []string{`"msg":"request"`, `"path":"/v1/accounts"`, `"flow":"register"`, `"outcome":"failed"`, `"slot":`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s: %s", want, log)
		}
	}
	for _, secret := range []string{keyHomedIn(t, "beijing"), "t0p", "s3cret", string(cfg.PeerKey), base64.StdEncoding.EncodeToString(cfg.PeerKey)} {
		if strings.Contains(log, secret) {
			t.Errorf("the log has %q: %s", secret, log)
		}
	}
}

func TestNotReadyBeforeTheFirstConfiguration(t *testing.T) {
	a, g := newAgentClient(t)
	if ready, why := g.Ready(); ready || why == "" {
		t.Error("ready without a configuration")
	}
	if err := a.take(&routing.Answer{Version: "v1", Revision: 1, LeaseRemaining: time.Second}, 0); !errors.Is(err, errUnasked) {
		t.Errorf("a renewal of nothing: %v", err)
	}
	if ready, _ := g.Ready(); ready {
		t.Error("ready without a configuration")
	}
	cfg := testConfig()
	if err := a.take(&routing.Answer{Version: "v1", Revision: 1, Config: &cfg}, 0); err != nil {
		t.Fatal(err)
	}
	if ready, why := g.Ready(); !ready {
		t.Error("not ready: ", why)
	}
	g.Drain()
	if ready, _ := g.Ready(); ready {
		t.Error("ready while shutting down")
	}
}

func TestMetricsOfGoneFlowsAreDeleted(t *testing.T) {
	a, g := newAgentClient(t)
	cfg := testConfig()
	if err := a.take(&routing.Answer{Version: "v1", Revision: 1, Config: &cfg}, 0); err != nil {
		t.Fatal(err)
	}
	g.metrics.requests.WithLabelValues("login", OutcomeLocal).Inc()
	g.metrics.requests.WithLabelValues(UnmatchedFlow, OutcomeLocal).Inc()
	fewer := testConfig()
	fewer.Flows = fewer.Flows[1:]
	if err := a.take(&routing.Answer{Version: "v2", Revision: 2, Config: &fewer}, 0); err != nil {
		t.Fatal(err)
	}
	if n := testutil.CollectAndCount(g.metrics.requests); n != 1 {
		t.Errorf("%d series, want that of unmatched requests alone", n)
	}
	if n := testutil.CollectAndCount(g.metrics.version); n != 1 {
		t.Errorf("%d versions, want one", n)
	}
	if problems, err := testutil.GatherAndLint(g.metrics.registry); err != nil || len(problems) > 0 {
		t.Errorf("metric names: %v %v", problems, err)
	}
}

// TestPollTellsWhosePeersAreTaken, and says nothing while there are none.
func TestPollTellsWhosePeersAreTaken(t *testing.T) {
	a, _ := newAgentClient(t)
	for want, taken := range map[string][]string{"": nil, "shanghai": {"shanghai"}, "shanghai,shenzhen": {"shanghai", "shenzhen"}} {
		a.peers = func() []string { return taken }
		u, err := url.Parse(a.url(0))
		if err != nil {
			t.Fatal(err)
		}
		if q := u.Query(); q.Get(routing.ParamPeers) != want || q.Has(routing.ParamPeers) != (want != "") {
			t.Errorf("asks %s, want peers %q", u, want)
		}
	}
}
