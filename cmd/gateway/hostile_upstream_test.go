package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"multiactive.dev/operator/internal/routing"
)

// liar is an application that reads a request's header and says whatever a test wants.
type liar struct {
	address string
	// heard is how many requests came.
	heard atomic.Int64
}

func newLiar(t *testing.T, say func(conn net.Conn)) *liar {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	out := &liar{address: "http://" + l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				in := bufio.NewReader(conn)
				if _, err := http.ReadRequest(in); err == nil {
					out.heard.Add(1)
					say(&liarConn{conn, in})
				}
			}()
		}
	}()
	return out
}

// liarConn reads on after the head that was read.
type liarConn struct {
	net.Conn
	in *bufio.Reader
}

func (c *liarConn) Read(p []byte) (int, error) { return c.in.Read(p) }

// says has it say a text and end.
func says(text string) func(net.Conn) {
	return func(conn net.Conn) { _, _ = io.WriteString(conn, text) }
}

// told returns what a user gets of an application that says something.
func told(t *testing.T, way []string, say func(net.Conn), args ...string) (*hostility, *answer) {
	t.Helper()
	l := newLiar(t, say)
	h := hostile(t, func(c *routing.Config) { c.Upstream = l.address }, append(slices.Clone(way), args...)...)
	// A connection of its own, so that the answer's end is the connection's.
	got := h.exchangeOnce(t, open("Connection: close\r\n"))
	return h, got
}

// exchangeOnce sends a request and reads what comes until the end.
func (h *hostility) exchangeOnce(t *testing.T, sent string) *answer {
	t.Helper()
	conn := h.dial(t)
	_, _ = io.WriteString(conn, sent)
	in := bufio.NewReader(conn)
	a := &answer{}
	for {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return a
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		a.responses, a.bodies, a.cut = append(a.responses, resp), append(a.bodies, string(body)), err != nil
		if err != nil {
			return a
		}
	}
}

// failed is a scenario in which the application gives no answer that is one.
func failed(name, say string) scenario {
	return scenario{row{name, "502 `upstream-failed`", "by flow and reason; logged with the instance"}, func(t *testing.T, way []string) {
		h, got := told(t, way, says(say))
		if len(got.responses) != 1 || got.responses[0].StatusCode != http.StatusBadGateway || !strings.Contains(got.bodies[0], `"upstream-failed"`) {
			t.Errorf("got %v", got)
		}
		if !strings.Contains(h.log.String(), `"msg":"no answer"`) {
			t.Error("it is not logged")
		}
	}}
}

// cutOff is one in which it gives a part of one: nothing may look whole to the user.
func cutOff(name, say, part string) scenario {
	return scenario{row{name, "the part that came, and then the connection breaks off: never a whole answer", "by flow, outcome `aborted`"}, func(t *testing.T, way []string) {
		h, got := told(t, way, says(say))
		if len(got.responses) == 0 {
			return // it broke off before anything was sent on
		}
		if len(got.responses) != 1 || !got.cut || !strings.HasPrefix(part, got.bodies[0]) {
			t.Errorf("got %v, cut=%t, want a part of %q", got, got.cut, part)
		}
		eventually(t, "it is counted as aborted", func() bool {
			return h.counted(t)[`requests{flow="open",outcome="aborted"}`] == "1"
		})
	}}
}

var upstreamCases = []scenario{
	failed("an application that ends without an answer", ""),
	failed("an answer that is none", "nonsense\r\n\r\n"),
	failed("an answer of HTTP/0.9", "<html>hello</html>"),
	failed("an answer whose header does not end", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: "),
	failed("a status that is no number", "HTTP/1.1 2xx OK\r\n\r\n"),
	failed("a status of two digits", "HTTP/1.1 20 OK\r\n\r\n"),
	failed("a header line without a colon", "HTTP/1.1 200 OK\r\nnothing\r\n\r\n"),
	failed("two different `Content-Length`", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
	failed("a `Content-Length` below 0", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"),
	failed("an unknown `Transfer-Encoding`", "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
	failed("a header of more than 256 KiB", "HTTP/1.1 200 OK\r\nX-A: "+strings.Repeat("a", 300<<10)+"\r\n\r\n"),
	failed("switching protocols unasked", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
	cutOff("fewer bytes than `Content-Length`", "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("a", 20_000), strings.Repeat("a", 20_000)),
	cutOff("chunks without an end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "hello"),
	cutOff("a chunk that is none", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n", "hello"),
	{row{"more bytes than `Content-Length`", "as many as it says; what follows is nobody's answer", "by flow and outcome"}, func(t *testing.T, way []string) {
		l := newLiar(t, func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
			time.Sleep(100 * time.Millisecond) // so that the connection could be used again
		})
		h := hostile(t, func(c *routing.Config) { c.Upstream = l.address }, way...)
		for range 3 {
			got := h.exchangeOnce(t, open("Connection: close\r\n"))
			if len(got.responses) != 1 || got.bodies[0] != "hello" {
				t.Errorf("got %v", got)
			}
		}
	}},
	{row{"`Content-Length` and chunks", "the chunks, without the length", "by flow and outcome"}, func(t *testing.T, way []string) {
		_, got := told(t, way, says("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"))
		if len(got.responses) != 1 || got.bodies[0] != "hello" || got.responses[0].Header.Get("Content-Length") != "" {
			t.Errorf("got %v", got)
		}
	}},
	{row{"a bare CR or LF in an answer's header", "502 `upstream-failed`, or passed on without it", "by flow"}, func(t *testing.T, way []string) {
		_, got := told(t, way, says("HTTP/1.1 200 OK\r\nX-A: b\rSet-Cookie: c=d\r\nContent-Length: 0\r\n\r\n"))
		if len(got.responses) != 1 || len(got.responses[0].Cookies()) > 0 {
			t.Errorf("got %v", got)
		}
	}},
	{row{"informational answers without end", "8 are passed on; 504, or 502 `upstream-failed`, after `--upstream-timeout`", "by flow and reason"}, func(t *testing.T, way []string) {
		_, got := told(t, way, func(conn net.Conn) {
			for {
				if _, err := io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nMultiactive-Source: forged\r\n\r\n"); err != nil {
					return
				}
			}
		}, "--upstream-timeout=1s")
		hints := 0
		for _, r := range got.responses {
			if r.Header.Get("Multiactive-Source") != "" {
				t.Error("the hint speaks for the gateway")
			}
			if r.StatusCode == http.StatusEarlyHints {
				hints++
			}
		}
		if last := got.responses[len(got.responses)-1]; hints != 8 || last.StatusCode != http.StatusBadGateway {
			t.Errorf("%d hints, then %d", hints, last.StatusCode)
		}
	}},
	{row{"an application that does not answer", "502 `upstream-failed` after `--upstream-timeout`", "by flow and reason"}, func(t *testing.T, way []string) {
		_, got := told(t, way, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, "--upstream-timeout=500ms")
		if len(got.responses) != 1 || got.responses[0].StatusCode != http.StatusBadGateway {
			t.Errorf("got %v", got)
		}
	}},
	{row{"nobody at the application's address", "503 `upstream-unreachable`: nothing was sent", "by flow and reason"}, func(t *testing.T, way []string) {
		h := hostile(t, func(c *routing.Config) { c.Upstream = "http://" + ownAddress(t) }, way...)
		got := h.exchangeOnce(t, open("Connection: close\r\n"))
		if len(got.responses) != 1 || got.responses[0].StatusCode != http.StatusServiceUnavailable || !strings.Contains(got.bodies[0], `"upstream-unreachable"`) {
			t.Errorf("got %v", got)
		}
	}},
	{row{"an application that stops in the middle of an answer, and a client that goes", "both connections are closed at once", "by flow, outcome `aborted`"}, func(t *testing.T, way []string) {
		stopped := make(chan struct{})
		l := newLiar(t, func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("a", 20_000))
			_, _ = io.Copy(io.Discard, conn)
			close(stopped)
		})
		h := hostile(t, func(c *routing.Config) { c.Upstream = l.address }, way...)
		conn := h.saying(open(""))(t)
		_, _ = io.ReadFull(conn, make([]byte, 10_000))
		_ = conn.Close()
		select {
		case <-stopped:
		case <-time.After(patience):
			t.Error("the application's connection is held")
		}
		h.settled(t)
	}},
	{row{"an application that speaks for the gateway", "its `Multiactive-*` headers are dropped", "by flow and outcome"}, func(t *testing.T, way []string) {
		_, got := told(t, way, says("HTTP/1.1 200 OK\r\nMultiactive-Source: forged\r\nMultiactive-Refused: 9\r\nContent-Length: 0\r\n\r\n"))
		if len(got.responses) != 1 || got.responses[0].Header.Get("Multiactive-Source") != "" || got.responses[0].Header.Get("Multiactive-Refused") != "" {
			t.Errorf("got %v", got.responses)
		}
	}},
	{row{"trailers that speak for the gateway, or are of the header or the connection", "dropped; other trailers are passed on, announced or not", "by flow and outcome"}, func(t *testing.T, way []string) {
		const trailers = "X-Sum: 1\r\nMultiactive-Source: forged\r\nSet-Cookie: forged\r\nContent-Length: 9\r\nKeep-Alive: forged\r\n"
		for _, announced := range []string{"", "Trailer: X-Sum, Multiactive-Source\r\n"} {
			_, got := told(t, way, says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"+announced+"\r\n5\r\nhello\r\n0\r\n"+trailers+"\r\n"))
			if len(got.responses) != 1 || got.bodies[0] != "hello" || len(got.responses[0].Trailer) != 1 || got.responses[0].Trailer.Get("X-Sum") != "1" {
				t.Errorf("announced with %q: got %v", announced, got.responses)
			}
		}
	}},
	{row{"100 Continue to a request that is waited for, or unasked", "one, of the gateway's own, if the client waits for it", "by flow and outcome"}, func(t *testing.T, way []string) {
		l := newLiar(t, func(conn net.Conn) {
			_, _ = io.WriteString(conn, strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 3))
			_, _ = io.ReadFull(conn, make([]byte, len("hello"))) // an answer before the body would spare the client that
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")
			_, _ = io.Copy(io.Discard, conn)
		})
		h := hostile(t, func(c *routing.Config) { c.Upstream = l.address }, way...)
		for expect, want := range map[string]int{"": 0, "Expect: 100-continue\r\n": 1} {
			got := h.exchangeOnce(t, post("Connection: close\r\nContent-Length: 5\r\n"+expect, "hello"))
			n := len(got.responses) - 1
			if n != want || got.responses[n].StatusCode != http.StatusOK || got.bodies[n] != "hello" {
				t.Errorf("%q: got %v", expect, got.responses)
			}
		}
	}},
	{row{"a redirect", "passed on; the gateway goes nowhere", "by flow and outcome"}, func(t *testing.T, way []string) {
		l := newLiar(t, says("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest\r\nContent-Length: 0\r\n\r\n"))
		h := hostile(t, func(c *routing.Config) { c.Upstream = l.address }, way...)
		got := h.exchangeOnce(t, open("Connection: close\r\n"))
		if len(got.responses) != 1 || got.responses[0].StatusCode != http.StatusFound || l.heard.Load() != 1 {
			t.Errorf("got %v", got)
		}
	}},
	{row{"WebSocket whose client takes nothing", "closed after `--io-timeout`", "by flow and outcome"}, func(t *testing.T, way []string) {
		ended := make(chan struct{})
		l := newLiar(t, func(conn net.Conn) {
			defer close(ended)
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			for block := make([]byte, 64<<10); ; {
				if _, err := conn.Write(block); err != nil {
					return
				}
			}
		})
		h := hostile(t, func(c *routing.Config) { c.Upstream = l.address }, append(slices.Clone(way), "--io-timeout=500ms")...)
		h.saying(open("Connection: Upgrade\r\nUpgrade: websocket\r\n"))(t)
		<-ended
		h.settled(t)
	}},
	{row{"WebSocket to an application that is gone in the middle", "closed at once", "by flow and outcome"}, func(t *testing.T, way []string) {
		l := newLiar(t, says("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"))
		h := hostile(t, func(c *routing.Config) { c.Upstream = l.address }, way...)
		before := runtime.NumGoroutine()
		for range 10 {
			wantClosed(t, h.saying(open("Connection: Upgrade\r\nUpgrade: websocket\r\n"))(t))
		}
		h.settled(t)
		eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= before+5 })
	}},
}

// peerSays has another region's gateway, to which a payment is forwarded, say something.
func peerSays(t *testing.T, way []string, say func(net.Conn), args ...string) *answer {
	t.Helper()
	l := newLiar(t, say)
	h := hostile(t, func(c *routing.Config) { *c = twoRegions(c, l.address) }, append(slices.Clone(way), args...)...)
	return h.exchangeOnce(t, pay("Connection: close\r\nX-User-Phone: "+keyAt(t, "shanghai")+"\r\n", ""))
}

func peerCase(name, say string, status int, reason string) scenario {
	return scenario{row{name, fmt.Sprintf("%d %#q", status, reason), "by flow and reason; logged with the instance"}, func(t *testing.T, way []string) {
		got := peerSays(t, way, says(say))
		if len(got.responses) != 1 || got.responses[0].StatusCode != status || !strings.Contains(got.bodies[0], reason) {
			t.Errorf("got %v", got)
		}
	}}
}

var peerCases = []scenario{
	peerCase("a peer that answers garbage", "nonsense\r\n\r\n", http.StatusBadGateway, "owner-failed"),
	peerCase("a peer that ends without an answer", "", http.StatusBadGateway, "owner-failed"),
	peerCase("a peer's header of more than 256 KiB", "HTTP/1.1 200 OK\r\nX-A: "+strings.Repeat("a", 300<<10)+"\r\n\r\n", http.StatusBadGateway, "owner-failed"),
	{row{"a peer that claims a newer view, for ever", "its refusal, once `--owner-wait` is over", "by flow and reason"}, func(t *testing.T, way []string) {
		got := peerSays(t, way, says("HTTP/1.1 503 Service Unavailable\r\nMultiactive-Refused: 9223372036854775807\r\nContent-Length: 0\r\n\r\n"), "--owner-wait=300ms")
		if len(got.responses) != 1 || got.responses[0].StatusCode != http.StatusServiceUnavailable || got.responses[0].Header.Get("Multiactive-Refused") != "" {
			t.Errorf("got %v", got)
		}
	}},
	{row{"a peer that claims an epoch that is no number", "its refusal, at once", "by flow and outcome"}, func(t *testing.T, way []string) {
		got := peerSays(t, way, says("HTTP/1.1 503 Service Unavailable\r\nMultiactive-Refused: 1e9\r\nContent-Length: 0\r\n\r\n"))
		if len(got.responses) != 1 || got.responses[0].StatusCode != http.StatusServiceUnavailable {
			t.Errorf("got %v", got)
		}
	}},
	{row{"a peer that redirects", "the redirect is passed on; nothing is sent elsewhere", "by flow and outcome"}, func(t *testing.T, way []string) {
		got := peerSays(t, way, says("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"))
		if len(got.responses) != 1 || got.responses[0].StatusCode != http.StatusTemporaryRedirect {
			t.Errorf("got %v", got)
		}
	}},
	{row{"a peer's address that is link-local or of a metadata service", "503 `owner-unreachable`; not dialled", "by flow and reason"}, func(t *testing.T, way []string) {
		for _, address := range []string{"http://169.254.169.254", "http://[::ffff:169.254.169.254]:80", "http://[fd00:ec2::254]"} {
			h := hostile(t, func(c *routing.Config) { *c = twoRegions(c, address) }, way...)
			got := h.exchangeOnce(t, pay("Connection: close\r\nX-User-Phone: "+keyAt(t, "shanghai")+"\r\n", ""))
			if len(got.responses) != 1 || !strings.Contains(got.bodies[0], "owner-unreachable") || !strings.Contains(h.log.String(), "metadata service") {
				t.Errorf("%s: got %v", address, got)
			}
		}
	}},
}
