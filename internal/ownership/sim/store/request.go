package store

import (
	"maps"
	"reflect"

	"multiactive.dev/operator/internal/ownership"
)

// Comparisons that an Answer names; the words are those of internal/coordination.
const (
	GuardLeader = "leader deposed"
	GuardAgent  = "agent replaced"
	GuardGate   = "gate changed"
	GuardBeat   = "beat moved"
	GuardView   = "view changed"
	GuardRecord = "record changed"
)

// Guard is one comparison of a guarded write (R1).
type Guard struct {
	// Name is one of the Guard constants.
	Name string
	key  string
	kind comparison
	// revision that the key's is compared with.
	revision int64
}

type comparison int

const (
	createdAt comparison = iota
	writtenAt
	unwrittenSince
)

func (g Guard) holds(k revisions) bool {
	switch g.kind {
	case createdAt:
		return k.created == g.revision
	case writtenAt:
		return k.modified == g.revision
	default:
		return k.modified <= g.revision
	}
}

// Request is one guarded transaction.
type Request struct {
	// What names the write in traces, such as "beat/a".
	What   string
	Guards []Guard
	puts   []put
	// onlyChanges leaves an equal value alone, so that it costs no revision. For one put only.
	onlyChanges bool
	// Refused names the comparison that the writer makes itself before it asks, if that fails.
	Refused string
}

// Without returns the request without the named comparisons: what a broken writer would send.
func (r Request) Without(names ...string) Request {
	var kept []Guard
	for _, g := range r.Guards {
		drop := false
		for _, name := range names {
			drop = drop || g.Name == name
		}
		if !drop {
			kept = append(kept, g)
		}
	}
	r.Guards = kept
	return r
}

// put is one key to write.
type put struct {
	key    string
	apply  func(*ownership.Configuration)
	equals func(*ownership.Configuration) bool
	// decides: the revision of the write is the configuration's Decided.
	decides bool
	// identity of a candidate, for its key.
	identity string
}

// record is a put of one entry of a map. The map is copied: readers share configurations.
func record[T any](dir, name string, value T, of func(*ownership.Configuration) *map[string]T) put {
	return put{
		key: dir + name,
		apply: func(c *ownership.Configuration) {
			m := of(c)
			*m = maps.Clone(*m)
			(*m)[name] = value
		},
		equals: func(c *ownership.Configuration) bool { return reflect.DeepEqual((*of(c))[name], value) },
	}
}

func gates(c *ownership.Configuration) *map[string]ownership.Gate             { return &c.Gates }
func agents(c *ownership.Configuration) *map[string]ownership.AgentRecord     { return &c.Agents }
func beats(c *ownership.Configuration) *map[string]ownership.Beat             { return &c.Beats }
func asks(c *ownership.Configuration) *map[string]ownership.Ask               { return &c.Asks }
func evidence(c *ownership.Configuration) *map[string]ownership.Evidence      { return &c.Evidence }
func incidents(c *ownership.Configuration) *map[string]ownership.Incident     { return &c.Incidents }
func services(c *ownership.Configuration) *map[string]ownership.ServiceRecord { return &c.Services }
func serviceIntents(c *ownership.Configuration) *map[string]ownership.ServiceIntent {
	return &c.ServiceIntents
}
func regionIntents(c *ownership.Configuration) *map[string]ownership.RegionIntent {
	return &c.RegionIntents
}

func putView(v ownership.View) put {
	return put{key: "view", apply: func(c *ownership.Configuration) { c.View = v }, decides: true}
}

// PutRegionIntent is coordination.Store.PutRegionIntent.
func PutRegionIntent(i ownership.RegionIntent) Request {
	return Request{What: "intent/region/" + i.Name, onlyChanges: true, puts: []put{record("intent/region/", i.Name, i, regionIntents)}}
}

// PutServiceIntent is coordination.Store.PutServiceIntent.
func PutServiceIntent(i ownership.ServiceIntent) Request {
	return Request{What: "intent/service/" + i.UID, onlyChanges: true, puts: []put{record("intent/service/", i.UID, i, serviceIntents)}}
}
