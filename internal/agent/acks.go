package agent

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
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
	// Age is the time since the gateway said so.
	Age time.Duration `json:"age"`
}

type ackKey struct {
	service serviceName
	gateway string
}

type ackBook struct {
	clock Clock

	mu    sync.Mutex
	acks  map[ackKey]Ack // Age holds the time on the clock
	count map[serviceName]int
	epoch int64
}

func newAckBook(c Clock) *ackBook {
	return &ackBook{clock: c, acks: map[ackKey]Ack{}, count: map[serviceName]int{}}
}

// note records an acknowledgement and reports whether there was room for it.
func (b *ackBook) note(a Ack) bool {
	now := b.clock.Boottime()
	key := ackKey{serviceName{a.Namespace, a.Name}, a.Gateway}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.acks[key]; !known {
		if len(b.acks) >= acksInAll || b.count[key.service] >= acksPerService {
			b.expire(now)
		}
		if len(b.acks) >= acksInAll || b.count[key.service] >= acksPerService {
			return false
		}
		b.count[key.service]++
	}
	a.Age = now
	b.acks[key] = a
	b.epoch = max(b.epoch, a.Epoch)
	return true
}

// Epoch returns the highest epoch that a gateway has acknowledged.
func (b *ackBook) Epoch() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.epoch
}

func (b *ackBook) expire(now time.Duration) {
	for key, a := range b.acks {
		if now-a.Age > ackExpires {
			delete(b.acks, key)
			if b.count[key.service]--; b.count[key.service] == 0 {
				delete(b.count, key.service)
			}
		}
	}
}

func (b *ackBook) all() []Ack {
	now := b.clock.Boottime()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(now)
	out := slices.Collect(maps.Values(b.acks))
	for i := range out {
		out[i].Age = now - out[i].Age
	}
	slices.SortFunc(out, func(x, y Ack) int {
		return strings.Compare(x.Namespace+"/"+x.Name+"/"+x.Gateway, y.Namespace+"/"+y.Name+"/"+y.Gateway)
	})
	return out
}

// Acks returns what the region's gateways act on, by namespace, name and gateway. Those that have
// not asked for 15 s are left out.
func (a *Agent) Acks() []Ack { return a.acks.all() }
