// Package storehealth looks at the coordination store every so often, for what a person should know before
// it fails or while it does: a disk that is full, certificates that expire. It logs that, counts it and tells
// it on. It must never write to the store, nor keep anybody from using it.
package storehealth

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/metrics"
)

// Interval is how often the store is looked at.
const Interval = 15 * time.Second

// Store is what is looked at; coordination.Store implements it.
type Store interface {
	Inspect(ctx context.Context, now time.Time) coordination.Health
}

// Monitor looks at one store. It implements manager.Runnable. All fields are required.
type Monitor struct {
	Store Store
	Clock clock.WithTicker
	Log   logr.Logger

	mu     sync.Mutex
	latest coordination.Health
}

// NeedLeaderElection tells the manager that every replica looks for itself: its files are its own.
func (*Monitor) NeedLeaderElection() bool { return false }

// Start looks until ctx ends.
func (m *Monitor) Start(ctx context.Context) error {
	ticker := m.Clock.NewTicker(Interval)
	defer ticker.Stop()
	for {
		m.look(ctx)
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return nil
		}
	}
}

func (m *Monitor) look(ctx context.Context) {
	h := m.Store.Inspect(ctx, m.Clock.Now())
	if ctx.Err() != nil {
		return
	}
	expiries := map[string]time.Time{}
	for _, c := range h.Certificates {
		if at, told := expiries[c.What]; !told || c.NotAfter.Before(at) {
			expiries[c.What] = c.NotAfter
		}
	}
	metrics.SetStore(len(h.Broken) > 0, h.Size, h.Quota, expiries)
	m.mu.Lock()
	before := m.latest
	m.latest = h
	m.mu.Unlock()
	for _, text := range h.Broken {
		if !slices.Contains(before.Broken, text) {
			m.Log.Info("The coordination store does not serve as it should.", "problem", text)
		}
	}
	for _, text := range h.Warnings {
		if !slices.Contains(before.Warnings, text) {
			m.Log.Info("The coordination store will not serve as it should.", "warning", text)
		}
	}
	if len(before.Broken) > 0 && len(h.Broken) == 0 {
		m.Log.Info("Nothing keeps the coordination store from serving any more.")
	}
}

// Broken says what keeps the store from serving, empty when nothing is known to.
func (m *Monitor) Broken() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.latest.Broken, "; ")
}

// Trouble says that, and what will.
func (m *Monitor) Trouble() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(append(slices.Clone(m.latest.Broken), m.latest.Warnings...), "; ")
}
