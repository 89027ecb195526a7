package ownership

import (
	"encoding/binary"
	"math"
	"sort"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// SlotCount is the number of slots that keys are hashed into.
const SlotCount = 1024

// WeightedRegion is one region's share of a service's slots.
type WeightedRegion struct {
	Name string `json:"name"`
	// Weight is relative to the other regions' weights; 0 never owns a slot.
	Weight int32 `json:"weight"`
}

// Slot returns the slot of a normalised partition key, in [0, SlotCount).
func Slot(key string) int {
	return int(xxhash.Sum64String(key) % SlotCount)
}

// lastSlot is the greatest slot number: what a signed number of 32 bits holds, as databases have them.
const lastSlot = 1<<31 - 1

// PinnedSlot returns the slot of data that is pinned to a list of regions, in [SlotCount, 1<<31). It depends on nothing but
// the list, most preferred first: whoever knows that needs no table of lists. Two lists may have the same slot, one pair in two
// thousand million: whoever says who owns it must then name nobody unless both have the same owner.
func PinnedSlot(homes []string) int {
	return SlotCount + int(xxhash.Sum64String(strings.Join(homes, "\n"))%(lastSlot-SlotCount+1))
}

// Rank orders the regions that may own the slot, most preferred first, by weighted rendezvous
// hashing: each region scores -w/ln(u) with u in (0,1) drawn from a hash of slot and region, so
// that losing a region moves only its own slots and weights are honoured in expectation
// (Schindelhauer, Schomaker: Weighted Distributed Hash Tables, SPAA 2005). Regions of weight 0
// are left out.
func Rank(slot int, regions []WeightedRegion) []string {
	type scored struct {
		name  string
		score float64
	}
	ranked := make([]scored, 0, len(regions))
	for _, r := range regions {
		if r.Weight > 0 {
			ranked = append(ranked, scored{r.Name, float64(r.Weight) / -math.Log(draw(slot, r.Name))})
		}
	}
	sort.Slice(ranked, func(i, j int) bool {
		if ranked[i].score != ranked[j].score {
			return ranked[i].score > ranked[j].score
		}
		return ranked[i].name < ranked[j].name
	})
	names := make([]string, len(ranked))
	for i, r := range ranked {
		names[i] = r.name
	}
	return names
}

// draw maps slot and region to a number in (0,1) with 53 random bits.
func draw(slot int, region string) float64 {
	buf := make([]byte, 2, 2+len(region))
	binary.BigEndian.PutUint16(buf, uint16(slot)) //nolint:gosec // slots are below 1024
	h := xxhash.Sum64(append(buf, region...))
	return (float64(h>>11) + 0.5) / (1 << 53)
}
