package health

import (
	"slices"

	"multiactive.dev/operator/internal/ownership"
)

// declaredLost returns the regions that a person has declared lost for good, and whose last lease has run out
// as far as this agent has watched (R4). The order stands for the observers, of which there may be too few, and
// for their agreement on two losses at once: a person knows what no probe can tell.
func (d *decider) declaredLost() []string {
	var out []string
	for name, o := range d.c.OrderIntents {
		rec, known := d.c.View.Regions[o.Region]
		taken := o.Type == ownership.OrderDeclareLost && d.c.Orders[name].State == ownership.OrderRunning
		if taken && known && holdsLease(rec.State) && d.c.Gates[o.Region].Open && d.w.Still(d.now, o.Region) >= d.w.Expiry() {
			out = append(out, o.Region)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// giveUp closes the gate of a region that was declared lost for good, unless it is the last one (R14).
func (d *decider) giveUp(name string, rec ownership.RegionRecord) {
	if rec.Role == RoleActive && !d.othersServe(slices.Concat(d.allowed, d.declared)) {
		d.out.Reasons[name] = ReasonLastServing
		return
	}
	d.intend(CloseGate, name, "declared lost for good, and its last lease has run out")
}
