package store

import (
	"context"
	"errors"

	"multiactive.dev/operator/internal/storage"
)

// Settler is implemented by servers of engines that can settle what a region had accepted and not shipped when it was
// lost, by policies, without any change of the others being overwritten unseen (docs/adr/0016). Each method may be called
// again at any time, by another process too: what was done is noted in the server.
type Settler interface {
	// Hold ends the link from a region that was lost, once all that it received is applied, and notes that. Nothing comes from the
	// region until Release. held is false while something is still being applied.
	Hold(ctx context.Context, w storage.Want, o storage.Outage) (held bool, err error)
	// Held returns the outages whose Hold was noted and not released yet.
	Held(ctx context.Context) ([]storage.Outage, error)
	// Withdraw, on the server of the region that was lost, takes back its changes that none of the others has, and keeps them
	// for Decide: in one transaction. The others must hold; ErrNotHeld while one does not. It stops links and writers meanwhile.
	Withdraw(ctx context.Context, w storage.Want, o storage.Outage, others []storage.Source) error
	// Release has the link from a region begin behind what it has withdrawn. released is false while it has not.
	Release(ctx context.Context, w storage.Want, o storage.Outage, from storage.Source) (released bool, err error)
	// Forgo notes that an outage is not settled: its region's changes come as they are. It does nothing where they were withdrawn. The region's
	// own note decides: others that hold are told by Release.
	Forgo(ctx context.Context, w storage.Want, o storage.Outage) error
	// Decide goes through some of what was withdrawn, on the server of the region that was lost, once that has all that others had
	// when it came back. What nobody else has changed is written again; for other rows the policies decide. more is false at the end.
	Decide(ctx context.Context, w storage.Want) (more bool, err error)
	// Verify looks, after the last decision, whether an owner changed a row before it had received what was decided on it. Its
	// version then goes everywhere once more, and stands. done is false until all that may have crossed has arrived, and after something had.
	Verify(ctx context.Context, w storage.Want, others []storage.Source) (done bool, err error)
	// Late returns what became of the late changes of the newest outage of each region, as far as it has arrived here.
	Late(ctx context.Context, w storage.Want) ([]storage.Late, error)
}

// ErrNotHeld says that another region may still receive from the one that was lost.
var ErrNotHeld = errors.New("another region has not stopped receiving from this one yet, or cannot be asked")

// UnsettledError says that late changes have something in them that the operator does not take back by itself.
type UnsettledError struct {
	// Why, with what to do.
	Why string
}

// Error implements error.
func (e *UnsettledError) Error() string { return e.Why }
