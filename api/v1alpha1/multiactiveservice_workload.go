package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
)

// WorkloadType says who deploys the application.
// +kubebuilder:validation:Enum=Managed;DeploymentRef;ServiceRef
type WorkloadType string

const (
	// WorkloadManaged is deployed by the operator from the template.
	WorkloadManaged WorkloadType = "Managed"
	// WorkloadDeploymentRef is an existing Deployment that the operator only watches and routes to.
	WorkloadDeploymentRef WorkloadType = "DeploymentRef"
	// WorkloadServiceRef is an existing Service that the operator only routes to.
	WorkloadServiceRef WorkloadType = "ServiceRef"
)

// Workload is a union of the ways an application is deployed.
// +kubebuilder:validation:XValidation:rule="self.type != 'Managed' || (has(self.template) && has(self.port) && has(self.serviceAccountName))",message="a Managed workload needs template, port and serviceAccountName"
// +kubebuilder:validation:XValidation:rule="self.type == 'Managed' || (!has(self.template) && !has(self.replicas) && !has(self.autoscaling))",message="template, replicas and autoscaling are for a Managed workload only"
// +kubebuilder:validation:XValidation:rule="!has(self.autoscaling) || !has(self.replicas)",message="replicas and autoscaling exclude each other: with autoscaling the number of replicas is not written"
// +kubebuilder:validation:XValidation:rule="self.type == 'DeploymentRef' ? has(self.deploymentRef) && has(self.port) : !has(self.deploymentRef)",message="deploymentRef and port are required when type is DeploymentRef; deploymentRef is forbidden otherwise"
// +kubebuilder:validation:XValidation:rule="self.type == 'ServiceRef' ? has(self.serviceRef) : !has(self.serviceRef)",message="serviceRef is required when type is ServiceRef, and forbidden otherwise"
// +kubebuilder:validation:XValidation:rule="!has(self.additional) || has(self.serviceAccountName)",message="additional workloads need serviceAccountName"
type Workload struct {
	// type is Managed, DeploymentRef or ServiceRef.
	// +required
	Type WorkloadType `json:"type,omitempty"`
	// serviceAccountName is the account of the service's namespace that a Managed workload's and the
	// additional workloads' objects are written as: what RBAC denies it, the operator does not do for
	// it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// replicas in each region. Default: 1. Not written when absent and something else scales.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	Replicas *int32 `json:"replicas,omitempty"`
	// autoscaling leaves the number of replicas in each region to a HorizontalPodAutoscaler, which the
	// operator makes. Instead of replicas.
	// +optional
	Autoscaling *Autoscaling `json:"autoscaling,omitempty"`
	// port that the application listens on (plain HTTP).
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`
	// template of the pods, as in a Deployment.
	// +optional
	Template *corev1.PodTemplateSpec `json:"template,omitempty"`
	// deploymentRef names an existing Deployment in the service's namespace.
	// +optional
	DeploymentRef *LocalObjectReference `json:"deploymentRef,omitempty"`
	// serviceRef names an existing Service in the service's namespace.
	// +optional
	ServiceRef *ServiceReference `json:"serviceRef,omitempty"`
	// additional workloads run beside the application and are not behind the gateway: consumers,
	// schedulers.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	Additional []AdditionalWorkload `json:"additional,omitempty"`
}

// Autoscaling bounds what a HorizontalPodAutoscaler may choose in each region.
// +kubebuilder:validation:XValidation:rule="!has(self.minReplicas) || self.minReplicas <= self.maxReplicas",message="minReplicas must not be above maxReplicas"
type Autoscaling struct {
	// minReplicas in each region.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	MinReplicas int32 `json:"minReplicas,omitempty"`
	// maxReplicas in each region. Leave room for the keys of a lost region.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	MaxReplicas int32 `json:"maxReplicas,omitempty"`
	// targetCPUUtilizationPercent of the Pods' requests.
	// +optional
	// +kubebuilder:default=70
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	TargetCPUUtilizationPercent int32 `json:"targetCPUUtilizationPercent,omitempty"`
}

// LocalObjectReference names an object in the service's namespace.
type LocalObjectReference struct {
	// name of the object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
}

// ServiceReference names a Service and one of its ports.
type ServiceReference struct {
	// name of the Service.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`
	// port of the Service. Default: its only port.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`
}

// Activation says where an additional workload runs.
// +kubebuilder:validation:Enum=EveryRegion;OwnerOnly
type Activation string

const (
	// ActivationEveryRegion runs in every region.
	ActivationEveryRegion Activation = "EveryRegion"
	// ActivationOwnerOnly runs in one region: the first Serving one in declared order with a
	// weight above 0, while that region holds its lease.
	ActivationOwnerOnly Activation = "OwnerOnly"
)

// AdditionalWorkload runs beside the application.
type AdditionalWorkload struct {
	// name, appended to the service's name; gateway and flags are taken by the operator's own objects.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=30
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:XValidation:rule="!(self in ['gateway', 'flags'])",message="an additional workload cannot be named gateway or flags: the service's own objects have these names"
	Name string `json:"name,omitempty"`
	// activation is EveryRegion or OwnerOnly.
	// +optional
	// +kubebuilder:default=EveryRegion
	Activation Activation `json:"activation,omitempty"`
	// replicas where it runs.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Replicas *int32 `json:"replicas,omitempty"`
	// template of the pods.
	// +required
	Template *corev1.PodTemplateSpec `json:"template,omitempty"`
}
