package multiactiveservice

import (
	stdslices "slices"
	"strings"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
)

// stagedPeerTLS takes out of a slice what of mutual TLS the regions' members do not act on yet: a member of an older
// version refuses a field that it does not know, and has no port for peers.
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
		if p.PeerEndpoint == "" {
			continue
		}
		if slice := s.region(p.Name).Slice; slice != nil && knowsPeerTLS(slice) || slice == nil && dials(have, p.Name) {
			continue
		}
		// Its gateways cannot be dialled, and cannot dial either.
		p.PeerEndpoint = ""
		tls.PlaintextHops = v1alpha1.PlaintextHopsAccept
	}
	if !refuses(have) && !s.dialledByAll(want) {
		tls.PlaintextHops = v1alpha1.PlaintextHopsAccept
	}
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

// peersAuthenticated tells whether the regions' gateways prove to each other who they are.
func (r reporter) peersAuthenticated() {
	const kind = v1alpha1.ConditionPeersAuthenticated
	spec := &r.mas.Spec
	plain := func(format string, args ...any) { r.set.False(kind, v1alpha1.ReasonPlaintextHops, format, args...) }
	var without, old, behind []string
	for _, declared := range spec.Regions {
		if declared.PeerEndpoint == "" {
			without = append(without, declared.Name)
		}
		if slice := r.seen.region(declared.Name).Slice; slice != nil && len(slice.Status.Features) > 0 && !knowsPeerTLS(slice) {
			old = append(old, declared.Name)
		}
		if slice := r.seen.region(declared.Name).Slice; slice != nil && !refuses(slice) {
			behind = append(behind, declared.Name)
		}
	}
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
	case spec.Gateway.PeerTLS.PlaintextHops == v1alpha1.PlaintextHopsAccept:
		plain("requests are forwarded over mutual TLS, and taken at endpoint without it as well: set gateway.peerTLS.plaintextHops to Refuse")
	case len(behind) > 0:
		r.set.False(kind, v1alpha1.ReasonProgressing, "%s takes requests in another way too, until every region forwards them over mutual TLS",
			strings.Join(behind, ", "))
	default:
		r.set.True(kind, v1alpha1.ReasonMutualTLS, "regions forward requests to each other over mutual TLS alone")
	}
}
