package ownership

import (
	"math"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Orders has every slot's order of regions, as Rank gives it. Many slots share an order, so what an
// order decides is to be found out once for each of Distinct, not once for each slot.
type Orders struct {
	// Distinct orders, in no particular order of their own. Do not change them.
	Distinct [][]string
	// Of is the index in Distinct of each slot's order.
	Of [SlotCount]uint16
}

// Order returns a slot's order.
func (o *Orders) Order(slot int) []string { return o.Distinct[o.Of[slot]] }

// Count returns how many slots have each of the distinct orders.
func (o *Orders) Count() []int {
	counts := make([]int, len(o.Distinct))
	for slot := range o.Of {
		counts[o.Of[slot]]++
	}
	return counts
}

// RankAll ranks the regions for all slots at once, which costs a fraction of ranking each with Rank.
func RankAll(regions []WeightedRegion) *Orders {
	candidates := slices.DeleteFunc(slices.Clone(regions), func(r WeightedRegion) bool { return r.Weight <= 0 })
	// Equal scores go by name: a stable order of the candidates leaves that to the sort below.
	slices.SortFunc(candidates, func(a, b WeightedRegion) int { return strings.Compare(a.Name, b.Name) })
	o := &Orders{}
	known := map[string]uint16{} // by the order, as bytes of indices
	scores, order := make([]float64, len(candidates)), make([]byte, 0, 2*len(candidates))
	texts := make([][]byte, len(candidates))
	for i, r := range candidates {
		texts[i] = append([]byte{0, 0}, r.Name...)
	}
	for slot := range SlotCount {
		order = order[:0]
		for i, r := range candidates {
			scores[i] = float64(r.Weight) / -math.Log(drawn(slot, texts[i]))
			order = insert(order, i, scores)
		}
		index, ok := known[string(order)]
		if !ok {
			index = uint16(len(o.Distinct)) //nolint:gosec // at most one for each slot
			known[string(order)] = index
			o.Distinct = append(o.Distinct, named(order, candidates))
		}
		o.Of[slot] = index
	}
	return o
}

// insert puts candidate i behind all whose score is at least its own. Two bytes stand for a candidate.
func insert(order []byte, i int, scores []float64) []byte {
	at := len(order)
	for at > 0 && scores[candidate(order, at-2)] < scores[i] {
		at -= 2
	}
	return slices.Insert(order, at, byte(i>>8), byte(i)) //nolint:gosec // the two bytes of an index
}

func candidate(order []byte, at int) int { return int(order[at])<<8 | int(order[at+1]) }

func named(order []byte, candidates []WeightedRegion) []string {
	names := make([]string, 0, len(order)/2)
	for at := 0; at < len(order); at += 2 {
		names = append(names, candidates[candidate(order, at)].Name)
	}
	return names
}

// drawn is draw for a text that begins with two bytes for the slot.
func drawn(slot int, text []byte) float64 {
	text[0], text[1] = byte(slot>>8), byte(slot) //nolint:gosec // slots are below 1024
	return (float64(xxhash.Sum64(text)>>11) + 0.5) / (1 << 53)
}
