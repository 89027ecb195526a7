package ownership_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"multiactive.dev/operator/internal/ownership"
)

// RankAll is Rank for every slot.
func TestRankAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var regions []ownership.WeightedRegion
		for i := range rapid.IntRange(0, 17).Draw(t, "regions") {
			regions = append(regions, ownership.WeightedRegion{
				Name: fmt.Sprintf("region-%d", (i*7)%17), Weight: rapid.Int32Range(0, 3).Draw(t, "weight"),
			})
		}
		orders := ownership.RankAll(regions)
		counts := 0
		for _, n := range orders.Count() {
			counts += n
		}
		if counts != ownership.SlotCount {
			t.Fatalf("the distinct orders have %d slots", counts)
		}
		for slot := range ownership.SlotCount {
			if want, got := ownership.Rank(slot, regions), orders.Order(slot); !slices.Equal(want, got) {
				t.Fatalf("slot %d: got %v, want %v", slot, got, want)
			}
		}
	})
}

func BenchmarkRankAll(b *testing.B) {
	regions := []ownership.WeightedRegion{{Name: "beijing", Weight: 50}, {Name: "shanghai", Weight: 30}, {Name: "shenzhen", Weight: 20}}
	b.ReportAllocs()
	for b.Loop() {
		ownership.RankAll(regions)
	}
}
