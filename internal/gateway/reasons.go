package gateway

import "net/http"

// Reason says why the gateway refused a request or could not get an answer. Reasons are stable:
// clients and dashboards may rely on them. A problem document's type is TypePrefix + reason.
type Reason string

// TypePrefix of the type member of problem documents.
const TypePrefix = "https://multiactive.dev/problems/"

// Reasons about the request: it will be refused again unless it changes.
const (
	// ReasonUnmatched: no flow matches, and the service refuses such requests.
	ReasonUnmatched Reason = "unmatched"
	// ReasonMissingKey: a home flow's request has no partition key.
	ReasonMissingKey Reason = "missing-key"
	// ReasonInvalidKey: the key is empty, too long, or has characters that are refused.
	ReasonInvalidKey Reason = "invalid-key"
	// ReasonConflictingKeys: two sources of the key differ.
	ReasonConflictingKeys Reason = "conflicting-keys"
	// ReasonMalformedBody: the body that holds the key is no JSON, or has no scalar there.
	ReasonMalformedBody Reason = "malformed-body"
	// ReasonUnsupportedEncoding: the body that holds the key is compressed.
	ReasonUnsupportedEncoding Reason = "unsupported-encoding"
	// ReasonBodyTooLarge: the body is longer than this gateway takes, or reads for a key.
	ReasonBodyTooLarge Reason = "body-too-large"
	// ReasonURITooLong: the request's path and query are longer than this gateway takes a header.
	ReasonURITooLong Reason = "uri-too-long"
	// ReasonHeaderTooLarge: the request's line and header are longer than this gateway takes.
	ReasonHeaderTooLarge Reason = "header-too-large"
	// ReasonAmbiguousPath: applications could read the path as another flow's.
	ReasonAmbiguousPath Reason = "ambiguous-path"
	// ReasonAmbiguousMethod: applications could take the request for one of another method.
	ReasonAmbiguousMethod Reason = "ambiguous-method"
	// ReasonInvalidHost: the host is no name or address with a port.
	ReasonInvalidHost Reason = "invalid-host"
	// ReasonBodyTimeout: the client does not send its body, or far too slowly.
	ReasonBodyTimeout Reason = "body-timeout"
	// ReasonInvalidIdempotencyKey: the idempotency key is too long.
	ReasonInvalidIdempotencyKey Reason = "invalid-idempotency-key"
	// ReasonIdempotencyKeyReused: another request was deferred under the same idempotency key.
	ReasonIdempotencyKeyReused Reason = "idempotency-key-reused"
	// ReasonHopRefused: the request claims to come from a peer and does not prove it.
	ReasonHopRefused Reason = "hop-not-authenticated"
	// ReasonMethodNotAllowed: the method cannot be used here.
	ReasonMethodNotAllowed Reason = "method-not-allowed"
	// ReasonInvalidSession: the session token has a stamp that no gateway of this service made for it.
	ReasonInvalidSession Reason = "invalid-session"
	// ReasonNotFound: the gateway has no such page of its own.
	ReasonNotFound Reason = "not-found"
)

// Reasons about the service's regions.
const (
	// ReasonNotConfigured: this gateway has not had its routing yet.
	ReasonNotConfigured Reason = "not-configured"
	// ReasonClosed: nobody accepts home writes of this service now.
	ReasonClosed Reason = "closed"
	// ReasonClosing: the key's owner is changing, so nobody accepts home writes for it.
	ReasonClosing Reason = "closing"
	// ReasonHomeLost: the key's home region was lost, and whoever owns the key now may lack its last writes.
	ReasonHomeLost Reason = "home-lost"
	// ReasonHomeReturning: the key's home region is back and does not own the key yet.
	ReasonHomeReturning Reason = "home-returning"
	// ReasonHomeDrained: the key's home region was emptied on purpose.
	ReasonHomeDrained Reason = "home-drained"
	// ReasonHomeAbsent: the agreed view does not have the key's home region yet.
	ReasonHomeAbsent Reason = "home-absent"
	// ReasonHomeExcluded: the key's home region is excluded for this service.
	ReasonHomeExcluded Reason = "home-excluded"
	// ReasonNoHome: no region of the service may own the key.
	ReasonNoHome Reason = "no-home"
	// ReasonFenced: this region is the owner, and this gateway holds no lease.
	ReasonFenced Reason = "fenced"
	// ReasonLeaseLapsed: the lease ended while the request was under way.
	ReasonLeaseLapsed Reason = "lease-lapsed"
	// ReasonSecondHop: a forwarded request arrived at a region that is not the owner.
	ReasonSecondHop Reason = "second-hop"
	// ReasonNoEndpoint: the owner is elsewhere and the configuration has no address of it.
	ReasonNoEndpoint Reason = "no-endpoint"
	// ReasonNoPeerKey: the owner is elsewhere and this gateway cannot prove itself to it.
	ReasonNoPeerKey Reason = "no-peer-key"
	// ReasonShed: the flow is switched off for everyone while it is degraded.
	ReasonShed Reason = "shed"
	// ReasonDeferralFull: as many requests wait for an owner as may.
	ReasonDeferralFull Reason = "deferral-full"
	// ReasonDeferralUnavailable: requests cannot be kept for later now.
	ReasonDeferralUnavailable Reason = "deferral-unavailable"
	// ReasonOverloaded: this gateway serves as many requests as it may.
	ReasonOverloaded Reason = "overloaded"
	// ReasonUpstreamUnreachable: no connection to the application; nothing was sent.
	ReasonUpstreamUnreachable Reason = "upstream-unreachable"
	// ReasonUpstreamFailed: no answer from the application; the outcome is unknown.
	ReasonUpstreamFailed Reason = "upstream-failed"
	// ReasonOwnerUnreachable: no connection to the owner's gateway; nothing was sent.
	ReasonOwnerUnreachable Reason = "owner-unreachable"
	// ReasonOwnerFailed: no answer from the owner's gateway; the outcome is unknown.
	ReasonOwnerFailed Reason = "owner-failed"
	// ReasonPeerNotAuthenticated: the owner's gateway and this one did not prove to each other who they are;
	// nothing was sent.
	ReasonPeerNotAuthenticated Reason = "peer-not-authenticated"
	// ReasonCannotCheck: this region has a miss, and the one that may know better cannot be asked.
	ReasonCannotCheck Reason = "cannot-check"
	// ReasonRegenerate: the session's region cannot be asked; a login makes another session here.
	ReasonRegenerate Reason = "regenerate-session"
	// ReasonOriginUnreachable: the session's region cannot be asked, and the session cannot be made anew.
	ReasonOriginUnreachable Reason = "origin-unreachable"
)

// Status codes of gRPC.
const (
	grpcInvalidArgument   = 3
	grpcDeadlineExceeded  = 4
	grpcPermissionDenied  = 7
	grpcResourceExhausted = 8
	grpcUnimplemented     = 12
	grpcUnavailable       = 14
	grpcUnauthenticated   = 16
)

// reasonInfo is what all problems of a reason have in common.
type reasonInfo struct {
	status int
	grpc   int
	title  string
	// retryAfter is in seconds; 0: do not retry.
	retryAfter int
	// affected requests are those that an outage or a change of owners refused.
	affected bool
}

var reasons = map[Reason]reasonInfo{
	ReasonUnmatched:             {http.StatusForbidden, grpcUnimplemented, "No flow of this service matches the request", 0, false},
	ReasonMissingKey:            {http.StatusBadRequest, grpcInvalidArgument, "The request names no partition key", 0, false},
	ReasonInvalidKey:            {http.StatusBadRequest, grpcInvalidArgument, "The partition key is not valid", 0, false},
	ReasonConflictingKeys:       {http.StatusBadRequest, grpcInvalidArgument, "The request names two partition keys", 0, false},
	ReasonMalformedBody:         {http.StatusBadRequest, grpcInvalidArgument, "The request body cannot be read", 0, false},
	ReasonUnsupportedEncoding:   {http.StatusUnsupportedMediaType, grpcInvalidArgument, "The request body is compressed", 0, false},
	ReasonBodyTooLarge:          {http.StatusRequestEntityTooLarge, grpcResourceExhausted, "The request body is too large", 0, false},
	ReasonURITooLong:            {http.StatusRequestURITooLong, grpcResourceExhausted, "The request's address is too long", 0, false},
	ReasonHeaderTooLarge:        {http.StatusRequestHeaderFieldsTooLarge, grpcResourceExhausted, "The request's header is too large", 0, false},
	ReasonAmbiguousPath:         {http.StatusBadRequest, grpcInvalidArgument, "The path can be read in two ways", 0, false},
	ReasonAmbiguousMethod:       {http.StatusBadRequest, grpcInvalidArgument, "The method can be read in two ways", 0, false},
	ReasonInvalidHost:           {http.StatusBadRequest, grpcInvalidArgument, "The host cannot be read", 0, false},
	ReasonBodyTimeout:           {http.StatusRequestTimeout, grpcDeadlineExceeded, "The request body takes too long", 0, false},
	ReasonInvalidIdempotencyKey: {http.StatusBadRequest, grpcInvalidArgument, "The idempotency key is not valid", 0, false},
	ReasonIdempotencyKeyReused:  {http.StatusUnprocessableEntity, grpcInvalidArgument, "The idempotency key was used for another request", 0, false},
	ReasonHopRefused:            {http.StatusForbidden, grpcPermissionDenied, "The request does not come from a gateway of this service", 0, false},
	ReasonMethodNotAllowed:      {http.StatusMethodNotAllowed, grpcUnimplemented, "The method cannot be used here", 0, false},
	ReasonInvalidSession:        {http.StatusUnauthorized, grpcUnauthenticated, "The session is not valid", 0, false},
	ReasonNotFound:              {http.StatusNotFound, grpcUnimplemented, "No such page", 0, false},

	ReasonNotConfigured:        {http.StatusServiceUnavailable, grpcUnavailable, "The gateway is starting", 2, false},
	ReasonClosed:               {http.StatusServiceUnavailable, grpcUnavailable, "Nobody accepts this request at the moment", 2, true},
	ReasonClosing:              {http.StatusServiceUnavailable, grpcUnavailable, "This user is moving to another region", 2, true},
	ReasonHomeLost:             {http.StatusServiceUnavailable, grpcUnavailable, "The region that is home to this user is lost", 30, true},
	ReasonHomeReturning:        {http.StatusServiceUnavailable, grpcUnavailable, "The region that is home to this user is returning", 10, true},
	ReasonHomeDrained:          {http.StatusServiceUnavailable, grpcUnavailable, "The region that is home to this user is drained", 30, true},
	ReasonHomeAbsent:           {http.StatusServiceUnavailable, grpcUnavailable, "The region that is home to this user has not joined yet", 10, true},
	ReasonNoEndpoint:           {http.StatusServiceUnavailable, grpcUnavailable, "The request cannot be forwarded", 10, true},
	ReasonHomeExcluded:         {http.StatusServiceUnavailable, grpcUnavailable, "The region that is home to this user is excluded", 30, true},
	ReasonNoHome:               {http.StatusServiceUnavailable, grpcUnavailable, "No region is home to this user", 30, true},
	ReasonFenced:               {http.StatusServiceUnavailable, grpcUnavailable, "This region may not accept this request now", 3, true},
	ReasonLeaseLapsed:          {http.StatusServiceUnavailable, grpcUnavailable, "This region lost its lease meanwhile", 3, true},
	ReasonSecondHop:            {http.StatusLoopDetected, grpcUnavailable, "The request would hop twice", 2, true},
	ReasonNoPeerKey:            {http.StatusServiceUnavailable, grpcUnavailable, "The request cannot be forwarded", 10, true},
	ReasonShed:                 {http.StatusServiceUnavailable, grpcUnavailable, "The feature is paused", 30, true},
	ReasonDeferralFull:         {http.StatusServiceUnavailable, grpcUnavailable, "Too many requests wait already", 60, true},
	ReasonDeferralUnavailable:  {http.StatusServiceUnavailable, grpcUnavailable, "The request cannot be kept for later now", 5, true},
	ReasonOverloaded:           {http.StatusServiceUnavailable, grpcUnavailable, "The gateway is busy", 1, false},
	ReasonUpstreamUnreachable:  {http.StatusServiceUnavailable, grpcUnavailable, "The application cannot be reached", 2, false},
	ReasonUpstreamFailed:       {http.StatusBadGateway, grpcUnavailable, "The application gave no answer", 0, false},
	ReasonOwnerUnreachable:     {http.StatusServiceUnavailable, grpcUnavailable, "The region that is home to this user cannot be reached", 5, true},
	ReasonOwnerFailed:          {http.StatusBadGateway, grpcUnavailable, "The region that is home to this user gave no answer", 0, true},
	ReasonPeerNotAuthenticated: {http.StatusServiceUnavailable, grpcUnavailable, "The gateway of the other region could not be authenticated", 5, true},
	ReasonCannotCheck:          {http.StatusServiceUnavailable, grpcUnavailable, "This cannot be checked now", 5, true},
	ReasonRegenerate:           {http.StatusUnauthorized, grpcUnauthenticated, "The session cannot be read; log in again", 0, true},
	ReasonOriginUnreachable:    {http.StatusServiceUnavailable, grpcUnavailable, "The region that has the session cannot be asked", 5, true},
}
