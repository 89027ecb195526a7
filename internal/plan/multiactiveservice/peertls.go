package multiactiveservice

import (
	stdslices "slices"
	"strings"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
)

// stagedPeerTLS takes out of a slice what of mutual TLS the regions do not act on yet: a member of an older version
// refuses a field that it does not know, and has no port for peers; gateways that do not listen, have no certificate or
// do not know who signs the others' would fail the requests that they are sent.
func (s Seen) stagedPeerTLS(want, have *v1alpha1.RegionalService) {
	tls := want.Spec.Gateway.PeerTLS
	if tls == nil || have == nil || !knowsPeerTLS(have) {
		want.Spec.Gateway.PeerTLS = nil
		for i := range want.Spec.Peers {
			want.Spec.Peers[i].PeerEndpoint = ""
		}
		return
	}
	for i := range want.Spec.Peers {
		p := &want.Spec.Peers[i]
		if p.PeerEndpoint == "" || p.Name == want.Spec.Region {
			continue
		}
		switch slice := s.region(p.Name).Slice; {
		case slice != nil && len(slice.Status.Features) > 0 && !knowsPeerTLS(slice):
			// Its gateways cannot be dialled, and cannot dial either.
			p.PeerEndpoint = ""
			tls.PlaintextHops = v1alpha1.PlaintextHopsAccept
		case !dials(have, p.Name) && !mayDial(have, slice):
			p.PeerEndpoint = "" // not yet
		}
	}
	if !refuses(have) && !s.dialledByAll(want) {
		tls.PlaintextHops = v1alpha1.PlaintextHopsAccept
	}
}

// mayDial reports whether a region's gateways may begin to dial those of another: both have said that they take each
// other's requests, or there is no other way. Later they go on, whatever is said.
func mayDial(from, to *v1alpha1.RegionalService) bool {
	return to != nil && (refuses(to) || accepts(from, to) && accepts(to, from))
}

// accepts reports whether a region's gateways take requests from another's over mutual TLS.
func accepts(slice, from *v1alpha1.RegionalService) bool {
	return stdslices.Contains(slice.Status.AcceptsPeers, from.Spec.Region)
}

// refuses reports whether a region's gateways refuse plain hops already.
func refuses(slice *v1alpha1.RegionalService) bool {
	return slice.Spec.Gateway.PeerTLS != nil && slice.Spec.Gateway.PeerTLS.PlaintextHops == v1alpha1.PlaintextHopsRefuse
}

// dialledByAll reports whether every other region has acted on a slice by which it dials this one by mutual TLS:
// who has not would be refused.
func (s Seen) dialledByAll(want *v1alpha1.RegionalService) bool {
	for _, p := range want.Spec.Peers {
		slice := s.region(p.Name).Slice
		if p.Name != want.Spec.Region && (slice == nil || slice.Status.ObservedGeneration != slice.Generation || !dials(slice, want.Spec.Region)) {
			return false
		}
	}
	return true
}

func knowsPeerTLS(slice *v1alpha1.RegionalService) bool {
	return stdslices.Contains(slice.Status.Features, regional.FeaturePeerTLS)
}

// dials reports whether a slice has its gateways dial a region by mutual TLS already.
func dials(slice *v1alpha1.RegionalService, region string) bool {
	return stdslices.ContainsFunc(slice.Spec.Peers, func(p v1alpha1.Peer) bool { return p.Name == region && p.PeerEndpoint != "" })
}

// closedToPeers names the regions whose gateways do not take the requests of some other region, which is to send them
// over mutual TLS and does not do so yet.
func (s Seen) closedToPeers(mas *v1alpha1.MultiActiveService) []string {
	var names []string
	for _, to := range mas.Spec.Regions {
		slice := s.region(to.Name).Slice
		if slice != nil && stdslices.ContainsFunc(mas.Spec.Regions, func(from v1alpha1.ServiceRegion) bool {
			other := s.region(from.Name).Slice
			return from.Name != to.Name && other != nil && !dials(other, to.Name) && !accepts(slice, other)
		}) {
			names = append(names, to.Name)
		}
	}
	return names
}

// peersAuthenticated tells whether the regions' gateways prove to each other who they are.
func (r reporter) peersAuthenticated() {
	const kind = v1alpha1.ConditionPeersAuthenticated
	spec := &r.mas.Spec
	plain := func(format string, args ...any) { r.set.False(kind, v1alpha1.ReasonPlaintextHops, format, args...) }
	without, old, behind := r.securedRegions()
	closed := r.seen.closedToPeers(r.mas)
	switch {
	case len(spec.Regions) == 1:
		r.set.True(kind, v1alpha1.ReasonNoPeers, "the service is in one region")
	case spec.Gateway == nil || spec.Gateway.PeerTLS == nil:
		plain("the gateways neither encrypt what regions forward to each other nor show certificates, and know each other by the service's " +
			"peer key: declare gateway.peerTLS and every region's peerEndpoint")
	case len(without) > 0:
		plain("requests to %s are not forwarded over mutual TLS: declare peerEndpoint there", strings.Join(without, ", "))
	case len(old) > 0:
		r.set.False(kind, v1alpha1.ReasonNotSupportedYet, "the member of %s does not act on gateway.peerTLS: upgrade it", strings.Join(old, ", "))
	case len(closed) > 0:
		r.set.False(kind, v1alpha1.ReasonProgressing, "the gateways of %s do not take requests from all other regions over mutual TLS yet: they need a "+
			"certificate, and have to know who signs the others'; look at GatewayReady and status.acceptsPeers of the RegionalServices there, and "+
			"at the gateways' logs", strings.Join(closed, ", "))
	case spec.Gateway.PeerTLS.PlaintextHops == v1alpha1.PlaintextHopsAccept:
		plain("requests are forwarded over mutual TLS, and taken at endpoint without it as well: set gateway.peerTLS.plaintextHops to Refuse")
	case len(behind) > 0:
		r.set.False(kind, v1alpha1.ReasonProgressing, "%s takes requests in another way too, until every region forwards them over mutual TLS",
			strings.Join(behind, ", "))
	default:
		r.set.True(kind, v1alpha1.ReasonMutualTLS, "regions forward requests to each other over mutual TLS alone")
	}
}

// securedRegions names the regions without a peerEndpoint, those whose members do not know it, and those whose
// gateways take plain hops.
func (r reporter) securedRegions() (without, old, behind []string) {
	for _, declared := range r.mas.Spec.Regions {
		if declared.PeerEndpoint == "" {
			without = append(without, declared.Name)
		}
		slice := r.seen.region(declared.Name).Slice
		if slice != nil && len(slice.Status.Features) > 0 && !knowsPeerTLS(slice) {
			old = append(old, declared.Name)
		}
		if slice != nil && !refuses(slice) {
			behind = append(behind, declared.Name)
		}
	}
	return without, old, behind
}
