package replicationlink

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/desired/strimzi"
)

// stalled is the age from which a link with a canary every second certainly does not stream.
const stalled = 10 * time.Second

const maxLastError = 1024

// Report fills in the status of one link.
func Report(link *v1alpha1.ReplicationLink, seen Seen, p Plan) {
	denied := seen.Denied[link.Spec.Topic]
	r := reporter{link, denied}
	if !seen.Complete {
		for _, c := range []string{v1alpha1.ConditionConfigured, v1alpha1.ConditionStreaming, v1alpha1.ConditionCaughtUp, v1alpha1.ConditionRetained} {
			if meta.FindStatusCondition(link.Status.Conditions, c) == nil {
				r.set(c, metav1.ConditionUnknown, v1alpha1.ReasonNotYetObserved, "not observed yet")
			}
		}
		return
	}
	link.Status.ObservedGeneration = link.Generation
	link.Status.Lag = seen.Lag.Step
	if Paused(link) {
		link.Status.Lag = StepUnknown // the canary does not tell of what is paused
	}
	fault := firstOf(mirrorFault(seen), makerFault(seen))
	link.Status.LastError = truncate(firstOf(p.Problem, denied, fault, seen.Transfer.Problem, seen.MirrorError))
	configured := r.configured(seen, p, fault)
	r.streaming(seen, p, fault)
	r.caughtUp(seen, p.Objectives[link.Name])
	r.retained(seen, p.Retentions[link.Name])
	link.Status.State = state(seen, p.Objectives[link.Name], configured, p.Problem != "" || fault != "")
	if denied != "" { // nothing of the topic can arrive, however well the canary does
		link.Status.State, link.Status.Lag = v1alpha1.LinkBroken, StepUnknown
	}
	if Paused(link) {
		link.Status.State = v1alpha1.LinkPaused
	}
}

// Denied reports whether a link's topic is kept from arriving by access control.
func Denied(link *v1alpha1.ReplicationLink) bool {
	c := meta.FindStatusCondition(link.Status.Conditions, v1alpha1.ConditionConfigured)
	return c != nil && c.Status == metav1.ConditionFalse && c.Reason == v1alpha1.ReasonKafkaUnauthorized
}

type reporter struct {
	link *v1alpha1.ReplicationLink
	// denied says what the mirror may not do; empty: nothing.
	denied string
}

func (r reporter) set(condition string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&r.link.Status.Conditions, metav1.Condition{
		Type: condition, Status: status, Reason: reason, Message: message, ObservedGeneration: r.link.Generation,
	})
}

func (r reporter) configured(seen Seen, p Plan, fault string) bool {
	const condition = v1alpha1.ConditionConfigured
	switch {
	case p.Problem != "":
		r.set(condition, metav1.ConditionFalse, p.Reason, p.Problem)
	case r.denied != "":
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonKafkaUnauthorized, r.denied)
	case p.Waiting != "":
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonProgressing, p.Waiting)
	case fault != "":
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonReplicasUnavailable, fault)
	case !p.runs(seen) || p.changes(r.link):
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonProgressing, "the mirror is being set up")
	default:
		r.set(condition, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared, "the mirror is set up")
		return true
	}
	return false
}

// changes reports whether something is written that a link waits for: it itself, or, before it was set up once, what
// runs the mirror. A mirror that gets another topic goes on with those that it has: with many topics, to say
// otherwise of each with every other would be most of what is written.
func (p *Plan) changes(link *v1alpha1.ReplicationLink) bool {
	before := meta.IsStatusConditionTrue(link.Status.Conditions, v1alpha1.ConditionConfigured)
	return slices.ContainsFunc(p.Apply, func(obj regional.Object) bool {
		if isLink(obj) {
			return obj.GetName() == link.Name
		}
		return !before
	})
}

func (r reporter) streaming(seen Seen, p Plan, fault string) {
	const condition = v1alpha1.ConditionStreaming
	switch {
	case Paused(r.link):
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonPaused, "somebody has paused the link; it goes on where it is without the annotation "+regional.AnnotationPaused)
	case r.denied != "":
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonKafkaUnauthorized, r.denied)
	case seen.SourceLost:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonSourceLost, "region "+r.link.Spec.From+" is lost; the link goes on when it is back")
	case !seen.Lag.Known:
		r.set(condition, metav1.ConditionUnknown, v1alpha1.ReasonLagUnknown, "no canary has arrived from "+r.link.Spec.From+" yet")
	case seen.Lag.Age >= stalled:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonLagging, firstOf(fault, "canaries from "+r.link.Spec.From+" do not arrive; look at the mirror's log: "+p.Runner.log(r.link.Spec.From)))
	default:
		r.set(condition, metav1.ConditionTrue, v1alpha1.ReasonStreaming, "canaries arrive")
	}
}

func (r reporter) caughtUp(seen Seen, objective time.Duration) {
	const condition = v1alpha1.ConditionCaughtUp
	switch {
	case Paused(r.link):
		r.set(condition, metav1.ConditionUnknown, v1alpha1.ReasonPaused, "the link is paused: what its source has meanwhile is not known here")
	case r.denied != "":
		r.set(condition, metav1.ConditionUnknown, v1alpha1.ReasonKafkaUnauthorized, "the lag of the topic is not known: "+r.denied)
	case !seen.Lag.Known:
		r.set(condition, metav1.ConditionUnknown, v1alpha1.ReasonLagUnknown, "the lag is not known")
	case seen.Lag.Age > objective:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonLagging, "the lag is beyond the objective of "+objective.String())
	default:
		r.set(condition, metav1.ConditionTrue, v1alpha1.ReasonStreaming, "the lag is within the objective of "+objective.String())
	}
}

// state sums a link up. A link from a lost region is broken whatever is still on its way.
func state(seen Seen, objective time.Duration, configured, faulty bool) v1alpha1.LinkState {
	switch {
	case seen.SourceLost:
		return v1alpha1.LinkBroken
	case seen.Lag.Known && seen.Lag.Age > min(objective, time.Minute):
		if faulty {
			return v1alpha1.LinkBroken
		}
		return v1alpha1.LinkLagging
	case !seen.Lag.Known && faulty:
		return v1alpha1.LinkBroken
	case !seen.Lag.Known || (!configured && seen.Lag.Age >= stalled):
		return v1alpha1.LinkProvisioning
	}
	return v1alpha1.LinkStreaming
}

// mirrorFault says why the mirror's program does not run; empty when it does. Not being ready is
// no fault: it waits for a cluster.
func mirrorFault(seen Seen) string {
	for i := range seen.Pods {
		for _, status := range seen.Pods[i].Status.ContainerStatuses {
			if w := status.State.Waiting; w != nil && isFault(w) {
				return "the mirror's container does not run (" + w.Reason + "); image " + status.Image
			}
		}
	}
	return ""
}

// makerFault repeats what Strimzi says of a KafkaMirrorMaker2 that does not run.
func makerFault(seen Seen) string {
	for i := range seen.StrimziMakers {
		m := &seen.StrimziMakers[i]
		if s := strimzi.StateOf(m); s.Known && !s.Ready {
			return "KafkaMirrorMaker2 " + m.GetNamespace() + "/" + m.GetName() + ": Strimzi says " + s.Reason + ": " + s.Message
		}
	}
	return ""
}

// log is how one looks at the mirror's log.
func (r Runner) log(from string) string {
	switch r {
	case RunsMaker:
		return "kubectl logs deployment/" + regional.MirrorMakerName(from)
	case RunsStrimzi:
		return "kubectl logs --selector " + strimzi.LabelCluster + "=" + regional.MirrorMakerName(from)
	default:
		return "kubectl logs deployment/" + regional.MirrorName(from)
	}
}

func isFault(w *corev1.ContainerStateWaiting) bool {
	return strings.HasSuffix(w.Reason, "BackOff") || strings.HasPrefix(w.Reason, "Err") ||
		strings.HasPrefix(w.Reason, "Invalid") || strings.HasSuffix(w.Reason, "Error")
}

func truncate(s string) string {
	if len(s) > maxLastError {
		return strings.ToValidUTF8(s[:maxLastError], "")
	}
	return s
}
