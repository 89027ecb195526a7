package health

import (
	"slices"
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// Kind is what the leader should do about a region.
type Kind string

// The decisions. OpenIncident, CloseGate and OpenGate are writes of their own; what the others make of
// the view, package change decides.
const (
	// Suspect marks a Serving region at first evidence.
	Suspect Kind = "Suspect"
	// ClearSuspect takes the mark off.
	ClearSuspect Kind = "ClearSuspect"
	// OpenIncident records that a majority confirmed the outage.
	OpenIncident Kind = "OpenIncident"
	// CloseGate ends the region's beats (R4).
	CloseGate Kind = "CloseGate"
	// DeclareLost makes a region Lost whose gate is closed.
	DeclareLost Kind = "DeclareLost"
	// OpenGate lets a region beat that the view does not have yet.
	OpenGate Kind = "OpenGate"
	// Admit brings a region that beats for the first time into the view.
	Admit Kind = "Admit"
	// OpenGateReturning opens a Lost region's gate with the region as Returning (R5).
	OpenGateReturning Kind = "OpenGateReturning"
)

// Reasons why a region is left as it is, though something speaks against it.
const (
	// ReasonTooFewObservers: fewer than two other regions run agents that beat (R13).
	ReasonTooFewObservers = "TooFewObservers"
	// ReasonNoMajority: some observers reach the region.
	ReasonNoMajority = "NoMajority"
	// ReasonBeatsArrive: observers agree, but the region's agent beats on. Its edge is dead and its
	// agent is not: it is emptied by a planned change, not expired (R13).
	ReasonBeatsArrive = "BeatsArrive"
	// ReasonLeaseRunning: the region's last lease may still run.
	ReasonLeaseRunning = "LeaseRunning"
	// ReasonLastServing: no other region serves (R14).
	ReasonLastServing = "LastServingRegion"
	// ReasonOneAtATime: another loss is under way, and no majority agrees on both (R14).
	ReasonOneAtATime = "OneLossAtATime"
	// ReasonNotAsked: the region's agent has not asked for its gate to be opened.
	ReasonNotAsked = "AgentNotHeardOf"
	// ReasonUnreachable: a majority still reports the region unreachable.
	ReasonUnreachable = "StillUnreachable"
	// ReasonHoldDown: the region has not been reachable for long enough (R14).
	ReasonHoldDown = "HoldDown"
	// ReasonGone: a person declared the region lost for good.
	ReasonGone = "DeclaredLost"
)

// Intent is one decision with its grounds.
type Intent struct {
	Kind   Kind
	Region string
	// Message says why, in words for people.
	Message string
}

// Decision is all that is to be done now.
type Decision struct {
	// Intents in the order in which they are to be carried out.
	Intents []Intent
	// Reasons gives the reason for every region about which more would be done if it could. Held is what of it
	// is to be told now: what passes by itself while a region is being lost is not.
	Reasons, Held map[string]string
	// Ready lists the Returning regions that have been reachable for their hold-down (R14), Reachable
	// all regions whose agents beat and which a majority of the observers reaches. Both are sorted.
	Ready, Reachable []string
	// Edgeless lists the regions that a majority reports unreachable while their agents beat on: nobody
	// can reach their edge, and they hold a lease. They are emptied by a planned change (R13).
	Edgeless []string
	// Beating lists the regions whose agents the leader has itself seen beat within downAfter.
	Beating []string
}

// Decide says what the leader should write next. It asks for nothing that the configuration
// already has, so a healthy system yields no intents. w must have been updated with c.
func Decide(now time.Duration, c ownership.Configuration, w *Watch) Decision {
	d := decider{now: now, c: c, w: w, out: Decision{Reasons: map[string]string{}}}
	d.verdicts, d.declared = map[string]verdict{}, d.declaredLost()
	var confirmed []string
	names, beating := sortedNames(regionsOf(c)), w.observers(now, c)
	for _, name := range names {
		v := w.assessBy(now, c, name, beating)
		d.verdicts[name] = v
		if v.reachable {
			d.out.Reachable = append(d.out.Reachable, name)
		}
		if w.moves(now, c, name) && w.beats[name].moved {
			d.out.Beating = append(d.out.Beating, name)
		}
		if rec, known := c.View.Regions[name]; known && v.confirmed && holdsLease(rec.State) {
			confirmed = append(confirmed, name)
		}
	}
	d.allowed = d.brake(confirmed)
	for _, name := range names {
		d.region(name)
	}
	d.out.Held = w.told(now, c, d.out.Reasons)
	return d.out
}

type decider struct {
	now      time.Duration
	c        ownership.Configuration
	w        *Watch
	verdicts map[string]verdict
	// declared names the regions that a person declared lost and that may be; allowed, the confirmed ones that
	// may be lost now (R14).
	declared, allowed []string
	out               Decision
}

func (d *decider) intend(kind Kind, region string, message string) {
	d.out.Intents = append(d.out.Intents, Intent{Kind: kind, Region: region, Message: message})
}

func (d *decider) region(name string) {
	rec, known := d.c.View.Regions[name]
	switch {
	case !known:
		d.newcomer(name)
		return
	case d.w.unrecorded(d.now, d.c, name):
		d.intend(OpenIncident, name, d.verdicts[name].String())
	}
	switch {
	case rec.State == ownership.RegionLost:
		d.lost(name)
	case holdsLease(rec.State):
		d.holding(name, rec)
	}
}

// holdsLease reports whether a region of this state may hold a lease.
func holdsLease(s ownership.RegionState) bool {
	return s == ownership.RegionServing || s == ownership.RegionReturning || s == ownership.RegionDrained
}

// holding decides about a region that may hold a lease.
func (d *decider) holding(name string, rec ownership.RegionRecord) {
	v := d.verdicts[name]
	_, incident := IncidentOf(d.c, name)
	incident = incident || d.w.unrecorded(d.now, d.c, name)
	if !d.c.Gates[name].Open {
		// A leader closed the gate and did not come to say so: R4 is met all the same.
		if !incident && !d.w.dies(d.now, d.c, name) {
			d.intend(OpenIncident, name, v.String())
		}
		d.intend(DeclareLost, name, "its gate is closed")
		return
	}
	d.mark(name, rec, v)
	switch {
	case slices.Contains(d.declared, name):
		d.giveUp(name, rec)
	case v.confirmed:
		d.losing(name, v, incident)
	case v.suspect:
		d.out.Reasons[name] = ReasonNoMajority
		if len(v.observers) < minObservers {
			d.out.Reasons[name] = ReasonTooFewObservers
		}
	case rec.State == ownership.RegionReturning && d.w.cleanFor(d.now, name) < HoldDown(d.w.timings, rec.Flaps):
		d.out.Reasons[name] = ReasonHoldDown
	case rec.State == ownership.RegionReturning:
		d.out.Ready = append(d.out.Ready, name)
	}
}

// mark marks a Serving region as suspect, or takes that off. One whose loss is under way is past that.
func (d *decider) mark(name string, rec ownership.RegionRecord, v verdict) {
	if rec.State != ownership.RegionServing || v.suspect == rec.Suspect || v.confirmed && d.w.dies(d.now, d.c, name) {
		return
	}
	kind := ClearSuspect
	if v.suspect {
		kind = Suspect
	}
	d.intend(kind, name, v.String())
}

// losing takes the next step towards the loss of a region that a majority reports unreachable.
func (d *decider) losing(name string, v verdict, incident bool) {
	allowed := slices.Contains(d.allowed, name)
	closing := allowed && d.w.Still(d.now, name) >= d.w.Expiry()
	if !incident && !d.w.dies(d.now, d.c, name) && (closing || d.w.fresh(d.now, name)) {
		d.intend(OpenIncident, name, v.String())
	}
	switch {
	case !allowed:
		// brake has said why.
	case closing:
		d.intend(CloseGate, name, v.String()+", and its last lease has run out")
	case d.w.moves(d.now, d.c, name) && d.w.beats[name].moved:
		d.out.Reasons[name] = ReasonBeatsArrive
		// One that died a moment ago has a young beat too, but not one that is as young as when it beats.
		if incident && d.w.Still(d.now, name) <= 2*d.w.timings.BeatInterval {
			d.out.Edgeless = append(d.out.Edgeless, name)
		}
	default:
		d.out.Reasons[name] = ReasonLeaseRunning
	}
}

// lost decides about a region whose agent may ask to return (R5).
func (d *decider) lost(name string) {
	v := d.verdicts[name]
	switch {
	case d.c.View.Regions[name].Gone:
		d.out.Reasons[name] = ReasonGone
	case !asks(d.c, name):
		d.out.Reasons[name] = ReasonNotAsked
	case len(v.observers) > 0 && majority(len(v.unreachable), len(v.observers)):
		d.out.Reasons[name] = ReasonUnreachable
	default:
		d.intend(OpenGateReturning, name, "its agent asks, and no majority reports it unreachable")
	}
}

// newcomer decides about a region that the view does not have: it comes in once its agent beats.
func (d *decider) newcomer(name string) {
	if _, wanted := d.c.RegionIntents[name]; !wanted {
		return
	}
	switch {
	case d.c.Gates[name].Open && d.c.Beats[name].N > 0:
		d.intend(Admit, name, "its agent beats for the first time")
	case !d.c.Gates[name].Open && asks(d.c, name):
		d.intend(OpenGate, name, "its agent asks for the first time")
	default:
		d.out.Reasons[name] = ReasonNotAsked
	}
}

// asks reports whether the acting agent of the region asks for the closed gate to be opened.
func asks(c ownership.Configuration, region string) bool {
	ask, asked := c.Asks[region]
	gate := c.Gates[region]
	return asked && !gate.Open && ask.Generation == gate.Generation &&
		ask.Incarnation == c.Agents[region].Incarnation
}
