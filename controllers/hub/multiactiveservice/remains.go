package multiactiveservice

import (
	"context"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
)

// remains returns the services that the coordination store keeps as deleted: some of them may be gone from
// the hub and left in a region that could not be reached.
func (r *Reconciler) remains() []reconcile.Request {
	var out []reconcile.Request
	for _, intent := range r.View.Snapshot().Configuration.ServiceIntents {
		if intent.Deleted {
			out = append(out, request(intent.Namespace, intent.Name))
		}
	}
	return out
}

// clear deletes what regions have left of services of this name that are gone from the hub, and has the
// store forget those of which nothing is left. uid is that of the service that the hub has, if any.
func (r *Reconciler) clear(ctx context.Context, s subject, key types.NamespacedName, uid string) error {
	view := r.View.Snapshot()
	if !view.Known || !view.Connected || !s.acts() {
		return nil
	}
	var left []string // of the many, in order
	for id := range view.Configuration.ServiceIntents {
		intent := view.Configuration.ServiceIntents[id]
		if intent.Deleted && intent.Namespace == key.Namespace && intent.Name == key.Name && id != uid {
			left = append(left, id)
		}
	}
	slices.Sort(left)
	var failures []error
	for _, id := range left {
		failures = append(failures, r.clearOne(ctx, s, view.Configuration.ServiceIntents[id]))
	}
	return errors.Join(failures...)
}

func (r *Reconciler) clearOne(ctx context.Context, s subject, intent ownership.ServiceIntent) error {
	gone := &v1alpha1.MultiActiveService{ObjectMeta: metav1.ObjectMeta{Namespace: intent.Namespace, Name: intent.Name}}
	s.declared = gone
	seen, err := r.observe(ctx, r.Clock.Now(), s)
	if err != nil {
		return fmt.Errorf("looking for what is left of service %s/%s: %w", intent.Namespace, intent.Name, err)
	}
	for _, step := range plan.DecideRemains(intent, seen) {
		switch step.Kind { //nolint:exhaustive // there are no others
		case plan.StepDelete:
			err = r.actInRegion(ctx, seen.Regions[step.Region], step)
		case plan.StepWithdraw:
			_, err = r.Store.DeleteServiceIntent(ctx, intent.UID)
		}
		if err == nil {
			continue
		}
		if _, unreachable := explain(gone, err); unreachable && step.Region != "" {
			r.Clusters.Suspect(step.Region) // its return is announced by the registry
			continue
		}
		return fmt.Errorf("clearing what is left of service %s/%s, step %s: %w", intent.Namespace, intent.Name, step.Kind, err)
	}
	return nil
}
