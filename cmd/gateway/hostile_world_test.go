package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/locked"
	"multiactive.dev/operator/internal/testkit/ports"
)

// patience bounds every wait for an event in these tests; no test passes because time has passed.
const patience = 30 * time.Second

// ways are how a gateway can take connections, by what each adds to its flags. Whatever comes in is answered
// alike on all of them.
var ways = map[string][]string{"net/http": {"--fast-path=false"}, "fast path": {"--fast-path=true"}}

// hostility is a service in two regions, beijing with a real gateway and whatever a test puts elsewhere.
type hostility struct {
	app    *recordingApp
	log    *locked.Buffer
	listen string
	admin  string
	config routing.Config
}

// hostile starts an application and a gateway before it. change may alter the routing.
func hostile(t *testing.T, change func(*routing.Config), args ...string) *hostility {
	t.Helper()
	h := &hostility{app: newRecordingApp(t), log: &locked.Buffer{}, listen: ownAddress(t), admin: ownAddress(t)}
	h.config = hostileConfig()
	h.config.Upstream = h.app.URL
	if change != nil {
		change(&h.config)
	}
	h.start(t, args...)
	return h
}

// ownAddress is a loopback address that nobody else is given while the test runs.
func ownAddress(t *testing.T) string {
	t.Helper()
	host := ports.Host()
	return net.JoinHostPort(host, strconv.Itoa(testkit.FreePort(t, host)))
}

// start runs a gateway until the test ends.
func (h *hostility) start(t *testing.T, args ...string) {
	t.Helper()
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := routing.Answer{Version: "v1", Revision: 1, LeaseRemaining: time.Hour}
		if r.URL.Query().Get("version") == "" {
			answer.Config = &h.config
		} else {
			select { // a long poll, though not for long: the gateway waits for its end when it stops
			case <-r.Context().Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(agent.Close)
	c, err := parse(append([]string{
		"--agent=" + agent.URL, "--namespace=accounts", "--name=user", "--listen=" + h.listen, "--admin-listen=" + h.admin,
		"--drain-delay=0s", "--drain-timeout=100ms", "--access-log",
	}, args...), environment("POD_NAME", "gateway"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	c.options.Log = slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, c) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the gateway ended with %v", err)
		}
	})
	eventually(t, "the gateway is ready", func() bool {
		resp, err := http.Get("http://" + h.admin + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// hostileConfig has a flow of each kind. Requests to /v1/open/ are answered anywhere, payments at home.
func hostileConfig() routing.Config {
	return routing.Config{
		Namespace: "accounts", Name: "user", UID: "1b4e28ba", Region: "beijing", Epoch: 7,
		Regions: []routing.Region{{Name: "beijing", Weight: 1, State: ownership.RegionServing}},
		Keys: []routing.Key{{Name: "phone", Normalize: []string{"Trim"}, From: []routing.Source{
			{Type: routing.SourceHeader, Name: "X-User-Phone"},
			{Type: routing.SourceCookie, Name: "phone"},
			{Type: routing.SourceQuery, Name: "phone"},
			{Type: routing.SourcePath, Name: "phone"},
			{Type: routing.SourceJSONBody, Name: "/phone"},
			{Type: routing.SourceJWTClaim, Name: "phone"},
			{Type: routing.SourceSession},
		}}},
		Sessions: []routing.Session{{Class: "session", Cookie: "sid", FetchPath: "/internal/session", Timeout: time.Second, Regenerate: true}},
		Flows: []routing.Flow{
			{Name: "open", Match: []routing.Match{{Path: "/v1/open/"}}},
			{Name: "pay", Key: "phone", HomeRegion: true, OnHomeLoss: "Reject", ReadsSessions: []string{"session"}, Match: []routing.Match{{Method: "POST", Path: "/v1/payments"}}},
			{Name: "user", Key: "phone", HomeRegion: true, OnHomeLoss: "Reject", Match: []routing.Match{{Path: "/v1/users/{phone}"}}},
			{Name: "login", Key: "phone", IssuesSessions: []string{"session"}, Match: []routing.Match{{Method: "POST", Path: "/v1/login"}}},
			// Switched off, so that whoever gets past it is seen.
			{Name: "admin", Shed: true, Degraded: true, Match: []routing.Match{{Host: "admin.example.com", Path: "/"}, {Path: "/v1/admin/"}}},
		},
		PeerKey: []byte("0123456789abcdef0123456789abcdef"),
	}
}

// recordingApp keeps every byte that comes in, and every request that is read of them.
type recordingApp struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*appRequest
	conns    []*recordedConn
	handler  http.HandlerFunc
}

// appRequest is a request as the application saw it.
type appRequest struct {
	*http.Request
	body string
	err  error
}

func (r *appRequest) String() string {
	s := r.Method + " " + r.RequestURI
	if r.body != "" {
		s += " " + r.body
	}
	return s
}

func newRecordingApp(t *testing.T) *recordingApp {
	a := &recordingApp{}
	a.Server = httptest.NewUnstartedServer(a)
	a.Config.Protocols = new(http.Protocols)
	a.Config.Protocols.SetHTTP1(true)
	a.Config.Protocols.SetUnencryptedHTTP2(true)
	a.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	a.Listener = &recordingListener{a.Listener, a}
	a.Start()
	t.Cleanup(a.Close)
	return a
}

func (a *recordingApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	h := a.handler
	a.mu.Unlock()
	if h != nil {
		h(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if r.URL.Path == probePath {
		w.Header().Set("X-Probe", "yes")
	}
	a.mu.Lock()
	a.requests = append(a.requests, &appRequest{r, string(body), err})
	a.mu.Unlock()
	_, _ = io.WriteString(w, "done")
}

func (a *recordingApp) handle(h http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handler = h
}

// seen returns the requests but for those that only ask whether a connection still works.
func (a *recordingApp) seen() []*appRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(a.requests), func(r *appRequest) bool { return r.URL.Path == probePath })
}

// take forgets what was recorded, and returns the bytes of each connection.
func (a *recordingApp) take() (raw [][]byte, requests int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.conns {
		if len(c.bytes) > 0 {
			raw = append(raw, c.bytes)
		}
		c.bytes = nil
	}
	requests = len(a.requests)
	a.requests = nil
	return raw, requests
}

type recordingListener struct {
	net.Listener
	app *recordingApp
}

func (l *recordingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &recordedConn{Conn: conn, app: l.app}
	l.app.mu.Lock()
	defer l.app.mu.Unlock()
	l.app.conns = append(l.app.conns, c)
	return c, nil
}

type recordedConn struct {
	net.Conn
	app   *recordingApp
	bytes []byte
}

func (c *recordedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.app.mu.Lock()
	defer c.app.mu.Unlock()
	c.bytes = append(c.bytes, p[:n]...)
	return n, err
}

var (
	requestLine = regexp.MustCompile(`^[A-Z]+ /[\x21-\x7e]* HTTP/1\.1$`)
	fieldLine   = regexp.MustCompile("^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([\t\\x20-\\x7e\\x{80}-\\x{10ffff}]*)$")
	chunkLine   = regexp.MustCompile(`^[0-9a-f]+$`)
)

// readStrictly reads what an application got as the strictest reader does, and returns how many requests that
// are. Whatever is there for two readers to disagree about is an error.
func readStrictly(raw []byte) (requests int, err error) {
	for ; len(raw) > 0; requests++ {
		head, rest, whole := bytes.Cut(raw, []byte("\r\n\r\n"))
		if !whole {
			return requests, fmt.Errorf("no end of a header: %q", raw)
		}
		lines := strings.Split(string(head), "\r\n")
		if !requestLine.MatchString(lines[0]) {
			return requests, fmt.Errorf("request line %q", lines[0])
		}
		seen := map[string]string{}
		for _, line := range lines[1:] {
			m := fieldLine.FindStringSubmatch(line)
			if m == nil {
				return requests, fmt.Errorf("header line %q", line)
			}
			name := strings.ToLower(strings.ReplaceAll(m[1], "_", "-"))
			if _, twice := seen[name]; twice && slices.Contains([]string{"host", "content-length", "transfer-encoding"}, name) {
				return requests, fmt.Errorf("%s twice", name)
			}
			seen[name] = m[2]
		}
		length, hasLength := seen["content-length"]
		encoding, chunked := seen["transfer-encoding"]
		switch {
		case seen["host"] == "":
			return requests, fmt.Errorf("no host in %q", head)
		case hasLength && chunked, chunked && encoding != "chunked":
			return requests, fmt.Errorf("framing %q and %q", length, encoding)
		case chunked:
			rest, err = skipChunks(rest)
		case hasLength:
			var n int
			if _, err = fmt.Sscanf(length, "%d", &n); err == nil && n > len(rest) {
				err = fmt.Errorf("%d of %d bytes of a body", len(rest), n)
			} else if err == nil {
				rest = rest[n:]
			}
		}
		if err != nil {
			return requests, err
		}
		raw = rest
	}
	return requests, nil
}

func skipChunks(raw []byte) ([]byte, error) {
	for {
		line, rest, whole := bytes.Cut(raw, []byte("\r\n"))
		var n int
		if _, err := fmt.Sscanf(string(line), "%x", &n); err != nil || !whole || !chunkLine.Match(line) {
			return nil, fmt.Errorf("chunk size %q", line)
		}
		if n == 0 {
			trailer, rest, whole := bytes.Cut(append([]byte("\r\n"), rest...), []byte("\r\n\r\n"))
			if !whole {
				return nil, fmt.Errorf("no end of a body: %q", raw)
			}
			for _, line := range strings.Split(string(trailer), "\r\n")[1:] {
				if !fieldLine.MatchString(line) {
					return nil, fmt.Errorf("trailer %q", line)
				}
			}
			return rest, nil
		}
		if len(rest) < n+2 || string(rest[n:n+2]) != "\r\n" {
			return nil, fmt.Errorf("a chunk of %d bytes is not ended in %q", n, rest)
		}
		raw = rest[n+2:]
	}
}

// dial opens a connection that never holds a test up for ever.
func (h *hostility) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", h.listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// probePath asks whether a connection still takes requests.
const probePath = "/v1/open/probe"

// answer is what came back for what was sent on one connection.
type answer struct {
	responses []*http.Response
	bodies    []string
	// closed: the gateway has ended the connection by itself.
	closed bool
	// cut: the last body did not end.
	cut bool
}

func (a *answer) String() string {
	var parts []string
	for i, r := range a.responses {
		parts = append(parts, fmt.Sprintf("%d %s", r.StatusCode, a.bodies[i]))
	}
	return fmt.Sprintf("%q closed=%t", parts, a.closed)
}

// exchange sends bytes, reads an answer, asks whether the connection still works, and reads to its end.
func (h *hostility) exchange(t *testing.T, sent string) *answer {
	t.Helper()
	conn := h.dial(t)
	if _, err := io.WriteString(conn, sent); err != nil {
		t.Logf("sending: %v", err)
	}
	in := bufio.NewReader(conn)
	a := &answer{closed: true}
	for {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			break
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil { // what was not read resets the connection, and the answer's text with it
			a.responses, a.bodies, a.cut = append(a.responses, resp), append(a.bodies, string(body)), true
			break
		}
		if resp.Header.Get("X-Probe") != "" {
			a.closed = false
			break
		}
		a.responses, a.bodies = append(a.responses, resp), append(a.bodies, string(body))
		if len(a.responses) == 1 { // it may be closed already
			_, _ = io.WriteString(conn, "GET "+probePath+" HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n")
		}
	}
	return a
}

var counterLine = regexp.MustCompile(`(?m)^multiactive_gateway_(requests|refused_requests|refused_connections)_total(\{[^}]*\})? (\d+)$`)

// counted returns the counters of requests.
func (h *hostility) counted(t *testing.T) map[string]string {
	t.Helper()
	_, text := get(t, "http://"+h.admin+"/metrics")
	out := map[string]string{}
	for _, m := range counterLine.FindAllStringSubmatch(text, -1) {
		out[m[1]+m[2]] = m[3]
	}
	return out
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		if !is() {
			return errors.New("it is not so: " + what)
		}
		return nil
	})
}
