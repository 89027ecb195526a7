package agent_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/testkit"
)

// link carries connections to one member of the store. While it is cut it swallows what is sent,
// as a network that drops packets does: nobody is told.
type link struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	whole *sync.Cond
	cut   bool
	conns []net.Conn
}

func newLink(t *testing.T, endpoint string) *link {
	t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{listener: listener, target: u.Host}
	l.whole = sync.NewCond(&l.mu)
	go l.accept()
	t.Cleanup(func() { _ = listener.Close(); l.set(false); l.closeAll() })
	return l
}

func (l *link) endpoint() string { return "http://" + l.listener.Addr().String() }

func (l *link) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	l.whole.Broadcast()
}

func (l *link) closeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		_ = c.Close()
	}
}

func (l *link) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		far, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", l.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		l.mu.Lock()
		l.conns = append(l.conns, near, far)
		l.mu.Unlock()
		go l.carry(near, far)
		go l.carry(far, near)
	}
}

func (l *link) carry(from, to net.Conn) {
	defer func() { _ = from.Close(); _ = to.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		l.mu.Lock()
		for l.cut {
			l.whole.Wait()
		}
		l.mu.Unlock()
		if _, writeErr := to.Write(buffer[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

// A region that is cut off and runs on must hold no lease when the others take it for Lost, and
// come back as the same incarnation. What it sent before and arrives late must do no harm.
func TestCutOffRegion(t *testing.T) {
	w := newWorld(t)
	const victim = "shanghai"
	var links []*link
	var endpoints []string
	for _, e := range w.store.Endpoints() {
		l := newLink(t, e)
		links = append(links, l)
		endpoints = append(endpoints, l.endpoint())
	}
	w.agents[victim].stop()
	w.agents[victim].wait()
	store, err := coordination.Connect(coordination.Options{Endpoints: endpoints, RequestTimeout: 600 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	w.startOn(victim, store)
	a := w.agents[victim]
	w.eventually("it has a lease again", func(c ownership.Configuration) bool {
		return a.Lease() > 0 && !c.View.Regions[victim].Suspect && c.Leader != ""
	})

	leaseAtLoss := make(chan time.Duration, 1)
	w.onChange(func(c ownership.Configuration) {
		if !c.Gates[victim].Open {
			select {
			case leaseAtLoss <- a.Lease():
			default:
			}
		}
	})
	for _, l := range links {
		l.set(true)
	}
	w.net.kill(victim, true)
	w.eventually("it is Lost", func(c ownership.Configuration) bool {
		return c.View.Regions[victim].State == ownership.RegionLost
	})
	if lease := <-leaseAtLoss; lease > 0 {
		t.Errorf("the gate was closed while the region held a lease for another %s", lease)
	}
	if reachable, _ := a.StoreReachable(); reachable {
		t.Error("the region that is cut off takes the store for reachable")
	}
	identity := a.Identity()
	for _, l := range links {
		l.set(false)
	}
	testkit.Eventually(t, 30*time.Second, func() error {
		c, _ := a.Snapshot()
		if c.View.Regions[victim].State == ownership.RegionServing || a.Lease() > 0 {
			return fmt.Errorf("the region has not heard of its loss: %+v, lease %s", c.View.Regions[victim], a.Lease())
		}
		return nil
	})
	w.net.kill(victim, false)
	w.eventually("it serves again", func(c ownership.Configuration) bool {
		return c.View.Regions[victim].State == ownership.RegionServing && a.Lease() > 0
	})
	if a.Identity() != identity {
		t.Errorf("the agent is %s, was %s", a.Identity(), identity)
	}
	w.checkHistory(victim)
}
