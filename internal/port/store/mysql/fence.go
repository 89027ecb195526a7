package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// Guard is the statement that an application runs first in each of its transactions that writes, with the
// service as <namespace>/<name> and the slot. It goes on only if there is a row, leased is 1, owner is its region,
// and epoch, since which that is so, is not above that of its token; the transaction then holds a shared lock until it ends, and a fence that takes the slots
// away waits for it.
//
// The lease is read without a lock, for it is written every second. It has to be valid when the row is locked,
// not when the statement began, which may have waited: UTC_TIMESTAMP stands still meanwhile and SYSDATE does
// not (manual, "Date and Time Functions"). A clock that was set back meanwhile refuses.
//
// As the first statement of a transaction it reads the lease as it is; later ones read it as it was then.
const Guard = "SELECT f.owner, f.epoch, COALESCE((SELECT l.valid_until > UTC_TIMESTAMP(6) + INTERVAL " +
	"TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6)) MICROSECOND AND SYSDATE(6) >= NOW(6) " +
	"FROM " + store.Schema + ".lease l WHERE l.region = f.owner), 0) AS leased " +
	"FROM " + store.Schema + ".fence f JOIN " + store.Schema + ".fence_slot s USING (service, slot_set) " +
	"WHERE s.service = ? AND s.slot = ? LOCK IN SHARE MODE"

// SetFences implements store.Server. Rows are written one by one, each only if it is still as it was read: a
// statement that a frozen server runs late changes nothing that was changed since.
func (s *Server) SetFences(ctx context.Context, f storage.Fences) error {
	slots, err := s.slotsDiffer(ctx, f)
	if err != nil {
		return s.explain(ctx, "reading fences", err)
	}
	if slots {
		return s.explain(ctx, "writing slots and fences", s.replaceFences(ctx, f))
	}
	found, err := s.fences(ctx, f.Service)
	if err != nil {
		return s.explain(ctx, "reading fences", err)
	}
	there := map[int]storage.Fence{}
	for _, one := range found {
		for _, fence := range one.Fences {
			there[fence.Set] = fence
		}
	}
	var failed []error
	for _, fence := range f.Fences {
		old, ok := there[fence.Set]
		if ok && old == fence {
			continue
		}
		if err := s.setFence(ctx, f.Service, old, ok, fence); err != nil {
			failed = append(failed, fmt.Errorf("set %d: %w", fence.Set, err))
		}
	}
	return s.explain(ctx, "writing fences", errors.Join(failed...))
}

var errChanged = errors.New("the row was changed meanwhile: look again")

func (s *Server) setFence(ctx context.Context, service string, old storage.Fence, exists bool, fence storage.Fence) error {
	var changed int64
	var err error
	if exists {
		changed, err = s.local.exec(ctx, "UPDATE "+store.Schema+".fence SET owner = ?, epoch = ? WHERE service = ? AND slot_set = ? "+
			"AND owner = ? AND epoch = ?", fence.Owner, fence.Epoch, service, fence.Set, old.Owner, old.Epoch)
	} else {
		changed, err = s.local.exec(ctx, "INSERT IGNORE INTO "+store.Schema+".fence (service, slot_set, owner, epoch) VALUES (?, ?, ?, ?)",
			service, fence.Set, fence.Owner, fence.Epoch)
	}
	if err == nil && changed == 0 {
		err = errChanged
	}
	return err
}

// slotsDiffer tells whether the sets of slots, or their number, are not those that are wanted.
func (s *Server) slotsDiffer(ctx context.Context, f storage.Fences) (bool, error) {
	same, rows := true, 0
	err := s.plain.each(ctx, "SELECT slot, slot_set FROM "+store.Schema+".fence_slot WHERE service = ?", []any{f.Service},
		func(scan func(...any) error) error {
			var slot, set int
			if err := scan(&slot, &set); err != nil {
				return err
			}
			rows++
			wanted, is := f.SetOf(slot)
			same = same && is && wanted == set
			return nil
		})
	if err != nil {
		return false, err
	}
	var sets int
	err = s.plain.row(ctx, "SELECT COUNT(*) FROM "+store.Schema+".fence WHERE service = ?", []any{f.Service}, &sets)
	return !same || rows != f.SlotCount() || sets > len(f.Fences), err
}

// replaceFences writes all rows of a service in one transaction, once those that hold one have ended.
func (s *Server) replaceFences(ctx context.Context, f storage.Fences) error {
	return s.local.transact(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := clearFences(ctx, tx, f.Service); err != nil {
			return err
		}
		var fences, slots []any
		for _, fence := range f.Fences {
			fences = append(fences, f.Service, fence.Set, fence.Owner, fence.Epoch)
		}
		for slot, set := range f.Sets() {
			slots = append(slots, f.Service, slot, set)
		}
		for _, one := range []statement{
			insert(insertFences, "(?, ?, ?, ?)", len(f.Fences), fences), insert(insertSlots, "(?, ?, ?)", f.SlotCount(), slots),
		} {
			if len(one.args) == 0 {
				continue
			}
			if _, err := tx.ExecContext(ctx, one.text, one.args...); err != nil {
				return err
			}
		}
		return nil
	})
}

const (
	insertFences = "INSERT INTO " + store.Schema + ".fence (service, slot_set, owner, epoch) VALUES "
	insertSlots  = "INSERT INTO " + store.Schema + ".fence_slot (service, slot, slot_set) VALUES "
	deleteFences = "DELETE FROM " + store.Schema + ".fence WHERE service = ?"
	deleteSlots  = "DELETE FROM " + store.Schema + ".fence_slot WHERE service = ?"
)

// insert makes one statement of many rows.
func insert(into, row string, rows int, args []any) statement {
	return statement{into + strings.TrimSuffix(strings.Repeat(row+", ", rows), ", "), args}
}

// clearFences deletes the rows of a service, in the order in which Guard locks them: slots first.
func clearFences(ctx context.Context, tx *sql.Tx, service string) error {
	for _, statement := range []string{deleteSlots, deleteFences} {
		if _, err := tx.ExecContext(ctx, statement, service); err != nil {
			return err
		}
	}
	return nil
}

// RemoveFences implements store.Server.
func (s *Server) RemoveFences(ctx context.Context, service string) error {
	err := s.local.transact(ctx, func(ctx context.Context, tx *sql.Tx) error { return clearFences(ctx, tx, service) })
	if missingTable(err) {
		return nil
	}
	return s.explain(ctx, "removing fences", err)
}

// Fences implements store.Server.
func (s *Server) Fences(ctx context.Context) ([]storage.Fences, error) {
	found, err := s.fences(ctx, "")
	if missingTable(err) {
		return nil, nil
	}
	return found, s.explain(ctx, "reading fences", err)
}

// fences reads those of one service, or with "" all.
func (s *Server) fences(ctx context.Context, service string) ([]storage.Fences, error) {
	var all []storage.Fences
	err := s.plain.each(ctx, "SELECT service, slot_set, owner, epoch FROM "+store.Schema+".fence WHERE ? IN ('', service) "+
		"ORDER BY service, slot_set", []any{service}, func(scan func(...any) error) error {
		var of string
		var fence storage.Fence
		if err := scan(&of, &fence.Set, &fence.Owner, &fence.Epoch); err != nil {
			return err
		}
		if len(all) == 0 || all[len(all)-1].Service != of {
			all = append(all, storage.Fences{Service: of})
		}
		last := &all[len(all)-1]
		last.Fences = append(last.Fences, fence)
		return nil
	})
	return all, err
}
