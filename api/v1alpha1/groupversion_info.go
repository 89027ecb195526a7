// Package v1alpha1 holds the resources of the group multiactive.dev: their types, defaults,
// bounds and the documented constants of their conditions and reasons. It holds nothing else:
// no decision and no client.
//
// +kubebuilder:object:generate=true
// +groupName=multiactive.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every type here.
var GroupVersion = schema.GroupVersion{Group: "multiactive.dev", Version: "v1alpha1"}

var (
	// SchemeBuilder collects the functions that add these types to a scheme.
	SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)
	// AddToScheme adds these types to a scheme.
	AddToScheme = SchemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&Region{}, &RegionList{},
		&DataStore{}, &DataStoreList{},
		&MultiActiveService{}, &MultiActiveServiceList{},
		&Operation{}, &OperationList{},
		&RegionIncident{}, &RegionIncidentList{},
		&RegionalService{}, &RegionalServiceList{},
		&ReplicationLink{}, &ReplicationLinkList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
