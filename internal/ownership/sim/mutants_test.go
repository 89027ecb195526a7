package sim_test

import (
	"slices"
	"testing"

	"multiactive.dev/operator/internal/ownership/sim"
)

// hints are seeds, counted as TestMutants does, that catch mutants which it would search long for. After
// a change of the simulation they are mostly others; it searches then, and says which.
var hints = map[sim.Mutant]uint64{
	sim.InheritedStillness:      44,
	sim.ViewWithoutGuard:        765,
	sim.RefusalForgotten:        82,
	sim.OlderSnapshotTaken:      376,
	sim.LeaseFromSuccess:        186,
	sim.CloseWithoutBeat:        43,
	sim.PatientBeats:            47,
	sim.LeaseFromAnswer:         50,
	sim.RenewalWaits:            589,
	sim.PreviousIsLastView:      520,
	sim.PreemptedNotUndone:      159,
	sim.GateOpenedWhileClosing:  133,
	sim.AckAfterRestart:         418,
	sim.AckBeforeRouting:        204,
	sim.SilentGatewayForgotten:  127,
	sim.LatchedBeforeGateClosed: 173,
	sim.EarlierHandbackCounts:   62,
}

// TestMutants breaks each rule on purpose: the simulation must notice.
func TestMutants(t *testing.T) {
	cases := map[sim.Mutant][]sim.Invariant{ // how it may show
		sim.LeaderWithoutGuard:      {sim.DeposedWritesNothing},
		sim.ViewWithoutGuard:        {sim.EpochsGrow},
		sim.AgentWithoutIncarnation: {sim.ReplacedWritesNothing},
		sim.TwoAgentsBeat:           {sim.ReplacedWritesNothing},
		sim.LaggingFirstRead:        {sim.NeverBack},
		sim.RestoredStoreAccepted:   {sim.NeverBack},
		sim.RefusalForgotten:        {sim.NeverBack},
		sim.PositionForgotten:       {sim.NeverBack},
		sim.OlderSnapshotTaken:      {sim.NeverBack},
		sim.LeaseFromSuccess:        {sim.LostHoldsNoLease, sim.SingleOwner},
		sim.LeaseAfterGateClosed:    {sim.LostHoldsNoLease, sim.SingleOwner},
		sim.SlowBeats:               {sim.HomeWritesGoOn, sim.Recovers},
		sim.NoDriftMargin:           {sim.LostHoldsNoLease, sim.SingleOwner},
		sim.CloseWithoutBeat:        {sim.LostHoldsNoLease, sim.SingleOwner},
		sim.InheritedStillness:      {sim.LostHoldsNoLease, sim.SingleOwner},
		sim.NeverAsks:               {sim.Recovers},
		sim.PatientBeats:            {sim.HomeWritesGoOn},
		sim.LeaseFromAnswer:         {sim.LostHoldsNoLease, sim.SingleOwner},
		sim.HeldNotCounted:          {sim.HomeWritesGoOn},
		sim.RenewalWaits:            {sim.HomeWritesGoOn},
		sim.LeaseTakenBack:          {sim.HomeWritesGoOn},
		sim.LeaseBeforeRouting:      {sim.SingleOwner},
		sim.AnyRegionWaits:          {sim.AnyRegionServed},
		sim.NoHoldDown:              {sim.HoldDownKept},
		sim.PreviousIsLastView:      {sim.SingleOwner, sim.TakeoverHasReceived, sim.NoWriteLostInPlannedChange, sim.CompleteHasAll},
		sim.PreemptedNotUndone:      {sim.NoWriteLostInPlannedChange, sim.CompleteHasAll},
		sim.KeyChangeMovedOnly:      {sim.SingleOwner},
		sim.GateOpenedWhileClosing:  {sim.TakeoverHasReceived, sim.SingleOwner, sim.NoWriteLostInPlannedChange, sim.CompleteHasAll},
		sim.EarlierAckCounts:        {sim.SingleOwner, sim.NoWriteLostInPlannedChange, sim.CompleteHasAll, sim.TakeoverHasReceived},
		sim.AckAfterRestart:         {sim.SingleOwner, sim.NoWriteLostInPlannedChange, sim.CompleteHasAll},
		sim.AckBeforeWritesEnd:      {sim.SingleOwner, sim.NoWriteLostInPlannedChange, sim.CompleteHasAll},
		sim.AckBeforeRouting:        {sim.SingleOwner, sim.NoWriteLostInPlannedChange},
		sim.SilentGatewayForgotten:  {sim.SingleOwner, sim.NoWriteLostInPlannedChange},
		sim.OpenBeforeCatchUp:       {sim.NoWriteLostInPlannedChange, sim.CompleteHasAll, sim.TakeoverHasReceived},
		sim.DebtsForgotten:          {sim.NoWriteLostInPlannedChange},
		sim.LatchedBeforeGateClosed: {sim.TakeoverHasReceived},
		sim.IncompleteServesAll:     {sim.CompleteHasAll},
		sim.EarlierHandbackCounts:   {sim.SingleOwner, sim.NoWriteLostInPlannedChange},
	}
	for _, m := range sim.Mutants() {
		t.Run(string(m), func(t *testing.T) {
			seed := func(n uint64) uint64 { return n }
			if slices.Equal(cases[m], []sim.Invariant{sim.HomeWritesGoOn}) {
				seed = harmless // it cannot show elsewhere
			}
			caught := hints[m]
			if caught == 0 || sim.Run(options(seed(caught), m)).Violation == nil {
				caught = search(within, func(n uint64) sim.Options { return options(seed(n), m) }, func(sim.Result) {})
				t.Logf("the hint is %d, the first seed %d", hints[m], caught)
			}
			switch {
			case caught == 0 && within < 2000:
				t.Skipf("not caught within %d seeds; without the race detector more are tried", within)
			case caught == 0:
				t.Fatalf("not caught within %d seeds", within)
			}
			r := sim.Run(options(seed(caught), m))
			t.Logf("caught at seed %d: %v", seed(caught), r.Violation)
			if !slices.Contains(cases[m], r.Violation.Invariant) {
				t.Errorf("caught as %s, want one of %v", r.Violation.Invariant, cases[m])
			}
		})
	}
}
