package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"multiactive.dev/operator/internal/agent"
	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
	"multiactive.dev/operator/internal/testkit/etcdstore"
)

const (
	// viewGateways act on each change.
	viewGateways = 10
	// viewPause is the time between two changes, in which gateways wait for the next as they mostly do.
	viewPause = 150 * time.Millisecond
	// viewTimeout bounds the wait for the last gateway.
	viewTimeout = time.Minute
)

// views are the times from a change of the routing at the agent until the last gateway acted on it.
type views []time.Duration

// share returns the time that a share of the changes took at most.
func (v views) share(of float64) time.Duration {
	sorted := slices.Sorted(slices.Values(v))
	return sorted[int(of*float64(len(sorted)-1))]
}

// measureViews changes the routing of ten gateways, each a process, at a region's real agent, which has a store of its
// own. A gateway acts on a routing when it asks for the next one: from then on it admits nothing under the one before.
func measureViews(ctx context.Context, o *options, w *world, gateway string) (views, error) {
	ctx, cancel := context.WithCancel(ctx)
	var ended sync.WaitGroup
	defer ended.Wait()
	defer cancel()
	store, err := etcdstore.New(etcdstore.Options{Dir: filepath.Join(w.dir, "store"), Members: []etcdstore.MemberOptions{{Name: here, Host: "127.0.0.1"}}})
	if err != nil {
		return nil, err
	}
	if err := store.Start(ctx); err != nil {
		return nil, err
	}
	defer func() { _ = store.Kill() }()
	client, err := coordination.Connect(coordination.Options{Endpoints: store.Endpoints()})
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	a, err := agent.New(agent.Config{
		Region: here, Store: client, Clock: agent.SystemClock(), Timings: ownership.DefaultTimings(), Prober: agent.NewProber(),
	})
	if err != nil {
		return nil, err
	}
	ended.Go(func() { _ = a.Run(ctx) })
	acts := &acting{seen: map[string]map[string]time.Time{}, news: make(chan struct{}, 1)}
	url, stop, err := serve(acts.spy(a.Handler(a.Publisher())))
	if err != nil {
		return nil, err
	}
	defer stop()
	var gateways []*contender
	defer func() {
		for _, c := range gateways {
			c.stop()
		}
	}()
	for i := range viewGateways {
		c, err := startGateway(ctx, url, fmt.Sprintf("gateway-%d", i), gateway)
		if err != nil {
			return nil, err
		}
		gateways = append(gateways, c)
	}
	return acts.measure(ctx, o, w, a.Publisher())
}

// acting notes when gateways act on which version of the routing.
type acting struct {
	mu   sync.Mutex
	seen map[string]map[string]time.Time // by version, then by gateway
	news chan struct{}
}

// spy stands before the agent.
func (a *acting) spy(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now, q := time.Now(), r.URL.Query()
		a.mu.Lock()
		version, gateway := q.Get(routing.ParamVersion), q.Get(routing.ParamGateway)
		if a.seen[version] == nil {
			a.seen[version] = map[string]time.Time{}
		}
		if _, known := a.seen[version][gateway]; !known {
			a.seen[version][gateway] = now
		}
		a.mu.Unlock()
		select {
		case a.news <- struct{}{}:
		default:
		}
		next.ServeHTTP(w, r)
	})
}

// all returns when the last gateway began to act on a version, if all do.
func (a *acting) all(version string) (time.Time, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	times := slices.SortedFunc(maps.Values(a.seen[version]), time.Time.Compare)
	if len(times) < viewGateways {
		return time.Time{}, false
	}
	return times[len(times)-1], true
}

// measure makes changes one after the other. The first is that there is a routing at all, and does not count.
func (a *acting) measure(ctx context.Context, o *options, w *world, p *agent.Publisher) (views, error) {
	var out views
	for n := range o.changes + 1 {
		cfg := *w.routing()
		cfg.Epoch = int64(n + 1)
		began := time.Now()
		if err := p.Publish(cfg.Namespace, cfg.Name, func(ownership.Configuration) routing.Config { return cfg }); err != nil {
			return nil, err
		}
		took, err := a.await(ctx, p, began)
		if err != nil {
			return nil, fmt.Errorf("change %d: %w", n, err)
		}
		if n > 0 {
			out = append(out, took)
		}
		time.Sleep(viewPause)
	}
	return out, nil
}

// await waits until all gateways act on what is published, which it is once the agent has read its store.
func (a *acting) await(ctx context.Context, p *agent.Publisher, began time.Time) (time.Duration, error) {
	timeout := time.NewTimer(viewTimeout)
	defer timeout.Stop()
	for {
		current := p.Config("bench", "bench")
		if last, all := a.all(current.Version); all && current.Found {
			return last.Sub(began), nil
		}
		select {
		case <-a.news:
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-timeout.C:
			return 0, errors.New("some gateway does not act on it")
		}
	}
}

// serve serves on an address of its own.
func serve(h http.Handler) (url string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	return "http://" + l.Addr().String(), func() { _ = s.Close() }, nil
}

// writeFiles writes files into a directory of its own.
func writeFiles(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}
