package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/playground/world"
	"multiactive.dev/operator/internal/testkit/poll"
)

const (
	lookInterval = 50 * time.Millisecond
	lookTimeout  = time.Second
	// statusInterval is how often the hub and the regions' API servers are asked.
	statusInterval = 100 * time.Millisecond
)

// httpClient keeps no connections: what counts is whether a new user is served.
var httpClient = &http.Client{Timeout: lookTimeout, Transport: &http.Transport{DisableKeepAlives: true}}

// await looks until check returns nil, at most for limit.
func (d *Demo) await(ctx context.Context, limit time.Duration, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not within %s", limit))
	defer cancel()
	return poll.Until(ctx, statusInterval, check)
}

func get(ctx context.Context, url string) ([]byte, int, error) { return getUpTo(ctx, url, 64<<10) }

// viewLimit is for what an agent says of all services and gateways.
const viewLimit = 64 << 20

func getUpTo(ctx context.Context, url string, limit int64) ([]byte, int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, 0, err
	}
	answer, err := httpClient.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, limit))
	return body, answer.StatusCode, err
}

// healthy returns nil when the region's gateway says that it serves the service.
func healthy(ctx context.Context, r *world.Region) error {
	body, status, err := get(ctx, r.Edge()+"/.multiactive/healthz")
	if err != nil {
		return fmt.Errorf("gateway of %s: %w", r.Name, err)
	}
	if status != http.StatusOK {
		return fmt.Errorf("gateway of %s answers %d: %s", r.Name, status, strings.TrimSpace(string(body)))
	}
	return nil
}

// stateSeen is what a region's gateway says of another region.
func stateSeen(ctx context.Context, r *world.Region, other string) (state string, serves bool, err error) {
	body, status, err := get(ctx, r.Edge()+"/.multiactive/endpoints")
	if err != nil {
		return "", false, fmt.Errorf("gateway of %s: %w", r.Name, err)
	}
	if status != http.StatusOK {
		return "", false, fmt.Errorf("gateway of %s answers %d", r.Name, status)
	}
	var seen struct {
		Regions []struct {
			Name   string
			Serves bool
			State  string
		}
	}
	if err := json.Unmarshal(body, &seen); err != nil {
		return "", false, fmt.Errorf("gateway of %s: %w", r.Name, err)
	}
	for _, x := range seen.Regions {
		if x.Name == other {
			return x.State, x.Serves, nil
		}
	}
	return "", false, fmt.Errorf("the gateway of %s does not know %s", r.Name, other)
}

// service reads the service from the hub.
func (d *Demo) service(ctx context.Context, hub client.Client) (*v1alpha1.MultiActiveService, error) {
	s := &v1alpha1.MultiActiveService{}
	err := hub.Get(ctx, client.ObjectKeyFromObject(d.manifest.Service), s)
	return s, err
}

// flagged reports whether the region's ConfigMap of flags says that some flow is degraded.
func (d *Demo) flagged(ctx context.Context, c client.Client) (bool, error) {
	flags := &corev1.ConfigMap{}
	key := client.ObjectKeyFromObject(d.manifest.Service)
	key.Name += "-flags"
	if err := c.Get(ctx, key, flags); err != nil {
		return false, err
	}
	var file struct {
		Flags map[string]struct{ DefaultVariant string }
	}
	if err := json.Unmarshal([]byte(flags.Data["flags.json"]), &file); err != nil {
		return false, fmt.Errorf("ConfigMap %s: %w", key.Name, err)
	}
	for _, f := range file.Flags {
		if f.DefaultVariant == "on" {
			return true, nil
		}
	}
	return false, nil
}

// flags returns nil when the flags of every region say that some flow is degraded, or that none is.
func (d *Demo) flags(ctx context.Context, clients map[string]client.Client, degraded bool) error {
	for _, region := range sortedKeys(clients) {
		on, err := d.flagged(ctx, clients[region])
		if err != nil {
			return fmt.Errorf("flags of %s: %w", region, err)
		}
		if on != degraded {
			return fmt.Errorf("flags of %s: some flow is degraded: %t", region, on)
		}
	}
	return nil
}

// clients returns a client for every region's cluster.
func clients(regions []*world.Region) (map[string]client.Client, error) {
	out := map[string]client.Client{}
	for _, r := range regions {
		c, err := r.Client()
		if err != nil {
			return nil, err
		}
		out[r.Name] = c
	}
	return out, nil
}

// timeline collects when things were first seen.
type timeline struct {
	mu     sync.Mutex
	events map[string]time.Time
}

func newTimeline() *timeline { return &timeline{events: map[string]time.Time{}} }

func (t *timeline) mark(event string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.events[event]; !known && !at.IsZero() {
		t.events[event] = at
	}
}

func (t *timeline) at(event string) (time.Time, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, known := t.events[event]
	return at, known
}

// leader names the region whose agent leads; empty when nobody says so.
func (d *Demo) leader(ctx context.Context) string {
	for _, r := range d.world.Regions() {
		body, status, err := getUpTo(ctx, r.AgentURL()+"/v1/view", viewLimit)
		if err != nil || status != http.StatusOK {
			continue
		}
		var view struct{ IsLeader bool }
		if json.Unmarshal(body, &view) == nil && view.IsLeader {
			return r.Name
		}
	}
	return ""
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
