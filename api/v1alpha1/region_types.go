package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RegionRole says what a region is for.
// +kubebuilder:validation:Enum=Active;Witness
type RegionRole string

const (
	// RegionRoleActive regions run services.
	RegionRoleActive RegionRole = "Active"
	// RegionRoleWitness regions vote and may observe, but run no service.
	RegionRoleWitness RegionRole = "Witness"
)

// RegionSpec declares one failure domain: its cluster, its Kafka and how the other regions see
// whether it is alive.
// +kubebuilder:validation:XValidation:rule="self.role == 'Witness' || has(self.cluster)",message="cluster is required for an Active region: name the Secret with its kubeconfig"
type RegionSpec struct {
	// displayName is shown to people, such as 北京. Default: the region's name.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	DisplayName string `json:"displayName,omitempty"`

	// role is Active for regions that run services, Witness for one that only votes. It cannot be
	// changed: what runs in a region would stay there without anybody who looks after it.
	// +optional
	// +kubebuilder:default=Active
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="role cannot be changed: delete the Region and create it anew with the other role"
	Role RegionRole `json:"role,omitempty"`

	// cluster says how the hub reaches the region's Kubernetes API server. Required for Active
	// regions, also for the one that the hub itself runs in.
	// +optional
	Cluster *ClusterAccess `json:"cluster,omitempty"`

	// allowedNamespaces chooses the namespaces whose services may run here. Default: none.
	// +optional
	AllowedNamespaces *AllowedNamespaces `json:"allowedNamespaces,omitempty"`

	// kafka is the region's own Kafka, needed by services that synchronise through topics.
	// +optional
	Kafka *RegionKafka `json:"kafka,omitempty"`

	// notifyEndpoints may be named by services that have the outcome of deferred requests told. The
	// region's gateways post to them, and to no other address of a service's choice.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	NotifyEndpoints []NotifyEndpoint `json:"notifyEndpoints,omitempty"`

	// probes are run by every other region's agent: the region counts as reachable while all answer, for
	// all services. Ask what they all depend on, such as the region's edge. A service's gateway answers
	// /.multiactive/healthz/app while its application takes connections; add it for a service whose
	// outage is the region's, once the service runs there. Never ask /.multiactive/healthz: it follows
	// the agreed view, and a lost region could not return.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Probes []RegionProbe `json:"probes,omitempty"`
}

// NotifyEndpoint is an address that is told the outcome of deferred requests.
type NotifyEndpoint struct {
	// name that services refer to.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
	// url that notifications are posted to: http or https, without credentials. Redirects are not followed,
	// and link-local and metadata addresses are not dialled, whatever the host's name leads to.
	// +required
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https?://[^\s/?#@]+(/[^\s?#]*)?$`
	URL string `json:"url,omitempty"`
}

// ClusterAccess says how a cluster is reached.
type ClusterAccess struct {
	// kubeconfigSecretRef names a Secret in the operator's own namespace whose key "kubeconfig"
	// holds a kubeconfig with inline credentials. Exec plugins, auth providers and file paths
	// are refused.
	// +required
	KubeconfigSecretRef SecretReference `json:"kubeconfigSecretRef,omitzero"`
}

// KafkaManagementType says how topics are managed.
// +kubebuilder:validation:Enum=Admin;Strimzi
type KafkaManagementType string

const (
	// KafkaManagementAdmin speaks the Kafka admin protocol.
	KafkaManagementAdmin KafkaManagementType = "Admin"
	// KafkaManagementStrimzi writes Strimzi's objects.
	KafkaManagementStrimzi KafkaManagementType = "Strimzi"
)

// RegionKafka is a region's Kafka.
type RegionKafka struct {
	// bootstrapServers are host:port addresses as reached from inside the region, and from the
	// other regions' mirrors.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=261
	BootstrapServers []string `json:"bootstrapServers,omitempty"`

	// auth holds the credentials. Default: none (plaintext).
	// +optional
	Auth *KafkaAuth `json:"auth,omitempty"`

	// management says how topics are created. Default: the admin protocol.
	// +optional
	Management *KafkaManagement `json:"management,omitempty"`

	// mirrors says what carries the topics of other regions into this Kafka. Default: Builtin.
	// +optional
	Mirrors *KafkaMirrors `json:"mirrors,omitempty"`
}

// MirrorEngine is what carries topics from one region's Kafka into another's.
// +kubebuilder:validation:Enum=Builtin;MirrorMaker2
type MirrorEngine string

const (
	// MirrorBuiltin is the operator's own mirror: small, needs no other image, and marks every record with where
	// it is from.
	MirrorBuiltin MirrorEngine = "Builtin"
	// MirrorMirrorMaker2 is Kafka's own MirrorMaker: with management Admin a Deployment of the image that the
	// operator is told (--mirrormaker-image), with Strimzi a KafkaMirrorMaker2.
	MirrorMirrorMaker2 MirrorEngine = "MirrorMaker2"
)

// MirrorDelivery says what happens with records when a mirror is stopped in the middle.
// +kubebuilder:validation:Enum=ExactlyOnce;AtLeastOnce
type MirrorDelivery string

const (
	// DeliveryExactlyOnce writes records and how far the mirror has come in one transaction. Consumers of the
	// copies must read with isolation.level=read_committed, or they see what was aborted too.
	DeliveryExactlyOnce MirrorDelivery = "ExactlyOnce"
	// DeliveryAtLeastOnce may repeat records, a second's worth.
	DeliveryAtLeastOnce MirrorDelivery = "AtLeastOnce"
)

// KafkaMirrors says what carries the topics of other regions into a Kafka.
// +kubebuilder:validation:XValidation:rule="!has(self.delivery) || self.delivery == 'AtLeastOnce' || (has(self.engine) && self.engine == 'MirrorMaker2')",message="delivery ExactlyOnce needs engine MirrorMaker2: the built-in mirror delivers at least once"
type KafkaMirrors struct {
	// engine is Builtin or MirrorMaker2. A change stops the one, hands the other how far it has come, and starts
	// that: nothing is lost, and nothing is repeated but what the first had not stored.
	// +optional
	// +kubebuilder:default=Builtin
	Engine MirrorEngine `json:"engine,omitempty"`
	// delivery of MirrorMaker2. Default: ExactlyOnce. Builtin delivers at least once.
	// +optional
	Delivery MirrorDelivery `json:"delivery,omitempty"`
}

// KafkaAuth names the credentials of a Kafka.
type KafkaAuth struct {
	// secretRef names a Secret in the operator's namespace of the region's cluster with the keys
	// mechanism (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512), username, password and, for TLS, ca.crt.
	// +required
	SecretRef SecretReference `json:"secretRef,omitzero"`
}

// KafkaManagement is a union of the ways to manage topics.
// +kubebuilder:validation:XValidation:rule="self.type == 'Strimzi' ? has(self.strimzi) : !has(self.strimzi)",message="strimzi is required when type is Strimzi, and forbidden otherwise"
type KafkaManagement struct {
	// type is Admin or Strimzi.
	// +required
	Type KafkaManagementType `json:"type,omitempty"`
	// strimzi names the Kafka object whose topics are managed.
	// +optional
	Strimzi *StrimziKafka `json:"strimzi,omitempty"`
}

// StrimziKafka names a Strimzi Kafka object.
type StrimziKafka struct {
	// namespace of the Kafka object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
	// cluster is the Kafka object's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Cluster string `json:"cluster,omitempty"`
}

// RegionProbe is one address that tells whether the region is alive.
type RegionProbe struct {
	// name of the probe, a DNS label.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
	// http is asked with GET; an answer below 500 counts. Redirects are not followed.
	// +required
	HTTP HTTPProbe `json:"http,omitzero"`
}

// HTTPProbe is an HTTP address.
type HTTPProbe struct {
	// url is http or https with a host and no user information.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHost() != ''",message="must be an http or https URL with a host"
	URL string `json:"url,omitempty"`
	// caBundle verifies an https address (PEM). Default: the system's roots.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle []byte `json:"caBundle,omitempty"`
}

// RegionPhase sums a region up in one word. Programs use the conditions.
// +kubebuilder:validation:Enum=Unknown;Up;Suspect;Down;Returning;Drained
type RegionPhase string

// The words.
const (
	RegionUnknown   RegionPhase = "Unknown"
	RegionUp        RegionPhase = "Up"
	RegionSuspect   RegionPhase = "Suspect"
	RegionDown      RegionPhase = "Down"
	RegionReturning RegionPhase = "Returning"
	RegionDrained   RegionPhase = "Drained"
)

// RegionStatus is what the hub and the agreed view say of the region.
type RegionStatus struct {
	// observedGeneration is the generation that the conditions speak of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions: ClusterReachable, Serving, LeaseHeld, Ready, and in peer mode SpecInSync.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// state sums the conditions up for people: Unknown, Up, Suspect, Down, Returning or Drained.
	// +optional
	State RegionPhase `json:"state,omitempty"`
	// stateSince is when state last changed.
	// +optional
	StateSince *metav1.Time `json:"stateSince,omitempty"`
	// observersSummary is how many of the other regions' agents reach this one, such as 2/2.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	ObserversSummary string `json:"observersSummary,omitempty"`
	// lastOutage is the newest incident of this region.
	// +optional
	LastOutage *RegionOutage `json:"lastOutage,omitempty"`
	// coordination tells how the region takes part in the coordination store.
	// +optional
	Coordination *RegionCoordination `json:"coordination,omitempty"`
}

// RegionOutage points at an incident.
type RegionOutage struct {
	// incident is the RegionIncident's name.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Incident string `json:"incident,omitempty"`
	// startedAt is when it was suspected.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
	// endedAt is when the region served again; absent while it goes on.
	// +optional
	EndedAt *metav1.Time `json:"endedAt,omitempty"`
}

// RegionCoordination is the region's part in the coordination store.
type RegionCoordination struct {
	// agent is Active while the region's agent beats, Silent when it does not, Never before its
	// first beat.
	// +optional
	// +kubebuilder:validation:Enum=Active;Silent;Never
	Agent string `json:"agent,omitempty"`
	// leads is Yes while the region's agent decides for all regions which are lost and who owns what.
	// +optional
	Leads Choice `json:"leads,omitempty"`
	// epoch of the view that the hub has seen.
	// +optional
	Epoch int64 `json:"epoch,omitempty"`
}

// Region is one failure domain: a city's data centre with its own cluster, Kafka and stores. Its
// name is the region's identity everywhere and cannot change.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=rg,categories=multiactive
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Serving",type=string,JSONPath=`.status.conditions[?(@.type=="Serving")].status`
// +kubebuilder:printcolumn:name="Observers",type=string,JSONPath=`.status.observersSummary`
// +kubebuilder:printcolumn:name="Since",type=date,JSONPath=`.status.stateSince`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$')",message="metadata.name must be a DNS label of at most 32 characters that begins with a letter: it is the region's alias in topics, hosts and metrics"
type Region struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is what the platform team declares.
	// +required
	Spec RegionSpec `json:"spec,omitzero"`
	// status is what is observed.
	// +kubebuilder:default={conditions: {{type: "Ready", status: "Unknown", reason: "NotYetObserved", message: "the operator has not looked at it yet", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	// +optional
	Status RegionStatus `json:"status,omitzero"`
}

// RegionList is a list of Regions.
// +kubebuilder:object:root=true
type RegionList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list metadata.
	metav1.ListMeta `json:"metadata,omitempty"`
	// items of the list.
	Items []Region `json:"items"`
}
