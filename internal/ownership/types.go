// Package ownership holds the pure core of the safety protocol: slots, who owns them, and the
// records that the coordination store agrees on. It decides; it never reads a clock, a network
// or a store. The rules are numbered R1 to R14 in docs/concepts/ownership.md.
package ownership

import (
	"strings"
	"time"
)

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
	// SilentAt is the leader's wall clock when something first spoke against the region, before its last loss;
	// nil when that leader has not seen it, or is of an older version. For people only: what the region had
	// not shipped by then is at risk, and by LostAt it had nothing more that it might have accepted.
	SilentAt *time.Time `json:"silentAt,omitempty"`
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
	// Drill names the order of a drill that the region was emptied for; empty otherwise. Without that order,
	// or once it is ending, the region gets its keys back by itself.
	Drill string `json:"drill,omitempty"`
	// Rehearsal: while the region is Drained for Drill, who owns its slots is not complete, as after a loss.
	Rehearsal bool `json:"rehearsal,omitempty"`
	// Gone: a person declared the region lost for good. It never returns.
	Gone bool `json:"gone,omitempty"`
}

// Rehearses reports whether users are to meet what the region's loss would bring, though the others have all
// that it accepted.
func (r RegionRecord) Rehearses() bool {
	return r.State == RegionDrained && r.Drill != "" && r.Rehearsal
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

// Gate admits a region's beats, stored under "gate/<region>" (R3 to R5).
type Gate struct {
	Generation int64 `json:"generation"`
	Open       bool  `json:"open"`
	// After is the number of the last beat that the gate let through, by the leader that closed it: one that a
	// person closes does not have it, and the region's lease may run.
	After int64 `json:"after,omitempty"`
}

// AgentRecord names the acting incarnation of a region's agent, stored under "agent/<region>" (R1).
type AgentRecord struct {
	// Incarnation is random per process start.
	Incarnation string `json:"incarnation"`
	// AboveEpoch is the highest epoch that the region has seen in stores before this one, 0 when it
	// has adopted none: a view counts for it only with an epoch above, since the epoch is a fencing
	// token and must not come twice.
	AboveEpoch int64 `json:"aboveEpoch,omitempty"`
	// Place is the cluster that the agent runs in: an identity of its own, not a name that people give.
	// Empty when not known. Two places must never act for one region.
	Place string `json:"place,omitempty"`
	// Pod is the UID of the Pod that the agent runs in, whose next process begins when this one has ended. Empty
	// when not known.
	Pod string `json:"pod,omitempty"`
}

// Rival is another process that says it is a region's agent and waits, stored under "rival/<region>" for
// as long as it does.
type Rival struct {
	Incarnation string `json:"incarnation"`
	Place       string `json:"place,omitempty"`
	// Process says where a person finds it: the host or Pod that it runs in.
	Process string `json:"process,omitempty"`
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
	// nothing is known, and, while this region is drained or returning, those of which no replica is ready
	// here; LaggingAll stands for all. No planned change makes such a region own more (R9).
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
	// Abandoned are, in peer mode, the regions that the deletion does not wait for, sorted: every hub lets go
	// of its copy then, also where nobody has said so.
	Abandoned []string `json:"abandoned,omitempty"`
}

// Ballot orders those that write the regions' slices in peer mode, stored under "ballot": a leader raises
// it before its hub acts, and a region's cluster refuses a slice with a lower one.
type Ballot struct {
	N int64 `json:"n"`
	// Leader is the identity of the leader whose ballot it is.
	Leader string `json:"leader"`
}

// Trust is what the gateways of a region show those of the others, and whom they believe, stored under
// "trust/<region>". Nothing is decided from it: it holds certificates, and no key.
type Trust struct {
	// Authorities are the PEM certificates of those that sign for the region's gateways, will, or did.
	Authorities []string `json:"authorities"`
	// Knows are, by other region, the fingerprints of those of its authorities that every gateway of this
	// region believes, sorted.
	Knows map[string][]string `json:"knows,omitempty"`
}

// Configuration is the content of the coordination store at one revision (R2). It is immutable:
// readers share it.
type Configuration struct {
	// ClusterID is the store's identity; another one means another store (R2).
	ClusterID uint64
	// Revision is the store's revision that this content belongs to.
	Revision int64
	// Decided is the revision at which the view, a service record or a region's Trust last changed: what
	// routing depends on. A reader of these has nothing to do while it stays.
	Decided int64
	// Leader is the identity of the acting leader, <region>/<its registration>, empty when there is none.
	Leader string
	// LeaderSince is the revision at which that leader's key was created, 0 when there is none: no two
	// terms have the same.
	LeaderSince int64

	View      View
	Services  map[string]ServiceRecord // by UID
	Gates     map[string]Gate          // by region
	Agents    map[string]AgentRecord   // by region
	Beats     map[string]Beat          // by region
	Rivals    map[string]Rival         // by region
	Asks      map[string]Ask           // by region
	Evidence  map[string]Evidence      // by observer
	Incidents map[string]Incident      // by name
	Acks      map[string]Ack           // by region
	Debts     map[string]Debt          // by region
	Orders    map[string]OrderRecord   // by name
	Trusts    map[string]Trust         // by region
	// Ballot is the latest one in peer mode.
	Ballot Ballot
	// Held says, by region, why the leader leaves a region as it is though something speaks
	// against it: a reason of package health. Stored under "held".
	Held map[string]string
	// RegionIntents and ServiceIntents are proposals, not decisions.
	RegionIntents  map[string]RegionIntent  // by name
	ServiceIntents map[string]ServiceIntent // by UID
	OrderIntents   map[string]OrderIntent   // by name
	// Damage is what in this content nobody can have agreed on: nothing may be decided from it.
	Damage []Damage
	// Ignored has the keys that are there and not acted on, with the reason: their writers write them
	// anew, or no version of this one knows them.
	Ignored map[string]string
}

// LeadingRegion returns the region whose agent leads, "" when none does.
func (c *Configuration) LeadingRegion() string {
	region, _, _ := strings.Cut(c.Leader, "/")
	return region
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
