// Package routing is the contract between a region's agent and the gateways: the routing
// configuration of one service in one region, as JSON over an HTTP long poll. It is pure data:
// no client, no clock, no Kubernetes type, so that the gateway stays small.
package routing

import (
	"strings"
	"time"
	"unicode"

	"multiactive.dev/operator/internal/ownership"
)

// Path of the long poll at the agent. Query:
//   - namespace, name: the service.
//   - gateway: the gateway's pod name. Without one there is no acknowledgement, and no lease.
//   - version: of the configuration that the gateway acts on, and revision: the highest store
//     revision that it has had. Both are left out before the first configuration. From the moment of
//     asking, the gateway admits no request under an older version.
//   - busy: how many home writes are under way that were admitted under an older version and that
//     this one does not let the gateway accept. It only falls while the version stays the same. The
//     gateway asks again at once when it reaches 0, so that the region can acknowledge (R8).
//   - peers: the regions, separated by commas, whose gateways this one takes requests from over mutual TLS, and could
//     send some to: it listens for them, has a certificate, and knows who signs theirs. Absent: none.
//   - deferred: how many requests wait in the region to be carried out, by flow (FormatBacklogs). Absent: none, or not
//     known yet.
//   - refused: a version that the gateway was given and cannot use, and reason: why (Refusal).
//   - wait: a Go duration; the agent answers at once when it has another version, and after at most
//     this long otherwise.
const Path = "/v1/routing"

// Parameters of the long poll.
const (
	ParamNamespace = "namespace"
	ParamName      = "name"
	ParamGateway   = "gateway"
	ParamVersion   = "version"
	ParamRevision  = "revision"
	ParamBusy      = "busy"
	ParamPeers     = "peers"
	ParamDeferred  = "deferred"
	ParamRefused   = "refused"
	ParamReason    = "reason"
	ParamWait      = "wait"
)

// MaxWait bounds one long poll. A gateway asks again at once, so a lease is renewed about as often.
const MaxWait = time.Second

// MaxPeers bounds the parameter peers, in bytes: a service has 16 regions at most, and as many that it is leaving, whose
// names have 32 bytes.
const MaxPeers = 2048

// MaxRefusal bounds a Refusal, in bytes.
const MaxRefusal = 240

// Refusal makes a text fit to be the reason of a refusal, which travels in a query and ends in a
// condition's message: one line of printable characters, of at most MaxRefusal bytes.
func Refusal(text string) string {
	const cut = "…"
	printable := func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}
	line := strings.Join(strings.Fields(strings.Map(printable, text)), " ")
	if len(line) <= MaxRefusal {
		return line
	}
	return strings.ToValidUTF8(line[:MaxRefusal-len(cut)], "") + cut
}

// Answer is one answer of the long poll.
type Answer struct {
	// Version names Config; a gateway sends back the version that it acts on, which is its
	// acknowledgement.
	Version string `json:"version"`
	// Revision of the coordination store that the answer reflects. A gateway refuses an answer
	// below the highest revision that it has had (R2).
	Revision int64 `json:"revision"`
	// LeaseRemaining is how long the region may go on accepting home writes, counted from before
	// the agent answered; 0 without a lease. The gateway's own lease is its time before asking
	// plus Held, as LeaseFrom says, plus this (R11).
	LeaseRemaining time.Duration `json:"leaseRemaining"`
	// Held is for how long the agent had the question, on its clock, when it read LeaseRemaining.
	Held time.Duration `json:"held,omitempty"`
	// LeaseEnded takes back what the gateway has left of a lease: the region's gate is closed, or
	// the agent faces another store (R2, R5). A LeaseRemaining of 0 alone takes nothing back: an
	// agent that has just started has not beaten yet, and the gate stays open until the lease that
	// its predecessor got has run out (R4).
	LeaseEnded bool `json:"leaseEnded,omitempty"`
	// Config is nil when the asked version is still current.
	Config *Config `json:"config,omitempty"`
}

// LeaseFrom returns the time from which LeaseRemaining counts, on the clock of a gateway that asked
// at the given time. The agent got the question after that, and read its lease Held later. Clocks
// run at rates within MaxDrift of each other, so at least Held / (1 + MaxDrift) had passed on the
// gateway's clock by then: the lease never counts from later than it was read.
func (a *Answer) LeaseFrom(asked time.Duration) time.Duration {
	return asked + time.Duration(float64(max(a.Held, 0))/(1+ownership.MaxDrift))
}

// Config is all that a gateway needs to route one service's requests in one region.
type Config struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
	// Region is where the gateway runs.
	Region string `json:"region"`
	// Epoch of the view; passed to applications as a fencing token.
	Epoch int64 `json:"epoch"`
	// Closed means that nobody accepts home writes of this service now, with the reason.
	Closed       bool   `json:"closed,omitempty"`
	ClosedReason string `json:"closedReason,omitempty"`
	// Closing: owners are changing. Nobody accepts home writes for a slot whose owner by Regions is
	// not its owner by Before (R6).
	Closing bool `json:"closing,omitempty"`
	// Before has, while Closing, the regions as they were when owners last did not change, with the
	// weights of that time; endpoints and display names are left out.
	Before []Region `json:"before,omitempty"`
	// Upstream is the base URL of the local application, such as http://10.0.0.7:8080.
	Upstream string `json:"upstream"`
	// Regions of the service, in declared order; while Closing, as they are to be.
	Regions       []Region       `json:"regions"`
	Keys          []Key          `json:"keys"`
	Sessions      []Session      `json:"sessions,omitempty"`
	Flows         []Flow         `json:"flows"`
	Unmatched     Unmatched      `json:"unmatched"`
	Announcements []Announcement `json:"announcements,omitempty"`
	// PeerKey authenticates hops between the service's gateways. A secret: never log it.
	PeerKey []byte `json:"peerKey,omitempty"`
	// PlainHopsRefused: hops are taken over mutual TLS alone.
	PlainHopsRefused bool `json:"plainHopsRefused,omitempty"`
}

// Region is one region of the service as routing sees it.
type Region struct {
	Name string `json:"name"`
	// DisplayName is for problem documents.
	DisplayName string `json:"displayName,omitempty"`
	Weight      int32  `json:"weight"`
	// Endpoint is the base URL of the service's gateway there; empty when nobody says.
	Endpoint string `json:"endpoint,omitempty"`
	// PeerEndpoint is the base URL, https, where the gateways there take other regions' requests over
	// mutual TLS. Where it is given, requests are forwarded there and nowhere else.
	PeerEndpoint string `json:"peerEndpoint,omitempty"`
	// Authorities are the PEM certificates of whoever signs the certificates of the gateways there. They are given
	// before PeerEndpoint is: who is to be dialled has to believe who dials.
	Authorities string `json:"authorities,omitempty"`
	// State is Serving, Lost, Returning or Drained, as the agreed view says.
	State ownership.RegionState `json:"state"`
	// Excluded regions own no slot of this service whatever their state.
	Excluded bool `json:"excluded,omitempty"`
	// HandedBack lets a Returning region own this service's slots again.
	HandedBack bool `json:"handedBack,omitempty"`
	// Withheld, Unshipped, Behind, Awaits and Lacks are those of ownership.RegionView.
	Withheld  bool     `json:"withheld,omitempty"`
	Unshipped bool     `json:"unshipped,omitempty"`
	Behind    []string `json:"behind,omitempty"`
	Awaits    []string `json:"awaits,omitempty"`
	Lacks     []string `json:"lacks,omitempty"`
}

// View returns what ownership depends on of the region.
func (r *Region) View() ownership.RegionView {
	return ownership.RegionView{
		WeightedRegion: ownership.WeightedRegion{Name: r.Name, Weight: r.Weight},
		State:          r.State, Excluded: r.Excluded, HandedBack: r.HandedBack, Withheld: r.Withheld,
		Unshipped: r.Unshipped, Behind: r.Behind, Awaits: r.Awaits, Lacks: r.Lacks,
	}
}

// RegionOf returns the region that a view describes.
func RegionOf(v ownership.RegionView) Region {
	return Region{
		Name: v.Name, Weight: v.Weight, State: v.State, Excluded: v.Excluded, HandedBack: v.HandedBack,
		Withheld: v.Withheld, Unshipped: v.Unshipped, Behind: v.Behind, Awaits: v.Awaits, Lacks: v.Lacks,
	}
}

// SourceType says where a partition key is read from.
type SourceType string

// The sources of a partition key.
const (
	SourceHeader   SourceType = "Header"
	SourceCookie   SourceType = "Cookie"
	SourceQuery    SourceType = "Query"
	SourcePath     SourceType = "Path"
	SourceJSONBody SourceType = "JSONBody"
	SourceJWTClaim SourceType = "JWTClaim"
	// SourceSession is the slot that was stamped into the token of a session that the flow reads.
	SourceSession SourceType = "Session"
)

// Key is a named partition key.
type Key struct {
	Name string   `json:"name"`
	From []Source `json:"from"`
	// Normalize lists Trim, Lowercase, DigitsOnly in the order in which they are applied.
	Normalize []string `json:"normalize,omitempty"`
}

// Source is one place to read a key from; Session has no name. Name is the header's, cookie's, query parameter's,
// path variable's or claim's name, or the JSON pointer (RFC 6901).
type Source struct {
	Type SourceType `json:"type"`
	Name string     `json:"name"`
	// Header that carries the token of a JWTClaim; default Authorization (Bearer).
	Header string `json:"header,omitempty"`
}

// Flow is one user-visible operation.
type Flow struct {
	Name string `json:"name"`
	// Core flows survive a region; the others may be degraded.
	Core bool `json:"core"`
	// Key names the partition key; empty: the flow has none.
	Key   string  `json:"key,omitempty"`
	Match []Match `json:"match"`
	// HomeRegion: served where the slot's owner is. False: any region.
	HomeRegion bool `json:"homeRegion"`
	// Pinned ranks regions for flows whose data has a fixed home; it then stands for the key.
	Pinned []string `json:"pinned,omitempty"`
	// OnHomeLoss is Reject, ReadOnly, Takeover or Defer. Empty: Reject. Takeover flows are served by
	// whoever owns the slot, all others only by an owner that has everything.
	OnHomeLoss string `json:"onHomeLoss,omitempty"`
	// Defer says how requests are kept, if OnHomeLoss is Defer. Nil: they are refused.
	Defer *Defer `json:"defer,omitempty"`
	// Shed: refused for everyone while Degraded.
	Shed bool `json:"shed,omitempty"`
	// Degraded: some of the flow's keys cannot be served as declared now.
	Degraded bool `json:"degraded,omitempty"`
	// SecondRead asks the key's owner when the local application has a miss; only for any-region flows.
	SecondRead *SecondRead `json:"secondRead,omitempty"`
	// ReadsSessions and IssuesSessions name classes of Sessions: what the flow reads and what it writes.
	ReadsSessions  []string `json:"readsSessions,omitempty"`
	IssuesSessions []string `json:"issuesSessions,omitempty"`
}

// Session is a data class whose records stay in the region that issued their token.
type Session struct {
	Class string `json:"class"`
	// Cookie or Header holds the token, in requests and answers.
	Cookie string `json:"cookie,omitempty"`
	Header string `json:"header,omitempty"`
	// OriginClaim of the token, a JSON Web Token, names the region that has the session; empty: a stamp does.
	OriginClaim string `json:"originClaim,omitempty"`
	// FetchPath of the application answers with the session. Empty: requests are forwarded to the origin.
	FetchPath string `json:"fetchPath,omitempty"`
	// Timeout of a read at the origin. 0: 200 ms.
	Timeout time.Duration `json:"timeout,omitempty"`
	// Regenerate: the user logs in again when the origin cannot be asked.
	Regenerate bool `json:"regenerate,omitempty"`
}

// SecondRead asks the region that owns the key, or the data that Homes are of, when the local application has a miss.
type SecondRead struct {
	// Homes ranks the regions of data that has a fixed home; empty: the flow's key leads to it.
	Homes []string `json:"homes,omitempty"`
	// Timeout until its answer begins. 0: 300 ms.
	Timeout time.Duration `json:"timeout,omitempty"`
	// AnswerLocally, marked as stale, when nobody can be asked. Otherwise the request is refused.
	AnswerLocally bool `json:"answerLocally,omitempty"`
}

// Defer says how a flow's requests are kept for later.
type Defer struct {
	// AdmitPath of the local application authenticates a request and checks what can be checked.
	AdmitPath string `json:"admitPath"`
	// ExpireAfter this long a request is not carried out any more.
	ExpireAfter time.Duration `json:"expireAfter"`
	// IdempotencyHeader carries the key that lets the application carry a request out once.
	IdempotencyHeader string `json:"idempotencyHeader"`
	// Notify is the URL that outcomes are posted to; empty: nowhere.
	Notify string `json:"notify,omitempty"`
}

// Match is one pattern of requests. Method empty: all. Host empty: all. Path is exact
// (/v1/login), a prefix (ends in /) or has variables (/v1/users/{id}).
type Match struct {
	Host   string `json:"host,omitempty"`
	Method string `json:"method,omitempty"`
	Path   string `json:"path"`
}

// Unmatched says what happens with requests that no flow matches: AnyRegion, HomeRegion or Reject.
type Unmatched struct {
	SafeMethods  string `json:"safeMethods"`
	OtherMethods string `json:"otherMethods"`
	// Key is used for HomeRegion.
	Key string `json:"key,omitempty"`
}

// Announcement is what users of the flows are told while these are degraded. Flow "*" means all.
type Announcement struct {
	Flows []string `json:"flows"`
	// Text by language tag (BCP 47), in declared order: the first is the fallback.
	Text []LocalizedText `json:"text"`
}

// LocalizedText is a text in one language.
type LocalizedText struct {
	Language string `json:"language"`
	Value    string `json:"value"`
}
