// Package ownership holds the pure core of the safety protocol: slots, who owns them, and the
// records that the coordination store agrees on. It decides; it never reads a clock, a network
// or a store. The rules are numbered R1 to R14 in docs/concepts/ownership.md.
package ownership

import "time"

// RegionState is what the agreed view says of a region.
type RegionState string

const (
	// RegionServing owns its slots.
	RegionServing RegionState = "Serving"
	// RegionLost was judged unreachable and its gate is closed (R4): it holds no lease.
	RegionLost RegionState = "Lost"
	// RegionReturning holds a lease again, serves any-region flows and owns nothing yet (R5, R12).
	RegionReturning RegionState = "Returning"
	// RegionDrained was emptied on purpose.
	RegionDrained RegionState = "Drained"
)

// Phase tells whether a change of owners is under way (R6).
type Phase string

const (
	// PhaseOpen means that the configuration is in force as it stands.
	PhaseOpen Phase = "Open"
	// PhaseClosing means that slots whose owner differs from the previous Open configuration are
	// closed everywhere.
	PhaseClosing Phase = "Closing"
)

// View is the agreed state of the regions, stored under "view". Only the leader writes it (R1).
type View struct {
	// Epoch grows by one with every change of the view; it is the fencing token of home writes.
	Epoch int64 `json:"epoch"`
	Phase Phase `json:"phase"`
	// Regions has an entry for every region that an intent ever named and none removed. While Closing
	// it is what is to come (R6).
	Regions map[string]RegionRecord `json:"regions"`
	// Previous is Regions of the last Open view, kept whole while Closing, through every replacement
	// of the change (R6). Nil while Open.
	Previous map[string]RegionRecord `json:"previous,omitempty"`
	// Base is the epoch of the last Open view while Closing, 0 while Open.
	Base int64 `json:"base,omitempty"`
	// Change is what is under way while Closing.
	Change *Change `json:"change,omitempty"`
}

// ChangeKind says what a change of owners is made for.
type ChangeKind string

// The changes. All but ChangeLoss are planned: they can be given up, and open only when every new
// owner has applied everything (R9).
const (
	// ChangeLoss takes regions out whose gates are closed.
	ChangeLoss ChangeKind = "Loss"
	// ChangeDrain empties a region that serves.
	ChangeDrain ChangeKind = "Drain"
	// ChangeHandback gives a batch of services back to a Returning region (R12).
	ChangeHandback ChangeKind = "Handback"
	// ChangeExclude takes a region out of one service.
	ChangeExclude ChangeKind = "Exclude"
	// ChangeInclude takes a region into one service again.
	ChangeInclude ChangeKind = "Include"
	// ChangeRespec gives one service another ownership spec.
	ChangeRespec ChangeKind = "Respec"
	// ChangeApprove lets others take over what one service has withheld: a person has approved it, or
	// the catch-up that was stuck is tried again.
	ChangeApprove ChangeKind = "Approve"
)

// Planned reports whether the change may be given up.
func (k ChangeKind) Planned() bool { return k != ChangeLoss }

// Change is a change of owners under way.
type Change struct {
	Kind ChangeKind `json:"kind"`
	// Regions that it is made for, in order.
	Regions []string `json:"regions,omitempty"`
	// Services whose records it changes, by UID, in order. Empty: it changes the regions alone, and so
	// concerns every service.
	Services []string `json:"services,omitempty"`
	// Order names the order that asked for it.
	Order string `json:"order,omitempty"`
}

// RegionRecord is one region's part of the view.
type RegionRecord struct {
	State RegionState `json:"state"`
	// Role is Active or Witness, as the intent said.
	Role string `json:"role"`
	// Suspect is true while evidence against a Serving region is being collected (R13, R14).
	Suspect bool `json:"suspect,omitempty"`
	// Since is the leader's wall clock at the last change of State or Suspect, for people only.
	Since time.Time `json:"since"`
	// Incident names the outage that State belongs to; empty while Serving.
	Incident string `json:"incident,omitempty"`
	// Flaps counts recent losses: every one doubles the hold-down before the region serves again,
	// and they are forgotten one by one (R14).
	Flaps int `json:"flaps,omitempty"`
	// LostAt is the leader's wall clock at the last loss, from which Flaps decay.
	LostAt *time.Time `json:"lostAt,omitempty"`
	// LostEpoch is the epoch that declared the region Lost the last time that it may have owned slots, 0
	// if none did: what was approved or withheld for that loss still is when it is lost again on its way
	// back.
	LostEpoch int64 `json:"lostEpoch,omitempty"`
	// ReturnedEpoch is the epoch with which the region last became Returning; what was handed back to
	// it counts for this return alone (R12).
	ReturnedEpoch int64 `json:"returnedEpoch,omitempty"`
	// Unshipped is true from a loss of a region that may have owned slots until it serves again, or is
	// declared lost for good: not all that it accepted may have reached the others.
	Unshipped bool `json:"unshipped,omitempty"`
	// Behind are the regions past which an Unshipped region may have owned slots with everything in them:
	// those that were drained, gone or not back yet, with nothing unshipped, when it was lost, and those
	// that had been lost before one of these was drained.
	Behind []string `json:"behind,omitempty"`
	// Awaits are the survivors of this region's loss that have not said that they have applied what
	// they received of it: they own none of its slots yet (R10), also when it is back, until it serves.
	Awaits []string `json:"awaits,omitempty"`
	// Lacks are the regions that had not applied all that this region had given away (Debt) when it was
	// lost: they may lack writes to any slot that was not theirs at the time.
	Lacks []string `json:"lacks,omitempty"`
	// Drained: the region was lost while it was drained, and returns as such.
	Drained bool `json:"drained,omitempty"`
	// Gone: a person declared the region lost for good. It never returns.
	Gone bool `json:"gone,omitempty"`
}

// Incident is the agreed record of one outage, stored under "incident/<name>". Times are the
// leader's wall clock and for people only; durations were measured on its monotonic clock.
type Incident struct {
	Name   string `json:"name"`
	Region string `json:"region"`
	// Epoch of the view that declared the region Lost; 0 before.
	Epoch int64 `json:"epoch,omitempty"`
	// Timeline has one entry per step reached, in order.
	Timeline []IncidentStep `json:"timeline"`
	// Closed is set when the region serves again, or when it turned out to have done so all along.
	Closed bool `json:"closed,omitempty"`
}

// Steps of an incident's timeline.
const (
	StepSuspected = "Suspected"
	StepConfirmed = "Confirmed"
	StepGateClose = "GateClosed"
	StepCommitted = "ViewCommitted"
	StepRouted    = "FirstSurvivorRouted"
	StepReturned  = "Returned"
	StepServing   = "ServingAgain"
	// StepFalseAlarm ends an incident whose region answered again before its gate was closed: nothing
	// was changed, and nothing had to recover.
	StepFalseAlarm = "FalseAlarm"
)

// IncidentStep is one measured point of an incident.
type IncidentStep struct {
	Step string    `json:"step"`
	At   time.Time `json:"at"`
	// SinceSuspected is measured on the monotonic clock of the leader that wrote the step, from the
	// first evidence that it saw itself, as a follower too.
	SinceSuspected time.Duration `json:"sinceSuspected,omitempty"`
	// Approximate: that leader did not see the outage begin. SinceSuspected is less than it was, 0 if
	// unknown, and there is only the wall clock difference to offer.
	Approximate bool `json:"approximate,omitempty"`
}

// ServiceRecord is what the leader committed for one service, stored under "service/<uid>".
type ServiceRecord struct {
	UID       string `json:"uid"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	ServiceState
	// Handback is HandbackAutomatic or empty: then a person has to order it.
	Handback string `json:"handback,omitempty"`
	// Base and Previous are of the last change of owners that changed this record: while the view is
	// Closing with the same Base, Previous is the state that was Open last (R6). At any other time
	// they mean nothing.
	Base     int64         `json:"base,omitempty"`
	Previous *ServiceState `json:"previous,omitempty"`
	// PeerKey authenticates hops between this service's gateways. A secret: never log it.
	PeerKey []byte `json:"peerKey"`
	// Deleted is set by a deletion: a change to no owner. The record goes when every region has
	// let go of the service.
	Deleted bool `json:"deleted,omitempty"`
}

// HandbackAutomatic is the value of ServiceRecord.Handback with which a service goes back to a region
// as soon as that may; otherwise a person has to order it.
const HandbackAutomatic = "Automatic"

// ServiceState is all of a service's record that ownership depends on.
type ServiceState struct {
	// SpecHash names the ownership spec in force (Spec.Hash).
	SpecHash string `json:"specHash"`
	// Regions are those that the spec names, sorted.
	Regions []string `json:"regions,omitempty"`
	// Excluded regions do not own slots of this service whatever the view says.
	Excluded []string `json:"excluded,omitempty"`
	// HandedBack has the Returning regions that own this service's slots again, with the epoch of the
	// return (RegionRecord.ReturnedEpoch) that it was for (R12).
	HandedBack map[string]int64 `json:"handedBack,omitempty"`
	// Manual: nobody takes over the slots of a lost region before a person has approved it.
	Manual bool `json:"manual,omitempty"`
	// Approved has the lost regions whose slots others may take over though Manual, with the epoch of
	// the loss (RegionRecord.LostEpoch).
	Approved map[string]int64 `json:"approved,omitempty"`
	// Withheld has the lost regions whose slots nobody takes over because catching up is stuck, with
	// the epoch of the loss (R10).
	Withheld map[string]int64 `json:"withheld,omitempty"`
}

// Ack is what a region says of the change under way, stored under "ack/<region>" (R8). It counts while
// it names the epoch of the view; whoever wrote it, what it says stays true.
type Ack struct {
	Epoch       int64  `json:"epoch"`
	Incarnation string `json:"incarnation"`
	// Fenced: no gateway and no workload of the region accepts a home write any more for a slot that
	// the region loses, and every write that was admitted has ended.
	Fenced bool `json:"fenced,omitempty"`
	// Vector is all that the region had when it was fenced.
	Vector Vector `json:"vector,omitempty"`
	// CaughtUp: the region has applied everything that it must have before it owns what it gains.
	CaughtUp bool `json:"caughtUp,omitempty"`
	// Stuck are the services, by UID, for which CaughtUp does not hold.
	Stuck []string `json:"stuck,omitempty"`
	// Applied has the origins whose debts are applied here, with the epoch of the debt.
	Applied map[string]int64 `json:"applied,omitempty"`
}

// Debt is what a region that gave slots away had accepted, stored under "debt/<region>": whoever may
// own its slots must have applied it (R10). It goes when every other region has, or the region is declared
// lost for good; while it is lost nobody waits for it (RegionRecord.Lacks).
type Debt struct {
	// Epoch of the view that it was last raised with.
	Epoch  int64  `json:"epoch"`
	Vector Vector `json:"vector"`
}

// OrderIntent is what a person ordered, as a hub proposes it, stored under "intent/order/<name>".
type OrderIntent struct {
	Name string `json:"name"`
	// Type is Drain, Undrain, Handback, ApproveFailover or DeclareLost.
	Type   string `json:"type"`
	Region string `json:"region"`
	// Service is the UID of the service that it is limited to, empty for all.
	Service string `json:"service,omitempty"`
	// ExpectedEpoch refuses the order when the view has moved on; 0 does not.
	ExpectedEpoch int64 `json:"expectedEpoch,omitempty"`
	// Timeout after which the order fails.
	Timeout time.Duration `json:"timeout,omitempty"`
}

// OrderState is how far an order is.
type OrderState string

// The states of an order; the last three are final.
const (
	OrderRunning   OrderState = "Running"
	OrderSucceeded OrderState = "Succeeded"
	OrderFailed    OrderState = "Failed"
	OrderRefused   OrderState = "Refused"
)

// OrderRecord is what became of an order, stored under "order/<name>". It goes with its intent.
type OrderRecord struct {
	Name  string     `json:"name"`
	State OrderState `json:"state"`
	// Message says what is waited for, or how it ended, for people.
	Message string `json:"message,omitempty"`
	// StartedAt and EndedAt are the leader's wall clock, for people.
	StartedAt time.Time  `json:"startedAt"`
	EndedAt   *time.Time `json:"endedAt,omitempty"`
	// Epoch of the view with which it ended.
	Epoch int64 `json:"epoch,omitempty"`
}

// Gate admits a region's beats, stored under "gate/<region>" (R3 to R5).
type Gate struct {
	Generation int64 `json:"generation"`
	Open       bool  `json:"open"`
}

// AgentRecord names the acting incarnation of a region's agent, stored under "agent/<region>" (R1).
type AgentRecord struct {
	// Incarnation is random per process start.
	Incarnation string `json:"incarnation"`
	// AboveEpoch is the highest epoch that the region has seen in stores before this one, 0 when it
	// has adopted none: a view counts for it only with an epoch above, since the epoch is a fencing
	// token and must not come twice.
	AboveEpoch int64 `json:"aboveEpoch,omitempty"`
}

// Ask is a region's request for its closed gate to be opened, stored under "ask/<region>" (R5). It
// counts while it names the gate's generation and the acting incarnation.
type Ask struct {
	// Generation of the closed gate, 0 when there is no gate yet.
	Generation  int64  `json:"generation"`
	Incarnation string `json:"incarnation"`
}

// Beat is a region's sign of life, stored under "beat/<region>" (R3).
type Beat struct {
	N           int64  `json:"n"`
	Incarnation string `json:"incarnation"`
}

// Evidence is what one region's agent sees of the others, stored under "evidence/<observer>" and
// written only when it changes (R13).
type Evidence struct {
	// Unreachable names the regions that failed every probe for at least downAfter.
	Unreachable []string `json:"unreachable,omitempty"`
	// Failing names the regions whose latest probes fail, not yet for downAfter.
	Failing []string `json:"failing,omitempty"`
	// Lagging names the services, by UID, whose data from other regions is far behind here, or of which
	// nothing is known; LaggingAll stands for all. No planned change makes such a region own more (R9).
	Lagging []string `json:"lagging,omitempty"`
}

// LaggingAll stands for every service in Evidence.Lagging.
const LaggingAll = "*"

// RegionIntent is a hub's proposal for one region, stored under "intent/region/<name>".
type RegionIntent struct {
	Name string `json:"name"`
	// Role is Active or Witness.
	Role string `json:"role"`
	// Probes are run by every other region's agent; all must answer for the region to be reachable.
	Probes []Probe `json:"probes,omitempty"`
}

// Probe is one address to ask.
type Probe struct {
	Name string `json:"name"`
	// URL is asked with GET: any answer below 500 counts as reachable. An address of the form
	// tcp://host:port is only connected to.
	URL string `json:"url"`
	// CABundle verifies an https URL (PEM); empty: the system's roots.
	CABundle []byte `json:"caBundle,omitempty"`
}

// ServiceIntent is a hub's proposal for one service, stored under "intent/service/<uid>".
type ServiceIntent struct {
	UID       string `json:"uid"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// SpecHash names the ownership spec that is staged in every region of the service.
	SpecHash string `json:"specHash"`
	// Regions are those that the spec names, sorted.
	Regions []string `json:"regions,omitempty"`
	// Manual: nobody takes over the slots of a lost region before a person has approved it.
	Manual bool `json:"manual,omitempty"`
	// Handback is HandbackAutomatic, or anything else for a person to order it.
	Handback string `json:"handback,omitempty"`
	Deleted  bool   `json:"deleted,omitempty"`
}

// Configuration is the content of the coordination store at one revision (R2). It is immutable:
// readers share it.
type Configuration struct {
	// ClusterID is the store's identity; another one means another store (R2).
	ClusterID uint64
	// Revision is the store's revision that this content belongs to.
	Revision int64
	// Decided is the revision at which the view or a service record last changed: what routing
	// depends on. A reader of these two has nothing to do while it stays.
	Decided int64
	// Leader is the identity of the acting leader, empty when there is none.
	Leader    string
	View      View
	Services  map[string]ServiceRecord // by UID
	Gates     map[string]Gate          // by region
	Agents    map[string]AgentRecord   // by region
	Beats     map[string]Beat          // by region
	Asks      map[string]Ask           // by region
	Evidence  map[string]Evidence      // by observer
	Incidents map[string]Incident      // by name
	Acks      map[string]Ack           // by region
	Debts     map[string]Debt          // by region
	Orders    map[string]OrderRecord   // by name
	// Held says, by region, why the leader leaves a region as it is though something speaks
	// against it: a reason of package health. Stored under "held".
	Held map[string]string
	// RegionIntents and ServiceIntents are proposals, not decisions.
	RegionIntents  map[string]RegionIntent  // by name
	ServiceIntents map[string]ServiceIntent // by UID
	OrderIntents   map[string]OrderIntent   // by name
}

// EpochFloor returns the highest epoch that any region has seen in stores before this one.
func (c *Configuration) EpochFloor() int64 {
	floor := int64(0)
	for _, a := range c.Agents {
		floor = max(floor, a.AboveEpoch)
	}
	return floor
}

// NextEpoch returns the epoch of the next view: above the present one, and above all that regions have
// seen in stores before this one.
func (c *Configuration) NextEpoch() int64 { return max(c.View.Epoch, c.EpochFloor()) + 1 }

// Timings are the protocol's durations. The defaults are DefaultTimings.
type Timings struct {
	ProbeInterval, ProbeTimeout time.Duration
	// DownAfter is how long probes must fail before a region counts as unreachable (R13).
	DownAfter time.Duration
	// UpAfter is how long a returning region must be reachable before it serves (R14).
	UpAfter time.Duration
	// BeatInterval is the time between beats (R3).
	BeatInterval time.Duration
	// RegionLease is how long one beat lets a region accept home writes (R3).
	RegionLease time.Duration
	// LeaderSession is the time to live of the leader's election session.
	LeaderSession time.Duration
	// PlannedLimit is how long a planned change may stay Closing before it is given up (R9), and
	// LossLimit how long a loss may before what has caught up is opened without the rest (R10).
	PlannedLimit, LossLimit time.Duration
}

// MaxDrift bounds how much two clocks' rates may differ: 1 %.
const MaxDrift = 0.01

// DefaultTimings suit regions whose round trips stay below 100 ms.
func DefaultTimings() Timings {
	return Timings{
		ProbeInterval: time.Second, ProbeTimeout: time.Second,
		DownAfter: 3 * time.Second, UpAfter: 10 * time.Second,
		BeatInterval: time.Second, RegionLease: 6 * time.Second,
		LeaderSession: 5 * time.Second,
		PlannedLimit:  10 * time.Second, LossLimit: 5 * time.Second,
	}
}

// FastTimings suit regions whose round trips stay below 30 ms.
func FastTimings() Timings {
	return Timings{
		ProbeInterval: 300 * time.Millisecond, ProbeTimeout: 300 * time.Millisecond,
		DownAfter: time.Second, UpAfter: 3 * time.Second,
		BeatInterval: 300 * time.Millisecond, RegionLease: 2500 * time.Millisecond,
		LeaderSession: 2 * time.Second,
		PlannedLimit:  5 * time.Second, LossLimit: 2500 * time.Millisecond,
	}
}
