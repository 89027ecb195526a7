package regional

import (
	"fmt"
	"slices"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/flows"
	"multiactive.dev/operator/internal/routing"
)

// Routing returns what the service's gateways in a region act on, from the region's slice and the
// agreed configuration. upstream is the base URL of the local application. A region that lacks the
// ownership spec that the configuration names closes the whole service: nobody accepts home writes
// there, any-region flows go on by the slice that there is.
func Routing(rs *v1alpha1.RegionalService, region, upstream string, c ownership.Configuration) routing.Config {
	spec := &rs.Spec
	record, known := c.Services[spec.ServiceID]
	own, named := OwnershipInForce(spec, record)
	out := routing.Config{
		Namespace: rs.Namespace, Name: rs.Name, UID: spec.ServiceID, Region: region,
		Epoch: c.View.Epoch, Upstream: upstream, PeerKey: record.PeerKey,
		Regions: routingRegions(spec, own, record, c.View), Keys: routingKeys(own),
		Flows: routingFlows(spec, own, record, c.View), Unmatched: unmatched(spec.Unmatched),
		Announcements: announcements(spec.Announcements),
	}
	switch {
	case !known:
		out.Closed, out.ClosedReason = true, "the regions have not agreed on this service yet"
	case record.Deleted:
		out.Closed, out.ClosedReason = true, "the service is being deleted"
	case !named:
		out.Closed = true
		out.ClosedReason = fmt.Sprintf("this region lacks the ownership spec %s that the regions agreed on", record.SpecHash)
	}
	return out
}

// OwnershipInForce returns the ownership slice that the record names. Without it, it returns the
// first one there is, and false.
func OwnershipInForce(spec *v1alpha1.RegionalServiceSpec, record ownership.ServiceRecord) (v1alpha1.OwnershipSlice, bool) {
	for _, o := range spec.Ownership {
		if record.SpecHash != "" && o.Hash == record.SpecHash {
			return o, true
		}
	}
	if len(spec.Ownership) == 0 {
		return v1alpha1.OwnershipSlice{}, false
	}
	return spec.Ownership[0], false
}

// FlowStates returns how each flow is served.
func FlowStates(spec *v1alpha1.RegionalServiceSpec, c ownership.Configuration) []flows.State {
	record := c.Services[spec.ServiceID]
	own, _ := OwnershipInForce(spec, record)
	return flows.Evaluate(own, spec.Behaviours, c.View, record)
}

func routingRegions(spec *v1alpha1.RegionalServiceSpec, own v1alpha1.OwnershipSlice, record ownership.ServiceRecord, view ownership.View) []routing.Region {
	weights := make(map[string]int32, len(own.Regions))
	for _, r := range own.Regions {
		weights[r.Name] = r.Weight
	}
	regions := make([]routing.Region, 0, len(spec.Peers))
	add := func(name, display, endpoint string) {
		regions = append(regions, routing.Region{
			Name: name, DisplayName: display, Weight: weights[name], Endpoint: endpoint,
			State:    view.Regions[name].State,
			Excluded: slices.Contains(record.Excluded, name), HandedBack: view.Regions[name].ReturnedEpoch != 0 && record.HandedBack[name] == view.Regions[name].ReturnedEpoch,
		})
	}
	for _, p := range spec.Peers {
		add(p.Name, p.DisplayName, p.Endpoint)
	}
	// A region that owns slots counts although nobody says how to reach it: without it the slots
	// would seem to be another's.
	for _, r := range own.Regions {
		if !slices.ContainsFunc(spec.Peers, func(p v1alpha1.Peer) bool { return p.Name == r.Name }) {
			add(r.Name, "", "")
		}
	}
	return regions
}

func routingKeys(own v1alpha1.OwnershipSlice) []routing.Key {
	keys := make([]routing.Key, 0, len(own.Keys))
	for _, k := range own.Keys {
		key := routing.Key{Name: k.Name, From: []routing.Source{}}
		for _, from := range k.From {
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

// routingSource is false for sources that gateways do not read yet; a condition says so.
func routingSource(s v1alpha1.KeySource) (routing.Source, bool) {
	switch {
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

func routingFlows(spec *v1alpha1.RegionalServiceSpec, own v1alpha1.OwnershipSlice, record ownership.ServiceRecord, view ownership.View) []routing.Flow {
	behaviours := make(map[string]v1alpha1.FlowBehaviour, len(spec.Behaviours))
	for _, b := range spec.Behaviours {
		behaviours[b.Name] = b
	}
	states := flows.Evaluate(own, spec.Behaviours, view, record)
	out := make([]routing.Flow, 0, len(own.Flows))
	for i, f := range own.Flows {
		b := behaviours[f.Name]
		flow := routing.Flow{
			Name: f.Name, Core: b.Tier == v1alpha1.TierCore, Key: f.Key, Match: make([]routing.Match, 0, len(f.Match)),
			HomeRegion: f.ServedBy == v1alpha1.ServedByHomeRegion, Pinned: f.Pinned,
			Shed:     b.WhenDegraded == v1alpha1.WhenDegradedShed,
			Degraded: states[i].State != v1alpha1.FlowAvailable,
		}
		if b.OnHomeLoss != nil {
			flow.OnHomeLoss = string(b.OnHomeLoss.Action)
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
