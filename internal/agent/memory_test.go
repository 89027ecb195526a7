package agent

import (
	"testing"
	"time"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

func TestMemory(t *testing.T) {
	timings := ownership.DefaultTimings()
	const start = 1000 * time.Second
	configuration := func(beat int64) ownership.Configuration {
		return ownership.Configuration{
			Gates: map[string]ownership.Gate{"north": {Generation: 1, Open: true}},
			Beats: map[string]ownership.Beat{"north": {N: beat, Incarnation: "a"}},
		}
	}
	type look struct {
		at   time.Duration
		beat int64
	}
	tests := map[string]struct {
		looks []look
		still time.Duration
	}{
		"what was watched as a follower counts":     {[]look{{0, 1}, {5 * time.Second, 1}, {7 * time.Second, 1}}, 7 * time.Second},
		"a beat begins anew":                        {[]look{{0, 1}, {5 * time.Second, 2}, {7 * time.Second, 2}}, 2 * time.Second},
		"a lease without news was not watched":      {[]look{{0, 1}, {timings.RegionLease + 1, 1}}, 0},
		"a gap of just a lease is bridged by beats": {[]look{{0, 1}, {timings.RegionLease, 1}}, timings.RegionLease},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := newMemory(timings)
			var still time.Duration
			for _, l := range tt.looks {
				m.look(start+l.at, configuration(l.beat), func(w *health.Watch) { still = w.Still(start+l.at, "north") })
			}
			if still != tt.still {
				t.Errorf("the beat stands still for %s, want %s", still, tt.still)
			}
		})
	}
}
