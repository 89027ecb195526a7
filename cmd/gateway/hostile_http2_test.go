package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"multiactive.dev/operator/internal/routing"
)

// frames is a connection of HTTP/2 that a test speaks frame by frame.
type frames struct {
	net.Conn
	*http2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
	// quiet: settings are not acknowledged, since somebody else is writing.
	quiet bool
}

// speak begins HTTP/2 without TLS.
func (h *hostility) speak(t *testing.T, settings ...http2.Setting) *frames {
	t.Helper()
	f := &frames{Conn: h.dial(t)}
	f.Framer = http2.NewFramer(f.Conn, f.Conn)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.enc = hpack.NewEncoder(&f.block)
	_, _ = io.WriteString(f.Conn, http2.ClientPreface)
	_ = f.WriteSettings(settings...)
	return f
}

// head sends the header of a request; pairs are names and values.
func (f *frames) head(stream uint32, end bool, pairs ...string) {
	f.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		_ = f.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.block.Bytes(), EndStream: end, EndHeaders: true})
}

// get are the pairs of a good request, with more.
func h2get(more ...string) []string {
	return append([]string{":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/v1/open/a"}, more...)
}

func h2post(more ...string) []string {
	return append([]string{":method", "POST", ":scheme", "http", ":authority", "x", ":path", "/v1/open/a"}, more...)
}

// outcome of the first stream: a status, "RST code" or "GOAWAY code", or "closed"; with the trailers of gRPC.
func (f *frames) outcome(t *testing.T) (string, map[string]string) {
	t.Helper()
	t.Helper()
	const stream = 1
	fields := map[string]string{}
	status := ""
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			if status != "" {
				return status, fields
			}
			return "closed", fields
		}
		switch x := frame.(type) {
		case *http2.SettingsFrame:
			if !x.IsAck() && !f.quiet {
				_ = f.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			if x.StreamID != stream {
				continue
			}
			for _, field := range x.Fields {
				fields[field.Name] = field.Value
			}
			status = fields[":status"]
			if x.StreamEnded() {
				return status, fields
			}
		case *http2.DataFrame:
			if x.StreamID != stream {
				continue
			}
			fields["body"] += string(x.Data())
			if x.StreamEnded() {
				return status, fields
			}
		case *http2.RSTStreamFrame:
			if x.StreamID == stream {
				return "RST " + x.ErrCode.String(), fields
			}
		case *http2.GoAwayFrame:
			if x.ErrCode != http2.ErrCodeNo {
				return "GOAWAY " + x.ErrCode.String(), fields
			}
		}
	}
}

// frameCase is what a client sends over HTTP/2, and what becomes of it.
type frameCase struct {
	name, as string
	send     func(f *frames)
	// outcome is one of those allowed for the first stream.
	outcome []string
	reason  string
	seen    string
	host    string
	lacks   string
	// broken: the application may see a request that breaks off.
	broken bool
}

func (c *frameCase) row() row {
	answer := strings.Join(c.outcome, " or ")
	if c.reason != "" {
		answer += " `" + c.reason + "`"
	}
	if c.seen != "" {
		answer += "; passed on"
		if c.as != "" {
			answer += ": " + c.as
		}
	}
	counted := "no"
	switch {
	case c.reason != "":
		counted = "by flow and reason"
	case c.seen != "":
		counted = "by flow and outcome"
	}
	return row{c.name, answer, counted}
}

func (c *frameCase) run(t *testing.T, h *hostility) {
	h.app.take()
	f := h.speak(t)
	defer func() { _ = f.Close() }()
	c.send(f)
	got, fields := f.outcome(t)
	if !slices.Contains(c.outcome, got) || c.reason != "" && !strings.Contains(fields["body"], c.reason) {
		t.Errorf("the outcome is %s %v, want %v %s", got, fields, c.outcome, c.reason)
	}
	var seen []string
	for _, r := range h.app.seen() {
		if r.err == nil { // else it broke off: the application did not take it, and it may be of the case before
			seen = append(seen, r.String())
		}
		if c.broken && r.body != "" && r.err == nil || strings.Contains(r.URL.Path, "hidden") {
			t.Errorf("the application took %s for whole", r)
		}
		if c.host != "" && r.Host != c.host {
			t.Errorf("the application saw host %q", r.Host)
		}
	}
	if s := strings.Join(seen, ";"); s != c.seen && !c.broken {
		t.Errorf("the application saw %q, want %q", s, c.seen)
	}
	(&bytesCase{lacks: c.lacks, broken: c.broken}).check(t, h)
}

var (
	malformed = []string{"RST PROTOCOL_ERROR"}
	badHead   = []string{"400"}
)

// frameCases are requests of HTTP/2 that would be something else in HTTP/1.1.
var frameCases = []frameCase{
	{name: "a request as it should be", send: func(f *frames) { f.head(1, true, h2get()...) }, outcome: []string{"200"}, seen: "GET /v1/open/a"},
	{name: "`content-length` above what comes", send: func(f *frames) {
		f.head(1, false, h2post("content-length", "10")...)
		_ = f.WriteData(1, true, []byte("hello"))
	}, outcome: badHead, reason: "malformed-body", broken: true},
	{name: "`content-length` below what comes", send: func(f *frames) {
		f.head(1, false, h2post("content-length", "3")...)
		_ = f.WriteData(1, true, []byte("hello"+hidden))
	}, outcome: malformed, broken: true},
	{name: "`content-length` of 0, and a request as the body", send: func(f *frames) {
		f.head(1, false, h2post("content-length", "0")...)
		_ = f.WriteData(1, true, []byte(hidden))
	}, outcome: append([]string{"200"}, malformed...), broken: true}, // by then it may have its answer, for it was whole without
	{name: "two different `content-length`", send: func(f *frames) {
		f.head(1, false, h2post("content-length", "5", "content-length", "6")...)
		_ = f.WriteData(1, true, []byte("hello"))
	}, outcome: badHead, reason: "malformed-body"},
	{name: "a `content-length` that is no number", send: func(f *frames) {
		f.head(1, false, h2post("content-length", "5x")...)
		_ = f.WriteData(1, true, []byte("hello"))
	}, outcome: []string{"RST PROTOCOL_ERROR", "400"}},
	{name: "`transfer-encoding: chunked`", send: func(f *frames) {
		f.head(1, false, h2post("transfer-encoding", "chunked")...)
		_ = f.WriteData(1, true, []byte("0\r\n\r\n"+hidden))
	}, outcome: badHead},
	{name: "`connection`", send: func(f *frames) { f.head(1, true, h2get("connection", "keep-alive")...) }, outcome: badHead},
	{name: "`upgrade`", send: func(f *frames) { f.head(1, true, h2get("upgrade", "websocket")...) }, outcome: badHead},
	{name: "`te` with more than trailers", send: func(f *frames) { f.head(1, true, h2get("te", "gzip")...) }, outcome: badHead},
	{name: "CR and LF in a value", send: func(f *frames) { f.head(1, true, h2get("x-a", "b\r\nhost: y")...) }, outcome: malformed},
	{name: "NUL in a value", send: func(f *frames) { f.head(1, true, h2get("x-a", "b\x00c")...) }, outcome: malformed},
	{name: "a name with capitals", send: func(f *frames) { f.head(1, true, h2get("X-A", "b")...) }, outcome: malformed},
	{name: "a name with a colon", send: func(f *frames) { f.head(1, true, h2get("x-a: b\r\nhost", "y")...) }, outcome: malformed},
	{name: "a name with a space", send: func(f *frames) { f.head(1, true, h2get("transfer-encoding ", "chunked")...) }, outcome: malformed},
	{name: "CR and LF in `:path`", send: func(f *frames) {
		f.head(1, true, ":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/v1/open/a HTTP/1.1\r\nHost: y\r\n\r\n"+hidden)
	}, outcome: malformed},
	{name: "a space in `:path`", send: func(f *frames) {
		f.head(1, true, ":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/v1/open/a HTTP/1.1")
	}, outcome: []string{"200"}, seen: "GET /v1/open/a%20HTTP/1.1", as: "encoded"},
	{name: "an absolute `:path`", send: func(f *frames) {
		f.head(1, true, ":method", "GET", ":scheme", "http", ":authority", "x", ":path", "http://admin.example.com/v1/open/a")
	}, outcome: []string{"200"}, seen: "GET /v1/open/a", as: "its path alone; `:authority` is the host", host: "x", lacks: "admin"},
	{name: "an empty `:path`", send: func(f *frames) { f.head(1, true, ":method", "GET", ":scheme", "http", ":authority", "x", ":path", "") }, outcome: malformed},
	{name: "`:path` as `*`", send: func(f *frames) {
		f.head(1, true, ":method", "GET", ":scheme", "http", ":authority", "x", ":path", "*")
	}, outcome: []string{"400"}, reason: "ambiguous-path"},
	{name: "no `:path`", send: func(f *frames) { f.head(1, true, ":method", "GET", ":scheme", "http", ":authority", "x") }, outcome: malformed},
	{name: "`:path` twice", send: func(f *frames) { f.head(1, true, append(h2get(), ":path", "/v1/admin/x")...) }, outcome: malformed},
	{name: "a space in `:method`", send: func(f *frames) {
		f.head(1, true, ":method", "GET /v1/admin/x HTTP/1.1", ":scheme", "http", ":authority", "x", ":path", "/v1/open/a")
	}, outcome: []string{"405"}, reason: "method-not-allowed"},
	{name: "`:method` in small letters", send: func(f *frames) {
		f.head(1, true, ":method", "get", ":scheme", "http", ":authority", "x", ":path", "/v1/open/a")
	}, outcome: []string{"405"}, reason: "method-not-allowed"},
	{name: "no `:method`", send: func(f *frames) { f.head(1, true, ":scheme", "http", ":authority", "x", ":path", "/v1/open/a") }, outcome: malformed},
	{name: "an unknown `:` header", send: func(f *frames) {
		f.head(1, true, append([]string{":multiactive", "x"}, h2get()...)...)
	}, outcome: malformed},
	{name: "a `:` header after others", send: func(f *frames) {
		f.head(1, true, ":method", "GET", ":scheme", "http", "x-a", "b", ":authority", "x", ":path", "/v1/open/a")
	}, outcome: malformed},
	{name: "`:scheme` with a host", send: func(f *frames) {
		f.head(1, true, ":method", "GET", ":scheme", "http://admin.example.com/v1/admin/x?", ":authority", "x", ":path", "/v1/open/a")
	}, outcome: malformed},
	{name: "`:authority` with a path", send: func(f *frames) {
		f.head(1, true, ":method", "GET", ":scheme", "http", ":authority", "x/v1/admin/x?", ":path", "/v1/open/a")
	}, outcome: []string{"400"}, reason: "invalid-host"},
	{name: "`:authority` with a user", send: func(f *frames) {
		f.head(1, true, ":method", "GET", ":scheme", "http", ":authority", "u@admin.example.com", ":path", "/v1/open/a")
	}, outcome: malformed},
	{name: "`:authority`, and another `host`", send: func(f *frames) { f.head(1, true, h2get("host", "admin.example.com")...) }, outcome: []string{"200"}, seen: "GET /v1/open/a", as: "`:authority`", host: "x", lacks: "admin"},
	{name: "`host` alone", send: func(f *frames) {
		f.head(1, true, ":method", "GET", ":scheme", "http", ":path", "/v1/open/a", "host", "admin.example.com")
	}, outcome: []string{"503"}, reason: "shed"},
	{name: "CONNECT with `:protocol`", send: func(f *frames) {
		f.head(1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "x", ":path", "/v1/open/a")
	}, outcome: malformed},
	{name: "CONNECT", send: func(f *frames) { f.head(1, false, ":method", "CONNECT", ":authority", "x:443") }, outcome: []string{"405"}, reason: "method-not-allowed"},
	{name: "`multiactive-*` from outside", send: func(f *frames) {
		f.head(1, true, h2get("multiactive-key", "forged", "multiactive_slot", "forged", "multiactive-owner", "forged")...)
	}, outcome: []string{"200"}, seen: "GET /v1/open/a", as: "without them", lacks: "forged"},
	{name: "a forged hop", send: func(f *frames) { f.head(1, true, h2get("multiactive-hop", "v1,a,b,1,2,x,AAAA")...) }, outcome: []string{"403"}, reason: "hop-not-authenticated"},
	{name: "`multiactive-*` and others in trailers", send: func(f *frames) {
		f.head(1, false, h2post("trailer", "multiactive-key, x-sum")...)
		_ = f.WriteData(1, false, []byte("hello"))
		f.head(1, true, "multiactive-key", "forged", "x-more", "forged", "x-sum", "1")
	}, outcome: []string{"200"}, seen: "POST /v1/open/a hello", as: "without what was not announced", lacks: "forged"},
	{name: "a `:` header in trailers", send: func(f *frames) {
		f.head(1, false, h2post()...)
		f.head(1, true, ":path", "/v1/admin/x")
	}, outcome: malformed, broken: true},
	{name: "trailers that do not end the request", send: func(f *frames) {
		f.head(1, false, h2post()...)
		f.head(1, false, "x-a", "b")
	}, outcome: malformed, broken: true},
	{name: "two keys", send: func(f *frames) {
		f.head(1, true, ":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/v1/users/139", "x-user-phone", "138")
	}, outcome: []string{"400"}, reason: "conflicting-keys"},
	{name: "two cookies of different users, in two fields", send: func(f *frames) {
		f.head(1, true, ":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/v1/users/139", "cookie", "phone=139", "cookie", "phone=138")
	}, outcome: []string{"400"}, reason: "conflicting-keys"},
	{name: "DATA on a stream that nobody opened", send: func(f *frames) { _ = f.WriteData(1, true, []byte(hidden)) }, outcome: []string{"GOAWAY PROTOCOL_ERROR"}},
	{name: "DATA after the end", send: func(f *frames) {
		f.head(1, true, h2get()...)
		_ = f.WriteData(1, true, []byte(hidden))
	}, outcome: []string{"GOAWAY STREAM_CLOSED", "RST STREAM_CLOSED", "200"}, broken: true},
	{name: "a request of an even number", send: func(f *frames) { f.head(2, true, h2get()...) }, outcome: []string{"GOAWAY PROTOCOL_ERROR"}},
	{name: "a frame beyond SETTINGS_MAX_FRAME_SIZE", send: func(f *frames) {
		_ = f.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 2<<20))
	}, outcome: []string{"GOAWAY FRAME_SIZE_ERROR", "closed"}},
	{name: "a window beyond 2^31-1", send: func(f *frames) {
		f.head(1, false, h2post()...)
		_ = f.WriteWindowUpdate(1, 1<<31-1)
	}, outcome: []string{"RST FLOW_CONTROL_ERROR"}, broken: true},
	{name: "HPACK that cannot be read", send: func(f *frames) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0xff}, EndStream: true, EndHeaders: true})
	}, outcome: []string{"GOAWAY COMPRESSION_ERROR", "GOAWAY PROTOCOL_ERROR"}},
	{name: "another frame within a header", send: func(f *frames) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}, EndStream: true})
		_ = f.WritePing(false, [8]byte{})
	}, outcome: []string{"GOAWAY PROTOCOL_ERROR"}},
}

// TestHostileFrames sends every case on every way into the gateway.
func TestHostileFrames(t *testing.T) {
	for way, args := range ways {
		t.Run(way, func(t *testing.T) {
			for i := range frameCases {
				c := &frameCases[i]
				// Each has a world of its own: what breaks off may reach the application late.
				t.Run(c.name, func(t *testing.T) { c.run(t, hostile(t, nil, args...)) })
			}
		})
	}
}

var floodCases = []scenario{
	{row{"a client of HTTP/2 that takes nothing, not even a short answer", "RST after `--io-timeout`", "by flow and outcome"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, append(slices.Clone(way), "--io-timeout=1s", "--idle-timeout=1s")...)
		before := runtime.NumGoroutine()
		var all []*frames
		for range 10 {
			f := h.speak(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			for i := range 20 {
				f.head(uint32(2*i+1), true, h2get()...)
			}
			all = append(all, f)
		}
		for _, f := range all {
			if got, _ := f.outcome(t); !strings.HasPrefix(got, "RST") {
				t.Errorf("the outcome is %s", got)
			}
		}
		h.settled(t)
		eventually(t, "as many goroutines as before", func() bool {
			h.app.CloseClientConnections()
			return runtime.NumGoroutine() <= before+5
		})
	}},
	{row{"the same, while the application streams", "RST after `--io-timeout`", "by flow and outcome"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, append(slices.Clone(way), "--io-timeout=1s", "--idle-timeout=1s")...)
		h.app.handle(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: 1\n\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})
		f := h.speak(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		f.head(1, true, h2get()...)
		if got, _ := f.outcome(t); !strings.HasPrefix(got, "RST") {
			t.Errorf("the outcome is %s", got)
		}
		h.settled(t)
	}},
	{row{"a body over HTTP/2 that stops", "408 `body-timeout` after `--io-timeout`", "by flow and reason"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, append(slices.Clone(way), "--io-timeout=1s")...)
		f := h.speak(t)
		f.head(1, false, h2post()...)
		_ = f.WriteData(1, false, []byte("hello"))
		if got, fields := f.outcome(t); got != "408" || !strings.Contains(fields["body"], "body-timeout") {
			t.Errorf("the outcome is %s %v", got, fields)
		}
	}},
	{row{"requests that are reset at once, thousands", "GOAWAY, or as many at a time as streams may be open", "by flow and outcome"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, append(slices.Clone(way), "--idle-timeout=1s")...)
		h.app.handle(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		before := runtime.NumGoroutine()
		f := h.speak(t)
		go func() { _, _ = io.Copy(io.Discard, f.Conn) }()
		most := 0
		for i := range 3000 {
			f.head(uint32(2*i+1), true, h2get()...)
			if f.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel) != nil {
				break
			}
			most = max(most, runtime.NumGoroutine())
		}
		if most > before+10*250 {
			t.Errorf("%d goroutines were at work for one connection", most)
		}
		_ = f.Close()
		h.settled(t)
	}},
	{row{"a header in thousands of CONTINUATION frames", "GOAWAY or closed", "no"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, way...)
		f := h.speak(t)
		before := heap()
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}, EndStream: true})
		f.quiet = true
		junk := []byte("\x00\x03x-a\x7f\x81\x07" + strings.Repeat("a", 8<<10))
		go func() {
			for range 5000 {
				if f.WriteContinuation(1, false, junk) != nil {
					return
				}
			}
		}()
		if got, _ := f.outcome(t); !strings.HasPrefix(got, "GOAWAY") && got != "closed" {
			t.Errorf("the outcome is %s", got)
		}
		if after := heap(); after > before+32<<20 {
			t.Errorf("%d MiB more in use", (after-before)>>20)
		}
	}},
	{row{"a header that unpacks to more than four times `--max-header-bytes`", "431, or RST", "no"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, way...)
		f := h.speak(t)
		pairs := h2get()
		value := strings.Repeat("a", 3000)
		for range 1000 {
			pairs = append(pairs, "x-a", value) // a byte each, but for the first
		}
		f.head(1, true, pairs...)
		if got, _ := f.outcome(t); got != "431" && !strings.HasPrefix(got, "RST") {
			t.Errorf("the outcome is %s", got)
		}
		if seen := h.app.seen(); len(seen) > 0 {
			t.Errorf("the application saw %v", seen)
		}
	}},
	{row{"PING and SETTINGS without end, and no answer read", "closed, or held within a bound", "no"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, append(slices.Clone(way), "--idle-timeout=1s")...)
		f := h.speak(t)
		before := heap()
		_ = f.SetWriteDeadline(time.Now().Add(2 * time.Second))
		for range 200_000 {
			if f.WritePing(false, [8]byte{}) != nil || f.WriteSettings() != nil {
				break
			}
		}
		if after := heap(); after > before+32<<20 {
			t.Errorf("%d MiB more in use", (after-before)>>20)
		}
		_ = f.Close()
		h.settled(t)
	}},
	{row{"gRPC in a flow that is switched off", "`grpc-status: 14` (UNAVAILABLE) with `multiactive-reason` and details in trailers", "by flow and reason"}, func(t *testing.T, way []string) {
		h := hostile(t, func(c *routing.Config) {
			c.Announcements = []routing.Announcement{{Flows: []string{"*"}, Text: []routing.LocalizedText{{Language: "en", Value: "Paused."}}}}
		}, way...)
		f := h.speak(t)
		f.head(1, false, ":method", "POST", ":scheme", "http", ":authority", "x", ":path", "/v1/admin/x", "content-type", "application/grpc", "te", "trailers")
		_ = f.WriteData(1, true, []byte{0, 0, 0, 0, 0})
		got, fields := f.outcome(t)
		if got != "200" || fields["grpc-status"] != "14" || fields["multiactive-reason"] != "shed" || fields["multiactive-flow"] != "admin" ||
			!strings.HasPrefix(fields["grpc-message"], "Paused.") || fields["multiactive-instance"] == "" || fields["multiactive-retry-after-seconds"] == "" {
			t.Errorf("the outcome is %s %v", got, fields)
		}
	}},
	{row{"gRPC whose application cannot be reached", "`grpc-status: 14` (UNAVAILABLE), reason `upstream-unreachable`", "by flow and reason"}, func(t *testing.T, way []string) {
		h := hostile(t, func(c *routing.Config) { c.Upstream = "http://" + ownAddress(t) }, way...)
		f := h.speak(t)
		f.head(1, false, h2post("content-type", "application/grpc+proto", "te", "trailers")...)
		_ = f.WriteData(1, true, []byte{0, 0, 0, 0, 0})
		if got, fields := f.outcome(t); got != "200" || fields["grpc-status"] != "14" || fields["multiactive-reason"] != "upstream-unreachable" {
			t.Errorf("the outcome is %s %v", got, fields)
		}
	}},
	{row{"gRPC without a key, in a home flow", "`grpc-status: 3` (INVALID_ARGUMENT), reason `missing-key`", "by flow and reason"}, func(t *testing.T, way []string) {
		h := hostile(t, nil, way...)
		f := h.speak(t)
		f.head(1, false, ":method", "POST", ":scheme", "http", ":authority", "x", ":path", "/v1/payments", "content-type", "application/grpc", "te", "trailers")
		_ = f.WriteData(1, true, []byte(`{"phone":"138"}`))
		if got, fields := f.outcome(t); got != "200" || fields["grpc-status"] != "3" || fields["multiactive-reason"] != "missing-key" {
			t.Errorf("the outcome is %s %v", got, fields)
		}
	}},
}
