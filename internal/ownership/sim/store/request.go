package store

import (
	"maps"
	"reflect"
	"slices"

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
	GuardAck    = "acknowledgement changed"
	GuardIntent = "intent changed"
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
	exists
)

func (g Guard) holds(k revisions) bool {
	switch g.kind {
	case createdAt:
		return k.created == g.revision
	case writtenAt:
		return k.modified == g.revision
	case exists:
		return k.created > 0
	default:
		return k.modified <= g.revision
	}
}

// Request is one guarded transaction.
type Request struct {
	// What names the write in traces, such as "beat/a".
	What string
	// View: it commits another view.
	View   bool
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
		if !slices.Contains(names, g.Name) {
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
	// removes: the key is deleted.
	removes bool
	// identity of a candidate, for its key.
	identity string
}

// with returns a copy of a map with one entry changed: readers share configurations.
func with[T any](m map[string]T, name string, value T) map[string]T {
	m = maps.Clone(m)
	m[name] = value
	return m
}

// without returns a copy of a map without an entry.
func without[T any](m map[string]T, name string) map[string]T {
	m = maps.Clone(m)
	delete(m, name)
	return m
}

func putGate(region string, g ownership.Gate) put {
	return put{key: "gate/" + region, apply: func(c *ownership.Configuration) { c.Gates = with(c.Gates, region, g) }}
}

func putView(v ownership.View) put {
	return put{key: "view", apply: func(c *ownership.Configuration) { c.View = v }, decides: true}
}

func putService(s ownership.ServiceRecord) put {
	return put{key: "service/" + s.UID, decides: true, apply: func(c *ownership.Configuration) { c.Services = with(c.Services, s.UID, s) }}
}

// putDebt writes a debt, or removes it if it has no vector.
func putDebt(origin string, debt ownership.Debt) put {
	if len(debt.Vector) > 0 {
		return put{key: "debt/" + origin, apply: func(c *ownership.Configuration) { c.Debts = with(c.Debts, origin, debt) }}
	}
	return put{key: "debt/" + origin, removes: true, apply: func(c *ownership.Configuration) { c.Debts = without(c.Debts, origin) }}
}

// PutOrderIntent is coordination.Store.PutOrderIntent.
func PutOrderIntent(i ownership.OrderIntent) Request {
	return Request{What: "intent/order/" + i.Name, onlyChanges: true, puts: []put{{
		key:    "intent/order/" + i.Name,
		apply:  func(c *ownership.Configuration) { c.OrderIntents = with(c.OrderIntents, i.Name, i) },
		equals: func(c *ownership.Configuration) bool { return reflect.DeepEqual(c.OrderIntents[i.Name], i) },
	}}}
}

// DeleteOrderIntent is coordination.Store.DeleteOrderIntent.
func DeleteOrderIntent(name string) Request {
	key := "intent/order/" + name
	return Request{What: key, puts: []put{{
		key: key, removes: true, apply: func(c *ownership.Configuration) { c.OrderIntents = without(c.OrderIntents, name) },
	}}}
}

// PutRegionIntent is coordination.Store.PutRegionIntent.
func PutRegionIntent(i ownership.RegionIntent) Request {
	return Request{What: "intent/region/" + i.Name, onlyChanges: true, puts: []put{{
		key:    "intent/region/" + i.Name,
		apply:  func(c *ownership.Configuration) { c.RegionIntents = with(c.RegionIntents, i.Name, i) },
		equals: func(c *ownership.Configuration) bool { return reflect.DeepEqual(c.RegionIntents[i.Name], i) },
	}}}
}

// PutServiceIntent is coordination.Store.PutServiceIntent.
func PutServiceIntent(i ownership.ServiceIntent) Request {
	return Request{What: "intent/service/" + i.UID, onlyChanges: true, puts: []put{{
		key:    "intent/service/" + i.UID,
		apply:  func(c *ownership.Configuration) { c.ServiceIntents = with(c.ServiceIntents, i.UID, i) },
		equals: func(c *ownership.Configuration) bool { return reflect.DeepEqual(c.ServiceIntents[i.UID], i) },
	}}}
}
