package sim

// Mutant is one rule broken on purpose, in the part that this package repeats. The simulation must
// catch every one, or it would not notice when the real code breaks the rule.
type Mutant string

// The mutants.
const (
	// LeaderWithoutGuard: the leader's writes do not compare its key of the election (R1).
	LeaderWithoutGuard Mutant = "LeaderWithoutGuard"
	// ViewWithoutGuard: a view is committed without comparing the one that it follows (R1).
	ViewWithoutGuard Mutant = "ViewWithoutGuard"
	// AgentWithoutIncarnation: an agent's writes do not compare its incarnation (R1).
	AgentWithoutIncarnation Mutant = "AgentWithoutIncarnation"
	// TwoAgentsBeat: an agent that was replaced registers again instead of ending (R1).
	TwoAgentsBeat Mutant = "TwoAgentsBeat"
	// LaggingFirstRead: an agent starts from a read that is not linearizable (R2).
	LaggingFirstRead Mutant = "LaggingFirstRead"
	// RestoredStoreAccepted: another store is taken for the one known so far (R2).
	RestoredStoreAccepted Mutant = "RestoredStoreAccepted"
	// RefusalForgotten: a store that was restored under its old identity is refused only while its revision is
	// lower than the known one (R2).
	RefusalForgotten Mutant = "RefusalForgotten"
	// PositionForgotten: an agent that starts does not know what its predecessor has seen (R2).
	PositionForgotten Mutant = "PositionForgotten"
	// OlderSnapshotTaken: a gateway acts on a snapshot of a lower revision (R2).
	OlderSnapshotTaken Mutant = "OlderSnapshotTaken"
	// LeaseFromSuccess: the lease counts from the answer instead of from before the beat (R3).
	LeaseFromSuccess Mutant = "LeaseFromSuccess"
	// LeaseAfterGateClosed: a beat that the closed gate refuses extends the lease all the same (R3, R5).
	LeaseAfterGateClosed Mutant = "LeaseAfterGateClosed"
	// NoDriftMargin: the leader waits for the lease without the drift (R4).
	NoDriftMargin Mutant = "NoDriftMargin"
	// CloseWithoutBeat: the gate is closed without comparing the beat (R4).
	CloseWithoutBeat Mutant = "CloseWithoutBeat"
	// InheritedStillness: a new leader takes the beats that it finds for as old as a lease (R4).
	InheritedStillness Mutant = "InheritedStillness"
	// NeverAsks: an agent whose gate is closed does not ask (R5).
	NeverAsks Mutant = "NeverAsks"
	// SlowBeats: an agent beats once per lease (R3).
	SlowBeats Mutant = "SlowBeats"
	// PatientBeats: a beat that gets no answer gives up as late as any other call (R3).
	PatientBeats Mutant = "PatientBeats"
	// LeaseFromAnswer: a gateway's lease counts from the answer (R11).
	LeaseFromAnswer Mutant = "LeaseFromAnswer"
	// HeldNotCounted: a gateway's lease counts from before the question, however long the agent held it (R11).
	HeldNotCounted Mutant = "HeldNotCounted"
	// RenewalWaits: gateways that wait do not hear of a lease that is renewed after running short (R11).
	RenewalWaits Mutant = "RenewalWaits"
	// LeaseTakenBack: an agent that starts takes back the lease that gateways hold (R4, R11).
	LeaseTakenBack Mutant = "LeaseTakenBack"
	// LeaseBeforeRouting: a lease goes out with routing made under an earlier gate (R11).
	LeaseBeforeRouting Mutant = "LeaseBeforeRouting"
	// AnyRegionWaits: any-region flows wait for the lease (R11).
	AnyRegionWaits Mutant = "AnyRegionWaits"
	// NoHoldDown: a returned region serves at once (R14).
	NoHoldDown Mutant = "NoHoldDown"
	// PreviousIsLastView: a change that replaces another takes what that was to bring for what is (R6).
	PreviousIsLastView Mutant = "PreviousIsLastView"
	// PreemptedNotUndone: a loss leaves the planned change as it is that it pre-empts (R6).
	PreemptedNotUndone Mutant = "PreemptedNotUndone"
	// KeyChangeMovedOnly: a spec that maps requests to other slots closes only the slots that move (R6).
	KeyChangeMovedOnly Mutant = "KeyChangeMovedOnly"
	// GateOpenedWhileClosing: a region comes back before its loss is in force, and ends that change (R6).
	GateOpenedWhileClosing Mutant = "GateOpenedWhileClosing"
	// EarlierAckCounts: an acknowledgement of an earlier epoch counts (R7).
	EarlierAckCounts Mutant = "EarlierAckCounts"
	// AckAfterRestart: an agent acknowledges right after it has started (R8).
	AckAfterRestart Mutant = "AckAfterRestart"
	// AckBeforeWritesEnd: an agent acknowledges while writes are under way (R8).
	AckBeforeWritesEnd Mutant = "AckBeforeWritesEnd"
	// AckBeforeRouting: an agent acknowledges before it publishes the routing of the change (R8).
	AckBeforeRouting Mutant = "AckBeforeRouting"
	// SilentGatewayForgotten: an agent does not wait for the lease of a gateway that says nothing (R8).
	SilentGatewayForgotten Mutant = "SilentGatewayForgotten"
	// OpenBeforeCatchUp: a region says at once that it has caught up (R9).
	OpenBeforeCatchUp Mutant = "OpenBeforeCatchUp"
	// DebtsForgotten: what regions that gave slots away had is not kept (R10).
	DebtsForgotten Mutant = "DebtsForgotten"
	// LatchedBeforeGateClosed: what was received of a lost region is looked at before its gate closed (R10).
	LatchedBeforeGateClosed Mutant = "LatchedBeforeGateClosed"
	// IncompleteServesAll: an owner that may lack writes serves every flow (R10).
	IncompleteServesAll Mutant = "IncompleteServesAll"
	// EarlierHandbackCounts: what was handed back for an earlier return counts (R12).
	EarlierHandbackCounts Mutant = "EarlierHandbackCounts"
)

// Mutants lists all mutants in the order of the rules that they break.
func Mutants() []Mutant {
	return []Mutant{
		LeaderWithoutGuard, ViewWithoutGuard, AgentWithoutIncarnation, TwoAgentsBeat, LaggingFirstRead, RestoredStoreAccepted, RefusalForgotten,
		PositionForgotten, OlderSnapshotTaken, LeaseFromSuccess, LeaseAfterGateClosed, SlowBeats, NoDriftMargin,
		CloseWithoutBeat, InheritedStillness, NeverAsks, PatientBeats, LeaseFromAnswer, HeldNotCounted, RenewalWaits,
		LeaseTakenBack, LeaseBeforeRouting, AnyRegionWaits, NoHoldDown,
		PreviousIsLastView, PreemptedNotUndone, KeyChangeMovedOnly, GateOpenedWhileClosing, EarlierAckCounts, AckAfterRestart,
		AckBeforeWritesEnd, AckBeforeRouting, SilentGatewayForgotten, OpenBeforeCatchUp, DebtsForgotten, LatchedBeforeGateClosed,
		IncompleteServesAll, EarlierHandbackCounts,
	}
}

func (s *Sim) mutant(m Mutant) bool { return s.o.Mutant == m }
