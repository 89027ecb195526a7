package coordination

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrGuard is matched by every write that was refused because something that it depends on has
// changed (R1). The writer must read again and decide again.
var ErrGuard = errors.New("guard failed")

// GuardError is a refused write.
type GuardError struct {
	// Write names what was to be written, such as "beat/beijing".
	Write string
	// Failed lists the comparisons that failed when the store answered, such as "agent replaced".
	Failed []string
	// Gone lists those of them whose key is not there at all.
	Gone []string
}

// Error implements error.
func (e *GuardError) Error() string {
	return fmt.Sprintf("writing %s refused: %s", e.Write, strings.Join(e.Failed, ", "))
}

// Is reports whether target is ErrGuard.
func (e *GuardError) Is(target error) bool { return target == ErrGuard }

// Has reports whether the named comparison failed.
func (e *GuardError) Has(name string) bool {
	return slices.Contains(e.Failed, name)
}

// IsGone reports whether the key of the named comparison is not there at all.
func (e *GuardError) IsGone(name string) bool { return slices.Contains(e.Gone, name) }

// Comparisons that a GuardError names.
const (
	// GuardLeader: the writer leads no more.
	GuardLeader = "leader deposed"
	// GuardAgent: a newer incarnation of the agent has registered.
	GuardAgent = "agent replaced"
	// GuardGate: the region's gate was written since the writer read it.
	GuardGate = "gate changed"
	// GuardBeat: the region has beaten since the writer looked (R4).
	GuardBeat = "beat moved"
	// GuardView: the view was written since the writer read it.
	GuardView = "view changed"
	// GuardIntent: the service's intent was written or withdrawn since the writer read it.
	GuardIntent = "intent changed"
	// GuardAck: a region has written its acknowledgement since the writer read it.
	GuardAck = "acknowledgement changed"
	// GuardRecord: the record itself was written since the writer read it.
	GuardRecord = "record changed"
)

// ErrOtherStore is matched by answers of a store that is not the one known so far: another
// cluster ID, or a lower revision, as after a restore from a backup (R2). No lease may be derived
// from it until a person adopts it.
var ErrOtherStore = errors.New("the coordination store is not the one known so far")

// restoreAnew is what to do about a restore that kept the store's identity.
const restoreAnew = "restore the backup once more under a new cluster token, then adopt that"

// OtherStoreError says how the store differs.
type OtherStoreError struct {
	// Known is the highest position known, Seen what the store answered with.
	Known, Seen Position
	// Restored: the known store has come back with a lower revision. That stays, whatever its
	// revision is now: Seen is where it was first noticed, or Known when that was in an earlier run.
	Restored bool
}

// Error implements error.
func (e *OtherStoreError) Error() string {
	if e.Known.ClusterID != e.Seen.ClusterID {
		return fmt.Sprintf("%v: cluster ID %016x, known is %016x; was it replaced? check the endpoints",
			ErrOtherStore, e.Seen.ClusterID, e.Known.ClusterID)
	}
	if e.Seen == e.Known {
		return fmt.Sprintf("%v: it was restored under its old identity; %s", ErrOtherStore, restoreAnew)
	}
	return fmt.Sprintf("%v: it was at revision %d before and was restored to %d under its old identity; %s",
		ErrOtherStore, e.Known.Revision, e.Seen.Revision, restoreAnew)
}

// Is reports whether target is ErrOtherStore.
func (e *OtherStoreError) Is(target error) bool { return target == ErrOtherStore }
