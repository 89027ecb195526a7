package gateway

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

// UnmatchedFlow stands for the flow of requests that no flow matches, in metrics and logs. It
// cannot be a flow's name.
const UnmatchedFlow = "_unmatched"

// UnknownFlow stands for the flow of requests that were refused before it was known.
const UnknownFlow = "_unknown"

// What happens to a flow whose home is lost.
const (
	onLossDefer    = "Defer"
	onLossReadOnly = "ReadOnly"
	onLossReject   = "Reject"
	onLossTakeover = "Takeover"
)

// noRegion is the index of no region.
const noRegion = -1

// Router is one routing configuration compiled for the request path. It is immutable.
type Router struct {
	cfg           *routing.Config
	self          int
	regions       []region
	upstream      *url.URL
	matcher       *matcher
	flows         []flow
	unmatchedSafe flow
	unmatched     flow
	keys          map[string]*key
	sessions      []*session
	announcements []announcement
	// orders are those of the keys' slots, pins those of the places that follow, and pinValues the slots of the lists there.
	orders          *ownership.Orders
	pins, pinValues [][]string
	// holders says who holds each slot.
	holders  []holder
	warnings []string
	// deciding are the headers that requests are decided by, by their names with hyphens. underscored: one of
	// them was declared with underscores.
	deciding    map[string]string
	underscored bool
	// epochValue and ownerValue are those of HeaderEpoch and HeaderOwner. Nobody changes them.
	epochValue, ownerValue []string
	// direct is the address of an upstream that the fast path may speak to; empty: it may not.
	direct string
}

type region struct {
	routing.Region
	// endpoint is where requests are forwarded; nil when nobody says how to reach the region.
	endpoint *url.URL
	// mutual: it is spoken to over mutual TLS alone. Its certificates are those of the authorities; nil: none is known.
	mutual      bool
	authorities *x509.CertPool
}

// flow is a compiled routing.Flow.
type flow struct {
	name string
	// home: served where the slot's owner is.
	home bool
	// reject: no such requests are served.
	reject    bool
	unmatched bool
	key       *key
	// pinned is the place of its data among the holders, 0 when the key decides.
	pinned int
	// readOnly and takeover are what happens to it when its home is lost; else it is refused.
	readOnly, takeover bool
	// deferral says how its requests are kept for later when their home is lost; nil: they are not.
	deferral *routing.Defer
	// shed: refused for everyone now.
	shed bool
	// secondRead is nil for flows that take the local answer as it is.
	secondRead *secondRead
	// sessions are those that it reads, issued those that it writes.
	sessions, issued []*session
}

// issues reports whether a flow writes sessions of a class.
func (f *flow) issues(s *session) bool { return slices.Contains(f.issued, s) }

// Compile checks a configuration and prepares it. Errors name the field that is wrong.
func Compile(cfg *routing.Config) (*Router, error) {
	r := &Router{
		cfg: cfg, self: noRegion, keys: map[string]*key{},
		epochValue: []string{strconv.FormatInt(cfg.Epoch, 10)}, ownerValue: []string{cfg.Region},
	}
	var err error
	if r.upstream, err = baseURL(cfg.Upstream, "upstream"); err != nil {
		return nil, err
	}
	r.direct = directAddress(r.upstream)
	if err := r.compileRegions(); err != nil {
		return nil, err
	}
	for _, decl := range cfg.Keys {
		if r.keys[decl.Name], err = compileKey(decl); err != nil {
			return nil, err
		}
	}
	r.compileSessions()
	for _, decl := range cfg.Flows {
		f, err := r.compileFlow(decl)
		if err != nil {
			return nil, err
		}
		r.flows = append(r.flows, f)
	}
	r.compileHolders()
	if r.unmatchedSafe, err = r.compileUnmatched(cfg.Unmatched.SafeMethods, "AnyRegion", "unmatched.safeMethods"); err != nil {
		return nil, err
	}
	if r.unmatched, err = r.compileUnmatched(cfg.Unmatched.OtherMethods, onLossReject, "unmatched.otherMethods"); err != nil {
		return nil, err
	}
	r.compileDeciding()
	var warnings []string
	r.matcher, warnings = newMatcher(cfg.Flows)
	r.warnings = append(r.warnings, warnings...)
	r.announcements, warnings = compileAnnouncements(cfg.Announcements)
	r.warnings = append(r.warnings, warnings...)
	if len(cfg.PeerKey) < minPeerKey && len(cfg.Regions) > 1 {
		r.warnings = append(r.warnings, fmt.Sprintf("peerKey: shorter than %d bytes, so nothing can be forwarded to other regions", minPeerKey))
	}
	return r, nil
}

// baseURL parses an address that requests are sent to.
func baseURL(text, field string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("%s: %q is not a base URL such as http://10.0.0.7:8080", field, text)
	}
	return u, nil
}

// directAddress returns where an upstream is dialled that is a host alone, without TLS and path.
func directAddress(u *url.URL) string {
	if u.Scheme != "http" || strings.TrimSuffix(u.Path, "/") != "" || u.Fragment != "" {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

func (r *Router) compileRegions() error {
	for i, decl := range r.cfg.Regions {
		compiled := region{Region: decl}
		var err error
		switch {
		case decl.PeerEndpoint != "":
			err = compilePeer(&compiled)
		case decl.Endpoint != "":
			compiled.endpoint, err = baseURL(decl.Endpoint, fmt.Sprintf("regions[%s].endpoint", decl.Name))
		}
		if err != nil {
			return err
		}
		r.compileAuthorities(&compiled)
		r.regions = append(r.regions, compiled)
		if decl.Name == r.cfg.Region {
			r.self = i
		}
	}
	if r.self == noRegion {
		return fmt.Errorf("region: %q is not among the service's regions", r.cfg.Region)
	}
	return nil
}

// index returns a region's index, or noRegion.
func (r *Router) index(name string) int {
	return slices.IndexFunc(r.regions, func(x region) bool { return x.Name == name })
}

func (r *Router) compileFlow(decl routing.Flow) (flow, error) {
	f := flow{
		name: decl.Name, home: decl.HomeRegion, shed: decl.Shed && decl.Degraded,
		readOnly: decl.OnHomeLoss == onLossReadOnly, takeover: decl.OnHomeLoss == onLossTakeover,
		sessions: r.sessionsNamed(decl.ReadsSessions), issued: r.sessionsNamed(decl.IssuesSessions),
	}
	if decl.OnHomeLoss == onLossDefer {
		f.deferral = decl.Defer
	}
	if decl.Key != "" {
		if f.key = r.keys[decl.Key]; f.key == nil {
			return f, fmt.Errorf("flows[%s].key: %q is not among the keys", decl.Name, decl.Key)
		}
	}
	var err error
	if f.pinned, err = r.pinOf(decl.Pinned, fmt.Sprintf("flows[%s].pinned", decl.Name)); err != nil {
		return f, err
	}
	f.secondRead, err = r.compileSecondRead(decl)
	return f, err
}

// pinOf returns the place of a field's regions, 0 if it has none.
func (r *Router) pinOf(homes []string, field string) (int, error) {
	switch {
	case len(homes) == 0:
		return 0, nil
	case r.index(homes[0]) == noRegion:
		return 0, fmt.Errorf("%s: %q is not among the service's regions", field, homes[0])
	}
	return r.pin(homes), nil
}

func (r *Router) compileUnmatched(policy, fallback, field string) (flow, error) {
	if policy == "" {
		policy = fallback
	}
	f := flow{name: UnmatchedFlow, unmatched: true}
	switch policy {
	case "AnyRegion":
	case onLossReject:
		f.reject = true
	case "HomeRegion":
		f.home = true
		if f.key = r.keys[r.cfg.Unmatched.Key]; f.key == nil {
			return f, fmt.Errorf("unmatched.key: %q is not among the keys, and %s needs it", r.cfg.Unmatched.Key, field)
		}
	default:
		return f, fmt.Errorf("%s: %q is not known to this gateway; upgrade it", field, policy)
	}
	return f, nil
}

// flowOf returns the flow of a match.
func (r *Router) flowOf(m match, safe bool) *flow {
	switch {
	case m.pattern != nil:
		return &r.flows[m.pattern.flow]
	case safe:
		return &r.unmatchedSafe
	default:
		return &r.unmatched
	}
}

// flowNamed returns a declared flow, or nil.
func (r *Router) flowNamed(name string) *flow {
	i := slices.IndexFunc(r.flows, func(f flow) bool { return f.name == name })
	if i < 0 {
		return nil
	}
	return &r.flows[i]
}

// slotOf returns the slot of a request of the flow with a normalised key.
func (f *flow) slotOf(key string) int {
	if f.pinned != 0 {
		return f.pinned
	}
	return ownership.Slot(key)
}

// notifies reports whether somebody is told what became of a flow's deferred requests.
func (r *Router) notifies(name string) bool {
	f := r.flowNamed(name)
	return f != nil && f.deferral != nil && f.deferral.Notify != ""
}

func (r *Router) notifiesAny() bool {
	return slices.ContainsFunc(r.flows, func(f flow) bool { return r.notifies(f.name) })
}

// serves reports whether a region answers any-region flows.
func (r *Router) serves(i int) bool {
	s := r.regions[i].State
	return s == ownership.RegionServing || s == ownership.RegionReturning
}

// nextServing returns the first other region in declared order after this one that answers
// any-region flows, or noRegion. Returning regions come last: their copies may be old.
func (r *Router) nextServing() int {
	second := noRegion
	for n := 1; n < len(r.regions); n++ {
		i := (r.self + n) % len(r.regions)
		if r.regions[i].endpoint == nil {
			continue
		}
		if r.regions[i].State == ownership.RegionServing {
			return i
		}
		if second == noRegion && r.serves(i) {
			second = i
		}
	}
	return second
}

// mayForward reports whether hops can be signed.
func (r *Router) mayForward() bool { return len(r.cfg.PeerKey) >= minPeerKey }
