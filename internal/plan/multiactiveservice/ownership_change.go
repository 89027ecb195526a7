package multiactiveservice

import (
	"maps"
	stdslices "slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/order"
)

// A declaration that changes who owns what is put in force in this order: every region that may own keys
// before or after gets a slice with both ownership specs and acts on it; the hub proposes the new one; the
// leader changes owners; the slices let go of the former one, and regions that are declared no more of the
// service.

// named returns the hashes of the ownership specs that may be acted on: in force, or the one before while
// a change runs, which may be given up, or proposed, which the leader may put in force at any moment.
func (s Seen) named(uid string) []string {
	var out []string
	for _, state := range s.states(uid) {
		out = append(out, state.SpecHash)
	}
	if intent, proposed := s.Configuration.ServiceIntents[uid]; proposed && !intent.Deleted {
		out = append(out, intent.SpecHash)
	}
	return out
}

// states returns the service's state in force or next, and the one before while a change runs.
func (s Seen) states(uid string) []ownership.ServiceState {
	record, ok := s.record(uid)
	if !ok {
		return nil
	}
	out := []ownership.ServiceState{record.ServiceState}
	if before, _, closing := s.Configuration.Before(record); closing {
		out = append(out, before)
	}
	return out
}

// kept returns what the slices must have besides the declaration, from the first region that has it; nil
// when there is nothing. What no region has cannot be kept.
func (s Seen) kept(mas *v1alpha1.MultiActiveService) *slices.Kept {
	own := slices.Ownership(mas)
	out := slices.Kept{Ownership: own}
	record, _ := s.record(string(mas.UID))
	for _, hash := range s.named(string(mas.UID)) {
		found, in := s.find(mas, hash)
		switch {
		case in == nil || hash == own.Hash:
			continue
		case hash == record.SpecHash:
			out.Ownership = found
		default:
			out.Others = append(out.Others, found)
		}
		out.Behaviours = append(out.Behaviours, former(mas, out.Behaviours, in.Spec.Behaviours, found)...)
	}
	for _, name := range s.staying(mas) {
		if p, ok := s.peer(mas, name); ok {
			out.Peers = append(out.Peers, p)
		}
	}
	if out.Ownership.Hash == own.Hash && len(out.Others)+len(out.Peers) == 0 {
		return nil
	}
	return &out
}

// find returns an ownership spec and the slice that has it.
func (s Seen) find(mas *v1alpha1.MultiActiveService, hash string) (v1alpha1.OwnershipSlice, *v1alpha1.RegionalService) {
	for _, name := range s.names(mas) {
		slice := s.region(name).Slice
		if slice == nil || foreign(mas, slice) {
			continue
		}
		for _, own := range slice.Spec.Ownership {
			if own.Hash == hash {
				if own.Unmatched == nil {
					own.Unmatched = slice.Spec.Unmatched
				}
				return own, slice
			}
		}
	}
	return v1alpha1.OwnershipSlice{}, nil
}

// former returns the behaviours of a spec's flows that are declared no more and that have none yet.
func former(mas *v1alpha1.MultiActiveService, have, from []v1alpha1.FlowBehaviour, own v1alpha1.OwnershipSlice) []v1alpha1.FlowBehaviour {
	var out []v1alpha1.FlowBehaviour
	for _, b := range from {
		declared := stdslices.ContainsFunc(mas.Spec.Flows, func(f v1alpha1.Flow) bool { return f.Name == b.Name })
		known := stdslices.ContainsFunc(have, func(x v1alpha1.FlowBehaviour) bool { return x.Name == b.Name })
		routed := stdslices.ContainsFunc(own.Flows, func(f v1alpha1.FlowRouting) bool { return f.Name == b.Name })
		if !declared && !known && routed {
			out = append(out, b)
		}
	}
	return out
}

// staying returns the regions that are declared no more and that the service has not let go of: a spec
// that may be acted on names them, or others have not received all that they had.
func (s Seen) staying(mas *v1alpha1.MultiActiveService) []string {
	needed := map[string]bool{}
	for _, state := range s.states(string(mas.UID)) {
		for _, name := range state.Regions {
			needed[name] = true
		}
	}
	for _, hash := range s.named(string(mas.UID)) {
		own, _ := s.find(mas, hash)
		for _, r := range own.Regions {
			needed[r.Name] = true
		}
	}
	for name, at := range s.Regions {
		if len(s.Configuration.Debts[name].Vector) > 0 && at.Slice != nil && !foreign(mas, at.Slice) {
			needed[name] = true
		}
	}
	return stdslices.DeleteFunc(stdslices.Sorted(maps.Keys(needed)), func(name string) bool { return declares(mas, name) })
}

func (s Seen) peer(mas *v1alpha1.MultiActiveService, region string) (v1alpha1.Peer, bool) {
	for _, name := range s.names(mas) {
		slice := s.region(name).Slice
		if slice == nil || foreign(mas, slice) {
			continue
		}
		for _, p := range slice.Spec.Peers {
			if p.Name == region {
				return p, true
			}
		}
	}
	return v1alpha1.Peer{}, false
}

// leave returns what to do in the regions that are declared no more: as long as they stay, their slices
// change with the others', and their workload does not. Then the others let go of them, and last they go.
func leave(mas *v1alpha1.MultiActiveService, seen Seen, in slices.Input) []Step {
	var steps []Step
	staying := seen.staying(mas)
	for _, name := range stdslices.Sorted(maps.Keys(seen.Regions)) {
		at := seen.Regions[name]
		if declares(mas, name) || at.Connection != Connected || at.Slice == nil || foreign(mas, at.Slice) {
			continue
		}
		switch want := seen.stamped(mas, seen.desiredSlice(in, name, false), at.Slice); {
		case stdslices.Contains(staying, name):
			if !upToDate(want, at.Slice) {
				steps = append(steps, Step{Kind: StepStage, Region: name, Slice: want})
			}
		case !goes(at.Slice) && !seen.hasPeer(mas, name):
			steps = append(steps, Step{Kind: StepDelete, Region: name})
		}
	}
	return steps
}

// hasPeer reports whether a declared region's slice still names another region.
func (s Seen) hasPeer(mas *v1alpha1.MultiActiveService, region string) bool {
	return stdslices.ContainsFunc(mas.Spec.Regions, func(r v1alpha1.ServiceRegion) bool {
		slice := s.region(r.Name).Slice
		return slice != nil && !foreign(mas, slice) &&
			stdslices.ContainsFunc(slice.Spec.Peers, func(p v1alpha1.Peer) bool { return p.Name == region })
	})
}

// obstacle is one thing that the change of what is declared waits for.
type obstacle struct {
	// blocks is true when it does not go away by itself.
	blocks bool
	// message names the region and, if it blocks, the next step.
	message string
}

// obstacles returns what the proposal of the declared ownership waits for: until all regions that may own
// keys before or after act on both, one of them would close the whole service; and while one is away, what
// it had cannot be told once the order of the regions is another.
func (s Seen) obstacles(mas *v1alpha1.MultiActiveService) []obstacle {
	var out []obstacle
	for _, name := range s.concerned(mas) {
		rec := s.Configuration.View.Regions[name]
		switch {
		case declares(mas, name) && s.refused(mas, name) != "":
			out = append(out, obstacle{true, "region " + name + ": " + s.refused(mas, name)})
		case rec.State == ownership.RegionDrained && rec.Unshipped:
			out = append(out, obstacle{true, "region " + name + " was drained before it served again after its loss: order: " +
				order.Command(v1alpha1.OperationUndrain, name, nil)})
		case rec.State == ownership.RegionLost && rec.Unshipped:
			out = append(out, obstacle{true, "region " + name + " is lost: wait until it has returned and serves, or, if it is gone for good, order: " +
				order.Command(v1alpha1.OperationDeclareLost, name, nil)})
		case rec.State == ownership.RegionReturning:
			out = append(out, s.returning(name))
		case rec.State == ownership.RegionServing:
			out = append(out, s.unstaged(mas, name)...)
		}
	}
	return out
}

// concerned returns the regions that may own keys of the service before the change or after it.
func (s Seen) concerned(mas *v1alpha1.MultiActiveService) []string {
	var out []string
	for _, r := range mas.Spec.Regions {
		out = append(out, r.Name)
	}
	return append(out, s.staying(mas)...)
}

func (s Seen) refused(mas *v1alpha1.MultiActiveService, name string) string {
	_, message := s.refusal(mas, name)
	return message
}

func (s Seen) returning(name string) obstacle {
	if len(order.Services(s.Configuration, name, order.AwaitsHandback)) > 0 {
		return obstacle{true, "region " + name + " has returned and does not own all its keys: order the handback: " +
			order.Command(v1alpha1.OperationHandback, name, nil)}
	}
	return obstacle{false, "region " + name + " is about to serve again"}
}

// unstaged says what a region that serves lacks before owners may change.
func (s Seen) unstaged(mas *v1alpha1.MultiActiveService, name string) []obstacle {
	at := s.region(name)
	switch {
	case at.Connection == Connecting:
		return []obstacle{{false, "connecting to region " + name}}
	case at.Connection == Unusable:
		return []obstacle{{true, "region " + name + " serves, and the hub cannot bring the declaration there: make its cluster reachable, see Region " + name}}
	case at.StageError != nil:
		return []obstacle{{true, "region " + name + ": " + at.StageError.Message}}
	case foreign(mas, at.Slice):
		return []obstacle{{true, "region " + name + " has a RegionalService of this name that belongs to another service: delete it there"}}
	case at.Slice == nil || !s.hasAll(mas, at.Slice):
		return []obstacle{{false, "region " + name + " is being given the declaration"}}
	case at.Slice.Status.ObservedGeneration != at.Slice.Generation:
		return []obstacle{{false, "region " + name + "'s member has not acted on the declaration yet"}}
	case s.joins(mas, name) && !holds(at.Slice, v1alpha1.ConditionWorkloadAvailable, v1alpha1.ConditionGatewayReady):
		return []obstacle{{false, "region " + name + " takes keys once its workload and its gateways are available"}}
	}
	return nil
}

// hasAll reports whether a slice has the declared ownership spec and all that must be kept beside it.
func (s Seen) hasAll(mas *v1alpha1.MultiActiveService, slice *v1alpha1.RegionalService) bool {
	if !has(slice, slices.Ownership(mas).Hash) {
		return false
	}
	for _, hash := range s.named(string(mas.UID)) {
		if _, in := s.find(mas, hash); in != nil && !has(slice, hash) {
			return false
		}
	}
	return true
}

// joins reports whether the declaration gives keys to a region that had none.
func (s Seen) joins(mas *v1alpha1.MultiActiveService, name string) bool {
	record, _ := s.record(string(mas.UID))
	own, in := s.find(mas, record.SpecHash)
	if in == nil || weight(own, name) > 0 {
		return false
	}
	return weight(slices.Ownership(mas), name) > 0
}

func weight(own v1alpha1.OwnershipSlice, region string) int32 {
	for _, r := range own.Regions {
		if r.Name == region {
			return r.Weight
		}
	}
	return 0
}

// holds reports whether a region's member says of the slice as it stands that the conditions are True.
func holds(s *v1alpha1.RegionalService, kinds ...string) bool {
	return !stdslices.ContainsFunc(kinds, func(kind string) bool {
		c := meta.FindStatusCondition(s.Status.Conditions, kind)
		return c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration != s.Generation
	})
}
