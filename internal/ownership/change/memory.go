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
	// drills has since when each drill's region was seen to be out.
	drills map[string]time.Duration
	tried  map[string]attempt
}

// attempt is what is known of something that was tried: when the last time, and how often.
type attempt struct {
	at    time.Duration
	times int
}

// NewMemory returns an empty memory.
func NewMemory() *Memory {
	return &Memory{orders: map[string]time.Duration{}, drills: map[string]time.Duration{}, tried: map[string]attempt{}}
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
	m.seeDrills(now, c)
	for what, a := range m.tried {
		if now-a.at > 2*retryAtMost {
			delete(m.tried, what)
		}
	}
}

func (m *Memory) seeDrills(now time.Duration, c ownership.Configuration) {
	for name, record := range c.Orders {
		if _, seen := m.drills[name]; !seen && record.Drill != nil && record.Drill.OutAt != nil {
			m.drills[name] = now
		}
	}
	for name := range m.drills {
		if _, there := c.Orders[name]; !there {
			delete(m.drills, name)
		}
	}
}

// watched is for how long a drill's region was seen to be out, 0 if it was not.
func (m *Memory) watched(now time.Duration, drill string) time.Duration {
	since, seen := m.drills[drill]
	if !seen {
		return 0
	}
	return now - since
}

// What did not work is left alone for retryFirst, and twice as long with every attempt, up to
// retryAtMost: an attempt closes slots for as long as it may take.
const (
	retryFirst  = 30 * time.Second
	retryAtMost = 16 * time.Minute
)

// wait is how long something is left alone after an attempt.
func (a attempt) wait() time.Duration {
	wait := retryFirst
	for i := 1; i < a.times && wait < retryAtMost; i++ {
		wait *= 2
	}
	return min(wait, retryAtMost)
}

// due reports whether something may be tried now.
func (m *Memory) due(now time.Duration, what string) bool {
	a := m.tried[what]
	return a.times == 0 || now-a.at >= a.wait()
}

// try notes that something is tried now.
func (m *Memory) try(now time.Duration, what string) {
	m.tried[what] = attempt{at: now, times: m.tried[what].times + 1}
}

// forget is for what has worked.
func (m *Memory) forget(what string) { delete(m.tried, what) }

// mayTry reports whether something may be tried now, and notes that it is.
func (m *Memory) mayTry(now time.Duration, what string) bool {
	if !m.due(now, what) {
		return false
	}
	m.try(now, what)
	return true
}

// batch returns what may be tried now, all at once, and notes that it is: the first of what was tried
// least often. The more often it was, the fewer go together, so that the one that cannot catch up is soon
// alone and holds up no other.
func (m *Memory) batch(now time.Duration, all []string) []string {
	least := -1
	for _, what := range all {
		if times := m.tried[what].times; m.due(now, what) && (least < 0 || times < least) {
			least = times
		}
	}
	var out []string
	for _, what := range all {
		if m.tried[what].times == least && m.due(now, what) && len(out) < max(1, maxBatch>>(2*least)) {
			out = append(out, what)
		}
	}
	for _, what := range out {
		m.try(now, what)
	}
	return out
}
