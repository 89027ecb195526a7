package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MultiActiveServiceStatus is coarse on purpose: it changes when a person would want to know.
// Exact figures are metrics and ReplicationLinks.
type MultiActiveServiceStatus struct {
	// observedGeneration is the generation that the conditions speak of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions: Ready, CoreAvailable, Degraded, WorkloadsAvailable, TopicsReady,
	// ReplicationHealthy, RoutingReady, RegionsHealthy, DesignSound, FieldsActedOn, SpecInSync,
	// PeersAuthenticated, DNSReady.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// summary is what kubectl get shows.
	// +optional
	Summary *ServiceSummary `json:"summary,omitempty"`
	// regions in declared order.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Regions []ServiceRegionStatus `json:"regions,omitempty"`
	// flows in declared order.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Flows []FlowStatus `json:"flows,omitempty"`
	// dataClasses in declared order.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	DataClasses []DataClassStatus `json:"dataClasses,omitempty"`
	// rollout under way.
	// +optional
	Rollout *RolloutStatus `json:"rollout,omitempty"`
	// lastIncident that touched the service.
	// +optional
	LastIncident *ServiceIncident `json:"lastIncident,omitempty"`
}

// ServiceSummary is what kubectl get shows.
type ServiceSummary struct {
	// regions that serve, of all: "2/3".
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Regions string `json:"regions,omitempty"`
	// degraded flows, of all: "2/4".
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Degraded string `json:"degraded,omitempty"`
	// degradedFlows by name, separated by commas.
	// +optional
	// +kubebuilder:validation:MaxLength=4160
	DegradedFlows string `json:"degradedFlows,omitempty"`
	// deferred requests that wait, of the flow and in the region where most do, such as "<100"; empty: none.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Deferred string `json:"deferred,omitempty"`
	// lag of the worst data class in steps of its objective, such as "<5m", or "unknown".
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Lag string `json:"lag,omitempty"`
	// epoch of the view.
	// +optional
	Epoch int64 `json:"epoch,omitempty"`
}

// ServiceRegionStatus is one region of the service.
type ServiceRegionStatus struct {
	// name of the region.
	// +required
	// +kubebuilder:validation:MaxLength=32
	Name string `json:"name,omitempty"`
	// state of the region in the agreed view.
	// +optional
	State RegionPhase `json:"state,omitempty"`
	// owns is Yes when the region owns slots of this service now.
	// +optional
	Owns WorkState `json:"owns,omitempty"`
	// replicas that are ready, of those wanted: "3/3".
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Replicas string `json:"replicas,omitempty"`
	// message tells what is wrong there.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// FlowState says how a flow is served.
// +kubebuilder:validation:Enum=Available;Degraded;Unavailable;Unknown
type FlowState string

// The states.
const (
	FlowAvailable   FlowState = "Available"
	FlowDegraded    FlowState = "Degraded"
	FlowUnavailable FlowState = "Unavailable"
	FlowUnknown     FlowState = "Unknown"
)

// FlowStatus is how one flow is served.
type FlowStatus struct {
	// name of the flow.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`
	// tier of the flow.
	// +optional
	Tier FlowTier `json:"tier,omitempty"`
	// state: Available, Degraded (some keys are not served as declared), Unavailable or Unknown.
	// +optional
	State FlowState `json:"state,omitempty"`
	// action that affected requests meet, while degraded.
	// +optional
	Action HomeLossAction `json:"action,omitempty"`
	// affectedKeysPercent of all keys, rounded up.
	// +optional
	AffectedKeysPercent *int32 `json:"affectedKeysPercent,omitempty"`
	// since the state is so.
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
	// deferred requests that wait to be carried out; absent when none does in the regions that can be reached.
	// +optional
	Deferred *FlowBacklog `json:"deferred,omitempty"`
}

// FlowBacklog is how many deferred requests of a flow wait to be carried out.
type FlowBacklog struct {
	// requests that wait in the region where most do: <10, <100, <1000, <10000 or >=10000.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Requests string `json:"requests,omitempty"`
	// oldest is since when the first of all waits: <1m, <10m, <1h, <6h, <24h or >=24h.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Oldest string `json:"oldest,omitempty"`
	// regions that have accepted them, and have them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=32
	Regions []string `json:"regions,omitempty"`
}

// LagState is a lag in steps of its objective.
// +kubebuilder:validation:Enum=WithinObjective;WithinOutageObjective;BeyondObjective;Unknown;NotReplicated
type LagState string

// The steps.
const (
	LagWithinObjective       LagState = "WithinObjective"
	LagWithinOutageObjective LagState = "WithinOutageObjective"
	LagBeyondObjective       LagState = "BeyondObjective"
	LagUnknown               LagState = "Unknown"
	LagNotReplicated         LagState = "NotReplicated"
)

// DataClassStatus is how far one data class lags between the regions that can be reached.
type DataClassStatus struct {
	// name of the class.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`
	// lag in steps of the objective.
	// +optional
	Lag LagState `json:"lag,omitempty"`
	// objective in force now.
	// +optional
	Objective *metav1.Duration `json:"objective,omitempty"`
}

// RolloutStatus is a change on its way through the regions.
type RolloutStatus struct {
	// state: Complete, Progressing, Paused, Stopped (a region failed) or Frozen (an incident is open).
	// +optional
	// +kubebuilder:validation:Enum=Complete;Progressing;Paused;Stopped;Frozen
	State string `json:"state,omitempty"`
	// region that is changing, or that stopped the rollout.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Region string `json:"region,omitempty"`
	// hash of the workload that spreads.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Hash string `json:"hash,omitempty"`
	// startedAt is when the region began to change.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
	// updated lists the regions that have the hash and are available.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=32
	Updated []string `json:"updated,omitempty"`
	// completedAt is when the region before became available; the pause counts from it.
	// +optional
	CompletedAt *metav1.Time `json:"completedAt,omitempty"`
}

// ServiceIncident is an outage as this service saw it.
type ServiceIncident struct {
	// name of the RegionIncident.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
	// startedAt is when it was suspected.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
	// endedAt is when the region served again.
	// +optional
	EndedAt *metav1.Time `json:"endedAt,omitempty"`
	// recoverySeconds from suspicion until the survivors were routed to.
	// +optional
	RecoverySeconds *int64 `json:"recoverySeconds,omitempty"`
	// dataAtRisk by link: the lag of the outgoing links when the region was lost.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	DataAtRisk []DataAtRisk `json:"dataAtRisk,omitempty"`
}

// DataAtRisk is what may not have left a region before it was lost.
type DataAtRisk struct {
	// name of the data class, or of the link in an incident.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
	// lag in time, when the region was last known to be well: how old its newest data elsewhere was. Absent
	// when it was unknown.
	// +optional
	Lag *metav1.Duration `json:"lag,omitempty"`
	// atMost is what lag had become when the region's lease had run out for certain. A region that is dead
	// accepted nothing in between; one that was cut off from the others alone may have. Absent when lag is.
	// +optional
	AtMost *metav1.Duration `json:"atMost,omitempty"`
	// records not yet shipped; absent when unknown.
	// +optional
	Records *int64 `json:"records,omitempty"`
}
