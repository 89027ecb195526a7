package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// StoreEngine is the product that stores the data.
// +kubebuilder:validation:Enum=MySQL;MariaDB;PostgreSQL;Redis
type StoreEngine string

// The engines.
const (
	EngineMySQL      StoreEngine = "MySQL"
	EngineMariaDB    StoreEngine = "MariaDB"
	EnginePostgreSQL StoreEngine = "PostgreSQL"
	EngineRedis      StoreEngine = "Redis"
)

// StoreTopologyType says who replicates to whom.
// +kubebuilder:validation:Enum=Mesh;PrimaryReplica
type StoreTopologyType string

const (
	// TopologyMesh replicates from every region to every other.
	TopologyMesh StoreTopologyType = "Mesh"
	// TopologyPrimaryReplica has one writable region at a time.
	TopologyPrimaryReplica StoreTopologyType = "PrimaryReplica"
)

// StoreManagement says how much the operator does.
// +kubebuilder:validation:Enum=Managed;Observed;External
type StoreManagement string

const (
	// StoreManaged sets replication up, watches, fences and repairs it.
	StoreManaged StoreManagement = "Managed"
	// StoreObserved only watches and fences a replication that exists.
	StoreObserved StoreManagement = "Observed"
	// StoreExternal is consistent by itself across regions: no link.
	StoreExternal StoreManagement = "External"
)

// DataStoreSpec declares a database as the platform team knows it.
// +kubebuilder:validation:XValidation:rule="self.engine == 'Redis' ? self.topology.type != 'Mesh' : true",message="Redis cannot replicate as a Mesh: use topology.type PrimaryReplica, or OriginRead and Regenerate for sessions and caches"
// +kubebuilder:validation:XValidation:rule="self.management == 'Managed' ? has(self.replicationSecretRef) : true",message="replicationSecretRef is required with management Managed: a Secret, of that name in every region's operator namespace, with the username and password that the servers replicate from each other as; the operator makes the user"
// +kubebuilder:validation:XValidation:rule="!has(self.topology.primary) || self.endpoints.exists(e, e.region == self.topology.primary)",message="topology.primary must name a region of endpoints"
type DataStoreSpec struct {
	// engine is the product. Immutable.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="engine is immutable: create another DataStore"
	Engine StoreEngine `json:"engine,omitempty"`
	// topology says who replicates to whom. Immutable.
	// +required
	// +kubebuilder:validation:XValidation:rule="self.type == oldSelf.type",message="topology.type is immutable: create another DataStore"
	Topology StoreTopology `json:"topology,omitzero"`
	// management says how much the operator does.
	// +optional
	// +kubebuilder:default=Managed
	Management StoreManagement `json:"management,omitempty"`
	// manageSettings lets the operator set online what replication needs of the server.
	// +optional
	// +kubebuilder:default=No
	ManageSettings Choice `json:"manageSettings,omitempty"`
	// replicationSecretRef names a Secret, in every region's operator namespace, with the username and password
	// that the servers replicate from each other as: the same in all regions. The operator makes the user on the
	// servers, and gives it another password when the Secret has one.
	// +optional
	ReplicationSecretRef *SecretReference `json:"replicationSecretRef,omitempty"`
	// database that the operator connects to (PostgreSQL; replication is of this one). Default: postgres.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="database is immutable: create another DataStore"
	Database string `json:"database,omitempty"`
	// allowedNamespaces chooses the namespaces whose services may use the store. Default: none.
	// +optional
	AllowedNamespaces *AllowedNamespaces `json:"allowedNamespaces,omitempty"`
	// endpoints has one server per region. Their order gives the servers the numbers that they must not share, so new
	// regions are appended.
	// +required
	// +listType=map
	// +listMapKey=region
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Endpoints []StoreEndpoint `json:"endpoints,omitempty"`
}

// StoreTopology is a union of topologies.
// +kubebuilder:validation:XValidation:rule="self.type == 'PrimaryReplica' ? has(self.primary) : !has(self.primary)",message="primary is required when type is PrimaryReplica, and forbidden otherwise"
type StoreTopology struct {
	// type is Mesh or PrimaryReplica.
	// +required
	Type StoreTopologyType `json:"type,omitempty"`
	// primary is the region that is writable at first.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Primary string `json:"primary,omitempty"`
}

// StoreEndpoint is one region's server.
type StoreEndpoint struct {
	// region that the server is in.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Region string `json:"region,omitempty"`
	// address is host:port.
	// +required
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=261
	// +kubebuilder:validation:Pattern=`^[^\s/@]+:[0-9]{1,5}$`
	Address string `json:"address,omitempty"`
	// secretRef names a Secret in that region's operator namespace with username and password, and with ca.crt when
	// connections are to be encrypted and the server's certificate checked.
	// +required
	SecretRef SecretReference `json:"secretRef,omitzero"`
}

// DataStoreStatus is what is observed of a store.
type DataStoreStatus struct {
	// observedGeneration is the generation that the conditions speak of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions: Ready.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// regions as their members see them; those where no service uses the store are left out.
	// +optional
	// +listType=map
	// +listMapKey=region
	// +kubebuilder:validation:MaxItems=16
	Regions []StoreRegionStatus `json:"regions,omitempty"`
	// regionsReady is how many of the regions that use the store are ready, such as 2/3.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	RegionsReady string `json:"regionsReady,omitempty"`
}

// StoreRegionStatus is what a region's member says of its server.
type StoreRegionStatus struct {
	// region that the server is in.
	// +required
	// +kubebuilder:validation:MaxLength=32
	Region string `json:"region,omitempty"`
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
}

// DataStore is a database, or a Redis, that services share: replication links exist once per
// store and pair of regions.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=ds-ma,categories=multiactive
// +kubebuilder:printcolumn:name="Engine",type=string,JSONPath=`.spec.engine`
// +kubebuilder:printcolumn:name="Topology",type=string,JSONPath=`.spec.topology.type`
// +kubebuilder:printcolumn:name="Management",type=string,JSONPath=`.spec.management`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Regions",type=string,JSONPath=`.status.regionsReady`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type DataStore struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is what the platform team declares.
	// +required
	Spec DataStoreSpec `json:"spec,omitzero"`
	// status is what is observed.
	// +kubebuilder:default={conditions: {{type: "Ready", status: "Unknown", reason: "NotYetObserved", message: "the operator has not looked at it yet", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	// +optional
	Status DataStoreStatus `json:"status,omitzero"`
}

// DataStoreList is a list of DataStores.
// +kubebuilder:object:root=true
type DataStoreList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list metadata.
	metav1.ListMeta `json:"metadata,omitempty"`
	// items of the list.
	Items []DataStore `json:"items"`
}
