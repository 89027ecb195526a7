package storetest

import (
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/storage"
)

// pinnedTo adds the slots of lists of regions to the fences of two sets of slots of keys.
func pinnedTo(pinned ...storage.Fence) storage.Fences {
	f := fencesOf(1, regions[0], regions[1])
	for _, one := range pinned {
		f.Pinned, f.Fences = append(f.Pinned, one.Set), append(f.Fences, one)
	}
	return f
}

// Data that is pinned to a list of regions is fenced as that of keys is: what the owner writes is accepted, before and after
// changes of owners, and what a former owner has on its way still is refused. Keys notice nothing of it.
func (w World) testPinned(t *testing.T) {
	t.Parallel()
	if !w.Fences {
		t.Skip("the engine has no fences")
	}
	first, second := regions[0], regions[1]
	p := &pinnedWorld{t: t, servers: map[string]*set{}}
	for _, name := range []string{first, second} {
		s := w.start(t, name, name)
		s.prepare(name)
		s.must(s.servers[name].Lease(t.Context(), name, time.Hour))
		p.servers[name] = s
	}
	list := ownership.PinnedSlot(regions[:2])
	owned := func(owner string, epoch int64) []storage.Fence {
		return []storage.Fence{{Set: list, Owner: owner, Epoch: epoch}, {Set: math.MaxInt32, Owner: second, Epoch: 1}}
	}

	p.fence(owned(first, 1)...)
	p.accepted(first, list, 1)
	p.accepted(second, math.MaxInt32, 1)
	p.refused(second, list, 1)
	p.waits(first, list, owned("", 2))
	p.refused(first, list, 1)
	p.accepted(second, math.MaxInt32, 1)
	p.fence(owned(second, 3)...)
	p.refused(first, list, 1)
	p.accepted(second, list, 3)

	p.fence(owned("", 4)...)
	p.fence(owned(first, 5)...)
	p.refused(second, list, 3)
	p.refused(first, list, 1) // from before: it has been another's meanwhile
	p.accepted(first, list, 5)

	// The list is declared anew.
	another := storage.Fence{Set: ownership.PinnedSlot([]string{second, first}), Owner: second, Epoch: 7}
	p.fence(owned("", 6)...)
	p.fence(another)
	p.refused(first, list, 5)
	p.refused(second, list, 7)
	p.accepted(second, another.Set, 7)
	p.fence() // nothing is pinned any more
	p.refused(second, another.Set, 7)
}

// pinnedWorld has servers that do not replicate: what is on one does not matter on the other.
type pinnedWorld struct {
	t       *testing.T
	servers map[string]*set
	written int64
}

// fence writes fences on all servers, as members do that have just started, and reads them.
func (p *pinnedWorld) fence(pinned ...storage.Fence) {
	p.t.Helper()
	slices.SortFunc(pinned, func(a, b storage.Fence) int { return a.Set - b.Set })
	f := pinnedTo(pinned...)
	for name, s := range p.servers {
		s.reopen(name)
		s.must(s.servers[name].SetFences(p.t.Context(), f))
		got, err := s.servers[name].Fences(p.t.Context())
		s.must(err)
		if diff := cmp.Diff([]storage.Fences{{Service: service, Fences: f.Fences}}, got); diff != "" {
			p.t.Errorf("fences (-want +got):\n%s", diff)
		}
		s.says(name, 0, regions[0], 1, name == regions[0])
		s.says(name, 1, regions[1], 1, name == regions[1])
	}
}

func (p *pinnedWorld) accepted(region string, slot int, epoch int64) {
	p.t.Helper()
	if err := p.write(region, slot, epoch); err != nil {
		p.t.Errorf("a write to slot %d in %s, owner of epoch %d: %v", slot, region, epoch, err)
	}
}

func (p *pinnedWorld) refused(region string, slot int, epoch int64) {
	p.t.Helper()
	if err := p.write(region, slot, epoch); !errors.Is(err, errFenced) {
		p.t.Errorf("a write to slot %d in %s, which says that it is the owner of epoch %d, got %v, want %v", slot, region, epoch, err, errFenced)
	}
}

var errFenced = errors.New("fenced")

// write writes a row as an application does that has been handed a fencing token.
func (p *pinnedWorld) write(region string, slot int, epoch int64) error {
	p.t.Helper()
	tx, err := p.begin(region, slot, epoch)
	if err != nil {
		return err
	}
	return tx.Commit()
}

// begin is write without its end.
func (p *pinnedWorld) begin(region string, slot int, epoch int64) (*sql.Tx, error) {
	p.t.Helper()
	ctx, s := p.t.Context(), p.servers[region]
	tx, err := s.nodes[region].Application().BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	var owner sql.NullString
	var since sql.NullInt64
	var leased sql.NullBool
	err = tx.QueryRowContext(ctx, s.Guard, service, slot).Scan(&owner, &since, &leased)
	if errors.Is(err, sql.ErrNoRows) || err == nil && (owner.String != region || since.Int64 > epoch || !leased.Bool) {
		err = errFenced
	}
	if err == nil {
		p.written++
		_, err = tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO %s (id, value) VALUES (%d, 'pinned')", s.Table, p.written))
	}
	if err != nil {
		_ = tx.Rollback()
		return nil, err
	}
	return tx, nil
}

// waits takes a list away while a transaction of its owner holds it.
func (p *pinnedWorld) waits(owner string, slot int, next []storage.Fence) {
	p.t.Helper()
	tx, err := p.begin(owner, slot, 1)
	if err != nil {
		p.t.Fatal(err)
	}
	server, taken := p.servers[owner].servers[owner], make(chan error, 1)
	go func() { taken <- server.SetFences(p.t.Context(), pinnedTo(next...)) }()
	select {
	case err := <-taken:
		p.t.Fatalf("the list was taken away (%v) while a transaction holds it", err)
	case <-time.After(300 * time.Millisecond):
	}
	if err := errors.Join(tx.Commit(), <-taken); err != nil {
		p.t.Fatal(err)
	}
	p.fence(next...)
}
