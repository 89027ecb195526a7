package capacity

import (
	"fmt"
	"slices"
	"strings"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	desired "multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/ownership"
)

// Verdict says of a drain, service by service, what its survivors have.
type Verdict struct {
	// Ready are those that were scaled up for it and have all of their replicas; Lacking those that have
	// not, with what they have.
	Ready, Lacking []string
	// Warnings are of survivors that are not scaled up, and get more keys than they are sized for.
	Warnings []string
}

// Drain reckons what the services' survivors need without the region. Nothing lacks once the region owns
// no keys any more, whatever the reason; the warnings stay.
func Drain(services []Service, c ownership.Configuration, region string) Verdict {
	var v Verdict
	for _, s := range services {
		own := s.inForce(c)
		if !s.agreed(c) || weight(own, region) == 0 {
			continue
		}
		var kept []string
		for _, r := range own.Regions {
			switch {
			case r.Weight == 0 || r.Name == region || !s.owns(c, r.Name): // it gets none of the keys
			case !s.scalesIn(r.Name):
				kept = append(kept, r.Name+s.short(r.Name))
			case s.owns(c, region):
				v.judge(s, c, r.Name, region)
			}
		}
		switch more := s.bound(c, own, region); {
		case len(kept) > 0:
			v.Warnings = append(v.Warnings, s.strained(c, own, region, kept)+more)
		case more != "":
			v.Warnings = append(v.Warnings, s.name()+more)
		}
	}
	slices.Sort(v.Ready)
	slices.Sort(v.Lacking)
	slices.Sort(v.Warnings)
	return v
}

// scalesIn reports whether the service's survivors are scaled in a region, by its slice if there is one.
func (s Service) scalesIn(region string) bool {
	if slice, _ := s.in(region); slice != nil {
		return regional.Scales(&slice.Spec.Workload)
	}
	w := desired.Workload(s.Declared.Spec, region)
	return regional.Scales(&w)
}

// judge notes whether a survivor has what it needs without the region.
func (v *Verdict) judge(s Service, c ownership.Configuration, survivor, region string) {
	slice, reached := s.in(survivor)
	lacks := func(what string) { v.Lacking = append(v.Lacking, s.at(survivor)+what) }
	switch {
	case !reached:
		lacks("the hub cannot use the cluster, see Region " + survivor)
		return
	case slice == nil:
		lacks("the region is being given the service")
		return
	}
	now, want := replicas(slice, c, region)
	told := slices.Contains(slice.Spec.Workload.PreparedFor, region) && slice.Status.ObservedGeneration == slice.Generation
	w := slice.Status.Workload
	switch {
	case want > now && !slices.Contains(slice.Status.Features, regional.FeaturePreparedFor):
		lacks(standing(slice, want) + ", and its member, of an earlier version, scales after a drain only: upgrade it")
	case w == nil || w.Ready < want:
		lacks(standing(slice, want))
	case want > now && (!told || w.Desired < want): // what is ready is left from before, and goes
		lacks("its member has not acted on it yet")
	default:
		v.Ready = append(v.Ready, s.at(survivor)+standing(slice, want))
	}
}

// replicas returns how many a region has for the drains of others that it is prepared for, without and with
// this one.
func replicas(slice *v1alpha1.RegionalService, c ownership.Configuration, region string) (without, with int32) {
	spec := slice.Spec.DeepCopy()
	spec.Workload.PreparedFor = slices.DeleteFunc(spec.Workload.PreparedFor, func(r string) bool { return r == region })
	without = *regional.Replicas(spec, c)
	spec.Workload.PreparedFor = append(spec.Workload.PreparedFor, region)
	return without, *regional.Replicas(spec, c)
}

// strained warns of survivors that are not scaled.
func (s Service) strained(c ownership.Configuration, own v1alpha1.OwnershipSlice, region string, kept []string) string {
	all, left := s.load(c, own, region)
	more := (100*(all-left) + left - 1) / left
	their := "its"
	if len(kept) > 1 {
		their = "their"
	}
	return fmt.Sprintf("%s (%s): %s will own %d %% more keys than %s replicas are sized for",
		s.name(), s.whyKept(), strings.Join(kept, ", "), more, their)
}

// load is the service's whole load, and what those are sized for who carry it without the region.
func (s Service) load(c ownership.Configuration, own v1alpha1.OwnershipSlice, region string) (all, left int64) {
	return regional.Load(own, func(name string) bool { return name != region && s.owns(c, name) })
}

// short says of a Deployment that others scale that not all of it is ready.
func (s Service) short(region string) string {
	slice, _ := s.in(region)
	if slice == nil || slice.Status.Workload == nil || slice.Status.Workload.Ready >= slice.Status.Workload.Desired {
		return ""
	}
	return " (" + standing(slice, slice.Status.Workload.Desired) + ")"
}

// whyKept says why a service's survivors are not scaled.
func (s Service) whyKept() string {
	w := s.Declared.Spec.Workload
	switch {
	case !scales(s.Declared):
		return "survivors: Keep"
	case w.Type != v1alpha1.WorkloadManaged:
		return "workload " + string(w.Type) + ", which others scale"
	case w.Replicas == nil && w.Autoscaling == nil:
		return "workload.replicas is not declared"
	default:
		return "the region has not got survivors: Scale yet"
	}
}

// bound says that an autoscaler may not scale as far as its lower bound would have to be.
func (s Service) bound(c ownership.Configuration, own v1alpha1.OwnershipSlice, region string) string {
	a := s.Declared.Spec.Workload.Autoscaling
	all, left := s.load(c, own, region)
	if a == nil || left == 0 {
		return ""
	}
	need := (int64(a.MinReplicas)*all + left - 1) / left
	if need <= int64(a.MaxReplicas) {
		return ""
	}
	return fmt.Sprintf(": workload.autoscaling.maxReplicas %d is fewer than the %d that minReplicas comes to", a.MaxReplicas, need)
}
