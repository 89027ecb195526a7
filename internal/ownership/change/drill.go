package change

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

// A drill is a drain that ends by itself. Its order empties the region and says when it is over; that the
// region comes back depends on the view alone, which names the drill: a drill whose order is gone, whatever
// took it away, is over.

// drillStanding returns the record of a drill that its order should have.
func (d *decider) drillStanding(o ownership.OrderIntent) ownership.OrderRecord {
	record, taken := d.c.Orders[o.Name]
	if !taken || record.Drill == nil {
		if why := d.refusal(o, taken); why != "" {
			return d.record(o.Name, ownership.OrderRefused, why)
		}
		record = d.record(o.Name, ownership.OrderRunning, d.waitsFor(o))
		record.Drill = &ownership.DrillRecord{}
		return record
	}
	drill, rec := *record.Drill, d.c.View.Regions[o.Region]
	if drill.OutAt == nil && d.out(o) {
		at := d.At.UTC()
		drill.OutAt = &at
	}
	if drill.Ending == "" {
		if drill.Ending, drill.Because = d.ends(o, drill); drill.Ending != "" {
			at := d.At.UTC()
			drill.EndingAt = &at
		}
	}
	state, message := ownership.OrderRunning, d.drillSays(o, drill)
	if drill.Ending != "" && d.c.View.Phase == ownership.PhaseOpen && rec.Drill != o.Name {
		state, message = ownership.OrderFailed, drill.Because
		if drill.Ending == ownership.DrillTimeIsUp {
			state, message = ownership.OrderSucceeded, "done"
		}
	}
	record = d.record(o.Name, state, message)
	record.Drill = &drill
	return record
}

// drillDiffers reports whether what a drill's record should say is not what it says.
func drillDiffers(have, want ownership.OrderRecord) bool {
	return have.State != want.State || have.Message != want.Message || !reflect.DeepEqual(have.Drill, want.Drill)
}

// out reports whether the region of a drill owns nothing any more because of it.
func (d *decider) out(o ownership.OrderIntent) bool {
	rec := d.c.View.Regions[o.Region]
	return d.c.View.Phase == ownership.PhaseOpen && rec.Drill == o.Name && rec.State == ownership.RegionDrained
}

// ends says what ends a drill now, and why for people; empty while it goes on.
func (d *decider) ends(o ownership.OrderIntent, drill ownership.DrillRecord) (ending, why string) {
	rec := d.c.View.Regions[o.Region]
	other := d.otherUnwell(o.Region)
	switch {
	case rec.State == ownership.RegionLost || rec.Suspect:
		return ownership.DrillRegionLost, fmt.Sprintf("region %s itself cannot be reached: this is no drill any more", o.Region)
	case other != "":
		return ownership.DrillAnotherRegion, other
	case o.Abort != "":
		return ownership.DrillAborted, o.Abort
	case d.otherOrder(o, true) != "":
		return ownership.DrillAnotherOrder, "order " + d.otherOrder(o, true) + " was taken up, which goes first"
	case drill.OutAt != nil && rec.Drill != o.Name:
		return ownership.DrillAnotherOrder, "another order brought region " + o.Region + " back"
	case drill.OutAt != nil && d.over(o, *drill.OutAt):
		return ownership.DrillTimeIsUp, "it has lasted " + o.Duration.String()
	case drill.OutAt == nil && o.Timeout > 0 && d.Now-d.Memory.orders[o.Name] > o.Timeout && !d.underWay(o.Name):
		return ownership.DrillNotOut, "not done within its timeout: " + d.waitsFor(o)
	}
	return "", ""
}

// over reports whether a region has been out for as long as the drill is to last: by the wall clock, which the
// leaders of a drill share more or less, and at the latest when this leader has watched it for as long itself.
func (d *decider) over(o ownership.OrderIntent, out time.Time) bool {
	return d.At.Sub(out) >= o.Duration || d.Memory.watched(d.Now, o.Name) >= o.Duration
}

// otherUnwell says which other region does not serve, or is suspected, "" when all do. A witness counts: a
// drill is no time to be one voter of the store short.
func (d *decider) otherUnwell(region string) string {
	for _, name := range slices.Sorted(maps.Keys(d.c.View.Regions)) {
		rec := d.c.View.Regions[name]
		switch {
		case name == region || rec.Gone:
		case rec.State != ownership.RegionServing:
			return fmt.Sprintf("region %s is %s", name, rec.State)
		case rec.Suspect:
			return fmt.Sprintf("region %s is suspected to be unreachable", name)
		case gateClosed(d.c, name):
			return fmt.Sprintf("region %s is being lost", name)
		}
	}
	return ""
}

// otherOrder names another order that is being carried out; for a drill that is not taken up yet, also a drill
// which is about to be.
func (d *decider) otherOrder(o ownership.OrderIntent, taken bool) string {
	for _, name := range slices.Sorted(maps.Keys(d.c.OrderIntents)) {
		record, known := d.c.Orders[name]
		before := !taken && !known && name < o.Name && d.c.OrderIntents[name].Type == ownership.OrderDrill
		if name != o.Name && (known && record.State == ownership.OrderRunning || before) {
			return name
		}
	}
	return ""
}

// refuseDrill says why a drill is not begun: everything has to be well, and stay bearable without the region.
func (d *decider) refuseDrill(o ownership.OrderIntent, rec ownership.RegionRecord, taken bool) string {
	other := d.otherUnwell(o.Region)
	switch {
	case taken: // from then on it ends instead
		return ""
	case o.Duration <= 0:
		return "a drill needs a duration"
	case o.Service != "":
		return "a drill is about a region as a whole"
	case rec.State != ownership.RegionServing || rec.Suspect:
		return fmt.Sprintf("region %s does not serve undisturbed, it is %s: a drill begins when every region serves", o.Region, state(rec))
	case other != "":
		return other + ": a drill begins when every region serves"
	case d.otherOrder(o, false) != "":
		return "order " + d.otherOrder(o, false) + " is being carried out: order the drill anew once it has ended"
	case !d.othersServe(o.Region):
		return fmt.Sprintf("region %s is the last one that serves", o.Region)
	case len(d.only(o.Region)) > 0:
		return fmt.Sprintf("region %s is the only one for services that nobody would serve: %s; give them another region first", o.Region,
			strings.Join(d.only(o.Region), ", "))
	}
	return d.refuseLast(o)
}

func state(rec ownership.RegionRecord) string {
	if rec.Suspect {
		return "suspected to be unreachable"
	}
	return string(rec.State)
}

// only returns the services, as namespace/name, that no other region may own keys of.
func (d *decider) only(region string) []string {
	var out []string
	for _, uid := range slices.Sorted(maps.Keys(d.c.Services)) {
		s := d.c.Services[uid]
		if s.Deleted || slices.Contains(s.Excluded, region) || !d.named(s, region) {
			continue
		}
		others := slices.DeleteFunc(s.MayOwn(d.c.View.Regions), func(r string) bool {
			return r == region || d.c.View.Regions[r].Role != health.RoleActive
		})
		if len(others) == 0 {
			out = append(out, s.Namespace+"/"+s.Name)
		}
	}
	return out
}

// drillSays says how far a drill is that has not ended.
func (d *decider) drillSays(o ownership.OrderIntent, drill ownership.DrillRecord) string {
	rec := d.c.View.Regions[o.Region]
	switch {
	case drill.Ending != "" && d.c.View.Phase != ownership.PhaseOpen:
		return fmt.Sprintf("ends (%s): owners are changing", drill.Because)
	case drill.Ending != "" && rec.State == ownership.RegionDrained:
		return fmt.Sprintf("ends (%s): region %s is brought back", drill.Because, o.Region)
	case drill.Ending != "":
		return fmt.Sprintf("ends (%s): %s", drill.Because, d.waitsForReturn(o.Region))
	case drill.OutAt != nil:
		return fmt.Sprintf("region %s is out until %s UTC, and comes back by itself", o.Region, drill.OutAt.Add(o.Duration).UTC().Format(time.TimeOnly))
	default:
		return d.waitsFor(o)
	}
}

// holds reports whether a drill still wants its region to be out.
func (d *decider) holds(drill string) bool {
	o, wanted := d.c.OrderIntents[drill]
	record := d.c.Orders[drill]
	return wanted && o.Abort == "" && record.State == ownership.OrderRunning && record.Drill != nil && record.Drill.Ending == ""
}

// begins reports whether a drill is still to empty its region.
func (d *decider) begins(o ownership.OrderIntent) bool {
	rec, record := d.c.View.Regions[o.Region], d.c.Orders[o.Name]
	return rec.State == ownership.RegionServing && d.holds(o.Name) && record.Drill.OutAt == nil && d.refuseLast(o) == "" && len(d.only(o.Region)) == 0
}

// drillsOver lets a region return whose drill is over, as Undrain does (it owns nothing by that).
func (d *decider) drillsOver() (Txn, bool) {
	for _, name := range slices.Sorted(maps.Keys(d.c.View.Regions)) {
		rec := d.c.View.Regions[name]
		if rec.Drill != "" && rec.State == ownership.RegionDrained && !d.holds(rec.Drill) {
			return d.undrain(name, "drill "+rec.Drill+" is over"), true
		}
	}
	return Txn{}, false
}
