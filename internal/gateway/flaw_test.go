package gateway

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"multiactive.dev/operator/internal/testkit"
)

// TestFlawEndsItsConnectionAlone lets one request meet a panic: its connection ends without an answer, the flaw is logged,
// nothing counts it as under way, and all other connections go on.
func TestFlawEndsItsConnectionAlone(t *testing.T) {
	log := &logBuffer{}
	w := newWorld(t, func(o *Options) { o.Log = slog.New(slog.NewJSONHandler(log, nil)) })
	g := w.places["beijing"].gateway
	other, otherIn := dialFast(t, w)
	ask := func() {
		t.Helper()
		_, _ = io.WriteString(other, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
		if resp, text := answerTo(t, otherIn, "GET"); resp.StatusCode != http.StatusOK {
			t.Fatalf("another connection: %d %s", resp.StatusCode, text)
		}
	}
	ask()
	whole := g.state.load()
	defer func() { g.state.current.Store(whole) }()
	// Without holders nobody can decide a home request. The agent's next answer may mend it.
	testkit.Eventually(t, patience, func() error {
		broken, router := *g.state.load(), *whole.router
		router.holders, broken.router = nil, &router
		g.state.current.Store(&broken)
		conn, in := dialFast(t, w)
		_, _ = io.WriteString(conn, "PUT /v1/profile HTTP/1.1\r\nHost: x\r\nX-User-Phone: "+keyHomedIn(t, "beijing")+"\r\n\r\n")
		if _, err := http.ReadResponse(in, nil); err == nil {
			return errors.New("the request was answered")
		}
		return nil
	})
	ask()
	testkit.Eventually(t, patience, func() error {
		if n := g.InFlight(); n != 0 {
			return errors.New("a request is under way for ever")
		}
		return nil
	})
	if text := log.String(); !strings.Contains(text, "a request met a flaw of the gateway") || !strings.Contains(text, "index out of range") || !strings.Contains(text, "goroutine") {
		t.Errorf("the log says %.500q", text)
	}
}
