package change

import (
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// Memory is what one leader remembers of its own decisions: since when it sees a change under way or an
// order wait, and what it may try again. A new leader begins anew, which costs time and nothing else. It
// is not safe for concurrent use.
type Memory struct {
	epoch   int64
	closing time.Duration
	orders  map[string]time.Duration
	tried   map[string]time.Duration
}

// NewMemory returns an empty memory.
func NewMemory() *Memory {
	return &Memory{orders: map[string]time.Duration{}, tried: map[string]time.Duration{}}
}

func (m *Memory) see(now time.Duration, c ownership.Configuration) {
	if m.epoch != c.View.Epoch {
		m.epoch, m.closing = c.View.Epoch, now
	}
	for name := range c.OrderIntents {
		if _, seen := m.orders[name]; !seen {
			m.orders[name] = now
		}
	}
	for name := range m.orders {
		if _, there := c.OrderIntents[name]; !there {
			delete(m.orders, name)
		}
	}
}

// retryEvery is how long something that did not work is left alone.
const retryEvery = 30 * time.Second

// mayTry reports whether something may be tried now, and notes that it is.
func (m *Memory) mayTry(now time.Duration, what string) bool {
	if at, tried := m.tried[what]; tried && now-at < retryEvery {
		return false
	}
	m.tried[what] = now
	return true
}
