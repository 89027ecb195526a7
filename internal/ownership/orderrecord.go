package ownership

import (
	"reflect"
	"time"
)

// Types of orders.
const (
	OrderDrain           = "Drain"
	OrderUndrain         = "Undrain"
	OrderHandback        = "Handback"
	OrderApproveFailover = "ApproveFailover"
	OrderDeclareLost     = "DeclareLost"
	// OrderDrill empties a region for a while, to rehearse its loss, and brings it back.
	OrderDrill = "Drill"
)

// DrillFailover is the mode of a drill in which users meet what a loss would bring: whoever owns the keys of
// the region that is out serves flows that may be taken over, and no others.
const DrillFailover = "Failover"

// What ends a drill.
const (
	// DrillTimeIsUp: it has lasted as long as it was to.
	DrillTimeIsUp = "TimeIsUp"
	// DrillAborted: who ordered it, or the hub, wants it ended.
	DrillAborted = "Aborted"
	// DrillAnotherRegion: another region does not serve, or is suspected.
	DrillAnotherRegion = "AnotherRegion"
	// DrillRegionLost: the region that is out was lost in earnest, or is suspected.
	DrillRegionLost = "RegionLost"
	// DrillAnotherOrder: another order was taken up, which goes first.
	DrillAnotherOrder = "AnotherOrder"
	// DrillNotOut: the region was not out within the order's timeout.
	DrillNotOut = "NotOut"
)

// OrderIntent is what a person ordered, as a hub proposes it, stored under "intent/order/<name>".
type OrderIntent struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Region string `json:"region"`
	// Service is the UID of the service that it is limited to, empty for all.
	Service string `json:"service,omitempty"`
	// ExpectedEpoch refuses the order when the view has moved on; 0 does not.
	ExpectedEpoch int64 `json:"expectedEpoch,omitempty"`
	// Timeout after which the order fails.
	Timeout time.Duration `json:"timeout,omitempty"`
	// Duration of a drill, from when the region is out.
	Duration time.Duration `json:"duration,omitempty"`
	// Mode of a drill: DrillFailover, or anything else for one in which every flow is served on.
	Mode string `json:"mode,omitempty"`
	// Abort says why a drill is to end at once; empty: it goes on. It is all of an order that may change.
	Abort string `json:"abort,omitempty"`
	// Copies has, in peer mode, the UIDs of the Operations that give this order, by region: it stands
	// until none does.
	Copies map[string]string `json:"copies,omitempty"`
}

// Same reports whether two orders want the same done, whoever gives them.
func (o OrderIntent) Same(other OrderIntent) bool {
	o.Copies, other.Copies = nil, nil
	o.Abort, other.Abort = "", ""
	return reflect.DeepEqual(o, other)
}

// OrderState is how far an order is.
type OrderState string

// The states of an order; the last three are final.
const (
	OrderRunning   OrderState = "Running"
	OrderSucceeded OrderState = "Succeeded"
	OrderFailed    OrderState = "Failed"
	OrderRefused   OrderState = "Refused"
)

// OrderRecord is what became of an order, stored under "order/<name>". It goes with its intent.
type OrderRecord struct {
	Name  string     `json:"name"`
	State OrderState `json:"state"`
	// Message says what is waited for, or how it ended, for people.
	Message string `json:"message,omitempty"`
	// StartedAt and EndedAt are the leader's wall clock, for people.
	StartedAt time.Time  `json:"startedAt"`
	EndedAt   *time.Time `json:"endedAt,omitempty"`
	// Epoch of the view with which it ended.
	Epoch int64 `json:"epoch,omitempty"`
	// Drill is how far a drill is; nil for other orders.
	Drill *DrillRecord `json:"drill,omitempty"`
}

// DrillRecord is how far a drill is. Its times are the leaders' wall clocks.
type DrillRecord struct {
	// OutAt is when the region owned nothing any more; nil before. The drill lasts from then.
	OutAt *time.Time `json:"outAt,omitempty"`
	// Ending is what ended it; empty while it goes on. The region is on its way back from then.
	Ending   string     `json:"ending,omitempty"`
	EndingAt *time.Time `json:"endingAt,omitempty"`
	// Because says more of Ending, for people.
	Because string `json:"because,omitempty"`
}
