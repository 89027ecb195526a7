package member_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/testkit"
)

// autoscaled leaves a Deployment's replicas to an autoscaler and takes them back: at no time do they fall to what
// a Deployment has by default.
func autoscaled(w *world) {
	const ns = "autoscaled"
	w.namespace(ns)
	rs := slice(ns, "user")
	rs.Spec.Workload.Replicas = ptr.To[int32](3)
	w.region.accept(rs, specHash)
	w.create(rs)
	w.replicas(ns, "user", 3)

	declare := func(replicas *int32, a *v1alpha1.Autoscaling) {
		edit(w, &v1alpha1.RegionalService{}, ns, "user", func(rs *v1alpha1.RegionalService) {
			rs.Spec.Workload.Replicas, rs.Spec.Workload.Autoscaling = replicas, a
		})
	}
	declare(nil, &v1alpha1.Autoscaling{MinReplicas: 2, MaxReplicas: 5, TargetCPUUtilizationPercent: 60})
	testkit.Eventually(w.t, timeout, func() error {
		a, err := get(w, &autoscalingv2.HorizontalPodAutoscaler{}, ns, "user")
		if err != nil {
			return err
		}
		if *a.Spec.MinReplicas != 2 || a.Spec.MaxReplicas != 5 || *a.Spec.Metrics[0].Resource.Target.AverageUtilization != 60 {
			return fmt.Errorf("the autoscaler is %+v", a.Spec)
		}
		d, err := get(w, &appsv1.Deployment{}, ns, "user")
		if err != nil {
			return err
		}
		if declaresReplicas(d) {
			return errors.New("the member still declares the replicas")
		}
		return nil
	})
	w.replicas(ns, "user", 3)

	// What an autoscaler has chosen stays when something else changes.
	d, err := get(w, &appsv1.Deployment{}, ns, "user")
	if err != nil {
		w.t.Fatal(err)
	}
	scale := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: 5}}
	if err := w.client.SubResource("scale").Update(w.t.Context(), d, client.WithSubResourceBody(scale)); err != nil {
		w.t.Fatal(err)
	}
	edit(w, &v1alpha1.RegionalService{}, ns, "user", func(rs *v1alpha1.RegionalService) {
		rs.Spec.Workload.Template.Spec.Containers[0].Image = "registry.example.com/app:2"
	})
	testkit.Eventually(w.t, timeout, func() error {
		if d, err = get(w, &appsv1.Deployment{}, ns, "user"); err == nil && d.Spec.Template.Spec.Containers[0].Image != "registry.example.com/app:2" {
			err = errors.New("the new image is not there yet")
		}
		return err
	})
	w.replicas(ns, "user", 5)

	w.makeAvailable(ns, "user")
	hinder(w, ns, "user", "the server could not find the requested resource")
	message := w.condition(ns, "user", v1alpha1.ConditionWorkloadAvailable, metav1.ConditionTrue, v1alpha1.ReasonNotScaling)
	if !strings.Contains(message, "FailedGetResourceMetric: the server could not find the requested resource") {
		w.t.Errorf("message %q does not say why nothing is scaled", message)
	}

	declare(ptr.To[int32](2), nil)
	w.replicas(ns, "user", 2)
	testkit.Eventually(w.t, timeout, func() error {
		if _, err := get(w, &autoscalingv2.HorizontalPodAutoscaler{}, ns, "user"); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the autoscaler is still there: %w", err)
		}
		return nil
	})
}

// declaresReplicas reports whether the member is an owner of the replicas.
func declaresReplicas(d *appsv1.Deployment) bool {
	return slices.ContainsFunc(d.ManagedFields, func(m metav1.ManagedFieldsEntry) bool {
		return m.Manager == "multiactive-member" && bytes.Contains(m.FieldsV1.GetRawBytes(), []byte(`"f:replicas"`)) && m.Subresource == ""
	})
}

// hinder has an autoscaler say that it cannot scale.
func hinder(w *world, namespace, name, message string) {
	w.t.Helper()
	testkit.Eventually(w.t, timeout, func() error {
		a, err := get(w, &autoscalingv2.HorizontalPodAutoscaler{}, namespace, name)
		if err != nil {
			return err
		}
		a.Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{
			{Type: autoscalingv2.AbleToScale, Status: corev1.ConditionTrue, Reason: "SucceededGetScale"},
			{Type: autoscalingv2.ScalingActive, Status: corev1.ConditionFalse, Reason: "FailedGetResourceMetric", Message: message},
		}
		return w.client.Status().Update(w.t.Context(), a)
	})
}
