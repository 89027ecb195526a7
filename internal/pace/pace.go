// Package pace says when controllers may write what only tells of a failover: statuses, events, flags, more
// replicas. From the first sign that a region is being lost until the others' gateways act on it, API servers
// and their clients have better things to do; afterwards the writes follow one by one, a thousand services' no
// faster than a few dozen a second.
//
// It must never hold back what owners or routing depend on, nor anything for good: after a while of waiting
// for a loss that does not come to an end, everything is told as it stands.
package pace

import (
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/ownership"
)

const (
	// noticed is how long a lost connection may be the first sign of a loss: agents see it by then.
	noticed = 4 * time.Second
	// after is how long gateways may take to act on what was agreed, wherever they are.
	after = 3 * time.Second
	// longest bounds the wait: above what a loss takes, with an election and a catch-up.
	longest = 25 * time.Second
	// interval is the time between two writes that have waited.
	interval = 25 * time.Millisecond
	// look is how soon to look again while a region is being lost.
	look = 2 * time.Second
)

// Pacer holds writes back. It is safe for concurrent use; a nil one holds nothing back.
type Pacer struct {
	clock clock.PassiveClock
	view  func() (ownership.Configuration, bool)
	// Signs, if not nil, reports whether a region may be being lost that the view says nothing of yet. Set it
	// before the first Wait.
	Signs func() bool

	mu sync.Mutex
	// suspect is until when what was noticed may become a loss.
	suspect time.Time
	// began is when the present loss was first seen, zero without one; ended when it was first seen to be over.
	began, ended time.Time
	// places are the writers' in the queue, from 0.
	places map[string]int
}

// New returns a Pacer that reads the agreed configuration from view, which returns false before the first.
func New(c clock.PassiveClock, view func() (ownership.Configuration, bool)) *Pacer {
	return &Pacer{clock: c, view: view, places: map[string]int{}}
}

// Notice tells that something of a region was lost, such as the connection to its API server, which may be
// the first sign that all of it is.
func (p *Pacer) Notice() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.suspect = p.clock.Now().Add(noticed)
}

// Wait returns how long the named writer must wait until it asks again; 0: it may write now.
func (p *Pacer) Wait(writer string) time.Duration {
	if p == nil {
		return 0
	}
	c, _ := p.view()
	losing := Losing(c) || p.Signs != nil && p.Signs()
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	losing = losing || now.Before(p.suspect)
	p.note(now, losing)
	if p.began.IsZero() {
		return 0
	}
	place, waits := p.places[writer]
	if !waits {
		place = len(p.places)
		p.places[writer] = place
	}
	turn := time.Duration(place) * interval
	if losing {
		left := p.began.Add(longest + turn).Sub(now)
		return max(0, min(left, look))
	}
	return max(0, p.ended.Add(after+turn).Sub(now))
}

// note keeps when a loss began and ended, and forgets one that everybody has told.
func (p *Pacer) note(now time.Time, losing bool) {
	switch {
	case losing && p.began.IsZero():
		p.began, p.ended = now, time.Time{}
	case losing:
		p.ended = time.Time{}
	case p.began.IsZero():
	case p.ended.IsZero():
		p.ended = now
	case now.Sub(p.ended) > after+time.Duration(len(p.places))*interval:
		p.began, p.ended = time.Time{}, time.Time{}
		clear(p.places)
	}
}

// Losing reports whether something speaks against a region that may hold a lease, or the loss of one is not
// in force yet.
func Losing(c ownership.Configuration) bool {
	if change := c.View.Change; c.View.Phase == ownership.PhaseClosing && change != nil && change.Kind == ownership.ChangeLoss {
		return true
	}
	for name, rec := range c.View.Regions {
		if rec.State != ownership.RegionLost && !c.Gates[name].Open || Against(c, name) {
			return true
		}
	}
	return false
}

// Against reports whether something speaks against a region that is not lost: it is suspected, or others do
// not reach it.
func Against(c ownership.Configuration, region string) bool {
	rec := c.View.Regions[region]
	return rec.State != ownership.RegionLost && (rec.Suspect || complained(c, region))
}

// complained reports whether another region, which is not lost itself, does not reach this one.
func complained(c ownership.Configuration, region string) bool {
	for observer, e := range c.Evidence {
		if observer == region || !c.Gates[observer].Open {
			continue
		}
		if slices.Contains(e.Unreachable, region) || slices.Contains(e.Failing, region) {
			return true
		}
	}
	return false
}
