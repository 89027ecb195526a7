package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AnnounceCourse says whether an ordered announcement goes on. Show: it is shown until its time is up. End: it
// ends at once.
// +kubebuilder:validation:Enum=Show;End
type AnnounceCourse string

// The courses.
const (
	AnnounceShow AnnounceCourse = "Show"
	AnnounceEnd  AnnounceCourse = "End"
)

// AnnounceSpec is what users of a service are told for a while, wherever they are told what spec.announcements of the
// service says, and before that. Of two ordered announcements for a flow the later is shown; one that covers all flows and
// all regions of an earlier one ends that.
// +kubebuilder:validation:XValidation:rule="!has(self.duration) || duration(self.duration) >= duration('1m') && duration(self.duration) <= duration('168h')",message="duration must be between 1m and 168h"
type AnnounceSpec struct {
	// text by language; for callers whose languages are not there the first in their script, such as English for French, or else
	// the first.
	// +required
	// +listType=map
	// +listMapKey=language
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Text []LocalizedText `json:"text,omitempty"`
	// flows by name; "*" means all. Default: all.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	Flows []string `json:"flows,omitempty"`
	// regions whose gateways show it, also to whom another region's gateway forwards to them. Default: all of the service's.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=32
	Regions []string `json:"regions,omitempty"`
	// duration for which it is shown, from the creation of the Operation: 1m to 168h. Default: 1h.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$`
	Duration *metav1.Duration `json:"duration,omitempty"`
	// course is Show, or End to end the announcement at once: all of an Announce that may be changed, once.
	// Default: Show.
	// +optional
	Course AnnounceCourse `json:"course,omitempty"`
}
