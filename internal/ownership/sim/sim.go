package sim

import (
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/sim/world"
)

const roleActive = "Active"

// Options say what to run.
type Options struct {
	// Seed decides everything that is left to chance.
	Seed uint64
	// LatePublisher lets the routing that agents make of a configuration be late by up to a lease, as on
	// a machine that is short of processor time.
	LatePublisher bool
	// Restore has the store restored from a backup in every run; empty leaves it to chance, and how too.
	Restore Restore
	// Harmless leaves the world to faults that must cost no home write: the leader or a minority of
	// the store fails, one at a time. HomeWritesGoOn is an invariant then.
	Harmless bool
	// Flaps, if positive, leaves the world to one region that is cut off and comes back as often.
	Flaps int
	// LeaderLost leaves the world to one fault: the region of the leader is lost.
	LeaderLost bool
	// Pace is the set of timings; empty leaves it to chance.
	Pace Pace
	// Mutant breaks a rule; empty breaks none.
	Mutant Mutant
	// Traced keeps the trace.
	Traced bool
}

// Pace is a set of timings with the delays between regions that it is made for.
type Pace string

// The paces.
const (
	// PaceDefault is ownership.DefaultTimings with round trips up to 100 ms and a bit.
	PaceDefault Pace = "default"
	// PaceFast is ownership.FastTimings with round trips up to 30 ms.
	PaceFast Pace = "fast"
)

// Restore says how the store is restored from a backup.
type Restore string

// The ways to restore it.
const (
	// NewIdentity gives the store another cluster ID, and does so at once: the hardest case.
	NewIdentity Restore = "new identity"
	// OldIdentity leaves the store its cluster ID, as a restore does that is given the old cluster
	// token, and takes longer than a lease.
	OldIdentity Restore = "old identity"
)

// Result is what a run came to.
type Result struct {
	// Violation is nil if every promise was kept.
	Violation *Violation
	// Trace has the last events of a traced run.
	Trace []string
	// Duration is the true time at the end.
	Duration time.Duration
	// Losses and Returns count the regions that were lost and that served again, Accepted and
	// Refused the home writes of users.
	Losses, Returns, Accepted, Refused int
	// Changes counts the changes of owners that were put in force, by kind.
	Changes map[ownership.ChangeKind]int
	// Recovery is the time from the last fault until every region served.
	Recovery time.Duration
	// Measured has the steps of incidents in a run with LeaderLost, Committed the time from the loss until the
	// view has it; 0: it has not.
	Measured  []Measured
	Committed time.Duration
}

// Measured is a step of an incident, with what it took and what its leader measured.
type Measured struct {
	Step        string
	True        time.Duration
	Since       time.Duration
	Approximate bool
}

// Sim is one run.
type Sim struct {
	*world.World
	o       Options
	timings ownership.Timings
	far     time.Duration
	net     *world.Network
	store   *cluster
	regions []*region
	plan    *plan
	// slots has one slot for each region that serves, whose home that is while all weigh the same. specs
	// are by hash, hashes in a fixed order.
	slots  []int
	specs  map[string]*spec
	hashes []string
	// known is what owners found out last.
	known struct {
		at     position
		owners []ownership.Owned
	}
	// applyLag bounds how long an entry takes to be applied, and quiet leaves orders and specs alone.
	applyLag time.Duration
	quiet    bool
	// given has the orders of person.
	given   map[string]string
	ordered int
	// publishLag bounds the time from a configuration to the routing that is made from it.
	publishLag time.Duration
	// publishLate counts the faults that make that a lease.
	publishLate int
	wildWalls   bool
	restored    bool
	calm        bool

	processes, incarnations, terms      int
	losses, returns, accepted, refusals int
	changes                             map[ownership.ChangeKind]int
	violation                           *Violation
	// lostAt is when the leader's region was lost, and measured what was said of it since.
	lostAt   time.Duration
	measured []Measured
	// lossCommitted is how long after lostAt a view first had a region Lost.
	lossCommitted time.Duration
	// last is the configuration after the latest write of a leader.
	last ownership.Configuration
}

// Run runs a seed.
func Run(o Options) Result {
	s := newSim(o)
	s.bootstrap()
	s.plan.start()
	stop := func() bool { return s.violation != nil }
	for s.Now() < s.plan.end && !stop() {
		s.Run(s.plan.end, stop) // faults may set the end later
	}
	if !stop() {
		s.endFaults()
	}
	calmAt := s.Now()
	recovery := s.recover(stop)
	return Result{
		Violation: s.violation, Trace: s.Trace(), Duration: s.Now(), Recovery: recovery - calmAt,
		Losses: s.losses, Returns: s.returns, Accepted: s.accepted, Refused: s.refusals, Measured: s.measured, Committed: s.lossCommitted, Changes: s.changes,
	}
}

// recover lets the world go on without faults until it is well, which must not take longer than Bound.
func (s *Sim) recover(stop func() bool) time.Duration {
	if s.restored {
		// A restored store gives no lease until a person adopts it.
		s.Run(s.Now()+10*s.timings.RegionLease, stop)
		return s.Now()
	}
	from := s.Now()
	for !stop() {
		i, why := s.unrecovered()
		if why == "" {
			break
		}
		s.person()
		flaps := 0
		for _, r := range s.store.content.Now().View.Regions {
			flaps = max(flaps, r.Flaps)
		}
		if bound := Bound(s.timings, flaps); s.Now()-from > bound {
			c := s.store.content.Now()
			s.Tracef("view: %+v", c.View)
			s.Tracef("services: %+v", c.Services)
			s.Tracef("acknowledged: %+v, owed: %+v, evidence: %+v", c.Acks, c.Debts, c.Evidence)
			s.violate(i, "%s after the last fault, %s", s.Now()-from, why)
			break
		}
		s.Run(s.Now()+s.timings.BeatInterval/3, stop)
	}
	return s.Now()
}

func newSim(o Options) *Sim {
	s := &Sim{
		World: world.New(o.Seed, o.Traced), o: o, publishLag: 2 * time.Millisecond,
		given: map[string]string{}, changes: map[ownership.ChangeKind]int{},
	}
	s.timings, s.far = ownership.FastTimings(), 10*time.Millisecond
	if slow := s.Chance(0.3); o.Pace == PaceDefault || o.Pace == "" && slow {
		s.timings, s.far = ownership.DefaultTimings(), 45*time.Millisecond
	}
	if s.Chance(0.5) {
		s.far /= 10 // regions near one another leave little room for error
	}
	if o.LatePublisher {
		s.publishLag = s.timings.RegionLease
	}
	if o.Mutant == SlowBeats {
		s.timings.BeatInterval = s.timings.RegionLease
	}
	s.wildWalls, s.Extreme = s.Chance(0.1), s.Chance(0.5)
	count := 3
	if s.Chance(0.15) {
		count = 5
	}
	var zones, storeNodes []int
	for i := range count {
		n := 3 * i
		s.regions = append(s.regions, &region{
			s: s, name: string(rune('a' + i)), index: i, agentNode: n, edgeNode: n + 1, storeNode: n + 2,
			gatewayCount: 1,
		})
		zones = append(zones, i, i, i)
		storeNodes = append(storeNodes, n+2)
	}
	if count == 3 && s.Chance(0.15) {
		s.regions[2].witness, s.regions[2].gatewayCount = true, 0
	}
	s.net = s.NewNetwork(zones, s.far)
	s.net.TailDelay = s.timings.RegionLease / 4
	s.store = newCluster(s, storeNodes)
	s.net.Changed = s.store.changed
	s.makeSpecs()
	s.equip()
	s.plan = s.newPlan()
	return s
}
