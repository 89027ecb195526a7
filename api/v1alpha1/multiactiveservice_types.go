package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MultiActiveServiceSpec declares a service that lives in several regions at once.
// +kubebuilder:validation:XValidation:rule="self.regions.exists(r, r.weight > 0)",message="regions: at least one weight must be above 0, or no region can own a key"
// +kubebuilder:validation:XValidation:rule="!has(self.flows) || !has(self.partition) || self.flows.all(f, !has(f.key) || self.partition.keys.exists(k, k.name == f.key))",message="flows: key must name one of partition.keys"
// +kubebuilder:validation:XValidation:rule="!has(self.flows) || has(self.partition) || self.flows.all(f, !has(f.key))",message="flows: key needs partition.keys"
// +kubebuilder:validation:XValidation:rule="!has(self.dataClasses) || self.dataClasses.all(c, !has(c.home) || !has(c.home.key) || (has(self.partition) && self.partition.keys.exists(k, k.name == c.home.key)))",message="dataClasses: home.key must name one of partition.keys"
// +kubebuilder:validation:XValidation:rule="!has(self.dataClasses) || self.dataClasses.all(c, !has(c.home) || !has(c.home.pinned) || c.home.pinned.regions.all(n, self.regions.exists(r, r.name == n)))",message="dataClasses: home.pinned.regions must be among the service's regions"
// +kubebuilder:validation:XValidation:rule="!has(self.flows) || self.flows.all(f, !has(f.reads) || f.reads.all(n, has(self.dataClasses) && self.dataClasses.exists(c, c.name == n)))",message="flows: reads must name data classes of this service"
// +kubebuilder:validation:XValidation:rule="!has(self.flows) || self.flows.all(f, !has(f.writes) || f.writes.all(n, has(self.dataClasses) && self.dataClasses.exists(c, c.name == n)))",message="flows: writes must name data classes of this service"
// +kubebuilder:validation:XValidation:rule="!has(self.announcements) || self.announcements.all(a, a.flows.all(n, n == '*' || (has(self.flows) && self.flows.exists(f, f.name == n))))",message="announcements: flows must name flows of this service, or be *"
// +kubebuilder:validation:XValidation:rule="!has(self.unmatched) || !has(self.unmatched.key) || (has(self.partition) && self.partition.keys.exists(k, k.name == self.unmatched.key))",message="unmatched.key must name one of partition.keys"
// +kubebuilder:validation:XValidation:rule="!has(self.dataClasses) || !has(self.flows) || self.dataClasses.all(c, !has(c.sync) || !c.sync.exists(s, has(s.originRead) && s.originRead.type == 'ForwardRequest') || self.flows.all(f, !has(f.servedBy) || f.servedBy != 'HomeRegion' || !has(f.reads) || !(c.name in f.reads)))",message="dataClasses: originRead.type ForwardRequest is not for classes that flows with servedBy HomeRegion read, for these are served where their key is at home: use FetchSession"
// +kubebuilder:validation:XValidation:rule="self.regions.all(r, !has(r.peerEndpoint)) || (has(self.gateway) && has(self.gateway.peerTLS))",message="regions: peerEndpoint needs gateway.peerTLS, which opens the port that it leads to"
type MultiActiveServiceSpec struct {
	// regions that the service runs in, by the names of Region objects.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Regions []ServiceRegion `json:"regions,omitempty"`

	// partition says how a request's user key is found. Needed by flows that are served in a
	// home region.
	// +optional
	Partition *Partition `json:"partition,omitempty"`

	// workload is what runs in every region.
	// +required
	Workload Workload `json:"workload,omitzero"`

	// rollout says how a change of the workload spreads over the regions.
	// +optional
	Rollout *Rollout `json:"rollout,omitempty"`

	// gateway sizes the regional gateways.
	// +optional
	Gateway *Gateway `json:"gateway,omitempty"`

	// dataClasses name the service's data, each with one sync policy.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	DataClasses []DataClass `json:"dataClasses,omitempty"`

	// flows are the operations that users see, most important first by tier.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Flows []Flow `json:"flows,omitempty"`

	// unmatched says what happens with requests that no flow matches.
	// +optional
	// +kubebuilder:default={}
	Unmatched *Unmatched `json:"unmatched,omitempty"`

	// announcements are what users are told while flows are degraded.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Announcements []Announcement `json:"announcements,omitempty"`

	// failover says who decides, and when ownership returns.
	// +optional
	// +kubebuilder:default={}
	Failover *Failover `json:"failover,omitempty"`

	// dns asks for a DNSEndpoint for ExternalDNS, in the cluster and namespace of this object and with its name: a
	// record for each region that serves, of the host of its endpoint. Needs the annotation
	// multiactive.dev/dns-hosts of the namespace.
	// +optional
	DNS *DNS `json:"dns,omitempty"`
}

// ServiceRegion is one region of a service.
type ServiceRegion struct {
	// name of a Region object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Name string `json:"name,omitempty"`
	// weight is the region's share of the users' home, relative to the others. A region of
	// weight 0 serves any-region flows and never owns a key.
	// +optional
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Weight *int32 `json:"weight,omitempty"`
	// endpoint is this service's gateway there, as users and the other gateways reach it:
	// http or https, host and port, without a path.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHost() != '' && url(self).getEscapedPath() in ['', '/']",message="must be an http or https URL with a host and without a path"
	Endpoint string `json:"endpoint,omitempty"`
	// peerEndpoint is where the other regions' gateways reach this service's gateways there by TLS that
	// nothing on the way ends: https, host and port, without a path. Port 8443 of the Service
	// <service>-gateway answers there. With it the gateways of both regions prove to each other who they
	// are, and nothing is forwarded to the region in any other way. Needs gateway.peerTLS.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() == 'https' && url(self).getHost() != '' && url(self).getEscapedPath() in ['', '/']",message="must be an https URL with a host and without a path"
	PeerEndpoint string `json:"peerEndpoint,omitempty"`
	// overrides change the workload in this region.
	// +optional
	Overrides *WorkloadOverrides `json:"overrides,omitempty"`
}

// WorkloadOverrides change a Managed workload in one region.
type WorkloadOverrides struct {
	// replicas instead of workload.replicas.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	Replicas *int32 `json:"replicas,omitempty"`
	// image instead of the first container's.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`
	// env is merged by name into the env of every container.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Env []EnvVar `json:"env,omitempty"`
}

// EnvVar is an environment variable with a plain value.
type EnvVar struct {
	// name of the variable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name,omitempty"`
	// value of the variable; $(NAME) refers to earlier ones as in a container's env.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Value *string `json:"value,omitempty"`
}

// Partition says how a request's user key is found.
type Partition struct {
	// keys by name. A key's name is used in flows and data classes.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Keys []PartitionKey `json:"keys,omitempty"`
}

// PartitionKey is a named user key, such as phone.
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a partition key is immutable: it decides every user's home. Declare another key and move the flows to it"
type PartitionKey struct {
	// name of the key, a DNS label.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
	// from lists the sources of the key. Every source that is present in a request must give the
	// same key, otherwise the request is refused with 400.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	From []KeySource `json:"from,omitempty"`
	// normalize is applied in order before the key is hashed.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	Normalize []Normalizer `json:"normalize,omitempty"`
}

// Normalizer changes a key before it is hashed, so that one user has one home.
// +kubebuilder:validation:Enum=Trim;Lowercase;DigitsOnly
type Normalizer string

// The normalizers.
const (
	// NormalizeTrim removes white space at both ends.
	NormalizeTrim Normalizer = "Trim"
	// NormalizeLowercase maps to lower case (Unicode).
	NormalizeLowercase Normalizer = "Lowercase"
	// NormalizeDigitsOnly keeps the ASCII digits alone, for phone numbers.
	NormalizeDigitsOnly Normalizer = "DigitsOnly"
)

// KeySourceType says where a key is read from.
// +kubebuilder:validation:Enum=Header;Cookie;Query;Path;JSONBody;JWTClaim;Session
type KeySourceType string

// The sources.
const (
	KeySourceHeader   KeySourceType = "Header"
	KeySourceCookie   KeySourceType = "Cookie"
	KeySourceQuery    KeySourceType = "Query"
	KeySourcePath     KeySourceType = "Path"
	KeySourceJSONBody KeySourceType = "JSONBody"
	KeySourceJWTClaim KeySourceType = "JWTClaim"
	// KeySourceSession is the slot that the gateway stamped into the session token at login, in a flow that
	// writes a data class with originRead. It counts in flows that read that class.
	KeySourceSession KeySourceType = "Session"
)

// KeySource is a union of the places to read a key from.
// +kubebuilder:validation:XValidation:rule="self.type == 'Header' ? has(self.header) : !has(self.header)",message="header is required when type is Header, and forbidden otherwise"
// +kubebuilder:validation:XValidation:rule="self.type == 'Cookie' ? has(self.cookie) : !has(self.cookie)",message="cookie is required when type is Cookie, and forbidden otherwise"
// +kubebuilder:validation:XValidation:rule="self.type == 'Query' ? has(self.query) : !has(self.query)",message="query is required when type is Query, and forbidden otherwise"
// +kubebuilder:validation:XValidation:rule="self.type == 'Path' ? has(self.path) : !has(self.path)",message="path is required when type is Path, and forbidden otherwise"
// +kubebuilder:validation:XValidation:rule="self.type == 'JSONBody' ? has(self.jsonBody) : !has(self.jsonBody)",message="jsonBody is required when type is JSONBody, and forbidden otherwise"
// +kubebuilder:validation:XValidation:rule="self.type == 'JWTClaim' ? has(self.jwtClaim) : !has(self.jwtClaim)",message="jwtClaim is required when type is JWTClaim, and forbidden otherwise"
type KeySource struct {
	// type is Header, Cookie, Query, Path, JSONBody, JWTClaim or Session.
	// +required
	Type KeySourceType `json:"type,omitempty"`
	// header names a request header.
	// +optional
	Header *NamedSource `json:"header,omitempty"`
	// cookie names a cookie.
	// +optional
	Cookie *NamedSource `json:"cookie,omitempty"`
	// query names a query parameter.
	// +optional
	Query *NamedSource `json:"query,omitempty"`
	// path names a variable of the flow's path, such as id in /v1/users/{id}.
	// +optional
	Path *NamedSource `json:"path,omitempty"`
	// jsonBody points into a JSON request body.
	// +optional
	JSONBody *JSONBodySource `json:"jsonBody,omitempty"`
	// jwtClaim names a claim of a JSON Web Token. The token is not verified: routing only.
	// +optional
	JWTClaim *JWTClaimSource `json:"jwtClaim,omitempty"`
}

// NamedSource names a header, cookie, query parameter or path variable.
type NamedSource struct {
	// name, as in the request.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9!#$%&'*+.^_|~-]+$`
	Name string `json:"name,omitempty"`
}

// JSONBodySource points into a JSON request body.
type JSONBodySource struct {
	// pointer is a JSON pointer (RFC 6901), such as /phone.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^(/([^/~]|~[01])*)+$`
	Pointer string `json:"pointer,omitempty"`
}

// JWTClaimSource names a claim.
type JWTClaimSource struct {
	// name of the claim.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Name string `json:"name,omitempty"`
	// header that carries the token. Default: Authorization, with the scheme Bearer.
	// +optional
	// +kubebuilder:default=Authorization
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Header string `json:"header,omitempty"`
}

// RolloutStrategy says in which order regions change.
// +kubebuilder:validation:Enum=RegionByRegion;AllAtOnce
type RolloutStrategy string

const (
	// RolloutRegionByRegion changes one region after the other in declared order and stops at the
	// first that does not become available.
	RolloutRegionByRegion RolloutStrategy = "RegionByRegion"
	// RolloutAllAtOnce changes all regions at the same time.
	RolloutAllAtOnce RolloutStrategy = "AllAtOnce"
)

// Rollout says how a change spreads.
type Rollout struct {
	// strategy is RegionByRegion or AllAtOnce.
	// +optional
	// +kubebuilder:default=RegionByRegion
	Strategy RolloutStrategy `json:"strategy,omitempty"`
	// pause between two regions, after the first became available. Default: 0s.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$`
	Pause *metav1.Duration `json:"pause,omitempty"`
	// progressDeadline is how long a region may take to become available before the rollout
	// stops. Default: 10m.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$`
	ProgressDeadline *metav1.Duration `json:"progressDeadline,omitempty"`
}

// Gateway sizes the regional gateways.
type Gateway struct {
	// replicas in each region.
	// +optional
	// +kubebuilder:default=2
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Replicas *int32 `json:"replicas,omitempty"`
	// resources of each gateway's container.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
	// peerTLS opens a port for the gateways of the service's other regions, over TLS with certificates on
	// both sides. They dial it where regions[].peerEndpoint says. Absent: what regions forward to each
	// other is authenticated by the service's peer key alone, and encrypted only if endpoint is https.
	// +optional
	PeerTLS *PeerTLS `json:"peerTLS,omitempty"`
}

// PeerTLS says how the gateways of a service's regions prove to each other who they are.
type PeerTLS struct {
	// secretName of a Secret in the service's namespace of every region, such as one that cert-manager
	// keeps: tls.crt and tls.key of the region's gateways, and ca.crt with the authorities of all regions'
	// certificates. A certificate must be for servers and clients, and have as its only URI
	// spiffe://multiactive.dev/region/<region>/ns/<namespace>/service/<name>. Default: every region's
	// member has an authority of its own and issues the certificates.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName,omitempty"`
	// plaintextHops says what a region with a peerEndpoint does with requests that another region's gateway
	// forwards to its endpoint. Accept is for the time in which the peerEndpoints of a running service are
	// being declared. Default: Refuse.
	// +optional
	// +kubebuilder:validation:Enum=Refuse;Accept
	PlaintextHops PlaintextHops `json:"plaintextHops,omitempty"`
}

// PlaintextHops says what happens to forwarded requests that do not come over mutual TLS.
type PlaintextHops string

// The policies.
const (
	PlaintextHopsRefuse PlaintextHops = "Refuse"
	PlaintextHopsAccept PlaintextHops = "Accept"
)

// UnmatchedPolicy says where requests that no flow matches are served.
// +kubebuilder:validation:Enum=AnyRegion;HomeRegion;Reject
type UnmatchedPolicy string

// The policies.
const (
	UnmatchedAnyRegion  UnmatchedPolicy = "AnyRegion"
	UnmatchedHomeRegion UnmatchedPolicy = "HomeRegion"
	UnmatchedReject     UnmatchedPolicy = "Reject"
)

// Unmatched says what happens with requests that no flow matches.
// +kubebuilder:validation:XValidation:rule="has(self.key) || !((has(self.safeMethods) && self.safeMethods == 'HomeRegion') || (has(self.otherMethods) && self.otherMethods == 'HomeRegion'))",message="HomeRegion needs key"
type Unmatched struct {
	// safeMethods are GET, HEAD, OPTIONS and TRACE.
	// +optional
	// +kubebuilder:default=AnyRegion
	SafeMethods UnmatchedPolicy `json:"safeMethods,omitempty"`
	// otherMethods are all others: a forgotten POST must not write everywhere.
	// +optional
	// +kubebuilder:default=Reject
	OtherMethods UnmatchedPolicy `json:"otherMethods,omitempty"`
	// key finds the home for HomeRegion.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Key string `json:"key,omitempty"`
}

// Announcement is what users of some flows are told while these are degraded.
type Announcement struct {
	// flows by name; "*" means all.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	Flows []string `json:"flows,omitempty"`
	// text by language; for callers whose languages are not there the first in their script, such as English for French, or else
	// the first.
	// +required
	// +listType=map
	// +listMapKey=language
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Text []LocalizedText `json:"text,omitempty"`
}

// LocalizedText is a text in one language.
type LocalizedText struct {
	// language is a BCP 47 tag, such as en or zh-CN.
	// +required
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=35
	// +kubebuilder:validation:Pattern=`^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$`
	Language string `json:"language,omitempty"`
	// value of the text.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Value string `json:"value,omitempty"`
}

// The values of failover.survivors.
const (
	SurvivorsKeep  = "Keep"
	SurvivorsScale = "Scale"
)

// Failover says who decides and when ownership returns.
type Failover struct {
	// mode: Automatic, or Manual: wait for an approving Operation.
	// +optional
	// +kubebuilder:default=Automatic
	// +kubebuilder:validation:Enum=Automatic;Manual
	Mode string `json:"mode,omitempty"`
	// handback: Manual, or Automatic once caught up.
	// +optional
	// +kubebuilder:default=Manual
	// +kubebuilder:validation:Enum=Automatic;Manual
	Handback string `json:"handback,omitempty"`
	// survivors: Keep their size, or Scale them up for the load of a region that is lost or drained: the
	// declared replicas times all weights, over the weights of the regions that still own its keys. A
	// region is drained once they have these replicas (Operation, capacity). Scale needs declared replicas.
	// +optional
	// +kubebuilder:default=Keep
	// +kubebuilder:validation:Enum=Keep;Scale
	Survivors string `json:"survivors,omitempty"`
}

// AnnotationDNSHosts lists, on a namespace, the hosts that services in it may have DNS records of, divided by
// commas; *.example.com stands for everything below example.com. Without it they may have none: who may declare a
// service is not who may have any name.
const AnnotationDNSHosts = "multiactive.dev/dns-hosts"

// DNS asks for a DNSEndpoint.
type DNS struct {
	// host that users resolve. The namespace's annotation multiactive.dev/dns-hosts must have it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9]*[a-z0-9])?\.)+[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Host string `json:"host,omitempty"`
	// ttl of the records, in whole seconds: what is between two is rounded up, and 0s is 1s. Default: 30s.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$`
	TTL *metav1.Duration `json:"ttl,omitempty"`
}

// MultiActiveService is a service that lives in several regions at once and survives the loss of
// one. The smallest has regions, and a Service to route to; flows and data classes are added one
// at a time.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=mas,categories=multiactive
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Core",type=string,JSONPath=`.status.conditions[?(@.type=="CoreAvailable")].status`
// +kubebuilder:printcolumn:name="Degraded",type=string,JSONPath=`.status.summary.degraded`
// +kubebuilder:printcolumn:name="Deferred",type=string,JSONPath=`.status.summary.deferred`
// +kubebuilder:printcolumn:name="Regions",type=string,JSONPath=`.status.summary.regions`
// +kubebuilder:printcolumn:name="Lag",type=string,JSONPath=`.status.summary.lag`
// +kubebuilder:printcolumn:name="Epoch",type=integer,JSONPath=`.status.summary.epoch`
// +kubebuilder:printcolumn:name="Incident",type=string,priority=1,JSONPath=`.status.lastIncident.name`
// +kubebuilder:printcolumn:name="Degraded-Flows",type=string,priority=1,JSONPath=`.status.summary.degradedFlows`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be a DNS label of at most 40 characters that begins with a letter: objects in the regions are named after it"
type MultiActiveService struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is what the service owner declares.
	// +required
	Spec MultiActiveServiceSpec `json:"spec,omitzero"`
	// status is what is observed.
	// +kubebuilder:default={conditions: {{type: "Ready", status: "Unknown", reason: "NotYetObserved", message: "the operator has not looked at it yet", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	// +optional
	Status MultiActiveServiceStatus `json:"status,omitzero"`
}

// MultiActiveServiceList is a list of MultiActiveServices.
// +kubebuilder:object:root=true
type MultiActiveServiceList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list metadata.
	metav1.ListMeta `json:"metadata,omitempty"`
	// items of the list.
	Items []MultiActiveService `json:"items"`
}
