package storekeeper

import (
	"slices"
	"time"

	"multiactive.dev/operator/internal/storage"
)

// losses is the part of a keeper that lets a server lose what it alone has. The keeper's mutex guards it.
type losses struct {
	// told are the losses that people could read of, by source region.
	told map[string]string
	// lost is what the server has lost, by the source region that it replicates from since.
	lost map[string]string
}

// lossTold notes that a loss has been told.
func (k *keeper) lossTold(from, token string) {
	k.mu.Lock()
	news := k.told[from] != token
	if news {
		if k.told == nil {
			k.told = map[string]string{}
		}
		k.told[from] = token
		k.nextLook, k.asked = time.Time{}, true
	}
	k.mu.Unlock()
	if news {
		kick(k.wake)
	}
}

// goesOn reports whether a loss is accepted without a person once it is told: the region is back from an outage, or another one is that this
// one replicated from, its services mean it to go on by itself, and the estimate is one.
func (k *keeper) goesOn(l *storage.Loss) bool {
	if !k.target.Automatic || !l.Returning || k.wanted.absences[k.config.Region].lost {
		return false
	}
	return slices.ContainsFunc(k.target.Declared.Want.Regions, func(region string) bool {
		_, known := k.wanted.absences[region]
		return known
	})
}

// accepting returns a source with the loss that is accepted for reading from it, and what is lost by that.
func (k *keeper) accepting(s storage.Source) (source storage.Source, loss *storage.Bootstrap) {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := k.failures[s.Region].bootstrap
	if b == nil || b.Loss == nil {
		return s, nil
	}
	token := b.Loss.Token
	if k.target.Losses[s.Region] == token || k.goesOn(b.Loss) && k.told[s.Region] == token {
		s.Accepted = token
		return s, b
	}
	return s, nil
}

// haveLost notes what was lost for reading from a region.
func (k *keeper) haveLost(from string, b *storage.Bootstrap) {
	k.log.Info("The server has lost what it alone had, to replicate from another region.", "from", from,
		"keys", b.Loss.Keys, "span", b.Loss.Span.String(), "bytes", b.Loss.Bytes)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lost == nil {
		k.lost = map[string]string{}
	}
	k.lost[from] = b.Why
}
