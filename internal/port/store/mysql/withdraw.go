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

// Withdraw implements store.Settler. Rows are put back as the changes of the other regions alone have them: the server's
// binary log tells, in which these may already follow.
func (s *Server) Withdraw(ctx context.Context, w storage.Want, o storage.Outage, others []storage.Source) error {
	spoken, err := s.dialect(ctx)
	if err != nil {
		return err
	}
	noted, err := readOutage(ctx, s.plain, w.Region)
	switch {
	case err != nil:
		return s.explain(ctx, "reading what is known of the outage", err)
	case noted.id == o.ID && w.Mesh:
		return s.SetWritable(ctx, true) // whoever withdrew may not have come that far
	case noted.id == o.ID:
		return nil
	}
	at, err := s.place(ctx, spoken)
	if err != nil {
		return err
	}
	has, err := s.elsewhere(ctx, spoken, o, others)
	if err != nil {
		return err
	}
	if err := taggedLate(spoken, at, has); err != nil {
		return err
	}
	if err := s.SetWritable(ctx, false); err != nil {
		return err
	}
	started, err := s.halt(ctx, spoken, func(name string, row map[string]string) bool {
		_, link, _ := spoken.link(row)
		_, ours := s.whose(w, name, userOf(row), link.Address)
		return !ours
	})
	if err == nil {
		err = s.withdraw(ctx, spoken, o, has[at.own])
	}
	// Also after a failure: it is told, and nothing that arrives is lost meanwhile.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.Timeout)
	defer cancel()
	return errors.Join(err, s.do(last, started), s.SetWritable(last, w.Writable))
}

// taggedLate refuses transactions with a tag that no other server has: MySQL counts them by themselves, and others would ask for them still.
func taggedLate(spoken dialect, at place, elsewhere map[string]int64) error {
	for origin, last := range spoken.logged(at.here) {
		if tag, own := strings.CutPrefix(origin, at.own+":"); own && last > elsewhere[origin] {
			return unsettled("it has transactions with the tag %s", tag)
		}
	}
	return nil
}

// elsewhere is the highest position that another server has, by origin. All of them must hold.
func (s *Server) elsewhere(ctx context.Context, spoken dialect, o storage.Outage, others []storage.Source) (map[string]int64, error) {
	reached := map[string]int64{}
	for _, reads := range []bool{false, true} { // positions grow no more once all hold
		for _, other := range others {
			err := s.asReplica(ctx, other.Address, func(p *pool) error {
				noted, err := readOutage(ctx, p, o.Region)
				if err != nil {
					return err
				}
				if noted.id != o.ID || noted.phase != phaseHeld {
					return store.ErrNotHeld
				}
				if !reads {
					return nil
				}
				there, err := placeOf(ctx, p, spoken)
				if err != nil {
					return err
				}
				for _, has := range []map[string]int64{spoken.applied(there.here, there.applied), spoken.logged(there.here)} {
					for origin, upTo := range has {
						reached[origin] = max(reached[origin], upTo)
					}
				}
				return nil
			})
			if err != nil && !errors.Is(err, store.ErrNotHeld) {
				err = fmt.Errorf("%w (%w)", store.ErrNotHeld, err)
			}
			if err != nil {
				return nil, fmt.Errorf("asking the server of %s how much it has of this region's changes: %w", other.Region, err)
			}
		}
	}
	return reached, nil
}

func (s *Server) withdraw(ctx context.Context, spoken dialect, o storage.Outage, reached int64) error {
	at, err := s.place(ctx, spoken)
	if err != nil {
		return err
	}
	cut, h := spoken.lastOwn(at), &history{rows: map[string]*touched{}}
	if _, last := spoken.numberIn(cut); last <= reached {
		cut = ""
	} else if err := s.readLogsAfter(ctx, spoken, s.ownLogs(), at.own, reached, h.note); err != nil {
		return s.explain(ctx, "reading what no other region has", err)
	}
	err = s.run(ctx, false, func(ctx context.Context, tx *sql.Tx) error {
		if err := putBack(ctx, tx, h.order); err != nil {
			return err
		}
		if err := keep(ctx, tx, o, h.order); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, writeOutage, o.Region, o.ID, phaseWithdrawn, reached, cut)
		return err
	})
	return s.explain(ctx, "taking back what no other region has", err)
}

// putBack has rows be as they would be without the server's own changes. All go first: unique keys may have moved from one to another.
func putBack(ctx context.Context, tx *sql.Tx, all []*touched) error {
	for _, t := range all {
		if _, err := tx.ExecContext(ctx, t.layout.delete(t.id)); err != nil {
			return fmt.Errorf("table %s, row %s: %w", t.layout.table, t.key, err)
		}
	}
	for _, t := range all {
		if t.without == nil {
			continue
		}
		if _, err := tx.ExecContext(ctx, t.layout.insert(t.without)); err != nil {
			return fmt.Errorf("table %s, row %s: %w", t.layout.table, t.key, err)
		}
	}
	return nil
}

// One statement keeps so many changes, and about so many bytes: servers limit what one may have.
const (
	keepAtOnce = 100
	keepBytes  = 1 << 20
)

// keep writes the changes for Decide.
func keep(ctx context.Context, tx *sql.Tx, o storage.Outage, all []*touched) error {
	var args []any
	number, size := 0, 0
	flush := func() error {
		if len(args) == 0 {
			return nil
		}
		const columns = 9
		one := insert("INSERT INTO "+lateTable+" (region, outage, number, table_name, row_key, before_row, after_row, gtid, written_at) VALUES ",
			"(?, ?, ?, ?, ?, ?, ?, ?, ?)", len(args)/columns, args)
		args, size = nil, 0
		_, err := tx.ExecContext(ctx, one.text, one.args...)
		return err
	}
	for _, t := range all {
		before, err := encode(t.layout.stored, t.before)
		if err != nil {
			return err
		}
		after, err := encode(t.layout.stored, t.after)
		if err != nil {
			return err
		}
		if before == after {
			continue // what was made and removed again
		}
		number++
		args = append(args, o.Region, o.ID, number, t.layout.table, t.key, before, after, t.gtid, t.at)
		if size += len(before) + len(after); len(args) >= 9*keepAtOnce || size >= keepBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

const lateTable = store.Schema + ".late_change"

// shortKey of a row, for people.
func shortKey(key string) string {
	const longest = 128
	if len(key) <= longest {
		return key
	}
	return strings.ToValidUTF8(key[:longest], "") + "…"
}
