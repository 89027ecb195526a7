package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// StoreSlice is a DataStore as the region acts on it, with what the service has in it.
type StoreSlice struct {
	// name of the DataStore.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name,omitempty"`
	// storeID is the DataStore's UID.
	// +required
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:MinLength=1
	StoreID string `json:"storeID,omitempty"`
	// generation of the DataStore: services may be told of a change one after the other.
	// +required
	// +kubebuilder:validation:Minimum=1
	Generation int64 `json:"generation,omitempty"`
	// engine as declared.
	// +required
	Engine StoreEngine `json:"engine,omitempty"`
	// topology as declared.
	// +required
	Topology StoreTopology `json:"topology,omitzero"`
	// management as declared.
	// +required
	Management StoreManagement `json:"management,omitempty"`
	// manageSettings as declared.
	// +optional
	ManageSettings Choice `json:"manageSettings,omitempty"`
	// replicationSecretRef as declared.
	// +optional
	ReplicationSecretRef *SecretReference `json:"replicationSecretRef,omitempty"`
	// database as declared.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:MinLength=1
	Database string `json:"database,omitempty"`
	// endpoints of all regions of the store, in declared order.
	// +required
	// +listType=map
	// +listMapKey=region
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Endpoints []StoreEndpoint `json:"endpoints,omitempty"`
	// classes of the service that the store holds.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Classes []StoreClass `json:"classes,omitempty"`
}

// StoreClass is a data class in a store.
type StoreClass struct {
	// name of the data class.
	// +required
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name,omitempty"`
	// tables as declared.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=256
	Tables []string `json:"tables,omitempty"`
	// objective is the normal staleness objective: links lag beyond it are Lagging.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$`
	Objective *metav1.Duration `json:"objective,omitempty"`
	// outage is the staleness objective while a region is lost: what that region has not read is kept for as long.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$`
	Outage *metav1.Duration `json:"outage,omitempty"`
	// conflict says which version of a row stands when the region that was lost had changed it as well.
	// +optional
	Conflict *ConflictPolicy `json:"conflict,omitempty"`
}

// StoreStatus is a region's server of a store as its member sees it.
type StoreStatus struct {
	// name of the DataStore.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name,omitempty"`
	// ready: True, False or Unknown.
	// +required
	Ready metav1.ConditionStatus `json:"ready,omitempty"`
	// reason in one word, as conditions have it.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`
	// message for people: what is wrong, and what to do.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Message string `json:"message,omitempty"`
	// version of the server.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Version string `json:"version,omitempty"`
	// shortFor names the service's data classes whose staleness.outage is longer than this server keeps its binary log
	// (MySQL, MariaDB): after such an outage the region that was away is seeded anew.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	ShortFor []string `json:"shortFor,omitempty"`
	// late is what became of the changes that regions of the store had accepted and not shipped when they were lost
	// last, as far as this region knows.
	// +optional
	// +listType=map
	// +listMapKey=region
	// +kubebuilder:validation:MaxItems=16
	Late []LateChanges `json:"late,omitempty"`
}
