package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DrillMode says what users meet while a region is out for a drill. Failover: what they would meet if it were
// lost, but for what had not been shipped: whoever owns its keys serves flows with onHomeLoss Takeover, and
// every other home flow of its users does what its onHomeLoss says. Drain: every flow is served on, as in a
// drain.
// +kubebuilder:validation:Enum=Failover;Drain
type DrillMode string

// The modes.
const (
	DrillFailover DrillMode = "Failover"
	DrillDrain    DrillMode = "Drain"
)

// DrillCourse says whether a drill goes on. Run: it does, until its time is up or something aborts it.
// Abort: it ends at once.
// +kubebuilder:validation:Enum=Run;Abort
type DrillCourse string

// The courses.
const (
	DrillRun   DrillCourse = "Run"
	DrillAbort DrillCourse = "Abort"
)

// DrillSpec is how the loss of a region is rehearsed. The region is fenced and emptied, and stays whole:
// nothing in it is stopped, no network is touched, and nothing acknowledged is lost. It comes back by itself
// when its time is up, and at once when another region does not serve or is suspected, when a core flow is
// not served for every key, when another order is given, or when the Operation is deleted.
// +kubebuilder:validation:XValidation:rule="!has(self.duration) || duration(self.duration) >= duration('1m') && duration(self.duration) <= duration('4h')",message="duration must be between 1m and 4h"
type DrillSpec struct {
	// duration for which the region is out, from when it owns nothing any more: 1m to 4h. Default: 10m.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$`
	Duration *metav1.Duration `json:"duration,omitempty"`
	// mode is what users meet: Failover or Drain. Default: Failover.
	// +optional
	Mode DrillMode `json:"mode,omitempty"`
	// course is Run, or Abort to end the drill at once: all of an Operation that may be changed, once.
	// Default: Run.
	// +optional
	Course DrillCourse `json:"course,omitempty"`
}

// DrillVerdict is how a drill went. Passed: the region was out for the whole time, every core flow was served
// for every key, and it is back. Aborted: something ended it before. NotBegun: the region was never out.
// +kubebuilder:validation:Enum=Passed;Aborted;NotBegun
type DrillVerdict string

// The verdicts.
const (
	DrillPassed   DrillVerdict = "Passed"
	DrillAborted  DrillVerdict = "Aborted"
	DrillNotBegun DrillVerdict = "NotBegun"
)

// DrillEnd is what ended a drill. TimeIsUp: it has lasted its duration. Ordered: course is Abort.
// CoreUnavailable: a core flow was not served for every key. AnotherRegion: another region did not serve, or
// was suspected. RegionLost: the region that was out could not be reached itself. AnotherOrder: another order
// was given, which goes first. NotOut: the region was not out within the order's timeout.
// +kubebuilder:validation:Enum=TimeIsUp;Ordered;CoreUnavailable;AnotherRegion;RegionLost;AnotherOrder;NotOut
type DrillEnd string

// What ends a drill.
const (
	DrillEndTimeIsUp        DrillEnd = "TimeIsUp"
	DrillEndOrdered         DrillEnd = "Ordered"
	DrillEndCoreUnavailable DrillEnd = "CoreUnavailable"
	DrillEndAnotherRegion   DrillEnd = "AnotherRegion"
	DrillEndRegionLost      DrillEnd = "RegionLost"
	DrillEndAnotherOrder    DrillEnd = "AnotherOrder"
	DrillEndNotOut          DrillEnd = "NotOut"
)

// DrillReport is the course of a drill, filled in as it goes.
type DrillReport struct {
	// startedAt is when the drill was taken up.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
	// outAt is when the region owned nothing any more.
	// +optional
	OutAt *metav1.Time `json:"outAt,omitempty"`
	// endsAt is when its time is up.
	// +optional
	EndsAt *metav1.Time `json:"endsAt,omitempty"`
	// endedAt is when it ended: the region is on its way back from then.
	// +optional
	EndedAt *metav1.Time `json:"endedAt,omitempty"`
	// backAt is when the region owned its keys again.
	// +optional
	BackAt *metav1.Time `json:"backAt,omitempty"`
	// ended is what ended it.
	// +optional
	Ended DrillEnd `json:"ended,omitempty"`
	// because says more of that.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Because string `json:"because,omitempty"`
	// verdict, once it is over.
	// +optional
	Verdict DrillVerdict `json:"verdict,omitempty"`
	// services of the region: those whose core flows were touched first, then those with most degraded flows.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	Services []DrillService `json:"services,omitempty"`
	// otherServices is how many more there are; absent: none.
	// +optional
	// +kubebuilder:validation:Minimum=1
	OtherServices int32 `json:"otherServices,omitempty"`
}

// DrillService is what a drill did to one service.
type DrillService struct {
	// namespace of the service.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
	// name of the service.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Name string `json:"name,omitempty"`
	// coreAvailable is No once a core flow was not served for every key.
	// +optional
	CoreAvailable WorkState `json:"coreAvailable,omitempty"`
	// lagBefore is the lag of the worst data class when the drill was given, in steps of its objective, such
	// as "<5m", or "unknown": what a loss at that moment would have put at risk.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	LagBefore string `json:"lagBefore,omitempty"`
	// flows that were degraded while the region was out.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Flows []DrillFlow `json:"flows,omitempty"`
	// otherFlows is how many more there are; absent: none.
	// +optional
	// +kubebuilder:validation:Minimum=1
	OtherFlows int32 `json:"otherFlows,omitempty"`
}

// DrillFlow is how a flow was served at worst.
type DrillFlow struct {
	// name of the flow.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`
	// tier of the flow.
	// +optional
	Tier FlowTier `json:"tier,omitempty"`
	// state: Degraded or Unavailable.
	// +optional
	State FlowState `json:"state,omitempty"`
	// action that affected requests met.
	// +optional
	Action HomeLossAction `json:"action,omitempty"`
	// affectedKeysPercent of all keys, rounded up.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	AffectedKeysPercent *int32 `json:"affectedKeysPercent,omitempty"`
}
