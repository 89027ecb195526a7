package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
)

// Prober asks one address of another region. An error means that it did not answer.
type Prober interface {
	Probe(ctx context.Context, p ownership.Probe) error
}

// NewProber returns the Prober that asks over the network. Every probe opens a connection of its
// own and follows no redirect: what is asked is whether a new user would be answered there.
func NewProber() Prober { return networkProber{} }

type networkProber struct{}

// Probe implements Prober. ctx bounds it.
func (networkProber) Probe(ctx context.Context, p ownership.Probe) error {
	u, err := url.Parse(p.URL)
	if err != nil {
		return fmt.Errorf("probe %s: %w", p.Name, err)
	}
	switch u.Scheme {
	case "tcp":
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
		if err != nil {
			return fmt.Errorf("probe %s: %w", p.Name, err)
		}
		_ = conn.Close()
		return nil
	case "http", "https":
		return get(ctx, p)
	default:
		return fmt.Errorf("probe %s: the URL's scheme is %q; use http, https or tcp", p.Name, u.Scheme)
	}
}

func get(ctx context.Context, p ownership.Probe) error {
	transport := &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10}
	if len(p.CABundle) > 0 {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(p.CABundle) {
			return fmt.Errorf("probe %s: its CA bundle holds no certificate in PEM", p.Name)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL, http.NoBody)
	if err != nil {
		return fmt.Errorf("probe %s: %w", p.Name, err)
	}
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("probe %s: %w", p.Name, err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("probe %s: answered %s", p.Name, answer.Status)
	}
	return nil
}

// probe probes every other region once per interval. A region that is slow to answer is not asked
// again before it has, and holds up no other.
func (a *Agent) probe(ctx context.Context) error {
	var asking sync.Map
	var all sync.WaitGroup
	defer all.Wait()
	ticker := a.config.Clock.NewTicker(a.config.Timings.ProbeInterval)
	defer ticker.Stop()
	for {
		for _, target := range a.targets() {
			if _, busy := asking.LoadOrStore(target.Name, true); busy {
				continue
			}
			all.Go(func() {
				defer asking.Delete(target.Name)
				a.ask(ctx, target)
			})
		}
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// targets returns the other regions that can be probed, and forgets what the others answered.
func (a *Agent) targets() []ownership.RegionIntent {
	c, _ := a.Snapshot()
	var targets []ownership.RegionIntent
	var names []string
	for name, intent := range c.RegionIntents {
		if name != a.config.Region && len(intent.Probes) > 0 {
			targets = append(targets, intent)
			names = append(names, name)
		}
	}
	a.mu.Lock()
	a.observer.Retain(names)
	a.mu.Unlock()
	return targets
}

// ask runs a region's probes, all at once, and records the outcome: all must answer.
func (a *Agent) ask(ctx context.Context, target ownership.RegionIntent) {
	bounded, cancel := context.WithTimeout(ctx, a.config.Timings.ProbeTimeout)
	defer cancel()
	began := a.config.Clock.Boottime()
	failures := make([]error, len(target.Probes))
	var all sync.WaitGroup
	for i, p := range target.Probes {
		all.Go(func() { failures[i] = a.config.Prober.Probe(bounded, p) })
	}
	all.Wait()
	if ctx.Err() != nil {
		return // the agent ends: that is no evidence against anybody
	}
	err := errors.Join(failures...)
	ended := a.config.Clock.Boottime()
	a.mu.Lock()
	before := a.observer.Evidence()
	a.observer.Record(began, ended, target.Name, err == nil)
	changed := !sameEvidence(before, a.observer.Evidence())
	a.mu.Unlock()
	if changed {
		a.config.Log.Info("What this region sees of another has changed.", "region", target.Name,
			"answers", err == nil, "error", errorText(err))
		select {
		case a.evidenceChanged <- struct{}{}:
		default:
		}
	}
}

// Signs reports whether this agent itself sees that something is wrong, before the regions have agreed on it:
// its probes of a region that is not lost fail, or the store does not answer.
func (a *Agent) Signs() bool {
	reachable, _ := a.StoreReachable()
	a.mu.Lock()
	defer a.mu.Unlock()
	for name := range a.observer.Failing() {
		if rec, known := a.conf.View.Regions[name]; known && rec.State != ownership.RegionLost {
			return true
		}
	}
	return a.have && !reachable
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// report writes this region's evidence whenever the store has another (R13).
func (a *Agent) report(ctx context.Context) error {
	news, cancel := a.Subscribe()
	defer cancel()
	for {
		select {
		case <-news:
		case <-a.evidenceChanged:
		case <-ctx.Done():
			return ctx.Err()
		}
		c, _ := a.Snapshot()
		a.mu.Lock()
		evidence, r := a.observer.Evidence(), a.registration
		a.mu.Unlock()
		if a.config.Local != nil {
			evidence.Lagging = a.config.Local.Lagging(ctx)
		}
		if r == nil || !c.Gates[a.config.Region].Open || a.refusesStore() || sameEvidence(c.Evidence[a.config.Region], evidence) {
			continue
		}
		// The next configuration, which the beats bring about, tries again what fails.
		if err := a.afterWrite(putEvidence(ctx, r, c, evidence)); err != nil {
			return err
		}
	}
}

func putEvidence(ctx context.Context, r *coordination.Registration, c ownership.Configuration, e ownership.Evidence) error {
	_, err := r.PutEvidence(ctx, c, e)
	return err
}

func sameEvidence(a, b ownership.Evidence) bool {
	return slices.Equal(a.Unreachable, b.Unreachable) && slices.Equal(a.Failing, b.Failing) && slices.Equal(a.Lagging, b.Lagging)
}
