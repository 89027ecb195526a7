package region

import (
	"reflect"
	"sync"
	"time"

	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/region"
)

// contests notices that somebody else writes what this hub has proposed for a region: a second hub, whose
// Region of that name is another. The zero value is ready to use.
type contests struct {
	mu  sync.Mutex
	all map[string]*contest
}

// contest is what is known of one region's proposal.
type contest struct {
	// own is what this hub has proposed last, at the time at; there, that the store has shown it since.
	own   ownership.RegionIntent
	at    time.Time
	there bool
	// lost is when something else was there last.
	lost time.Time
}

// proposed notes that this hub has written the intent.
func (c *contests) proposed(now time.Time, i ownership.RegionIntent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[string]*contest{}
	}
	lost := time.Time{}
	if before := c.all[i.Name]; before != nil {
		lost = before.lost
	}
	c.all[i.Name] = &contest{own: i, at: now, lost: lost}
}

// look notes what the store shows, and tells how that stands.
func (c *contests) look(now time.Time, have ownership.RegionIntent, there bool, seen *plan.Seen) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.all[have.Name]
	if known == nil || !there {
		return
	}
	switch {
	case reflect.DeepEqual(known.own, have):
		known.there = true
	case known.there:
		known.there, known.lost = false, now
	}
	seen.Contested = !known.lost.IsZero() && now.Sub(known.lost) < plan.ContestLasts
	seen.ProposedAgo = now.Sub(known.at)
}

func (c *contests) forget(region string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, region)
}
