package coordination

import (
	"context"
	"errors"
	"fmt"
	"maps"

	clientv3 "go.etcd.io/etcd/client/v3"

	"multiactive.dev/operator/internal/ownership"
)

// What hubs beside the members write in peer mode. There are several of them, so that a proposal is its
// leader's (R1), and an order stands for as long as one of its copies does.

// PutBallot takes the next ballot for this term: above the one that from shows and above floor.
func (t *Term) PutBallot(ctx context.Context, from ownership.Configuration, identity string, floor int64) (int64, error) {
	key := t.store.prefix + keyBallot
	b := ownership.Ballot{N: max(from.Ballot.N, floor) + 1, Leader: identity}
	return t.store.write(ctx, keyBallot, t.guards(unwrittenSince(GuardRecord, key, from.Revision)), put{key, b})
}

// PutRegionIntent is Store.PutRegionIntent, refused once the term is over.
func (t *Term) PutRegionIntent(ctx context.Context, i ownership.RegionIntent) (int64, error) {
	if err := checkName("region", i.Name); err != nil {
		return 0, err
	}
	return t.store.writeChanged(ctx, dirRegionIntent+i.Name, t.guards(), put{t.store.prefix + dirRegionIntent + i.Name, i})
}

// PutServiceIntent is Store.PutServiceIntent, refused once the term is over.
func (t *Term) PutServiceIntent(ctx context.Context, i ownership.ServiceIntent) (int64, error) {
	if err := checkName("service UID", i.UID); err != nil {
		return 0, err
	}
	return t.store.writeChanged(ctx, dirServiceIntent+i.UID, t.guards(), put{t.store.prefix + dirServiceIntent + i.UID, i})
}

// DeleteRegionIntent is Store.DeleteRegionIntent, refused once the term is over.
func (t *Term) DeleteRegionIntent(ctx context.Context, name string) (int64, error) {
	if err := checkName("region", name); err != nil {
		return 0, err
	}
	return t.store.commit(ctx, dirRegionIntent+name, t.guards(), clientv3.OpDelete(t.store.prefix+dirRegionIntent+name))
}

// DeleteServiceIntent is Store.DeleteServiceIntent, refused once the term is over.
func (t *Term) DeleteServiceIntent(ctx context.Context, uid string) (int64, error) {
	if err := checkName("service UID", uid); err != nil {
		return 0, err
	}
	return t.store.commit(ctx, dirServiceIntent+uid, t.guards(), clientv3.OpDelete(t.store.prefix+dirServiceIntent+uid))
}

// ErrOtherOrder is returned for an order whose name another one has.
var ErrOtherOrder = errors.New("another order has this name")

// HoldOrder gives an order in the name of one region's Operation, or joins those that give the same. It
// returns ErrOtherOrder if the name stands for another order.
func (s *Store) HoldOrder(ctx context.Context, i ownership.OrderIntent, region, uid string) (int64, error) {
	if err := checkName("order", i.Name); err != nil {
		return 0, err
	}
	return s.editOrder(ctx, i.Name, func(have *ownership.OrderIntent) (*ownership.OrderIntent, error) {
		want := i
		if have != nil {
			if !have.Same(i) {
				return nil, fmt.Errorf("order %s: %w", i.Name, ErrOtherOrder)
			}
			want = *have
		}
		if want.Abort == "" { // whoever aborts a drill does so for all
			want.Abort = i.Abort
		}
		want.Copies = maps.Clone(want.Copies)
		if want.Copies == nil {
			want.Copies = map[string]string{}
		}
		want.Copies[region] = uid
		return &want, nil
	})
}

// ReleaseOrder takes one region's Operation off an order, and withdraws the order with the last one.
func (s *Store) ReleaseOrder(ctx context.Context, name, region string) (int64, error) {
	if err := checkName("order", name); err != nil {
		return 0, err
	}
	return s.editOrder(ctx, name, func(have *ownership.OrderIntent) (*ownership.OrderIntent, error) {
		if have == nil {
			return nil, nil //nolint:nilnil // no order is what is wanted
		}
		want := *have
		want.Copies = maps.Clone(have.Copies)
		delete(want.Copies, region)
		if len(want.Copies) == 0 {
			return nil, nil //nolint:nilnil // no order is what is wanted
		}
		return &want, nil
	})
}

// editOrder reads an order's intent, which is nil if there is none, and writes what edit makes of it
// unless somebody else has written it meanwhile.
func (s *Store) editOrder(ctx context.Context, name string, edit func(*ownership.OrderIntent) (*ownership.OrderIntent, error)) (int64, error) {
	key := s.prefix + dirOrderIntent + name
	var have ownership.OrderIntent
	written, there, err := s.read(ctx, key, &have)
	if err != nil {
		return 0, fmt.Errorf("reading order %s: %w", name, err)
	}
	was := &have
	if !there {
		was = nil
	}
	want, err := edit(was)
	if err != nil {
		return 0, err
	}
	guards := []guard{writtenAt(GuardIntent, key, written)}
	if want == nil {
		return s.commit(ctx, dirOrderIntent+name, guards, clientv3.OpDelete(key))
	}
	return s.write(ctx, dirOrderIntent+name, guards, put{key, *want})
}
