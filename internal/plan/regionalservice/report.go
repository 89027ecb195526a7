package regionalservice

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/plan/announcement"
	"multiactive.dev/operator/internal/plan/store"
)

// Features are what this version of the member acts on. The hub leaves out or reports what a
// region's member does not name.
func Features() []string {
	return []string{
		"Additional", "Announcements", regional.FeatureConflictPolicies, regional.FeatureConflictPoliciesMySQL, regional.FeatureConflictPoliciesPostgreSQL,
		"DegradationFlags", "MessageQueue", "OnHomeLossDefer", "OnHomeLossReadOnly", "OnHomeLossReject",
		"OnHomeLossTakeover", announcement.Feature, "OriginRead", regional.FeaturePeerTLS, regional.FeaturePreparedFor, "Regenerate", "SecondRead", "SessionKeys", "Shed", regional.FeatureStorageReplication,
		"WorkloadDeploymentRef", "WorkloadManaged", "WorkloadServiceRef",
	}
}

// conditionTypes are those that a RegionalService always has, besides Ready.
var conditionTypes = []string{
	v1alpha1.ConditionWorkloadAvailable, v1alpha1.ConditionGatewayReady, v1alpha1.ConditionTopicsReady,
	v1alpha1.ConditionStoresReady, v1alpha1.ConditionLinksHealthy, v1alpha1.ConditionRouted, v1alpha1.ConditionFieldsActedOn,
}

// maxMessage bounds a condition's message; the API allows 32768 bytes, nobody reads as many.
const maxMessage = 2048

// Report fills the status in. err is what ended the pass early, nil if nothing did.
func Report(now time.Time, rs *v1alpha1.RegionalService, seen Seen, p Plan, err error) {
	r := reporter{rs: rs, problems: p.Problems}
	defer func() { r.ready(seen, err) }()
	if !seen.Complete {
		r.notObserved()
		return
	}
	if rs.DeletionTimestamp == nil && regional.Stale(rs) {
		r.notObserved()
		return // the conditions go on speaking of the slice that is acted on; Ready tells
	}
	rs.Status.ObservedGeneration = rs.Generation
	rs.Status.Features = Features()
	r.workload(seen)
	r.gateway(seen)
	rs.Status.AcceptsPeers = acceptsPeers(rs, seen)
	rs.Status.Deferred = deferred(rs, seen)
	status, reason, message := topicsCondition(rs, seen)
	r.set(v1alpha1.ConditionTopicsReady, metav1.ConditionStatus(status), reason, message)
	r.stores(seen)
	r.links(seen)
	r.routed(seen, p)
	r.fields()
	if seen.HasConfiguration {
		record := seen.Configuration.Services[rs.Spec.ServiceID]
		rs.Status.OwnershipHash = record.SpecHash
		rs.Status.DataAtRisk = dataAtRisk(now, rs, seen)
	}
	rs.Status.Lag = lags(rs, seen)
}

type reporter struct {
	rs       *v1alpha1.RegionalService
	problems []Problem
}

// set writes a condition, unless a problem says more about it.
// stores tells of the region's servers.
func (r reporter) stores(seen Seen) {
	r.rs.Status.Stores = nil
	for _, s := range r.rs.Spec.Stores {
		status := seen.Stores[s.Name].Status
		if status.Name == "" {
			status = v1alpha1.StoreStatus{Name: s.Name, Ready: metav1.ConditionUnknown, Reason: v1alpha1.ReasonNotYetObserved, Message: "the server was not looked at yet"}
		}
		r.rs.Status.Stores = append(r.rs.Status.Stores, status)
	}
	status, reason, message := store.Ready(r.rs.Status.Stores)
	r.set(v1alpha1.ConditionStoresReady, status, reason, message)
}

func (r reporter) set(condition string, status metav1.ConditionStatus, reason, message string) {
	var messages []string
	for _, p := range r.problems {
		if p.Condition == condition {
			if len(messages) == 0 {
				status, reason = metav1.ConditionFalse, p.Reason
			}
			messages = append(messages, p.Message)
		}
	}
	if len(messages) > 0 {
		message = strings.Join(messages, "; ")
	}
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	meta.SetStatusCondition(&r.rs.Status.Conditions, metav1.Condition{
		Type: condition, Status: status, Reason: reason, Message: message, ObservedGeneration: r.rs.Generation,
	})
}

func (r reporter) notObserved() {
	for _, c := range conditionTypes {
		if meta.FindStatusCondition(r.rs.Status.Conditions, c) == nil {
			r.set(c, metav1.ConditionUnknown, v1alpha1.ReasonNotYetObserved, "not observed yet")
		}
	}
}

// ready sums the other conditions up.
func (r reporter) ready(seen Seen, err error) {
	rs := r.rs
	switch {
	case rs.DeletionTimestamp != nil:
		r.set(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonDeleting, deleting(rs, seen))
		return
	case err != nil:
		// The error itself may differ from one try to the next; it is in the log.
		r.set(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonProgressing, "the last pass ended early and is being repeated; see the member's log")
		return
	}
	if regional.Stale(rs) {
		r.set(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonStaleSlice, staleMessage(rs))
		return
	}
	status, reason, message := metav1.ConditionTrue, v1alpha1.ReasonAsDeclared, "everything is as declared"
	for _, name := range conditionTypes {
		if name == v1alpha1.ConditionFieldsActedOn {
			continue // what a later version will act on is no reason to wait for this one
		}
		c := meta.FindStatusCondition(rs.Status.Conditions, name)
		switch {
		case c.Status == metav1.ConditionFalse:
			r.set(v1alpha1.ConditionReady, metav1.ConditionFalse, c.Reason, name+": "+c.Message)
			return
		case c.Status == metav1.ConditionUnknown && status == metav1.ConditionTrue:
			status, reason, message = metav1.ConditionUnknown, c.Reason, name+": "+c.Message
		}
	}
	r.set(v1alpha1.ConditionReady, status, reason, message)
}

func staleMessage(rs *v1alpha1.RegionalService) string {
	name := func(s v1alpha1.SliceStamp) string {
		return fmt.Sprintf("ballot %d, generation %d", s.Ballot, s.Generation)
	}
	return fmt.Sprintf("this slice (%s) is older than the one that the region acts on (%s): a hub with old data wrote it, such as one restored from a "+
		"backup. Nothing of it is acted on, what runs goes on. Apply the present declaration to the hub until its generation is the higher one; or, if "+
		"the older one is meant: kubectl -n %s patch regionalservice %s --subresource=status --type=merge -p '{\"status\":{\"actedStamp\":null}}'",
		name(rs.Spec.Stamp), name(rs.Status.ActedStamp.Stamp), rs.Namespace, rs.Name)
}

// routed tells whether all ready gateways act on the current epoch.
func (r reporter) routed(seen Seen, p Plan) {
	rs := r.rs
	ready := readyGateways(rs, seen)
	if epoch := acknowledged(ready, seen); epoch > 0 && epoch != rs.Status.Epoch {
		rs.Status.Epoch, rs.Status.EpochSince = epoch, nil
		if epoch == seen.ActsOn {
			rs.Status.EpochSince = ptr.To(metav1.NewMicroTime(seen.ActsSince.UTC().Truncate(time.Microsecond)))
		}
	}
	const condition = v1alpha1.ConditionRouted
	closed := regional.Closed(&rs.Spec, seen.Configuration)
	switch {
	case !seen.HasConfiguration:
		r.set(condition, metav1.ConditionUnknown, v1alpha1.ReasonStoreUnreachable, "the coordination store has not been read yet; gateways keep what they have")
	case closed != "":
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonOwnershipChangePending, "no home writes are accepted here: "+closed)
	case p.Upstream == "":
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonProgressing, "the application has no address yet")
	case len(refusing(rs, seen)) > 0:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonGatewaysRefuse, refusalMessage(refusing(rs, seen), seen))
	case len(ready) == 0:
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonGatewaysBehind, "no gateway is ready")
	case gatewaysBehind(rs, seen):
		r.set(condition, metav1.ConditionFalse, v1alpha1.ReasonGatewaysBehind, "some gateway has not acted on the current epoch yet")
	default:
		r.set(condition, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared, "all gateways act on the current epoch")
	}
}

// fields names what is declared and not acted on.
func (r reporter) fields() {
	var names []string
	for flow, endpoint := range regional.UnknownNotifyEndpoints(r.rs) {
		names = append(names, fmt.Sprintf("flow %s: notify endpoint %s (Region %s has none of that name in spec.notifyEndpoints, so nobody is told)",
			flow, endpoint, r.rs.Spec.Region))
	}
	for _, own := range r.rs.Spec.Ownership {
		for _, k := range own.Keys {
			if len(r.rs.Spec.Sessions) == 0 && slices.ContainsFunc(k.From, func(s v1alpha1.KeySource) bool { return s.Type == v1alpha1.KeySourceSession }) {
				names = append(names, fmt.Sprintf("key %s: source Session (left out: nothing says where the token is)", k.Name))
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		r.set(v1alpha1.ConditionFieldsActedOn, metav1.ConditionTrue, v1alpha1.ReasonAsDeclared, "everything declared is acted on")
		return
	}
	r.set(v1alpha1.ConditionFieldsActedOn, metav1.ConditionFalse, v1alpha1.ReasonNotSupportedYet, "declared and not acted on in this version: "+strings.Join(names, ", "))
}
