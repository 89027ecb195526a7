package gateway

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

func mustCompile(t testing.TB, cfg routing.Config) *Router {
	t.Helper()
	r, err := Compile(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDecide(t *testing.T) {
	const beijing, shanghai = 0, 1
	with := func(change func(*routing.Config)) routing.Config {
		cfg := testConfig()
		change(&cfg)
		return cfg
	}
	cases := map[string]struct {
		cfg  routing.Config
		flow string
		home string
		q    question
		want decision
	}{
		"any region":              {testConfig(), "login", "", question{}, decision{action: actLocal}},
		"any region behind a hop": {testConfig(), "login", "", question{hop: &hop{}}, decision{action: actLocal}},
		"own with lease":          {testConfig(), "register", "beijing", question{leased: true}, decision{action: actHome}},
		"own without lease":       {testConfig(), "register", "beijing", question{}, decision{action: actRefuse, reason: ReasonFenced}},
		"own without lease, read": {testConfig(), "profile", "beijing", question{safe: true}, decision{action: actStale, reason: ReasonFenced}},
		"elsewhere":               {testConfig(), "register", "shanghai", question{}, decision{action: actForward, region: shanghai}},
		"elsewhere after a hop": {testConfig(), "register", "shanghai", question{hop: &hop{epoch: 7}},
			decision{action: actRefuse, region: shanghai, reason: ReasonSecondHop}},
		"elsewhere after a hop of a newer view": {testConfig(), "register", "shanghai", question{hop: &hop{epoch: 8}},
			decision{action: actWait, reason: ReasonSecondHop}},
		"the newer view did not come": {testConfig(), "register", "shanghai", question{hop: &hop{epoch: 8}, waited: true},
			decision{action: actRefuse, region: shanghai, reason: ReasonSecondHop}},
		"elsewhere without peer key": {with(func(c *routing.Config) { c.PeerKey = nil }), "register", "shanghai", question{},
			decision{action: actRefuse, reason: ReasonNoPeerKey}},
		"elsewhere without endpoint": {with(func(c *routing.Config) { c.Regions[shanghai].Endpoint = "" }), "register", "shanghai", question{},
			decision{action: actRefuse, reason: ReasonNoEndpoint}},
		"own without endpoint": {with(func(c *routing.Config) { c.Regions[beijing].Endpoint = "" }), "register", "beijing", question{leased: true},
			decision{action: actHome}},
		"closed": {with(func(c *routing.Config) { c.Closed = true }), "register", "beijing", question{leased: true}, decision{action: actWait, reason: ReasonClosed}},
		"closed, waited": {with(func(c *routing.Config) { c.Closed = true }), "register", "beijing", question{leased: true, waited: true},
			decision{action: actRefuse, reason: ReasonClosed}},
		"closed, any region": {with(func(c *routing.Config) { c.Closed = true }), "login", "", question{}, decision{action: actLocal}},
		"no weights": {with(func(c *routing.Config) {
			for i := range c.Regions {
				c.Regions[i].Weight = 0
			}
		}), "register", "", question{leased: true}, decision{action: actRefuse, reason: ReasonNoHome}},
		"pinned elsewhere": {testConfig(), "settings", "pinned", question{}, decision{action: actForward, region: shanghai}},
		"shed": {with(func(c *routing.Config) { c.Flows[0].Shed, c.Flows[0].Degraded = true, true }), "login", "", question{},
			decision{action: actRefuse, reason: ReasonShed}},
		"to be shed, not degraded": {with(func(c *routing.Config) { c.Flows[0].Shed = true }), "login", "", question{}, decision{action: actLocal}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := mustCompile(t, tc.cfg)
			switch tc.home {
			case "":
			case "pinned":
				tc.q.slot = pinnedSlot
			default:
				tc.q.slot = ownership.Slot(keyHomedIn(t, tc.home))
			}
			ask(t, r, tc.flow, tc.q, tc.want)
		})
	}
}

// ask decides one question about a flow.
func ask(t *testing.T, r *Router, flow string, q question, want decision) {
	t.Helper()
	for i := range r.flows {
		if r.flows[i].name == flow {
			q.flow = &r.flows[i]
		}
	}
	if diff := cmp.Diff(want, r.decide(q), cmp.AllowUnexported(decision{})); diff != "" {
		t.Errorf("decision (-want +got):\n%s", diff)
	}
}

// TestSingleOwner checks the promise as far as gateways keep it: with one configuration, of all
// the service's regions at most one serves a slot's home requests, and only with a lease.
func TestSingleOwner(t *testing.T) {
	states := []ownership.RegionState{ownership.RegionServing, ownership.RegionLost, ownership.RegionReturning, ownership.RegionDrained}
	rapid.Check(t, func(t *rapid.T) {
		cfg := testConfig()
		cfg.Closed, cfg.Closing = rapid.Bool().Draw(t, "closed"), rapid.Bool().Draw(t, "closing")
		cfg.Before = testConfig().Regions
		for _, list := range [][]routing.Region{cfg.Regions, cfg.Before} {
			for i := range list {
				x := &list[i]
				x.Weight = rapid.Int32Range(0, 100).Draw(t, "weight")
				x.State = rapid.SampledFrom(states).Draw(t, "state")
				x.Excluded, x.HandedBack = rapid.Bool().Draw(t, "excluded"), rapid.Bool().Draw(t, "handedBack")
				x.Withheld, x.Unshipped = rapid.Bool().Draw(t, "withheld"), rapid.Bool().Draw(t, "unshipped")
				x.Behind = rapid.SliceOfN(rapid.SampledFrom(worldRegions), 0, 2).Draw(t, "behind")
				x.Awaits = rapid.SliceOfN(rapid.SampledFrom(worldRegions), 0, 2).Draw(t, "awaits")
			}
		}
		slot := rapid.IntRange(0, ownership.SlotCount-1).Draw(t, "slot")
		flow := rapid.SampledFrom([]int{1, 2, 3, 5}).Draw(t, "flow")
		leased := rapid.Bool().Draw(t, "leased")
		served := 0
		for _, name := range worldRegions {
			cfg.Region = name
			r, err := Compile(&cfg)
			if err != nil {
				t.Fatal(err)
			}
			d := r.decide(question{flow: &r.flows[flow], slot: slot, leased: leased})
			if d.action == actHome {
				served++
			}
			if d.action == actLocal || d.action == actHome && !leased {
				t.Fatalf("%s serves a home write with action %v", name, d.action)
			}
			if d.action == actForward && d.region == r.self {
				t.Fatalf("%s forwards to itself", name)
			}
		}
		if served > 1 {
			t.Fatalf("%d regions serve slot %d", served, slot)
		}
	})
}

func TestCompileErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*routing.Config)
		want   string
	}{
		"upstream":         {func(c *routing.Config) { c.Upstream = "app:80" }, "upstream"},
		"credentials":      {func(c *routing.Config) { c.Upstream = "http://a:b@c" }, "upstream"},
		"endpoint":         {func(c *routing.Config) { c.Regions[1].Endpoint = "shanghai" }, "regions[shanghai].endpoint"},
		"own region":       {func(c *routing.Config) { c.Region = "mars" }, "mars"},
		"key of a flow":    {func(c *routing.Config) { c.Flows[1].Key = "mail" }, "flows[register].key"},
		"pinned region":    {func(c *routing.Config) { c.Flows[4].Pinned = []string{"mars"} }, "flows[settings].pinned"},
		"unmatched":        {func(c *routing.Config) { c.Unmatched.SafeMethods = "Perhaps" }, "unmatched.safeMethods"},
		"key of unmatched": {func(c *routing.Config) { c.Unmatched.OtherMethods = "HomeRegion" }, "unmatched.key"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig()
			tc.change(&cfg)
			if _, err := Compile(&cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v, want one that names %s", err, tc.want)
			}
		})
	}
}

func TestNextServing(t *testing.T) {
	cfg := testConfig()
	cfg.Regions[1].State = ownership.RegionReturning
	if got := mustCompile(t, cfg).nextServing(); got != 2 {
		t.Errorf("got region %d, want the serving one before the returning one", got)
	}
	cfg.Regions[2].Endpoint = ""
	if got := mustCompile(t, cfg).nextServing(); got != 1 {
		t.Errorf("got region %d, want the one that has an endpoint", got)
	}
	cfg.Regions[2].State = ownership.RegionLost
	if got := mustCompile(t, cfg).nextServing(); got != 1 {
		t.Errorf("got region %d, want the returning one", got)
	}
	cfg.Regions[1].State = ownership.RegionDrained
	if got := mustCompile(t, cfg).nextServing(); got != noRegion {
		t.Errorf("got region %d, want none", got)
	}
}
