package store

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/plan/replicationlink"
	"multiactive.dev/operator/internal/storage"
)

// stalled is the age from which a link with a canary every second certainly does not stream.
const stalled = 10 * time.Second

// maxLastError is what the API allows.
const maxLastError = 1024

// reporter fills in the status of one link.
type reporter struct {
	link *v1alpha1.ReplicationLink
	d    *Declared
	look Look
	lost bool
}

// Report fills in the status of a store's link. lost says that the source region is.
func Report(link *v1alpha1.ReplicationLink, d *Declared, look Look, lost bool) {
	r := reporter{link: link, d: d, look: look, lost: lost}
	if !look.Known {
		for _, c := range []string{v1alpha1.ConditionConfigured, v1alpha1.ConditionStreaming, v1alpha1.ConditionCaughtUp, v1alpha1.ConditionRetained} {
			if meta.FindStatusCondition(link.Status.Conditions, c) == nil {
				r.set(c, metav1.ConditionUnknown, v1alpha1.ReasonNotYetObserved, "not observed yet")
			}
		}
		return
	}
	link.Status.ObservedGeneration = link.Generation
	at := r.at()
	link.Status.Lag = at.Step
	if link.Status.Lag == "" || r.paused() {
		link.Status.Lag = replicationlink.StepUnknown
	}
	link.Status.LastError = truncate(r.lastError(), maxLastError)
	configured := r.configured()
	r.streaming(at)
	r.caughtUp(at)
	r.retained()
	r.compared(at)
	link.Status.State = r.state(at, configured)
}

func (r reporter) at() LinkLook { return r.look.Links[r.link.Spec.From] }

func (r reporter) engine() (storage.Link, bool) {
	l, there := r.look.Observation.Links[r.link.Spec.From]
	return l, there && r.look.Observed
}

func (r reporter) paused() bool { return replicationlink.Paused(r.link) }

// held says what the link waits for since its source was lost, if it does.
func (r reporter) held() string { return r.look.Held[r.link.Spec.From] }

func (r reporter) set(condition string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&r.link.Status.Conditions, metav1.Condition{
		Type: condition, Status: status, Reason: reason, Message: truncate(message, 2048), ObservedGeneration: r.link.Generation,
	})
}

func (r reporter) lastError() string {
	if r.look.Problem != nil {
		return r.look.Problem.Message
	}
	if l, there := r.engine(); there && l.Fault != nil {
		return strings.TrimSpace(l.Fault.Code + " " + l.Fault.Message)
	}
	return r.at().Failure
}

// bootstrap says what the server must be seeded with, if it must.
func (r reporter) bootstrap() *storage.Bootstrap {
	if l, there := r.engine(); there && l.Bootstrap != nil {
		return l.Bootstrap
	}
	return r.at().Bootstrap
}

func (r reporter) configured() bool {
	const condition = v1alpha1.ConditionConfigured
	l, there := r.engine()
	b := r.bootstrap()
	blocking, _ := split(r.look.Observation.Findings)
	switch {
	case r.look.Problem != nil:
		r.set(condition, metav1.ConditionUnknown, r.look.Problem.Reason, r.look.Problem.Message)
	case b != nil:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonBootstrapRequired, b.Why+": "+r.seeds(b))
	case !there && len(blocking) > 0:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonPreconditions, told(blocking, r.d.mends()))
	case r.at().Failure != "":
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonEngineFault, r.at().Failure)
	case !there && !r.d.Managed():
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonNotFound, "the server does not replicate from "+r.link.Spec.From+": management Observed leaves it to you to set that up")
	case !there:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonProgressing, "the link is being set up")
	case l.Address != "" && l.Address != r.address():
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonProgressing, fmt.Sprintf("the link reads from %s and is to read from %s", l.Address, r.address()))
	default:
		text := "the link is set up"
		if lost := r.at().Lost; lost != "" {
			text += ", and the server has lost what it alone had: " + lost
		}
		r.set(condition, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared, text)
		return true
	}
	return false
}

// seeds says what is done about a server that has to be seeded, and by whom.
func (r reporter) seeds(b *storage.Bootstrap) string {
	commands := strings.Join(b.Commands, " && ")
	switch {
	case b.Loss == nil:
		return "seed the server, then the link goes on: " + commands
	case r.at().GoesOn:
		return "it does now, for failover.handback of the store's services is Automatic"
	}
	return fmt.Sprintf("accept that with the annotation %s=%s on this link, or keep a copy first: %s", regional.AnnotationAcceptLoss, b.Loss.Token, commands)
}

// address of the source as declared.
func (r reporter) address() string {
	for _, e := range r.d.Slice.Endpoints {
		if e.Region == r.link.Spec.From {
			return e.Address
		}
	}
	return ""
}

func (r reporter) streaming(at LinkLook) {
	const condition = v1alpha1.ConditionStreaming
	l, there := r.engine()
	switch {
	case r.paused():
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonPaused, "somebody has paused the link; it goes on where it is without the annotation "+regional.AnnotationPaused)
	case r.look.Problem != nil:
		r.set(condition, metav1.ConditionUnknown, r.look.Problem.Reason, "not known: "+r.look.Problem.Message)
	case there && l.Fault != nil && l.Fault.Kind != storage.FaultConnection:
		r.set(condition, metav1.ConditionFalse, faultReason(l.Fault.Kind), faultText(l.Fault))
	case r.held() != "" && !r.lost:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonLateChanges, r.held())
	case r.lost:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonSourceLost, "region "+r.link.Spec.From+" is lost; the link goes on when it is back")
	case there && l.Fault != nil:
		r.set(condition, metav1.ConditionFalse, faultReason(l.Fault.Kind), faultText(l.Fault))
	case !at.Known:
		r.set(condition, metav1.ConditionUnknown, v1alpha1.ReasonLagUnknown, "no canary has arrived from "+r.link.Spec.From+" yet")
	case at.Age >= stalled:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonLagging, "canaries from "+r.link.Spec.From+" do not arrive, and the engine tells no fault: compare its status with the server of "+r.link.Spec.From)
	default:
		r.set(condition, metav1.ConditionTrue, v1alpha1.ReasonStreaming, "canaries arrive")
	}
}

func faultReason(k storage.FaultKind) string {
	if k == storage.FaultConflict {
		return v1alpha1.ReasonConflictingRows
	}
	if k == storage.FaultPurged {
		return v1alpha1.ReasonBootstrapRequired
	}
	return v1alpha1.ReasonEngineFault
}

func faultText(f *storage.Fault) string {
	text := strings.TrimSpace(f.Code + " " + f.Message)
	if f.Remedy != "" {
		text += ". " + f.Remedy
	}
	return text
}

func (r reporter) caughtUp(at LinkLook) {
	const condition = v1alpha1.ConditionCaughtUp
	switch {
	case r.paused():
		r.set(condition, metav1.ConditionUnknown, v1alpha1.ReasonPaused, "the link is paused: what its source has meanwhile is not known here")
	case !at.Known:
		r.set(condition, metav1.ConditionUnknown, v1alpha1.ReasonLagUnknown, "the lag is not known")
	case at.Age > r.d.Objective:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonLagging, "the lag is beyond the objective of "+r.d.Objective.String())
	default:
		r.set(condition, metav1.ConditionTrue, v1alpha1.ReasonStreaming, "the lag is within the objective of "+r.d.Objective.String())
	}
}

// retained forecasts whether this server keeps what the other one has not read for as long as an outage may last.
func (r reporter) retained() {
	const condition = v1alpha1.ConditionRetained
	l, there := r.engine()
	kept := r.look.Observation.Retained
	switch {
	case there && l.Fault != nil && l.Fault.Kind == storage.FaultPurged:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonResyncRequired, faultText(l.Fault))
	case !r.look.Observed || kept == 0:
		r.set(condition, metav1.ConditionUnknown, v1alpha1.ReasonNotYetObserved, "how long changes are kept is not known")
	case kept < r.d.Want.Outage:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonResyncForecast, fmt.Sprintf(
			"at the present rate of writes this region's server keeps changes for less than the outage objective of %s: after a longer outage %s must be seeded anew; have it keep more",
			r.d.Want.Outage, r.link.Spec.From))
	default:
		r.set(condition, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared, "changes are kept for longer than the outage objective of "+r.d.Want.Outage.String())
	}
}

// compared tells what a comparison of rows found. What was found last stays when nothing is compared any more.
func (r reporter) compared(at LinkLook) {
	const condition = v1alpha1.ConditionRowsEqual
	c := at.Compared
	from := r.link.Spec.From
	switch {
	case c == nil && r.look.Return == 0:
	case c == nil || !c.Done && c.Problem == "":
		text := "the region is back, and its rows are compared with those of " + from + " before it gets its keys"
		if c != nil && c.Progress != "" {
			text += ": " + c.Progress
		}
		r.set(condition, metav1.ConditionUnknown, v1alpha1.ReasonComparing, text)
	case c.Token() == "":
		r.set(condition, metav1.ConditionTrue, v1alpha1.ReasonRowsEqual, c.same(from))
	case c.Problem != "":
		r.set(condition, metav1.ConditionUnknown, v1alpha1.ReasonNotCompared, c.told(from, regional.AnnotationAcceptRows))
	default:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonRowsDiffer, c.told(from, regional.AnnotationAcceptRows))
	}
}

// state sums the link up. One from a lost region is broken whatever is still on its way.
func (r reporter) state(at LinkLook, configured bool) v1alpha1.LinkState {
	l, there := r.engine()
	fault := there && l.Fault != nil
	old := !at.Known || at.Age >= stalled
	switch {
	case r.paused():
		return v1alpha1.LinkPaused
	case r.lost, r.held() != "", old && (fault || r.hindered()), fault && l.Fault.Kind != storage.FaultConnection:
		return v1alpha1.LinkBroken
	case at.Known && at.Age > min(r.d.Objective, time.Minute):
		return v1alpha1.LinkLagging
	case !at.Known || !configured && old:
		return v1alpha1.LinkProvisioning
	}
	return v1alpha1.LinkStreaming
}

// hindered reports whether something keeps the link from being set up or looked at.
func (r reporter) hindered() bool {
	return r.bootstrap() != nil || r.look.Problem != nil || r.at().Failure != ""
}
