package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SecretReference names a Secret in the operator's own namespace of the cluster that reads it.
type SecretReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
}

// AllowedNamespaces chooses the namespaces that may use a platform object.
type AllowedNamespaces struct {
	// selector matches the labels of namespaces; an empty selector matches all of them.
	// Without allowedNamespaces no namespace is allowed.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// Choice is an answer of the person who declares: Yes or No. Not a bool, so that it can be extended.
// +kubebuilder:validation:Enum=Yes;No
type Choice string

// The choices.
const (
	ChoiceYes Choice = "Yes"
	ChoiceNo  Choice = "No"
)

// WorkState is the answer of a yes-or-no question in a status, where a bool could not be extended.
// +kubebuilder:validation:Enum=Yes;No;Unknown
type WorkState string

// The answers.
const (
	Yes     WorkState = "Yes"
	No      WorkState = "No"
	Unknown WorkState = "Unknown"
)
