// Package multiactiveservice decides what the hub does for one MultiActiveService, and reports it:
// values in, values out. It must never decide who owns a slot: that is the leader's part, and the
// hub only proposes.
package multiactiveservice

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/announcement"
)

// Finalizer keeps a service until every region has let go of it.
const Finalizer = "multiactive.dev/hub"

// Connection is how the hub stands with a region's cluster.
type Connection string

const (
	// Connected: the cluster answers and Slice is what it has.
	Connected Connection = "Connected"
	// Connecting: the first attempt is under way; nothing is known yet.
	Connecting Connection = "Connecting"
	// Unusable: it does not answer, refuses the credentials or lacks the CRDs.
	Unusable Connection = "Unusable"
)

// RegionSeen is one region as the hub sees it.
type RegionSeen struct {
	// Region is nil when there is none of that name.
	Region     *v1alpha1.Region
	Connection Connection
	// Problem with the connection, for people; empty when Connected.
	Problem string
	// Slice that the region's cluster has; nil when it has none or is not Connected.
	Slice *v1alpha1.RegionalService
	// StageError is why the slice could not be written in this pass.
	StageError *StageError
}

// StageError says why a region's cluster refused the slice.
type StageError struct {
	// Reason is a condition reason.
	Reason string
	// Message names the object and the next step.
	Message string
}

// Seen is all that was read for one pass.
type Seen struct {
	// Regions has every Region, and every name that the service declares.
	Regions map[string]*RegionSeen
	// Stores has the DataStores that the service names, as far as they exist.
	Stores map[string]*v1alpha1.DataStore
	// StoreClaims has, of those that one region at a time can be written to, the service that had it first when that is
	// another one, as namespace/name.
	StoreClaims map[string]string
	// DNSHostOf is the service that declared dns.host first, when that is another one.
	DNSHostOf string
	// NamespaceLabels of the service's namespace.
	NamespaceLabels map[string]string
	// DNSHosts is the annotation of that namespace that lists the hosts that its services may have records of.
	DNSHosts string
	// DNS is what this cluster has of the service's DNSEndpoint; nil when it was not looked for.
	DNS *DNSSeen
	// PreparedFor has the regions whose drains are pending, for which the others are scaled up.
	PreparedFor []string
	// Announced is what people have ordered that the service's users are told now, the latest first.
	Announced []announcement.Ordered
	// StoreKnown is true once the coordination store was read, StoreConnected while it answers.
	StoreKnown, StoreConnected bool
	// StoreProblem is what is known of why it does not answer.
	StoreProblem  string
	Configuration ownership.Configuration
	// Peers is nil with one hub.
	Peers *Peers
	// restamp: every slice gets the ballot of this hub.
	restamp bool
}

// StepKind names a step.
type StepKind string

// The steps.
const (
	// StepAddFinalizer adds Finalizer.
	StepAddFinalizer StepKind = "AddFinalizer"
	// StepStage writes Slice into Region's cluster.
	StepStage StepKind = "Stage"
	// StepDelete deletes the slice in Region's cluster.
	StepDelete StepKind = "Delete"
	// StepPropose writes Intent.
	StepPropose StepKind = "Propose"
	// StepWithdraw deletes the intent.
	StepWithdraw StepKind = "Withdraw"
	// StepWriteDNS writes DNS into this cluster.
	StepWriteDNS StepKind = "WriteDNS"
	// StepDeleteDNS deletes the DNSEndpoint of this cluster.
	StepDeleteDNS StepKind = "DeleteDNS"
	// StepRemoveFinalizer removes Finalizer.
	StepRemoveFinalizer StepKind = "RemoveFinalizer"
)

// Step is one idempotent step. Only the fields of its kind are set.
type Step struct {
	Kind   StepKind
	Region string
	Slice  *v1alpha1.RegionalService
	Intent ownership.ServiceIntent
	DNS    *unstructured.Unstructured
}

// regions returns the Region objects by name.
func (s Seen) regions() map[string]*v1alpha1.Region {
	out := map[string]*v1alpha1.Region{}
	for name, r := range s.Regions {
		if r.Region != nil {
			out[name] = r.Region
		}
	}
	return out
}

// region never returns nil.
func (s Seen) region(name string) *RegionSeen {
	if r := s.Regions[name]; r != nil {
		return r
	}
	return &RegionSeen{Connection: Unusable, Problem: "not looked at yet"}
}

// record returns what the leader committed for the service.
func (s Seen) record(uid string) (ownership.ServiceRecord, bool) {
	r, ok := s.Configuration.Services[uid]
	return r, ok
}

// openIncident returns the name of an incident that goes on in one of the service's regions.
func (s Seen) openIncident(mas *v1alpha1.MultiActiveService) string {
	name := ""
	for _, i := range s.Configuration.Incidents {
		if !i.Closed && declares(mas, i.Region) && (name == "" || i.Name < name) {
			name = i.Name
		}
	}
	return name
}

func declares(mas *v1alpha1.MultiActiveService, region string) bool {
	for _, r := range mas.Spec.Regions {
		if r.Name == region {
			return true
		}
	}
	return false
}

// refusal says why a declared region may not run the service, for people and without its name; empty
// when it may.
func (s Seen) refusal(mas *v1alpha1.MultiActiveService, name string) (reason, message string) {
	r := s.region(name).Region
	switch {
	case r == nil:
		return v1alpha1.ReasonRegionUnknown, "there is no such Region: create it, or take it out of spec.regions"
	case r.Spec.Role == v1alpha1.RegionRoleWitness:
		return v1alpha1.ReasonRegionUnknown, "the Region is a witness, which runs no services: take it out of spec.regions"
	case !allowed(r.Spec.AllowedNamespaces, s.NamespaceLabels):
		return v1alpha1.ReasonNamespaceNotAllowed, "the Region does not allow namespace " + mas.Namespace +
			": ask the platform team to extend its spec.allowedNamespaces"
	}
	return "", ""
}

func allowed(a *v1alpha1.AllowedNamespaces, namespace map[string]string) bool {
	if a == nil {
		return false
	}
	selector, err := metav1.LabelSelectorAsSelector(a.Selector)
	return err == nil && selector.Matches(labels.Set(namespace))
}
