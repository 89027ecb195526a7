package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Mutability says whether records of a class change.
// +kubebuilder:validation:Enum=CreateOnly;Mutable
type Mutability string

// The mutabilities.
const (
	CreateOnly Mutability = "CreateOnly"
	Mutable    Mutability = "Mutable"
)

// Uniqueness says whether keys of a class exist once in all regions.
// +kubebuilder:validation:Enum=Global;None
type Uniqueness string

// The uniquenesses.
const (
	UniquenessGlobal Uniqueness = "Global"
	UniquenessNone   Uniqueness = "None"
)

// Consistency says what readers in other regions may see.
// +kubebuilder:validation:Enum=Eventual;Strong
type Consistency string

// The consistencies.
const (
	ConsistencyEventual Consistency = "Eventual"
	ConsistencyStrong   Consistency = "Strong"
)

// SyncMethod is one means of synchronisation.
// +kubebuilder:validation:Enum=MessageQueue;StorageReplication;SecondRead;OriginRead;Regenerate
type SyncMethod string

// The means.
const (
	SyncMessageQueue       SyncMethod = "MessageQueue"
	SyncStorageReplication SyncMethod = "StorageReplication"
	SyncSecondRead         SyncMethod = "SecondRead"
	SyncOriginRead         SyncMethod = "OriginRead"
	SyncRegenerate         SyncMethod = "Regenerate"
)

// DataClass is data with one sync policy.
// +kubebuilder:validation:XValidation:rule="!has(self.conflict) || self.mutability == 'Mutable'",message="conflict is for Mutable classes: CreateOnly records never conflict"
type DataClass struct {
	// name of the class, a DNS label.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
	// mutability: CreateOnly records never change, Mutable ones do.
	// +optional
	// +kubebuilder:default=Mutable
	Mutability Mutability `json:"mutability,omitempty"`
	// uniqueness: Global keys exist once in all regions, such as a phone number's account.
	// +optional
	// +kubebuilder:default=None
	Uniqueness Uniqueness `json:"uniqueness,omitempty"`
	// consistency: Eventual, or Strong for data that has one home and read-only copies elsewhere.
	// +optional
	// +kubebuilder:default=Eventual
	Consistency Consistency `json:"consistency,omitempty"`
	// home of the data. Default: by the flow's key.
	// +optional
	Home *DataHome `json:"home,omitempty"`
	// recreatable data can be made again when it is lost, as a session by a login.
	// +optional
	// +kubebuilder:default=No
	Recreatable Choice `json:"recreatable,omitempty"`
	// staleness that is acceptable in other regions.
	// +optional
	Staleness *Staleness `json:"staleness,omitempty"`
	// conflict says which version stands when two regions wrote.
	// +optional
	Conflict *ConflictPolicy `json:"conflict,omitempty"`
	// sync lists the means of synchronisation in the order in which they are tried, each at most
	// once.
	// +optional
	// +listType=map
	// +listMapKey=method
	// +kubebuilder:validation:MaxItems=5
	Sync []SyncPolicy `json:"sync,omitempty"`
}

// DataHomeType says how the home of data is found.
// +kubebuilder:validation:Enum=ByKey;Pinned
type DataHomeType string

// The homes.
const (
	HomeByKey  DataHomeType = "ByKey"
	HomePinned DataHomeType = "Pinned"
)

// DataHome is a union of the ways to find the home of data.
// +kubebuilder:validation:XValidation:rule="self.type == 'ByKey' ? has(self.key) : !has(self.key)",message="key is required when type is ByKey, and forbidden otherwise"
// +kubebuilder:validation:XValidation:rule="self.type == 'Pinned' ? has(self.pinned) : !has(self.pinned)",message="pinned is required when type is Pinned, and forbidden otherwise"
type DataHome struct {
	// type is ByKey or Pinned.
	// +required
	Type DataHomeType `json:"type,omitempty"`
	// key names one of partition.keys.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Key string `json:"key,omitempty"`
	// pinned ranks the regions that may be the home, most preferred first.
	// +optional
	Pinned *PinnedHome `json:"pinned,omitempty"`
}

// PinnedHome ranks regions.
type PinnedHome struct {
	// regions, most preferred first.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=32
	Regions []string `json:"regions,omitempty"`
}

// Staleness is an objective for eventual consistency.
// +kubebuilder:validation:XValidation:rule="!has(self.outage) || !has(self.normal) || duration(self.outage) >= duration(self.normal)",message="outage must not be shorter than normal"
type Staleness struct {
	// normal is acceptable while all regions serve. Default: 5m.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$`
	Normal *metav1.Duration `json:"normal,omitempty"`
	// outage is acceptable while a region is lost. Default: 1h.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$`
	Outage *metav1.Duration `json:"outage,omitempty"`
}

// ConflictPolicyType says which version stands.
// +kubebuilder:validation:Enum=OwnerWins;LastWriterWins;Quarantine
type ConflictPolicyType string

const (
	// ConflictOwnerWins keeps the version of the higher ownership epoch; the other is quarantined.
	ConflictOwnerWins ConflictPolicyType = "OwnerWins"
	// ConflictLastWriterWins keeps the version with the later timestamp.
	ConflictLastWriterWins ConflictPolicyType = "LastWriterWins"
	// ConflictQuarantine keeps neither until a person decides.
	ConflictQuarantine ConflictPolicyType = "Quarantine"
)

// ConflictPolicy is a union of the policies.
// +kubebuilder:validation:XValidation:rule="self.policy == 'LastWriterWins' ? has(self.lastWriterWins) : !has(self.lastWriterWins)",message="lastWriterWins is required when policy is LastWriterWins, and forbidden otherwise"
type ConflictPolicy struct {
	// policy is OwnerWins, LastWriterWins or Quarantine.
	// +required
	Policy ConflictPolicyType `json:"policy,omitempty"`
	// lastWriterWins says what is compared.
	// +optional
	LastWriterWins *LastWriterWins `json:"lastWriterWins,omitempty"`
}

// LastWriterWins compares timestamps.
type LastWriterWins struct {
	// timestampColumn holds the time of the write.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	TimestampColumn string `json:"timestampColumn,omitempty"`
	// maxClockSkew between writers. Default: 1s.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$`
	MaxClockSkew *metav1.Duration `json:"maxClockSkew,omitempty"`
}

// SyncPolicy is a union of the means of synchronisation.
// +kubebuilder:validation:XValidation:rule="self.method == 'MessageQueue' ? has(self.messageQueue) : !has(self.messageQueue)",message="messageQueue is required when method is MessageQueue, and forbidden otherwise"
// +kubebuilder:validation:XValidation:rule="self.method == 'StorageReplication' ? has(self.storageReplication) : !has(self.storageReplication)",message="storageReplication is required when method is StorageReplication, and forbidden otherwise"
// +kubebuilder:validation:XValidation:rule="self.method == 'OriginRead' ? has(self.originRead) : !has(self.originRead)",message="originRead is required when method is OriginRead, and forbidden otherwise"
// +kubebuilder:validation:XValidation:rule="self.method == 'SecondRead' || !has(self.secondRead)",message="secondRead is for method SecondRead only"
type SyncPolicy struct {
	// method is MessageQueue, StorageReplication, SecondRead, OriginRead or Regenerate.
	// +required
	Method SyncMethod `json:"method,omitempty"`
	// messageQueue carries create-only records through a Kafka topic.
	// +optional
	MessageQueue *MessageQueueSync `json:"messageQueue,omitempty"`
	// storageReplication uses the replication of a DataStore.
	// +optional
	StorageReplication *StorageReplicationSync `json:"storageReplication,omitempty"`
	// secondRead asks the owner of the key, or the home of a class that is pinned, when the local application has
	// a miss, in flows with servedBy AnyRegion that read the class. The application says so with the header Multiactive-Miss: true, or 404
	// to a safe method.
	// +optional
	SecondRead *SecondReadSync `json:"secondRead,omitempty"`
	// originRead asks the region that issued a session, in flows that read the class. The gateway stamps the
	// region into the token when the application issues it, and takes the stamp off before the application
	// sees the token again. With method Regenerate too, the answer is 401 with Multiactive-Regenerate when
	// that region cannot be asked, so that the user logs in again; otherwise 503.
	// +optional
	OriginRead *OriginReadSync `json:"originRead,omitempty"`
}

// TopicAdoption says what happens with a topic that exists already.
// +kubebuilder:validation:Enum=Create;Adopt;Observe
type TopicAdoption string

const (
	// TopicCreate creates the topic and leaves one alone that somebody else made.
	TopicCreate TopicAdoption = "Create"
	// TopicAdopt takes an existing topic over.
	TopicAdopt TopicAdoption = "Adopt"
	// TopicObserve never changes the topic.
	TopicObserve TopicAdoption = "Observe"
)

// DeletionPolicy says what becomes of data when the service that declared it is deleted.
// +kubebuilder:validation:Enum=Keep;Delete
type DeletionPolicy string

const (
	// DeletionKeep leaves the data, and the record of whose it is.
	DeletionKeep DeletionPolicy = "Keep"
	// DeletionDelete deletes it for good.
	DeletionDelete DeletionPolicy = "Delete"
)

// MessageQueueSync carries records through a Kafka topic in every region, mirrored to the others.
type MessageQueueSync struct {
	// topic; in Kafka it is named <namespace>.<topic>. Immutable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=120
	// +kubebuilder:validation:Pattern=`^[a-zA-Z0-9][a-zA-Z0-9._-]*$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="topic is immutable: declare another data class"
	Topic string `json:"topic,omitempty"`
	// partitions in every region. Can only be raised.
	// +optional
	// +kubebuilder:default=12
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	Partitions int32 `json:"partitions,omitempty"`
	// replicationFactor; lowered to the number of brokers where these are fewer.
	// +optional
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=9
	ReplicationFactor int32 `json:"replicationFactor,omitempty"`
	// retention of records. Default: 168h. Must outlast the outage objective.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$`
	Retention *metav1.Duration `json:"retention,omitempty"`
	// consumerGroups that apply the records in every region; handback waits for them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=249
	ConsumerGroups []string `json:"consumerGroups,omitempty"`
	// adoption: Create, Adopt or Observe a topic that exists already.
	// +optional
	// +kubebuilder:default=Create
	Adoption TopicAdoption `json:"adoption,omitempty"`
	// deletionPolicy says what becomes of the topic when the service is deleted, or leaves a region: Delete
	// deletes it there for good, with the copies of other regions' and the record of whose it is; a topic that
	// was adopted too, one that is only observed never. Default: Keep.
	// +optional
	// +kubebuilder:default=Keep
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
	// orderBy: Key keeps a key's records in order by never changing the partition count;
	// Version lets consumers ignore older versions.
	// +optional
	// +kubebuilder:validation:Enum=Key;Version
	OrderBy string `json:"orderBy,omitempty"`
}

// StorageReplicationSync uses the replication of a DataStore.
type StorageReplicationSync struct {
	// store is a DataStore's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Store string `json:"store,omitempty"`
	// tables as schema.table; for Redis key patterns.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	Tables []string `json:"tables,omitempty"`
}

// WhenUnreachable says what a local miss becomes while the region that knows more cannot be asked.
// +kubebuilder:validation:Enum=Refuse;AnswerLocally
type WhenUnreachable string

// The choices.
const (
	WhenUnreachableRefuse        WhenUnreachable = "Refuse"
	WhenUnreachableAnswerLocally WhenUnreachable = "AnswerLocally"
)

// SecondReadSync asks the data's home after a local miss.
type SecondReadSync struct {
	// timeout until the answer to a second read begins. Default: 300ms.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$`
	Timeout *metav1.Duration `json:"timeout,omitempty"`
	// whenUnreachable: Refuse with 503, "cannot check now", or AnswerLocally: the answer of the local
	// application, with Multiactive-Stale: true.
	// +optional
	// +kubebuilder:default=Refuse
	WhenUnreachable WhenUnreachable `json:"whenUnreachable,omitempty"`
}

// OriginReadType says how a session is read from the region that issued it.
// +kubebuilder:validation:Enum=FetchSession;ForwardRequest
type OriginReadType string

// The ways.
const (
	// OriginFetchSession asks the origin's application for the session and hands it to the local one, in the
	// header Multiactive-Session.
	OriginFetchSession OriginReadType = "FetchSession"
	// OriginForwardRequest sends the whole request to the origin. Only for flows with servedBy AnyRegion: the
	// others are served where their key is at home.
	OriginForwardRequest OriginReadType = "ForwardRequest"
)

// OriginReadSync reads a session from the region that issued it.
// +kubebuilder:validation:XValidation:rule="self.type == 'FetchSession' ? has(self.fetchSession) : !has(self.fetchSession)",message="fetchSession is required when type is FetchSession, and forbidden otherwise"
type OriginReadSync struct {
	// type is FetchSession or ForwardRequest.
	// +required
	Type OriginReadType `json:"type,omitempty"`
	// fetchSession says where the origin's service hands out sessions.
	// +optional
	FetchSession *FetchSession `json:"fetchSession,omitempty"`
	// token says where the session token is. No two classes have it in the same place.
	// +required
	Token SessionToken `json:"token,omitzero"`
	// timeout of the origin read. With ForwardRequest it bounds the wait for answers to safe methods, and
	// others take as long as any forwarded request. Default: 200ms.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$`
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// FetchSession is the origin's internal address of a session.
type FetchSession struct {
	// path that answers a GET that carries the token with the session, in at most 4 KiB, or with 4xx if there
	// is none. Never reachable from outside: the gateway refuses it there.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^/[^\s?#]*$`
	Path string `json:"path,omitempty"`
}

// SessionToken says where a session token is.
// +kubebuilder:validation:XValidation:rule="has(self.cookie) != has(self.header)",message="exactly one of cookie and header"
type SessionToken struct {
	// cookie that holds the token, in requests and in Set-Cookie of answers.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Cookie string `json:"cookie,omitempty"`
	// header that holds the token, in requests and in answers, alone or after a scheme such as Bearer.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Header string `json:"header,omitempty"`
	// originClaim names the claim of a JSON Web Token that says which of the service's regions has the session. The
	// gateway then reads it, unverified: routing only, and writes nothing into tokens. Without it, tokens are stamped.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	OriginClaim string `json:"originClaim,omitempty"`
}
