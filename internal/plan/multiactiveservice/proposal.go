package multiactiveservice

import (
	"reflect"
	stdslices "slices"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/ownership"
)

// proposal returns the intent for the leader when it differs from the one that the store has.
func proposal(mas *v1alpha1.MultiActiveService, seen Seen, plan Plan) (ownership.ServiceIntent, bool) {
	uid := string(mas.UID)
	intent := intended(mas)
	record, accepted := seen.record(uid)
	switch {
	case accepted && record.Deleted:
		return intent, false
	case accepted && record.SpecHash != intent.SpecHash && (len(seen.obstacles(mas)) > 0 || seen.Peers != nil && stages(plan)):
		// Nothing may be put in force that is not everywhere: what is in force stays proposed.
		intent.SpecHash, intent.Regions = record.SpecHash, record.Regions
	case !accepted && !stagedFirst(mas, seen, plan):
		return intent, false
	}
	return intent, !reflect.DeepEqual(seen.Configuration.ServiceIntents[uid], intent)
}

// intended returns what the declaration proposes.
func intended(mas *v1alpha1.MultiActiveService) ownership.ServiceIntent {
	intent := ownership.ServiceIntent{
		UID: string(mas.UID), Namespace: mas.Namespace, Name: mas.Name, SpecHash: slices.Ownership(mas).Hash,
	}
	for _, r := range mas.Spec.Regions {
		intent.Regions = append(intent.Regions, r.Name)
	}
	stdslices.Sort(intent.Regions)
	if f := mas.Spec.Failover; f != nil {
		intent.Manual = f.Mode == failoverManual
		if f.Handback == ownership.HandbackAutomatic {
			intent.Handback = ownership.HandbackAutomatic
		}
	}
	return intent
}

// failoverManual is the value of spec.failover.mode with which a person has to approve each takeover.
const failoverManual = "Manual"

// stagedFirst reports whether a service that nobody has agreed on yet may be proposed: every region that
// can be reached has the slice. A region that lacks what a configuration names would close the service
// there.
func stagedFirst(mas *v1alpha1.MultiActiveService, seen Seen, plan Plan) bool {
	hash := slices.Ownership(mas).Hash
	staged := 0
	for _, r := range mas.Spec.Regions {
		if reason, _ := seen.refusal(mas, r.Name); reason != "" {
			continue
		}
		switch at := seen.region(r.Name); at.Connection {
		case Connecting:
			return false
		case Unusable:
			continue
		case Connected:
			if !has(at.Slice, hash) || foreign(mas, at.Slice) {
				return false
			}
			staged++
		}
	}
	return staged > 0 && !stages(plan)
}

func stages(plan Plan) bool {
	return stdslices.ContainsFunc(plan.Steps, func(s Step) bool { return s.Kind == StepStage })
}

func has(slice *v1alpha1.RegionalService, hash string) bool {
	return slice != nil && stdslices.ContainsFunc(slice.Spec.Ownership, func(o v1alpha1.OwnershipSlice) bool { return o.Hash == hash })
}
