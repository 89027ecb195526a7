package search

import (
	"fmt"
	"slices"
	"strings"

	"multiactive.dev/operator/internal/ownership"
)

// spec is an ownership spec as far as the only key is concerned: the slot that it falls into and the
// regions that may own it.
type spec struct {
	hash    string
	weights []ownership.WeightedRegion
	slot    int
	// keys names everything else: specs of the same send every request to the same slot.
	keys string
}

func (s spec) regions() []string {
	var out []string
	for _, w := range s.weights {
		out = append(out, w.Name)
	}
	slices.Sort(out)
	return out
}

// order returns the key's preference order, such as "abc".
func (s spec) order() string { return strings.Join(ownership.Rank(s.slot, s.weights), "") }

// specOf returns a spec under which the key prefers the regions in the given order: by its slot, with
// equal weights.
func specOf(hash, order string) spec {
	s := spec{hash: hash, keys: hash}
	for r := range strings.SplitSeq(order, "") {
		s.weights = append(s.weights, ownership.WeightedRegion{Name: r, Weight: 1})
	}
	for s.slot = range ownership.SlotCount {
		if s.order() == order {
			return s
		}
	}
	panic("no slot prefers " + order)
}

// reweighted returns a spec with the same slot and other weights, under which it has the given order.
func (s spec) reweighted(hash, order string) spec {
	out := spec{hash: hash, slot: s.slot, keys: s.keys}
	for i := range 1000 {
		out.weights = nil
		for j, n := 0, i; j < len(order); j, n = j+1, n/10 {
			out.weights = append(out.weights, ownership.WeightedRegion{Name: order[j : j+1], Weight: int32(n % 10)})
		}
		if out.order() == order {
			return out
		}
	}
	panic("no weights give the order " + order)
}

func (m *model) spec(hash string) spec {
	for _, s := range m.specs {
		if s.hash == hash {
			return s
		}
	}
	panic(fmt.Sprintf("no spec %q", hash))
}

// ownerOf says who accepts home writes for the key, for anybody who acts on the configuration.
func (m *model) ownerOf(c ownership.Configuration) ownership.Owned {
	if m.sees != nil {
		m.sees(&c)
	}
	record := c.Services[uid]
	is := m.spec(record.SpecHash)
	next := ownership.Owner(is.slot, c.RegionViews(record, is.weights))
	state, regions, closing := c.Before(record)
	if !closing {
		return next
	}
	was := m.spec(state.SpecHash)
	if was.keys != is.keys {
		if !m.onlyMovedSlots {
			return ownership.Owned{}
		}
		was = is // judged by the slot that the key falls into from now on
	}
	owned, _ := ownership.Between(ownership.Owner(was.slot, ownership.Views(state, regions, was.weights)), next)
	return owned
}
