package sim

import (
	"errors"
	"slices"
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/sim/world"
)

// Why a call or a watch failed.
var (
	errNoAnswer   = errors.New("no answer from the store")
	errOtherStore = errors.New("not the store known so far")
	errCompacted  = errors.New("the history is gone")
)

// watch is a stream of revisions from a member to an agent: in order, late at times, never back.
type watch struct {
	c         *cluster
	member    int
	p         *world.Process
	clusterID uint64
	// after is the last revision delivered.
	after   int64
	pumping bool
	closed  bool
	stalled time.Duration
	deliver func([]ownership.Configuration)
	failed  func(error)
}

func (c *cluster) watch(w *watch) {
	w.c = c
	c.watches = append(c.watches, w)
	w.pump()
}

// pump sends what is new, unless something is under way already.
func (w *watch) pump() {
	c := w.c
	switch {
	case w.pumping, w.closed, c.content.Now().Revision <= w.after && c.content.Now().ClusterID == w.clusterID:
		return
	case !w.p.Alive():
		w.close()
		return
	case w.after < c.compacted:
		w.fail(errCompacted)
		return
	case !c.members[w.member].alive || c.content.Now().ClusterID != w.clusterID:
		w.fail(errNoAnswer)
		return
	}
	w.pumping = true
	d, ok := c.s.net.Delay(c.members[w.member].node, w.p.Node)
	if !ok || !c.serves(w.member) {
		if w.stalled == 0 {
			w.stalled = c.s.Now()
		}
		if c.s.Now()-w.stalled > keepAlive {
			w.fail(errNoAnswer)
			return
		}
		c.s.After(c.s.Between(minRetransmit, maxRetransmit), func() { w.pumping = false; w.pump() })
		return
	}
	w.stalled = 0
	until := c.content.Now().Revision
	c.s.After(d, func() { w.arrive(until) })
}

func (w *watch) arrive(until int64) {
	if w.pumping = false; w.closed {
		return
	}
	if w.c.content.Now().ClusterID != w.clusterID {
		w.fail(errNoAnswer)
		return
	}
	news := w.c.content.Since(w.after)
	for len(news) > 0 && news[len(news)-1].Revision > until {
		news = news[:len(news)-1]
	}
	if len(news) > 0 {
		w.after = news[len(news)-1].Revision
		w.p.Receive(func() {
			if !w.closed {
				w.deliver(news)
			}
		})
	}
	w.pump()
}

func (w *watch) fail(err error) {
	if w.closed {
		return
	}
	w.close()
	w.p.Receive(func() { w.failed(err) })
}

func (w *watch) close() {
	w.closed = true
	if i := slices.Index(w.c.watches, w); i >= 0 {
		w.c.watches = slices.Delete(slices.Clone(w.c.watches), i, i+1) // others may be going through it
	}
}

// breakWatches ends the watches at a member. The news of it travel like any other packet.
func (c *cluster) breakWatches(i int, err error) {
	for _, w := range c.watches {
		if w.member != i {
			continue
		}
		d, ok := c.s.net.Delay(c.members[i].node, w.p.Node)
		if !ok {
			d = keepAlive
		}
		c.s.After(d, func() { w.fail(err) })
	}
}
