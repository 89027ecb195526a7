package main

import (
	"testing"

	"multiactive.dev/operator/internal/follow"
	"multiactive.dev/operator/internal/ownership"
)

// What the hub sees itself is a sign of a loss, also when its watch of the store is what was lost.
func TestSigns(t *testing.T) {
	t.Parallel()
	view := ownership.Configuration{View: ownership.View{Regions: map[string]ownership.RegionRecord{
		"beijing": {State: ownership.RegionServing}, "shanghai": {State: ownership.RegionLost},
	}}}
	beating := map[string]bool{"beijing": true}
	for name, c := range map[string]struct {
		seen follow.Snapshot
		want bool
	}{
		"nothing is known yet":      {follow.Snapshot{}, false},
		"a lost region is silent":   {follow.Snapshot{Known: true, Connected: true, Configuration: view, Beating: beating}, false},
		"another is":                {follow.Snapshot{Known: true, Connected: true, Configuration: view}, true},
		"the store does not answer": {follow.Snapshot{Known: true, Configuration: view, Beating: beating}, true},
	} {
		if got := signs(c.seen); got != c.want {
			t.Errorf("%s: signs of a loss: %t", name, got)
		}
	}
}
