package gateway

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

// BenchmarkLocalHome is a home request with the key in a header, at its owner, over loopback.
func BenchmarkLocalHome(b *testing.B) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", 1024))
	}))
	defer app.Close()
	g, err := New(Options{Agent: "http://127.0.0.1:1", Namespace: "accounts", Name: "user", Gateway: "g", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	cfg := testConfig()
	cfg.Upstream = app.URL
	a := &agentClient{options: &g.options, state: &g.state, metrics: g.metrics}
	if err := a.take(&routing.Answer{Version: "v1", Revision: 1, LeaseRemaining: time.Hour, Config: &cfg}, g.options.Clock.Boot()); err != nil {
		b.Fatal(err)
	}
	phone := keyHomedIn(b, "beijing")
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("POST", "/v1/accounts", nil)
		r.Header.Set("X-User-Phone", phone)
		w := httptest.NewRecorder()
		if g.ServeHTTP(w, r); w.Code != http.StatusOK {
			b.Fatal(w.Code, w.Body)
		}
	}
}

// BenchmarkRoute is the gateway's own part of it: flow, key, slot and decision.
func BenchmarkRoute(b *testing.B) {
	router := mustCompile(b, testConfig())
	r := httptest.NewRequest("POST", "/v1/accounts", nil)
	r.Header.Set("X-User-Phone", keyHomedIn(b, "beijing"))
	ex := &exchange{r: r, snap: &snapshot{router: router}, g: &Gateway{options: Options{KeyBodyBytes: DefaultKeyBodyBytes, MaxHeaderBytes: DefaultMaxHeaderBytes}}}
	b.ReportAllocs()
	for b.Loop() {
		if p := ex.identify(); p != nil {
			b.Fatal(p.detail)
		}
		if d := router.decide(question{flow: ex.flow, slot: ex.slot, leased: true}); d.action != actHome {
			b.Fatal(d)
		}
	}
}

// BenchmarkCompile is what a change of the view costs each gateway.
func BenchmarkCompile(b *testing.B) {
	open, lost, closing := testConfig(), testConfig(), testConfig()
	lost.Regions[1].State, lost.Regions[1].Unshipped = ownership.RegionLost, true
	closing.Closing, closing.Before = true, testConfig().Regions
	closing.Regions[1] = lost.Regions[1]
	reweighted := closing
	reweighted.Before = testConfig().Regions
	reweighted.Before[0].Weight = 7
	for name, cfg := range map[string]routing.Config{"open": open, "lost": lost, "closing": closing, "reweighted": reweighted} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				mustCompile(b, cfg)
			}
		})
	}
}

// BenchmarkBusy is what each poll costs while requests from before a change are under way.
func BenchmarkBusy(b *testing.B) {
	s := &state{settled: make(chan struct{}, 1)}
	s.install(&snapshot{router: mustCompile(b, testConfig())})
	if !s.admit(s.load(), 1) {
		b.Fatal("not admitted")
	}
	s.install(&snapshot{router: mustCompile(b, testConfig())})
	b.ReportAllocs()
	for b.Loop() {
		s.load().busy()
	}
}
