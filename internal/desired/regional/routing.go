package regional

import (
	"cmp"
	"slices"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/flows"
	"multiactive.dev/operator/internal/routing"
)

// Routing returns what the service's gateways in a region act on, from the region's slice and the
// agreed configuration. upstream is the base URL of the local application. While the service is Closed
// nobody accepts home writes there, and any-region flows go on by the slice that there is.
func Routing(rs *v1alpha1.RegionalService, region, upstream string, c ownership.Configuration) routing.Config {
	spec := &rs.Spec
	record := c.Services[spec.ServiceID]
	own, _ := OwnershipInForce(spec, record)
	why := Closed(spec, c)
	out := routing.Config{
		Namespace: rs.Namespace, Name: rs.Name, UID: spec.ServiceID, Region: region,
		Epoch: c.View.Epoch, Upstream: upstream, PeerKey: record.PeerKey,
		Closed: why != "", ClosedReason: why, Closing: c.View.Phase == ownership.PhaseClosing,
		Regions: routingRegions(spec, own, record, c), Keys: routingKeys(spec, own), Sessions: sessions(spec.Sessions),
		Flows: routingFlows(rs, own, c), Unmatched: unmatched(cmp.Or(own.Unmatched, spec.Unmatched)),
		Announcements: announcements(spec.Announcements), PlainHopsRefused: plainHopsRefused(spec),
	}
	for _, v := range before(spec, c) {
		out.Before = append(out.Before, routing.RegionOf(v))
	}
	return out
}

// FlowStates returns how each flow is served. Without a Kafka nothing can be deferred.
func FlowStates(spec *v1alpha1.RegionalServiceSpec, c ownership.Configuration) []flows.State {
	record := c.Services[spec.ServiceID]
	own, _ := OwnershipInForce(spec, record)
	behaviours := spec.Behaviours
	if spec.Kafka == nil {
		behaviours = slices.Clone(behaviours)
		for i, b := range behaviours {
			if deferPolicy(b) != nil {
				behaviours[i].OnHomeLoss = nil
			}
		}
	}
	return flows.Evaluate(own, behaviours, c, record)
}

// routingRegions has the regions that can be reached, and those of the ownership spec that nobody says
// how to reach: without them their slots would seem to be another's.
func routingRegions(spec *v1alpha1.RegionalServiceSpec, own v1alpha1.OwnershipSlice, record ownership.ServiceRecord, c ownership.Configuration) []routing.Region {
	weight := map[string]int32{}
	for _, r := range own.Regions {
		weight[r.Name] = r.Weight
	}
	peers := map[string]v1alpha1.Peer{}
	var weighted []ownership.WeightedRegion
	for _, p := range spec.Peers {
		peers[p.Name] = p
		weighted = append(weighted, ownership.WeightedRegion{Name: p.Name, Weight: weight[p.Name]})
	}
	for _, r := range weights(own) {
		if _, known := peers[r.Name]; !known {
			weighted = append(weighted, r)
		}
	}
	regions := make([]routing.Region, 0, len(weighted))
	for _, v := range c.RegionViews(record, weighted) {
		r := routing.RegionOf(v)
		r.DisplayName, r.Endpoint = peers[r.Name].DisplayName, peers[r.Name].Endpoint
		mutual(&r, spec, peers[r.Name], c)
		regions = append(regions, r)
	}
	return regions
}

func routingKeys(spec *v1alpha1.RegionalServiceSpec, own v1alpha1.OwnershipSlice) []routing.Key {
	keys := make([]routing.Key, 0, len(own.Keys))
	for _, k := range own.Keys {
		key := routing.Key{Name: k.Name, From: []routing.Source{}}
		for _, from := range k.From {
			if from.Type == v1alpha1.KeySourceSession && len(spec.Sessions) == 0 {
				continue // nobody says where the token is; a condition tells
			}
			if s, ok := routingSource(from); ok {
				key.From = append(key.From, s)
			}
		}
		for _, n := range k.Normalize {
			key.Normalize = append(key.Normalize, string(n))
		}
		keys = append(keys, key)
	}
	return keys
}

// routingSource is false for sources that are not whole, and for types of a later version.
func routingSource(s v1alpha1.KeySource) (routing.Source, bool) {
	switch {
	case s.Type == v1alpha1.KeySourceSession:
		return routing.Source{Type: routing.SourceSession}, true
	case s.Type == v1alpha1.KeySourceHeader && s.Header != nil:
		return routing.Source{Type: routing.SourceHeader, Name: s.Header.Name}, true
	case s.Type == v1alpha1.KeySourceCookie && s.Cookie != nil:
		return routing.Source{Type: routing.SourceCookie, Name: s.Cookie.Name}, true
	case s.Type == v1alpha1.KeySourceQuery && s.Query != nil:
		return routing.Source{Type: routing.SourceQuery, Name: s.Query.Name}, true
	case s.Type == v1alpha1.KeySourcePath && s.Path != nil:
		return routing.Source{Type: routing.SourcePath, Name: s.Path.Name}, true
	case s.Type == v1alpha1.KeySourceJSONBody && s.JSONBody != nil:
		return routing.Source{Type: routing.SourceJSONBody, Name: s.JSONBody.Pointer}, true
	case s.Type == v1alpha1.KeySourceJWTClaim && s.JWTClaim != nil:
		return routing.Source{Type: routing.SourceJWTClaim, Name: s.JWTClaim.Name, Header: s.JWTClaim.Header}, true
	}
	return routing.Source{}, false
}

func routingFlows(rs *v1alpha1.RegionalService, own v1alpha1.OwnershipSlice, c ownership.Configuration) []routing.Flow {
	spec := &rs.Spec
	behaviours := make(map[string]v1alpha1.FlowBehaviour, len(spec.Behaviours))
	for _, b := range spec.Behaviours {
		behaviours[b.Name] = b
	}
	states := FlowStates(spec, c)
	out := make([]routing.Flow, 0, len(own.Flows))
	for i, f := range own.Flows {
		b := behaviours[f.Name]
		flow := routing.Flow{
			Name: f.Name, Core: b.Tier == v1alpha1.TierCore, Key: f.Key, Match: make([]routing.Match, 0, len(f.Match)),
			HomeRegion: f.ServedBy == v1alpha1.ServedByHomeRegion, Pinned: f.Pinned,
			Shed:          b.WhenDegraded == v1alpha1.WhenDegradedShed,
			Degraded:      states[i].State != v1alpha1.FlowAvailable,
			ReadsSessions: b.ReadsSessions, IssuesSessions: b.IssuesSessions, Defer: routingDefer(rs, b),
		}
		if b.OnHomeLoss != nil {
			flow.OnHomeLoss = string(b.OnHomeLoss.Action)
		}
		if b.SecondRead != nil && !flow.HomeRegion {
			flow.SecondRead = secondRead(b.SecondRead, b.SecondReadHomes)
		}
		for _, m := range f.Match {
			flow.Match = append(flow.Match, routing.Match{Host: m.Host, Method: m.Method, Path: m.Path})
		}
		out = append(out, flow)
	}
	return out
}

// unmatched fills in the API's defaults, so that a forgotten POST does not write everywhere.
func unmatched(u *v1alpha1.Unmatched) routing.Unmatched {
	out := routing.Unmatched{SafeMethods: string(v1alpha1.UnmatchedAnyRegion), OtherMethods: string(v1alpha1.UnmatchedReject)}
	if u == nil {
		return out
	}
	if u.SafeMethods != "" {
		out.SafeMethods = string(u.SafeMethods)
	}
	if u.OtherMethods != "" {
		out.OtherMethods = string(u.OtherMethods)
	}
	out.Key = u.Key
	return out
}

func announcements(in []v1alpha1.Announcement) []routing.Announcement {
	out := make([]routing.Announcement, 0, len(in))
	for _, a := range in {
		text := make([]routing.LocalizedText, 0, len(a.Text))
		for _, t := range a.Text {
			text = append(text, routing.LocalizedText{Language: t.Language, Value: t.Value})
		}
		out = append(out, routing.Announcement{Flows: a.Flows, Text: text})
	}
	return out
}
