package sim_test

import (
	"slices"
	"testing"

	"multiactive.dev/operator/internal/ownership/sim"
)

// hints are seeds, counted as TestMutants does, that catch mutants which it would search long for. After
// a change of the simulation they are mostly others; it searches then, and says which.
var hints = map[sim.Mutant]uint64{
	sim.PositionForgotten:       714,
	sim.OlderSnapshotTaken:      566,
	sim.NoDriftMargin:           250,
	sim.CloseWithoutBeat:        39,
	sim.InheritedStillness:      44,
	sim.PatientBeats:            94,
	sim.LeaseFromAnswer:         140,
	sim.RenewalWaits:            307,
	sim.WaitsAfterFailure:       259,
	sim.LeaseBeforeRouting:      192,
	sim.PreviousIsLastView:      215,
	sim.PreemptedNotUndone:      149,
	sim.GateOpenedWhileClosing:  67,
	sim.EarlierAckCounts:        192,
	sim.AckAfterRestart:         402,
	sim.AckBeforeRouting:        432,
	sim.SilentGatewayForgotten:  303,
	sim.DebtsForgotten:          77,
	sim.LatchedBeforeGateClosed: 1045,
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
		sim.WaitsAfterFailure:       {sim.HomeWritesGoOn},
		sim.LeaseTakenBack:          {sim.HomeWritesGoOn},
		sim.LeaseBeforeRouting:      {sim.SingleOwner},
		sim.AnyRegionWaits:          {sim.AnyRegionServed},
		sim.NoHoldDown:              {sim.HoldDownKept},
		sim.PreviousIsLastView:      {sim.SingleOwner, sim.TakeoverHasReceived, sim.NoWriteLostInPlannedChange, sim.CompleteHasAll},
		sim.PreemptedNotUndone:      {sim.NoWriteLostInPlannedChange, sim.CompleteHasAll},
		sim.KeyChangeMovedOnly:      {sim.SingleOwner},
		sim.GateOpenedWhileClosing:  {sim.TakeoverHasReceived, sim.SingleOwner, sim.NoWriteLostInPlannedChange, sim.CompleteHasAll},
		sim.EarlierAckCounts:        {sim.SingleOwner, sim.NoWriteLostInPlannedChange, sim.CompleteHasAll, sim.TakeoverHasReceived},
		sim.AckAfterRestart:         {sim.SingleOwner, sim.NoWriteLostInPlannedChange},
		sim.AckBeforeWritesEnd:      {sim.SingleOwner, sim.NoWriteLostInPlannedChange, sim.CompleteHasAll},
		sim.AckBeforeRouting:        {sim.SingleOwner, sim.NoWriteLostInPlannedChange},
		sim.SilentGatewayForgotten:  {sim.SingleOwner, sim.NoWriteLostInPlannedChange},
		sim.OpenBeforeCatchUp:       {sim.NoWriteLostInPlannedChange, sim.CompleteHasAll, sim.TakeoverHasReceived},
		sim.DebtsForgotten:          {sim.NoWriteLostInPlannedChange},
		sim.LatchedBeforeGateClosed: {sim.TakeoverHasReceived},
		sim.IncompleteServesAll:     {sim.CompleteHasAll},
		sim.EarlierHandbackCounts:   {sim.SingleOwner},
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
