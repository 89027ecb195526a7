package sim

import (
	"slices"
	"time"

	"multiactive.dev/operator/internal/ownership/sim/store"
)

// Bounds of an etcd and its client.
const (
	// serverTimeout is how long a member holds on to a request that it cannot commit yet; it may
	// still come to pass after its sender has given up.
	serverTimeout = 7 * time.Second
	// keepAlive is when a client gives up a connection over which packets vanish.
	keepAlive = 12 * time.Second
	// minRetransmit and maxRetransmit bound when a stream tries again after a lost packet.
	minRetransmit = 50 * time.Millisecond
	maxRetransmit = 300 * time.Millisecond
)

// cluster is the coordination store with one member per region. The content is one: it is the
// consensus of the members, which is not what is tested here.
type cluster struct {
	s       *Sim
	content *store.Content
	members []*member
	// leader of the members, or noLeader.
	leader   int
	electing bool
	election time.Duration
	sessions []*session
	watches  []*watch
	// compacted is the revision up to which the history is gone.
	compacted int64
}

const noLeader = -1

type member struct {
	node    int
	alive   bool
	doubted bool
}

func newCluster(s *Sim, nodes []int) *cluster {
	c := &cluster{s: s, content: store.New(1), election: s.timings.LeaderSession * 9 / 20}
	for _, n := range nodes {
		c.members = append(c.members, &member{node: n, alive: true})
	}
	return c
}

func (c *cluster) linked(i, j int) bool {
	a, b := c.members[i], c.members[j]
	return a.alive && b.alive && (i == j || c.s.net.Both(a.node, b.node))
}

func (c *cluster) hasQuorum(i int) bool {
	n := 0
	for j := range c.members {
		if c.linked(i, j) {
			n++
		}
	}
	return 2*n > len(c.members)
}

// serves reports whether a member can commit now.
func (c *cluster) serves(i int) bool { return c.leader != noLeader && c.linked(i, c.leader) }

// changed takes note of a change of the network or the members.
func (c *cluster) changed() {
	if c.leader != noLeader && !c.hasQuorum(c.leader) {
		c.s.Tracef("store: member %s leads no more", c.s.regions[c.leader].name)
		c.leader = noLeader
	}
	if c.leader == noLeader && !c.electing {
		c.electing = true
		c.s.After(c.s.Between(c.election/2, c.election), c.elect)
	}
	for i, m := range c.members {
		if !c.serves(i) && !m.doubted {
			m.doubted = true
			c.s.After(3*c.election/2, func() {
				if m.doubted = false; !c.serves(i) {
					c.breakWatches(i, errNoAnswer)
				}
			})
		}
	}
}

func (c *cluster) elect() {
	c.electing = false
	var able []int
	for i := range c.members {
		if c.hasQuorum(i) {
			able = append(able, i)
		}
	}
	if len(able) == 0 {
		return // the next change tries again
	}
	c.leader = able[c.s.IntN(len(able))]
	c.s.Tracef("store: member %s leads", c.s.regions[c.leader].name)
	for _, x := range c.sessions { // a new leader gives every lease its whole time again
		x.expires = c.s.Now() + x.ttl
	}
	c.committed()
}

// commit runs do once the member can commit: now, later, or never. What a member holds on to dies with it.
func (c *cluster) commit(i int, until time.Duration, do func()) {
	again := func() {
		if c.s.Now() < until && c.members[i].alive {
			c.s.After(c.s.Between(minRetransmit, maxRetransmit), func() { c.commit(i, until, do) })
		}
	}
	if !c.serves(i) {
		again()
		return
	}
	c.s.After(c.s.Between(0, 2*c.s.far), func() {
		if !c.serves(i) {
			again()
			return
		}
		do()
	})
}

// committed lets the watches know of new revisions.
func (c *cluster) committed() {
	for _, w := range c.watches {
		w.pump()
	}
}

// kill ends a member, with its connections; start brings it back.
func (c *cluster) kill(i int) {
	c.members[i].alive = false
	c.breakWatches(i, errNoAnswer)
	c.changed()
}

func (c *cluster) start(i int) {
	c.members[i].alive = true
	c.changed()
}

// restore replaces the content by a backup: every connection ends, and so do the sessions.
func (c *cluster) restore(backup *store.Content, clusterID uint64) {
	c.content.Restore(backup, clusterID)
	c.compacted = c.content.Now().Revision
	c.sessions = nil
	for _, key := range c.content.Candidates() {
		c.open(&session{term: store.Term{Key: key}, ttl: c.s.timings.LeaderSession})
	}
	for i := range c.members {
		c.breakWatches(i, errNoAnswer)
	}
}

// session is a lease of the store with a candidate's key attached.
type session struct {
	term    store.Term
	ttl     time.Duration
	expires time.Duration
}

func (c *cluster) open(x *session) {
	x.expires = c.s.Now() + x.ttl
	c.sessions = append(c.sessions, x)
	var check func()
	check = func() {
		switch {
		case !c.has(x):
		case c.s.Now() < x.expires:
			c.s.After(x.expires-c.s.Now(), check)
		case c.leader == noLeader:
			c.s.After(c.election/2, check)
		default:
			c.s.Tracef("store: session %s has expired", x.term.Key)
			c.close(x)
		}
	}
	c.s.After(x.ttl, check)
}

func (c *cluster) has(x *session) bool { return slices.Contains(c.sessions, x) }

func (c *cluster) close(x *session) {
	if i := slices.Index(c.sessions, x); i >= 0 {
		c.sessions = slices.Delete(slices.Clone(c.sessions), i, i+1)
		c.content.EndSession(x.term.Key)
		c.committed()
	}
}
