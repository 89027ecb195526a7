package chaos

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Kind is what a fault does.
type Kind string

// The faults. Each is undone after a while.
const (
	KillHub          Kind = "kill the hub's manager"
	KillLeader       Kind = "kill the leader's process"
	KillMember       Kind = "kill a member of the coordination store"
	KillManager      Kind = "kill a region's manager"
	KillGateway      Kind = "kill a region's gateway"
	KillService      Kind = "kill a region's service"
	KillBroker       Kind = "kill a region's Kafka"
	KillAPI          Kind = "kill a region's API server"
	RestartManager   Kind = "restart a region's manager every few seconds"
	RestartMember    Kind = "restart a member of the coordination store every few seconds"
	FreezeHub        Kind = "freeze the hub's manager"
	FreezeLeader     Kind = "freeze the leader's process"
	FreezeMember     Kind = "freeze a member of the coordination store"
	FreezeManager    Kind = "freeze a region's manager"
	FreezeGateway    Kind = "freeze a region's gateway"
	FreezeService    Kind = "freeze a region's service"
	FreezeBroker     Kind = "freeze a region's Kafka"
	FreezeMirrors    Kind = "freeze the mirrors into a region"
	FreezeRegion     Kind = "freeze all of a region"
	KillRegion       Kind = "kill all of a region"
	KillLeaderRegion Kind = "kill all of the leader's region"
	CutOneWay        Kind = "lose the packets from one region to another"
	CutBothWays      Kind = "lose the packets between two regions"
	CutOut           Kind = "lose the packets that a region sends"
	CutIn            Kind = "lose the packets that a region is sent"
	CutOff           Kind = "cut a region off"
	CutOffHub        Kind = "cut the hub off"
	StepManager      Kind = "step the clock of a region's manager"
	StepHub          Kind = "step the clock of the hub's manager"
	StepLeader       Kind = "step the clock of the leader's process"
	StepGateway      Kind = "step the clock of a region's gateway"
	// Drain and DrainService are planned changes, which orders begin and end.
	Drain        Kind = "drain a region"
	DrainService Kind = "drain a region of the service"
)

// gentle are faults that must refuse no home write while nothing else happens.
var gentle = []Kind{KillHub, KillLeader, KillMember, FreezeHub, FreezeMember, CutOffHub, StepManager, StepHub, StepLeader, StepGateway}

// harsh is what happens besides, weighted by how often it stands here.
var harsh = []Kind{
	KillLeader, KillMember, KillManager, KillGateway, KillService, KillBroker, KillAPI, RestartManager, RestartMember,
	FreezeLeader, FreezeLeader, FreezeMember, FreezeManager, FreezeManager, FreezeGateway, FreezeGateway, FreezeService, FreezeBroker,
	FreezeRegion, FreezeRegion, KillRegion, KillRegion, KillLeaderRegion, KillLeaderRegion,
	FreezeMirrors, CutOneWay, CutOneWay, CutBothWays, CutBothWays, CutOut, CutIn, CutOff, CutOff, CutOffHub,
	StepManager, StepHub, StepLeader, StepGateway,
}

// severe is what may cost a region its lease, when it lasts.
var severe = []Kind{
	FreezeLeader, FreezeManager, FreezeRegion, KillRegion, KillLeaderRegion, RestartManager,
	CutOneWay, CutBothWays, CutOut, CutIn, CutOff, CutOff,
}

// slow is what keeps data from moving while an owner changes.
var slow = []Kind{FreezeMirrors, FreezeMirrors, FreezeService, CutOneWay}

// step is by how much a clock is set.
const step = time.Hour

// Times of a run. Leases last six seconds, so faults are shorter and longer than these.
const (
	calm        = 2 * time.Second
	gentleFor   = 6 * time.Second
	gentleCalm  = 5 * time.Second
	shortest    = 2 * time.Second
	longest     = 18 * time.Second
	lasting     = 8 * time.Second
	ahead       = time.Second
	stormWindow = 15 * time.Second
)

// Fault is one thing that happens in a run.
type Fault struct {
	Kind Kind
	// Region it happens to, where that is not the leader's or the hub; Other is the second region of a cut.
	Region, Other string
	// At is when, counted from the beginning of the run; For is how long until it is undone.
	At, For time.Duration
	// Back: the clock is set back, not forward.
	Back bool
}

// String says what happens, where and when.
func (f Fault) String() string {
	text := fmt.Sprintf("%5.1fs +%4.1fs %s", f.At.Seconds(), f.For.Seconds(), f.Kind)
	if f.Region != "" {
		text += ": " + f.Region
	}
	if f.Other != "" {
		text += ", " + f.Other
	}
	switch f.Kind { //nolint:exhaustive // only clocks have a direction
	case StepManager, StepHub, StepLeader, StepGateway:
		text += map[bool]string{true: " by -1h", false: " by +1h"}[f.Back]
	}
	return text
}

// Plan returns what happens in one run of a seed: first a gentle fault alone, then a storm of a severe
// one and others, with planned changes in it. The same seed, run and regions give the same plan.
func Plan(seed uint64, run int, regions []string) []Fault {
	random := rand.New(rand.NewPCG(seed, uint64(run)))
	pick := func() (string, string) {
		order := random.Perm(len(regions))
		return regions[order[0]], regions[order[1]]
	}
	begin := calm + gentleFor + gentleCalm
	plan := []Fault{aim(Fault{Kind: gentle[random.IntN(len(gentle))], At: calm, For: gentleFor, Back: random.IntN(2) == 0}, pick)}
	add := func(kind Kind, atLeast time.Duration) {
		plan = append(plan, aim(Fault{
			Kind: kind, At: begin + upTo(random, stormWindow), For: atLeast + upTo(random, longest-atLeast), Back: random.IntN(2) == 0,
		}, pick))
	}
	add(severe[random.IntN(len(severe))], lasting)
	for range 1 + random.IntN(3) {
		add(harsh[random.IntN(len(harsh))], shortest)
	}
	for range 1 + random.IntN(2) {
		kind := Drain
		if random.IntN(3) == 0 {
			kind = DrainService
		}
		at := begin + upTo(random, stormWindow)
		plan = append(plan, aim(Fault{Kind: kind, At: at, For: longest}, pick))
		if random.IntN(2) == 0 {
			plan = append(plan, aim(Fault{Kind: slow[random.IntN(len(slow))], At: at - ahead, For: lasting + upTo(random, longest-lasting)}, pick))
		}
	}
	plan = append(plan, letGo(rand.New(rand.NewPCG(seed, uint64(run)|1<<32)), plan)...)
	slices.SortStableFunc(plan, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	return plan
}

// letGo makes it hard for some regions that are drained to let go of their keys: for less than a lease, the
// gateway hears of nothing, or writes that are under way take long.
func letGo(random *rand.Rand, plan []Fault) []Fault {
	var out []Fault
	for _, f := range plan {
		if f.Kind != Drain && f.Kind != DrainService || random.IntN(2) == 0 {
			continue
		}
		kind := []Kind{FreezeGateway, FreezeBroker}[random.IntN(2)]
		out = append(out, Fault{Kind: kind, Region: f.Region, At: f.At + upTo(random, ahead), For: shortest + upTo(random, shortest)})
	}
	return out
}

// upTo is in tenths of a second, so that a plan can be read.
func upTo(random *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(limit/(100*time.Millisecond)))) * 100 * time.Millisecond
}

// aim chooses the regions of a fault.
func aim(f Fault, pick func() (string, string)) Fault {
	one, other := pick()
	switch f.Kind { //nolint:exhaustive // all others happen in one region
	case KillHub, FreezeHub, CutOffHub, StepHub, KillLeader, FreezeLeader, KillLeaderRegion, StepLeader:
		return f
	case CutOneWay, CutBothWays:
		f.Other = other
	}
	f.Region = one
	return f
}
