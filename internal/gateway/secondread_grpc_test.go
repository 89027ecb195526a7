package gateway

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"multiactive.dev/operator/internal/routing"
)

// calls lets a region's application answer calls of gRPC: it knows the user, or has a miss. It counts what it is asked.
func (p *place) calls(users bool, asked *atomic.Int32) {
	p.handle(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/grpc")
		if !users {
			w.Header().Set(HeaderMiss, "true")
			_ = http.NewResponseController(w).Flush()
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", "5")
			w.Header().Set(http.TrailerPrefix+"Multiactive-Forged", "yes")
			return
		}
		_, _ = io.WriteString(w, p.name+" got "+string(body))
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	})
}

// callGRPC makes a call of a user at a region's gateway, and returns the answer with its body.
func (w *world) callGRPC(t *testing.T, at, key string, body io.Reader) (*http.Response, string) {
	t.Helper()
	resp := w.beginGRPC(t, at, key, body)
	return resp, restOf(t, resp)
}

// beginGRPC returns when the answer begins.
func (w *world) beginGRPC(t *testing.T, at, key string, body io.Reader) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.places[at].server.URL+"/v1/login", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"X-User-Phone": {key}, "Content-Type": {"application/grpc+proto"}, "Te": {"trailers"}}
	resp, err := h2cClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func restOf(t *testing.T, resp *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// grpcStatus is in the trailers, or in the header when there is nothing else.
func grpcStatus(resp *http.Response) string {
	if s := resp.Trailer.Get("Grpc-Status"); s != "" {
		return s
	}
	return resp.Header.Get("Grpc-Status")
}

// TestSecondReadOfGRPC reads calls again whose request is over, as those of one message are.
func TestSecondReadOfGRPC(t *testing.T) {
	key := keyHomedIn(t, "beijing", "shanghai", "shenzhen")
	for name, tc := range map[string]struct {
		answerLocally, home bool
		body                string
		trouble             func(*world)
		status, answer      string
		source, stale       string
		wantHome            int32
	}{
		"known at home": {home: true, body: "call", status: "0", answer: "beijing got call", source: "beijing", wantHome: 1},
		"known nowhere": {body: "call", status: "5", source: "beijing", wantHome: 1},
		"too long to be read again": {
			home: true, body: strings.Repeat("x", maxRecordedBytes+1), status: "5", stale: "true",
		},
		"the home cannot be asked": {body: "call", trouble: func(w *world) { w.places["beijing"].server.Close() }, status: "14"},
		"the home cannot be asked, and the local answer is good enough": {
			answerLocally: true, body: "call", trouble: func(w *world) { w.places["beijing"].server.Close() }, status: "5", stale: "true",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := secondReadWorld(t, routing.SecondRead{Timeout: slow, AnswerLocally: tc.answerLocally})
			var local, home atomic.Int32
			w.places["shanghai"].calls(false, &local)
			w.places["beijing"].calls(tc.home, &home)
			if tc.trouble != nil {
				tc.trouble(w)
			}
			resp, text := w.callGRPC(t, "shanghai", key, strings.NewReader(tc.body))
			if got := grpcStatus(resp); got != tc.status || text != tc.answer || resp.Header.Get(HeaderSource) != tc.source || resp.Header.Get(HeaderStale) != tc.stale {
				t.Errorf("got status %s, %q from %q, stale %q; trailers %v", got, text, resp.Header.Get(HeaderSource), resp.Header.Get(HeaderStale), resp.Trailer)
			}
			if local.Load() != 1 || home.Load() != tc.wantHome {
				t.Errorf("%d calls here, and %d at home, want 1 and %d", local.Load(), home.Load(), tc.wantHome)
			}
			if resp.Trailer.Get("Multiactive-Forged") != "" || resp.Header.Get(HeaderMiss) != "" {
				t.Errorf("what is the gateway's reached the user: %v, %v", resp.Header, resp.Trailer)
			}
		})
	}
}

// TestSecondReadLeavesStreamsAlone: who has not said all yet cannot be asked again, and goes on with the local
// application.
func TestSecondReadLeavesStreamsAlone(t *testing.T) {
	w := secondReadWorld(t, routing.SecondRead{Timeout: slow})
	var home atomic.Int32
	w.places["beijing"].calls(true, &home)
	w.places["shanghai"].handle(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/grpc")
		rw.Header().Set(HeaderMiss, "true")
		_ = http.NewResponseController(rw).Flush()
		line, _ := bufio.NewReader(r.Body).ReadString('\n')
		_, _ = io.WriteString(rw, "got "+line)
		rw.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	})
	body, feed := io.Pipe()
	resp := w.beginGRPC(t, "shanghai", keyHomedIn(t, "beijing"), body)
	go func() {
		_, _ = io.WriteString(feed, "one\n")
		_ = feed.Close()
	}()
	text := restOf(t, resp)
	if text != "got one\n" || grpcStatus(resp) != "0" || resp.Header.Get(HeaderStale) != "true" || home.Load() != 0 {
		t.Errorf("got %q, status %s, %v; %d calls at home", text, grpcStatus(resp), resp.Header, home.Load())
	}
}
