package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"multiactive.dev/operator/internal/deferred"
	"multiactive.dev/operator/internal/peertls"
	"multiactive.dev/operator/internal/port/requestlog"
)

// Defaults of Options.
const (
	DefaultOwnerWait       = 2 * time.Second
	DefaultMaxInFlight     = 4096
	DefaultKeyBodyBytes    = 64 << 10
	DefaultMaxBodyBytes    = 64 << 20
	DefaultMaxHeaderBytes  = 64 << 10
	DefaultIOTimeout       = 60 * time.Second
	DefaultUpstreamTimeout = 60 * time.Second
	DefaultMinRate         = 500
	DefaultMaxConnections  = 16_384

	DefaultDeferredRequests  = 20_000
	DefaultDeferredBytes     = 32 << 20
	DefaultDeferredPerKey    = 100
	DefaultDeferredBodyBytes = 64 << 10

	DefaultCompensationRecords = 50_000
)

// Options of a gateway.
type Options struct {
	// Agent is the base URL of the region's agent, such as http://multiactive-agent:9441. Required.
	Agent string
	// Namespace and Name of the MultiActiveService. Required.
	Namespace, Name string
	// Gateway is this process's name (its pod), for the agent's acknowledgements. Required.
	Gateway string

	// OwnerWait is how long a home request waits for an owner during a change of owners.
	// Default 2 s; negative: not at all.
	OwnerWait time.Duration
	// MaxInFlight bounds the requests under way; beyond, 503. Default 4096.
	MaxInFlight int64
	// KeyBodyBytes is how much of a body is read for a partition key; beyond, 413. It is also how much is kept
	// for a second read; beyond, there is none. Default 64 KiB.
	KeyBodyBytes int64
	// MaxBodyBytes bounds request bodies except gRPC's; beyond, 413. Default 64 MiB; negative: unbounded.
	MaxBodyBytes int64
	// MaxHeaderBytes bounds a request's line and header; beyond, 414 or 431. Default 64 KiB. Let the
	// server take ServerHeaderBytes, so that it is the gateway that refuses.
	MaxHeaderBytes int64
	// IOTimeout bounds each single read of a request body, except gRPC's, and write of an answer.
	// Default 60 s.
	IOTimeout time.Duration
	// MinRate is how fast a client has to send a body, except gRPC's, and to take an answer, in bytes per second
	// of the time that is waited for it; IOTimeout is given besides. Default 500; negative: any.
	MinRate int64
	// MaxConnections bounds the users' connections; beyond, 503 and closed. Default 16,384.
	MaxConnections int64
	// UpstreamTimeout bounds the wait for the answer's header. Default 60 s; negative: unbounded.
	UpstreamTimeout time.Duration

	// Deferred is the log of the requests that this region keeps for later. Nil: flows with onHomeLoss
	// Defer are refused on home loss.
	Deferred requestlog.Log
	// DeferredLimits bound what is kept, and so this process's memory; all of the service's gateways in
	// the region should have the same. Default 20,000 requests, 32 MiB of pending ones, 100 of one key.
	DeferredLimits deferred.Limits
	// DeferredBodyBytes bounds the body of a request that is kept; beyond, 413. Default 64 KiB.
	DeferredBodyBytes int64
	// NotifySecret returns what notifications are signed with; nil: they are not.
	NotifySecret func() ([]byte, error)

	// CompensationSecret returns what stands for users in the records of whom outages have hit, nil while there
	// is none: then nobody is recorded. It is called for every affected request, and must not block.
	CompensationSecret func() []byte
	// CompensationRecords bounds these records, each of one user of one flow, of about 200 bytes. Default 50,000.
	CompensationRecords int

	// NotifyRefuse are ranges of addresses that are told nothing, whatever name leads there, besides those that
	// are link-local or of a metadata service.
	NotifyRefuse []netip.Prefix

	// TracerProvider makes spans of requests, and of each attempt to have one answered; nil: none are made, and W3C
	// trace headers pass as they are.
	TracerProvider trace.TracerProvider
	// TraceSampled reports whether the provider records a trace, if its ID alone decides that; nil: the provider is asked
	// for every request, which costs more than it has to for those that are not recorded.
	TraceSampled func(trace.TraceID) bool

	// PeerIdentity reads the files of this gateway's certificate for peers, again and again: they change under
	// it. Nil: it has none, and speaks to no region that is to be spoken to over mutual TLS.
	PeerIdentity func() (*peertls.Identity, error)
	// ListensForPeers: PeerHandler is served, at the port that the region's peerEndpoint leads to.
	ListensForPeers bool

	// NoFastPath leaves all requests to net/http.
	NoFastPath bool
	// Loops is how many goroutines of the fast path wait for many connections each; 0: one for each processor (GOMAXPROCS).
	Loops int
	// AccessLog writes one record per request, without keys, queries and credentials.
	AccessLog bool
	// AccessLogEvery has AccessLog write one in so many of the requests that are answered as usual, and all that are
	// refused, fail, break off, or are answered in another way because of an outage. Default 1: all.
	AccessLogEvery int64
	// Log defaults to slog.Default.
	Log *slog.Logger
	// Clock defaults to SystemClock.
	Clock Clock
}

// ServerHeaderBytes is how much header the server in front of the gateway should take: what it
// refuses itself gets net/http's plain text.
func (o *Options) ServerHeaderBytes() int { return int(4 * o.MaxHeaderBytes) }

// complete fills in the defaults and checks the rest; errors name the field.
func (o *Options) complete() error {
	var errs []error
	for _, f := range []struct{ name, value string }{
		{"namespace", o.Namespace}, {"name", o.Name}, {"gateway", o.Gateway},
	} {
		if f.value == "" {
			errs = append(errs, fmt.Errorf("%s: must be given", f.name))
		}
	}
	if u, err := url.Parse(o.Agent); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		errs = append(errs, fmt.Errorf("agent: %q is not a URL such as http://multiactive-agent:9441", o.Agent))
	}
	o.Agent = strings.TrimSuffix(o.Agent, "/")
	setDefault(&o.OwnerWait, DefaultOwnerWait)
	setDefault(&o.MaxInFlight, DefaultMaxInFlight)
	setDefault(&o.KeyBodyBytes, DefaultKeyBodyBytes)
	setDefault(&o.MaxBodyBytes, DefaultMaxBodyBytes)
	setDefault(&o.MaxHeaderBytes, DefaultMaxHeaderBytes)
	setDefault(&o.IOTimeout, DefaultIOTimeout)
	setDefault(&o.MinRate, DefaultMinRate)
	setDefault(&o.MaxConnections, DefaultMaxConnections)
	setDefault(&o.UpstreamTimeout, DefaultUpstreamTimeout)
	setDefault(&o.DeferredLimits.Requests, DefaultDeferredRequests)
	setDefault(&o.DeferredLimits.Bytes, DefaultDeferredBytes)
	setDefault(&o.DeferredLimits.PerKey, DefaultDeferredPerKey)
	setDefault(&o.DeferredBodyBytes, DefaultDeferredBodyBytes)
	setDefault(&o.AccessLogEvery, 1)
	setDefault(&o.CompensationRecords, DefaultCompensationRecords)
	o.UpstreamTimeout = max(o.UpstreamTimeout, 0)
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Clock == nil {
		o.Clock = SystemClock{}
	}
	return errors.Join(errs...)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
