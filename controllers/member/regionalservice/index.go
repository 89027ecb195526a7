package regionalservice

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
)

// Fields that the cache finds objects by. With a thousand services in a namespace each of them would else look through
// what is of all the others, in every pass and with every event.
const (
	// ofService is the service that an object was made for.
	ofService = "service"
	// refersTo has what others deploy and a service refers to (identity).
	refersTo = "refersTo"
)

// index makes the indices, before the cache is started.
func index(ctx context.Context, cache client.FieldIndexer) error {
	for _, obj := range []client.Object{
		&appsv1.Deployment{}, &corev1.Service{}, &corev1.ConfigMap{}, &policyv1.PodDisruptionBudget{}, &networkingv1.NetworkPolicy{},
		&autoscalingv2.HorizontalPodAutoscaler{}, &corev1.Pod{},
	} {
		if err := cache.IndexField(ctx, obj, ofService, func(obj client.Object) []string {
			if name := obj.GetLabels()[regional.LabelService]; name != "" {
				return []string{name}
			}
			return nil
		}); err != nil {
			return fmt.Errorf("indexing %T by service: %w", obj, err)
		}
	}
	if err := cache.IndexField(ctx, &v1alpha1.RegionalService{}, refersTo, references); err != nil {
		return fmt.Errorf("indexing regional services by what they refer to: %w", err)
	}
	return nil
}

// references are the identities of what others deploy and a service refers to.
func references(obj client.Object) []string {
	rs, is := obj.(*v1alpha1.RegionalService)
	if !is {
		return nil
	}
	var out []string
	if ref := rs.Spec.Workload.DeploymentRef; ref != nil {
		d := &appsv1.Deployment{}
		d.Name = ref.Name
		out = append(out, identity(d))
	}
	if ref := rs.Spec.Workload.ServiceRef; ref != nil {
		s := &corev1.Service{}
		s.Name = ref.Name
		out = append(out, identity(s))
	}
	return out
}

// identity names an object whatever it was read from: its Go type and its name.
func identity(obj client.Object) string { return fmt.Sprintf("%T/%s", obj, obj.GetName()) }
