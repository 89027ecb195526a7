package gateway

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// h2cClient speaks HTTP/2 without TLS.
func h2cClient(t *testing.T) *http.Client {
	t.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestWebSocketPassesThrough(t *testing.T) {
	w := newWorld(t, nil)
	for _, home := range []string{"beijing", "shanghai"} {
		w.places[home].handle(echoUpgrade(t))
		conn, err := net.Dial("tcp", w.places["beijing"].server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(conn, "GET /v1/profile?phone="+keyHomedIn(t, home)+" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		in := bufio.NewReader(conn)
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%s: %v %v", home, resp, err)
		}
		for _, line := range []string{"hello\n", "again\n"} {
			_, _ = io.WriteString(conn, line)
			if got, err := in.ReadString('\n'); got != line {
				t.Fatalf("%s: sent %q, got %q, %v", home, line, got, err)
			}
		}
	}
}

// echoUpgrade switches protocols and repeats what it gets.
func echoUpgrade(t *testing.T) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		conn, buf, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+r.Header.Get("Upgrade")+"\r\n\r\n")
		_, _ = io.Copy(conn, buf)
	}
}

func TestWebSocketOfAHomeFlowEndsWithTheLease(t *testing.T) {
	w := newWorld(t, nil)
	p := w.places["beijing"]
	p.handle(echoUpgrade(t))
	conn, err := net.Dial("tcp", p.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, "GET /v1/profile?phone="+keyHomedIn(t, "beijing")+" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	in := bufio.NewReader(conn)
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	p.agent.leave(true)
	p.clock.jump(w.lease)
	if got, err := in.ReadString('\n'); err != io.EOF {
		t.Errorf("the connection outlived the lease: %q, %v", got, err)
	}
}

func TestStreamingIsFlushed(t *testing.T) {
	w := newWorld(t, nil)
	next := make(chan struct{})
	w.places["shanghai"].handle(func(rw http.ResponseWriter, r *http.Request) {
		for range 3 {
			_, _ = io.WriteString(rw, "tick\n")
			_ = http.NewResponseController(rw).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", w.places["beijing"].server.URL+"/v1/profile?phone="+keyHomedIn(t, "shanghai"), nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	in := bufio.NewReader(resp.Body)
	for range 3 {
		if line, err := in.ReadString('\n'); line != "tick\n" {
			t.Fatalf("got %q, %v before the application goes on", line, err)
		}
		next <- struct{}{}
	}
}

func TestEarlyHintsPassWithoutTheGatewaysHeaders(t *testing.T) {
	w := newWorld(t, nil)
	w.places["beijing"].handle(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Link", "</a>; rel=preload")
		rw.Header().Set(HeaderOwner, "beijing")
		rw.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(rw, "done")
	})
	var hints []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = append(hints, strconv.Itoa(code), h.Get("Link"), h.Get(HeaderOwner))
		return nil
	}})
	req, err := http.NewRequestWithContext(ctx, "GET", w.places["beijing"].server.URL+"/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if text, err := io.ReadAll(resp.Body); string(text) != "done" || err != nil {
		t.Errorf("got %d %q, %v", resp.StatusCode, text, err)
	}
	if want := []string{"103", "</a>; rel=preload", ""}; !slices.Equal(hints, want) {
		t.Errorf("the hints are %q, want %q", hints, want)
	}
}

func TestRequestStreamsOverHTTP2(t *testing.T) {
	const limit = 50 * time.Millisecond
	w := newWorld(t, func(o *Options) { o.IOTimeout = limit })
	w.places["shanghai"].handle(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/grpc")
		rw.Header().Set("Trailer", "Grpc-Status")
		_ = http.NewResponseController(rw).Flush()
		in := bufio.NewReader(r.Body)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				break
			}
			_, _ = io.WriteString(rw, r.Proto+" "+line)
			_ = http.NewResponseController(rw).Flush()
		}
		rw.Header().Set("Grpc-Status", "0")
		rw.Header().Set(http.TrailerPrefix+"Late", "yes")
	})
	body, feed := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "POST", w.places["beijing"].server.URL+"/v1/settings/stream", body)
	req.Header.Set("Content-Type", "application/grpc+proto")
	req.Header.Set("Te", "trailers")
	resp, err := h2cClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	in := bufio.NewReader(resp.Body)
	for _, line := range []string{"one\n", "two\n"} {
		_, _ = io.WriteString(feed, line)
		if got, err := in.ReadString('\n'); got != "HTTP/2.0 "+line {
			t.Fatalf("sent %q, got %q, %v", line, got, err)
		}
		<-time.After(3 * limit) // a stream may pause
	}
	_ = feed.Close()
	if _, err := io.ReadAll(in); err != nil {
		t.Fatal(err)
	}
	if resp.Trailer.Get("Grpc-Status") != "0" || resp.Trailer.Get("Late") != "yes" {
		t.Errorf("trailers: %v", resp.Trailer)
	}
}

func TestRequestTrailersPassThrough(t *testing.T) {
	w := newWorld(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), "POST", w.places["beijing"].server.URL+"/v1/login", io.MultiReader(strings.NewReader("body")))
	if err != nil {
		t.Fatal(err)
	}
	req.Trailer = http.Header{"Checksum": nil}
	req.Body = &trailing{Reader: strings.NewReader("body"), set: func() { req.Trailer.Set("Checksum", "c1") }}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(resp.Body)
	if got := decode[seen](t, string(text)); got.Trailer.Get("Checksum") != "c1" || got.Body != "body" {
		t.Errorf("got %s", text)
	}
}

// trailing sets trailers at the end of a body.
type trailing struct {
	io.Reader
	set func()
}

func (b *trailing) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		b.set()
	}
	return n, err
}

func (b *trailing) Close() error { return nil }

func TestGRPCRefusal(t *testing.T) {
	w := newWorld(t, nil)
	w.setState("shanghai", ownership.RegionLost)
	w.publish(t)
	req, _ := http.NewRequestWithContext(t.Context(), "POST", w.places["beijing"].server.URL+"/v1/settings/x", strings.NewReader("x"))
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Accept-Language", "zh-CN")
	resp, err := h2cClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err := io.ReadAll(resp.Body); err != nil || len(body) > 0 {
		t.Errorf("body %q, %v; want none", body, err)
	}
	message, err := url.PathUnescape(resp.Trailer.Get("Grpc-Message"))
	if resp.StatusCode != http.StatusOK || resp.Trailer.Get("Grpc-Status") != "14" || err != nil ||
		!strings.HasPrefix(message, "部分功能暂不可用。") || resp.Trailer.Get("Multiactive-Reason") != string(ReasonHomeLost) {
		t.Errorf("got %d, trailers %v", resp.StatusCode, resp.Trailer)
	}
}

func TestLimits(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.KeyBodyBytes, o.MaxBodyBytes = 64, 128 })
	long := func(n int) string { return `{"phone":"` + strings.Repeat("1", n) + `"}` }
	for name, tc := range map[string]struct {
		path, body string
		header     map[string]string
		chunked    bool
		status     int
		reason     Reason
	}{
		"body with key too long":          {"/v1/accounts", long(80), nil, false, 413, ReasonBodyTooLarge},
		"body with key too long, chunked": {"/v1/accounts", long(80), nil, true, 413, ReasonBodyTooLarge},
		"body too long":                   {"/v1/login", long(200), nil, false, 413, ReasonBodyTooLarge},
		"body too long, chunked":          {"/v1/login", long(200), nil, true, 413, ReasonBodyTooLarge},
		"compressed":                      {"/v1/accounts", "x", map[string]string{"Content-Encoding": "gzip"}, false, 415, ReasonUnsupportedEncoding},
		"malformed":                       {"/v1/accounts", "{", nil, false, 400, ReasonMalformedBody},
		"no key":                          {"/v1/accounts", "{}", nil, true, 400, ReasonMissingKey},
		"not JSON":                        {"/v1/accounts", "phone=1", map[string]string{"Content-Type": "text/plain"}, false, 400, ReasonMissingKey},
	} {
		t.Run(name, func(t *testing.T) {
			var body io.Reader = strings.NewReader(tc.body)
			if tc.chunked {
				body = io.MultiReader(body)
			}
			resp, text := w.call(t, "beijing", "POST", tc.path, tc.header, body)
			wantProblem(t, resp, text, tc.status, tc.reason)
		})
	}
	// A body of another type is passed on however long it is for a key.
	resp, text := w.call(t, "beijing", "POST", "/v1/accounts", map[string]string{
		"X-User-Phone": keyHomedIn(t, "beijing"), "Content-Type": "text/plain",
	}, strings.NewReader(strings.Repeat("x", 100)))
	if resp.StatusCode != http.StatusOK || len(decode[seen](t, text).Body) != 100 {
		t.Errorf("got %d %s", resp.StatusCode, text)
	}
}

func TestHeaderLimits(t *testing.T) {
	const limit = 2048
	w := newWorld(t, func(o *Options) { o.MaxHeaderBytes = limit })
	call := func(client *http.Client, path string, header int, grpc bool) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "POST", w.places["beijing"].server.URL+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-User-Phone", keyHomedIn(t, "shanghai"))
		for i := range 4 { // several values of one name
			req.Header.Add("Cookie", strings.Repeat(string(rune('a'+i)), header/4)+"=1")
		}
		if grpc {
			req.Header.Set("Content-Type", "application/grpc")
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(text)
	}
	for name, client := range map[string]*http.Client{"HTTP/1.1": http.DefaultClient, "HTTP/2": h2cClient(t)} {
		t.Run(name, func(t *testing.T) {
			resp, text := call(client, "/v1/accounts?"+strings.Repeat("x", limit), 0, false)
			wantProblem(t, resp, text, http.StatusRequestURITooLong, ReasonURITooLong)
			resp, text = call(client, "/v1/accounts", limit, false)
			wantProblem(t, resp, text, http.StatusRequestHeaderFieldsTooLarge, ReasonHeaderTooLarge)
			resp, text = call(client, "/v1/accounts?"+strings.Repeat("x", limit/2), limit/2, false)
			wantProblem(t, resp, text, http.StatusRequestHeaderFieldsTooLarge, ReasonHeaderTooLarge)
			// One below the limit is forwarded, although the hop makes it longer.
			resp, text = call(client, "/v1/accounts", limit-300, false)
			if got := decode[seen](t, text); resp.StatusCode != http.StatusOK || got.Region != "shanghai" {
				t.Errorf("below the limit: %d %s", resp.StatusCode, text)
			}
		})
	}
	resp, text := call(h2cClient(t), "/v1/accounts", limit, true)
	if resp.Trailer.Get("Grpc-Status") != "8" || resp.Trailer.Get("Multiactive-Reason") != string(ReasonHeaderTooLarge) || text != "" {
		t.Errorf("gRPC: %d, trailers %v", resp.StatusCode, resp.Trailer)
	}
}

func TestInFlightLimit(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.MaxInFlight = 1 })
	p := w.places["beijing"]
	arrived, leave := make(chan struct{}), make(chan struct{})
	p.handle(func(http.ResponseWriter, *http.Request) { close(arrived); <-leave })
	done := make(chan struct{})
	go func() {
		defer close(done)
		resp, _ := w.call(t, "beijing", "GET", "/slow", nil, nil)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("the request within the limit got %d", resp.StatusCode)
		}
	}()
	awaitClosed(t, arrived, "the first request did not arrive")
	resp, text := w.call(t, "beijing", "GET", "/second", nil, nil)
	wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonOverloaded)
	if resp, _ := w.call(t, "beijing", "GET", "/.multiactive/healthz", nil, nil); resp.StatusCode != http.StatusOK {
		t.Errorf("health under load: %d", resp.StatusCode)
	}
	close(leave)
	awaitClosed(t, done, "the first request did not end")
}

func TestSlowClientIsCutOff(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.IOTimeout = 400 * time.Millisecond })
	for request, want := range map[string]int{
		// The gateway reads the body for the key.
		"POST /v1/accounts HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{": http.StatusRequestTimeout,
		// The gateway needs no body, and the server discards it.
		"POST /v1/forgotten HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{":                       http.StatusForbidden,
		"POST /.multiactive/healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab": http.StatusMethodNotAllowed,
		// The application reads the body.
		"POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{": http.StatusRequestTimeout,
	} {
		conn, err := net.Dial("tcp", w.places["beijing"].server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(conn, request)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		_ = conn.Close()
		if err != nil || resp.StatusCode != want {
			t.Errorf("%q: got %v, %v; want %d", request, resp, err, want)
		}
	}
}

func TestRefusalDoesNotAskForTheBody(t *testing.T) {
	w := newWorld(t, nil)
	conn, err := net.Dial("tcp", w.places["beijing"].server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, "POST /v1/forgotten HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
	status, err := bufio.NewReader(conn).ReadString('\n')
	if !strings.HasPrefix(status, "HTTP/1.1 403") {
		t.Errorf("got %q, %v", status, err)
	}
}

func TestSlowApplicationIsNotCutOffByTheClientsLimits(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.IOTimeout = 400 * time.Millisecond })
	w.places["beijing"].handle(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		select {
		case <-r.Context().Done():
		case <-time.After(200 * time.Millisecond): // longer than any deadline of the connection
		}
		_, _ = rw.Write(body)
	})
	for name, client := range map[string]*http.Client{"HTTP/1.1": http.DefaultClient, "HTTP/2": h2cClient(t)} {
		req, _ := http.NewRequestWithContext(t.Context(), "POST", w.places["beijing"].server.URL+"/v1/login", strings.NewReader("slow"))
		resp, err := client.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if string(text) != "slow" || err != nil {
			t.Errorf("%s: got %d %q, %v", name, resp.StatusCode, text, err)
		}
	}
}

func TestNoProxyForOthers(t *testing.T) {
	w := newWorld(t, nil)
	addr := w.places["beijing"].server.Listener.Addr().String()
	for request, want := range map[string]string{
		"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n":         "HTTP/1.1 405",
		"GET http://example.com/anything HTTP/1.1\r\nHost: example.com\r\n\r\n": `"Region":"beijing"`,
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n":                                 "HTTP/1.1 ",
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(conn, strings.Replace(request, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1))
		answer, _ := io.ReadAll(conn)
		_ = conn.Close()
		if !bytes.Contains(answer, []byte(want)) {
			t.Errorf("%q: got %q, want %q", request, answer, want)
		}
	}
}
