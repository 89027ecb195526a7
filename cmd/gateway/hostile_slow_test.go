package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"multiactive.dev/operator/internal/routing"
)

// scenario is what cannot be said as bytes alone.
type scenario struct {
	row
	run func(t *testing.T, way []string)
}

// impatient has a gateway wait for clients no longer than a test can.
func impatient(way []string) []string {
	return append(slices.Clone(way), "--header-timeout=1s", "--idle-timeout=1s", "--io-timeout=1s")
}

// clinging is how many clients hold on at once.
const clinging = 50

// endless is an answer that no buffer of a connection takes.
func endless(w http.ResponseWriter, _ *http.Request) {
	block := make([]byte, 64<<10)
	for range 1 << 10 {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

// refusedAndLetGo checks that who sends this and no more is answered so, closed, and leaves nothing behind.
func refusedAndLetGo(t *testing.T, h *hostility, sent string, status int, reason string) {
	t.Helper()
	send := h.saying(sent)
	conn := send(t)
	wantStatus(t, conn, status, reason)
	wantClosed(t, conn)
	letGo(t, h, send)
}

// letGo checks that the gateway lets go of clients that hold on: they have their connections still, the
// gateway neither a connection of theirs nor a request, nor a goroutine.
func letGo(t *testing.T, h *hostility, hold func(t *testing.T) net.Conn) {
	t.Helper()
	h.exchange(t, open(""))
	h.settled(t)
	before := runtime.NumGoroutine()
	conns := make([]net.Conn, clinging)
	for i := range conns {
		conns[i] = hold(t)
	}
	h.settled(t)
	eventually(t, "as many goroutines as before", func() bool {
		h.app.CloseClientConnections() // those that are kept to the application are no client's
		return runtime.NumGoroutine() <= before+5
	})
}

// settled waits until no request is under way and no user's connection open.
func (h *hostility) settled(t *testing.T) {
	t.Helper()
	eventually(t, "nothing is held", func() bool {
		_, text := get(t, "http://"+h.admin+"/metrics")
		return strings.Contains(text, "\nmultiactive_gateway_in_flight_requests 0\n") && strings.Contains(text, "\nmultiactive_gateway_open_connections 0\n")
	})
}

// saying sends bytes and holds the connection.
func (h *hostility) saying(text string) func(t *testing.T) net.Conn {
	return func(t *testing.T) net.Conn {
		conn := h.dial(t)
		_, _ = io.WriteString(conn, text)
		return conn
	}
}

// wantStatus reads one answer.
func wantStatus(t *testing.T, conn net.Conn, status int, reason string) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != status || reason != "" && !strings.Contains(string(body), strconv.Quote(reason)) {
		t.Errorf("got %d %s, want %d %s", resp.StatusCode, body, status, reason)
	}
}

// wantClosed reads to the end that the gateway makes.
func wantClosed(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("the gateway does not close the connection: %v", err)
	}
}

// trickle sends one byte after the other, as long as they are taken.
func trickle(conn net.Conn, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(100 * time.Millisecond):
			if _, err := conn.Write([]byte("x")); err != nil {
				return
			}
		}
	}
}

var slowCases = []scenario{
	{row{"a connection on which nothing comes", "closed after `--header-timeout`", "no"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, impatient(way)...)
		letGo(t, h, h.saying(""))
	}},
	{row{"a header that does not end", "closed after `--header-timeout`", "no"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, impatient(way)...)
		letGo(t, h, h.saying("GET /v1/open/a HTTP/1.1\r\nHost: x\r\nX-A: "))
	}},
	{row{"a header that comes byte by byte", "closed after `--header-timeout`, however much came", "no"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, impatient(way)...)
		stop := make(chan struct{})
		defer close(stop)
		conn := h.saying("GET /v1/open/a HTTP/1.1\r\nHost: x\r\nX-A: ")(t)
		go trickle(conn, stop)
		wantClosed(t, conn)
	}},
	{row{"the beginning of HTTP/2's preface", "closed after `--header-timeout`", "no"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, impatient(way)...)
		letGo(t, h, h.saying(http2.ClientPreface[:20]))
	}},
	{row{"a connection of HTTP/2 without a request", "GOAWAY after `--idle-timeout`", "no"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, impatient(way)...)
		letGo(t, h, h.saying(http2.ClientPreface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
	}},
	{row{"a connection that stays open after a request", "closed after `--idle-timeout`", "no"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, impatient(way)...)
		letGo(t, h, h.saying(open("")))
	}},
	{row{"a body that stops, for a flow whose key may be in it", "408 `body-timeout` after `--io-timeout`, closed; not passed on", "by flow and reason"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, impatient(way)...)
		refusedAndLetGo(t, h, "POST /v1/payments HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{\"phone\"", http.StatusRequestTimeout, "body-timeout")
	}},
	{row{"a body that stops", "408 `body-timeout` after `--io-timeout`, closed; the application's connection breaks off", "by flow and reason"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, impatient(way)...)
		refusedAndLetGo(t, h, post("Content-Length: 100\r\n", "hello"), http.StatusRequestTimeout, "body-timeout")
		for _, r := range h.app.seen() {
			if r.err == nil && r.Method == "POST" {
				t.Errorf("the application took %s for whole", r)
			}
		}
	}},
	{row{"a body that comes byte by byte", "408 `body-timeout` once it is slower than `--min-rate`, closed", "by flow and reason"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, impatient(way)...)
		stop := make(chan struct{})
		defer close(stop)
		conn := h.saying(post("Content-Length: 10000\r\n", "hello"))(t)
		go trickle(conn, stop)
		wantStatus(t, conn, http.StatusRequestTimeout, "body-timeout")
		wantClosed(t, conn)
	}},
	{row{"a body that stops, of a request that is refused anyway", "the refusal at once, and closed after 1 s at the latest", "by flow and reason"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, impatient(way)...)
		refusedAndLetGo(t, h, "POST /v1/forgotten HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhello", http.StatusForbidden, "unmatched")
	}},
	{row{"`Expect: 100-continue`, and no body", "408 `body-timeout` after `--io-timeout`, closed", "by flow and reason"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, impatient(way)...)
		conn := h.saying(post("Content-Length: 100\r\nExpect: 100-continue\r\n", ""))(t)
		in := bufio.NewReader(conn)
		resp, err := http.ReadResponse(in, nil)
		for err == nil && resp.StatusCode == http.StatusContinue { // the application's, too
			resp, err = http.ReadResponse(in, nil)
		}
		if err != nil || resp.StatusCode != http.StatusRequestTimeout {
			t.Fatalf("got %v, %v", resp, err)
		}
		wantClosed(t, conn)
	}},
	{row{"a client that takes nothing of its answer", "cut off after `--io-timeout`", "by flow and outcome"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, impatient(way)...)
		h.app.handle(endless)
		h2 := h.dial(t) // warm up by something short
		_ = h2.Close()
		h.settled(t)
		before := runtime.NumGoroutine()
		for range clinging {
			h.saying(open(""))(t)
		}
		h.settled(t)
		eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= before+5 })
	}},
	{row{"a client that takes its answer byte by byte", "cut off once it is slower than `--min-rate`", "by flow and outcome"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, impatient(way)...)
		h.app.handle(endless)
		conn := h.saying(open(""))(t)
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(4 << 10)
		}
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			one := make([]byte, 1)
			for {
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
					if _, err := conn.Read(one); err != nil {
						return
					}
				}
			}
		}()
		h.settled(t)
	}},
	{row{"a second request before the first answer was taken", "decided in its turn; never two at a time on one connection", "by flow and outcome"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, impatient(way)...)
		h.app.handle(endless)
		h.saying(strings.Repeat(open(""), 100))(t)
		_, text := get(t, "http://"+h.admin+"/metrics")
		if !strings.Contains(text, "\nmultiactive_gateway_in_flight_requests 1\n") && !strings.Contains(text, "\nmultiactive_gateway_in_flight_requests 0\n") {
			t.Error("more than one request of a connection is under way")
		}
		h.settled(t)
	}},
	{row{"more connections than `--max-connections`", "503, closed at once", "`refused_connections`"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, append(slices.Clone(way), "--max-connections=3")...)
		for range 3 {
			h.dial(t)
		}
		var conn net.Conn
		eventually(t, "a connection is refused", func() bool {
			conn = h.dial(t)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			return err == nil && resp.StatusCode == http.StatusServiceUnavailable && resp.Close
		})
		wantClosed(t, conn)
		if _, text := get(t, "http://"+h.admin+"/metrics"); !strings.Contains(text, "\nmultiactive_gateway_open_connections 3\n") || strings.Contains(text, "refused_connections_total 0\n") {
			t.Error("the connections are not counted")
		}
	}},
	{row{"more requests under way than `--max-in-flight`", "503 `overloaded`; the gateway's own health pages are still answered", "by reason"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, append(slices.Clone(way), "--max-in-flight=2")...)
		arrived, leave := make(chan struct{}, 2), make(chan struct{})
		defer close(leave)
		h.app.handle(func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-leave })
		for range 2 {
			h.saying(open(""))(t)
			<-arrived
		}
		wantStatus(t, h.saying(open(""))(t), http.StatusServiceUnavailable, "overloaded")
		wantStatus(t, h.saying("GET /.multiactive/healthz HTTP/1.1\r\nHost: x\r\n\r\n")(t), http.StatusOK, "")
	}},
}

var largeCases = []scenario{
	{row{"an address of more than `--max-header-bytes`", "414 `uri-too-long`", "by reason"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, way...)
		wantStatus(t, h.saying("GET /v1/open/"+strings.Repeat("a", 70<<10)+" HTTP/1.1\r\nHost: x\r\n\r\n")(t), http.StatusRequestURITooLong, "uri-too-long")
	}},
	{row{"a header of more than `--max-header-bytes`, such as cookies", "431 `header-too-large`", "by reason"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, way...)
		wantStatus(t, h.saying(open("Cookie: a="+strings.Repeat("a", 70<<10)+"\r\n"))(t), http.StatusRequestHeaderFieldsTooLarge, "header-too-large")
	}},
	{row{"a header of more than four times that", "431, closed", "no"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, way...)
		conn := h.dial(t)
		go func() { _, _ = io.WriteString(conn, open("Cookie: a="+strings.Repeat("a", 1<<20)+"\r\n")) }()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("got %v, %v", resp, err)
		}
	}},
	{row{"more than 256 different headers", "431 `header-too-large`", "by reason"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, way...)
		var lines strings.Builder
		for i := range 300 {
			fmt.Fprintf(&lines, "X-%d: a\r\n", i)
		}
		wantStatus(t, h.saying(open(lines.String()))(t), http.StatusRequestHeaderFieldsTooLarge, "header-too-large")
	}},
	{row{"a body that says it is longer than `--max-body-bytes`", "413 `body-too-large`; not passed on", "by reason"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, append(slices.Clone(way), "--max-body-bytes=100")...)
		wantStatus(t, h.saying(post("Content-Length: 101\r\n", strings.Repeat("a", 101)))(t), http.StatusRequestEntityTooLarge, "body-too-large")
		if seen := h.app.seen(); len(seen) > 0 {
			t.Errorf("the application saw %v", seen)
		}
	}},
	{row{"a body that is longer than `--max-body-bytes`, in chunks", "413 `body-too-large`, closed; the application's connection breaks off", "by flow and reason"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, append(slices.Clone(way), "--max-body-bytes=100")...)
		conn := h.saying(post("Transfer-Encoding: chunked\r\n", strings.Repeat(chunk(strings.Repeat("a", 60)), 3)+"0\r\n\r\n"))(t)
		wantStatus(t, conn, http.StatusRequestEntityTooLarge, "body-too-large")
		for _, r := range h.app.seen() {
			if r.err == nil && r.Method == "POST" {
				t.Errorf("the application took %s for whole", r)
			}
		}
	}},
	{row{"chunks of one byte, each with a long extension", "400 `malformed-body`, closed", "by flow and reason"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, way...)
		conn := h.dial(t)
		go func() {
			_, _ = io.WriteString(conn, post("Transfer-Encoding: chunked\r\n", strings.Repeat("1;"+strings.Repeat("a", 3000)+"\r\na\r\n", 100)+"0\r\n\r\n"))
		}()
		wantStatus(t, conn, http.StatusBadRequest, "malformed-body")
	}},
	{row{"200 refused requests of the largest kind at once", "no memory is held after them", "by reason"}, func(t *testing.T, way []string) {
		h := hostile(t, func(c *routing.Config) { c.Flows[0].Shed, c.Flows[0].Degraded = true, true }, impatient(way)...)
		sent := open("Cookie: a=" + strings.Repeat("a", 200<<10) + "\r\n")
		before := heap()
		for range 200 {
			conn := h.dial(t)
			go func() { _, _ = io.WriteString(conn, sent) }()
		}
		h.settled(t)
		eventually(t, "the memory is given back", func() bool { return heap() < before+16<<20 })
	}},
}

// heap is what is in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// scenarioGroups are the scenarios under their headings of the page.
var scenarioGroups = map[string][]scenario{
	"Slow clients and many of them": slowCases,
	"Too much":                      largeCases,
	"HTTP/2 and gRPC, in time":      floodCases,
	"The application":               upstreamCases,
	"Other regions":                 peerCases,
	"Hops between gateways":         hopCases,
	"Requests that are kept":        kafkaCases,
}

// TestHostile runs every scenario on every way into the gateway.
func TestHostile(t *testing.T) {
	for way, args := range ways {
		for heading, scenarios := range scenarioGroups {
			for _, s := range scenarios {
				t.Run(way+"/"+heading+"/"+s.name, func(t *testing.T) {
					t.Parallel() // they wait, most of the time
					s.run(t, args)
				})
			}
		}
	}
}
