package regional

import (
	"maps"
	"slices"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/storage"
)

// FeatureStorageReplication is reported by members that act on stores.
const FeatureStorageReplication = "StorageReplication"

// FeatureConflictPolicies is reported by members that act on stores[].classes[].conflict. All regions of a store have to:
// one waits for the others.
const FeatureConflictPolicies = "ConflictPolicies"

// Those are reported by members that do so with servers of other products, too.
const (
	FeatureConflictPoliciesMySQL      = "ConflictPoliciesMySQL"
	FeatureConflictPoliciesPostgreSQL = "ConflictPoliciesPostgreSQL"
)

// Fences returns who may write to which of a service's slots, on every store that it uses, as the
// configuration says. name is the service's, <namespace>/<name>. Sets are the slots that have an order of regions in common, so that a change of owners
// concerns few rows; a list of regions that data is pinned to is a slot, and a set, of its own. While a change of more than owners is under way, nobody
// may write to slots of keys. That of regions and weights alone leaves lists as they are, so only those are closed whose owner changes.
//
// The epochs are the configuration's: whoever writes the fences keeps that of an owner who stays.
func Fences(name string, spec *v1alpha1.RegionalServiceSpec, c ownership.Configuration) storage.Fences {
	record := c.Services[spec.ServiceID]
	state, regionsBefore, closing := c.Before(record)
	next, _ := OwnershipInForce(spec, record)
	was := next
	moving := closing && state.SpecHash != record.SpecHash
	if moving {
		if named, ok := ownershipNamed(spec, state.SpecHash); ok {
			was = named
		}
	}
	o := owners{
		shut: Closed(spec, c) != "", closing: closing,
		next: c.RegionViews(record, weights(next)), before: ownership.Views(state, regionsBefore, weights(was)),
	}
	orders := ownership.RankAll(weights(was)) // slots change their sets only once nobody may write
	out := storage.Fences{Service: name, Slots: orders.Of[:]}
	for set, order := range orders.Distinct {
		f := storage.Fence{Set: set, Epoch: c.View.Epoch}
		if !moving {
			f.Owner = o.of(order)
		}
		out.Fences = append(out.Fences, f)
	}
	for _, f := range o.pinned(was.Flows) {
		f.Epoch = c.View.Epoch
		out.Pinned, out.Fences = append(out.Pinned, f.Set), append(out.Fences, f)
	}
	return out
}

// owners of a service's slots, as a configuration has them.
type owners struct {
	// shut: nobody may write to anything.
	shut bool
	// closing: owners change, from those by before to those by next.
	closing      bool
	next, before []ownership.RegionView
}

// of returns who may write to slots of an order, "" if nobody may (R6).
func (o *owners) of(order []string) string {
	if o.shut {
		return ""
	}
	owned := ownership.PinnedOwner(order, o.next)
	if o.closing {
		owned, _ = ownership.Between(ownership.PinnedOwner(order, o.before), owned)
	}
	return owned.Region
}

// pinned returns the fences of the lists of regions that flows' data is pinned to, in ascending order. Two lists that happen to have
// one slot are nobody's unless they have one owner: a fence cannot tell them apart.
func (o *owners) pinned(flows []v1alpha1.FlowRouting) []storage.Fence {
	by := map[int]string{}
	for _, f := range flows {
		if len(f.Pinned) == 0 {
			continue
		}
		slot, owner := ownership.PinnedSlot(f.Pinned), o.of(f.Pinned)
		if other, known := by[slot]; known && other != owner {
			owner = ""
		}
		by[slot] = owner
	}
	out := make([]storage.Fence, 0, len(by))
	for _, slot := range slices.Sorted(maps.Keys(by)) {
		out = append(out, storage.Fence{Set: slot, Owner: by[slot]})
	}
	return out
}

// Primary returns the region whose server of a store with one writable region may be written to, "" while none may:
// the first that may own, with the declared primary before the others. One that lacks what a lost region accepted is
// taken over to only if some flow may be: otherwise that would do nothing but part it from what is to come back.
func Primary(spec *v1alpha1.RegionalServiceSpec, s *v1alpha1.StoreSlice, c ownership.Configuration) string {
	record, known := c.Services[spec.ServiceID]
	if !known || record.Deleted {
		return ""
	}
	var order []string
	var regions []ownership.WeightedRegion
	for _, e := range s.Endpoints {
		if !HasPeer(spec, e.Region) {
			continue // nobody looks after its server
		}
		regions = append(regions, ownership.WeightedRegion{Name: e.Region})
		if e.Region == s.Topology.Primary {
			order = append([]string{e.Region}, order...)
		} else {
			order = append(order, e.Region)
		}
	}
	next := ownership.PinnedOwner(order, c.RegionViews(record, regions))
	if state, before, closing := c.Before(record); closing {
		var shut bool
		if next, shut = ownership.Between(ownership.PinnedOwner(order, ownership.Views(state, before, regions)), next); shut {
			return ""
		}
	}
	if !next.Complete && !takesOver(spec) {
		return ""
	}
	return next.Region
}

// HasPeer reports whether a region is one of the service's.
func HasPeer(spec *v1alpha1.RegionalServiceSpec, region string) bool {
	return slices.ContainsFunc(spec.Peers, func(p v1alpha1.Peer) bool { return p.Name == region })
}

// takesOver reports whether some flow goes on elsewhere while its home is lost.
func takesOver(spec *v1alpha1.RegionalServiceSpec) bool {
	return slices.ContainsFunc(spec.Behaviours, func(b v1alpha1.FlowBehaviour) bool {
		return b.OnHomeLoss != nil && b.OnHomeLoss.Action == v1alpha1.HomeLossTakeover
	})
}
