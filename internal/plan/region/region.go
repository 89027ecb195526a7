// Package region decides what the hub does for one Region, and reports it: values in, values out.
// It must never decide whether a region serves: that is in the agreed view, which it follows.
package region

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/condition"
)

// Finalizer keeps a Region while services need it.
const Finalizer = "multiactive.dev/hub"

// ProbeAPIServer names the probe of the region's API server, which the hub adds to those that are
// declared.
const ProbeAPIServer = "kubernetes-api"

// ClusterSeen is how the hub stands with the region's cluster.
type ClusterSeen struct {
	// Reason is a reason of the condition ClusterReachable; empty while connecting.
	Reason string
	// Message says what is wrong and what to do; empty when Reason is Connected.
	Message string
	// Probe of the API server; nil when the kubeconfig is not usable.
	Probe *ownership.Probe
}

// Seen is all that was read for one pass.
type Seen struct {
	Cluster ClusterSeen
	// Services that declare the region, as namespace/name, sorted.
	Services []string
	// Settled has the UIDs of services for which the declared ownership, which does not name the
	// region, is in force.
	Settled map[string]bool
	// Holding are the services, as namespace/name, that declare the region no more and that run there still.
	Holding []string
	// StoreKnown is true once the coordination store was read, StoreConnected while it answers.
	StoreKnown, StoreConnected bool
	// StoreProblem is what is known of why it does not answer.
	StoreProblem  string
	Configuration ownership.Configuration
	// Beating has the regions whose agents beat.
	Beating map[string]bool
	// Contested: somebody else has lately written over what this hub has proposed, ProposedAgo.
	Contested   bool
	ProposedAgo time.Duration
	// Peers is nil with one hub.
	Peers *Peers
}

// ContestLasts is how long a region counts as contested after somebody has written over its proposal.
const ContestLasts = 3 * time.Minute

// contestPause is how long a hub leaves a contested proposal alone: two would else write as fast as they can.
const contestPause = time.Minute

// StepKind names a step.
type StepKind string

// The steps.
const (
	// StepAddFinalizer adds Finalizer.
	StepAddFinalizer StepKind = "AddFinalizer"
	// StepPropose writes Intent.
	StepPropose StepKind = "Propose"
	// StepWithdraw deletes the intent.
	StepWithdraw StepKind = "Withdraw"
	// StepDisconnect lets go of the cluster.
	StepDisconnect StepKind = "Disconnect"
	// StepRemoveFinalizer removes Finalizer.
	StepRemoveFinalizer StepKind = "RemoveFinalizer"
)

// Step is one idempotent step.
type Step struct {
	Kind   StepKind
	Intent ownership.RegionIntent
}

// Plan is what to do now.
type Plan struct {
	Steps []Step
	// Blocked says what a deletion waits for.
	Blocked string
	// RecheckAfter is when to look again at what nothing announces; 0: need not.
	RecheckAfter time.Duration
}

// recheck is how often a region is asked whether what runs there is gone.
const recheck = 5 * time.Second

// Decide returns what to do for the region now.
func Decide(rg *v1alpha1.Region, seen Seen) Plan {
	if seen.Peers != nil {
		return decideAsPeer(rg, seen)
	}
	return decide(rg, seen)
}

func decide(rg *v1alpha1.Region, seen Seen) Plan {
	if !rg.DeletionTimestamp.IsZero() {
		return decideDeletion(rg, seen)
	}
	var plan Plan
	if !slices.Contains(rg.Finalizers, Finalizer) {
		plan.Steps = append(plan.Steps, Step{Kind: StepAddFinalizer})
	}
	if !seen.StoreKnown {
		return plan
	}
	want := intent(rg, seen)
	have, proposed := seen.Configuration.RegionIntents[rg.Name]
	differs := !proposed || !reflect.DeepEqual(have, want)
	if left := contestPause - seen.ProposedAgo; seen.Contested {
		plan.RecheckAfter = contestPause
		if differs && left > 0 {
			plan.RecheckAfter = left
			return plan
		}
	}
	if differs {
		plan.Steps = append(plan.Steps, Step{Kind: StepPropose, Intent: want})
	}
	return plan
}

// intent returns what is proposed to the leader. While the kubeconfig is not usable the probe of
// the API server stays as it was: a mistyped Secret must not change how the region is judged.
func intent(rg *v1alpha1.Region, seen Seen) ownership.RegionIntent {
	out := ownership.RegionIntent{Name: rg.Name, Role: string(rg.Spec.Role)}
	if out.Role == "" {
		out.Role = string(v1alpha1.RegionRoleActive)
	}
	if rg.Spec.Cluster != nil {
		if p := seen.Cluster.Probe; p != nil {
			out.Probes = append(out.Probes, *p)
		} else {
			for _, p := range seen.Configuration.RegionIntents[rg.Name].Probes {
				if p.Name == ProbeAPIServer {
					out.Probes = append(out.Probes, p)
				}
			}
		}
	}
	for _, p := range rg.Spec.Probes {
		out.Probes = append(out.Probes, ownership.Probe{Name: p.Name, URL: p.HTTP.URL, CABundle: p.HTTP.CABundle})
	}
	return out
}

// decideDeletion lets a region go that no service needs.
func decideDeletion(rg *v1alpha1.Region, seen Seen) Plan {
	if !slices.Contains(rg.Finalizers, Finalizer) {
		return Plan{Steps: []Step{{Kind: StepDisconnect}}}
	}
	if len(seen.Services) > 0 {
		return Plan{Blocked: fmt.Sprintf("services declare the region: %s; take it out of their spec.regions, or delete them",
			list(seen.Services))}
	}
	if !seen.StoreKnown || !seen.StoreConnected {
		return Plan{Blocked: "it is not known whether the region owns keys: " + condition.StoreUnread(seen.StoreProblem)}
	}
	if len(seen.Holding) > 0 {
		return Plan{RecheckAfter: recheck, Blocked: fmt.Sprintf("services that declare the region no more run there until their change is in force "+
			"and others have all of their data: %s; condition RoutingReady of each says what it waits for", list(seen.Holding))}
	}
	if orphans := orphaned(rg, seen); len(orphans) > 0 {
		return Plan{Blocked: fmt.Sprintf("the region serves, and the coordination store has services that may be at home there: %s; "+
			"wait until their deletion is complete", list(orphans))}
	}
	plan := Plan{}
	if _, proposed := seen.Configuration.RegionIntents[rg.Name]; proposed {
		plan.Steps = append(plan.Steps, Step{Kind: StepWithdraw})
	}
	plan.Steps = append(plan.Steps, Step{Kind: StepDisconnect}, Step{Kind: StepRemoveFinalizer})
	return plan
}

// orphaned returns the accepted services that may own slots in a serving region: those whose
// declaration is gone from the hub, or does not say what is in force.
func orphaned(rg *v1alpha1.Region, seen Seen) []string {
	if seen.Configuration.View.Regions[rg.Name].State != ownership.RegionServing || rg.Spec.Role == v1alpha1.RegionRoleWitness {
		return nil
	}
	var out []string
	for uid, s := range seen.Configuration.Services {
		if !s.Deleted && !seen.Settled[uid] {
			out = append(out, s.Namespace+"/"+s.Name)
		}
	}
	slices.Sort(out)
	return out
}

// listed bounds how many names a message has.
const listed = 10

func list(names []string) string {
	if len(names) <= listed {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:listed], ", ") + " and others"
}
