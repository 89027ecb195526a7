package peercerts

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownca"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/peertls"
)

const (
	// every is how often the keeper looks at what nothing announces: time that passes, gateways that have
	// taken up their routing.
	every = 10 * time.Second
	// callTimeout bounds one look.
	callTimeout = 20 * time.Second
)

// Agent is the region's agent as the keeper needs it.
type Agent interface {
	// Snapshot returns the latest agreed configuration, and false before the first.
	Snapshot() (ownership.Configuration, bool)
	// Subscribe announces new configurations until the function is called.
	Subscribe() (<-chan struct{}, func())
	// PutTrust says what the region's gateways show and whom they believe.
	PutTrust(ctx context.Context, t ownership.Trust) error
	// RoutingTaken reports whether all gateways act on what was decided up to a revision.
	RoutingTaken(decided int64) bool
}

// Keeper keeps the region's authority. It is a manager's Runnable, and runs where the member acts.
type Keeper struct {
	// Client writes, Reader reads from the API server: Secrets are not cached.
	Client    client.Client
	Reader    client.Reader
	Namespace string
	Region    string
	Agent     Agent
	Clock     clock.WithTicker
	Lifetimes ownca.Lifetimes
	Log       logr.Logger

	mu      sync.Mutex
	state   ownca.State
	loaded  bool
	changed chan event.GenericEvent
	// failing is the last failure, to log each only once.
	failing string
}

// NewKeeper returns a keeper whose other fields the caller sets.
func NewKeeper() *Keeper { return &Keeper{changed: make(chan event.GenericEvent, 1)} }

// Start implements manager.Runnable.
func (k *Keeper) Start(ctx context.Context) error {
	news, cancel := k.Agent.Subscribe()
	defer cancel()
	tick := k.Clock.NewTicker(every)
	defer tick.Stop()
	var seen ownership.Configuration
	for {
		if c, have := k.Agent.Snapshot(); have {
			seen = c
		}
		k.report(ctx, k.look(ctx))
		for again := false; !again; {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C():
				again = true
			case <-news: // mostly beats, and services
				c, _ := k.Agent.Snapshot()
				again = !ownership.SameDecisions(&seen, &c)
			}
		}
	}
}

// report logs a failure when it begins or changes.
func (k *Keeper) report(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err == nil:
		k.failing = ""
	case k.failing != err.Error():
		k.failing = err.Error()
		k.Log.Info("The authority for the gateways' certificates could not be kept; trying again.", "error", err.Error())
	}
}

// look reads the authority, takes a step if one is due, and tells the other regions.
func (k *Keeper) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, have := k.Agent.Snapshot()
	if !have {
		return nil // whom to wait for is not known
	}
	state, version, err := k.load(ctx)
	if err != nil {
		return err
	}
	step, err := ownca.Advance(&state, ownca.ForGateways(k.Region), k.Clock.Now(), k.Lifetimes, func(next *x509.Certificate) bool {
		return everywhere(c, k.Region, ownca.Fingerprint(next))
	})
	if err != nil {
		return err
	}
	if step != ownca.StepNone {
		if err := k.store(ctx, state, version); err != nil {
			return err
		}
		k.Log.Info("The authority for the gateways' certificates changed.", "step", string(step),
			"current", ownca.Fingerprint(state.Current.Certificate), "expires", state.Current.Certificate.NotAfter)
	}
	k.keep(state)
	return k.tell(ctx, c, state)
}

// keep makes the state known to whoever signs with it.
func (k *Keeper) keep(state ownca.State) {
	k.mu.Lock()
	before := k.state.Current
	k.state, k.loaded = state, true
	k.mu.Unlock()
	if before == nil || !before.Certificate.Equal(state.Current.Certificate) {
		select {
		case k.changed <- event.GenericEvent{Object: &v1alpha1.RegionalService{}}:
		default: // it is to be heard of already
		}
	}
}

// current is who signs now; nil before the first look.
func (k *Keeper) current() *ownca.Authority {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state.Current
}

// tell writes into the coordination store what of the authority is public, and whom the region's gateways
// believe. What they have believed once, and is still shown, they go on believing.
func (k *Keeper) tell(ctx context.Context, c ownership.Configuration, state ownca.State) error {
	t := ownership.Trust{Knows: map[string][]string{}}
	for _, cert := range state.Trusted() {
		t.Authorities = append(t.Authorities, string(ownca.PEM(cert)))
	}
	taken := k.Agent.RoutingTaken(c.Decided)
	before := c.Trusts[k.Region].Knows
	for region, other := range c.Trusts {
		if region == k.Region {
			continue
		}
		var known []string
		for _, text := range other.Authorities {
			certs, err := peertls.ParseCertificates([]byte(text))
			if err != nil {
				continue // no gateway believes it either
			}
			if fingerprint := ownca.Fingerprint(certs[0]); taken || slices.Contains(before[region], fingerprint) {
				known = append(known, fingerprint)
			}
		}
		slices.Sort(known)
		if len(known) > 0 {
			t.Knows[region] = known
		}
	}
	if err := k.Agent.PutTrust(ctx, t); err != nil {
		return fmt.Errorf("telling the other regions: %w", err)
	}
	return nil
}

// everywhere reports whether every other region that may send or get requests has said that its gateways
// believe an authority. Regions that say nothing at all have no gateways that speak by certificates.
func everywhere(c ownership.Configuration, own, fingerprint string) bool {
	for region, t := range c.Trusts {
		record, there := c.View.Regions[region]
		if region == own || !there || record.Gone {
			continue
		}
		if !slices.Contains(t.Knows[own], fingerprint) {
			return false
		}
	}
	return true
}

// errNotOurs is why a Secret is left alone.
var errNotOurs = errors.New("the Secret exists and was not made by the operator: rename or remove it")
