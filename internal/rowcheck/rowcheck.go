// Package rowcheck compares the rows of two servers that replicate from each other, while both are written to.
//
// It must never tell a difference that replication would have removed: it waits for what one server has to arrive at
// the other, and believes only what stays as it is meanwhile.
package rowcheck

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

const (
	// part is the most rows whose sums are compared as one.
	part = 1000
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

// Check compares tables. All fields but Lost are required.
type Check struct {
	Clock clock.Clock
	// Here is where the difference would be told, There the region that it would be a difference to.
	Here, There Side
	// Lost are regions that nothing arrives from at present; nil for none.
	Lost map[string]bool
}

// Tables compares tables one after the other until ctx ends; what could not be compared is told among Skipped. Errors
// say that a server cannot be asked.
func (c Check) Tables(ctx context.Context, tables []string) (storage.Comparison, error) {
	var all storage.Comparison
	for _, table := range tables {
		one, err := c.table(ctx, table)
		switch {
		case errors.Is(err, store.ErrUnsupported):
			all.Skipped = append(all.Skipped, err.Error())
			continue
		case err != nil:
			return all, fmt.Errorf("comparing table %s: %w", table, err)
		}
		all.Tables++
		all.Rows += one.Rows
		all.Differences = append(all.Differences, one.Differences...)
		all.Skipped = append(all.Skipped, one.Skipped...)
	}
	return all, nil
}

// pair is what both sides had of a part.
type pair struct{ here, there storage.Digest }

// table compares one. A round is three looks: there, here, and there again, each once it has all that the other side had
// at the look before. A part that stayed as it was there meanwhile, and is another here, differs: had it been
// about to arrive, it would have. It is told when the next round finds the same, as rows may change to and fro.
func (c Check) table(ctx context.Context, table string) (storage.Comparison, error) {
	var out storage.Comparison
	first, err := c.There.Server.Digests(ctx, table, part, nil, nil)
	if err != nil {
		return out, err
	}
	for _, digest := range first {
		out.Rows += digest.Rows
	}
	suspects := map[int]pair{}
	var open []int // nil: all
	for round := range rounds {
		if round > 0 {
			if first, err = c.There.Server.Digests(ctx, table, part, first, open); err != nil {
				return out, err
			}
		}
		here, err := c.look(ctx, c.There, c.Here, table, first, open)
		if err != nil {
			return out, err
		}
		if open = differing(first, here, open); len(open) == 0 {
			return out, nil
		}
		again, err := c.look(ctx, c.Here, c.There, table, first, open)
		if err != nil {
			return out, err
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
			return out, nil
		}
	}
	out.Skipped = append(out.Skipped, fmt.Sprintf("%d of %d parts of table %s are written to all the time and could not be compared", len(open), len(first), table))
	return out, nil
}

// look reads parts of one side once it has all that the other one has by now.
func (c Check) look(ctx context.Context, other, side Side, table string, bounds []storage.Digest, only []int) ([]storage.Digest, error) {
	if err := c.arrived(ctx, other, side); err != nil {
		return nil, err
	}
	return side.Server.Digests(ctx, table, part, bounds, only)
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
	for i := range there {
		if looked == nil && there[i] != here[i] {
			out = append(out, i)
		}
	}
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
