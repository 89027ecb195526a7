package storeposition

import (
	"fmt"
	"strconv"
	"time"

	"multiactive.dev/operator/internal/coordination"
)

// Standing is all that the answer to a person's word depends on.
type Standing struct {
	// Kept is what the Lease holds.
	Kept Kept
	// Word is the annotation with which a person adopts a store, empty when there is none.
	Word string
	// Refused is what the store is refused for, nil when it is not, and For how long that has been
	// so without a break, on this process's own clock.
	Refused *coordination.OtherStoreError
	For     time.Duration
	// Wait is how long the region's last leases may run once the store is refused.
	Wait time.Duration
}

// Decision is the answer to a person's word.
type Decision struct {
	// Adopt: follow this store from now on. 0: none.
	Adopt uint64
	// Done: the store is followed already, and the word can go.
	Done bool
	// Say is what the person should know while neither is so.
	Say string
}

// Decide answers a person's word. A word for one store never accepts another, and none accepts a store
// that was restored under its old identity: a region that is away meanwhile could not tell later, by ID
// and revision, that it has not followed what the store holds now.
func Decide(s Standing) Decision {
	if s.Word == "" {
		return Decision{}
	}
	id, err := ParseID(s.Word)
	switch {
	case err != nil:
		return Decision{Say: err.Error()}
	case s.Refused == nil && id == s.Kept.Position.ClusterID && !s.Kept.Restored:
		return Decision{Done: true}
	case s.Refused == nil:
		return Decision{Say: fmt.Sprintf("the member has not met store %016x yet; it has followed %016x. Do its endpoints name the new store, and does that answer?",
			id, s.Kept.Position.ClusterID)}
	case id == s.Kept.Position.ClusterID:
		return Decision{Say: fmt.Sprintf("store %016x is the one that this region has followed, or a backup of it under the same identity; restore the backup under a new cluster token and adopt that", id)}
	case s.Refused.Seen.ClusterID != id:
		return Decision{Say: fmt.Sprintf("the store that answers is %016x, not %016x", s.Refused.Seen.ClusterID, id)}
	case s.For < s.Wait:
		return Decision{Say: fmt.Sprintf("waiting until the region's last leases have run out, up to %s", s.Wait)}
	default:
		return Decision{Adopt: id}
	}
}

// hexadecimal is the base in which cluster IDs are written.
const hexadecimal = 16

// ParseID reads a cluster ID as etcd and this package write it, in hexadecimal.
func ParseID(s string) (uint64, error) {
	id, err := strconv.ParseUint(s, hexadecimal, 64)
	if err != nil || id == 0 {
		return 0, fmt.Errorf("%q is not a cluster ID in hexadecimal, such as cdf818194e3a8c32", s)
	}
	return id, nil
}

// FormatID writes a cluster ID.
func FormatID(id uint64) string { return strconv.FormatUint(id, hexadecimal) }
