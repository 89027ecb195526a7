package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"multiactive.dev/operator/internal/gateway"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestParse(t *testing.T) {
	required := []string{"--agent=http://agent", "--namespace=a", "--name=u"}
	cases := map[string]struct {
		args []string
		env  []string
		// check returns what is wrong; err is a part of the error.
		check func(*config) bool
		err   string
	}{
		"defaults": {required, nil, func(c *config) bool {
			return c.listen == ":8080" && c.options.MaxInFlight == gateway.DefaultMaxInFlight && !c.options.AccessLog && len(c.options.NotifyRefuse) == 2
		}, ""},
		"pod": {required, []string{"POD_IP", "127.0.0.9", "POD_NAME", "p-1"}, func(c *config) bool {
			return c.listen == "127.0.0.9:8080" && c.adminListen == "127.0.0.9:9090" && c.options.Gateway == "p-1"
		}, ""},
		"pod with IPv6": {required, []string{"POD_IP", "::1"}, func(c *config) bool { return c.listen == "[::1]:8080" }, ""},
		"variable":      {required, []string{"MULTIACTIVE_GATEWAY_OWNER_WAIT", "7s"}, func(c *config) bool { return c.options.OwnerWait == 7*time.Second }, ""},
		"ranges": {append([]string{"--notify-refuse=10.0.0.0/8, fd00::/8"}, required...), nil, func(c *config) bool {
			return len(c.options.NotifyRefuse) == 2 && c.options.NotifyRefuse[1].String() == "fd00::/8"
		}, ""},
		"no ranges": {append([]string{"--notify-refuse="}, required...), nil, func(c *config) bool { return len(c.options.NotifyRefuse) == 0 }, ""},
		"bad range": {append([]string{"--notify-refuse=10.0.0.0"}, required...), nil, nil, "10.0.0.0"},
		"flag wins": {append([]string{"--owner-wait=1s"}, required...), []string{"MULTIACTIVE_GATEWAY_OWNER_WAIT", "7s"},
			func(c *config) bool { return c.options.OwnerWait == time.Second }, ""},
		"bad variable": {required, []string{"MULTIACTIVE_GATEWAY_OWNER_WAIT", "soon"}, nil, "MULTIACTIVE_GATEWAY_OWNER_WAIT"},
		"bad address":  {append([]string{"--listen=8080"}, required...), nil, nil, "--listen"},
		"bad limit":    {append([]string{"--max-in-flight=0"}, required...), nil, nil, "--max-in-flight"},
		"argument":     {append([]string{"serve"}, required...), nil, nil, "serve"},
		"peers": {append([]string{"--peer-listen=:8443", "--peer-tls-dir=/nowhere"}, required...), []string{"POD_IP", "127.0.0.9"},
			func(c *config) bool { return c.peerListen == "127.0.0.9:8443" && c.options.PeerIdentity != nil }, ""},
		"no peers":      {required, nil, func(c *config) bool { return c.peerListen == "" && c.options.PeerIdentity == nil }, ""},
		"no files":      {append([]string{"--peer-listen=:8443"}, required...), nil, nil, "--peer-tls-dir"},
		"no brokers":    {append([]string{"--deferred-topic=t"}, required...), nil, nil, "--kafka-brokers"},
		"negative time": {append([]string{"--drain-delay=-1s"}, required...), nil, nil, "--drain-delay"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, err := parse(tc.args, environment(tc.env...), io.Discard)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got error %v, want one with %q", err, tc.err)
				}
				return
			}
			if err != nil || !tc.check(c) {
				t.Errorf("got %+v, %v", c, err)
			}
		})
	}
}

func TestHelpTeaches(t *testing.T) {
	var out bytes.Buffer
	if _, err := parse([]string{"--help"}, environment(), &out); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got error %v", err)
	}
	for _, want := range []string{"--agent=http://", "MULTIACTIVE_GATEWAY_", "/.multiactive/routing?key=", "SIGTERM", "owner-wait"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the help does not speak of %s", want)
		}
	}
}

func TestMissingFlagsAreNamed(t *testing.T) {
	err := run(t.Context(), nil, environment("POD_NAME", "p"))
	if err == nil || !strings.Contains(err.Error(), "namespace") || !strings.Contains(err.Error(), "agent") {
		t.Errorf("got error %v", err)
	}
}

// running starts a gateway in front of an application, and returns its addresses, what ends it, and how it ended.
func running(t *testing.T, app string, log *slog.Logger, flags ...string) (public, admin string, stop func(), done chan error) {
	t.Helper()
	polled := make(chan struct{}, 100)
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := routing.Answer{Version: "v1", Revision: 1, LeaseRemaining: time.Minute}
		if r.URL.Query().Get("version") == "" {
			answer.Config = &routing.Config{
				Namespace: "a", Name: "u", UID: "x", Region: "here", Upstream: app,
				Regions: []routing.Region{{Name: "here", Weight: 1, Endpoint: app, State: ownership.RegionServing}},
			}
		} else {
			select {
			case polled <- struct{}{}:
			default:
			}
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(agent.Close)
	public, admin = freeAddress(t), freeAddress(t)
	c, err := parse(append([]string{
		"--agent=" + agent.URL, "--namespace=a", "--name=u", "--listen=" + public, "--admin-listen=" + admin,
	}, flags...), environment(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	c.options.Log = log
	ctx, stop := context.WithCancel(t.Context())
	done = make(chan error, 1)
	go func() { done <- serve(ctx, c) }()
	<-polled // it acts on its configuration
	return public, admin, stop, done
}

// TestDrain ends a gateway while a request is under way: the request is answered, and the
// process is not ready from the first moment.
func TestDrain(t *testing.T) {
	for _, path := range []string{"--fast-path=true", "--fast-path=false"} {
		t.Run(path, func(t *testing.T) {
			arrived, leave := make(chan struct{}), make(chan struct{})
			app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					close(arrived)
					<-leave
				}
				_, _ = io.WriteString(w, "answered")
			}))
			defer app.Close()
			var log bytes.Buffer
			public, admin, stop, done := running(t, app.URL, slog.New(slog.NewTextHandler(&log, nil)), "--drain-delay=0s", path)
			answer := make(chan string, 1)
			go func() {
				_, text := get(t, "http://"+public+"/slow")
				answer <- text
			}()
			<-arrived
			if status, text := get(t, "http://"+admin+"/readyz"); status != http.StatusOK {
				t.Errorf("ready: %d %s", status, text)
			}
			stop()
			for status := http.StatusOK; status == http.StatusOK; {
				status, _ = get(t, "http://"+admin+"/readyz")
			}
			close(leave)
			if text := <-answer; text != "answered" {
				t.Errorf("the request under way got %q", text)
			}
			if err := <-done; err != nil || strings.Contains(log.String(), "cut off") {
				t.Errorf("serve: %v\n%s", err, log.String())
			}
		})
	}
}

// TestDrainFailsNoRequest ends a gateway under load. Its users go elsewhere, as those of a load balancer do,
// when it is not ready and has ended their connection.
func TestDrainFailsNoRequest(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "answered") }))
	defer app.Close()
	public, admin, stop, done := running(t, app.URL, slog.New(slog.DiscardHandler), "--drain-delay=500ms")
	var users sync.WaitGroup
	var served atomic.Int64
	draining := make(chan struct{})
	for range 8 {
		users.Go(func() {
			for over := false; !over; {
				conn, err := net.Dial("tcp", public)
				if err != nil {
					t.Errorf("connecting: %v", err)
					return
				}
				in := bufio.NewReader(conn)
				for ended := false; !ended; served.Add(1) {
					_, _ = io.WriteString(conn, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
					resp, err := http.ReadResponse(in, nil)
					if err != nil {
						t.Errorf("a request failed: %v", err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					if ended = resp.Close; resp.StatusCode != http.StatusOK {
						t.Errorf("a request got %d", resp.StatusCode)
					}
				}
				_ = conn.Close()
				select {
				case <-draining:
					over = true
				default:
				}
			}
		})
	}
	for served.Load() < 1000 {
		time.Sleep(time.Millisecond)
	}
	stop()
	for status := http.StatusOK; status == http.StatusOK; {
		status, _ = get(t, "http://"+admin+"/readyz")
	}
	close(draining)
	users.Wait()
	if err := <-done; err != nil {
		t.Errorf("serve: %v", err)
	}
}

// TestRefusalsAreTheGateways lets the server take headers that the gateway refuses, so that it is a
// problem document that says so, and no more than several times as many.
func TestRefusalsAreTheGateways(t *testing.T) {
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(routing.Answer{Version: "v1", Revision: 1, Config: &routing.Config{
			Namespace: "a", Name: "u", UID: "x", Region: "here", Upstream: "http://127.0.0.1:1",
			Regions: []routing.Region{{Name: "here", Weight: 1, State: ownership.RegionServing}},
		}})
	}))
	defer agent.Close()
	c, err := parse([]string{"--agent=" + agent.URL, "--namespace=a", "--name=u"}, environment(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	c.options.Log = slog.New(slog.DiscardHandler)
	g, err := gateway.New(c.options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { g.Run(ctx); close(done) }()
	defer func() { stop(); <-done }()
	for ready := false; !ready; ready, _ = g.Ready() {
		time.Sleep(time.Millisecond)
	}
	server := httptest.NewUnstartedServer(g)
	server.Config = newServer(c, g)
	server.Start()
	defer server.Close()
	for name, tc := range map[string]struct {
		query, header int
		status        int
		kind          string
	}{
		"long address":   {100 << 10, 0, http.StatusRequestURITooLong, "application/problem+json"},
		"large header":   {0, 100 << 10, http.StatusRequestHeaderFieldsTooLarge, "application/problem+json"},
		"absurd header":  {0, 500 << 10, http.StatusRequestHeaderFieldsTooLarge, "text/plain; charset=utf-8"},
		"absurd address": {500 << 10, 0, http.StatusRequestHeaderFieldsTooLarge, "text/plain; charset=utf-8"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/?"+strings.Repeat("x", tc.query), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Large", strings.Repeat("x", tc.header))
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_ = resp.Body.Close()
		if got := resp.Header.Get("Content-Type"); resp.StatusCode != tc.status || got != tc.kind {
			t.Errorf("%s: got %d as %s, want %d as %s", name, resp.StatusCode, got, tc.status, tc.kind)
		}
	}
}

// freeAddress returns a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func get(t *testing.T, url string) (int, string) {
	resp, err := http.Get(url)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}
