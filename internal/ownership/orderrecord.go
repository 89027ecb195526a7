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
	// Copies has, in peer mode, the UIDs of the Operations that give this order, by region: it stands
	// until none does.
	Copies map[string]string `json:"copies,omitempty"`
}

// Same reports whether two orders want the same done, whoever gives them.
func (o OrderIntent) Same(other OrderIntent) bool {
	o.Copies, other.Copies = nil, nil
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
}
