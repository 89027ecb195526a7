package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// OperationType is what a person orders.
//
// Drain empties a region, or takes it out of one service: others own its keys. Undrain ends that.
// Handback gives a region that was lost, or is new, its keys. ApproveFailover lets others take over the
// keys of a lost region for services with failover.mode Manual. DeclareLost gives a region up for
// good that is lost or silent, with all that it had accepted and nobody has received. Abandon lets a service be deleted although
// a region cannot be reached; what runs there is deleted when it can. Drill rehearses the loss of a region: it
// is emptied for a while, and comes back by itself. Announce tells a service's users something for a while.
// +kubebuilder:validation:Enum=Drain;Undrain;Handback;ApproveFailover;DeclareLost;Abandon;Announce;Drill
type OperationType string

// The orders.
const (
	OperationDrain           OperationType = "Drain"
	OperationUndrain         OperationType = "Undrain"
	OperationHandback        OperationType = "Handback"
	OperationApproveFailover OperationType = "ApproveFailover"
	OperationDeclareLost     OperationType = "DeclareLost"
	OperationAbandon         OperationType = "Abandon"
	OperationAnnounce        OperationType = "Announce"
	OperationDrill           OperationType = "Drill"
)

// CapacityPolicy says what a drain does about survivors that have too few replicas for the keys that they
// are to own. Wait: services with failover.survivors Scale are scaled first, and owners change once they
// have the replicas. Ignore: owners change at once, and the survivors are scaled meanwhile.
// +kubebuilder:validation:Enum=Wait;Ignore
type CapacityPolicy string

// The policies.
const (
	CapacityWait   CapacityPolicy = "Wait"
	CapacityIgnore CapacityPolicy = "Ignore"
)

// AnnotationAbandoned names, on a MultiActiveService that is being deleted, the regions that the deletion
// does not wait for any more, separated by commas. An Operation of type Abandon sets it.
const AnnotationAbandoned = "multiactive.dev/abandoned-regions"

// OperationSpec is an order. It cannot be changed, but for the course of a drill or of an announcement: order another.
// +kubebuilder:validation:XValidation:rule="self == oldSelf || has(self.drill) && has(self.drill.course) && self.drill.course == 'Abort' && self.type == oldSelf.type && has(self.region) == has(oldSelf.region) && (!has(self.region) || self.region == oldSelf.region) && has(self.expectedEpoch) == has(oldSelf.expectedEpoch) && (!has(self.expectedEpoch) || self.expectedEpoch == oldSelf.expectedEpoch) && has(self.capacity) == has(oldSelf.capacity) && (!has(self.capacity) || self.capacity == oldSelf.capacity) && has(self.timeout) == has(oldSelf.timeout) && (!has(self.timeout) || self.timeout == oldSelf.timeout) && has(self.reason) == has(oldSelf.reason) && (!has(self.reason) || self.reason == oldSelf.reason) && (has(self.drill.duration) ? self.drill.duration : 'none') == (has(oldSelf.drill) && has(oldSelf.drill.duration) ? oldSelf.drill.duration : 'none') && (has(self.drill.mode) ? self.drill.mode : 'none') == (has(oldSelf.drill) && has(oldSelf.drill.mode) ? oldSelf.drill.mode : 'none') || has(self.announce) && has(oldSelf.announce) && has(self.announce.course) && self.announce.course == 'End' && self.type == oldSelf.type && self.service == oldSelf.service && has(self.reason) == has(oldSelf.reason) && (!has(self.reason) || self.reason == oldSelf.reason) && self.announce.text == oldSelf.announce.text && has(self.announce.flows) == has(oldSelf.announce.flows) && (!has(self.announce.flows) || self.announce.flows == oldSelf.announce.flows) && has(self.announce.regions) == has(oldSelf.announce.regions) && (!has(self.announce.regions) || self.announce.regions == oldSelf.announce.regions) && has(self.announce.duration) == has(oldSelf.announce.duration) && (!has(self.announce.duration) || self.announce.duration == oldSelf.announce.duration)",message="an Operation is immutable: create another one; of a Drill, drill.course alone may become Abort, of an Announce, announce.course alone End"
// +kubebuilder:validation:XValidation:rule="self.type in ['Abandon', 'Announce'] || has(self.region)",message="region is required for this type"
// +kubebuilder:validation:XValidation:rule="!(self.type in ['Abandon', 'Announce']) || has(self.service)",message="service is required for Abandon and Announce"
// +kubebuilder:validation:XValidation:rule="self.type != 'DeclareLost' || !has(self.service)",message="DeclareLost is about a region as a whole: leave service out"
// +kubebuilder:validation:XValidation:rule="self.type != 'Drill' || !has(self.service)",message="Drill is about a region as a whole: leave service out"
// +kubebuilder:validation:XValidation:rule="self.type in ['Drain', 'Drill'] || !has(self.capacity)",message="capacity is for Drain and Drill only: leave it out"
// +kubebuilder:validation:XValidation:rule="self.type == 'Drill' || !has(self.drill)",message="drill is for Drill only: leave it out"
// +kubebuilder:validation:XValidation:rule="(self.type == 'Announce') == has(self.announce)",message="announce is required for Announce, and for nothing else: it has the text"
// +kubebuilder:validation:XValidation:rule="self.type != 'Announce' || !has(self.region) && !has(self.expectedEpoch) && !has(self.timeout)",message="of an Announce leave region, expectedEpoch and timeout out: announce.regions says where it is shown, announce.duration for how long"
type OperationSpec struct {
	// type of the order.
	// +required
	Type OperationType `json:"type,omitempty"`
	// region that the order is about. With Abandon: the region that is given up; left out, every region
	// that cannot be reached.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Region string `json:"region,omitempty"`
	// service that the order is limited to; left out, all services of the region.
	// +optional
	Service *ServiceKey `json:"service,omitempty"`
	// expectedEpoch refuses the order when another epoch is in force by the time that it is taken up, so
	// that what was ordered on sight of one state is not done to another.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ExpectedEpoch int64 `json:"expectedEpoch,omitempty"`
	// capacity of the survivors of a Drain or a Drill, Wait or Ignore. Wait holds the order back until the services
	// with failover.survivors Scale have the replicas that they need without the region; what has not
	// got them by the end of timeout fails the order and is scaled back. Default: Wait.
	// +optional
	Capacity CapacityPolicy `json:"capacity,omitempty"`
	// timeout after which the order is given up, from when it is taken up; one that nobody takes up, or
	// that waits for capacity, is given up that long after its creation. Of a Drill: until the region is out.
	// Default: 10m.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$`
	Timeout *metav1.Duration `json:"timeout,omitempty"`
	// drill is how a Drill goes; left out, for its defaults.
	// +optional
	Drill *DrillSpec `json:"drill,omitempty"`
	// announce is what an Announce tells, whom, and for how long.
	// +optional
	Announce *AnnounceSpec `json:"announce,omitempty"`
	// reason, for the record.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason,omitempty"`
}

// ServiceKey names a MultiActiveService.
type ServiceKey struct {
	// namespace of the service.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
	// name of the service.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Name string `json:"name,omitempty"`
}

// OperationState is how far an order is. Pending: nobody has taken it up. Running: it is being carried
// out, or waits for something that condition Complete names. Succeeded: it is done. Failed: it was given
// up. Refused: nothing was done, and nothing will be.
// +kubebuilder:validation:Enum=Pending;Running;Succeeded;Failed;Refused
type OperationState string

// The states.
const (
	OperationPending   OperationState = "Pending"
	OperationRunning   OperationState = "Running"
	OperationSucceeded OperationState = "Succeeded"
	OperationFailed    OperationState = "Failed"
	OperationRefused   OperationState = "Refused"
)

// OperationStatus is the result of an order.
type OperationStatus struct {
	// state of the order.
	// +optional
	State OperationState `json:"state,omitempty"`
	// conditions: Complete, which is True once the order has ended, however that was.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// drill is the report of a Drill.
	// +optional
	Drill *DrillReport `json:"drill,omitempty"`
	// steps with their times: PrepareSurvivors before a drain, where there is anything to say of them,
	// HandOver to the leader, CarryOut, and ChangeOwners, which is part of it; of an Announce Show alone.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Steps []OperationStep `json:"steps,omitempty"`
}

// OperationStep is one step of an order.
type OperationStep struct {
	// name of the step.
	// +required
	// +kubebuilder:validation:MaxLength=64
	Name string `json:"name,omitempty"`
	// startedAt is when it began.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
	// endedAt is when it ended.
	// +optional
	EndedAt *metav1.Time `json:"endedAt,omitempty"`
	// message tells how it went.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// Operation is what a person orders, with its result: everyone sees who ordered what.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=mop,categories=multiactive
// +kubebuilder:printcolumn:name="Type",type=string,JSONPath=`.spec.type`
// +kubebuilder:printcolumn:name="Region",type=string,JSONPath=`.spec.region`
// +kubebuilder:printcolumn:name="Service",type=string,JSONPath=`.spec.service.name`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Complete")].message`
type Operation struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is the order.
	// +required
	Spec OperationSpec `json:"spec,omitzero"`
	// status is the result.
	// +optional
	Status OperationStatus `json:"status,omitzero"`
}

// OperationList is a list of Operations.
// +kubebuilder:object:root=true
type OperationList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list metadata.
	metav1.ListMeta `json:"metadata,omitempty"`
	// items of the list.
	Items []Operation `json:"items"`
}
