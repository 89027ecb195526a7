// Package rowcheck compares the rows of two servers that replicate from each other, while both are written to.
//
// It must never tell a difference that replication would have removed: it waits for what one server has to arrive at
// the other, and believes only what stays as it is meanwhile.
package rowcheck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

const (
	// part is the most rows whose sums are compared as one, where nothing else is asked for.
	part = 1000
	// stretch is how many parts are compared before that counts as done.
	stretch = 100
	// rounds of looks at what does not stand still.
	rounds = 6
	// ask is how often positions are read while something is on its way.
	ask = 200 * time.Millisecond
)

// Side is one of the two servers.
type Side struct {
	Server store.Server
	// Want is what the server is to be.
	Want storage.Want
}

// Check compares tables. All fields but Lost, Part and Stretch are required.
type Check struct {
	Clock clock.Clock
	// Here is where the difference would be told, There the region that it would be a difference to.
	Here, There Side
	// Lost are regions that nothing arrives from at present; nil for none.
	Lost map[string]bool
	// Part is the most rows whose sums are compared as one, default 1000, and Stretch how many parts one call of Next is for, default 100.
	Part, Stretch int
}

// Run is a comparison of tables, one after the other, and how far that is. It goes on where it stopped, with other connections too.
type Run struct {
	tables []string
	// table is the number of the one that is compared, and after the key up to which that is done; "": it was not begun.
	table int
	after string
	// counted: the table that is compared is among those that were.
	counted bool
	found   storage.Comparison
}

// Begin returns a comparison of tables of which nothing is done.
func Begin(tables []string) *Run { return &Run{tables: slices.Clone(tables)} }

// Of reports whether these are the tables that are compared.
func (r *Run) Of(tables []string) bool { return slices.Equal(r.tables, tables) }

// Found is what the comparison has told up to where it is; what could not be compared is among Skipped.
func (r *Run) Found() storage.Comparison { return r.found }

// At says which table is compared, its number from 1, and how many there are; "" at the end.
func (r *Run) At() (table string, number, of int) {
	if r.table == len(r.tables) {
		return "", r.table, r.table
	}
	return r.tables[r.table], r.table + 1, len(r.tables)
}

// Next compares the next stretch of a table, and reports whether that was the last one. Errors, such as that ctx has ended or a server
// cannot be asked, leave the comparison where it was.
func (c Check) Next(ctx context.Context, r *Run) (done bool, err error) {
	c.Part, c.Stretch = cmp.Or(c.Part, part), cmp.Or(c.Stretch, stretch)
	if r.table == len(r.tables) {
		return true, nil
	}
	table := r.tables[r.table]
	one, to, err := c.stretch(ctx, table, r.after)
	switch {
	case errors.Is(err, store.ErrUnsupported):
		r.found.Skipped = append(r.found.Skipped, err.Error())
		to = ""
	case err != nil:
		return false, fmt.Errorf("comparing table %s: %w", table, err)
	default:
		r.found.Rows += one.Rows
		r.found.Differences = append(r.found.Differences, one.Differences...)
		r.found.Skipped = append(r.found.Skipped, one.Skipped...)
		if !r.counted {
			r.found.Tables++
		}
	}
	if r.after, r.counted = to, to != ""; to == "" {
		r.table++
	}
	return r.table == len(r.tables), nil
}

// pair is what both sides had of a part.
type pair struct{ here, there storage.Digest }

// stretch compares a part of a table from behind a key on, and returns the key that it ends with, "" at the table's end. A round is
// three looks: there, here, and there again, each once it has all that the other side had at the look before. A part
// that stayed as it was there meanwhile, and is another here, differs: had it been
// about to arrive, it would have. It is told when the next round finds the same, as rows may change to and fro.
func (c Check) stretch(ctx context.Context, table, after string) (out storage.Comparison, to string, err error) {
	bounds, open, to, err := c.divide(ctx, table, after)
	if err != nil {
		return out, "", err
	}
	first, err := c.There.Server.Digests(ctx, table, c.Part, bounds, open)
	if err != nil {
		return out, "", err
	}
	for _, digest := range first {
		out.Rows += digest.Rows
	}
	looked := len(open)
	suspects := map[int]pair{}
	for round := range rounds {
		if round > 0 {
			if first, err = c.There.Server.Digests(ctx, table, c.Part, first, open); err != nil {
				return out, "", err
			}
		}
		here, err := c.look(ctx, c.There, c.Here, table, first, open)
		if err != nil {
			return out, "", err
		}
		if open = differing(first, here, open); len(open) == 0 {
			return out, to, nil
		}
		again, err := c.look(ctx, c.Here, c.There, table, first, open)
		if err != nil {
			return out, "", err
		}
		var unsettled []int
		for _, i := range open {
			seen := pair{here[i], first[i]}
			if again[i] == first[i] && suspects[i] == seen {
				out.Differences = append(out.Differences, difference(table, first, i, seen))
				continue
			}
			delete(suspects, i)
			if again[i] == first[i] {
				suspects[i] = seen
			}
			unsettled = append(unsettled, i)
		}
		if open = unsettled; len(open) == 0 {
			return out, to, nil
		}
	}
	out.Skipped = append(out.Skipped, fmt.Sprintf("%d of %d parts of table %s are written to all the time and could not be compared", len(open), looked, table))
	return out, to, nil
}

// divide returns the bounds of a stretch, with one part before and one behind it that are not looked at, the numbers of those that are, and the
// key that they end with.
func (c Check) divide(ctx context.Context, table, after string) (bounds []storage.Digest, look []int, to string, err error) {
	parts, end, err := c.There.Server.Bounds(ctx, table, c.Part, after, c.Stretch)
	if err != nil {
		return nil, nil, "", err
	}
	if after != "" {
		bounds = append(bounds, storage.Digest{To: after})
	}
	for _, p := range parts {
		look = append(look, len(bounds))
		bounds = append(bounds, p)
	}
	if !end {
		to = parts[len(parts)-1].To
		bounds = append(bounds, storage.Digest{})
	}
	return bounds, look, to, nil
}

// look reads parts of one side once it has all that the other one has by now.
func (c Check) look(ctx context.Context, other, side Side, table string, bounds []storage.Digest, only []int) ([]storage.Digest, error) {
	if err := c.arrived(ctx, other, side); err != nil {
		return nil, err
	}
	return side.Server.Digests(ctx, table, c.Part, bounds, only)
}

// arrived waits until one side has all that another one has by now.
func (c Check) arrived(ctx context.Context, from, to Side) error {
	want, err := from.Server.Positions(ctx, from.Want)
	if err != nil {
		return err
	}
	for {
		have, err := to.Server.Positions(ctx, to.Want)
		if err != nil {
			return err
		}
		missing := c.missing(want, have, to)
		if missing == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("what %s has of region %s has not arrived at %s: %w", from.Want.Region, missing, to.Want.Region, ctx.Err())
		case <-c.Clock.After(ask):
		}
	}
}

// missing returns a region that a side lacks changes of which are on their way to it, "" for none.
func (c Check) missing(want, have storage.Positions, to Side) string {
	for _, source := range to.Want.Sources {
		if !c.Lost[source.Region] && have[source.Region] < want[source.Region] {
			return source.Region
		}
	}
	return ""
}

// differing returns which parts, of those that were looked at, are not the same on both sides.
func differing(there, here []storage.Digest, looked []int) []int {
	out := []int{}
	for _, i := range looked {
		if there[i] != here[i] {
			out = append(out, i)
		}
	}
	return out
}

func difference(table string, parts []storage.Digest, i int, seen pair) storage.Difference {
	d := storage.Difference{Table: table, Here: seen.here.Rows, There: seen.there.Rows}
	if i > 0 {
		d.After = parts[i-1].To
	}
	if i < len(parts)-1 {
		d.UpTo = parts[i].To
	}
	return d
}
