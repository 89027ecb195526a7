package regional

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
)

const (
	defaultGatewayReplicas = 2
	// gatewayGrace outlasts the gateway's own draining: 5 s until it is out of the endpoints, and
	// 30 s for requests under way.
	gatewayGrace = 45
	// nobody is the user of the operator's image.
	nobody = 65532
)

// GatewayDeployment returns the service's gateways: without credentials for the API server, and
// within the restricted Pod security standard.
func GatewayDeployment(rs *v1alpha1.RegionalService, o Options) *appsv1.Deployment {
	name := GatewayName(rs.Name)
	container := corev1.Container{
		Name: "gateway", Image: o.GatewayImage, Command: []string{"/gateway"},
		Args: []string{
			"--agent=" + o.AgentURL, "--namespace=" + rs.Namespace, "--name=" + rs.Name,
			fmt.Sprintf("--listen=$(POD_IP):%d", GatewayPort), fmt.Sprintf("--admin-listen=$(POD_IP):%d", GatewayAdminPort),
		},
		Env:            podEnv(),
		Ports:          []corev1.ContainerPort{tcp(portName, GatewayPort), tcp("admin", GatewayAdminPort)},
		Resources:      gatewayResources(rs.Spec.Gateway.Resources),
		ReadinessProbe: httpProbe("/readyz", GatewayAdminPort, 1),
		LivenessProbe:  httpProbe("/healthz", GatewayAdminPort, 10),
	}
	pod := podSpec(container)
	gatewaySecret(rs, &pod)
	deferring(rs, &pod)
	pod.Containers[0].Args = append(pod.Containers[0].Args, o.GatewayArgs...)
	listenForPeers(rs, &pod)
	d := deployment(rs, name, ComponentGateway, nil, &corev1.PodTemplateSpec{Spec: pod})
	d.Spec.Replicas = ptr.To(GatewayReplicas(rs))
	d.Spec.Strategy = appsv1.DeploymentStrategy{
		Type: appsv1.RollingUpdateDeploymentStrategyType,
		RollingUpdate: &appsv1.RollingUpdateDeployment{
			MaxUnavailable: ptr.To(intstr.FromInt32(0)), MaxSurge: ptr.To(intstr.FromInt32(1)),
		},
	}
	d.Spec.Template.Spec.TerminationGracePeriodSeconds = ptr.To[int64](gatewayGrace)
	d.Spec.Template.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
		MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway,
		LabelSelector: &metav1.LabelSelector{MatchLabels: Selector(rs.Name, ComponentGateway)},
	}}
	return d
}

// GatewayReplicas is how many gateways the service has in its region.
func GatewayReplicas(rs *v1alpha1.RegionalService) int32 {
	return ptr.Deref(rs.Spec.Gateway.Replicas, defaultGatewayReplicas)
}

// GatewayService returns the Service that users and the other regions reach the gateways by.
func GatewayService(rs *v1alpha1.RegionalService) *corev1.Service {
	s := service(rs, GatewayName(rs.Name), ComponentGateway, Selector(rs.Name, ComponentGateway), GatewayPort)
	if rs.Spec.Gateway.PeerTLS != nil {
		s.Spec.Ports = append(s.Spec.Ports, peerServicePort())
	}
	return s
}

// gatewayResources has no CPU limit: throttling would add latency to every request.
func gatewayResources(declared *corev1.ResourceRequirements) corev1.ResourceRequirements {
	if declared != nil {
		return *declared.DeepCopy()
	}
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")},
	}
}

// podSpec puts one of the operator's own programs into the restricted Pod security standard.
func podSpec(container corev1.Container) corev1.PodSpec {
	container.SecurityContext = &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false),
		ReadOnlyRootFilesystem:   ptr.To(true),
		RunAsNonRoot:             ptr.To(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	return corev1.PodSpec{
		AutomountServiceAccountToken: ptr.To(false),
		EnableServiceLinks:           ptr.To(false),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To[int64](nobody), RunAsGroup: ptr.To[int64](nobody),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{container},
	}
}

func podEnv() []corev1.EnvVar {
	return []corev1.EnvVar{fieldEnv("POD_NAME", "metadata.name"), fieldEnv("POD_IP", "status.podIP")}
}

func fieldEnv(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path},
	}}
}

func tcp(name string, port int32) corev1.ContainerPort {
	return corev1.ContainerPort{Name: name, ContainerPort: port, Protocol: corev1.ProtocolTCP}
}

func httpProbe(path string, port, period int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(port), Scheme: corev1.URISchemeHTTP}},
		PeriodSeconds: period, TimeoutSeconds: 1, FailureThreshold: 3,
	}
}
