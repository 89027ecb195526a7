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

// TestDecideAfterALoss: what becomes of a key whose home is shanghai, in beijing, when shanghai does not
// serve. The key's next region is beijing itself, or shenzhen.
func TestDecideAfterALoss(t *testing.T) {
	const beijing, shanghai, shenzhen = 0, 1, 2
	set := func(change func(r *routing.Region)) func(*routing.Config) {
		return func(c *routing.Config) { change(&c.Regions[shanghai]) }
	}
	lost := func(r *routing.Region) { r.State, r.Unshipped = ownership.RegionLost, true }
	in := func(s ownership.RegionState) func(*routing.Config) {
		return set(func(r *routing.Region) { r.State = s })
	}
	refuse := func(why Reason) decision { return decision{action: actRefuse, reason: why} }
	home, stale, forward := decision{action: actHome}, decision{action: actStale, reason: ReasonHomeLost}, decision{action: actForward, region: shenzhen}
	cases := map[string]struct {
		change func(*routing.Config)
		flow   string
		next   string
		q      question
		want   decision
	}{
		"taken over here":                {set(lost), "pay", "beijing", question{leased: true}, home},
		"taken over here, by a hop":      {set(lost), "pay", "beijing", question{leased: true, hop: &hop{epoch: 7}}, home},
		"taken over here, no lease":      {set(lost), "pay", "beijing", question{}, refuse(ReasonFenced)},
		"taken over elsewhere":           {set(lost), "pay", "shenzhen", question{leased: true}, forward},
		"not to be taken over":           {set(lost), "register", "beijing", question{leased: true}, refuse(ReasonHomeLost)},
		"not to be taken over, by a hop": {set(lost), "register", "beijing", question{leased: true, hop: &hop{epoch: 7}}, refuse(ReasonHomeLost)},
		"the other region decides":       {set(lost), "register", "shenzhen", question{leased: true}, forward},
		"read-only, read":                {set(lost), "profile", "beijing", question{leased: true, safe: true}, stale},
		"read-only, written":             {set(lost), "profile", "beijing", question{leased: true}, refuse(ReasonHomeLost)},
		"read-only, read, no lease":      {set(lost), "profile", "beijing", question{safe: true}, decision{action: actStale, reason: ReasonFenced}},
		"deferred is refused":            {set(lost), "transfer", "beijing", question{leased: true}, refuse(ReasonHomeLost)},
		"pinned":                         {set(lost), "settings", "pinned", question{leased: true}, refuse(ReasonHomeLost)},
		"lost for good": {
			set(func(r *routing.Region) { r.State = ownership.RegionLost }), "register", "beijing", question{leased: true}, home,
		},
		"back, with something that others lack": {
			set(func(r *routing.Region) { r.State, r.Unshipped = ownership.RegionReturning, true }), "register", "beijing",
			question{leased: true}, refuse(ReasonHomeReturning),
		},
		"back, taken over": {
			set(func(r *routing.Region) { r.State, r.Unshipped = ownership.RegionReturning, true }), "pay", "beijing", question{leased: true}, home,
		},
		"handed back": {
			set(func(r *routing.Region) { r.State, r.Unshipped, r.HandedBack = ownership.RegionReturning, true, true }), "register", "beijing",
			question{leased: true}, decision{action: actForward, region: shanghai},
		},
		"withheld, here":      {set(func(r *routing.Region) { lost(r); r.Withheld = true }), "pay", "beijing", question{leased: true}, refuse(ReasonHomeLost)},
		"withheld, elsewhere": {set(func(r *routing.Region) { lost(r); r.Withheld = true }), "pay", "shenzhen", question{leased: true}, refuse(ReasonHomeLost)},
		"withheld, read":      {set(func(r *routing.Region) { lost(r); r.Withheld = true }), "profile", "beijing", question{leased: true, safe: true}, stale},
		"awaits this region": {
			set(func(r *routing.Region) { lost(r); r.Awaits = []string{"beijing"} }), "pay", "beijing", question{leased: true}, refuse(ReasonHomeLost),
		},
		"awaits another region": {
			set(func(r *routing.Region) { lost(r); r.Awaits = []string{"shenzhen"} }), "pay", "beijing", question{leased: true}, home,
		},
		"drained":         {in(ownership.RegionDrained), "register", "beijing", question{leased: true}, home},
		"drained, pinned": {in(ownership.RegionDrained), "settings", "pinned", question{leased: true}, home},
		"excluded":        {set(func(r *routing.Region) { r.Excluded = true }), "register", "beijing", question{leased: true}, home},
		"not joined yet":  {in(""), "register", "beijing", question{leased: true}, home},
		"unknown state":   {in("Odd"), "register", "beijing", question{leased: true}, home},
		"drained, and the next lost": {
			func(c *routing.Config) {
				c.Regions[shanghai].State = ownership.RegionDrained
				lost(&c.Regions[shenzhen])
				c.Regions[shenzhen].Behind = []string{"shanghai"}
			}, "register", "shenzhen", question{leased: true}, refuse(ReasonHomeDrained),
		},
		"it serves again, and one that had its keys is lost": {
			func(c *routing.Config) {
				lost(&c.Regions[shenzhen])
				c.Regions[shenzhen].Behind, c.Regions[shanghai].Weight, c.Regions[beijing].Weight = []string{"beijing"}, 0, 100
			}, "register", "beijing", question{leased: true}, refuse(ReasonHomeLost),
		},
		"nobody is left": {
			func(c *routing.Config) {
				lost(&c.Regions[shanghai])
				c.Regions[beijing].Excluded, c.Regions[shenzhen].Excluded = true, true
			}, "pay", "beijing", question{leased: true}, refuse(ReasonHomeLost),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig()
			tc.change(&cfg)
			tc.q.slot = pinnedSlot
			if tc.next != "pinned" {
				tc.q.slot = ownership.Slot(keyHomedIn(t, "shanghai", tc.next))
			}
			ask(t, mustCompile(t, cfg), tc.flow, tc.q, tc.want)
		})
	}
}

// TestDecideWhileOwnersChange: shanghai is being drained, or comes back, as seen from beijing and from
// shanghai itself.
func TestDecideWhileOwnersChange(t *testing.T) {
	const beijing, shanghai, shenzhen = 0, 1, 2
	changing := func(before, next func(*routing.Region)) routing.Config {
		cfg := testConfig()
		cfg.Closing, cfg.Before = true, testConfig().Regions
		before(&cfg.Before[shanghai])
		next(&cfg.Regions[shanghai])
		return cfg
	}
	is := func(s ownership.RegionState) func(*routing.Region) {
		return func(r *routing.Region) { r.State = s }
	}
	at := func(region string, cfg routing.Config) routing.Config { cfg.Region = region; return cfg }
	drain := changing(is(ownership.RegionServing), is(ownership.RegionDrained))
	back := changing(is(ownership.RegionReturning), is(ownership.RegionServing))
	losing := changing(is(ownership.RegionServing), func(r *routing.Region) { r.State, r.Unshipped = ownership.RegionLost, true })
	approved := changing(func(r *routing.Region) { r.State, r.Unshipped, r.Withheld = ownership.RegionLost, true, true },
		func(r *routing.Region) { r.State, r.Unshipped = ownership.RegionLost, true })
	reweighted := testConfig()
	reweighted.Closing, reweighted.Before = true, testConfig().Regions
	reweighted.Before[shanghai].Weight, reweighted.Before[beijing].Weight = 0, 1000 // beijing owned nearly everything
	renamed := testConfig()
	renamed.Closing = true // nothing was in force before

	leased := question{leased: true}
	wait, refuse := decision{action: actWait, reason: ReasonClosing}, decision{action: actRefuse, reason: ReasonClosing}
	home := decision{action: actHome}
	cases := map[string]struct {
		cfg  routing.Config
		flow string
		key  string
		q    question
		want decision
	}{
		"drained away to here":                     {drain, "register", "shanghai", leased, wait},
		"drained away from here":                   {at("shanghai", drain), "register", "shanghai", leased, wait},
		"drained away, waited":                     {drain, "register", "shanghai", question{leased: true, waited: true}, refuse},
		"drained away, taken over":                 {drain, "pay", "shanghai", leased, wait},
		"drained away, read-only, read":            {drain, "profile", "shanghai", question{safe: true}, decision{action: actStale, reason: ReasonClosing}},
		"drained away, read-only, written":         {drain, "profile", "shanghai", leased, wait},
		"drained away, read of another":            {drain, "register", "shanghai", question{safe: true}, wait},
		"drained away, pinned":                     {drain, "settings", "pinned", leased, wait},
		"drained away, any region":                 {drain, "login", "", question{}, decision{action: actLocal}},
		"a hop with an older view is sent back":    {at("shanghai", drain), "register", "shanghai", question{leased: true, hop: &hop{epoch: 6}}, refuse},
		"a hop with a newer view waits":            {drain, "register", "shanghai", question{leased: true, hop: &hop{epoch: 8}}, wait},
		"goes on here":                             {drain, "register", "beijing", leased, home},
		"goes on elsewhere":                        {drain, "register", "shenzhen", leased, decision{action: actForward, region: shenzhen}},
		"goes on, no lease":                        {drain, "register", "beijing", question{}, decision{action: actRefuse, reason: ReasonFenced}},
		"comes back":                               {back, "register", "shanghai", leased, wait},
		"comes back, where it is to be served":     {at("shanghai", back), "register", "shanghai", leased, wait},
		"being lost":                               {losing, "pay", "shanghai", leased, wait},
		"being lost, waited":                       {losing, "register", "shanghai", question{leased: true, waited: true}, refuse},
		"being approved":                           {approved, "pay", "shanghai", leased, wait},
		"gains by weight":                          {reweighted, "register", "shanghai", leased, wait},
		"goes on by weight":                        {reweighted, "register", "beijing", leased, home},
		"nothing was in force before":              {renamed, "register", "beijing", leased, wait},
		"closed wholly, the reason is the service": {func() routing.Config { c := drain; c.Closed = true; return c }(), "register", "shanghai", leased, decision{action: actWait, reason: ReasonClosed}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			switch tc.key {
			case "":
			case "pinned":
				tc.q.slot = pinnedSlot
			default:
				tc.q.slot = ownership.Slot(keyHomedIn(t, tc.key))
			}
			ask(t, mustCompile(t, tc.cfg), tc.flow, tc.q, tc.want)
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
