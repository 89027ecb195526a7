package ownership

// ChangeKind says what a change of owners is made for.
type ChangeKind string

// The changes. All but ChangeLoss are planned: they can be given up, and open only when every new
// owner has applied everything (R9).
const (
	// ChangeLoss takes regions out whose gates are closed.
	ChangeLoss ChangeKind = "Loss"
	// ChangeDrain empties a region that serves.
	ChangeDrain ChangeKind = "Drain"
	// ChangeHandback gives a batch of services back to a Returning region (R12).
	ChangeHandback ChangeKind = "Handback"
	// ChangeExclude takes a region out of one service.
	ChangeExclude ChangeKind = "Exclude"
	// ChangeInclude takes a region into one service again.
	ChangeInclude ChangeKind = "Include"
	// ChangeRespec gives one service another ownership spec.
	ChangeRespec ChangeKind = "Respec"
	// ChangeApprove lets others take over what one service has withheld: a person has approved it, or
	// the catch-up that was stuck is tried again.
	ChangeApprove ChangeKind = "Approve"
)

// Planned reports whether the change may be given up.
func (k ChangeKind) Planned() bool { return k != ChangeLoss }

// Change is a change of owners under way.
type Change struct {
	Kind ChangeKind `json:"kind"`
	// Regions that it is made for, in order.
	Regions []string `json:"regions,omitempty"`
	// Services whose records it changes, by UID, in order. Empty: it changes the regions alone, and so
	// concerns every service.
	Services []string `json:"services,omitempty"`
	// Order names the order that asked for it.
	Order string `json:"order,omitempty"`
}

// Ack is what a region says of the change under way, stored under "ack/<region>" (R8). It counts while
// it names the epoch of the view; whoever wrote it, what it says stays true.
type Ack struct {
	Epoch       int64  `json:"epoch"`
	Incarnation string `json:"incarnation"`
	// Fenced: no gateway and no workload of the region accepts a home write any more for a slot that
	// the region loses, and every write that was admitted has ended.
	Fenced bool `json:"fenced,omitempty"`
	// Vector is all that the region had when it was fenced.
	Vector Vector `json:"vector,omitempty"`
	// CaughtUp: the region has applied everything that it must have before it owns what it gains.
	CaughtUp bool `json:"caughtUp,omitempty"`
	// Stuck are the services, by UID, for which CaughtUp does not hold.
	Stuck []string `json:"stuck,omitempty"`
	// Applied has the origins whose debts are applied here, with the epoch of the debt.
	Applied map[string]int64 `json:"applied,omitempty"`
}

// Debt is what a region that gave slots away had accepted, stored under "debt/<region>": whoever may
// own its slots must have applied it (R10). It goes when every other region has, or the region is declared
// lost for good; while it is lost nobody waits for it (RegionRecord.Lacks).
type Debt struct {
	// Epoch of the view that it was last raised with.
	Epoch  int64  `json:"epoch"`
	Vector Vector `json:"vector"`
}
