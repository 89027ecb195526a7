package multiactiveservice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"multiactive.dev/operator/api/v1alpha1"
	desired "multiactive.dev/operator/internal/desired/slices"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
)

// act carries the steps out: the finalizer before anything that it is for, what concerns regions in
// all of them at once, so that one which is just dying costs its own timeout only, then the rest.
func (r *Reconciler) act(ctx context.Context, s subject, seen *plan.Seen, steps []plan.Step) error {
	var inRegions, after []plan.Step
	var dnsErr error
	for _, step := range steps {
		switch step.Kind {
		case plan.StepAddFinalizer:
			if err := r.actHere(ctx, s, step); err != nil {
				return fmt.Errorf("step %s: %w", step.Kind, err)
			}
		case plan.StepStage, plan.StepDelete:
			inRegions = append(inRegions, step)
		case plan.StepPropose, plan.StepWithdraw, plan.StepRemoveFinalizer:
			after = append(after, step)
		case plan.StepWriteDNS, plan.StepDeleteDNS:
			dnsErr = r.actOnDNS(ctx, seen.DNS, step)
		}
	}
	regionErr := errors.Join(dnsErr, r.actInRegions(ctx, s.declared, seen, inRegions))
	for _, step := range after {
		if err := r.actHere(ctx, s, step); err != nil {
			return errors.Join(regionErr, fmt.Errorf("step %s: %w", step.Kind, err))
		}
	}
	return regionErr
}

func (r *Reconciler) actHere(ctx context.Context, s subject, step plan.Step) error {
	switch step.Kind {
	case plan.StepAddFinalizer:
		return r.patchFinalizer(ctx, s, func() { controllerutil.AddFinalizer(s.own, plan.Finalizer) })
	case plan.StepRemoveFinalizer:
		return client.IgnoreNotFound(r.patchFinalizer(ctx, s, func() { controllerutil.RemoveFinalizer(s.own, plan.Finalizer) }))
	case plan.StepPropose:
		_, err := r.Store.PutServiceIntent(ctx, step.Intent)
		return err
	case plan.StepWithdraw:
		_, err := r.Store.DeleteServiceIntent(ctx, string(s.declared.UID))
		return err
	case plan.StepStage, plan.StepDelete, plan.StepWriteDNS, plan.StepDeleteDNS: // actInRegion's and actOnDNS's
	}
	return fmt.Errorf("step %q cannot be carried out here", step.Kind)
}

// patchFinalizer changes this cluster's own object, under the version that was read.
func (r *Reconciler) patchFinalizer(ctx context.Context, s subject, change func()) error {
	base := s.own.DeepCopy()
	change()
	return r.Client.Patch(ctx, s.own, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
}

// actInRegions carries out the regions' steps at once. A region's refusal is noted for the report;
// those that nothing will announce the end of are returned as an error, to try again.
func (r *Reconciler) actInRegions(ctx context.Context, mas *v1alpha1.MultiActiveService, seen *plan.Seen, steps []plan.Step) error {
	failures := make([]error, len(steps))
	var all sync.WaitGroup
	for i, step := range steps {
		all.Go(func() { failures[i] = r.actInRegion(ctx, seen.Regions[step.Region], step) })
	}
	all.Wait()
	var again []error
	for i, step := range steps {
		err := failures[i]
		if err == nil {
			continue
		}
		problem, unreachable := explain(mas, err)
		seen.Regions[step.Region].StageError = problem
		if unreachable {
			r.Clusters.Suspect(step.Region) // its end is announced by the registry
			continue
		}
		again = append(again, fmt.Errorf("step %s in region %s: %w", step.Kind, step.Region, err))
	}
	return errors.Join(again...)
}

func (r *Reconciler) actInRegion(ctx context.Context, at *plan.RegionSeen, step plan.Step) error {
	cluster, err := r.Clusters.Get(step.Region)
	if err != nil {
		return err
	}
	switch {
	case step.Kind == plan.StepDelete:
		return remove(ctx, cluster.Client, at.Slice)
	case at.Slice != nil && !at.Slice.DeletionTimestamp.IsZero():
		return ignoreChanged(release(ctx, cluster.Client, at.Slice.DeepCopy())) // once it is gone, which wakes us, it is written anew
	}
	content, err := content(step.Slice)
	if err != nil {
		return err
	}
	return cluster.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(content),
		client.FieldOwner(FieldOwner), client.ForceOwnership)
}

// remove deletes a slice as it was seen, and nothing else: whoever leads now may have written it anew, and what has
// changed wakes us.
func remove(ctx context.Context, cluster client.Client, seen *v1alpha1.RegionalService) error {
	slice := seen.DeepCopy()
	if err := release(ctx, cluster, slice); err != nil || !slice.DeletionTimestamp.IsZero() {
		return ignoreChanged(err)
	}
	uid, version := slice.UID, slice.ResourceVersion
	return ignoreChanged(cluster.Delete(ctx, slice, client.Preconditions{UID: &uid, ResourceVersion: &version}))
}

// release takes the member's finalizer from a slice that no member has acted on: there may be none to take it. A member
// that begins to act at the same time records that under the version that it has read, as this is done: one of both is
// refused.
func release(ctx context.Context, cluster client.Client, slice *v1alpha1.RegionalService) error {
	base := slice.DeepCopy()
	if slice.Status.ActedStamp != nil || !controllerutil.RemoveFinalizer(slice, desired.Finalizer) {
		return nil
	}
	patch := client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
	return cluster.Patch(ctx, slice, patch, client.FieldOwner(FieldOwner))
}

// ignoreChanged leaves out that an object is gone or has changed.
func ignoreChanged(err error) error {
	if apierrors.IsConflict(err) {
		return nil
	}
	return client.IgnoreNotFound(err)
}

// content returns what of a slice the hub has an opinion on, without its status.
func content(slice *v1alpha1.RegionalService) (*unstructured.Unstructured, error) {
	encoded, err := json.Marshal(slice)
	if err != nil {
		return nil, fmt.Errorf("encoding the slice: %w", err)
	}
	out := &unstructured.Unstructured{}
	if err := utiljson.Unmarshal(encoded, &out.Object); err != nil {
		return nil, fmt.Errorf("encoding the slice: %w", err)
	}
	delete(out.Object, "status")
	return out, nil
}

// explain says for people why a region refused, and whether it did not answer at all. It does not
// name the region: what several say alike is told once.
func explain(mas *v1alpha1.MultiActiveService, err error) (problem *plan.StageError, unreachable bool) {
	var status apierrors.APIStatus
	switch {
	case apierrors.IsNotFound(err):
		return &plan.StageError{Reason: v1alpha1.ReasonNamespaceMissing, Message: fmt.Sprintf(
			"the cluster has no namespace %s: create it there", mas.Namespace)}, false
	case apierrors.IsForbidden(err):
		return &plan.StageError{Reason: v1alpha1.ReasonForbidden, Message: fmt.Sprintf(
			"the hub's user may not write RegionalServices in namespace %s of the cluster: bind the hub's role for regions to it", mas.Namespace)}, false
	case apierrors.IsUnauthorized(err):
		return &plan.StageError{Reason: v1alpha1.ReasonUnauthorized, Message: "the cluster refuses the hub's credentials: see the Region"}, true
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return &plan.StageError{Reason: v1alpha1.ReasonInvalidObject, Message: "the cluster refuses the slice: " + err.Error()}, false
	case errors.As(err, &status) && !apierrors.IsTimeout(err) && !apierrors.IsServerTimeout(err):
		return &plan.StageError{Reason: v1alpha1.ReasonInvalidObject, Message: "the cluster answers: " + string(apierrors.ReasonForError(err))}, false
	default:
		return &plan.StageError{Reason: v1alpha1.ReasonRegionUnreachable, Message: "the cluster did not answer: see the Region"}, true
	}
}
