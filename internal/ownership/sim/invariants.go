package sim

import (
	"fmt"
	"time"
)

// Invariant names a promise that is checked against true time.
type Invariant string

// The invariants.
const (
	// SingleOwner: while one region may accept a home write to a slot, no other may, and no write that
	// another has accepted is still under way.
	SingleOwner Invariant = "SingleOwner"
	// LostHoldsNoLease: from the closing of a region's gate to its opening, no agent and no gateway of
	// the region holds a lease.
	LostHoldsNoLease Invariant = "LostHoldsNoLease"
	// NeverBack: no agent and no gateway acts on a lower revision or epoch than before, nor an agent
	// on a lower one than its predecessor has kept, nor any of them on another store.
	NeverBack Invariant = "NeverBack"
	// EpochsGrow: every view that is committed has a higher epoch than the one before.
	EpochsGrow Invariant = "EpochsGrow"
	// DeposedWritesNothing: whoever writes as the leader leads.
	DeposedWritesNothing Invariant = "DeposedWritesNothing"
	// ReplacedWritesNothing: a process whose registration another process has replaced writes nothing.
	ReplacedWritesNothing Invariant = "ReplacedWritesNothing"
	// AnyRegionServed: a gateway that has had its routing once serves any-region flows.
	AnyRegionServed Invariant = "AnyRegionServed"
	// HomeWritesGoOn: no home write is refused when only the leader or a minority of the store fails.
	HomeWritesGoOn Invariant = "HomeWritesGoOn"
	// HoldDownKept: a region that returns serves no sooner than its hold-down demands, unless no other
	// region serves; this bounds how often slots move when a region flaps.
	HoldDownKept Invariant = "HoldDownKept"
	// Recovers: within Bound after the last fault every region serves and holds a lease, and every service
	// is as it was declared last.
	Recovers Invariant = "Recovers"
	// OwnerInTime: within Bound after the last fault every slot belongs to its home, which has everything;
	// and within OwnerBound after a loss that is all that goes wrong, every slot that may be taken over
	// has an owner.
	OwnerInTime Invariant = "OwnerInTime"
	// NoWriteLostInPlannedChange: whoever accepts a write to a slot has applied every write to it that a
	// user was told of and that was accepted by a region which has not been lost since.
	NoWriteLostInPlannedChange Invariant = "NoWriteLostInPlannedChange"
	// CompleteHasAll: a complete owner that accepts a write has applied every write to the slot that a
	// user was told of and that any complete owner has accepted, except one declared lost for good.
	CompleteHasAll Invariant = "CompleteHasAll"
	// TakeoverHasReceived: whoever takes a slot over from a lost region has applied all that it had
	// received of the service when the gate of that region closed.
	TakeoverHasReceived Invariant = "TakeoverHasReceived"
)

// Invariants lists all invariants.
func Invariants() []Invariant {
	return []Invariant{
		SingleOwner, LostHoldsNoLease, NeverBack, EpochsGrow, DeposedWritesNothing, ReplacedWritesNothing,
		AnyRegionServed, HomeWritesGoOn, HoldDownKept, Recovers, OwnerInTime, NoWriteLostInPlannedChange, CompleteHasAll,
		TakeoverHasReceived,
	}
}

// Violation is a promise that was broken.
type Violation struct {
	Invariant Invariant
	// At is the true time.
	At     time.Duration
	Detail string
}

// Error implements error.
func (v *Violation) Error() string {
	return fmt.Sprintf("%s at %.4fs: %s", v.Invariant, v.At.Seconds(), v.Detail)
}

// violate records the first violation, which ends the run.
func (s *Sim) violate(i Invariant, format string, args ...any) {
	if s.violation == nil {
		s.violation = &Violation{Invariant: i, At: s.Now(), Detail: fmt.Sprintf(format, args...)}
		s.Tracef("VIOLATION of %s: %s", i, s.violation.Detail)
	}
}
