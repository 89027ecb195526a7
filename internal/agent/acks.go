package agent

import (
	"slices"
	"strings"
	"sync"
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// Bounds of the acknowledgements: a gateway that does not ask any more is forgotten, and nobody
// can fill the memory with invented names.
const (
	ackExpires     = 15 * time.Second
	acksPerService = 1000
	acksInAll      = 20000
)

// Ack is what one gateway last said that it acts on.
type Ack struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Gateway is its pod's name.
	Gateway string `json:"gateway"`
	// Version of the routing, empty before the first.
	Version string `json:"version"`
	// Epoch of that routing; 0 when the version is not the current one.
	Epoch int64 `json:"epoch"`
	// Revision is the highest store revision that the gateway has acted on.
	Revision int64 `json:"revision"`
	// Busy is the number of home writes under way that the routing does not let the gateway accept any
	// more.
	Busy int `json:"busy,omitempty"`
	// Refused is why the gateway cannot use the current routing, fit to be shown (routing.Refusal);
	// empty when it does not say so.
	Refused string `json:"refused,omitempty"`
	// Peers are the regions whose gateways this one takes requests from over mutual TLS, as it says.
	Peers []string `json:"peers,omitempty"`
	// Deferred is how many requests wait in the region to be carried out, as routing.FormatBacklogs has it.
	Deferred string `json:"deferred,omitempty"`
	// Age is the time since the gateway said so.
	Age time.Duration `json:"age"`
}

type ackBook struct {
	clock Clock

	mu   sync.Mutex
	acks map[serviceName]map[string]Ack // by gateway; Age holds the time on the clock
	// leased is until when, on the clock, a gateway may count on the lease that it was last given.
	leased map[serviceName]map[string]time.Duration
	count  int
	epoch  int64
	// news is sent to when a gateway says something else than before.
	news chan struct{}
	// reports counts the changes of what gateways refuse, of whom they take requests from, and of what waits.
	reports int64
	// reported is what reports was when that of a service changed last.
	reported map[serviceName]int64
	// acted is the highest epoch that a gateway of a service has acted on.
	acted map[serviceName]actedEpoch
}

// actedEpoch is an epoch, and when on the clock the first gateway said that it acts on it.
type actedEpoch struct {
	epoch int64
	since time.Duration
}

func newAckBook(c Clock) *ackBook {
	return &ackBook{
		clock: c, acks: map[serviceName]map[string]Ack{}, leased: map[serviceName]map[string]time.Duration{}, news: make(chan struct{}, 1),
		reported: map[serviceName]int64{}, acted: map[serviceName]actedEpoch{},
	}
}

// note records an acknowledgement and reports whether there was room for it.
func (b *ackBook) note(a Ack) bool {
	now := b.clock.Boottime()
	service := serviceName{a.Namespace, a.Name}
	b.mu.Lock()
	defer b.mu.Unlock()
	before, known := b.acks[service][a.Gateway]
	if !known {
		if b.full(service) {
			b.expire(now)
		}
		if b.full(service) {
			return false
		}
		b.count++
	}
	if b.acks[service] == nil {
		b.acks[service] = map[string]Ack{}
	}
	if before.Epoch != a.Epoch || before.Busy != a.Busy {
		select {
		case b.news <- struct{}{}:
		default:
		}
	}
	if before.Refused != a.Refused || !slices.Equal(before.Peers, a.Peers) || before.Deferred != a.Deferred {
		b.reports++
		b.reported[service] = b.reports
	}
	a.Age = now
	b.acks[service][a.Gateway] = a
	b.epoch = max(b.epoch, a.Epoch)
	if a.Epoch > b.acted[service].epoch {
		b.acted[service] = actedEpoch{epoch: a.Epoch, since: now}
	}
	return true
}

// lease notes that a gateway is given a lease with so much left. Its clock may run slower than this one.
func (b *ackBook) lease(service serviceName, gateway string, remaining time.Duration) {
	until := b.clock.Boottime() + remaining + time.Duration(float64(remaining)*2*ownership.MaxDrift)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.leased[service] == nil {
		b.leased[service] = map[string]time.Duration{}
	}
	b.leased[service][gateway] = max(b.leased[service][gateway], until)
}

// fenced reports whether every gateway that may hold a lease acts on the epoch and has no home write
// under way that it gives no right to (R8).
func (b *ackBook) fenced(now time.Duration, epoch int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for service, gateways := range b.leased {
		for gateway, until := range gateways {
			if now >= until {
				delete(gateways, gateway)
				continue
			}
			if a, said := b.acks[service][gateway]; !said || a.Epoch != epoch || a.Busy > 0 {
				return false
			}
		}
		if len(gateways) == 0 {
			delete(b.leased, service)
		}
	}
	return true
}

func (b *ackBook) full(service serviceName) bool {
	return b.count >= acksInAll || len(b.acks[service]) >= acksPerService
}

// Epoch returns the highest epoch that a gateway has acknowledged.
func (b *ackBook) Epoch() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.epoch
}

func (b *ackBook) expire(now time.Duration) {
	for service, gateways := range b.acks {
		for gateway, a := range gateways {
			if now-a.Age > ackExpires {
				delete(gateways, gateway)
				b.count--
			}
		}
		if len(gateways) == 0 {
			delete(b.acks, service)
			delete(b.reported, service)
			delete(b.acted, service)
		}
	}
}

func (b *ackBook) of(service serviceName) []Ack {
	now := b.clock.Boottime()
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Ack
	for _, a := range b.acks[service] {
		if a.Age = now - a.Age; a.Age <= ackExpires {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(x, y Ack) int { return strings.Compare(x.Gateway, y.Gateway) })
	return out
}

func (b *ackBook) all() []Ack {
	now := b.clock.Boottime()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(now)
	out := make([]Ack, 0, b.count)
	for _, gateways := range b.acks {
		for _, a := range gateways {
			a.Age = now - a.Age
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(x, y Ack) int {
		return strings.Compare(x.Namespace+"/"+x.Name+"/"+x.Gateway, y.Namespace+"/"+y.Name+"/"+y.Gateway)
	})
	return out
}

// ActsOn returns the highest epoch that a gateway of the service acts on, and for how long the first has done so; 0 before any
// has told.
func (a *Agent) ActsOn(namespace, name string) (epoch int64, since time.Duration) {
	b := a.acks
	b.mu.Lock()
	defer b.mu.Unlock()
	acted, known := b.acted[serviceName{namespace, name}]
	if !known {
		return 0, 0
	}
	return acted.epoch, b.clock.Boottime() - acted.since
}

// Acks returns what the region's gateways act on, by namespace, name and gateway. Those that have
// not asked for 15 s are left out.
func (a *Agent) Acks() []Ack { return a.acks.all() }

// Reports grows whenever a gateway begins to refuse its routing, for another reason, or not any more, and when it
// takes requests from the gateways of other regions than before, or more or fewer deferred requests wait.
func (a *Agent) Reports() int64 {
	a.acks.mu.Lock()
	defer a.acks.mu.Unlock()
	return a.acks.reports
}

// Reporting is a service whose gateways say something.
type Reporting struct{ Namespace, Name string }

// ReportedSince returns the services for which Reports has grown since it was n, in no order.
func (a *Agent) ReportedSince(n int64) []Reporting {
	a.acks.mu.Lock()
	defer a.acks.mu.Unlock()
	var out []Reporting
	for service, at := range a.acks.reported {
		if at > n {
			out = append(out, Reporting{service.namespace, service.name})
		}
	}
	return out
}

// AcksOf returns what one service's gateways in the region act on, by gateway, as Acks does.
func (a *Agent) AcksOf(namespace, name string) []Ack {
	return a.acks.of(serviceName{namespace, name})
}
