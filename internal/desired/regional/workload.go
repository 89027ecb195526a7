package regional

import (
	"cmp"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
)

const (
	portName = "http"
	// defaultTargetCPU is what the API has for targetCPUUtilizationPercent.
	defaultTargetCPU int32 = 70
)

// ReservedAdditionalName reports whether a name is refused for an additional workload, because
// what it makes <service>-<name> is an object of the service's own. The API refuses it too.
func ReservedAdditionalName(name string) bool {
	const service = "s"
	return slices.Contains([]string{GatewayName(service), FlagsName(service)}, AdditionalName(service, name))
}

// Workload returns the Deployment of a Managed workload. Without declared replicas it leaves them
// to whoever scales: an Autoscaler, or others.
func Workload(rs *v1alpha1.RegionalService) *appsv1.Deployment {
	w := rs.Spec.Workload
	d := deployment(rs, rs.Name, ComponentApplication, nil, w.Template)
	d.Spec.Replicas = w.Replicas
	d.Annotations = map[string]string{AnnotationWorkloadHash: w.Hash}
	return d
}

// Autoscaler returns what chooses the replicas of an autoscaled workload: at least so many.
func Autoscaler(rs *v1alpha1.RegionalService, least int32) *autoscalingv2.HorizontalPodAutoscaler {
	a := rs.Spec.Workload.Autoscaling
	return &autoscalingv2.HorizontalPodAutoscaler{
		TypeMeta:   metav1.TypeMeta{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler"},
		ObjectMeta: meta(rs, rs.Name, ComponentApplication),
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: rs.Name},
			MinReplicas:    &least,
			MaxReplicas:    a.MaxReplicas,
			Metrics: []autoscalingv2.MetricSpec{{
				Type: autoscalingv2.ResourceMetricSourceType,
				Resource: &autoscalingv2.ResourceMetricSource{
					Name: corev1.ResourceCPU,
					Target: autoscalingv2.MetricTarget{
						Type:               autoscalingv2.UtilizationMetricType,
						AverageUtilization: ptr.To(cmp.Or(a.TargetCPUUtilizationPercent, defaultTargetCPU)),
					},
				},
			}},
		},
	}
}

// Additional returns the Deployment of an additional workload; inactive ones have no replicas.
func Additional(rs *v1alpha1.RegionalService, a *v1alpha1.AdditionalWorkload, active bool) *appsv1.Deployment {
	d := deployment(rs, AdditionalName(rs.Name, a.Name), ComponentAdditional, map[string]string{LabelWorkload: a.Name}, a.Template)
	d.Spec.Replicas = ptr.To(ptr.Deref(a.Replicas, 1))
	if !active {
		d.Spec.Replicas = ptr.To[int32](0)
	}
	return d
}

func deployment(rs *v1alpha1.RegionalService, name string, component Component, extra map[string]string, template *corev1.PodTemplateSpec) *appsv1.Deployment {
	selector := merged(Selector(rs.Name, component), extra)
	d := &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: meta(rs, name, component),
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: selector}},
	}
	d.Labels = merged(d.Labels, extra)
	if template != nil {
		d.Spec.Template = *template.DeepCopy()
	}
	d.Spec.Template.Labels = merged(d.Spec.Template.Labels, selector)
	return d
}

// Service returns the Service that the gateway sends requests to. selector chooses the Pods of an
// adopted Deployment; nil for a Managed workload.
func Service(rs *v1alpha1.RegionalService, selector map[string]string) *corev1.Service {
	if selector == nil {
		selector = Selector(rs.Name, ComponentApplication)
	}
	return service(rs, rs.Name, ComponentApplication, selector, rs.Spec.Workload.Port)
}

func service(rs *v1alpha1.RegionalService, name string, component Component, selector map[string]string, port int32) *corev1.Service {
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: meta(rs, name, component),
		Spec: corev1.ServiceSpec{
			Selector: selector,
			Ports: []corev1.ServicePort{{
				Name: portName, Protocol: corev1.ProtocolTCP, Port: port, TargetPort: intstr.FromInt32(port),
			}},
		},
	}
}

// Budget keeps voluntary disruptions from taking more than one Pod of a component at a time.
func Budget(rs *v1alpha1.RegionalService, name string, component Component) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		TypeMeta:   metav1.TypeMeta{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"},
		ObjectMeta: meta(rs, name, component),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable: ptr.To(intstr.FromInt32(1)),
			Selector:       &metav1.LabelSelector{MatchLabels: Selector(rs.Name, component)},
		},
	}
}
