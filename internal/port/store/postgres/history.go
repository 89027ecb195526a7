package postgres

import (
	"context"
	"errors"
	"time"
	"unicode/utf8"

	"multiactive.dev/operator/internal/port/store"
)

// mostLate rows are taken back and decided on; more is a matter of comparing and seeding.
const mostLate = 100_000

var (
	conflictTable = table{schema: store.Schema, name: "conflict"}
)

// touched is a row that the server's own region changed since not all others have what it changed.
type touched struct {
	layout *layout
	key    string
	id     row // any version, for the key
	// before is the row as those have it that have most of these changes, and after the last one; nil where there is no row.
	before, after row
	// versions are the sums of all that the region had of it: a region that has one of them has not changed it.
	versions []string
	// without what no other has: as it would be with the changes of the other regions alone.
	without row
	// resend: some others lack what others have. late: nobody else has the last change.
	resend, late bool
	written      time.Time
}

// history is what the server's own region changed, by row.
type history struct {
	layouts *layouts
	// shared is the position up to which some other region has the changes.
	shared int64
	rows   map[string]*touched
	order  []*touched
}

// note takes a change out of the server's log.
func (h *history) note(ctx context.Context) func(change) error {
	return func(c change) error {
		switch {
		case c.table == canaryTable:
			return nil
		case c.kind == 'T' && c.origin == "":
			return unsettled("table %s was emptied by TRUNCATE", c.table)
		case c.kind == 'T':
			return h.emptied(ctx, c)
		case c.origin != "" && !h.knows(c.table):
			return nil
		}
		l, err := h.layouts.of(ctx, c.table)
		if err != nil {
			return err
		}
		if !l.fits(c.columns) {
			return unsettled("the columns of table %s are others than when a row of it was changed", c.table)
		}
		return l.split(c, func(key string, one change) error { return h.one(l, key, one) })
	}
}

// knows tells whether rows of the table were changed.
func (h *history) knows(t table) bool {
	_, known := h.layouts.known[t]
	return known
}

// emptied: another region emptied a table, and this server did as well.
func (h *history) emptied(ctx context.Context, c change) error {
	if !h.knows(c.table) {
		return nil
	}
	l, err := h.layouts.of(ctx, c.table)
	for _, t := range h.order {
		if t.layout == l {
			t.without = nil
		}
	}
	return err
}

// split makes two changes of one that gives a row another key.
func (l *layout) split(c change, take func(key string, c change) error) error {
	from, to := l.keyOf(c.before), l.keyOf(c.after)
	switch {
	case c.before == nil:
		from = to
	case c.after == nil:
		to = from
	}
	if from == to {
		return take(from, c)
	}
	gone, come := c, c
	gone.kind, gone.after = 'D', nil
	come.kind, come.before, come.whole = 'I', nil, false
	var filled bool
	if come.after, filled = c.after.with(c.before); !filled {
		come.after = c.after
	}
	return errors.Join(take(from, gone), take(to, come))
}

func (h *history) one(l *layout, key string, c change) error {
	seen := h.rows[l.table.String()+key]
	if c.origin != "" {
		if seen == nil {
			return nil
		}
		return seen.other(c)
	}
	if c.kind != 'I' && !c.whole {
		return unsettled("the log does not tell what a row of table %s was before it was changed: it needs %s", c.table, identityStatement(l.table))
	}
	after, filled := c.after.with(c.before)
	if !filled || !after.readable() || !c.before.readable() {
		return unsettled("a row of table %s cannot be read from the log", c.table)
	}
	if seen == nil {
		if len(h.rows) >= mostLate {
			return unsettled("there are more than %d such rows", mostLate)
		}
		seen = &touched{layout: l, key: key, id: after, before: c.before, without: c.before}
		if after == nil {
			seen.id = c.before
		}
		h.rows[l.table.String()+key] = seen
		h.order = append(h.order, seen)
	}
	seen.versions = append(append(seen.versions, c.before.sum()...), after.sum()...)
	seen.after, seen.written = after, c.written
	if c.at < h.shared {
		seen.before, seen.without, seen.resend = after, after, true
	} else {
		seen.late = true
	}
	return nil
}

// other takes a change that arrived from another region, or that put the row back after an earlier outage.
func (t *touched) other(c change) error {
	was := t.without
	if was == nil {
		was = c.before
	}
	now, filled := c.after.with(was)
	if !filled {
		return unsettled("a row of table %s cannot be read from the log", c.table)
	}
	t.without = now
	if c.origin == lateOrigin {
		t.before, t.after, t.late = now, now, false
	}
	return nil
}

// readable tells whether all values can be kept as texts.
func (r row) readable() bool {
	for _, value := range r {
		if value != nil && !utf8.ValidString(*value) {
			return false
		}
	}
	return true
}

func identityStatement(t table) string {
	return "ALTER TABLE " + t.quoted() + " REPLICA IDENTITY FULL"
}
