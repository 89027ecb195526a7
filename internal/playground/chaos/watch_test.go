package chaos

import (
	"testing"

	"multiactive.dev/operator/internal/ownership"
)

func TestWhole(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		alter func(*ownership.Configuration)
		whole bool
	}{
		"all serve": {whole: true, alter: func(*ownership.Configuration) {}},
		"one that is returning": {alter: func(c *ownership.Configuration) {
			c.View.Regions["west"] = ownership.RegionRecord{State: ownership.RegionReturning}
		}},
		"one that nobody knows": {alter: func(c *ownership.Configuration) { delete(c.View.Regions, "west") }},
		"a change":              {alter: func(c *ownership.Configuration) { c.View.Phase = ownership.PhaseClosing }},
		"a drained service": {alter: func(c *ownership.Configuration) {
			c.Services["uid"] = ownership.ServiceRecord{ServiceState: ownership.ServiceState{Excluded: []string{"west"}}}
		}},
		"what an earlier loss withheld": {whole: true, alter: func(c *ownership.Configuration) {
			c.Services["uid"] = ownership.ServiceRecord{ServiceState: ownership.ServiceState{Withheld: map[string]int64{"west": 31}}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conf := ownership.Configuration{
				View:     ownership.View{Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{}},
				Services: map[string]ownership.ServiceRecord{"uid": {}},
			}
			for _, region := range Regions {
				conf.View.Regions[region] = ownership.RegionRecord{State: ownership.RegionServing}
			}
			c.alter(&conf)
			if err := whole(conf, Regions); (err == nil) != c.whole {
				t.Errorf("got %v", err)
			}
		})
	}
}
