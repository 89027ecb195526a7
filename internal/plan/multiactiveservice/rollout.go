package multiactiveservice

import (
	"cmp"
	stdslices "slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/slices"
)

// States of a rollout.
const (
	RolloutComplete    = "Complete"
	RolloutProgressing = "Progressing"
	RolloutPaused      = "Paused"
	RolloutStopped     = "Stopped"
	RolloutFrozen      = "Frozen"
)

// DefaultProgressDeadline is how long a region may take to become available.
const DefaultProgressDeadline = 10 * time.Minute

// rollout is the decision about the workload: which regions get, or keep, the declared one.
type rollout struct {
	carries      map[string]bool
	status       *v1alpha1.RolloutStatus
	recheckAfter time.Duration
}

// standing is where one region stands in the rollout.
type standing struct {
	region string
	// has the declared workload in its slice.
	has bool
	// done: it is rolled out there and available.
	done bool
	// reachable regions can be changed.
	reachable bool
}

// decideRollout lets a change of the workload through one region after the other, in declared
// order. A region that has nothing yet gets the workload at once: there is nothing to break. What
// a region has is read from the region itself, so that a lost status loses nothing but times.
func decideRollout(now time.Time, mas *v1alpha1.MultiActiveService, seen Seen) rollout {
	target := slices.WorkloadHash(mas.Spec)
	r := rollout{carries: map[string]bool{}, status: resume(mas.Status.Rollout, target)}
	var pending []string
	var unfinished, relapsed string
	for _, s := range standings(mas, seen, target, r.status.Region) {
		switch {
		case s.has && s.done:
			r.carries[s.region] = true
			r.finished(now, s.region)
		case s.has && stdslices.Contains(r.status.Updated, s.region):
			r.carries[s.region] = true
			relapsed = s.region
		case s.has:
			r.carries[s.region] = true
			unfinished = cmp.Or(unfinished, s.region)
		case !s.reachable && r.status.Region == s.region && !stdslices.Contains(r.status.Updated, s.region):
			unfinished = cmp.Or(unfinished, s.region) // its outcome is not known: do not go on
		case s.reachable:
			pending = append(pending, s.region)
		}
	}
	if len(pending) > 0 {
		// A region that failed after it had been available holds the others up; when there are no
		// others, it is no matter of the rollout any more.
		unfinished = cmp.Or(unfinished, relapsed)
	}
	if mas.Spec.Rollout != nil && mas.Spec.Rollout.Strategy == v1alpha1.RolloutAllAtOnce {
		r.allAtOnce(now, mas, seen, pending, unfinished)
		return r
	}
	r.regionByRegion(now, mas, seen, pending, unfinished)
	return r
}

func resume(old *v1alpha1.RolloutStatus, target string) *v1alpha1.RolloutStatus {
	if old == nil || old.Hash != target {
		return &v1alpha1.RolloutStatus{Hash: target}
	}
	return old.DeepCopy()
}

func standings(mas *v1alpha1.MultiActiveService, seen Seen, target, changing string) []standing {
	var out []standing
	for _, declared := range mas.Spec.Regions {
		if reason, _ := seen.refusal(mas, declared.Name); reason != "" {
			continue
		}
		at := seen.region(declared.Name)
		s := standing{region: declared.Name, reachable: at.Connection == Connected}
		if s.reachable {
			s.has = at.Slice == nil || foreign(mas, at.Slice) || at.Slice.Spec.Workload.Hash == target
			s.done = at.Slice != nil && s.has && available(at.Slice, target, declared.Name == changing)
		}
		out = append(out, s)
	}
	return out
}

// available reports whether the region's member has rolled the workload out and calls it available.
// In the region that is changing that must be said of the slice as it stands; in the others a
// change of something else in the slice must not hold the rollout up.
func available(s *v1alpha1.RegionalService, hash string, changing bool) bool {
	c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionWorkloadAvailable)
	return s.Status.WorkloadHash == hash && c != nil && c.Status == metav1.ConditionTrue &&
		(!changing || c.ObservedGeneration == s.Generation)
}

// finished notes a region that became available; the pause counts from it.
func (r *rollout) finished(now time.Time, region string) {
	if stdslices.Contains(r.status.Updated, region) {
		return
	}
	r.status.Updated = append(r.status.Updated, region)
	at := metav1.NewTime(now.UTC().Truncate(time.Second))
	r.status.CompletedAt = &at
}

func (r *rollout) regionByRegion(now time.Time, mas *v1alpha1.MultiActiveService, seen Seen, pending []string, unfinished string) {
	switch {
	case unfinished != "":
		r.await(now, mas, unfinished)
	case len(pending) == 0:
		r.complete()
	case seen.openIncident(mas) != "":
		r.status.State, r.status.Region = RolloutFrozen, pending[0]
		r.status.StartedAt = nil
	case r.pausing(now, mas) > 0:
		r.status.State, r.status.Region = RolloutPaused, pending[0]
		r.status.StartedAt = nil
		r.recheckAfter = r.pausing(now, mas)
	default:
		r.carries[pending[0]] = true
		r.await(now, mas, pending[0])
	}
}

func (r *rollout) allAtOnce(now time.Time, mas *v1alpha1.MultiActiveService, seen Seen, pending []string, unfinished string) {
	if len(pending) > 0 && seen.openIncident(mas) != "" {
		r.status.State, r.status.Region = RolloutFrozen, pending[0]
		r.status.StartedAt = nil
		return
	}
	for _, region := range pending {
		r.carries[region] = true
	}
	switch {
	case unfinished != "":
		r.await(now, mas, unfinished)
	case len(pending) > 0:
		r.await(now, mas, pending[0])
	default:
		r.complete()
	}
}

func (r *rollout) complete() {
	r.status.State, r.status.Region, r.status.StartedAt = RolloutComplete, "", nil
}

// await waits for a region to become available, until its deadline.
func (r *rollout) await(now time.Time, mas *v1alpha1.MultiActiveService, region string) {
	if r.status.Region != region || r.status.StartedAt == nil {
		at := metav1.NewTime(now.UTC().Truncate(time.Second))
		r.status.Region, r.status.StartedAt = region, &at
	}
	deadline := DefaultProgressDeadline
	if o := mas.Spec.Rollout; o != nil && o.ProgressDeadline != nil {
		deadline = o.ProgressDeadline.Duration
	}
	left := r.status.StartedAt.Add(deadline).Sub(now)
	if left <= 0 {
		r.status.State = RolloutStopped
		return
	}
	r.status.State, r.recheckAfter = RolloutProgressing, left
}

// pausing returns how much of the pause between two regions is left.
func (r *rollout) pausing(now time.Time, mas *v1alpha1.MultiActiveService) time.Duration {
	if mas.Spec.Rollout == nil || mas.Spec.Rollout.Pause == nil || r.status.CompletedAt == nil {
		return 0
	}
	return max(0, r.status.CompletedAt.Add(mas.Spec.Rollout.Pause.Duration).Sub(now))
}
