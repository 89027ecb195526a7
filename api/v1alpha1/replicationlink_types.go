package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// LinkEngine is what carries the data.
// +kubebuilder:validation:Enum=Builtin;MirrorMaker2;MySQL;MariaDB;PostgreSQL;Redis
type LinkEngine string

// The engines.
const (
	LinkBuiltin      LinkEngine = "Builtin"
	LinkMirrorMaker2 LinkEngine = "MirrorMaker2"
	LinkMySQL        LinkEngine = "MySQL"
	LinkMariaDB      LinkEngine = "MariaDB"
	LinkPostgreSQL   LinkEngine = "PostgreSQL"
	LinkRedis        LinkEngine = "Redis"
)

// ReplicationLinkSpec says what is replicated from where to here.
// +kubebuilder:validation:XValidation:rule="has(self.topic) != has(self.store)",message="exactly one of topic and store"
// +kubebuilder:validation:XValidation:rule="self.from != self.to",message="from and to must be different regions"
// +kubebuilder:validation:XValidation:rule="has(self.topic) == has(oldSelf.topic) && (!has(self.topic) || self.topic == oldSelf.topic) && has(self.store) == has(oldSelf.store) && (!has(self.store) || self.store == oldSelf.store) && self.from == oldSelf.from && self.to == oldSelf.to",message="of a ReplicationLink, engine alone may change"
type ReplicationLinkSpec struct {
	// topic as it is named in Kafka.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=249
	Topic string `json:"topic,omitempty"`
	// store is a DataStore's name.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Store string `json:"store,omitempty"`
	// engine that carries the data, or did last: it changes when the next one starts.
	// +required
	Engine LinkEngine `json:"engine,omitempty"`
	// from is the source region.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	From string `json:"from,omitempty"`
	// to is the region that the link runs in.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	To string `json:"to,omitempty"`
}

// LinkState sums a link up in one word.
// +kubebuilder:validation:Enum=Provisioning;Streaming;Lagging;Broken;Paused
type LinkState string

// The words.
const (
	LinkProvisioning LinkState = "Provisioning"
	LinkStreaming    LinkState = "Streaming"
	LinkLagging      LinkState = "Lagging"
	LinkBroken       LinkState = "Broken"
	LinkPaused       LinkState = "Paused"
)

// ReplicationLinkStatus is what is measured at the target.
type ReplicationLinkStatus struct {
	// observedGeneration is the generation that the conditions speak of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// state of the link.
	// +optional
	State LinkState `json:"state,omitempty"`
	// lag of the newest canary applied, in coarse steps such as "<2s", "<5m", or "unknown". The
	// exact figure is the metric multiactive_link_lag_seconds.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Lag string `json:"lag,omitempty"`
	// lastError of the engine.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	LastError string `json:"lastError,omitempty"`
	// conditions: Configured, Streaming, CaughtUp, Retained, and RowsEqual of stores' links.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ReplicationLink replicates one topic or store from one region to the region that it is in.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=rl,categories=multiactive
// +kubebuilder:printcolumn:name="Engine",type=string,JSONPath=`.spec.engine`
// +kubebuilder:printcolumn:name="From",type=string,JSONPath=`.spec.from`
// +kubebuilder:printcolumn:name="To",type=string,JSONPath=`.spec.to`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Lag",type=string,JSONPath=`.status.lag`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ReplicationLink struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec says what is replicated.
	// +required
	Spec ReplicationLinkSpec `json:"spec,omitzero"`
	// status is what is measured.
	// +optional
	Status ReplicationLinkStatus `json:"status,omitzero"`
}

// ReplicationLinkList is a list of ReplicationLinks.
// +kubebuilder:object:root=true
type ReplicationLinkList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list metadata.
	metav1.ListMeta `json:"metadata,omitempty"`
	// items of the list.
	Items []ReplicationLink `json:"items"`
}
