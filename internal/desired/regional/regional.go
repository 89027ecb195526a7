// Package regional builds what a region's member keeps in its cluster for one RegionalService: the
// workload, the gateway, the degradation flags, the mirrors and the routing of the gateways.
//
// It is pure: the same slice gives the same objects. It must never read a cluster, and never put
// a credential into an object; Pods get those from Secrets by reference.
package regional

import (
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
)

// Labels and annotations of the objects that a member writes.
const (
	// LabelManagedBy tells the operator's objects from others'; its value is ManagedBy.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	// ManagedBy is the value of LabelManagedBy.
	ManagedBy = "multiactive"
	// LabelService names the RegionalService that an object belongs to. With LabelComponent, and
	// LabelWorkload where there is one, it selects Pods and therefore never changes.
	LabelService = "multiactive.dev/service"
	// LabelComponent says which part of the service an object is.
	LabelComponent = "multiactive.dev/component"
	// LabelWorkload names an additional workload.
	LabelWorkload = "multiactive.dev/workload"
	// LabelMirrorFrom names the source region of a mirror.
	LabelMirrorFrom = "multiactive.dev/mirror-from"
	// AnnotationWorkloadHash is the hash of the workload as declared that a Deployment carries.
	AnnotationWorkloadHash = "multiactive.dev/workload-hash"
	// AnnotationConfigHash restarts Pods whose configuration changed.
	AnnotationConfigHash = "multiactive.dev/config-hash"
)

// Component is a part of a service.
type Component string

// The parts.
const (
	ComponentApplication Component = "application"
	ComponentGateway     Component = "gateway"
	ComponentAdditional  Component = "additional"
	ComponentMirror      Component = "mirror"
)

// Ports of the gateway's Pods; the gateway's Service offers GatewayPort, and GatewayPeerPort if there is one.
const (
	GatewayPort      = 8080
	GatewayAdminPort = 8081
	// GatewayPeerPort is for other regions' gateways, if the service has peerTLS.
	GatewayPeerPort = 8443
	// MirrorPort serves the mirror's health and metrics.
	MirrorPort = 8080
)

// Options are the same for every service of a region.
type Options struct {
	// Region that the member runs in.
	Region string
	// OperatorNamespace is where mirrors run and platform Secrets are.
	OperatorNamespace string
	// AgentURL is the agent's base URL as gateways dial it.
	AgentURL string
	// GatewayImage and MirrorImage hold the programs /gateway and /mirror.
	GatewayImage, MirrorImage string
	// MirrorMakerImage holds Kafka under /opt/kafka; empty: there is none, and no dedicated MirrorMaker runs.
	MirrorMakerImage string
	// GatewayArgs are added to every gateway's arguments.
	GatewayArgs []string
}

// Object is an object that can be written.
type Object interface {
	metav1.Object
	runtime.Object
}

// GatewayName is the name of a service's gateway Deployment, Service and budget.
func GatewayName(service string) string { return service + "-gateway" }

// AdditionalName is the name of an additional workload's Deployment.
func AdditionalName(service, workload string) string { return service + "-" + workload }

// FlagsName is the name of the ConfigMap with the degradation flags.
func FlagsName(service string) string { return service + "-flags" }

// Selector selects a component's Pods.
func Selector(service string, component Component) map[string]string {
	return map[string]string{LabelService: service, LabelComponent: string(component)}
}

// Made reports whether the operator made an object.
func Made(obj metav1.Object) bool { return obj.GetLabels()[LabelManagedBy] == ManagedBy }

// Owned reports whether an object was made for this RegionalService: its controller is the
// RegionalService, also an earlier one of the same name, and it carries the labels.
func Owned(obj metav1.Object, rs *v1alpha1.RegionalService) bool {
	if !Made(obj) || obj.GetLabels()[LabelService] != rs.Name || obj.GetNamespace() != rs.Namespace {
		return false
	}
	owner := metav1.GetControllerOfNoCopy(obj)
	return owner == nil || (owner.Kind == "RegionalService" && owner.Name == rs.Name)
}

// meta describes an object in the service's own namespace. There is no blockOwnerDeletion: the
// account that writes the workload may not set finalizers on the RegionalService.
func meta(rs *v1alpha1.RegionalService, name string, component Component) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name, Namespace: rs.Namespace,
		Labels: objectLabels(rs.Name, component),
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "RegionalService",
			Name: rs.Name, UID: rs.UID, Controller: ptr.To(true),
		}},
	}
}

func objectLabels(service string, component Component) map[string]string {
	labels := Selector(service, component)
	labels[LabelManagedBy] = ManagedBy
	labels["app.kubernetes.io/name"] = service
	labels["app.kubernetes.io/component"] = string(component)
	return labels
}

// merged returns the union of two maps; over wins.
func merged(base, over map[string]string) map[string]string {
	out := maps.Clone(base)
	if out == nil {
		out = make(map[string]string, len(over))
	}
	maps.Copy(out, over)
	return out
}
