package whatif

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	desired "multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/capacity"
	"multiactive.dev/operator/internal/plan/condition"
	"multiactive.dev/operator/internal/plan/flows"
)

// Event is what could happen to a region.
type Event string

// The events.
const (
	// Lost: the region is gone from one moment to the next.
	Lost Event = "Lost"
	// Drained: the region is emptied on purpose, after the others have caught up.
	Drained Event = "Drained"
	// Drilled: the region is emptied as with Drained, and its users meet what Lost would bring.
	Drilled Event = "Drilled"
	// Back: the region owns its keys again.
	Back Event = "Back"
)

// Effect is what an event would do to one service.
type Effect struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Moves are the keys that get another owner. Nothing moves that belonged to nobody before and after.
	Moves []Move `json:"moves,omitempty"`
	// Flows in declared order, with how they are served now and afterwards.
	Flows []FlowEffect `json:"flows,omitempty"`
	// AtRisk are the data classes of which the region may have accepted what nobody else has.
	AtRisk []Risk `json:"atRisk,omitempty"`
	// Replicas that survivors would be scaled to.
	Replicas []Scaled `json:"replicas,omitempty"`
	// Warnings are what to think of before.
	Warnings []string `json:"warnings,omitempty"`
	// Unsure says what the hub's objects do not tell.
	Unsure []string `json:"unsure,omitempty"`
}

// Move is keys that get another owner.
type Move struct {
	// From and To are regions; empty: nobody.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Slots of 1024 that move.
	Slots int `json:"slots"`
	// Incomplete: the new owner lacks what the lost one had not shipped, and serves flows with onHomeLoss Takeover alone.
	Incomplete bool `json:"incomplete,omitempty"`
}

// Percent of all keys, rounded up.
func (m Move) Percent() int { return percent(m.Slots) }

func percent(slots int) int { return (slots*100 + ownership.SlotCount - 1) / ownership.SlotCount }

// FlowEffect is how a flow is served before and after.
type FlowEffect struct {
	Name     string            `json:"name"`
	Core     bool              `json:"core"`
	ServedBy v1alpha1.ServedBy `json:"servedBy"`
	Before   FlowServed        `json:"before"`
	After    FlowServed        `json:"after"`
}

// FlowServed is how a flow is served.
type FlowServed struct {
	State v1alpha1.FlowState `json:"state"`
	// Action that affected requests meet, and the percentage of keys affected; empty while Available.
	Action          v1alpha1.HomeLossAction `json:"action,omitempty"`
	AffectedPercent int32                   `json:"affectedPercent,omitempty"`
}

// Risk is data of which a lost region may have what nobody else has.
type Risk struct {
	DataClass string            `json:"dataClass"`
	Lag       v1alpha1.LagState `json:"lag"`
	// Bound of the lag, such as 5m; empty when none is known.
	Bound string `json:"bound,omitempty"`
	// Strong classes have one home: what is lost there cannot be taken over by others.
	Strong bool `json:"strong,omitempty"`
}

// Scaled is a survivor that gets other replicas.
type Scaled struct {
	Region string `json:"region"`
	From   int32  `json:"from"`
	To     int32  `json:"to"`
}

// Region reckons what an event would do to a service. nil: the service has nothing to do with the region.
func Region(event Event, region string, mas *v1alpha1.MultiActiveService, regions map[string]*v1alpha1.Region) *Effect {
	if !slices.ContainsFunc(mas.Spec.Regions, func(r v1alpha1.ServiceRegion) bool { return r.Name == region }) {
		return nil
	}
	a := Of(mas, regions)
	own := desired.Ownership(mas)
	before, after := a, a.with(event, region)
	e := &Effect{Namespace: mas.Namespace, Name: mas.Name, Unsure: a.Unsure}
	e.Moves = moves(owners(own, before), owners(own, after))
	e.Flows = flowEffects(mas, own, before, after)
	if event == Lost {
		e.AtRisk = risks(mas, before, region)
	}
	if event != Back {
		e.Replicas = scaled(mas, regions, before, after)
		e.Warnings = warnings(mas, before, region)
	}
	return e
}

// with returns what would be agreed after the event.
func (a Agreed) with(event Event, region string) Agreed {
	c, record := a.Configuration, a.Record
	c.View.Regions = maps.Clone(c.View.Regions)
	rec := c.View.Regions[region]
	c.View.Epoch++
	switch event {
	case Lost:
		if rec.State == ownership.RegionServing && !slices.Contains(record.Excluded, region) || record.HandedBack[region] != 0 {
			rec.Unshipped, rec.LostEpoch = true, c.View.Epoch
			rec.Behind = nil
			for name, other := range c.View.Regions { // whose keys it may have owned with everything in them
				if name != region && other.State != ownership.RegionServing && !other.Unshipped {
					rec.Behind = append(rec.Behind, name)
				}
			}
			slices.Sort(rec.Behind)
		}
		rec.State, rec.Suspect = ownership.RegionLost, false
	case Drained:
		rec.State, rec.Suspect = ownership.RegionDrained, false
	case Drilled:
		rec.State, rec.Suspect, rec.Drill, rec.Rehearsal = ownership.RegionDrained, false, "preview", true
	case Back:
		rec = ownership.RegionRecord{State: ownership.RegionServing, Role: rec.Role}
		record.Excluded = slices.DeleteFunc(slices.Clone(record.Excluded), func(r string) bool { return r == region })
	}
	c.View.Regions[region] = rec
	c.Services = map[string]ownership.ServiceRecord{record.UID: record}
	return Agreed{Configuration: c, Record: record, Unsure: a.Unsure}
}

// owners returns who owns each slot.
func owners(own v1alpha1.OwnershipSlice, a Agreed) []ownership.Owned {
	ranked := weights(own)
	views := a.Configuration.RegionViews(a.Record, ranked)
	orders := ownership.RankAll(ranked)
	distinct := make([]ownership.Owned, len(orders.Distinct))
	for i, order := range orders.Distinct {
		distinct[i] = ownership.PinnedOwner(order, views)
	}
	out := make([]ownership.Owned, ownership.SlotCount)
	for slot := range out {
		out[slot] = distinct[orders.Of[slot]]
	}
	return out
}

// moves counts the slots whose owner differs, most first.
func moves(before, after []ownership.Owned) []Move {
	counted := map[Move]int{}
	for slot := range before {
		if before[slot].Region != after[slot].Region {
			counted[Move{From: before[slot].Region, To: after[slot].Region, Incomplete: after[slot].Region != "" && !after[slot].Complete}]++
		}
	}
	out := make([]Move, 0, len(counted))
	for m, n := range counted {
		m.Slots = n
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Move) int {
		return cmp.Or(cmp.Compare(b.Slots, a.Slots), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	return out
}

// Shares returns how many slots each region owns of a service now; "" for those that nobody does.
func Shares(mas *v1alpha1.MultiActiveService, a Agreed) map[string]int {
	out := map[string]int{}
	for _, o := range owners(desired.Ownership(mas), a) {
		out[o.Region]++
	}
	return out
}

// Homes returns how many slots are at home in each region, whatever the regions' states.
func Homes(mas *v1alpha1.MultiActiveService) map[string]int {
	out := map[string]int{}
	orders := ownership.RankAll(weights(desired.Ownership(mas)))
	for i, n := range orders.Count() {
		if order := orders.Distinct[i]; len(order) > 0 {
			out[order[0]] += n
		}
	}
	return out
}

func weights(own v1alpha1.OwnershipSlice) []ownership.WeightedRegion {
	out := make([]ownership.WeightedRegion, 0, len(own.Regions))
	for _, r := range own.Regions {
		out = append(out, ownership.WeightedRegion{Name: r.Name, Weight: r.Weight})
	}
	return out
}

func evaluate(mas *v1alpha1.MultiActiveService, own v1alpha1.OwnershipSlice, a Agreed) []flows.State {
	return flows.Evaluate(own, desired.Build(desired.Input{Service: mas}, own.Regions[0].Name).Spec.Behaviours, a.Configuration, a.Record)
}

func flowEffects(mas *v1alpha1.MultiActiveService, own v1alpha1.OwnershipSlice, before, after Agreed) []FlowEffect {
	now, then := evaluate(mas, own, before), evaluate(mas, own, after)
	out := make([]FlowEffect, len(now))
	for i, s := range now {
		out[i] = FlowEffect{Name: s.Name, Core: s.Core, ServedBy: own.Flows[i].ServedBy, Before: served(s), After: served(then[i])}
	}
	return out
}

func served(s flows.State) FlowServed {
	return FlowServed{State: s.State, Action: s.Action, AffectedPercent: s.AffectedPercent}
}

// risks names the classes that are carried from region to region, and how far they may lag: what a region has
// accepted within that time and not shipped is not there until it returns.
func risks(mas *v1alpha1.MultiActiveService, before Agreed, region string) []Risk {
	if !flows.Owns(before.Configuration, before.Record, region) || weight(mas, region) == 0 {
		return nil
	}
	var out []Risk
	for _, c := range mas.Spec.DataClasses {
		if desired.MessageQueue(c) == nil && desired.StorageReplication(c) == nil {
			continue
		}
		r := Risk{DataClass: c.Name, Lag: v1alpha1.LagUnknown, Strong: c.Consistency == v1alpha1.ConsistencyStrong}
		for _, s := range mas.Status.DataClasses {
			if s.Name == c.Name && s.Lag != "" {
				r.Lag = s.Lag
			}
		}
		normal, outage := desired.Objectives(c)
		switch r.Lag {
		case v1alpha1.LagWithinObjective:
			r.Bound = condition.Duration(normal)
		case v1alpha1.LagWithinOutageObjective:
			r.Bound = condition.Duration(outage)
		case v1alpha1.LagBeyondObjective, v1alpha1.LagUnknown, v1alpha1.LagNotReplicated:
		}
		out = append(out, r)
	}
	return out
}

// scaled returns the survivors that would get other replicas than they have.
func scaled(mas *v1alpha1.MultiActiveService, regions map[string]*v1alpha1.Region, before, after Agreed) []Scaled {
	var out []Scaled
	for _, r := range mas.Spec.Regions {
		slice := desired.Build(desired.Input{Service: mas, Regions: regions}, r.Name)
		was, is := regional.Replicas(&slice.Spec, before.Configuration), regional.Replicas(&slice.Spec, after.Configuration)
		if was != nil && is != nil && *is > *was {
			out = append(out, Scaled{Region: r.Name, From: *was, To: *is})
		}
	}
	return out
}

// warnings are those that a drain of the region would bring, and what the service declares that makes it worse.
func warnings(mas *v1alpha1.MultiActiveService, before Agreed, region string) []string {
	if !flows.Owns(before.Configuration, before.Record, region) || weight(mas, region) == 0 {
		return nil
	}
	survives := slices.ContainsFunc(mas.Spec.Regions, func(r v1alpha1.ServiceRegion) bool {
		return r.Name != region && weight(mas, r.Name) > 0 && flows.Owns(before.Configuration, before.Record, r.Name)
	})
	if !survives {
		return []string{fmt.Sprintf("%s is the last region that owns keys of the service: nobody would take over", region)}
	}
	// Without slices every survivor seems to lack replicas; what is not waited for is told all the same.
	return capacity.Drain([]capacity.Service{{Declared: mas}}, before.Configuration, region).Warnings
}
