package sim

import (
	"slices"

	"multiactive.dev/operator/internal/ownership"
)

// acceptable checks, when a gateway accepts a write, what its region must have applied of the others'.
func (s *Sim) acceptable(g *gateway, cell int, complete bool) {
	if s.restored {
		return
	}
	service := s.serviceOf(cell)
	for _, o := range s.regions {
		if o == g.r {
			continue
		}
		has := g.r.data.applied[o.index][service]
		if need := o.data.ackedSinceOpen[cell]; has < need && !o.data.given {
			s.violate(NoWriteLostInPlannedChange, "%s accepts a write to cell %d with %d entries of region %s applied, which was not lost after a user was told of number %d",
				g.p.Name, cell, has, o.name, need)
		}
		if need := o.data.ackedComplete[cell]; complete && has < need && !o.data.given {
			s.violate(CompleteHasAll, "%s accepts a write to cell %d as complete owner with %d entries of region %s applied, and a user was told of number %d",
				g.p.Name, cell, has, o.name, need)
		}
		if need := o.data.atClose[g.r.index][service]; has < need && s.takesOver(g, o, cell) {
			s.violate(TakeoverHasReceived, "%s takes cell %d over with %d entries of region %s applied, and had received %d when the gate of that closed",
				g.p.Name, cell, has, o.name, need)
		}
	}
}

// takesOver reports whether the gateway's region owns the cell because another one was lost, which comes
// before it.
func (s *Sim) takesOver(g *gateway, lost *region, cell int) bool {
	record := g.conf.Services[serviceUIDs()[s.serviceOf(cell)]]
	x, rec := s.specs[record.SpecHash], g.conf.View.Regions[lost.name]
	away := rec.State == ownership.RegionLost || rec.State == ownership.RegionReturning && record.HandedBack[lost.name] != rec.ReturnedEpoch
	if !rec.Unshipped || !away || slices.Contains(record.Excluded, lost.name) {
		return false
	}
	order := ownership.Rank(s.slotOf(cell, x), x.weights)
	before := slices.Index(order, lost.name)
	return before >= 0 && before < slices.Index(order, g.r.name)
}

// acknowledged notes that a user was told that a write is done.
func (s *Sim) acknowledged(r *region, w *write) {
	d := &r.data
	d.ackedSinceOpen[w.cell] = max(d.ackedSinceOpen[w.cell], w.entry)
	if w.complete {
		d.ackedComplete[w.cell] = max(d.ackedComplete[w.cell], w.entry)
	}
}

// dataAtClose notes what the others have of a region whose gate closes: what it accepted under this gate
// is lost as far as they have not received it.
func (s *Sim) dataAtClose(r *region) {
	d := &r.data
	clear(d.ackedSinceOpen)
	for i := range d.atOpen {
		if r.head(i) == d.atOpen[i] {
			continue // it accepted nothing; whoever owned its slots goes on
		}
		for _, other := range s.regions {
			d.atClose[other.index][i] = other.data.received[r.index][i]
		}
	}
}

// declaredGone lets go of what nobody is promised any more: all that the region had, and what it alone
// may have had of the regions that are away as well.
func (s *Sim) declaredGone(r *region, c ownership.Configuration) {
	r.data.given = true
	for _, other := range s.regions {
		if !c.Gates[other.name].Open {
			clear(other.data.ackedComplete)
		}
	}
}
