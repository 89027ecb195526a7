package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

// envGateway has this test binary be the gateway's program.
const envGateway = "MULTIACTIVE_TEST_GATEWAY"

func TestMain(m *testing.M) {
	if os.Getenv(envGateway) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// balancer stands for a Service: it takes new connections to the gateways that are ready, and leaves those that
// there are alone.
type balancer struct {
	net.Listener
	mu      sync.Mutex
	members []*member
	next    int
}

// member is a gateway's process behind the balancer.
type member struct {
	listen, admin string
	cmd           *exec.Cmd
	log           bytes.Buffer
	ready         bool
}

func newBalancer(t *testing.T) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{Listener: l}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go b.pass(conn)
		}
	}()
	return b
}

// pass connects a user with a gateway.
func (b *balancer) pass(user net.Conn) {
	defer func() { _ = user.Close() }()
	b.mu.Lock()
	var to string
	for range b.members {
		b.next++
		if m := b.members[b.next%len(b.members)]; m.ready {
			to = m.listen
			break
		}
	}
	b.mu.Unlock()
	gateway, err := net.Dial("tcp", to)
	if err != nil {
		return // the user sees it
	}
	defer func() { _ = gateway.Close() }()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{user, gateway}, {gateway, user}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_ = way[0].(*net.TCPConn).CloseWrite()
		})
	}
	both.Wait()
}

// start adds a gateway and waits until it is ready.
func (b *balancer) start(t *testing.T, agent string) *member {
	t.Helper()
	m := &member{listen: ownAddress(t), admin: ownAddress(t)}
	m.cmd = exec.Command(os.Args[0], "--agent="+agent, "--namespace=accounts", "--name=user",
		"--listen="+m.listen, "--admin-listen="+m.admin, "--drain-delay=1s")
	m.cmd.Env = append(os.Environ(), envGateway+"=1", "POD_NAME=gateway-"+m.listen)
	m.cmd.Stdout, m.cmd.Stderr = &m.log, &m.log
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.cmd.Process.Kill() })
	eventually(t, "a gateway is ready", m.isReady)
	b.mu.Lock()
	defer b.mu.Unlock()
	m.ready = true
	b.members = append(b.members, m)
	return m
}

func (m *member) isReady() bool {
	resp, err := http.Get("http://" + m.admin + "/readyz")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// remove ends a gateway as a rolling update does: it is told, found not ready, given no more connections, and awaited.
func (b *balancer) remove(t *testing.T, m *member) {
	t.Helper()
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the gateway is not ready", func() bool { return !m.isReady() })
	b.mu.Lock()
	m.ready = false
	b.members = slices.DeleteFunc(b.members, func(x *member) bool { return x == m })
	b.mu.Unlock()
	if err := m.cmd.Wait(); err != nil {
		t.Errorf("a gateway ended with %v", err)
	}
	if log := m.log.String(); strings.Contains(log, "cut off") || !strings.Contains(log, `"drained"`) {
		t.Errorf("a gateway's log: %s", log)
	}
}

// agentFor answers gateways of a region whose every request is a home write here.
func agentFor(t *testing.T, region, app, service string) string {
	t.Helper()
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := routing.Answer{Version: "v1", Revision: 1, LeaseRemaining: time.Minute}
		if r.URL.Query().Get(routing.ParamVersion) == "" {
			answer.Config = &routing.Config{
				Namespace: "accounts", Name: "user", UID: "x", Region: region, Epoch: 1, Upstream: app,
				Regions: []routing.Region{
					{Name: "here", Weight: 1, Endpoint: service, State: ownership.RegionServing},
					{Name: "there", Weight: 0, Endpoint: "http://127.0.0.1:1", State: ownership.RegionServing},
				},
				Keys:    []routing.Key{{Name: "phone", From: []routing.Source{{Type: routing.SourceHeader, Name: "X-User-Phone"}}}},
				Flows:   []routing.Flow{{Name: "pay", Key: "phone", HomeRegion: true, OnHomeLoss: "Reject", Match: []routing.Match{{Path: "/"}}}},
				PeerKey: []byte("0123456789abcdef0123456789abcdef"),
			}
		} else {
			select {
			case <-r.Context().Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(agent.Close)
	return agent.URL
}

// TestRollingUpdate replaces both gateways of a region, one after the other, while users write over HTTP/1.1 and HTTP/2 and
// another region's gateway forwards writes. None of them fails.
func TestRollingUpdate(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %v %s", body, err, r.Header.Get("Multiactive-Owner"))
	}))
	defer app.Close()
	service := newBalancer(t)
	front := "http://" + service.Addr().String()
	agent := agentFor(t, "here", app.URL, front)
	old := []*member{service.start(t, agent), service.start(t, agent)}
	elsewhere := (&balancer{}).start(t, agentFor(t, "there", app.URL, front))

	h2 := &http.Transport{Protocols: new(http.Protocols)}
	h2.Protocols.SetUnencryptedHTTP2(true)
	users := map[string]struct {
		to     string
		client *http.Client
	}{
		"HTTP/1.1":       {front, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}},
		"HTTP/2":         {front, &http.Client{Transport: h2}},
		"another region": {"http://" + elsewhere.listen, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}},
	}
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	end := sync.OnceFunc(func() { cancel(); load.Wait() })
	defer end()
	var mu sync.Mutex
	served := map[string]int{}
	for name, u := range users {
		for range 4 {
			load.Go(func() {
				for ctx.Err() == nil {
					if err := writeOnce(u.client, u.to); err != nil {
						t.Errorf("%s: %v", name, err)
						return
					}
					mu.Lock()
					served[name]++
					mu.Unlock()
				}
			})
		}
	}
	// more waits until users of every kind were served again.
	more := func() {
		t.Helper()
		mu.Lock()
		clear(served)
		mu.Unlock()
		eventually(t, "users of all kinds are served", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return t.Failed() || served["HTTP/1.1"] >= 20 && served["HTTP/2"] >= 20 && served["another region"] >= 20
		})
	}
	more()
	for _, m := range old {
		service.start(t, agent)
		more()
		service.remove(t, m)
		more()
	}
	end()
}

// writeOnce makes one write, and reports how it failed.
func writeOnce(client *http.Client, to string) error {
	req, err := http.NewRequest(http.MethodPost, to+"/v1/payments", strings.NewReader("250"))
	if err != nil {
		return err
	}
	req.Header.Set("X-User-Phone", "13800000000")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || string(text) != "250 <nil> here" {
		return fmt.Errorf("%s: %q %w", resp.Status, text, err)
	}
	return nil
}
