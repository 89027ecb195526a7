package multiactiveservice

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/dns"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
)

// +kubebuilder:rbac:groups=externaldns.k8s.io,resources=dnsendpoints,verbs=get;create;patch;delete

// observeDNS reads this cluster's DNSEndpoint of a service that may have one, past the cache: ExternalDNS may be
// installed at any time, or never. What hinders it is noted, and hinders nothing else.
func (r *Reconciler) observeDNS(ctx context.Context, s subject) *plan.DNSSeen {
	if s.own == nil || !s.own.DeletionTimestamp.IsZero() || !plan.LooksForDNS(s.declared) {
		return nil
	}
	seen := &plan.DNSSeen{Owner: s.own.UID}
	obj := dns.Empty(s.declared)
	switch err := r.Client.Get(ctx, client.ObjectKeyFromObject(obj), obj); {
	case err == nil:
		seen.Object = obj
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err) && s.declared.Spec.DNS == nil:
	default:
		seen.Problem = explainDNS(err)
	}
	return seen
}

// dnsClaimant returns the service that declared the host of this one's records before it did, "" when none did. One whose
// namespace may not have the host takes it from nobody.
func (r *Reconciler) dnsClaimant(ctx context.Context, mas *v1alpha1.MultiActiveService) (string, error) {
	if mas.Spec.DNS == nil {
		return "", nil
	}
	host := mas.Spec.DNS.Host
	return r.claimant(ctx, mas, func(other *v1alpha1.MultiActiveService) bool {
		if other.Spec.DNS == nil || other.Spec.DNS.Host != host {
			return false
		}
		var namespace corev1.Namespace
		err := r.Client.Get(ctx, types.NamespacedName{Name: other.Namespace}, &namespace)
		return err == nil && dns.Allowed(namespace.Annotations[v1alpha1.AnnotationDNSHosts], host)
	})
}

// actOnDNS writes or deletes the DNSEndpoint, and notes what there is then. What a person has to mend is noted for the report; it is looked at
// again later by itself.
func (r *Reconciler) actOnDNS(ctx context.Context, seen *plan.DNSSeen, step plan.Step) error {
	err := r.changeDNS(ctx, seen, step)
	if err == nil || apierrors.IsConflict(err) {
		return err
	}
	seen.Problem = explainDNS(err)
	if seen.Problem.Reason == v1alpha1.ReasonEndpointUnwritten {
		return fmt.Errorf("step %s: %w", step.Kind, err)
	}
	return nil
}

// changeDNS makes this cluster's object what the step says.
func (r *Reconciler) changeDNS(ctx context.Context, seen *plan.DNSSeen, step plan.Step) error {
	have := seen.Object
	if step.Kind == plan.StepDeleteDNS {
		uid := have.GetUID()
		if err := client.IgnoreNotFound(r.Client.Delete(ctx, have, client.Preconditions{UID: &uid})); err != nil {
			return err
		}
		seen.Object = nil
		return nil
	}
	want := step.DNS.DeepCopy()
	var err error
	if have == nil {
		// Not applied: that would take over what somebody else has made meanwhile.
		err = r.Client.Create(ctx, want, client.FieldOwner(FieldOwner))
	} else {
		want.SetUID(have.GetUID()) // another object of that name is a conflict
		err = r.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(want), client.FieldOwner(FieldOwner), client.ForceOwnership)
	}
	if err != nil {
		return err
	}
	seen.Object = want
	return nil
}

// explainDNS says for people why the API server refused.
func explainDNS(err error) *plan.StageError {
	switch {
	case meta.IsNoMatchError(err), apierrors.IsNotFound(err):
		return &plan.StageError{Reason: v1alpha1.ReasonExternalDNSMissing, Message: fmt.Sprintf(
			"this cluster has no %s of version %s: install ExternalDNS's CRD and run it with --source=crd, or take dns out of the service. "+
				"It is looked for again by itself", dns.Resource, dns.Kind.Version)}
	case apierrors.IsForbidden(err):
		return &plan.StageError{Reason: v1alpha1.ReasonForbidden, Message: "the hub may not keep DNSEndpoints: apply the operator's ClusterRole again. " +
			"It is tried again by itself"}
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return &plan.StageError{Reason: v1alpha1.ReasonInvalidObject, Message: "the API server refuses the DNSEndpoint: " + err.Error()}
	}
	return &plan.StageError{Reason: v1alpha1.ReasonEndpointUnwritten, Message: "the API server does not let the DNSEndpoint be read or written: " +
		string(apierrors.ReasonForError(err))}
}
