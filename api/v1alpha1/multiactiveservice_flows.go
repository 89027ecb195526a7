package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FlowTier ranks flows.
// +kubebuilder:validation:Enum=Core;NonCore
type FlowTier string

const (
	// TierCore flows must survive a region.
	TierCore FlowTier = "Core"
	// TierNonCore flows may be degraded.
	TierNonCore FlowTier = "NonCore"
)

// ServedBy says where a flow is served.
// +kubebuilder:validation:Enum=AnyRegion;HomeRegion
type ServedBy string

const (
	// ServedByAnyRegion flows are served where the request arrives.
	ServedByAnyRegion ServedBy = "AnyRegion"
	// ServedByHomeRegion flows are served where the owner of the request's key is.
	ServedByHomeRegion ServedBy = "HomeRegion"
)

// HomeLossAction says what requests meet whose key has no owner now, or one that may lack what a lost
// region had accepted.
// +kubebuilder:validation:Enum=Takeover;ReadOnly;Defer;Reject
type HomeLossAction string

const (
	// HomeLossTakeover lets the next region in the key's order serve it as soon as that owns the key,
	// though it may lack what the lost region accepted last.
	HomeLossTakeover HomeLossAction = "Takeover"
	// HomeLossReadOnly serves safe methods from the local, possibly stale copy and refuses others.
	HomeLossReadOnly HomeLossAction = "ReadOnly"
	// HomeLossDefer accepts the request now and executes it when the key has an owner that lacks
	// nothing. This version does not act on it: the request is refused.
	HomeLossDefer HomeLossAction = "Defer"
	// HomeLossReject refuses the request with the announcement.
	HomeLossReject HomeLossAction = "Reject"
)

// WhenDegraded says whether a degraded flow still serves the keys that are not affected.
// +kubebuilder:validation:Enum=Keep;Shed
type WhenDegraded string

const (
	// WhenDegradedKeep serves the keys that are not affected.
	WhenDegradedKeep WhenDegraded = "Keep"
	// WhenDegradedShed refuses everyone, to leave room for core flows.
	WhenDegradedShed WhenDegraded = "Shed"
)

// Flow is an operation that users see.
// +kubebuilder:validation:XValidation:rule="!has(self.onHomeLoss) || self.servedBy == 'HomeRegion'",message="onHomeLoss is for flows with servedBy HomeRegion: an AnyRegion flow has no home to lose"
// +kubebuilder:validation:XValidation:rule="self.tier == 'NonCore' || self.whenDegraded == 'Keep'",message="whenDegraded Shed is for NonCore flows: a core flow is what the room is made for"
type Flow struct {
	// name of the flow, a DNS label.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
	// tier: Core flows must survive a region, NonCore ones may be degraded.
	// +required
	Tier FlowTier `json:"tier,omitempty"`
	// key names one of partition.keys. Default: the home key of the classes that the flow reads
	// and writes, else the only key there is.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Key string `json:"key,omitempty"`
	// match lists the requests that belong to the flow; the most specific match of all flows wins.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Match []RequestMatch `json:"match,omitempty"`
	// reads names the data classes that the flow reads.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	Reads []string `json:"reads,omitempty"`
	// writes names the data classes that the flow writes.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	Writes []string `json:"writes,omitempty"`
	// dependsOn names flows that this one needs.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=63
	DependsOn []string `json:"dependsOn,omitempty"`
	// servedBy: AnyRegion, or HomeRegion for flows whose writes need one owner.
	// +optional
	// +kubebuilder:default=AnyRegion
	ServedBy ServedBy `json:"servedBy,omitempty"`
	// onHomeLoss says what requests meet whose home region is lost: until that is back with everything,
	// or given up for good, only Takeover flows are served by another region. Requests whose key changes
	// its owner wait for that, for two seconds by default, before they meet the same. Default: Reject.
	// +optional
	OnHomeLoss *OnHomeLoss `json:"onHomeLoss,omitempty"`
	// whenDegraded: Keep serving the keys that are not affected, or Shed the flow for everyone.
	// +optional
	// +kubebuilder:default=Keep
	WhenDegraded WhenDegraded `json:"whenDegraded,omitempty"`
}

// RequestMatch matches requests.
type RequestMatch struct {
	// host of the request, without a port. Default: all.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Host string `json:"host,omitempty"`
	// method of the request. Default: all.
	// +optional
	// +kubebuilder:validation:Enum=GET;HEAD;POST;PUT;PATCH;DELETE;OPTIONS
	Method string `json:"method,omitempty"`
	// path: exact (/v1/login), a prefix (/v1/x/), or with variables that stand for whole segments
	// (/v1/users/{id}).
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^(/([^\s?#/{}]*|\{[A-Za-z][A-Za-z0-9_]{0,62}\}))+$`
	Path string `json:"path,omitempty"`
}

// OnHomeLoss is a union of the actions.
// +kubebuilder:validation:XValidation:rule="self.action == 'Defer' ? has(self.defer) : !has(self.defer)",message="defer is required when action is Defer, and forbidden otherwise"
type OnHomeLoss struct {
	// action is Takeover, ReadOnly, Defer or Reject.
	// +required
	Action HomeLossAction `json:"action,omitempty"`
	// defer says how requests are kept and what becomes of them.
	// +optional
	Defer *DeferPolicy `json:"defer,omitempty"`
}

// DeferPolicy says how requests are kept and what becomes of them: in the Kafka of the region that accepts
// them, in the topic <namespace>._deferred.<service>, until somebody owns their key and has everything.
// Safe requests and gRPC are not kept.
type DeferPolicy struct {
	// admitPath of the local application authenticates a request and checks what can be checked. It gets the
	// request's body and headers by POST. 2xx admits the request, with who asked in the header
	// Multiactive-Subject; any other answer is the user's. The subject is given back when the request is
	// carried out: cookies and credentials are not kept.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^/[^\s?#]*$`
	AdmitPath string `json:"admitPath,omitempty"`
	// expireAfter this long a request is not executed any more. What became of it is kept for as long again.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$`
	ExpireAfter *metav1.Duration `json:"expireAfter,omitempty"`
	// idempotencyHeader carries the key that lets the application execute a request once: the client's, or
	// the deferred request's ID when the client sends none. A request may reach the application several
	// times under one key.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	IdempotencyHeader string `json:"idempotencyHeader,omitempty"`
	// notify is told the outcome, by a POST that is signed with the key notify-secret of the Secret
	// <service>-gateway in the service's namespace. Default: nobody is.
	// +optional
	Notify *NotifyTarget `json:"notify,omitempty"`
}

// NotifyTarget is told the outcome of deferred requests.
type NotifyTarget struct {
	// endpointRef names one of the Region's notifyEndpoints.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	EndpointRef string `json:"endpointRef,omitempty"`
}
