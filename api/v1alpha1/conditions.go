package v1alpha1

// Condition types. Every type that an object owns is always present in its status; Unknown with
// reason NotYetObserved until it was read for the first time.
const (
	// ConditionReady is True when everything is as declared.
	ConditionReady = "Ready"

	// ConditionClusterReachable is True while the hub reaches the region's API server.
	ConditionClusterReachable = "ClusterReachable"
	// ConditionServing is True while the agreed view says that the region serves.
	ConditionServing = "Serving"
	// ConditionLeaseHeld is True while the region's gate is open and its agent beats.
	ConditionLeaseHeld = "LeaseHeld"

	// ConditionCoreAvailable is True while every core flow can be served for every key.
	ConditionCoreAvailable = "CoreAvailable"
	// ConditionDegraded is True (which is bad) while some flow is degraded; the message names them.
	ConditionDegraded = "Degraded"
	// ConditionWorkloadsAvailable is True while every region's workload is available.
	ConditionWorkloadsAvailable = "WorkloadsAvailable"
	// ConditionTopicsReady is True while every topic is as declared in every region.
	ConditionTopicsReady = "TopicsReady"
	// ConditionStoresReady is True while every store that the service names is ready in every region of it.
	ConditionStoresReady = "StoresReady"
	// ConditionReplicationHealthy is True while every link is within its objective.
	ConditionReplicationHealthy = "ReplicationHealthy"
	// ConditionRoutingReady is True while every region's gateways act on the current epoch.
	ConditionRoutingReady = "RoutingReady"
	// ConditionRegionsHealthy is True while every region of the service serves.
	ConditionRegionsHealthy = "RegionsHealthy"
	// ConditionDesignSound is the verdict of design lint.
	ConditionDesignSound = "DesignSound"
	// ConditionSpecInSync is True while the copies in the regions agree (peer mode).
	ConditionSpecInSync = "SpecInSync"
	// ConditionPeersAuthenticated is True when the gateways of the service's regions prove to each other by
	// certificates who they are. It does not count for Ready.
	ConditionPeersAuthenticated = "PeersAuthenticated"
	// ConditionDNSReady is True while the DNSEndpoint of a service that declares dns leads to the regions that
	// serve. It does not count for Ready.
	ConditionDNSReady = "DNSReady"
	// ConditionFieldsActedOn is False while the declaration has fields that this version does not
	// act on; the message names them.
	ConditionFieldsActedOn = "FieldsActedOn"

	// ConditionWorkloadAvailable is True while the region's workload is available.
	ConditionWorkloadAvailable = "WorkloadAvailable"
	// ConditionGatewayReady is True while the region's gateways are available.
	ConditionGatewayReady = "GatewayReady"
	// ConditionLinksHealthy is True while the region's incoming links are within their objectives.
	ConditionLinksHealthy = "LinksHealthy"
	// ConditionRouted is True while the region's gateways act on the current epoch.
	ConditionRouted = "Routed"

	// ConditionConfigured is True when a link is set up.
	ConditionConfigured = "Configured"
	// ConditionStreaming is True while a link carries data.
	ConditionStreaming = "Streaming"
	// ConditionCaughtUp is True while a link's lag is within its objective.
	ConditionCaughtUp = "CaughtUp"
	// ConditionRetained is True while records that have not arrived through a link are kept at its source.
	ConditionRetained = "Retained"
	// ConditionRowsEqual is True when the rows of a region that came back were found to be those of a link's source.
	ConditionRowsEqual = "RowsEqual"

	// ConditionResolved is True when an incident is closed.
	ConditionResolved = "Resolved"
	// ConditionComplete is True when an operation has ended.
	ConditionComplete = "Complete"
)

// Reasons of conditions and events. They never change meaning.
const (
	// ReasonNotYetObserved: nothing was read yet.
	ReasonNotYetObserved = "NotYetObserved"
	// ReasonAsDeclared: everything is as declared.
	ReasonAsDeclared = "AsDeclared"
	// ReasonProgressing: on its way; no action needed.
	ReasonProgressing = "Progressing"
	// ReasonDeleting: the object is being deleted.
	ReasonDeleting = "Deleting"
	// ReasonNotSupportedYet: declared fields that this version does not act on.
	ReasonNotSupportedYet = "NotSupportedYet"
	// ReasonNotChecked: this version does not check it.
	ReasonNotChecked = "NotChecked"
	// ReasonSingleCopy: there is one copy only, so it agrees with itself.
	ReasonSingleCopy = "SingleCopy"
	// ReasonCopiesAgree: every region has the same declaration (peer mode).
	ReasonCopiesAgree = "CopiesAgree"
	// ReasonCopiesDiffer: some region has another declaration than the majority, which is acted on (peer
	// mode).
	ReasonCopiesDiffer = "CopiesDiffer"
	// ReasonCopiesUnread: some region's copy cannot be read; the others are a majority and agree (peer mode).
	ReasonCopiesUnread = "CopiesUnread"
	// ReasonNoMajority: no majority of the regions has the same declaration, so nothing is changed (peer
	// mode).
	ReasonNoMajority = "NoMajority"

	// ReasonConnected: the cluster answers.
	ReasonConnected = "Connected"
	// ReasonSecretNotFound: the kubeconfig Secret does not exist.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonKubeconfigInvalid: the kubeconfig is missing, malformed or of a refused kind.
	ReasonKubeconfigInvalid = "KubeconfigInvalid"
	// ReasonClusterUnreachable: the API server does not answer.
	ReasonClusterUnreachable = "ClusterUnreachable"
	// ReasonUnauthorized: the API server refuses the credentials.
	ReasonUnauthorized = "Unauthorized"
	// ReasonCRDsMissing: the cluster lacks the resources of multiactive.dev.
	ReasonCRDsMissing = "CRDsMissing"
	// ReasonNoCluster: the region has no cluster (a witness).
	ReasonNoCluster = "NoCluster"

	// ReasonRegionServing: the view says Serving.
	ReasonRegionServing = "RegionServing"
	// ReasonRegionSuspect: the view says Serving, with evidence against it.
	ReasonRegionSuspect = "RegionSuspect"
	// ReasonRegionLost: the view says Lost.
	ReasonRegionLost = "RegionLost"
	// ReasonRegionReturning: the view says Returning.
	ReasonRegionReturning = "RegionReturning"
	// ReasonRegionInDrill: the region was emptied for a drill, and comes back by itself.
	ReasonRegionInDrill = "RegionInDrill"
	// ReasonRegionDrained: the view says Drained.
	ReasonRegionDrained = "RegionDrained"
	// ReasonRegionUnknown: no such Region, or it is not in the view.
	ReasonRegionUnknown = "RegionUnknown"
	// ReasonNamespaceNotAllowed: a Region does not allow the service's namespace.
	ReasonNamespaceNotAllowed = "NamespaceNotAllowed"
	// ReasonAgentBeating: the region's agent beats.
	ReasonAgentBeating = "AgentBeating"
	// ReasonAgentSilent: the region's agent does not beat.
	ReasonAgentSilent = "AgentSilent"
	// ReasonAgentNeverSeen: the region's agent has never beaten.
	ReasonAgentNeverSeen = "AgentNeverSeen"
	// ReasonAgentContested: a second process says that it is the region's agent, and waits.
	ReasonAgentContested = "AgentContested"
	// ReasonHubContested: something else, such as a second hub, proposes another region of this name.
	ReasonHubContested = "HubContested"
	// ReasonStoreUnreachable: the coordination store does not answer.
	ReasonStoreUnreachable = "StoreUnreachable"

	// ReasonAllFlowsAvailable: every flow is served as declared.
	ReasonAllFlowsAvailable = "AllFlowsAvailable"
	// ReasonHomeRegionLost: the home of some keys is lost.
	ReasonHomeRegionLost = "HomeRegionLost"
	// ReasonNoServingRegion: no region serves.
	ReasonNoServingRegion = "NoServingRegion"

	// ReasonRolloutStopped: a region did not become available in time.
	ReasonRolloutStopped = "RolloutStopped"
	// ReasonRolloutFrozen: an incident is open.
	ReasonRolloutFrozen = "RolloutFrozen"
	// ReasonNamespaceMissing: the region's cluster lacks the service's namespace.
	ReasonNamespaceMissing = "NamespaceMissing"
	// ReasonForbidden: the named service account may not write the object.
	ReasonForbidden = "Forbidden"
	// ReasonStaleSlice: the slice is older than the one that the region acts on.
	ReasonStaleSlice = "StaleSlice"
	// ReasonNotOurs: an object of this name exists and was not made by the operator.
	ReasonNotOurs = "NotOurs"
	// ReasonInvalidObject: the API server refuses the object.
	ReasonInvalidObject = "InvalidObject"
	// ReasonNotFound: a referenced object does not exist.
	ReasonNotFound = "NotFound"
	// ReasonImagePull: an image cannot be pulled.
	ReasonImagePull = "ImagePullFailed"
	// ReasonCrashLoop: a container crashes again and again.
	ReasonCrashLoop = "CrashLoop"
	// ReasonReplicasUnavailable: fewer replicas are ready than wanted, and it is not a first rollout that
	// goes its way.
	ReasonReplicasUnavailable = "ReplicasUnavailable"
	// ReasonSurvivorsScaling: regions are being scaled up for the load of another, and do not have all of
	// their replicas yet.
	ReasonSurvivorsScaling = "SurvivorsScaling"

	// ReasonNotScaling: the HorizontalPodAutoscaler of the workload does not scale it.
	ReasonNotScaling = "NotScaling"

	// ReasonNoTopics: the service declares none.
	ReasonNoTopics = "NoTopics"
	// ReasonNoKafka: a topic is declared and the Region has no kafka.
	ReasonNoKafka = "NoKafka"
	// ReasonBrokersUnreachable: no broker answers.
	ReasonBrokersUnreachable = "BrokersUnreachable"
	// ReasonKafkaUnauthorized: Kafka refuses the credentials, or its certificate is not trusted.
	ReasonKafkaUnauthorized = "KafkaUnauthorized"
	// ReasonTopicConflict: another service has claimed the topic, or two data classes name it.
	ReasonTopicConflict = "TopicConflict"
	// ReasonTopicNotOurs: the topic exists and adoption is Create.
	ReasonTopicNotOurs = "TopicNotOurs"
	// ReasonRetentionShort: a topic keeps records for less than its class's objective while a region is lost.
	ReasonRetentionShort = "RetentionShort"
	// ReasonTopicNameRefused: the name begins with a region's name and a dot, or with the operator's own.
	ReasonTopicNameRefused = "TopicNameRefused"
	// ReasonPartitionsLowered: partitions can only be raised.
	ReasonPartitionsLowered = "PartitionsLowered"
	// ReasonReplicationFactorLowered: fewer brokers than the wanted factor.
	ReasonReplicationFactorLowered = "ReplicationFactorLowered"
	// ReasonTopicDrifted: the topic differs from the declaration and is not changed.
	ReasonTopicDrifted = "TopicDrifted"
	// ReasonTopicRepaired: a drift was repaired.
	ReasonTopicRepaired = "TopicRepaired"
	// ReasonStrimziMissing: the cluster lacks Strimzi's resources, in the version that is written.
	ReasonStrimziMissing = "StrimziMissing"
	// ReasonStrimziRefused: Strimzi does not carry out what was written; the message is its own.
	ReasonStrimziRefused = "StrimziRefused"

	// ReasonNoStores: the service declares none.
	ReasonNoStores = "NoStores"
	// ReasonStoreUnknown: there is no DataStore of that name.
	ReasonStoreUnknown = "StoreUnknown"
	// ReasonStoreNotAllowed: the DataStore does not allow the service's namespace.
	ReasonStoreNotAllowed = "StoreNotAllowed"
	// ReasonStoreWithoutEndpoint: the DataStore has no server in a region of the service.
	ReasonStoreWithoutEndpoint = "StoreWithoutEndpoint"
	// ReasonStoreConflict: the DataStore has one writable region, and another service uses it already.
	ReasonStoreConflict = "StoreConflict"
	// ReasonServerUnreachable: the region's server does not answer.
	ReasonServerUnreachable = "ServerUnreachable"
	// ReasonServerUnauthorized: the region's server refuses the credentials, or its certificate is not trusted.
	ReasonServerUnauthorized = "ServerUnauthorized"
	// ReasonPrivilegesMissing: the operator's user may not do what it must.
	ReasonPrivilegesMissing = "PrivilegesMissing"
	// ReasonPreconditions: the server is not set up as replication needs it.
	ReasonPreconditions = "Preconditions"
	// ReasonBootstrapRequired: the server lacks what its source does not have any more, and must be seeded.
	ReasonBootstrapRequired = "BootstrapRequired"
	// ReasonEngineFault: the engine says that a link has failed.
	ReasonEngineFault = "EngineFault"
	// ReasonConflictingRows: a change that arrived does not fit what is there.
	ReasonConflictingRows = "ConflictingRows"
	// ReasonLateChanges: what a region had accepted and not shipped before it was lost is being settled.
	ReasonLateChanges = "LateChanges"
	// ReasonErrantTransactions: a server has transactions that no other has, for its region was lost.
	ReasonErrantTransactions = "ErrantTransactions"
	// ReasonComparing: rows are being compared with those of another region.
	ReasonComparing = "Comparing"
	// ReasonRowsEqual: rows were compared with those of another region, and are the same.
	ReasonRowsEqual = "RowsEqual"
	// ReasonRowsDiffer: rows were compared with those of another region, and some differ.
	ReasonRowsDiffer = "RowsDiffer"
	// ReasonNotCompared: rows could not be compared with those of another region.
	ReasonNotCompared = "NotCompared"
	// ReasonExternal: the store is consistent by itself; the operator leaves it alone.
	ReasonExternal = "External"
	// ReasonNotUsed: no service uses the store, so no region looks at it.
	ReasonNotUsed = "NotUsed"

	// ReasonNoLinks: nothing is replicated.
	ReasonNoLinks = "NoLinks"
	// ReasonStreaming: canaries arrive.
	ReasonStreaming = "Streaming"
	// ReasonLagging: canaries arrive later than the objective.
	ReasonLagging = "Lagging"
	// ReasonSourceLost: the source region is lost.
	ReasonSourceLost = "SourceLost"
	// ReasonEngineUnavailable: what is to carry the data cannot be run; what did before goes on.
	ReasonEngineUnavailable = "EngineUnavailable"
	// ReasonPaused: somebody has paused the link.
	ReasonPaused = "Paused"
	// ReasonResyncForecast: much of the retention has passed since the newest record that has arrived.
	ReasonResyncForecast = "ResyncForecast"
	// ReasonResyncRequired: records were deleted at the source before they could arrive.
	ReasonResyncRequired = "ResyncRequired"
	// ReasonRecordsLost: the mirror found that records are gone which it had not copied.
	ReasonRecordsLost = "RecordsLost"
	// ReasonNotDeclared: nothing is declared to compare with.
	ReasonNotDeclared = "NotDeclared"
	// ReasonLagUnknown: no canary has arrived.
	ReasonLagUnknown = "LagUnknown"

	// ReasonDesignSound: no rule of design lint has anything to say, or only what was accepted.
	ReasonDesignSound = "DesignSound"
	// ReasonDesignWarnings: rules of design lint warn; the message names their codes.
	ReasonDesignWarnings = "DesignWarnings"
	// ReasonDesignErrors: rules of design lint find what loses data, or the service, in an outage.
	ReasonDesignErrors = "DesignErrors"
	// ReasonFlowWithoutHome: a flow is served in its home region and nothing leads to one.
	ReasonFlowWithoutHome = "FlowWithoutHome"
	// ReasonKeyNeverFound: requests of a flow that is served in its home region can never have their
	// partition key.
	ReasonKeyNeverFound = "KeyNeverFound"
	// ReasonKeySourceUnused: a source of a partition key occurs in no request of the flows that use it.
	ReasonKeySourceUnused = "KeySourceUnused"
	// ReasonGatewaysBehind: some gateway has not acted on the current epoch.
	ReasonGatewaysBehind = "GatewaysBehind"
	// ReasonGatewaysRefuse: some gateway cannot use the routing that it was given.
	ReasonGatewaysRefuse = "GatewaysRefuse"
	// ReasonMutualTLS: regions forward requests to each other over mutual TLS alone.
	ReasonMutualTLS = "MutualTLS"
	// ReasonPlaintextHops: some region is forwarded requests to, or takes them, in another way.
	ReasonPlaintextHops = "PlaintextHops"
	// ReasonNoDNS: the service declares no dns.
	ReasonNoDNS = "NoDNS"
	// ReasonExternalDNSMissing: the cluster lacks ExternalDNS's resource DNSEndpoint.
	ReasonExternalDNSMissing = "ExternalDNSMissing"
	// ReasonHostNotAllowed: the service's namespace may not have records of the host.
	ReasonHostNotAllowed = "HostNotAllowed"
	// ReasonHostTaken: an older service has the records of the host.
	ReasonHostTaken = "HostTaken"
	// ReasonTargetsUnfit: the regions' endpoints cannot be records of one name.
	ReasonTargetsUnfit = "TargetsUnfit"
	// ReasonEndpointUnwritten: the DNSEndpoint cannot be read or written; the message says what the API server answers.
	ReasonEndpointUnwritten = "EndpointUnwritten"
	// ReasonNoPeers: the service is in one region.
	ReasonNoPeers = "NoPeers"
	// ReasonPeerCertificates: the member cannot keep the certificates that the gateways show each other.
	ReasonPeerCertificates = "PeerCertificates"
	// ReasonOwnershipChangePending: the declared ownership differs from the one in force.
	ReasonOwnershipChangePending = "OwnershipChangePending"
	// ReasonOwnershipChangeBlocked: the declared ownership cannot be put in force before something else
	// happens, such as the return of a lost region; the message names it.
	ReasonOwnershipChangeBlocked = "OwnershipChangeBlocked"
	// ReasonRegionUnreachable: a region cannot be reached by the hub.
	ReasonRegionUnreachable = "RegionUnreachable"

	// ReasonIncidentOpen: the outage goes on.
	ReasonIncidentOpen = "IncidentOpen"
	// ReasonIncidentClosed: the region serves again.
	ReasonIncidentClosed = "IncidentClosed"
	// ReasonHandbackAwaited: the region is back, and owns the keys of some services only after a person
	// has ordered it.
	ReasonHandbackAwaited = "HandbackAwaited"
	// ReasonFailoverAwaited: nobody takes over the keys of a lost region before a person has approved it.
	ReasonFailoverAwaited = "FailoverAwaited"

	// ReasonOrderPending: nobody has taken the order up.
	ReasonOrderPending = "OrderPending"
	// ReasonOrderRunning: the order is being carried out, or waits for what the message names.
	ReasonOrderRunning = "OrderRunning"
	// ReasonOrderSucceeded: the order is done.
	ReasonOrderSucceeded = "OrderSucceeded"
	// ReasonOrderFailed: the order was given up.
	ReasonOrderFailed = "OrderFailed"
	// ReasonAnnounced: every region that the order names has the text, until its time is up.
	ReasonAnnounced = "Announced"
	// ReasonDrillAborted: the drill ended before its time; status.drill says why.
	ReasonDrillAborted = "DrillAborted"
	// ReasonOrderRefused: the order does not fit how the regions stand; nothing was done.
	ReasonOrderRefused = "OrderRefused"
	// ReasonOrderInvalid: the order names something that is not there; nothing was done.
	ReasonOrderInvalid = "OrderInvalid"
	// ReasonCapacityAwaited: the order waits until who is to own more keys has the replicas for them.
	ReasonCapacityAwaited = "CapacityAwaited"
	// ReasonCapacityLacking: it was given up because they did not get them in time; no owner has changed.
	ReasonCapacityLacking = "CapacityLacking"
	// ReasonFalseAlarm: the region answered again before it was declared lost.
	ReasonFalseAlarm = "FalseAlarm"
)
