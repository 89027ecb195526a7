package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/testkit"
)

// TestWithoutFastPath runs all of this package's tests again against net/http alone: both ways to serve a
// request promise the same.
func TestWithoutFastPath(t *testing.T) {
	if os.Getenv(envNoFastPath) != "" {
		return // this is the other run
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.count=1", "-test.skip=^(TestWithoutFastPath|TestDependencies|TestFast.*)$")
	cmd.Env = append(os.Environ(), envNoFastPath+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// dialFast connects to the gateway in beijing.
func dialFast(t *testing.T, w *world) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", w.places["beijing"].server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn, bufio.NewReader(conn)
}

// answerTo reads an answer and all of its body.
func answerTo(t *testing.T, in *bufio.Reader, method string) (*http.Response, string) {
	t.Helper()
	resp, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("reading an answer: %v", err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("reading an answer's body: %v; so far %q", err, text)
	}
	return resp, string(text)
}

// wantCounts checks what the fast path in beijing has done; it has left no connection.
func wantCounts(t *testing.T, w *world, served, lent int64) {
	t.Helper()
	n := &w.places["beijing"].gateway.fast
	if a, b, c := n.served.Load(), n.lent.Load(), n.left.Load(); a != served || b != lent || c != 0 {
		t.Errorf("the fast path served %d, lent %d and left %d, want %d, %d and 0", a, b, c, served, lent)
	}
}

// TestFastConnectionComesBack: what is net/http's to serve does not take the connection away from the fast
// path, wherever the bytes of the requests before and after it are.
func TestFastConnectionComesBack(t *testing.T) {
	home := func(region string) string {
		return "POST /v1/accounts HTTP/1.1\r\nHost: x\r\nX-User-Phone: " + keyHomedIn(t, region) + "\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nbody"
	}
	large := fmt.Sprintf("POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", 2*maxFastBytes, strings.Repeat("z", 2*maxFastBytes))
	requests := []string{home("beijing"), home("shanghai"), home("beijing"), large, "GET /.multiactive/healthz HTTP/1.1\r\nHost: x\r\n\r\n", home("beijing")}
	for name, pieces := range map[string][]string{
		"one after the other": nil,
		"pipelined":           {strings.Join(requests, "")},
		"in pieces":           cutUp(strings.Join(requests, ""), 70_000),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			conn, in := dialFast(t, w)
			check := func(i int) {
				t.Helper()
				resp, text := answerTo(t, in, "POST")
				if resp.StatusCode != http.StatusOK {
					t.Fatalf("request %d: %d %s", i, resp.StatusCode, text)
				}
				want := map[int]string{0: "beijing", 1: "shanghai", 2: "beijing", 3: "beijing", 5: "beijing"}[i]
				if want != "" && decode[seen](t, text).Region != want {
					t.Errorf("request %d was answered in %s, want %s", i, decode[seen](t, text).Region, want)
				}
			}
			if pieces == nil {
				for i, r := range requests {
					_, _ = io.WriteString(conn, r)
					check(i)
				}
			} else {
				go func() {
					for _, p := range pieces {
						_, _ = io.WriteString(conn, p)
					}
				}()
				for i := range requests {
					check(i)
				}
			}
			wantCounts(t, w, 3, 3)
		})
	}
}

func cutUp(text string, size int) (pieces []string) {
	for len(text) > size {
		pieces, text = append(pieces, text[:size]), text[size:]
		size = max(size/2, 1000)
	}
	return append(pieces, text)
}

func TestFastExpectationComesBack(t *testing.T) {
	w := newWorld(t, nil)
	conn, in := dialFast(t, w)
	for range 2 {
		_, _ = io.WriteString(conn, "POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
		resp, text := answerTo(t, in, "POST")
		if resp.StatusCode != http.StatusContinue {
			t.Fatalf("got %d %s", resp.StatusCode, text)
		}
		_, _ = io.WriteString(conn, "body")
		resp, text = answerTo(t, in, "POST") // the application says it too, and is not heard
		if resp.StatusCode != http.StatusOK || decode[seen](t, text).Body != "body" {
			t.Fatalf("got %d %v %s", resp.StatusCode, resp.Header, text)
		}
	}
	_, _ = io.WriteString(conn, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
	answerTo(t, in, "GET")
	wantCounts(t, w, 1, 2)
}

// TestFastAnswersAreThoseOfNetHTTP sends the same bytes to both, and compares what the application gets and
// what the client gets.
func TestFastAnswersAreThoseOfNetHTTP(t *testing.T) {
	w := newWorld(t, nil)
	p := w.places["beijing"]
	other := httptest.NewServer(p.gateway)
	defer other.Close()
	phone := keyHomedIn(t, "beijing")
	p.handle(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/untyped" {
			rw.Header()["Content-Type"] = nil
			_, _ = io.WriteString(rw, "{}")
			return
		}
		p.record(rw, r)
	})
	for _, request := range []string{
		"GET /untyped HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /a?b=%20c HTTP/1.1\r\nHost: x\r\nCookie: a=1\r\nCookie: b=2\r\naccept-language: zh\r\n\r\n",
		"GET /a HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\nX-Forwarded-Proto: https\r\nForwarded: for=1\r\n\r\n",
		"GET /a HTTP/1.1\r\nHost: x\r\nX-Forwarded-Host: y\r\nKeep-Alive: 300\r\nConnection: keep-alive\r\n\r\n",
		"GET /a HTTP/1.1\r\nHost: x\r\nMultiactive-Key: 1\r\nmultiactive_slot: 2\r\n\r\n",
		"GET /a HTTP/1.1\r\nHost: x\r\nConnection: X-Secret\r\nX-Secret: 1\r\n\r\n",
		"GET /a HTTP/1.1\r\nHost: x\r\nPragma: no-cache\r\n\r\n",
		"GET /a%2fb HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /a!b HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /a?b;c HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /a/../b HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET //a HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET http://y/a HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /a HTTP/1.0\r\nHost: x\r\n\r\n",
		"GET /a HTTP/1.1\nHost: x\n\n",
		"GET /a HTTP/1.1\r\nHost: x\r\nX: 1\r\n 2\r\n\r\n",
		"GET /a HTTP/1.1\r\n\r\n",
		"GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
		"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n",
		"OPTIONS /a HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /forgotten HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
		"POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
		"POST /v1/login HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /v1/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
		"POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: -4\r\n\r\nbody",
		"POST /v1/accounts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 23\r\n\r\n" + `{"phone":"` + phone + `"}`,
		"POST /v1/accounts HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n{\"a\": 1}",
		"POST /v1/accounts?phone=" + phone + " HTTP/1.1\r\nHost: x\r\nX-User-Phone: 1\r\nContent-Length: 0\r\n\r\n",
		"PUT /v1/profile HTTP/1.1\r\nHost: x\r\nX-User-Phone: " + phone + "\r\nContent-Length: 4\r\n\r\nbody",
		"DELETE /v1/profile HTTP/1.1\r\nHost: x\r\nX-User-Phone: " + phone + "\r\nUser-Agent: t\r\n\r\n",
		"BREW /a HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		fast, plain := exchangeRaw(t, p.server.Listener.Addr().String(), request), exchangeRaw(t, other.Listener.Addr().String(), request)
		if diff := cmp.Diff(plain, fast); diff != "" {
			t.Errorf("%q: net/http's (-) and the fast path's (+):\n%s", request, diff)
		}
	}
	if served, left := p.gateway.fast.served.Load(), p.gateway.fast.left.Load(); served < 10 || left < 10 {
		t.Errorf("the fast path served %d and left %d: not both are compared", served, left)
	}
}

// exchangeRaw sends a request on a connection of its own and returns the answer without what differs always.
func exchangeRaw(t *testing.T, address, request string) map[string]any {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, request)
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	resp.Header.Del("Date")
	out := map[string]any{"status": resp.StatusCode, "header": resp.Header, "close": resp.Close}
	switch {
	case resp.StatusCode == http.StatusOK && len(text) > 0:
		out["seen"] = decode[seen](t, string(text))
		resp.Header.Del("Content-Length")
	case resp.Header.Get("Content-Type") == "application/problem+json":
		problem := decode[Problem](t, string(text))
		problem.Instance = ""
		out["problem"] = problem
		resp.Header.Del("Content-Length")
	default:
		out["text"] = string(text)
	}
	return out
}

// rawApp answers connections as a test says.
func rawApp(t *testing.T, serve func(n int, conn net.Conn, in *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				serve(n, conn, bufio.NewReader(conn))
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// withApp gives the gateway in beijing another application.
func (w *world) withApp(t *testing.T, url string) {
	t.Helper()
	cfg := w.configFor("beijing")
	cfg.Upstream = url
	w.places["beijing"].agent.set(cfg, w.rev+1, w.lease)
	w.places["beijing"].agent.await(t)
}

// nextRequest reads a request and its body.
func nextRequest(in *bufio.Reader) error {
	r, err := http.ReadRequest(in)
	if err == nil {
		_, err = io.Copy(io.Discard, r.Body)
	}
	return err
}

func TestFastAnswers(t *testing.T) {
	cases := map[string]struct {
		method, answer string
		status         int
		body           string
		header         map[string]string
		// ends: the application ends the connection after it.
		ends bool
	}{
		"plain":               {"GET", "HTTP/1.1 200 Fine\r\nContent-Length: 4\r\nX-A: 1\r\nKeep-Alive: 5\r\n\r\nbody", 200, "body", map[string]string{"X-A": "1", "Keep-Alive": "", "Content-Length": "4"}, false},
		"empty":               {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", map[string]string{"Content-Length": "0"}, false},
		"last":                {"GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody", 200, "body", map[string]string{"Connection": ""}, true},
		"until the end":       {"GET", "HTTP/1.1 200 OK\r\n\r\nbody", 200, "body", nil, true},
		"chunked":             {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n", 200, "body", nil, false},
		"old version":         {"GET", "HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody", 200, "body", nil, true},
		"HEAD":                {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", 200, "", map[string]string{"Content-Length": "4"}, false},
		"HEAD, chunked":       {"HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, "", nil, false},
		"HEAD without length": {"HEAD", "HTTP/1.1 200 OK\r\n\r\n", 200, "", nil, false},
		"no content":          {"POST", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", nil, false},
		"not modified":        {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\nEtag: a\r\n\r\n", 304, "", map[string]string{"Etag": "a"}, false},
		"early hints":         {"GET", "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", 200, "body", nil, false},
		"named header":        {"GET", "HTTP/1.1 200 OK\r\nConnection: X-Secret\r\nX-Secret: 1\r\nContent-Length: 4\r\n\r\nbody", 200, "body", map[string]string{"X-Secret": ""}, false},
		"pragma":              {"GET", "HTTP/1.1 200 OK\r\nPragma: no-cache\r\nContent-Length: 4\r\n\r\nbody", 200, "body", map[string]string{"Pragma": "no-cache"}, false},
		"the gateway's own":   {"GET", "HTTP/1.1 200 OK\r\nMultiactive-Miss: true\r\nContent-Length: 4\r\n\r\nbody", 200, "body", map[string]string{HeaderMiss: ""}, false},
		"large":               {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + strings.Repeat("x", 300_000), 200, strings.Repeat("x", 300_000), nil, false},
		"large and chunked":   {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n493e0\r\n" + strings.Repeat("x", 300_000) + "\r\n0\r\n\r\n", 200, strings.Repeat("x", 300_000), nil, false},
		"long header":         {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-A: " + strings.Repeat("a", 40_000) + "\r\n\r\nbody", 200, "body", map[string]string{"X-A": strings.Repeat("a", 40_000)}, false},
		"both lengths":        {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", 200, "body", nil, false},
		"two lengths":         {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 4\r\n\r\nbody", 502, "", nil, true},
		"no HTTP":             {"POST", "SSH-2.0-x\r\n\r\n", 502, "", nil, true},
		"nothing":             {"POST", "", 502, "", nil, true},
		"half a header":       {"POST", "HTTP/1.1 200 OK\r\nConte", 502, "", nil, true},
		"unasked protocol":    {"POST", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", 502, "", nil, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			conns := make(chan int, 10)
			w.withApp(t, rawApp(t, func(n int, conn net.Conn, in *bufio.Reader) {
				for {
					if err := nextRequest(in); err != nil {
						return
					}
					conns <- n
					if _, _ = io.WriteString(conn, tc.answer); tc.ends {
						return
					}
				}
			}))
			conn, in := dialFast(t, w)
			const times = 2
			for range times {
				_, _ = io.WriteString(conn, tc.method+" /v1/profile HTTP/1.1\r\nHost: x\r\nX-User-Phone: "+keyHomedIn(t, "beijing")+"\r\n\r\n")
				resp, text := answerTo(t, in, tc.method)
				if resp.StatusCode == http.StatusEarlyHints {
					if resp.Header.Get("Link") != "a" {
						t.Errorf("early hints: %v", resp.Header)
					}
					resp, text = answerTo(t, in, tc.method)
				}
				if resp.StatusCode != tc.status || tc.status == http.StatusOK && text != tc.body {
					t.Fatalf("got %d, %d bytes %.200q", resp.StatusCode, len(text), text)
				}
				for name, want := range tc.header {
					if got := resp.Header.Get(name); got != want {
						t.Errorf("%s is %.100q, want %.100q", name, got, want)
					}
				}
				if resp.Header.Get("Date") == "" {
					t.Error("the answer has no date")
				}
			}
			first, second := <-conns, <-conns
			if same := first == second; same == tc.ends {
				t.Errorf("both requests went over one connection: %v", same)
			}
			wantCounts(t, w, times, 0)
		})
	}
}

// TestFastAnswerThatBreaksOff must not look whole.
func TestFastAnswerThatBreaksOff(t *testing.T) {
	for name, answer := range map[string]string{
		"of a known length": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbody",
		"chunked":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.withApp(t, rawApp(t, func(_ int, conn net.Conn, in *bufio.Reader) {
				_ = nextRequest(in)
				_, _ = io.WriteString(conn, answer)
			}))
			conn, in := dialFast(t, w)
			_, _ = io.WriteString(conn, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			if text, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("got %q, %v", text, err)
			}
		})
	}
}

// TestFastConnectionsOfTheApplication that are no good are found out before a request is sent over them.
func TestFastConnectionsOfTheApplication(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for name, after := range map[string]string{
		"ended": "",
		// Whoever got this would have another user's answer.
		"with another answer":     "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
		"with a part of another":  "HTTP/1.1",
		"with an empty line more": "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			left := make(chan struct{}, 10)
			w.withApp(t, rawApp(t, func(_ int, conn net.Conn, in *bufio.Reader) {
				if err := nextRequest(in); err != nil {
					return
				}
				_, _ = io.WriteString(conn, answer)
				<-left
				_, _ = io.WriteString(conn, after)
				if after == "" {
					return
				}
				_, _ = io.Copy(io.Discard, in) // until the gateway ends it
			}))
			conn, in := dialFast(t, w)
			for range 5 {
				_, _ = io.WriteString(conn, "POST /v1/accounts HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nX-User-Phone: "+keyHomedIn(t, "beijing")+"\r\n\r\n{}")
				if resp, text := answerTo(t, in, "POST"); resp.StatusCode != http.StatusOK || text != "ok" {
					t.Fatalf("got %d %s", resp.StatusCode, text)
				}
				left <- struct{}{}
				awaitUnfit(t, w.places["beijing"].server.fast)
			}
		})
	}
}

// awaitUnfit waits until the kept connection has something to be read, or its end.
func awaitUnfit(t *testing.T, f *FastListener) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		if !keptIsEmpty(t, f) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing has come")
		}
		time.Sleep(time.Millisecond)
	}
}

// keptIsEmpty reports whether a connection is kept that has nothing to be read.
func keptIsEmpty(t *testing.T, f *FastListener) (empty bool) {
	t.Helper()
	f.pool.mu.Lock()
	for _, u := range f.pool.idle {
		_ = u.raw.Control(func(fd uintptr) { empty = empty || rawEmpty(fd) })
	}
	f.pool.mu.Unlock()
	for _, l := range f.loops {
		looked := make(chan bool)
		l.post(func() {
			looked <- slices.ContainsFunc(l.pool.idle, func(u *upstream) bool { return rawEmpty(uintptr(u.fd)) })
		})
		empty = <-looked || empty
	}
	return empty
}

// TestFastRequestIsRepeatedOnlyIfThatIsSafe: a connection that ends after the request was sent tells nothing of
// what became of it.
func TestFastRequestIsRepeatedOnlyIfThatIsSafe(t *testing.T) {
	for method, want := range map[string]int{"GET": http.StatusOK, "PUT": http.StatusBadGateway} {
		t.Run(method, func(t *testing.T) {
			w := newWorld(t, nil)
			w.withApp(t, rawApp(t, func(n int, conn net.Conn, in *bufio.Reader) {
				for i := 0; ; i++ {
					if err := nextRequest(in); err != nil || n == 0 && i == 1 {
						return // the first connection ends with its second request
					}
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			}))
			conn, in := dialFast(t, w)
			for i := range 2 {
				_, _ = io.WriteString(conn, method+" /v1/profile HTTP/1.1\r\nHost: x\r\nX-User-Phone: "+keyHomedIn(t, "beijing")+"\r\n\r\n")
				resp, text := answerTo(t, in, method)
				if i == 1 && resp.StatusCode != want {
					t.Errorf("got %d %s, want %d", resp.StatusCode, text, want)
				}
			}
		})
	}
}

func TestFastClientThatGoesEndsTheRequest(t *testing.T) {
	w := newWorld(t, nil)
	arrived, ended := make(chan struct{}), make(chan struct{})
	w.places["beijing"].handle(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(ended)
	})
	conn, _ := dialFast(t, w)
	_, _ = io.WriteString(conn, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
	awaitClosed(t, arrived, "the request did not arrive")
	_ = conn.Close()
	awaitClosed(t, ended, "the application's request goes on without its client")
}

func TestFastApplicationThatIsSlow(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.UpstreamTimeout = 300 * time.Millisecond })
	w.places["beijing"].handle(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	conn, in := dialFast(t, w)
	_, _ = io.WriteString(conn, "PUT /v1/profile HTTP/1.1\r\nHost: x\r\nX-User-Phone: "+keyHomedIn(t, "beijing")+"\r\n\r\n")
	resp, text := answerTo(t, in, "PUT")
	wantProblem(t, resp, text, http.StatusBadGateway, ReasonUpstreamFailed)
	// A request that another region may serve is not sent to the slow application again.
	_, _ = io.WriteString(conn, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
	if resp, text = answerTo(t, in, "GET"); decode[seen](t, text).Region != "shanghai" {
		t.Errorf("got %d %s", resp.StatusCode, text)
	}
	wantCounts(t, w, 1, 1)
}

func TestFastClientThatDoesNotRead(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.IOTimeout = 300 * time.Millisecond })
	w.places["beijing"].handle(func(rw http.ResponseWriter, _ *http.Request) {
		for part, n := bytes.Repeat([]byte("x"), 64<<10), 0; n < 512; n++ {
			if _, err := rw.Write(part); err != nil {
				return
			}
		}
	})
	conn, in := dialFast(t, w)
	_ = conn.SetDeadline(time.Now().Add(6 * patience))
	_, _ = io.WriteString(conn, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
	g := w.places["beijing"].gateway
	testkit.Eventually(t, 6*patience, func() error {
		if g.InFlight() > 0 || g.fast.served.Load() == 0 {
			return errors.New("the request goes on")
		}
		return nil
	})
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("the answer looks whole")
	}
}

func TestFastConnectionTimes(t *testing.T) {
	w := newWorld(t, nil)
	p := w.places["beijing"]
	server := httptest.NewUnstartedServer(p.gateway)
	server.Config.ReadHeaderTimeout, server.Config.IdleTimeout = 200*time.Millisecond, 200*time.Millisecond
	server.Listener = p.gateway.NewFastListener(server.Listener, server.Config)
	server.Start()
	defer server.Close()
	const request = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, sent := range map[string]string{"nothing": "", "half a header": request[:20], "one request": request, "one and a half": request + request[:20]} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(patience))
			_, _ = io.WriteString(conn, sent)
			if _, err := io.Copy(io.Discard, conn); err != nil {
				t.Errorf("the connection is kept: %v", err)
			}
		})
	}
}

// TestFastDrain: idle connections end, those with a request under way end with its answer, whoever gives it,
// and then nothing is left.
func TestFastDrain(t *testing.T) {
	w := newWorld(t, nil)
	p := w.places["beijing"]
	arrived, leave := make(chan struct{}, 2), make(chan struct{})
	p.handle(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			arrived <- struct{}{}
			<-leave
		}
		_, _ = io.WriteString(rw, "ok")
	})
	idle, idleIn := dialFast(t, w)
	_, _ = io.WriteString(idle, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
	answerTo(t, idleIn, "GET")
	fresh, _ := dialFast(t, w)
	fast, fastIn := dialFast(t, w)
	_, _ = io.WriteString(fast, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	lent, lentIn := dialFast(t, w)
	_, _ = io.WriteString(lent, "GET /slow HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n\r\n")
	<-arrived
	<-arrived
	p.server.Config.SetKeepAlivesEnabled(false)
	drained := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		drained <- p.server.fast.Drain(ctx)
	}()
	for name, conn := range map[string]net.Conn{"idle": idle, "fresh": fresh} {
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("the %s connection is kept: %v", name, err)
		}
	}
	close(leave)
	for name, in := range map[string]*bufio.Reader{"fast": fastIn, "lent": lentIn} {
		if resp, text := answerTo(t, in, "GET"); text != "ok" || !resp.Close {
			t.Errorf("%s: got %d %q, close %v", name, resp.StatusCode, text, resp.Close)
		}
		if _, err := in.ReadByte(); err != io.EOF {
			t.Errorf("%s: the connection goes on: %v", name, err)
		}
	}
	if err := <-drained; err != nil {
		t.Errorf("draining: %v", err)
	}
}

// TestFastRequestLooksAtItsLeaseBeforeItIsSent: it was admitted under the lease, but a connection may take a
// second.
func TestFastRequestLooksAtItsLeaseBeforeItIsSent(t *testing.T) {
	w := newWorld(t, nil)
	p := w.places["beijing"]
	snap := p.gateway.state.load()
	slot := slices.IndexFunc(snap.router.holders, func(h holder) bool { return int(h.owner) == snap.router.self })
	ask := func(home bool) error {
		c := &fastConn{f: p.server.fast, work: &fastWork{ex: exchange{snap: snap, slot: slot, target: target{home: home}}}}
		return c.use(&upstream{})
	}
	if p.server.fast == nil {
		t.Fatal("there is no fast path")
	}
	if err := ask(true); err != nil {
		t.Errorf("with a lease: %v", err)
	}
	p.agent.leave(true)
	p.clock.jump(w.lease)
	if err := ask(true); !errors.Is(err, errLeaseShort) {
		t.Errorf("without: %v", err)
	}
	if err := ask(false); err != nil {
		t.Errorf("a request of any region, without: %v", err)
	}
}
