package regionalservice

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	applyappsv1 "k8s.io/client-go/applyconfigurations/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/regionalservice"
	"multiactive.dev/operator/internal/routing"
)

// recheckProblem is how soon a refused write is tried again although nothing announces that it
// may succeed.
const recheckProblem = 30 * time.Second

// problemError is a failure that a person has to mend; it goes into a condition.
type problemError struct {
	reason, message string
}

// Error implements error.
func (e *problemError) Error() string { return e.reason + ": " + e.message }

// step carries out one step. Each is idempotent.
func (r *Reconciler) step(ctx context.Context, rs *v1alpha1.RegionalService, seen plan.Seen, step plan.Step) error {
	logger := log.FromContext(ctx)
	switch step.Kind {
	case plan.StepRecordStamp: // recordStamp's
	case plan.StepAddFinalizer:
		return r.patchFinalizers(ctx, rs, controllerutil.AddFinalizer)
	case plan.StepRemoveFinalizer:
		logger.Info("The regional service is taken down.")
		return r.patchFinalizers(ctx, rs, controllerutil.RemoveFinalizer)
	case plan.StepApply:
		logger.Info("Writing an object.", "kind", kindOf(step.Object), "object", step.Object.GetName(), "as", step.As, "reason", step.Reason)
		return r.apply(ctx, rs, seen, step)
	case plan.StepDelete:
		logger.Info("Removing an object.", "kind", kindOf(step.Object), "object", step.Object.GetName(), "reason", step.Reason)
		return r.remove(ctx, step)
	case plan.StepPublish:
		return r.publish(rs, step.Upstream)
	case plan.StepWithdraw:
		r.Publisher.Withdraw(rs.Namespace, rs.Name)
	case plan.StepTopics:
		if want := wantedTopics(rs); len(want.Topics) > 0 {
			r.Topics.Keep(client.ObjectKeyFromObject(rs), want)
		} else {
			r.Topics.Forget(client.ObjectKeyFromObject(rs))
		}
	case plan.StepDeleteTopics:
		r.Topics.Keep(client.ObjectKeyFromObject(rs), doomedTopics(rs, r.Options.Region))
	case plan.StepForgetTopics:
		r.Topics.Forget(client.ObjectKeyFromObject(rs))
	}
	return nil
}

// patchFinalizers patches under the version that was read, so that nobody else's finalizer is lost.
func (r *Reconciler) patchFinalizers(ctx context.Context, rs *v1alpha1.RegionalService, change func(client.Object, string) bool) error {
	changed := rs.DeepCopy()
	if !change(changed, plan.Finalizer) {
		return nil
	}
	patch := client.MergeFromWithOptions(rs.DeepCopy(), client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, changed, patch, FieldOwner); err != nil {
		return client.IgnoreNotFound(err)
	}
	rs.Finalizers, rs.ResourceVersion = changed.Finalizers, changed.ResourceVersion
	return nil
}

// recordStamp patches under the version that was read: if the slice has changed since, this one is
// not acted on. What there is to tell otherwise before anything is done goes with it: it is one write for both.
func (r *Reconciler) recordStamp(ctx context.Context, rs *v1alpha1.RegionalService, seen plan.Seen, todo plan.Plan) error {
	changed := rs.DeepCopy()
	changed.Status.ActedStamp = &v1alpha1.ActedStamp{ServiceID: rs.Spec.ServiceID, Stamp: rs.Spec.Stamp}
	if !seen.Quiet {
		plan.Report(r.Clock.Now(), changed, seen, todo, nil)
	}
	status := changed.Status.DeepCopy()
	patch := client.MergeFromWithOptions(rs.DeepCopy(), client.MergeFromWithOptimisticLock{})
	if err := r.Client.Status().Patch(ctx, changed, patch, FieldOwner); err != nil {
		return err
	}
	before := rs.Status.Conditions
	rs.Status, rs.ResourceVersion = *status, changed.ResourceVersion
	r.tellConditions(rs, before)
	return nil
}

// publish hands the gateways a builder, so that changes of the view reach them without this
// controller.
func (r *Reconciler) publish(rs *v1alpha1.RegionalService, upstream string) error {
	slice, region := rs.DeepCopy(), r.Options.Region
	return r.Publisher.Publish(rs.Namespace, rs.Name, func(c ownership.Configuration) routing.Config {
		return regional.Routing(slice, region, upstream, c)
	})
}

func (r *Reconciler) apply(ctx context.Context, rs *v1alpha1.RegionalService, seen plan.Seen, step plan.Step) error {
	if err := r.checkOurs(ctx, rs, seen, step.Object); err != nil {
		return err
	}
	writer := r.Client
	if step.As != "" {
		var err error
		if writer, err = r.Impersonate(rs.Namespace, step.As); err != nil {
			return fmt.Errorf("acting as service account %s: %w", step.As, err)
		}
	}
	if d, ok := step.Object.(*appsv1.Deployment); ok && d.Spec.Replicas == nil {
		if err := r.releaseReplicas(ctx, writer, d); err != nil {
			return explain(err, rs.Namespace, step)
		}
	}
	content, err := regional.Content(step.Object)
	if err != nil {
		return err
	}
	u := &unstructured.Unstructured{Object: content}
	err = writer.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), FieldOwner, client.ForceOwnership)
	return explain(err, rs.Namespace, step)
}

// replicasOwner is the owner of replicas that were declared and are left to others now. Once somebody scales,
// that is the owner.
const replicasOwner = client.FieldOwner("multiactive-left-to-others")

// releaseReplicas gives the replicas of a Deployment that this controller has declared another owner. A field
// that its only owner does not apply any more goes back to its default: all Pods but one would end.
func (r *Reconciler) releaseReplicas(ctx context.Context, writer client.Client, d *appsv1.Deployment) error {
	live := &appsv1.Deployment{}
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(d), live); err != nil {
		return client.IgnoreNotFound(err)
	}
	declared := slices.ContainsFunc(live.ManagedFields, func(m metav1.ManagedFieldsEntry) bool {
		return m.Manager == string(FieldOwner) && m.Operation == metav1.ManagedFieldsOperationApply && m.FieldsV1 != nil &&
			bytes.Contains(m.FieldsV1.GetRawBytes(), []byte(`"f:replicas"`))
	})
	if !declared || live.Spec.Replicas == nil {
		return nil
	}
	left := applyappsv1.Deployment(d.Name, d.Namespace).WithSpec(applyappsv1.DeploymentSpec().WithReplicas(*live.Spec.Replicas))
	return writer.Apply(ctx, left, replicasOwner)
}

// checkOurs refuses to write over an object that the operator did not make. What the cache shows
// as owned needs no second look.
func (r *Reconciler) checkOurs(ctx context.Context, rs *v1alpha1.RegionalService, seen plan.Seen, obj regional.Object) error {
	for _, owned := range seen.Owned {
		if kindOf(owned) == kindOf(obj) && owned.GetName() == obj.GetName() {
			return nil
		}
	}
	found := &metav1.PartialObjectMetadata{}
	found.SetGroupVersionKind(obj.GetObjectKind().GroupVersionKind())
	err := r.Live.Get(ctx, client.ObjectKeyFromObject(obj), found)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("reading %s %s: %w", kindOf(obj), obj.GetName(), err)
	case regional.Owned(found, rs):
		return nil
	}
	return &problemError{v1alpha1.ReasonNotOurs, fmt.Sprintf(
		"%s %s/%s exists and was not made by the operator, which leaves it alone; rename or remove it, or have the service refer to it (workload.type DeploymentRef or ServiceRef)",
		kindOf(obj), rs.Namespace, obj.GetName())}
}

func (r *Reconciler) remove(ctx context.Context, step plan.Step) error {
	uid := step.Object.GetUID()
	err := r.Client.Delete(ctx, step.Object, client.Preconditions{UID: &uid}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // gone, or another object of that name: the next pass sees
	}
	return explain(err, step.Object.GetNamespace(), plan.Step{Object: step.Object})
}

// explain turns refusals that a person has to mend into problems and leaves the rest.
func explain(err error, namespace string, step plan.Step) error {
	name := kindOf(step.Object) + " " + step.Object.GetName()
	switch {
	case err == nil:
		return nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return &problemError{v1alpha1.ReasonNamespaceMissing, fmt.Sprintf("namespace %s is being deleted", namespace)}
	case apierrors.IsForbidden(err):
		return forbidden(err, name, namespace, step)
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return &problemError{v1alpha1.ReasonInvalidObject, fmt.Sprintf("the API server refuses %s: %s", name, statusMessage(err))}
	case apierrors.IsNotFound(err):
		return &problemError{v1alpha1.ReasonNamespaceMissing, fmt.Sprintf("namespace %s does not exist here; create it", namespace)}
	}
	return fmt.Errorf("writing %s: %w", name, err)
}

func forbidden(err error, name, namespace string, step plan.Step) error {
	message := statusMessage(err)
	switch {
	case strings.Contains(message, "exceeded quota"):
		message = fmt.Sprintf("a quota does not allow %s: %s", name, message)
	case strings.Contains(message, "cannot impersonate"):
		message = fmt.Sprintf("the member may not act as service account %s/%s: let the operator's ClusterRole impersonate serviceaccounts: %s", namespace, step.As, message)
	case step.As != "" && strings.Contains(message, "system:serviceaccount:"):
		message = fmt.Sprintf("service account %[1]s may not write %[2]s in namespace %[3]s. To allow it: "+
			"kubectl -n %[3]s create role multiactive-workload --verb=get,create,patch --resource=deployments.apps && "+
			"kubectl -n %[3]s create rolebinding multiactive-workload-%[1]s --role=multiactive-workload --serviceaccount=%[3]s:%[1]s",
			step.As, name, namespace)
	default:
		message = fmt.Sprintf("%s may not be written: %s", name, message)
	}
	return &problemError{v1alpha1.ReasonForbidden, message}
}

// statusMessage is what the API server said.
func statusMessage(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return status.Status().Message
	}
	return err.Error()
}
