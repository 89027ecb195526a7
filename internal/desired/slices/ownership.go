package slices

import (
	"cmp"
	"slices"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
)

// Ownership returns what of the declaration maps a request to an owner, named by its hash.
func Ownership(mas *v1alpha1.MultiActiveService) v1alpha1.OwnershipSlice {
	var out v1alpha1.OwnershipSlice
	for _, r := range mas.Spec.Regions {
		out.Regions = append(out.Regions, v1alpha1.RegionWeight{Name: r.Name, Weight: Weight(r)})
	}
	if mas.Spec.Partition != nil {
		out.Keys = mas.Spec.Partition.Keys
	}
	for _, f := range mas.Spec.Flows {
		routing := v1alpha1.FlowRouting{
			Name: f.Name, Match: f.Match, ServedBy: cmp.Or(f.ServedBy, v1alpha1.ServedByAnyRegion),
			Pinned: pinned(mas.Spec, f),
		}
		if len(routing.Pinned) == 0 {
			routing.Key = Key(mas.Spec, f)
		}
		out.Flows = append(out.Flows, routing)
	}
	out.Unmatched = Unmatched(mas.Spec.Unmatched)
	out.Hash = ownershipSpec(out).Hash()
	return out
}

// Weight returns a region's weight, 100 when none is declared.
func Weight(r v1alpha1.ServiceRegion) int32 {
	if r.Weight == nil {
		return 100
	}
	return *r.Weight
}

// Key returns the partition key that finds a flow's home: the declared one, else the one that the
// homes of the classes which it writes and reads agree on, else the only one there is, else none.
func Key(spec v1alpha1.MultiActiveServiceSpec, f v1alpha1.Flow) string {
	if f.Key != "" {
		return f.Key
	}
	for _, classes := range [][]string{f.Writes, f.Reads} {
		var keys []string
		for _, c := range spec.DataClasses {
			if slices.Contains(classes, c.Name) && c.Home != nil && c.Home.Type == v1alpha1.HomeByKey {
				keys = append(keys, c.Home.Key)
			}
		}
		slices.Sort(keys)
		if keys = slices.Compact(keys); len(keys) == 1 {
			return keys[0]
		} else if len(keys) > 1 {
			return ""
		}
	}
	if spec.Partition != nil && len(spec.Partition.Keys) == 1 {
		return spec.Partition.Keys[0].Name
	}
	return ""
}

// pinned returns the regions that may be the home of a flow whose written data, or read data if it
// writes none that is pinned, has a fixed home.
func pinned(spec v1alpha1.MultiActiveServiceSpec, f v1alpha1.Flow) []string {
	if f.ServedBy != v1alpha1.ServedByHomeRegion || f.Key != "" {
		return nil
	}
	for _, classes := range [][]string{f.Writes, f.Reads} {
		for _, c := range spec.DataClasses {
			if slices.Contains(classes, c.Name) && c.Home != nil && c.Home.Pinned != nil {
				return c.Home.Pinned.Regions
			}
		}
	}
	return nil
}

func ownershipSpec(own v1alpha1.OwnershipSlice) ownership.Spec {
	unmatched := own.Unmatched
	spec := ownership.Spec{Unmatched: ownership.SpecUnmatched{
		SafeMethods: string(unmatched.SafeMethods), OtherMethods: string(unmatched.OtherMethods), Key: unmatched.Key,
	}}
	for _, r := range own.Regions {
		spec.Regions = append(spec.Regions, ownership.WeightedRegion{Name: r.Name, Weight: r.Weight})
	}
	for _, k := range own.Keys {
		key := ownership.SpecKey{Name: k.Name}
		for _, from := range k.From {
			key.From = append(key.From, source(from))
		}
		for _, n := range k.Normalize {
			key.Normalize = append(key.Normalize, string(n))
		}
		spec.Keys = append(spec.Keys, key)
	}
	for _, f := range own.Flows {
		flow := ownership.SpecFlow{Name: f.Name, Key: f.Key, ServedBy: string(f.ServedBy), Homes: f.Pinned}
		for _, m := range f.Match {
			flow.Match = append(flow.Match, ownership.SpecMatch{Host: m.Host, Method: m.Method, Path: m.Path})
		}
		spec.Flows = append(spec.Flows, flow)
	}
	return spec
}

func source(s v1alpha1.KeySource) ownership.SpecSource {
	out := ownership.SpecSource{Type: string(s.Type)}
	for _, named := range []*v1alpha1.NamedSource{s.Header, s.Cookie, s.Query, s.Path} {
		if named != nil {
			out.Name = named.Name
		}
	}
	if s.JSONBody != nil {
		out.Name = s.JSONBody.Pointer
	}
	if s.JWTClaim != nil {
		out.Name, out.Header = s.JWTClaim.Name, s.JWTClaim.Header
	}
	return out
}
