package gateway

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"multiactive.dev/operator/internal/routing"
)

// pipeListener hands a server the ends of pipes.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { close(l.done); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// decidedAgain is an application that decides each request as the gateway should have, and keeps what differs.
type decidedAgain struct {
	mu    sync.Mutex
	g     *Gateway
	wrong []string
}

func (a *decidedAgain) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	told, slot := r.Header[HeaderKey], r.Header.Get(HeaderSlot)
	uri := r.Method + " " + r.Host + " " + r.RequestURI
	ex := &exchange{g: a.g, r: r, snap: a.g.state.load()}
	p := ex.identify()
	_, _ = io.Copy(io.Discard, r.Body)
	why := ""
	switch {
	case p != nil && p.reason == ReasonMalformedBody:
		// The body breaks off here, for the client went; nobody takes it for whole.
	case p != nil:
		why = "is refused with " + string(p.reason)
	case ex.flow.home != (slot != ""):
		why = "belongs to flow " + ex.flow.name + ", and came with slot " + slot
	case ex.flow.home && ex.flow.key != nil && !slices.Equal(told, []string{ex.key}):
		why = "has key " + ex.key + ", and came with another"
	}
	if why != "" {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.wrong = append(a.wrong, uri+" "+why)
	}
}

// FuzzRequest sends bytes to a gateway, and has the application decide what reaches it again: the same flow,
// and the same key. What the application sees differently is never sent there.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		"POST /v1/accounts HTTP/1.1\r\nHost: x\r\nX-User-Phone: 138\r\n\r\n",
		"POST /v1/accounts HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{\"phone\":\"138\"}",
		"POST /v1/accounts?phone=1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n{\"phone\":\"1\"}\r\n0\r\nX: y\r\n\r\n",
		"GET /v1/settings/a HTTP/1.1\r\nHost: x\r\nConnection: X-User-Phone\r\nX_User_Phone: 1\r\n\r\nPOST /v1/login HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST http://y/v1/payments HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Type: a/b+json\r\nX-User-Phone: 7\r\nContent-Length: 13\r\n\r\n{\"phone\":\"7\"}",
		"GET /v1/profile;a=b/../x HTTP/1.0\r\nCookie: phone=1; a=\"\r\nX-Http-Method-Override: POST\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	g, err := New(Options{Agent: "http://127.0.0.1:1", Namespace: "accounts", Name: "user", Gateway: "g", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	app := &decidedAgain{g: g}
	upstream := httptest.NewServer(app)
	f.Cleanup(upstream.Close)
	cfg := testConfig()
	cfg.Upstream = upstream.URL
	cfg.Regions = cfg.Regions[:1] // at home here, every one
	for i := range cfg.Flows {
		if len(cfg.Flows[i].Pinned) > 0 {
			cfg.Flows[i].Pinned = []string{"beijing"}
		}
	}
	a := &agentClient{options: &g.options, state: &g.state, metrics: g.metrics}
	if err := a.take(&routing.Answer{Version: "v1", Revision: 1, LeaseRemaining: time.Hour, Config: &cfg}, g.options.Clock.Boot()); err != nil {
		f.Fatal(err)
	}
	l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{Handler: g, ReadHeaderTimeout: time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	go func() { _ = server.Serve(l) }()
	f.Cleanup(func() { _ = server.Close() })
	f.Fuzz(func(t *testing.T, sent []byte) {
		client, gateway := net.Pipe()
		l.conns <- gateway
		_ = client.SetDeadline(time.Now().Add(500 * time.Millisecond))
		go func() { _, _ = client.Write(sent) }()
		in := bufio.NewReader(client)
		for range 3 {
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				break
			}
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if err != nil || resp.Close || in.Buffered() == 0 {
				break
			}
		}
		_ = client.Close()
		app.mu.Lock()
		defer app.mu.Unlock()
		if len(app.wrong) > 0 {
			t.Errorf("%q: the application got what %q", sent, app.wrong)
			app.wrong = nil
		}
	})
}
