package gateway

import (
	"testing"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

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
	later := func(why Reason) decision { return decision{action: actDefer, reason: why} }
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
		"deferred":                       {set(lost), "transfer", "beijing", question{leased: true, deferrable: true}, later(ReasonHomeLost)},
		"deferred, by a hop":             {set(lost), "transfer", "beijing", question{leased: true, deferrable: true, hop: &hop{epoch: 7}}, later(ReasonHomeLost)},
		"deferred, no lease":             {set(lost), "transfer", "beijing", question{deferrable: true}, later(ReasonFenced)},
		"deferred elsewhere":             {set(lost), "transfer", "shenzhen", question{leased: true, deferrable: true}, forward},
		"cannot be deferred":             {set(lost), "transfer", "beijing", question{leased: true}, refuse(ReasonHomeLost)},
		"is not to be deferred":          {set(lost), "register", "beijing", question{leased: true, deferrable: true}, refuse(ReasonHomeLost)},
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
		"to be deferred":                           {drain, "transfer", "shanghai", question{leased: true, deferrable: true}, wait},
		"to be deferred, waited":                   {drain, "transfer", "shanghai", question{leased: true, deferrable: true, waited: true}, decision{action: actDefer, reason: ReasonClosing}},
		"to be deferred, a hop with an older view": {at("shanghai", drain), "transfer", "shanghai", question{leased: true, deferrable: true, hop: &hop{epoch: 6}}, refuse},
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
