package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"multiactive.dev/operator/internal/deferred"
	"multiactive.dev/operator/internal/routing"
	"multiactive.dev/operator/internal/testkit"
)

// TestBacklogIsTold tells metrics and agent what waits, and that nothing does any more.
func TestBacklogIsTold(t *testing.T) {
	d := newDeferring(t, nil)
	p := d.places["beijing"]
	told := func(want string, requests int) {
		t.Helper()
		testkit.Eventually(t, patience, func() error {
			p.agent.mu.Lock()
			defer p.agent.mu.Unlock()
			if p.agent.waiting != want {
				return fmt.Errorf("the agent was told %q, want %q", p.agent.waiting, want)
			}
			return nil
		})
		const name = "multiactive_gateway_deferred_waiting_requests"
		expected := ""
		if requests > 0 {
			expected = fmt.Sprintf("# HELP %s Deferred requests in this region that wait to be carried out, by flow.\n# TYPE %s gauge\n%s{flow=\"transfer\"} %d\n", name, name, name, requests)
		}
		if err := testutil.GatherAndCompare(p.gateway.metrics.registry, strings.NewReader(expected), name); err != nil {
			t.Error(err)
		}
	}
	told("", 0)
	d.lose(t)
	var ids []string
	for n := range 12 {
		ids = append(ids, d.accepted(t, d.key, fmt.Sprintf("lunch-%d", n), `{"amount":1}`))
	}
	told("transfer:<100:<1m", 12)
	if n, err := testutil.GatherAndCount(p.gateway.metrics.registry, "multiactive_gateway_deferred_oldest_seconds"); n != 1 || err != nil {
		t.Errorf("%d flows have an oldest request, %v", n, err)
	}
	if left := nextExpiry(t, p.gateway); left < 23*time.Hour || left > 24*time.Hour {
		t.Errorf("the first request is given up in %s, want the declared day", left)
	}
	d.restore(t)
	for _, id := range ids {
		d.await(t, id, deferred.StateExecuted)
	}
	told("", 0)
}

// nextExpiry is what the gateway's metric tells.
func nextExpiry(t *testing.T, g *Gateway) time.Duration {
	t.Helper()
	families, err := g.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "multiactive_gateway_deferred_next_expiry_seconds" {
			return time.Duration(f.GetMetric()[0].GetGauge().GetValue() * float64(time.Second))
		}
	}
	return 0
}

// TestBacklogOfManyFlows: the question with which the lease is renewed stays one that the agent takes.
func TestBacklogOfManyFlows(t *testing.T) {
	d := newDeferring(t, nil)
	g := d.places["beijing"].gateway
	other := newDeferrals(&Gateway{options: g.options, metrics: newMetrics(g)}, d.logs["beijing"])
	other.current = true
	for n := range 2 * routing.MaxBacklogs {
		name := fmt.Sprintf("%063d", n)
		other.ledger.Apply(deferred.Position{Offset: int64(n)}, deferred.Event{
			Kind: deferred.Accepted, ID: name, At: g.options.Clock.Now(), Request: &deferred.Request{Flow: name, Key: name},
		})
	}
	if list := other.backlog(); len(list) != routing.MaxBacklogs || len(routing.FormatBacklogs(list)) > routing.MaxBacklog {
		t.Errorf("told are %d flows, in %d bytes", len(list), len(routing.FormatBacklogs(list)))
	}
}
