package gateway

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/routing"
)

// plainApp answers every request without a body with the same bytes, and allocates nothing.
func plainApp(tb testing.TB, answer string) net.Listener {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				buf, n := make([]byte, 8<<10), 0
				for {
					m, err := conn.Read(buf[n:])
					if err != nil {
						return
					}
					if n += m; !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
						continue
					}
					n = 0
					if _, err := io.WriteString(conn, answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l
}

// fastClient asks a gateway with the fast path over one connection.
type fastClient struct {
	net.Conn
	request []byte
	buf     []byte
	gateway *Gateway
}

func newFastClient(tb testing.TB, change ...func(*Options)) *fastClient {
	tb.Helper()
	app := plainApp(tb, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n"+strings.Repeat("x", 1024))
	options := Options{Agent: "http://127.0.0.1:1", Namespace: "accounts", Name: "user", Gateway: "g", Log: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&options)
	}
	g, err := New(options)
	if err != nil {
		tb.Fatal(err)
	}
	cfg := testConfig()
	cfg.Upstream = "http://" + app.Addr().String()
	a := &agentClient{options: &g.options, state: &g.state, metrics: g.metrics}
	if err := a.take(&routing.Answer{Version: "v1", Revision: 1, LeaseRemaining: time.Hour, Config: &cfg}, g.options.Clock.Boot()); err != nil {
		tb.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { tb.Error("the request went to net/http") })}
	fast := g.NewFastListener(l, server)
	go func() { _ = server.Serve(fast) }()
	tb.Cleanup(func() { _ = server.Close() })
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return &fastClient{Conn: conn, buf: make([]byte, 8<<10), gateway: g, request: fmt.Appendf(nil,
		"POST /v1/accounts HTTP/1.1\r\nHost: example.com\r\nUser-Agent: t\r\nAccept: */*\r\nX-User-Phone: %s\r\n\r\n", keyHomedIn(tb, "beijing"))}
}

// ask makes one request and reads all of the answer.
func (c *fastClient) ask(tb testing.TB) {
	if _, err := c.Write(c.request); err != nil {
		tb.Fatal(err)
	}
	for n, end := 0, -1; end < 0 || n < end+1024; {
		m, err := c.Read(c.buf[n:])
		if err != nil {
			tb.Fatal(err)
		}
		n += m
		if end < 0 {
			if i := bytes.Index(c.buf[:n], []byte("\r\n\r\n")); i >= 0 {
				end = i + 4
			}
		}
	}
	if !bytes.HasPrefix(c.buf, []byte("HTTP/1.1 200 OK\r\n")) {
		tb.Fatalf("got %.200q", c.buf)
	}
}

// BenchmarkFastHome is BenchmarkLocalHome on the fast path, with client and application that cost little.
func BenchmarkFastHome(b *testing.B) {
	c := newFastClient(b)
	c.ask(b)
	b.ReportAllocs()
	for b.Loop() {
		c.ask(b)
	}
}
