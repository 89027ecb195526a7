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
	// PatientBeats: a beat that gets no answer gives up after a quarter of a lease instead of an eighth (R3).
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
)

// Mutants lists all mutants in the order of the rules that they break.
func Mutants() []Mutant {
	return []Mutant{
		LeaderWithoutGuard, ViewWithoutGuard, AgentWithoutIncarnation, TwoAgentsBeat, LaggingFirstRead, RestoredStoreAccepted,
		PositionForgotten, OlderSnapshotTaken, LeaseFromSuccess, LeaseAfterGateClosed, SlowBeats, NoDriftMargin,
		CloseWithoutBeat, InheritedStillness, NeverAsks, PatientBeats, LeaseFromAnswer, HeldNotCounted, RenewalWaits,
		LeaseTakenBack, LeaseBeforeRouting, AnyRegionWaits, NoHoldDown,
	}
}

func (s *Sim) mutant(m Mutant) bool { return s.o.Mutant == m }
