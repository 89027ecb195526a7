package search

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

// The model's only service, its stream of data, and the order that may wait.
const (
	uid       = "svc"
	stream    = "s"
	orderName = "o"
)

// names of the regions, by index.
var names = [3]string{"a", "b", "c"}

func indexOf(region string) int { return slices.Index(names[:], region) }

// base is what routing and an agent's gates depend on: the part of a configuration that agents and
// gateways may lag behind in. Its content is shared and never changed.
type base struct {
	conf    ownership.Configuration
	epoch   uint8
	closing bool
	// owner of the key for whoever acts on it, -1: nobody.
	owner         int
	complete      bool
	fence, caught [3]bool
}

// content is all that the store holds: a base and what agents, the hub and orders have written.
type content struct {
	base int32
	conf ownership.Configuration
}

// tables give everything that the store ever holds a number, so that a state of the model is small and
// what the real code decides from equal content is asked once.
type tables struct {
	bases    []*base
	contents []*content
	byBase   map[string]int32
	byKey    map[string]int32
	after    map[write]int32
	moves    map[[2]int32][]move
	targets  map[targetKey]target
	mixed    map[[2]int32]ownership.Configuration
	settled  map[calm]bool
}

func newTables() tables {
	return tables{
		byBase: map[string]int32{}, byKey: map[string]int32{}, after: map[write]int32{},
		moves: map[[2]int32][]move{}, targets: map[targetKey]target{}, mixed: map[[2]int32]ownership.Configuration{}, settled: map[calm]bool{},
	}
}

// number returns the number of a configuration, a new one if it is new.
func (m *model) number(c ownership.Configuration) int32 {
	b := m.numberBase(c)
	key := encoded(b, c.Acks, c.Debts, c.Orders, c.OrderIntents, c.ServiceIntents)
	if n, known := m.byKey[key]; known {
		return n
	}
	n := int32(len(m.contents))
	m.byKey[key] = n
	m.contents = append(m.contents, &content{base: b, conf: c})
	return n
}

func (m *model) numberBase(c ownership.Configuration) int32 {
	key := encoded(c.View, c.Services, c.Gates)
	if n, known := m.byBase[key]; known {
		return n
	}
	b := &base{
		conf:  ownership.Configuration{View: c.View, Services: c.Services, Gates: c.Gates},
		epoch: uint8(c.View.Epoch), closing: c.View.Phase == ownership.PhaseClosing,
	}
	owned := m.ownerOf(c)
	b.owner, b.complete = indexOf(owned.Region), owned.Complete
	for r, name := range names {
		b.fence[r], b.caught[r] = change.Concerns(c, name)
	}
	n := int32(len(m.bases))
	m.byBase[key] = n
	m.bases = append(m.bases, b)
	return n
}

func encoded(parts ...any) string {
	var key strings.Builder
	for _, p := range parts {
		b, err := json.Marshal(p)
		if err != nil {
			panic(err)
		}
		key.Write(b)
	}
	return key.String()
}

// mix returns what an agent works from that lags behind in routing and gates alone.
func (m *model) mix(b, c int32) ownership.Configuration {
	if m.contents[c].base == b {
		return m.contents[c].conf
	}
	conf, known := m.mixed[[2]int32{b, c}]
	if !known {
		conf = m.contents[c].conf
		from := m.bases[b].conf
		conf.View, conf.Services, conf.Gates = from.View, from.Services, from.Gates
		m.mixed[[2]int32{b, c}] = conf
	}
	return conf
}

// write is something written to the store, as the cause of what it holds then.
type write struct {
	to     int32
	kind   action
	region uint8
	extra  uint8
	epoch  uint8
	vector [3]uint8
}

// written returns the number of what the store holds after a write; make says what that is.
func (m *model) written(w write, apply func(c *ownership.Configuration)) int32 {
	if n, known := m.after[w]; known {
		return n
	}
	c := m.contents[w.to].conf
	apply(&c)
	n := m.number(c)
	m.after[w] = n
	return n
}

// put returns a copy of a map with one more entry.
func put[V any](in map[string]V, key string, value V) map[string]V {
	out := maps.Clone(in)
	if out == nil {
		out = map[string]V{}
	}
	out[key] = value
	return out
}

// without returns a copy of a map that lacks a key, nil when nothing is left.
func without[V any](in map[string]V, key string) map[string]V {
	out := maps.Clone(in)
	delete(out, key)
	if len(out) == 0 {
		return nil
	}
	return out
}

// refused reports whether the store refuses a leader's transaction (R1), as coordination.Term.Commit
// has it. The key of the election is left out: whatever it protects from, these guards do too.
func refused(from, to ownership.Configuration, x change.Txn) bool {
	if from.View.Epoch != to.View.Epoch {
		return true
	}
	for _, r := range x.Gates {
		if from.Gates[r] != to.Gates[r] {
			return true
		}
	}
	for _, r := range x.Acks {
		if !reflect.DeepEqual(from.Acks[r], to.Acks[r]) {
			return true
		}
	}
	for i := range x.Services {
		if !reflect.DeepEqual(from.Services[x.Services[i].UID], to.Services[x.Services[i].UID]) {
			return true
		}
	}
	for origin := range x.Debts {
		if !reflect.DeepEqual(from.Debts[origin], to.Debts[origin]) {
			return true
		}
	}
	return x.OpenGate != "" && from.Gates[x.OpenGate] != to.Gates[x.OpenGate]
}

// carriedOut returns what the store holds after a transaction.
func carriedOut(to ownership.Configuration, x change.Txn) ownership.Configuration {
	to.View = x.View
	if x.OpenGate != "" {
		to.Gates = put(to.Gates, x.OpenGate, ownership.Gate{Generation: to.Gates[x.OpenGate].Generation + 1, Open: true})
	}
	for i := range x.Services {
		to.Services = put(to.Services, x.Services[i].UID, x.Services[i])
	}
	for origin, debt := range x.Debts {
		if len(debt.Vector) == 0 {
			to.Debts = without(to.Debts, origin)
			continue
		}
		to.Debts = put(to.Debts, origin, debt)
	}
	for _, o := range x.Orders {
		if o.State != ownership.OrderRunning { // the hub withdraws what has ended
			to.Orders, to.OrderIntents = without(to.Orders, o.Name), without(to.OrderIntents, o.Name)
		}
	}
	return to
}

// initial returns the content that a search begins with: every region serves, nothing is under way.
func (m *model) initial() ownership.Configuration {
	c := ownership.Configuration{
		View:     ownership.View{Epoch: 1, Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{}},
		Services: map[string]ownership.ServiceRecord{},
		Gates:    map[string]ownership.Gate{},
	}
	for _, name := range names {
		c.View.Regions[name] = ownership.RegionRecord{State: ownership.RegionServing, Role: health.RoleActive}
		c.Gates[name] = ownership.Gate{Generation: 1, Open: true}
	}
	record := ownership.ServiceRecord{UID: uid, Handback: ownership.HandbackAutomatic}
	record.SpecHash, record.Regions = m.specs[0].hash, m.specs[0].regions()
	record.Manual = m.manual
	c.Services[uid] = record
	if m.begin != nil {
		m.begin(&c)
	}
	return c
}
