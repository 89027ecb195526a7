package agent

import (
	"context"
	"errors"
	"slices"
	"strings"

	"multiactive.dev/operator/internal/ownership"
)

// damaged is the store's content while some of it is what nobody agreed on. The agent goes on with the last
// sound configuration meanwhile: it keeps what it owns, and nobody decides anything.
type damaged struct {
	conf  ownership.Configuration
	found []ownership.Damage
	// direct: the watch has shown every revision from the agent's snapshot to this one, so that the
	// snapshot is what was agreed on last.
	direct bool
}

var errDamaged = errors.New("the coordination store's content is damaged, and this agent does not know what was there")

// examine returns what is damaged in a configuration, nil if nothing is. follows tells that it comes from
// a watch that has shown the revision before. The caller holds the lock.
func (a *Agent) examine(c *ownership.Configuration, follows bool) *damaged {
	direct := follows && a.have && (a.damaged == nil || a.damaged.direct && c.View.Epoch <= a.conf.View.Epoch)
	found := slices.Clone(c.Damage)
	if a.have {
		found = merge(found, ownership.DamagedSince(&a.conf, c, direct))
	} else {
		found = merge(found, c.BelowEpoch(a.config.Epoch))
	}
	if len(found) == 0 {
		return nil
	}
	return &damaged{conf: *c, found: found, direct: direct}
}

// merge adds what is damaged besides: of a key that was told already, only that it has gone back.
func merge(found, more []ownership.Damage) []ownership.Damage {
	for _, d := range more {
		i := slices.IndexFunc(found, func(f ownership.Damage) bool { return f.Key == d.Key })
		if i < 0 {
			found = append(found, d)
			continue
		}
		found[i].GoneBack = found[i].GoneBack || d.GoneBack
	}
	return found
}

// noteDamage keeps what is damaged, and logs it when that changes. The caller holds the lock.
func (a *Agent) noteDamage(d *damaged) {
	before, now := a.damaged.String(), d.String()
	a.damaged = d
	switch {
	case before == now:
	case d == nil:
		a.config.Log.Info("The coordination store's content is sound again.", "revision", a.delivered)
	default:
		a.config.Log.Info("The coordination store's content is damaged: this region keeps what it has, and nothing is decided.",
			"damage", now, "revision", d.conf.Revision)
	}
}

// String says what is damaged; it is empty for nil.
func (d *damaged) String() string {
	if d == nil {
		return ""
	}
	return ownership.Describe(d.found)
}

// newestGate returns the region's gate as last seen: of damaged content too, if that has it. The caller
// holds the lock.
func (a *Agent) newestGate() ownership.Gate {
	if a.damaged != nil {
		if gate, there := a.damaged.conf.Gates[a.config.Region]; there {
			return gate
		}
	}
	return a.conf.Gates[a.config.Region]
}

// mayBeat reports whether the agent may extend its lease: not from a store that is refused (R2), nor while
// the view has gone back. Whoever has not seen the newer one acts on that.
func (a *Agent) mayBeat() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refused != nil {
		return false
	}
	return a.damaged == nil || !slices.ContainsFunc(a.damaged.found, func(d ownership.Damage) bool { return d.GoneBack })
}

// mayLead reports whether the agent may stand for election: one that can neither decide nor put back what
// was there leaves that to others.
func (a *Agent) mayLead() bool {
	if a.refusesStore() {
		return false
	}
	d, before := a.damage()
	if d == nil {
		return true
	}
	_, known := d.fixes(before)
	return known
}

// damage returns what is damaged, nil if nothing is, and what was agreed on before.
func (a *Agent) damage() (*damaged, ownership.Configuration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.damaged, a.conf
}

// fix is a key to write, or with a nil value to delete.
type fix struct {
	key   string
	value any
}

// fixes returns what puts everything back as it was agreed on, and false if that is not known for sure.
func (d *damaged) fixes(before ownership.Configuration) ([]fix, bool) {
	var out []fix
	for _, damage := range d.found {
		dir, name, _ := strings.Cut(damage.Key, "/")
		state, viewed := d.conf.View.Regions[name]
		switch {
		case damage.Foreign:
			return nil, false
		case d.direct:
			out = append(out, fix{damage.Key, d.agreed(before, dir, name)})
		case dir == "gate" && viewed && !d.has("view"):
			// Whatever it was: what is decided from a closed gate is decided in the transaction that
			// makes the view say so. Until then the region may own what it owns.
			gate := ownership.Gate{Generation: d.conf.Gates[name].Generation + 1, Open: state.State != ownership.RegionLost}
			out = append(out, fix{damage.Key, gate})
		default:
			return nil, false
		}
	}
	// The view last: until it is there, nobody takes the rest for agreed.
	slices.SortStableFunc(out, func(a, b fix) int {
		switch {
		case a.key == "view":
			return 1
		case b.key == "view":
			return -1
		}
		return 0
	})
	return out, true
}

func (d *damaged) has(key string) bool {
	return slices.ContainsFunc(d.found, func(f ownership.Damage) bool { return f.Key == key })
}

// agreed returns what is to be put back for a key, nil for one that was not there.
func (d *damaged) agreed(before ownership.Configuration, dir, name string) any {
	switch dir {
	case "view":
		if before.View.Epoch == 0 {
			return nil
		}
		// With a new epoch: somebody may have acted on what was there meanwhile.
		view := before.View
		view.Epoch = max(before.NextEpoch(), d.conf.NextEpoch())
		return view
	case "gate":
		if gate, there := before.Gates[name]; there {
			gate.Generation = max(gate.Generation, d.conf.Gates[name].Generation) + 1
			return gate
		}
	case "service":
		return orNil(before.Services, name)
	case "debt":
		return orNil(before.Debts, name)
	case "order":
		return orNil(before.Orders, name)
	}
	return nil
}

func orNil[T any](m map[string]T, key string) any {
	if v, there := m[key]; there {
		return v
	}
	return nil
}

// putBack puts back what was damaged, and decides nothing else meanwhile. It ends the term when it cannot:
// another agent may know what was there.
func (l *leader) putBack(ctx context.Context, d *damaged, before ownership.Configuration) error {
	fixes, known := d.fixes(before)
	switch {
	case !known:
		return errDamaged
	case d.conf.Revision < l.written:
		return nil // what was written is on the way
	}
	for _, f := range fixes {
		l.agent.config.Log.Info("Putting back what was agreed on.", "key", f.key, "damage", d.String())
		revision, err := l.term.PutBack(ctx, d.conf, f.key, f.value)
		if err != nil {
			return l.failed("put back "+f.key, err)
		}
		l.written = max(l.written, revision)
	}
	return nil
}

// Trouble says what a person should look at in the coordination store, as this region sees it; it is empty
// while all is well.
func (a *Agent) Trouble() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []string
	for _, t := range []string{a.taken, a.damaged.String()} {
		if t != "" {
			all = append(all, t)
		}
	}
	return strings.Join(all, "; ")
}
