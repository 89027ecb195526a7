package store

import (
	"maps"
	"slices"

	"multiactive.dev/operator/internal/storage"
)

// Lease is what is known of the region's right to be written to, besides what is declared.
type Lease struct {
	// Agreed: the regions have agreed on where the store is written to.
	Agreed bool
	// Held: the region has its lease, for longer than it takes to stop writes.
	Held bool
	// Young: a lease that was handed out before anybody here looked may still be good.
	Young bool
}

// Writable says whether a server of a store with one writable region is to take writes, and why it has to wait with that
// if it must; due is false when nothing is to be done. One that is to begin has applied all that it received, and its links are taken
// down first: some engines note by that where its own history begins. Nobody writes without the region's lease; but
// whoever kept the server before may have left it with one that is still good.
func Writable(d *Declared, o storage.Observation, l Lease) (want, due bool, wait string) {
	if d.Want.Mesh || !d.Managed() || d.Leaving {
		return false, false, ""
	}
	want = d.Want.Writable && l.Held
	if o.Writable == want || l.Young && (!l.Agreed || o.Writable && d.Want.Writable) {
		return want, false, ""
	}
	if !want {
		return false, true, ""
	}
	for _, from := range slices.Sorted(maps.Keys(o.Links)) {
		if o.Links[from].Received > o.Positions[from] {
			return true, true, "the server takes writes once it has applied all that it received from " + from
		}
	}
	if len(o.Links) > 0 {
		return true, true, "the server takes writes once it replicates from nobody any more"
	}
	return true, true, ""
}
