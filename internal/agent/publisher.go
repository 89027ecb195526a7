package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

// Build makes one service's routing from a configuration. It must be pure and quick, and depend on nothing but the
// view, whom the regions trust, and the record of the service whose UID the routing has: it is called with every
// configuration in which one of these differs, before any gateway hears of it.
type Build func(ownership.Configuration) routing.Config

// Published is the routing of one service as last built.
type Published struct {
	Config routing.Config
	// Version is a hash of Config: equal routing has equal versions, over restarts too.
	Version string
	// Revision of the coordination store up to which Config is current, and the regions' gates in it.
	Revision int64
	Gates    map[string]ownership.Gate
	// Changed is closed when Version changes or the service is withdrawn.
	Changed <-chan struct{}
	// Found is false for a service that is not published, or before the first configuration.
	Found bool
}

// ConfigSource is where the routing server takes its answers from.
type ConfigSource interface {
	// Config returns the routing of a service. Changed is never nil.
	Config(namespace, name string) Published
}

// Publisher keeps the routing of every service up to date with the configuration, without waiting
// for any controller. It is safe for concurrent use.
type Publisher struct {
	snapshot func() (ownership.Configuration, bool)

	mu      sync.Mutex
	last    ownership.Configuration // of the latest update
	entries map[serviceName]*entry
}

type serviceName struct{ namespace, name string }

type entry struct {
	build   Build
	config  routing.Config
	version string
	changed chan struct{}
	// from is the configuration that config was made from; revision and gates are those of the latest that gives the
	// same.
	from     ownership.Configuration
	revision int64
	gates    map[string]ownership.Gate
}

// news is what a configuration has that the one before had not.
type news struct {
	before, after *ownership.Configuration
	same          bool            // but for single services
	services      map[string]bool // whose records differ, by UID
}

func newsOf(before, after *ownership.Configuration) news {
	n := news{before: before, after: after, same: ownership.SameDecisions(before, after), services: map[string]bool{}}
	if n.same && before.Decided != after.Decided {
		for _, uid := range ownership.DifferingServices(before.Services, after.Services) {
			n.services[uid] = true
		}
	}
	return n
}

// concerns reports whether the news may change the routing: with a thousand services, nearly every decision is about
// others, and to compare all that each was made from would be much of what an agent does while they are declared.
func (n *news) concerns(e *entry) bool {
	if e.version == "" {
		return true
	}
	if e.from.Revision == n.before.Revision {
		return !n.same || n.services[e.config.UID]
	}
	// It was published in between.
	return !ownership.SameDecisions(&e.from, n.after) ||
		e.from.Decided != n.after.Decided && !reflect.DeepEqual(e.from.Services[e.config.UID], n.after.Services[e.config.UID])
}

func newPublisher(snapshot func() (ownership.Configuration, bool)) *Publisher {
	return &Publisher{snapshot: snapshot, entries: map[serviceName]*entry{}}
}

// Publish makes the service's routing known to its gateways, now and after every change of the
// configuration, until the next Publish or Withdraw of the same service.
func (p *Publisher) Publish(namespace, name string, build Build) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Read under the lock, so that no older configuration can be built from afterwards.
	c, have := p.snapshot()
	e := p.entry(serviceName{namespace, name})
	e.build = build
	if !have {
		return nil // built with the first configuration
	}
	return p.rebuild(e, c)
}

// Withdraw ends a service: its gateways keep what they have, and their lease runs out with the
// region's next answer that does not come.
func (p *Publisher) Withdraw(namespace, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.entries[serviceName{namespace, name}]; e != nil {
		delete(p.entries, serviceName{namespace, name})
		close(e.changed)
	}
}

// Config implements ConfigSource.
func (p *Publisher) Config(namespace, name string) Published {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.entries[serviceName{namespace, name}]
	if e == nil {
		return Published{Changed: make(chan struct{})}
	}
	return Published{
		Config: e.config, Version: e.version, Revision: e.revision, Gates: e.gates, Changed: e.changed, Found: e.version != "",
	}
}

// update builds the routing anew of the services for which something was decided.
func (p *Publisher) update() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, have := p.snapshot()
	if !have || c.Revision <= p.last.Revision {
		return nil
	}
	n := newsOf(&p.last, &c)
	defer func() { p.last = c }()
	var failed []error
	for name, e := range p.entries {
		if !n.concerns(e) {
			e.from, e.revision, e.gates = c, c.Revision, c.Gates // the former need not be kept in memory
			continue
		}
		if err := p.rebuild(e, c); err != nil {
			failed = append(failed, fmt.Errorf("routing of %s/%s: %w", name.namespace, name.name, err))
		}
	}
	return errors.Join(failed...)
}

func (p *Publisher) entry(name serviceName) *entry {
	e := p.entries[name]
	if e == nil {
		e = &entry{changed: make(chan struct{})}
		p.entries[name] = e
	}
	return e
}

func (p *Publisher) rebuild(e *entry, c ownership.Configuration) error {
	config := e.build(c)
	encoded, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("encoding: %w", err)
	}
	sum := sha256.Sum256(encoded)
	e.from, e.revision, e.gates = c, c.Revision, c.Gates
	version := hex.EncodeToString(sum[:8])
	if version == e.version {
		return nil
	}
	e.config, e.version = config, version
	close(e.changed)
	e.changed = make(chan struct{})
	return nil
}

// publish hands every new configuration to the publisher.
func (a *Agent) publish(ctx context.Context) error {
	news, cancel := a.Subscribe()
	defer cancel()
	for {
		select {
		case <-news:
			if err := a.publisher.update(); err != nil {
				a.config.Log.Error(err, "Routing could not be built; gateways keep what they have.")
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
