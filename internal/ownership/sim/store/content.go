package store

import (
	"maps"
	"slices"

	"multiactive.dev/operator/internal/ownership"
)

// Content is what a store holds. Copies made by Backup stay as they are.
type Content struct {
	conf       ownership.Configuration
	keys       map[string]revisions
	candidates []candidate
	// history has the configuration of every revision from the first one on.
	history []ownership.Configuration
	first   int64
}

// revisions of a key.
type revisions struct{ created, modified int64 }

// candidate is a campaigner's key; the one that was created first leads.
type candidate struct {
	key, identity string
	created       int64
}

// New returns an empty store. A fresh etcd is at revision 1.
func New(clusterID uint64) *Content {
	c := &Content{
		conf: ownership.Configuration{
			ClusterID: clusterID, Revision: 1,
			Services: map[string]ownership.ServiceRecord{}, Gates: map[string]ownership.Gate{},
			Agents: map[string]ownership.AgentRecord{}, Beats: map[string]ownership.Beat{},
			Asks: map[string]ownership.Ask{}, Evidence: map[string]ownership.Evidence{},
			Incidents: map[string]ownership.Incident{}, RegionIntents: map[string]ownership.RegionIntent{},
			ServiceIntents: map[string]ownership.ServiceIntent{}, OrderIntents: map[string]ownership.OrderIntent{},
			Acks: map[string]ownership.Ack{}, Debts: map[string]ownership.Debt{}, Orders: map[string]ownership.OrderRecord{},
		},
		keys: map[string]revisions{}, first: 1,
	}
	c.history = append(c.history, c.conf)
	return c
}

// Now returns the present configuration as a watch shows it.
func (c *Content) Now() ownership.Configuration { return c.conf }

// Read returns the present configuration as a fresh read shows it: what was deleted before left no
// trace, so that everything counts as decided at the present revision.
func (c *Content) Read() ownership.Configuration {
	conf := c.conf
	conf.Decided = conf.Revision
	return conf
}

// At returns the configuration of a revision, which must not lie in the future.
func (c *Content) At(revision int64) ownership.Configuration {
	return c.history[max(revision-c.first, 0)]
}

// Since returns the configurations after a revision, in order.
func (c *Content) Since(revision int64) []ownership.Configuration {
	return c.history[min(max(revision+1-c.first, 0), int64(len(c.history))):]
}

// Leads reports whether the candidate's key is the oldest of all.
func (c *Content) Leads(t Term) bool {
	for _, other := range c.candidates {
		if other.created < t.Created {
			return false
		}
	}
	return c.keys[t.Key].created == t.Created
}

// Backup returns a copy of what the store holds now.
func (c *Content) Backup() *Content {
	b := *c
	b.keys = maps.Clone(c.keys)
	b.candidates = slices.Clone(c.candidates)
	return &b
}

// Restore replaces what the store holds by a backup, as the store of the given identity.
func (c *Content) Restore(backup *Content, clusterID uint64) {
	b := backup.Backup()
	b.conf.ClusterID = clusterID
	b.first, b.history = b.conf.Revision, []ownership.Configuration{b.conf}
	*c = *b
}

// Answer is what the store says to a request.
type Answer struct {
	ClusterID uint64
	// Revision of the store when it answered.
	Revision int64
	// Failed names the comparisons that failed; nothing was written then.
	Failed []string
}

// Do carries out a request at once, or refuses it.
func (c *Content) Do(r Request) Answer {
	answer := Answer{ClusterID: c.conf.ClusterID}
	for _, g := range r.Guards {
		if !g.holds(c.keys[g.key]) {
			answer.Failed = append(answer.Failed, g.Name)
		}
	}
	if len(answer.Failed) == 0 && c.differs(r) {
		c.conf.Revision++
		for _, p := range r.puts {
			c.put(p)
		}
		c.finish()
	}
	answer.Revision = c.conf.Revision
	return answer
}

func (c *Content) finish() {
	c.conf.Leader, c.conf.LeaderSince = "", 0
	for _, l := range c.candidates {
		if c.conf.LeaderSince == 0 || l.created < c.conf.LeaderSince {
			c.conf.LeaderSince, c.conf.Leader = l.created, l.identity
		}
	}
	c.history = append(c.history, c.conf)
}

// differs reports whether the request changes anything. Writing an equal value does, unless the request
// minds; removing what is not there does not.
func (c *Content) differs(r Request) bool {
	if !r.onlyChanges {
		return slices.ContainsFunc(r.puts, func(p put) bool { return !p.removes || c.keys[p.key].created > 0 })
	}
	p := r.puts[0]
	return c.keys[p.key].created == 0 || !p.equals(&c.conf)
}

func (c *Content) put(p put) {
	if p.identity != "" {
		c.candidates = append(c.candidates, candidate{p.key, p.identity, c.conf.Revision})
	}
	k := c.keys[p.key]
	if k.created == 0 {
		k.created = c.conf.Revision
	}
	k.modified = c.conf.Revision
	c.keys[p.key] = k
	if p.removes {
		delete(c.keys, p.key)
	}
	if p.apply != nil {
		p.apply(&c.conf)
	}
	if p.decides {
		c.conf.Decided = c.conf.Revision
	}
}

// EndSession removes a candidate's key, as the end of its session does, and reports whether it was
// there.
func (c *Content) EndSession(key string) bool {
	i := slices.IndexFunc(c.candidates, func(l candidate) bool { return l.key == key })
	if i < 0 {
		return false
	}
	c.candidates = slices.Delete(slices.Clone(c.candidates), i, i+1)
	delete(c.keys, key)
	c.conf.Revision++
	c.finish()
	return true
}

// Candidates returns the keys of all candidates.
func (c *Content) Candidates() []string {
	keys := make([]string, len(c.candidates))
	for i, l := range c.candidates {
		keys[i] = l.key
	}
	return keys
}
