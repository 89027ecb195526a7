package storekeeper

import (
	"context"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// findErrant looks, once for each return of this region to a store that one region writes to, for what only its server has. Where a policy is
// declared that is taken back instead.
func (k *keeper) findErrant(ctx context.Context, server store.Server, t Target) bool {
	finder, can := server.(store.ErrantFinder)
	want := t.Declared.Want
	k.mu.Lock()
	own, known := k.wanted.absences[k.config.Region]
	others := serving(t.Declared.Others(), k.wanted.absences)
	prepared := k.look.Observation.Prepared
	k.mu.Unlock()
	if !can || !prepared || want.Mesh || !t.Declared.Managed() || len(want.Conflicts) > 0 || want.Writable {
		k.mu.Lock()
		k.look.Errant = nil
		k.mu.Unlock()
		return true
	}
	if !known || own.lost || k.searched == own.outage.ID || len(others) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, withdrawFor)
	defer cancel()
	var found storage.Errant
	elsewhere, err := finder.Elsewhere(ctx, others)
	if err == nil {
		found, err = finder.Errant(ctx, want, elsewhere)
	}
	if err != nil {
		k.log.Info("What only this region's server has is not known; it is looked for again.", "error", err.Error())
		return false
	}
	k.searched = own.outage.ID
	k.mu.Lock()
	k.look.Errant = &found
	k.mu.Unlock()
	return true
}
