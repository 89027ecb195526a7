package ownership_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"multiactive.dev/operator/internal/ownership"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// goldenVectors pin the mapping from keys to regions: a change of it moves users' data.
type goldenVectors struct {
	Slots map[string]int      `json:"slots"`
	Ranks map[string][]string `json:"ranks"`
	// Pinned are the slots of lists of regions, which are written with a space between.
	Pinned map[string]int `json:"pinned"`
}

func TestGoldenVectors(t *testing.T) {
	got := goldenVectors{Slots: map[string]int{}, Ranks: map[string][]string{}, Pinned: map[string]int{}}
	for _, key := range []string{"", "a", "13800138000", "13800138001", "alice@example.com", "用户", "0", "00"} {
		got.Slots[key] = ownership.Slot(key)
	}
	sets := map[string][]ownership.WeightedRegion{
		"50/50/0":  {{Name: "beijing", Weight: 50}, {Name: "shanghai", Weight: 50}, {Name: "shenzhen", Weight: 0}},
		"40/40/20": {{Name: "beijing", Weight: 40}, {Name: "shanghai", Weight: 40}, {Name: "shenzhen", Weight: 20}},
		"one":      {{Name: "beijing", Weight: 1}},
	}
	for name, regions := range sets {
		for _, slot := range []int{0, 1, 2, 17, 255, 256, 511, 512, 1000, ownership.SlotCount - 1} {
			got.Ranks[fmt.Sprintf("%s slot %04d", name, slot)] = ownership.Rank(slot, regions)
		}
	}
	for _, homes := range [][]string{nil, {"beijing"}, {"beijing", "shanghai"}, {"shanghai", "beijing"}, {"shanghai", "beijing", "shenzhen"}} {
		got.Pinned[strings.Join(homes, " ")] = ownership.PinnedSlot(homes)
	}
	path := filepath.Join("testdata", "vectors.json")
	encoded, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, append(encoded, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want goldenVectors
	if err := json.Unmarshal(content, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys would move to other regions (-want +got):\n%s", diff)
	}
}

// regionSet draws one to six regions with distinct names; at least one has a weight.
func regionSet(t *rapid.T) []ownership.WeightedRegion {
	names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{2,10}`), 1, 6, rapid.ID[string]).Draw(t, "names")
	regions := make([]ownership.WeightedRegion, len(names))
	for i, name := range names {
		regions[i] = ownership.WeightedRegion{Name: name, Weight: int32(rapid.IntRange(0, 1000).Draw(t, "weight"))}
	}
	regions[0].Weight = max(regions[0].Weight, 1)
	return regions
}

func TestLosingARegionMovesOnlyItsSlots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		regions := regionSet(t)
		lost := rapid.SampledFrom(regions).Draw(t, "lost")
		rest := slices.DeleteFunc(slices.Clone(regions), func(r ownership.WeightedRegion) bool { return r == lost })
		for slot := range ownership.SlotCount {
			before := ownership.Rank(slot, regions)
			without := slices.DeleteFunc(slices.Clone(before), func(n string) bool { return n == lost.Name })
			if after := ownership.Rank(slot, rest); !slices.Equal(after, without) {
				t.Fatalf("slot %d: %v became %v without %s", slot, before, after, lost.Name)
			}
		}
	})
}

func TestOrderOfRegionsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		regions := regionSet(t)
		shuffled := rapid.Permutation(regions).Draw(t, "shuffled")
		slot := rapid.IntRange(0, ownership.SlotCount-1).Draw(t, "slot")
		if a, b := ownership.Rank(slot, regions), ownership.Rank(slot, shuffled); !slices.Equal(a, b) {
			t.Fatalf("slot %d: %v and %v", slot, a, b)
		}
	})
}

func TestWeightZeroNeverOwns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		regions := regionSet(t)
		for slot := range ownership.SlotCount {
			for _, name := range ownership.Rank(slot, regions) {
				i := slices.IndexFunc(regions, func(r ownership.WeightedRegion) bool { return r.Name == name })
				if regions[i].Weight <= 0 {
					t.Fatalf("slot %d ranks %s, whose weight is %d", slot, name, regions[i].Weight)
				}
			}
		}
	})
}

// A region's number of home slots is binomial; five standard deviations hold for every draw that
// will be made in practice, and for a wrong formula for none.
func TestWeightsAreHonoured(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		regions := regionSet(t)
		total, homes := 0.0, map[string]int{}
		for _, r := range regions {
			total += float64(r.Weight)
		}
		for slot := range ownership.SlotCount {
			homes[ownership.Home(slot, regions)]++
		}
		for _, r := range regions {
			share := float64(r.Weight) / total
			want := share * ownership.SlotCount
			tolerance := 5*math.Sqrt(want*(1-share)) + 1
			if got := float64(homes[r.Name]); math.Abs(got-want) > tolerance {
				t.Fatalf("%s with weight %d of %.0f is home of %.0f slots, want %.0f ± %.0f", r.Name, r.Weight, total, got, want, tolerance)
			}
		}
	})
}

func TestRaisingAWeightTakesSlotsOnlyForIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		regions := regionSet(t)
		i := rapid.IntRange(0, len(regions)-1).Draw(t, "raised")
		raised := slices.Clone(regions)
		raised[i].Weight += int32(rapid.IntRange(1, 1000).Draw(t, "by"))
		for slot := range ownership.SlotCount {
			before, after := ownership.Home(slot, regions), ownership.Home(slot, raised)
			if before != after && after != raised[i].Name {
				t.Fatalf("slot %d moved from %s to %s when only %s was raised", slot, before, after, raised[i].Name)
			}
		}
	})
}

func TestSlotIsInRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if s := ownership.Slot(rapid.String().Draw(t, "key")); s < 0 || s >= ownership.SlotCount {
			t.Fatalf("slot %d", s)
		}
	})
}

// TestPinnedSlot holds slots of lists apart from those of keys, and within what databases' numbers of 32 bits hold.
func TestPinnedSlot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		homes := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,8}`), 2, 6, rapid.ID[string]).Draw(t, "homes")
		slot := ownership.PinnedSlot(homes)
		if slot < ownership.SlotCount || slot > math.MaxInt32 {
			t.Fatalf("the slot of %v is %d", homes, slot)
		}
		others := map[string][]string{
			"another order": append(slices.Clone(homes[1:]), homes[0]), "the first alone": homes[:1],
			"names that run together": {strings.Join(homes, "")},
		}
		for what, other := range others {
			if ownership.PinnedSlot(other) == slot {
				t.Errorf("%s, %v, has the slot of %v", what, other, homes)
			}
		}
	})
}
