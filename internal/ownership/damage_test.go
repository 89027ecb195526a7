package ownership_test

import (
	"testing"

	"multiactive.dev/operator/internal/ownership"
)

// agreed is a sound configuration at epoch 5.
func agreed() ownership.Configuration {
	return ownership.Configuration{
		Revision: 50, Decided: 40,
		View: ownership.View{Epoch: 5, Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{
			"beijing": {State: ownership.RegionServing}, "shanghai": {State: ownership.RegionLost},
		}},
		Gates: map[string]ownership.Gate{"beijing": {Generation: 1, Open: true}, "shanghai": {Generation: 4}},
		Services: map[string]ownership.ServiceRecord{
			"u": {UID: "u", PeerKey: []byte("k"), ServiceState: ownership.ServiceState{Excluded: []string{"beijing"}}},
		},
		Debts:          map[string]ownership.Debt{"shanghai": {Epoch: 4, Vector: ownership.Vector{"shanghai": {"s": 1}}}},
		ServiceIntents: map[string]ownership.ServiceIntent{"u": {UID: "u"}},
	}
}

func TestDamagedSince(t *testing.T) {
	cases := map[string]struct {
		then     func(*ownership.Configuration)
		indirect bool
		want     string
		goneBack bool
	}{
		"nothing":                 {then: func(*ownership.Configuration) {}},
		"the next epoch":          {then: func(c *ownership.Configuration) { c.View.Epoch, c.Debts = 6, nil }},
		"a service more":          {then: func(c *ownership.Configuration) { c.Services["v"] = ownership.ServiceRecord{UID: "v"} }},
		"a service is deleted":    {then: func(c *ownership.Configuration) { s := c.Services["u"]; s.Deleted = true; c.Services["u"] = s }},
		"a lower epoch":           {then: func(c *ownership.Configuration) { c.View.Epoch = 4 }, want: "view: epoch 4 follows 5", goneBack: true},
		"no view":                 {then: func(c *ownership.Configuration) { c.View = ownership.View{} }, want: "view: it is gone"},
		"another view":            {then: func(c *ownership.Configuration) { c.View.Regions = nil }, want: "view: it was changed, and the epoch was not"},
		"no debt":                 {then: func(c *ownership.Configuration) { c.Debts = nil }, want: "debt/shanghai: it was changed, and the epoch was not"},
		"a region is let in":      {then: func(c *ownership.Configuration) { s := c.Services["u"]; s.Excluded = nil; c.Services["u"] = s }, want: "service/u: it was changed, and the epoch was not"},
		"another peer key":        {then: func(c *ownership.Configuration) { s := c.Services["u"]; s.PeerKey = nil; c.Services["u"] = s }, want: "service/u: it was changed, and the epoch was not"},
		"no gate":                 {then: func(c *ownership.Configuration) { delete(c.Gates, "beijing") }, want: "gate/beijing: it is gone"},
		"no record":               {then: func(c *ownership.Configuration) { delete(c.Services, "u") }, want: "service/u: it is gone, and the service is not deleted"},
		"no record, epochs later": {then: func(c *ownership.Configuration) { delete(c.Services, "u"); c.View.Epoch = 9 }, indirect: true, want: "service/u: it is gone, and the service is not deleted"},
		"no record and no intent": {then: func(c *ownership.Configuration) { c.Services, c.ServiceIntents = nil, nil }, want: "service/u: it is gone, and the service is not deleted"},
		"the same, unseen":        {then: func(c *ownership.Configuration) { c.Services, c.ServiceIntents = nil, nil }, indirect: true},
		"everything": {then: func(c *ownership.Configuration) { *c = ownership.Configuration{} }, want: "debt/shanghai: it was changed, and the epoch was not; " +
			"gate/beijing: it is gone; gate/shanghai: it is gone; service/u: it is gone, and the service is not deleted; view: it is gone"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			before, now := agreed(), agreed()
			c.then(&now)
			now.Revision, now.Decided = 51, 51
			damage := ownership.DamagedSince(&before, &now, !c.indirect)
			if got := ownership.Describe(damage); got != c.want {
				t.Errorf("damage %q, want %q", got, c.want)
			}
			back := false
			for _, d := range damage {
				back = back || d.GoneBack
			}
			if back != c.goneBack {
				t.Errorf("gone back: %t", back)
			}
		})
	}
}

func TestUnsound(t *testing.T) {
	sound := agreed()
	if damage := sound.Unsound(); len(damage) > 0 {
		t.Errorf("what was agreed on is damaged: %v", damage)
	}
	fresh := ownership.Configuration{Gates: map[string]ownership.Gate{"beijing": {Generation: 1, Open: true}}}
	if damage := fresh.Unsound(); len(damage) > 0 {
		t.Errorf("a store that begins is damaged: %v", damage)
	}
}

func TestBelowEpoch(t *testing.T) {
	c := agreed()
	for kept, want := range map[int64]string{0: "", 5: "", 6: "view: epoch 5 follows 6"} {
		if got := ownership.Describe(c.BelowEpoch(kept)); got != want {
			t.Errorf("with %d kept: %q, want %q", kept, got, want)
		}
	}
}
