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
				m.look(start+l.at, configuration(l.beat), nil, func(w *health.Watch) { still = w.Still(start+l.at, "north") })
			}
			if still != tt.still {
				t.Errorf("the beat stands still for %s, want %s", still, tt.still)
			}
		})
	}
}

// After a gap for which nothing was watched, the agent still knows what its own probes saw meanwhile.
func TestMemoryMeasures(t *testing.T) {
	const start = 1000 * time.Second
	configuration := func(beat int64, evidence ownership.Evidence) ownership.Configuration {
		c := ownership.Configuration{
			Gates: map[string]ownership.Gate{}, Beats: map[string]ownership.Beat{},
			Evidence: map[string]ownership.Evidence{"east": evidence},
		}
		for _, region := range []string{"north", "east"} {
			c.Gates[region], c.Beats[region] = ownership.Gate{Generation: 1, Open: true}, ownership.Beat{N: beat}
		}
		return c
	}
	tests := map[string]struct {
		own   map[string]health.Failing
		since time.Duration
		rough bool
	}{
		"own probes failed":  {map[string]health.Failing{"north": {Since: start + 2*time.Second, Seen: true}}, 10 * time.Second, false},
		"own probes did not": {nil, 0, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := newMemory(ownership.DefaultTimings())
			ignore := func(*health.Watch) {}
			m.look(start, configuration(1, ownership.Evidence{}), nil, ignore)
			m.look(start+time.Second, configuration(2, ownership.Evidence{}), nil, ignore)
			now, c := start+12*time.Second, configuration(2, ownership.Evidence{Unreachable: []string{"north"}})
			m.look(now, c, tt.own, func(w *health.Watch) {
				opened := health.Incidents(now, time.Unix(100, 0), c, w, []health.Intent{{Kind: health.OpenIncident, Region: "north"}})
				first, second := opened[0].Timeline[0], opened[0].Timeline[1]
				if second.SinceSuspected != tt.since || !first.At.Equal(time.Unix(100, 0).Add(-tt.since)) || first.Approximate != tt.rough {
					t.Errorf("opened with %+v, want %s measured, approximate %v", opened[0].Timeline, tt.since, tt.rough)
				}
			})
		})
	}
}
