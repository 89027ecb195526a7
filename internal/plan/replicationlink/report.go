package replicationlink

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
)

// stalled is the age from which a link with a canary every second certainly does not stream.
const stalled = 10 * time.Second

const maxLastError = 1024

// Report fills in the status of one link.
func Report(link *v1alpha1.ReplicationLink, seen Seen, p Plan) {
	r := reporter{link: link}
	if !seen.Complete {
		for _, c := range []string{v1alpha1.ConditionConfigured, v1alpha1.ConditionStreaming, v1alpha1.ConditionCaughtUp} {
			if meta.FindStatusCondition(link.Status.Conditions, c) == nil {
				r.set(c, metav1.ConditionUnknown, v1alpha1.ReasonNotYetObserved, "not observed yet")
			}
		}
		return
	}
	link.Status.ObservedGeneration = link.Generation
	link.Status.Lag = seen.Lag.Step
	fault := mirrorFault(seen)
	link.Status.LastError = truncate(firstOf(p.Problem, fault, seen.MirrorError))
	configured := r.configured(seen, p, fault)
	r.streaming(seen, fault)
	r.caughtUp(seen, p.Objectives[link.Name])
	link.Status.State = state(seen, p.Objectives[link.Name], configured, p.Problem != "" || fault != "")
}

type reporter struct{ link *v1alpha1.ReplicationLink }

func (r reporter) set(condition string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&r.link.Status.Conditions, metav1.Condition{
		Type: condition, Status: status, Reason: reason, Message: message, ObservedGeneration: r.link.Generation,
	})
}

func (r reporter) configured(seen Seen, p Plan, fault string) bool {
	const condition = v1alpha1.ConditionConfigured
	switch {
	case p.Problem != "":
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound, p.Problem)
	case fault != "":
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonReplicasUnavailable, fault)
	case seen.Deployment == nil || len(p.Apply) > 0:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonProgressing, "the mirror is being set up")
	default:
		r.set(condition, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared, "the mirror is set up")
		return true
	}
	return false
}

func (r reporter) streaming(seen Seen, fault string) {
	const condition = v1alpha1.ConditionStreaming
	switch {
	case seen.SourceLost:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonSourceLost, "region "+r.link.Spec.From+" is lost; the link goes on when it is back")
	case !seen.Lag.Known:
		r.set(condition, metav1.ConditionUnknown, v1alpha1.ReasonLagUnknown, "no canary has arrived from "+r.link.Spec.From+" yet")
	case seen.Lag.Age >= stalled:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonLagging, firstOf(fault, "canaries from "+r.link.Spec.From+" do not arrive; look at the mirror's log: kubectl logs deployment/"+regional.MirrorName(r.link.Spec.From)))
	default:
		r.set(condition, metav1.ConditionTrue, v1alpha1.ReasonStreaming, "canaries arrive")
	}
}

func (r reporter) caughtUp(seen Seen, objective time.Duration) {
	const condition = v1alpha1.ConditionCaughtUp
	switch {
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
