package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RegionalServiceSpec is a region's slice of a MultiActiveService: whole, self-contained, and
// written by the hub only. With it a region goes on when the hub is lost.
type RegionalServiceSpec struct {
	// region that this slice is for; a member of another region leaves it alone.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Region string `json:"region,omitempty"`
	// serviceID identifies the service in the coordination store.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	ServiceID string `json:"serviceID,omitempty"`
	// serviceCreatedAt is when the MultiActiveService was created, the same in every region: of two
	// services that claim one topic the older has it.
	// +optional
	ServiceCreatedAt metav1.Time `json:"serviceCreatedAt,omitzero"`
	// stamp orders slices: a member never goes back to a lower one of the same service. Its ballot is never
	// lowered: in peer mode a leader that was deposed and does not know it yet may still write, and what its
	// successor has written stands.
	// +required
	// +kubebuilder:validation:XValidation:rule="!has(oldSelf.ballot) || has(self.ballot) && self.ballot >= oldSelf.ballot",message="ballot must not be lowered: a later leader has written this slice"
	Stamp SliceStamp `json:"stamp,omitzero"`
	// workload to run here, overrides applied.
	// +required
	Workload WorkloadSlice `json:"workload,omitzero"`
	// gateway to run here.
	// +required
	Gateway Gateway `json:"gateway,omitzero"`
	// peers are the service's regions in declared order, this one included.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Peers []Peer `json:"peers,omitempty"`
	// ownership specs by hash: the one in force, and its successor while a change runs.
	// +required
	// +listType=map
	// +listMapKey=hash
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Ownership []OwnershipSlice `json:"ownership,omitempty"`
	// behaviours of the flows that do not concern ownership.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Behaviours []FlowBehaviour `json:"behaviours,omitempty"`
	// sessions are the data classes whose records stay in the region that issued their token.
	// +optional
	// +listType=map
	// +listMapKey=dataClass
	// +kubebuilder:validation:MaxItems=64
	Sessions []SessionSlice `json:"sessions,omitempty"`
	// unmatched says what happens with requests that no flow matches, for ownership specs that do not say
	// it themselves.
	// +optional
	Unmatched *Unmatched `json:"unmatched,omitempty"`
	// announcements of the service: those that were ordered first, the later before the earlier, then those that are declared.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Announcements []Announcement `json:"announcements,omitempty"`
	// kafka of this region; absent when the Region has none.
	// +optional
	Kafka *RegionKafka `json:"kafka,omitempty"`
	// topics to keep in this region's Kafka, and to mirror from the peers.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Topics []TopicSlice `json:"topics,omitempty"`
	// stores that the service's data classes are replicated by.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Stores []StoreSlice `json:"stores,omitempty"`
	// notifyEndpoints of the Region that the service's flows name.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	NotifyEndpoints []NotifyEndpoint `json:"notifyEndpoints,omitempty"`
}

// SliceStamp orders slices.
type SliceStamp struct {
	// ballot grows with every leader whose hub takes over (peer mode).
	// +optional
	Ballot int64 `json:"ballot,omitempty"`
	// generation of the MultiActiveService that changed this slice last; in peer mode, where every copy has
	// generations of its own, a count of the slices' changes.
	// +required
	Generation int64 `json:"generation,omitempty"`
}

// ActedStamp is the highest stamp that a region's member has acted on, and of which service: one
// that is declared anew under the same name starts from the beginning.
type ActedStamp struct {
	// serviceID that the stamp belongs to.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	ServiceID string `json:"serviceID,omitempty"`
	// stamp of the slice.
	// +required
	Stamp SliceStamp `json:"stamp,omitzero"`
}

// WorkloadSlice is what runs in this region.
type WorkloadSlice struct {
	// type is Managed, DeploymentRef or ServiceRef.
	// +required
	Type WorkloadType `json:"type,omitempty"`
	// hash of the workload as declared, before overrides: rollouts compare it.
	// +required
	// +kubebuilder:validation:MaxLength=64
	Hash string `json:"hash,omitempty"`
	// serviceAccountName that objects are written as.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// replicas here.
	// +optional
	Replicas *int32 `json:"replicas,omitempty"`
	// autoscaling has a HorizontalPodAutoscaler choose them.
	// +optional
	Autoscaling *Autoscaling `json:"autoscaling,omitempty"`
	// survivors: Scale raises the replicas, or the fewest that an autoscaler may choose, while another region of the service is lost or drained, by the
	// share of the load that it had. Default: Keep.
	// +optional
	// +kubebuilder:validation:Enum=Keep;Scale
	Survivors string `json:"survivors,omitempty"`
	// preparedFor names the regions that are about to be drained: with survivors Scale the replicas are
	// raised as though they were drained already.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=32
	PreparedFor []string `json:"preparedFor,omitempty"`
	// port of the application.
	// +optional
	Port int32 `json:"port,omitempty"`
	// template of the pods, overrides applied.
	// +optional
	Template *corev1.PodTemplateSpec `json:"template,omitempty"`
	// deploymentRef names an existing Deployment.
	// +optional
	DeploymentRef *LocalObjectReference `json:"deploymentRef,omitempty"`
	// serviceRef names an existing Service.
	// +optional
	ServiceRef *ServiceReference `json:"serviceRef,omitempty"`
	// additional workloads.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	Additional []AdditionalWorkload `json:"additional,omitempty"`
}

// Peer is one region of the service.
type Peer struct {
	// name of the region.
	// +required
	// +kubebuilder:validation:MaxLength=32
	Name string `json:"name,omitempty"`
	// displayName for people.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	DisplayName string `json:"displayName,omitempty"`
	// endpoint of the service's gateway there.
	// +required
	// +kubebuilder:validation:MaxLength=512
	Endpoint string `json:"endpoint,omitempty"`
	// peerEndpoint of the service's gateways there, for mutual TLS; absent: requests are forwarded to
	// endpoint.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	PeerEndpoint string `json:"peerEndpoint,omitempty"`
	// kafka of that region, as mirrors reach it.
	// +optional
	Kafka *RegionKafka `json:"kafka,omitempty"`
}

// OwnershipSlice is everything that maps a request to an owner, named by its hash.
type OwnershipSlice struct {
	// hash of the rest.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Hash string `json:"hash,omitempty"`
	// regions and weights, in declared order.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Regions []RegionWeight `json:"regions,omitempty"`
	// keys as declared.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Keys []PartitionKey `json:"keys,omitempty"`
	// flows as far as they concern ownership.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Flows []FlowRouting `json:"flows,omitempty"`
	// unmatched says what happens with requests that no flow matches; absent: as spec.unmatched says.
	// +optional
	Unmatched *Unmatched `json:"unmatched,omitempty"`
}

// RegionWeight is a region's share.
type RegionWeight struct {
	// name of the region.
	// +required
	// +kubebuilder:validation:MaxLength=32
	Name string `json:"name,omitempty"`
	// weight of the region.
	// +required
	Weight int32 `json:"weight"`
}

// FlowRouting is the part of a flow that concerns ownership.
type FlowRouting struct {
	// name of the flow.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`
	// key that finds the home; empty for flows without one.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Key string `json:"key,omitempty"`
	// match lists the requests of the flow.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Match []RequestMatch `json:"match,omitempty"`
	// servedBy: AnyRegion or HomeRegion.
	// +required
	ServedBy ServedBy `json:"servedBy,omitempty"`
	// pinned ranks the regions that may be the home, instead of the key's order.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=32
	Pinned []string `json:"pinned,omitempty"`
}

// FlowBehaviour is the part of a flow that does not concern ownership.
type FlowBehaviour struct {
	// name of the flow.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`
	// tier of the flow.
	// +required
	Tier FlowTier `json:"tier,omitempty"`
	// onHomeLoss as declared.
	// +optional
	OnHomeLoss *OnHomeLoss `json:"onHomeLoss,omitempty"`
	// whenDegraded as declared.
	// +optional
	WhenDegraded WhenDegraded `json:"whenDegraded,omitempty"`
	// secondRead of the data classes that the flow reads, absent when none has it: the longest timeout, and
	// AnswerLocally only if all of them allow it.
	// +optional
	SecondRead *SecondReadSync `json:"secondRead,omitempty"`
	// secondReadHomes ranks the regions that second reads ask when the data has a fixed home; empty: the flow's key
	// says whom to ask.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=32
	SecondReadHomes []string `json:"secondReadHomes,omitempty"`
	// readsSessions names those of spec.sessions that the flow reads: their tokens say where the session is.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	ReadsSessions []string `json:"readsSessions,omitempty"`
	// issuesSessions names those of spec.sessions that the flow writes: the slot of the flow's key is stamped
	// into their tokens.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	IssuesSessions []string `json:"issuesSessions,omitempty"`
}

// SessionSlice is a data class whose records stay in the region that issued their token.
type SessionSlice struct {
	// dataClass is the class's name.
	// +required
	// +kubebuilder:validation:MaxLength=63
	DataClass string `json:"dataClass,omitempty"`
	// originRead as declared, with its defaults.
	// +required
	OriginRead OriginReadSync `json:"originRead,omitzero"`
	// regenerate: the user logs in again when the origin cannot be asked. No: the request is refused.
	// +optional
	Regenerate Choice `json:"regenerate,omitempty"`
}

// TopicSlice is a topic as it should be in this region's Kafka.
type TopicSlice struct {
	// name in Kafka: <namespace>.<topic>.
	// +required
	// +kubebuilder:validation:MaxLength=249
	Name string `json:"name,omitempty"`
	// dataClass that the topic carries.
	// +required
	// +kubebuilder:validation:MaxLength=63
	DataClass string `json:"dataClass,omitempty"`
	// partitions in every region.
	// +required
	Partitions int32 `json:"partitions,omitempty"`
	// replicationFactor wanted.
	// +required
	ReplicationFactor int32 `json:"replicationFactor,omitempty"`
	// retention of records.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$`
	Retention metav1.Duration `json:"retention,omitzero"`
	// adoption of a topic that exists.
	// +required
	Adoption TopicAdoption `json:"adoption,omitempty"`
	// deletionPolicy says what becomes of the topic when this slice is deleted. Default: Keep.
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
	// orderByKey is Yes for topics whose partition count never changes.
	// +optional
	OrderByKey WorkState `json:"orderByKey,omitempty"`
	// consumerGroups that apply the records.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=249
	ConsumerGroups []string `json:"consumerGroups,omitempty"`
	// objective is the normal staleness objective: links lag beyond it are Lagging.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$`
	Objective *metav1.Duration `json:"objective,omitempty"`
}

// RegionalServiceStatus is what the region reports. The hub reads it; the member writes it.
type RegionalServiceStatus struct {
	// observedGeneration is the generation that the conditions speak of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// actedStamp is the highest stamp that was acted on; slices with a lower one are refused.
	// +optional
	ActedStamp *ActedStamp `json:"actedStamp,omitempty"`
	// conditions: WorkloadAvailable, GatewayReady, TopicsReady, StoresReady, LinksHealthy, Routed,
	// FieldsActedOn, Ready.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// workload counts the application's replicas.
	// +optional
	Workload *ReplicaStatus `json:"workload,omitempty"`
	// gateway counts the gateways' replicas.
	// +optional
	Gateway *ReplicaStatus `json:"gateway,omitempty"`
	// acceptsPeers are the regions whose gateways all gateways here take requests from over mutual TLS, and could send
	// some to: they listen, have a certificate, and know who signs those of that region.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=32
	AcceptsPeers []string `json:"acceptsPeers,omitempty"`
	// deferred requests that wait here to be carried out, by flow; flows without any are left out.
	// +optional
	// +listType=map
	// +listMapKey=flow
	// +kubebuilder:validation:MaxItems=64
	Deferred []DeferredBacklog `json:"deferred,omitempty"`
	// workloadHash that is fully rolled out here.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	WorkloadHash string `json:"workloadHash,omitempty"`
	// ownershipHash in force, as the region's member sees it.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	OwnershipHash string `json:"ownershipHash,omitempty"`
	// epoch that all ready gateways acknowledged.
	// +optional
	Epoch int64 `json:"epoch,omitempty"`
	// epochSince is when the first of the gateways acted on epoch, by the region's own clock.
	// +optional
	EpochSince *metav1.MicroTime `json:"epochSince,omitempty"`
	// lag by data class, in steps of its objective, the worst of the incoming links.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Lag []DataClassStatus `json:"lag,omitempty"`
	// dataAtRisk by link: the newest known lag of an incoming link when its source was lost.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	DataAtRisk []DataAtRisk `json:"dataAtRisk,omitempty"`
	// stores as this region's member sees its servers.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Stores []StoreStatus `json:"stores,omitempty"`
	// features that this member acts on.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	Features []string `json:"features,omitempty"`
}

// DeferredBacklog is how many requests of a flow wait in a region to be carried out. Both are steps, so that the status is
// not written for every request; the gateways' metrics have the numbers.
type DeferredBacklog struct {
	// flow by name.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Flow string `json:"flow,omitempty"`
	// requests that wait: <10, <100, <1000, <10000 or >=10000.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Requests string `json:"requests,omitempty"`
	// oldest is since when the first of them waits: <1m, <10m, <1h, <6h, <24h or >=24h.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Oldest string `json:"oldest,omitempty"`
}

// ReplicaStatus counts replicas.
type ReplicaStatus struct {
	// desired replicas.
	// +optional
	Desired int32 `json:"desired"`
	// ready replicas.
	// +optional
	Ready int32 `json:"ready"`
}

// RegionalService is a region's slice of a MultiActiveService. The hub writes its spec; the
// region's member acts on it and writes its status. People read it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=rsvc,categories=multiactive
// +kubebuilder:printcolumn:name="Region",type=string,JSONPath=`.spec.region`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Replicas",type=integer,JSONPath=`.status.workload.ready`
// +kubebuilder:printcolumn:name="Gateways",type=integer,JSONPath=`.status.gateway.ready`
// +kubebuilder:printcolumn:name="Epoch",type=integer,JSONPath=`.status.epoch`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type RegionalService struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is the slice.
	// +required
	Spec RegionalServiceSpec `json:"spec,omitzero"`
	// status is what the region reports.
	// +optional
	Status RegionalServiceStatus `json:"status,omitzero"`
}

// RegionalServiceList is a list of RegionalServices.
// +kubebuilder:object:root=true
type RegionalServiceList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list metadata.
	metav1.ListMeta `json:"metadata,omitempty"`
	// items of the list.
	Items []RegionalService `json:"items"`
}
