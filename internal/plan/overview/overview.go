// Package overview sums up for a person what the hub's objects say: which flow is served where, who owns which keys,
// what lags, and what to do next. It is pure. It must never say more than the objects do: what nobody has reported
// is unknown.
package overview

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/operation"
	"multiactive.dev/operator/internal/plan/regionincident"
	"multiactive.dev/operator/internal/plan/whatif"
)

// Input is what the hub's objects are.
type Input struct {
	Regions   map[string]*v1alpha1.Region
	Services  []v1alpha1.MultiActiveService
	Incidents []v1alpha1.RegionIncident
	Orders    []v1alpha1.Operation
}

// Overview is what there is to say.
type Overview struct {
	// Epoch of the agreed view, 0 while nobody says.
	Epoch     int64      `json:"epoch,omitempty"`
	Regions   []Region   `json:"regions"`
	Services  []Service  `json:"services"`
	Incidents []Incident `json:"incidents,omitempty"`
	Orders    []Order    `json:"orders,omitempty"`
	// Next is what to do, most urgent first.
	Next []Step `json:"next,omitempty"`
}

// Attention reports whether a person has to do or to look at something.
func (o Overview) Attention() bool {
	return slices.ContainsFunc(o.Next, func(s Step) bool { return s.Urgency != Note })
}

// Region is how a region stands.
type Region struct {
	Name  string               `json:"name"`
	State v1alpha1.RegionPhase `json:"state"`
	Since *metav1.Time         `json:"since,omitempty"`
	// Observers is how many of the others reach it, Agent whether its agent beats.
	Observers string `json:"observers,omitempty"`
	Agent     string `json:"agent,omitempty"`
	// Leads is set while its agent decides for all regions.
	Leads bool `json:"leads,omitempty"`
	// Reachable is whether the hub reaches its cluster: True, False, Unknown.
	Reachable metav1.ConditionStatus `json:"reachable"`
	Incident  string                 `json:"incident,omitempty"`
}

// Service is how a service is served.
type Service struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Ready and Core are the statuses of the conditions Ready and CoreAvailable.
	Ready metav1.ConditionStatus `json:"ready"`
	Core  metav1.ConditionStatus `json:"core"`
	// Degraded, Lag and Deferred as the service's summary has them.
	Degraded string          `json:"degraded,omitempty"`
	Lag      string          `json:"lag,omitempty"`
	Deferred string          `json:"deferred,omitempty"`
	Regions  []ServiceRegion `json:"regions"`
	Flows    []Flow          `json:"flows,omitempty"`
	Data     []Data          `json:"dataClasses,omitempty"`
	Rollout  string          `json:"rollout,omitempty"`
	// Unsure says what may make the owners others than they seem.
	Unsure []string `json:"unsure,omitempty"`
}

// ServiceRegion is one region of a service.
type ServiceRegion struct {
	Name  string               `json:"name"`
	State v1alpha1.RegionPhase `json:"state"`
	// Owns is Yes, No, or Unknown while nobody says.
	Owns v1alpha1.WorkState `json:"owns"`
	// Slots of 1024 that the region owns now, and that are at home there.
	Slots    int    `json:"slots"`
	Home     int    `json:"home"`
	Replicas string `json:"replicas,omitempty"`
}

// Place is what a request of a flow meets at a region's gateway.
type Place string

// The places.
const (
	// Serves: the region serves the flow for every user.
	Serves Place = "serves"
	// Owner: it serves the users that are its own, and sends the others to their owner.
	Owner Place = "owner"
	// Forwards: it owns nobody, and sends all to their owner.
	Forwards Place = "forwards"
	// Down: the region answers nobody.
	Down Place = "down"
	// Unsaid: nobody says.
	Unsaid Place = "?"
)

// Flow is how one flow is served.
type Flow struct {
	Name     string             `json:"name"`
	Core     bool               `json:"core"`
	State    v1alpha1.FlowState `json:"state"`
	ServedBy v1alpha1.ServedBy  `json:"servedBy"`
	// Action that affected requests meet, of this percentage of the keys, since then.
	Action          v1alpha1.HomeLossAction `json:"action,omitempty"`
	AffectedPercent int32                   `json:"affectedPercent,omitempty"`
	Since           *metav1.Time            `json:"since,omitempty"`
	// Deferred requests that wait, and since when the oldest does, in steps.
	Deferred string `json:"deferred,omitempty"`
	Oldest   string `json:"oldest,omitempty"`
	// At has what its requests meet, by region.
	At map[string]Place `json:"at"`
}

// Data is how far a data class lags.
type Data struct {
	Name      string            `json:"name"`
	Lag       v1alpha1.LagState `json:"lag"`
	Objective *metav1.Duration  `json:"objective,omitempty"`
}

// Incident is an outage that goes on.
type Incident struct {
	Name       string                 `json:"name"`
	Region     string                 `json:"region"`
	State      v1alpha1.IncidentState `json:"state"`
	Started    *metav1.Time           `json:"started,omitempty"`
	Recovery   string                 `json:"recovery,omitempty"`
	DataAtRisk string                 `json:"dataAtRisk,omitempty"`
	Services   int32                  `json:"services,omitempty"`
}

// Order is one that has not ended.
type Order struct {
	Name    string                  `json:"name"`
	Type    v1alpha1.OperationType  `json:"type"`
	Region  string                  `json:"region,omitempty"`
	Service string                  `json:"service,omitempty"`
	State   v1alpha1.OperationState `json:"state"`
	Created metav1.Time             `json:"created"`
	Message string                  `json:"message,omitempty"`
	// Text of an announcement, in its first language.
	Text string `json:"text,omitempty"`
}

// Of sums up. Services are in the order of their names.
func Of(in Input) Overview {
	o := Overview{Regions: []Region{}, Services: []Service{}}
	for _, rg := range in.Regions {
		o.Regions = append(o.Regions, regionOf(rg))
		if c := rg.Status.Coordination; c != nil {
			o.Epoch = max(o.Epoch, c.Epoch)
		}
	}
	slices.SortFunc(o.Regions, func(a, b Region) int { return strings.Compare(a.Name, b.Name) })
	for i := range in.Services {
		o.Services = append(o.Services, serviceOf(&in.Services[i], in.Regions))
		if summary := in.Services[i].Status.Summary; summary != nil {
			o.Epoch = max(o.Epoch, summary.Epoch)
		}
	}
	slices.SortFunc(o.Services, func(a, b Service) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	for i := range in.Incidents {
		if s := in.Incidents[i].Status; !regionincident.Over(s.State) {
			o.Incidents = append(o.Incidents, incidentOf(&in.Incidents[i]))
		}
	}
	slices.SortFunc(o.Incidents, func(a, b Incident) int { return strings.Compare(a.Name, b.Name) })
	for i := range in.Orders {
		if !operation.Ended(in.Orders[i].Status.State) {
			o.Orders = append(o.Orders, orderOf(&in.Orders[i]))
		}
	}
	slices.SortFunc(o.Orders, func(a, b Order) int { return a.Created.Compare(b.Created.Time) })
	o.Next = next(in)
	return o
}

func regionOf(rg *v1alpha1.Region) Region {
	s := rg.Status
	out := Region{
		Name: rg.Name, State: cmp.Or(s.State, v1alpha1.RegionUnknown), Since: s.StateSince, Observers: s.ObserversSummary,
		Reachable: statusOf(s.Conditions, v1alpha1.ConditionClusterReachable),
	}
	if s.Coordination != nil {
		out.Agent, out.Leads = s.Coordination.Agent, s.Coordination.Leads == v1alpha1.ChoiceYes
	}
	if s.LastOutage != nil && s.LastOutage.EndedAt == nil {
		out.Incident = s.LastOutage.Incident
	}
	return out
}

func statusOf(conditions []metav1.Condition, kind string) metav1.ConditionStatus {
	if c := meta.FindStatusCondition(conditions, kind); c != nil {
		return c.Status
	}
	return metav1.ConditionUnknown
}

func incidentOf(i *v1alpha1.RegionIncident) Incident {
	s := i.Status
	out := Incident{Name: i.Name, Region: i.Spec.Region, State: s.State, Started: s.StartedAt, Recovery: s.Recovery, DataAtRisk: s.DataAtRiskSummary}
	if s.Services != nil {
		out.Services = *s.Services
	}
	return out
}

func orderOf(op *v1alpha1.Operation) Order {
	out := Order{
		Name: op.Name, Type: op.Spec.Type, Region: op.Spec.Region, State: cmp.Or(op.Status.State, v1alpha1.OperationPending), Created: op.CreationTimestamp,
	}
	if s := op.Spec.Service; s != nil {
		out.Service = s.Namespace + "/" + s.Name
	}
	if c := meta.FindStatusCondition(op.Status.Conditions, v1alpha1.ConditionComplete); c != nil {
		out.Message = c.Message
	}
	if a := op.Spec.Announce; a != nil && len(a.Text) > 0 {
		out.Text = a.Text[0].Value
	}
	return out
}

func serviceOf(mas *v1alpha1.MultiActiveService, regions map[string]*v1alpha1.Region) Service {
	s := mas.Status
	out := Service{
		Namespace: mas.Namespace, Name: mas.Name, Regions: []ServiceRegion{},
		Ready: statusOf(s.Conditions, v1alpha1.ConditionReady), Core: statusOf(s.Conditions, v1alpha1.ConditionCoreAvailable),
	}
	if s.Summary != nil {
		out.Degraded, out.Lag, out.Deferred = s.Summary.Degraded, s.Summary.Lag, s.Summary.Deferred
	}
	if r := s.Rollout; r != nil && r.State != "Complete" {
		out.Rollout = r.State + " at " + r.Region
	}
	agreed := whatif.Of(mas, regions)
	out.Unsure = agreed.Unsure
	owned, home := whatif.Shares(mas, agreed), whatif.Homes(mas)
	for _, declared := range mas.Spec.Regions {
		r := ServiceRegion{Name: declared.Name, State: v1alpha1.RegionUnknown, Owns: v1alpha1.Unknown, Home: home[declared.Name]}
		for _, reported := range s.Regions {
			if reported.Name == declared.Name {
				r.State, r.Replicas = cmp.Or(reported.State, v1alpha1.RegionUnknown), reported.Replicas
				r.Owns = cmp.Or(reported.Owns, v1alpha1.Unknown)
				if reported.Owns == v1alpha1.Yes {
					r.Slots = owned[declared.Name]
				}
			}
		}
		out.Regions = append(out.Regions, r)
	}
	for _, f := range mas.Spec.Flows {
		out.Flows = append(out.Flows, flowOf(mas, f, out.Regions))
	}
	for _, d := range s.DataClasses {
		out.Data = append(out.Data, Data{Name: d.Name, Lag: cmp.Or(d.Lag, v1alpha1.LagUnknown), Objective: d.Objective})
	}
	return out
}

func flowOf(mas *v1alpha1.MultiActiveService, f v1alpha1.Flow, regions []ServiceRegion) Flow {
	out := Flow{
		Name: f.Name, Core: f.Tier == v1alpha1.TierCore, State: v1alpha1.FlowUnknown, At: map[string]Place{},
		ServedBy: cmp.Or(f.ServedBy, v1alpha1.ServedByAnyRegion),
	}
	for _, s := range mas.Status.Flows {
		if s.Name != f.Name {
			continue
		}
		out.State, out.Action, out.Since = cmp.Or(s.State, v1alpha1.FlowUnknown), s.Action, s.Since
		if s.AffectedKeysPercent != nil {
			out.AffectedPercent = *s.AffectedKeysPercent
		}
		if s.Deferred != nil {
			out.Deferred, out.Oldest = s.Deferred.Requests, s.Deferred.Oldest
		}
	}
	for _, r := range regions {
		out.At[r.Name] = place(r, out.ServedBy)
	}
	return out
}

// place says what requests of a flow meet at a region's gateway.
func place(r ServiceRegion, by v1alpha1.ServedBy) Place {
	switch r.State {
	case v1alpha1.RegionDown:
		return Down
	case v1alpha1.RegionUnknown:
		return Unsaid
	case v1alpha1.RegionUp, v1alpha1.RegionSuspect, v1alpha1.RegionReturning, v1alpha1.RegionDrained:
	}
	switch {
	case by != v1alpha1.ServedByHomeRegion:
		return Serves
	case r.Owns == v1alpha1.Unknown:
		return Unsaid
	case r.Slots > 0:
		return Owner
	default:
		return Forwards
	}
}

// Percent of the keys that a number of slots is, rounded.
func Percent(slots int) int { return (slots*100 + ownership.SlotCount/2) / ownership.SlotCount }
