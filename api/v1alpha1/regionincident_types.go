package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RegionIncidentSpec names the outage.
type RegionIncidentSpec struct {
	// region that was lost.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="region is immutable"
	Region string `json:"region,omitempty"`
}

// IncidentState is how far an outage is. Closed: the region was lost and serves again. FalseAlarm: a
// majority of the other regions could not reach it for a while, and it answered again before it was
// declared lost; nothing was changed.
// +kubebuilder:validation:Enum=Suspected;Confirmed;Lost;Returning;Closed;FalseAlarm
type IncidentState string

// The states.
const (
	IncidentSuspected  IncidentState = "Suspected"
	IncidentConfirmed  IncidentState = "Confirmed"
	IncidentLost       IncidentState = "Lost"
	IncidentReturning  IncidentState = "Returning"
	IncidentClosed     IncidentState = "Closed"
	IncidentFalseAlarm IncidentState = "FalseAlarm"
)

// RegionIncidentStatus is the measured course of the outage.
type RegionIncidentStatus struct {
	// state of the outage.
	// +optional
	State IncidentState `json:"state,omitempty"`
	// conditions: Resolved.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// startedAt is when the region was first suspected: the first evidence that the leader saw, also
	// before it led.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
	// endedAt is when the region served again, or the alarm proved false.
	// +optional
	EndedAt *metav1.Time `json:"endedAt,omitempty"`
	// epoch of the view that declared the region lost.
	// +optional
	Epoch int64 `json:"epoch,omitempty"`
	// timeline of the steps, with measured times.
	// +optional
	// +listType=map
	// +listMapKey=step
	// +kubebuilder:validation:MaxItems=32
	Timeline []IncidentTime `json:"timeline,omitempty"`
	// recovery from suspicion until the survivors' gateways acted on the loss, such as 4.2s. Empty for a
	// false alarm, and when no leader saw the beginning.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Recovery string `json:"recovery,omitempty"`
	// dataAtRisk by link: the lag when the region was lost.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	DataAtRisk []DataAtRisk `json:"dataAtRisk,omitempty"`
	// dataAtRiskSummary is the worst of dataAtRisk, such as 2s or unknown.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	DataAtRiskSummary string `json:"dataAtRiskSummary,omitempty"`
	// lateChanges by store: what became of changes that the region had accepted and not shipped.
	// +optional
	// +listType=map
	// +listMapKey=store
	// +kubebuilder:validation:MaxItems=64
	LateChanges []IncidentLateChanges `json:"lateChanges,omitempty"`
	// services that the outage touched.
	// +optional
	Services *int32 `json:"services,omitempty"`
	// worstServices are the 20 with most degraded flows.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	WorstServices []IncidentService `json:"worstServices,omitempty"`
}

// IncidentLateChanges are those in one store.
type IncidentLateChanges struct {
	// store is the DataStore's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Store string `json:"store,omitempty"`
	// applied were changed by nobody else, and are in all regions.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Applied int64 `json:"applied,omitempty"`
	// ownerStands were changed by others too, whose version stands.
	// +optional
	// +kubebuilder:validation:Minimum=0
	OwnerStands int64 `json:"ownerStands,omitempty"`
	// lateStands were changed by others too, and the late version stands.
	// +optional
	// +kubebuilder:validation:Minimum=0
	LateStands int64 `json:"lateStands,omitempty"`
	// open were changed by others too, whose version stands until a person has decided.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Open int64 `json:"open,omitempty"`
	// conflicts are the first 20 rows that both had changed. Both versions are in the store's table multiactive.conflict.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	Conflicts []RowConflict `json:"conflicts,omitempty"`
}

// LateChanges are those of one region that was lost, by what became of them.
type LateChanges struct {
	// region that was lost.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Region string `json:"region,omitempty"`
	// lostAt is when it was declared lost.
	// +required
	LostAt metav1.MicroTime `json:"lostAt,omitzero"`
	// applied were changed by nobody else, and are in all regions.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Applied int64 `json:"applied,omitempty"`
	// ownerStands were changed by others too, whose version stands.
	// +optional
	// +kubebuilder:validation:Minimum=0
	OwnerStands int64 `json:"ownerStands,omitempty"`
	// lateStands were changed by others too, and the late version stands.
	// +optional
	// +kubebuilder:validation:Minimum=0
	LateStands int64 `json:"lateStands,omitempty"`
	// open were changed by others too, whose version stands until a person has decided.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Open int64 `json:"open,omitempty"`
	// conflicts are the first 20 rows that both had changed. Both versions are in the store's table multiactive.conflict.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	Conflicts []RowConflict `json:"conflicts,omitempty"`
}

// RowConflict is a row that two regions changed.
type RowConflict struct {
	// table as schema.table.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=320
	Table string `json:"table,omitempty"`
	// key of the row, a JSON object; cut off if it is long.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Key string `json:"key,omitempty"`
	// outcome: OwnerStands, LateStands or Open.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Outcome string `json:"outcome,omitempty"`
}

// IncidentTime is one measured step.
type IncidentTime struct {
	// step: Suspected, Confirmed, GateClosed, ViewCommitted, FirstSurvivorRouted, Returned, ServingAgain;
	// or Suspected, Confirmed, FalseAlarm.
	// +required
	// +kubebuilder:validation:MaxLength=64
	Step string `json:"step,omitempty"`
	// at is the wall clock, for people.
	// +optional
	At *metav1.MicroTime `json:"at,omitempty"`
	// sinceStart is measured on one leader's monotonic clock, such as 3.1s; ~3.1s as the hub saw it. Empty
	// when the leader did not see the beginning.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	SinceStart string `json:"sinceStart,omitempty"`
}

// IncidentService is one service that the outage touched.
type IncidentService struct {
	// namespace of the service.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
	// name of the service.
	// +required
	// +kubebuilder:validation:MaxLength=40
	Name string `json:"name,omitempty"`
	// degradedFlows by name.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	DegradedFlows []string `json:"degradedFlows,omitempty"`
	// deferred requests that waited to be carried out, the most of a flow at once, such as <100; empty: none.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Deferred string `json:"deferred,omitempty"`
}

// RegionIncident is the record of one outage of a region.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=ri,categories=multiactive
// +kubebuilder:printcolumn:name="Region",type=string,JSONPath=`.spec.region`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Started",type=date,JSONPath=`.status.startedAt`
// +kubebuilder:printcolumn:name="Recovery",type=string,JSONPath=`.status.recovery`
// +kubebuilder:printcolumn:name="Data-At-Risk",type=string,JSONPath=`.status.dataAtRiskSummary`
// +kubebuilder:printcolumn:name="Services",type=integer,JSONPath=`.status.services`
type RegionIncident struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec names the outage.
	// +required
	Spec RegionIncidentSpec `json:"spec,omitzero"`
	// status is its measured course.
	// +optional
	Status RegionIncidentStatus `json:"status,omitzero"`
}

// RegionIncidentList is a list of RegionIncidents.
// +kubebuilder:object:root=true
type RegionIncidentList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list metadata.
	metav1.ListMeta `json:"metadata,omitempty"`
	// items of the list.
	Items []RegionIncident `json:"items"`
}
