package storekeeper

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"time"

	plan "multiactive.dev/operator/internal/plan/store"
	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// fencer is the part of a keeper that keeps the fences. The keeper's mutex guards it.
type fencer struct {
	wanted fencesOf
	// written are the rows that the server is known to have, nil while that is not known.
	written map[string]storage.Fences
	// reached is the configuration whose fences the server has.
	reached at
	// leasedUntil is when the server lets nobody write any more, by the boot time here, unless it is told so again.
	leasedUntil time.Duration
	// confirmed is until when the server has said that it lets the region write, by the boot time here; 0: it has not.
	confirmed time.Duration
	// from is the server that written speaks of.
	from store.Server
	// last is the region that could be written to last, of a store where one can.
	last string
	// settled is when no lease can be good any more that was handed out before this keeper began.
	settled time.Duration
}

// lastMoment is what is left of the region's lease when a server that one region may write to stops taking writes: the
// lease is looked at once a beat, and the statement takes its time.
const lastMoment = beat + beat/2

// leaseMargin is what a lease on a server ends before the region's does, for rates of clocks that differ (maxDrift).
const leaseMargin = 100 * time.Millisecond

func (k *keeper) setFences(f fencesOf) {
	k.mu.Lock()
	before := k.wanted.absences
	k.wanted = f
	if f.absences[k.config.Region].lost {
		k.losses = losses{} // of the outage before
	}
	led := k.led(k.target.Declared)
	moved := !reflect.DeepEqual(led.Want, k.target.Declared.Want) || !reflect.DeepEqual(before, f.absences)
	k.news = k.news || moved
	if k.target.Declared = led; moved {
		k.nextLook, k.asked = time.Time{}, true
		k.unsettled = k.config.Clock.Now().Add(settling)
	}
	k.mu.Unlock()
	if moved {
		kick(k.wake)
	}
	kick(k.fenceNow)
}

// led returns the declaration with the region that is written to, as it is agreed on: links come from there. While
// none is, they stay as they were, and nobody writes.
func (k *keeper) led(d *plan.Declared) *plan.Declared {
	if d.Want.Mesh {
		return d
	}
	if k.wanted.primary != "" {
		k.last = k.wanted.primary
	}
	led := d.Led(cmp.Or(k.last, d.Slice.Topology.Primary))
	led.Want.Writable = led.Want.Writable && k.wanted.primary == k.config.Region
	return led
}

// fenced reports whether the server has the fences of a configuration, or lets nobody write any more. That a server
// takes no writes at all it must have confirmed: no lease ends that.
func (k *keeper) fenced(c at) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.reached == c || !k.switches() && k.config.Clock.Boottime() >= k.leasedUntil
}

// switches reports whether the operator says which region's server can be written to.
func (k *keeper) switches() bool {
	d := k.target.Declared
	return !d.Want.Mesh && d.Managed() && !d.Leaving
}

// keepWritable has the server take writes, or not, as is agreed on.
func (k *keeper) keepWritable(ctx context.Context, server store.Server) error {
	k.mu.Lock()
	want, due, wait := plan.Writable(k.target.Declared, k.look.Observation, plan.Lease{
		Agreed: k.wanted.at.epoch > 0, Held: k.config.Lease() > lastMoment, Young: k.config.Clock.Boottime() < k.settled,
	})
	if wait != "" {
		k.nextLook = time.Time{}
	}
	k.mu.Unlock()
	if wait != "" {
		return errors.New(wait)
	}
	if !due {
		return nil
	}
	if err := server.SetWritable(ctx, want); err != nil {
		return err
	}
	k.mu.Lock()
	k.look.Observation.Writable, k.news = want, true
	k.nextLook, k.asked = time.Time{}, true // there may be something to prepare that takes writes
	k.mu.Unlock()
	return nil
}

// releaseAfter is how far the region's lease is ahead of what the server has when that is told: less often than the region's is
// renewed, which costs a server and its keeper twice what a canary does.
const releaseAfter = 2 * beat

// keepFences writes the fences as soon as they change, and looks after the lease once a beat.
func (k *keeper) keepFences(ctx context.Context) {
	for ctx.Err() == nil {
		if server := k.fencing(); server != nil {
			k.tellFence(k.fenceOnce(ctx, server))
		}
		select {
		case <-ctx.Done():
		case <-k.fenceNow:
		}
	}
}

// fencing returns the server once it is prepared, nil before and while it cannot be used.
func (k *keeper) fencing() store.Server {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.server == nil || k.target.Problem != nil || !k.look.Observed || !k.look.Observation.Prepared {
		return nil
	}
	return k.server
}

func (k *keeper) tellFence(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before := k.look.FenceProblem
	k.look.FenceProblem = ""
	if err != nil && !errors.Is(err, store.ErrUnsupported) {
		k.look.FenceProblem = err.Error()
	}
	k.news = k.news || k.look.FenceProblem != before
}

// fenceOnce brings the server's fences and its lease up to what is wanted.
func (k *keeper) fenceOnce(ctx context.Context, server store.Server) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	k.mu.Lock()
	wanted, have := k.wanted, k.written
	k.mu.Unlock()
	if err := k.keepWritable(ctx, server); err != nil {
		return err
	}
	k.mu.Lock()
	if k.from != server {
		have, k.confirmed = nil, 0
	}
	k.mu.Unlock()
	if have == nil {
		rows, err := server.Fences(ctx)
		if errors.Is(err, store.ErrUnsupported) {
			k.mu.Lock()
			k.reached = wanted.at
			k.mu.Unlock()
			return err
		}
		if err != nil {
			return err
		}
		have = map[string]storage.Fences{}
		for _, f := range rows {
			have[f.Service] = f
		}
	}
	err := k.writeFences(ctx, server, wanted, have)
	k.mu.Lock()
	k.written, k.from = have, server
	if err == nil {
		k.reached = wanted.at
	} else {
		k.written, k.confirmed = nil, 0 // what the server has is not known
	}
	k.mu.Unlock()
	if err != nil {
		return err
	}
	if len(wanted.services) == 0 {
		return nil
	}
	return k.lease(ctx, server)
}

// writeFences writes the services that differ, and notes them in have. Those that take something away come first.
func (k *keeper) writeFences(ctx context.Context, server store.Server, wanted fencesOf, have map[string]storage.Fences) error {
	for _, closing := range []bool{true, false} {
		for _, uid := range slices.Sorted(maps.Keys(wanted.services)) {
			f := kept(wanted.services[uid], have[uid])
			if takes(f, have[uid], k.config.Region) != closing || same(f, have[uid]) {
				continue
			}
			if err := server.SetFences(ctx, f); err != nil {
				return err
			}
			have[uid] = f
		}
	}
	if wanted.at.epoch == 0 {
		return nil // nobody has said yet which services there are
	}
	for _, uid := range slices.Sorted(maps.Keys(have)) {
		if _, wants := wanted.services[uid]; wants {
			continue
		}
		if err := server.RemoveFences(ctx, uid); err != nil {
			return err
		}
		delete(have, uid)
	}
	return nil
}

// same compares fences; every store does that once a second.
func same(a, b storage.Fences) bool {
	return a.Service == b.Service && slices.Equal(a.Slots, b.Slots) && slices.Equal(a.Pinned, b.Pinned) && slices.Equal(a.Fences, b.Fences)
}

// kept returns the fences with the epochs of those that had their owner already.
func kept(f, have storage.Fences) storage.Fences {
	f.Fences = slices.Clone(f.Fences)
	for i := range f.Fences {
		for _, h := range have.Fences {
			if h.Set == f.Fences[i].Set && h.Owner == f.Fences[i].Owner {
				f.Fences[i].Epoch = h.Epoch
			}
		}
	}
	return f
}

// takes reports whether fences take a set from a region.
func takes(f, have storage.Fences, region string) bool {
	return slices.ContainsFunc(have.Fences, func(h storage.Fence) bool {
		return h.Owner == region && !slices.ContainsFunc(f.Fences, func(n storage.Fence) bool { return n.Set == h.Set && n.Owner == region })
	})
}

// lease lets the region's applications write for as long as the region may.
func (k *keeper) lease(ctx context.Context, server store.Server) error {
	left := max(0, k.config.Lease()-leaseMargin)
	now := k.config.Clock.Boottime()
	k.mu.Lock()
	over := left == 0 && now >= k.leasedUntil
	until := now + left
	good := left > 0 && k.confirmed > now && k.confirmed <= until && until-k.confirmed < releaseAfter
	if over || good {
		k.mu.Unlock()
		return nil
	}
	k.leasedUntil, k.confirmed = max(k.leasedUntil, until+leaseMargin), 0
	k.mu.Unlock()
	if err := server.Lease(ctx, k.config.Region, left); err != nil {
		return err
	}
	k.mu.Lock()
	k.confirmed = until
	k.mu.Unlock()
	return nil
}
