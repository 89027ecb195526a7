package health

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// verdict is what the observers of one region say of it, taken together.
type verdict struct {
	// observers are the other regions whose agents beat; it has no vote about itself (R13).
	observers []string
	// unreachable lists the observers that report the region unreachable for downAfter.
	unreachable []string
	// suspect: at least one observer's probes fail, or the region's beat stopped.
	suspect bool
	// confirmed: a majority of at least two observers reports the region unreachable.
	confirmed bool
	// reachable: the region beats and a majority of the observers, if any, has no complaint.
	reachable bool
	// beatStopped: the region's beat stood still for longer than its lease.
	beatStopped bool
}

func (w *Watch) assess(now time.Duration, c ownership.Configuration, region string) verdict {
	return w.assessBy(now, c, region, w.observers(now, c))
}

// assessBy is assess with the regions whose agents beat, which are the same for all regions.
func (w *Watch) assessBy(now time.Duration, c ownership.Configuration, region string, beating []string) verdict {
	v := verdict{observers: without(beating, region)}
	complaints := 0
	for _, o := range v.observers {
		e := c.Evidence[o]
		if slices.Contains(e.Unreachable, region) {
			v.unreachable = append(v.unreachable, o)
			complaints++
		} else if slices.Contains(e.Failing, region) {
			complaints++
		}
	}
	v.beatStopped = w.Still(now, region) > w.timings.RegionLease
	v.suspect = complaints > 0 || v.beatStopped
	v.confirmed = len(v.observers) >= minObservers && majority(len(v.unreachable), len(v.observers))
	v.reachable = w.moves(now, c, region) &&
		(len(v.observers) == 0 || majority(len(v.observers)-complaints, len(v.observers)))
	return v
}

// minObservers is how many vantage points an automatic failover needs: one cannot tell a dead
// region from its own broken link.
const minObservers = 2

func majority(part, whole int) bool { return 2*part > whole }

func without(names []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == one })
}

func (w *Watch) observers(now time.Duration, c ownership.Configuration, except ...string) []string {
	var names []string
	for name := range regionsOf(c) {
		if !slices.Contains(except, name) && w.moves(now, c, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// agreeOnAll reports whether a majority of the observers outside the given regions reports all of
// them unreachable at once (R14).
func (w *Watch) agreeOnAll(now time.Duration, c ownership.Configuration, regions []string) bool {
	observers := w.observers(now, c, regions...)
	agreeing := 0
	for _, o := range observers {
		all := true
		for _, r := range regions {
			all = all && slices.Contains(c.Evidence[o].Unreachable, r)
		}
		if all {
			agreeing++
		}
	}
	return len(observers) >= minObservers && majority(agreeing, len(observers))
}

func (v verdict) String() string {
	switch {
	case len(v.unreachable) > 0:
		return fmt.Sprintf("reported unreachable by %s of the observers %s",
			strings.Join(v.unreachable, ", "), strings.Join(v.observers, ", "))
	case v.beatStopped:
		return "its agent stopped beating"
	case v.suspect:
		return "probes of it fail"
	default:
		return "observers " + strings.Join(v.observers, ", ") + " reach it"
	}
}
