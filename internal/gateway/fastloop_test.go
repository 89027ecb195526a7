package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"multiactive.dev/operator/internal/testkit"
)

const loopAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// looped counts the connections that loops have.
func looped(f *FastListener) (n int64) {
	for _, l := range f.loops {
		n += l.load.Load()
	}
	return n
}

func awaitLooped(t *testing.T, f *FastListener, want int64) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		if n := looped(f); n != want {
			return fmt.Errorf("loops have %d connections, want %d", n, want)
		}
		return nil
	})
}

// TestFastLoopKeepsWhatIsSimple: connections stay in their loops, and come back to them when a request that was not simple is
// followed by one that is.
func TestFastLoopKeepsWhatIsSimple(t *testing.T) {
	w := newWorld(t, nil)
	w.withApp(t, rawApp(t, func(_ int, conn net.Conn, in *bufio.Reader) {
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			switch r.URL.RawQuery {
			case "chunked":
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
			default:
				_, _ = io.WriteString(conn, loopAnswer)
			}
		}
	}))
	f := w.places["beijing"].server.fast
	const clients = 40
	ask := func(conn net.Conn, in *bufio.Reader, path string) {
		t.Helper()
		_, _ = io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
		if resp, text := answerTo(t, in, "POST"); resp.StatusCode != http.StatusOK || text != "ok" {
			t.Fatalf("%s: got %d %q", path, resp.StatusCode, text)
		}
	}
	type client struct {
		net.Conn
		in *bufio.Reader
	}
	all := make([]client, clients)
	for i := range all {
		all[i].Conn, all[i].in = dialFast(t, w)
	}
	for range 2 {
		for _, c := range all {
			ask(c.Conn, c.in, "/v1/login")
		}
	}
	awaitLooped(t, f, clients)
	counts := &w.places["beijing"].gateway.fast
	if n := counts.detached.Load(); n != 0 {
		t.Errorf("%d requests took their connections out of the loops", n)
	}
	for _, c := range all {
		ask(c.Conn, c.in, "/v1/login?chunked")
	}
	awaitLooped(t, f, 0)
	for _, c := range all {
		ask(c.Conn, c.in, "/v1/login")
	}
	awaitLooped(t, f, clients)
	if n := counts.detached.Load(); n != clients {
		t.Errorf("%d connections left the loops, want %d", n, clients)
	}
}

// TestFastLoopClientThatSendsNothingMore gets its answer, and the connection's end at once: it may wait for that.
func TestFastLoopClientThatSendsNothingMore(t *testing.T) {
	w := newWorld(t, nil)
	w.withApp(t, rawApp(t, func(_ int, conn net.Conn, in *bufio.Reader) {
		for nextRequest(in) == nil {
			_, _ = io.WriteString(conn, loopAnswer)
		}
	}))
	for range 20 {
		conn, in := dialFast(t, w)
		_, _ = io.WriteString(conn, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if resp, text := answerTo(t, in, "GET"); resp.StatusCode != http.StatusOK || text != "ok" {
			t.Fatalf("got %d %q", resp.StatusCode, text)
		}
		if _, err := in.ReadByte(); err != io.EOF {
			t.Fatalf("the connection goes on: %v", err)
		}
	}
}

// TestFastLoopTakesPieces: requests and answers that come in pieces are put together in the loop.
func TestFastLoopTakesPieces(t *testing.T) {
	w := newWorld(t, nil)
	next := make(chan struct{})
	w.withApp(t, rawApp(t, func(_ int, conn net.Conn, in *bufio.Reader) {
		for nextRequest(in) == nil {
			for _, part := range []string{"HTTP/1.1 200 OK\r\nConte", "nt-Length: 2\r\n\r\n", "o", "k"} {
				_, _ = io.WriteString(conn, part)
				<-next
			}
		}
	}))
	conn, in := dialFast(t, w)
	for range 3 {
		for _, part := range []string{"POST /v1/login HTTP/1.1\r\nHo", "st: x\r\nContent-Length: 4\r\n\r\n", "bo", "dy"} {
			_, _ = io.WriteString(conn, part)
		}
		for range 4 {
			next <- struct{}{}
		}
		if resp, text := answerTo(t, in, "POST"); resp.StatusCode != http.StatusOK || text != "ok" {
			t.Fatalf("got %d %q", resp.StatusCode, text)
		}
	}
	if n := w.places["beijing"].gateway.fast.detached.Load(); n != 0 {
		t.Errorf("the connection left its loop %d times", n)
	}
}

// TestFastLoopDoesNotWaitForClients that send and send, and read nothing: others are served, and nothing is lost.
func TestFastLoopDoesNotWaitForClients(t *testing.T) {
	w := newWorld(t, nil)
	body := strings.Repeat("x", 8<<10)
	w.withApp(t, rawApp(t, func(_ int, conn net.Conn, in *bufio.Reader) {
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nX-N: %s\r\nContent-Length: %d\r\n\r\n%s", r.Header.Get("X-N"), len(body), body)
		}
	}))
	g := w.places["beijing"].gateway
	greedy, greedyIn := dialFast(t, w)
	_ = greedy.SetDeadline(time.Now().Add(6 * patience))
	const requests = 3000 // 24 MB, more than sockets hold
	go func() {
		for i := range requests {
			if _, err := fmt.Fprintf(greedy, "GET /a HTTP/1.1\r\nHost: x\r\nX-N: %d\r\n\r\n", i); err != nil {
				return
			}
		}
	}()
	testkit.Eventually(t, patience, func() error {
		if g.fast.detached.Load() == 0 {
			return errors.New("no answer waits for its client")
		}
		return nil
	})
	for range len(w.places["beijing"].server.fast.loops) + 1 { // one in each loop at least
		conn, in := dialFast(t, w)
		_, _ = io.WriteString(conn, "GET /a HTTP/1.1\r\nHost: x\r\nX-N: other\r\n\r\n")
		if resp, _ := answerTo(t, in, "GET"); resp.Header.Get("X-N") != "other" {
			t.Fatalf("got %d %v", resp.StatusCode, resp.Header)
		}
	}
	for i := range requests {
		resp, text := answerTo(t, greedyIn, "GET")
		if resp.Header.Get("X-N") != strconv.Itoa(i) || text != body {
			t.Fatalf("answer %d: got %d %v, %d bytes", i, resp.StatusCode, resp.Header, len(text))
		}
	}
}

// loopWorld serves one gateway with counted connections.
func loopWorld(t *testing.T, w *world) (*FastListener, string) {
	t.Helper()
	g := w.places["beijing"].gateway
	server := httptest.NewUnstartedServer(g)
	server.Config.Protocols = bothProtocols()
	address := server.Listener.Addr().String()
	fast, ok := g.NewFastListener(g.LimitListener(server.Listener), server.Config).(*FastListener)
	if !ok || len(fast.loops) == 0 {
		t.Fatal("there is no fast path, or no loop")
	}
	server.Listener = fast
	server.Start()
	t.Cleanup(server.Close)
	return fast, address
}

// TestFastLoopMixture sends requests of all kinds over many connections, which therefore go from loops to goroutines, to net/http
// and back: each gets its own answer, and nothing is left in the end.
func TestFastLoopMixture(t *testing.T) {
	w := newWorld(t, nil)
	w.places["beijing"].handle(func(rw http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		rw.Header().Set("X-N", r.Header.Get("X-N"))
		size, _ := strconv.Atoi(r.URL.Query().Get("size"))
		if r.URL.Query().Has("chunked") {
			rw.(http.Flusher).Flush()
		}
		_, _ = io.WriteString(rw, string(text)+strings.Repeat("x", size))
	})
	fast, address := loopWorld(t, w)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const clients, requests = 16, 60
	var all sync.WaitGroup
	for client := range clients {
		all.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(client)))
			if err := mixture(address, client, requests, random); err != nil {
				t.Errorf("client %d: %v", client, err)
			}
		})
	}
	all.Wait()
	g := w.places["beijing"].gateway
	testkit.Eventually(t, patience, func() error {
		fast.mu.Lock()
		left := len(fast.conns)
		fast.mu.Unlock()
		if open := g.connections.open.Load(); left != 0 || open != 0 || looped(fast) != 0 || g.InFlight() != 0 {
			return fmt.Errorf("%d connections are left, %d counted, %d in loops, %d requests", left, open, looped(fast), g.InFlight())
		}
		return nil
	})
	if n := &g.fast; n.served.Load() == 0 || n.lent.Load() == 0 || n.detached.Load() == 0 {
		t.Errorf("served %d, lent %d, detached %d: not all ways were gone", n.served.Load(), n.lent.Load(), n.detached.Load())
	}
}

// mixture sends requests over one connection, some before the answers to those before them were read.
func mixture(address string, client, requests int, random *rand.Rand) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	type expected struct{ name, body string }
	var due []expected
	for i := range requests {
		name, size, query := fmt.Sprintf("%d-%d", client, i), 0, ""
		switch random.IntN(5) {
		case 0:
			size = 200_000
		case 1:
			query = "&chunked"
		}
		body := strings.Repeat("b", random.IntN(4)*700)
		head := fmt.Sprintf("POST /v1/login?size=%d%s HTTP/1.1\r\nHost: x\r\nX-N: %s\r\nContent-Length: %d\r\n", size, query, name, len(body))
		if random.IntN(5) == 0 {
			head += "TE: trailers\r\n" // net/http's
		}
		for _, part := range cutUp(head+"\r\n"+body, 1+random.IntN(3000)) {
			if _, err := io.WriteString(conn, part); err != nil {
				return err
			}
		}
		due = append(due, expected{name, body + strings.Repeat("x", size)})
		for len(due) > random.IntN(3) {
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				return fmt.Errorf("answer to %s: %w", due[0].name, err)
			}
			text, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("X-N") != due[0].name || string(text) != due[0].body {
				return fmt.Errorf("answer to %s: %d for %s, %d bytes, want %d: %w", due[0].name, resp.StatusCode, resp.Header.Get("X-N"), len(text), len(due[0].body), err)
			}
			due = due[1:]
		}
	}
	return nil
}

// TestFastLoopEnds: closed, loops go when their last connection has.
func TestFastLoopEnds(t *testing.T) {
	w := newWorld(t, nil)
	arrived, release := w.places["beijing"].slow()
	fast, address := loopWorld(t, w)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	<-arrived
	_ = fast.Close()
	close(release)
	if resp, _ := answerTo(t, bufio.NewReader(conn), "POST"); resp.StatusCode != http.StatusOK || !resp.Close {
		t.Errorf("got %d, close %v", resp.StatusCode, resp.Close)
	}
	_ = conn.Close()
	testkit.Eventually(t, patience, func() error {
		for _, l := range fast.loops {
			if l.post(func() {}) {
				return errors.New("a loop goes on")
			}
		}
		return nil
	})
}
