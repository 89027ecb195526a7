package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"multiactive.dev/operator/internal/storage"
	"multiactive.dev/operator/internal/testkit"
)

// testConflictNamesRow stops a link by the primary key, and by another unique one whose values are nobody's business: the row
// in the way is named by its primary key, and the link goes on once it is mended.
func testConflictNamesRow(t *testing.T, programs string) {
	f := newFleetOf(t, programs, "beijing", "shanghai")
	there := f.nodes["shanghai"]
	for _, n := range f.nodes {
		_, err := n.root.Exec(t.Context(), "ALTER TABLE shop.orders ADD CONSTRAINT once UNIQUE (value)")
		f.must(err)
	}
	f.prepare()
	f.must(f.connect("shanghai"))
	for name, c := range map[string]struct {
		here, arrives int64
		value         string
		constraint    string
	}{
		"primary key": {here: 7, arrives: 7, value: "other", constraint: "orders_pkey"},
		"another":     {here: 8, arrives: 9, value: "a user's secret, and so on", constraint: "once"},
	} {
		mine := c.value
		if c.here == c.arrives {
			mine = "mine"
		}
		f.must(there.PutHere(t.Context(), c.here, mine))
		f.must(f.nodes["beijing"].Put(t.Context(), c.arrives, c.value))
		testkit.Eventually(t, patience, func() error {
			seen, err := f.servers["shanghai"].Observe(t.Context(), f.want("shanghai"))
			if err != nil {
				return err
			}
			fault := seen.Links["beijing"].Fault
			if fault == nil || fault.Kind != storage.FaultConflict || !strings.Contains(fault.Message, c.constraint) {
				return fmt.Errorf("%s: fault is %+v, want one about %s", name, fault, c.constraint)
			}
			if text := fault.Message + fault.Remedy; strings.Contains(text, c.value) {
				t.Errorf("%s: %q quotes the row", name, text)
			}
			if want := fmt.Sprintf("table shop.orders, key (id)=(%d), ", c.here); !strings.Contains(fault.Remedy, want) {
				return fmt.Errorf("%s: the remedy is %q, want %q in it", name, fault.Remedy, want)
			}
			return nil
		})
		f.must(there.Undo(t.Context(), c.here))
		testkit.Eventually(t, patience, func() error {
			rows, err := there.Rows(t.Context())
			if err == nil && rows[c.arrives] != c.value {
				err = fmt.Errorf("%s: rows are %v, want %d with the value that was written", name, rows, c.arrives)
			}
			return err
		})
	}
}

func TestConflictNamesRow(t *testing.T) {
	t.Parallel()
	testConflictNamesRow(t, "")
}
