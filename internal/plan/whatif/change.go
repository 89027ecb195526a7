package whatif

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"

	"multiactive.dev/operator/api/v1alpha1"
	desired "multiactive.dev/operator/internal/desired/slices"
)

// Change is what a changed declaration would do.
type Change struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// New: the service is not there yet.
	New bool `json:"new,omitempty"`
	// Lines say what would change, part by part.
	Lines []Line `json:"lines,omitempty"`
	// Moves are the keys that get another owner.
	Moves []Move `json:"moves,omitempty"`
	// Unsure says what the hub's objects do not tell.
	Unsure []string `json:"unsure,omitempty"`
}

// Line says what would change about a part of the declaration.
type Line struct {
	About string `json:"about"`
	Text  string `json:"text"`
}

// Changed reckons what would become of a service if it were declared anew; now is nil for one that is not there.
func Changed(now, then *v1alpha1.MultiActiveService, regions map[string]*v1alpha1.Region) Change {
	c := Change{Namespace: then.Namespace, Name: then.Name, New: now == nil}
	if now == nil {
		c.unknownRegions(then, regions)
		return c
	}
	a := Of(now, regions)
	c.Unsure = a.Unsure
	c.ownership(now, then, a, regions)
	c.workload(now, then)
	c.flows(now, then)
	c.data(now, then)
	for _, part := range []struct {
		about, text string
		differs     bool
	}{
		{"failover", "takes effect with the next loss or return", !equality.Semantic.DeepEqual(now.Spec.Failover, then.Spec.Failover)},
		{"gateway", "the gateways are rolled in every region at once", !equality.Semantic.DeepEqual(now.Spec.Gateway, then.Spec.Gateway)},
		{"dns", "DNS records change", !equality.Semantic.DeepEqual(now.Spec.DNS, then.Spec.DNS)},
		{"texts", "announcements change in every region", !equality.Semantic.DeepEqual(now.Spec.Announcements, then.Spec.Announcements)},
	} {
		if part.differs {
			c.add(part.about, part.text)
		}
	}
	return c
}

func (c *Change) add(about, text string) { c.Lines = append(c.Lines, Line{about, text}) }

func (c *Change) unknownRegions(mas *v1alpha1.MultiActiveService, regions map[string]*v1alpha1.Region) {
	for _, r := range mas.Spec.Regions {
		if regions[r.Name] == nil {
			c.add("region", "there is no Region "+r.Name+": nothing would run there")
		}
	}
}

// ownership says who would own other keys.
func (c *Change) ownership(now, then *v1alpha1.MultiActiveService, a Agreed, regions map[string]*v1alpha1.Region) {
	was, is := desired.Ownership(now), desired.Ownership(then)
	for _, r := range then.Spec.Regions {
		if !declares(now, r.Name) {
			c.add("region", r.Name+" is added: it gets the service first, and its keys in a planned change")
		}
	}
	for _, r := range now.Spec.Regions {
		if !declares(then, r.Name) {
			c.add("region", r.Name+" is taken out: its keys go to the others, then what runs there is deleted. Lead users elsewhere before")
		}
	}
	c.endpoints(now, then)
	c.unknownRegions(then, regions)
	if was.Hash == is.Hash {
		return
	}
	added := then.DeepCopy()
	added.Status = now.Status
	for _, r := range then.Spec.Regions {
		if !declares(now, r.Name) && weight(then, r.Name) > 0 {
			added.Status.Regions = append(added.Status.Regions, v1alpha1.ServiceRegionStatus{Name: r.Name, State: v1alpha1.RegionUp, Owns: v1alpha1.Yes})
		}
	}
	for i, s := range added.Status.Regions { // a region that had no weight owned nothing for that alone
		if weight(now, s.Name) == 0 && s.State == v1alpha1.RegionUp {
			added.Status.Regions[i].Owns = v1alpha1.Yes
		}
	}
	c.Moves = moves(owners(was, a), owners(is, Of(added, regions)))
	was.Regions, is.Regions, was.Hash, is.Hash = nil, nil, "", ""
	if !equality.Semantic.DeepEqual(was, is) {
		c.add("routing", "keys, flows or unmatched requests map to owners in another way: every home write of the service is refused for seconds while it is put in force")
	} else if len(c.Moves) > 0 {
		c.add("routing", "home writes for the keys that move are refused for seconds, once the new owners have caught up")
	}
}

// endpoints says which regions would be reached at another address.
func (c *Change) endpoints(now, then *v1alpha1.MultiActiveService) {
	for _, r := range then.Spec.Regions {
		i := slices.IndexFunc(now.Spec.Regions, func(o v1alpha1.ServiceRegion) bool { return o.Name == r.Name })
		if i < 0 {
			continue
		}
		old := now.Spec.Regions[i]
		if old.Endpoint != r.Endpoint {
			c.add("region", fmt.Sprintf("%s: the other gateways reach it at %s, no longer at %s", r.Name, r.Endpoint, old.Endpoint))
		}
		if old.PeerEndpoint != r.PeerEndpoint {
			c.add("region", r.Name+": peerEndpoint changes: what is forwarded there takes that way once both sides are ready for it")
		}
	}
}

func declares(mas *v1alpha1.MultiActiveService, region string) bool {
	return slices.ContainsFunc(mas.Spec.Regions, func(r v1alpha1.ServiceRegion) bool { return r.Name == region })
}

// workload says how a new workload would spread.
func (c *Change) workload(now, then *v1alpha1.MultiActiveService) {
	if desired.WorkloadHash(now.Spec) != desired.WorkloadHash(then.Spec) {
		var order []string
		for _, r := range then.Spec.Regions {
			order = append(order, r.Name)
		}
		if r := then.Spec.Rollout; r != nil && r.Strategy == v1alpha1.RolloutAllAtOnce {
			c.add("rollout", "the new workload starts in all regions at once: "+strings.Join(order, ", "))
		} else {
			c.add("rollout", "the new workload goes from region to region, and stops at the first that does not become available: "+strings.Join(order, ", then "))
		}
	}
	for _, r := range then.Spec.Regions {
		was, is := desired.Workload(now.Spec, r.Name), desired.Workload(then.Spec, r.Name)
		was.Hash, is.Hash = "", ""
		was.Survivors, is.Survivors = "", ""
		if declares(now, r.Name) && desired.WorkloadHash(now.Spec) == desired.WorkloadHash(then.Spec) && !equality.Semantic.DeepEqual(was, is) {
			c.add("rollout", "overrides change the workload of "+r.Name+" at once")
		}
	}
}

func (c *Change) flows(now, then *v1alpha1.MultiActiveService) {
	find := func(mas *v1alpha1.MultiActiveService, name string) *v1alpha1.Flow {
		for i := range mas.Spec.Flows {
			if mas.Spec.Flows[i].Name == name {
				return &mas.Spec.Flows[i]
			}
		}
		return nil
	}
	for _, f := range then.Spec.Flows {
		old := find(now, f.Name)
		switch {
		case old == nil:
			c.add("flow", f.Name+" is added")
		case old.Tier != f.Tier:
			c.add("flow", fmt.Sprintf("%s: tier %s becomes %s", f.Name, old.Tier, f.Tier))
		case action(*old) != action(f):
			c.add("flow", fmt.Sprintf("%s: on home loss %s becomes %s", f.Name, action(*old), action(f)))
		case !equality.Semantic.DeepEqual(*old, f):
			c.add("flow", f.Name+" changes")
		}
	}
	for _, f := range now.Spec.Flows {
		if find(then, f.Name) == nil {
			c.add("flow", f.Name+" is taken out: its requests become unmatched ones")
		}
	}
}

func (c *Change) data(now, then *v1alpha1.MultiActiveService) {
	find := func(mas *v1alpha1.MultiActiveService, name string) *v1alpha1.DataClass {
		for i := range mas.Spec.DataClasses {
			if mas.Spec.DataClasses[i].Name == name {
				return &mas.Spec.DataClasses[i]
			}
		}
		return nil
	}
	for _, d := range then.Spec.DataClasses {
		old := find(now, d.Name)
		switch {
		case old == nil:
			c.add("data", d.Name+" is added")
		case !equality.Semantic.DeepEqual(*old, d):
			c.add("data", d.Name+" changes")
		}
	}
	for _, d := range now.Spec.DataClasses {
		if find(then, d.Name) == nil {
			c.add("data", d.Name+" is taken out: it is not replicated any more; topics and rows stay")
		}
	}
}

// CoreLost reports whether a core flow would not be served for everybody, nor keep its requests for later.
func (e *Effect) CoreLost() bool {
	return slices.ContainsFunc(e.Flows, func(f FlowEffect) bool {
		return f.Core && f.After.State != v1alpha1.FlowAvailable && f.After.Action != v1alpha1.HomeLossDefer
	})
}
