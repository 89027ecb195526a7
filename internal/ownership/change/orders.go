package change

import (
	"fmt"
	"maps"
	"slices"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

// Orders returns the records to write that go with no change of the view: orders that are taken up, wait
// for something else than before, or end. Those come first that a newer one takes the place of.
func Orders(in Input) []ownership.OrderRecord {
	in.Memory.see(in.Now, in.Conf)
	d := decider{Input: in, c: in.Conf}
	var superseded, others []ownership.OrderRecord
	for _, name := range slices.Sorted(maps.Keys(d.c.OrderIntents)) {
		record, known := d.c.Orders[name]
		if known && record.State != ownership.OrderRunning {
			continue
		}
		if d.c.OrderIntents[name].Type == ownership.OrderDrill {
			if want := d.drillStanding(d.c.OrderIntents[name]); !known || drillDiffers(record, want) {
				others = append(others, want)
			}
			continue
		}
		if by := d.supersededBy(d.c.OrderIntents[name]); known && by != "" {
			superseded = append(superseded, d.record(name, ownership.OrderFailed, "order "+by+" has taken its place"))
			continue
		}
		state, message := d.standing(d.c.OrderIntents[name], known)
		if !known || record.State != state || record.Message != message {
			others = append(others, d.record(name, state, message))
		}
	}
	return append(superseded, others...)
}

// supersededBy names an order that is not taken up yet and wants the contrary: whoever drains a region
// does not want it undrained because of what was ordered before.
func (d *decider) supersededBy(old ownership.OrderIntent) string {
	for _, name := range slices.Sorted(maps.Keys(d.c.OrderIntents)) {
		o := d.c.OrderIntents[name]
		_, known := d.c.Orders[name]
		drains := func(o ownership.OrderIntent) bool { return o.Type == ownership.OrderDrain }
		fills := func(o ownership.OrderIntent) bool {
			return o.Type == ownership.OrderUndrain || o.Type == ownership.OrderHandback
		}
		contrary := drains(o) && fills(old) || fills(o) && drains(old)
		if !known && contrary && o.Region == old.Region && o.Service == old.Service && d.refusal(o, false) == "" {
			return name
		}
	}
	return ""
}

// FinishedOrders returns the records whose intents the hub has withdrawn.
func FinishedOrders(c ownership.Configuration) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(c.Orders)) {
		if _, wanted := c.OrderIntents[name]; !wanted {
			out = append(out, name)
		}
	}
	return out
}

// standing says how far an order is.
func (d *decider) standing(o ownership.OrderIntent, taken bool) (ownership.OrderState, string) {
	if why := d.refusal(o, taken); why != "" {
		return ownership.OrderRefused, why
	}
	if d.fulfilled(o) {
		return ownership.OrderSucceeded, "done"
	}
	if o.Timeout > 0 && d.Now-d.Memory.orders[o.Name] > o.Timeout && !d.underWay(o.Name) {
		return ownership.OrderFailed, "not done within its timeout: " + d.waitsFor(o)
	}
	return ownership.OrderRunning, d.waitsFor(o)
}

// inForce returns the regions' records without what a planned change under way, which may be given up,
// is to make of them.
func (d *decider) inForce() map[string]ownership.RegionRecord {
	if d.c.View.Phase == ownership.PhaseClosing && d.c.View.Change.Kind.Planned() {
		return d.c.View.Previous
	}
	return d.c.View.Regions
}

// refusal says why an order is not carried out, "" if it is.
func (d *decider) refusal(o ownership.OrderIntent, taken bool) string {
	rec, known := d.inForce()[o.Region]
	service, agreed := d.c.Services[o.Service]
	switch {
	case !known:
		return fmt.Sprintf("region %s has not joined the others", o.Region)
	case o.Service != "" && (!agreed || service.Deleted):
		return "the regions have not agreed on this service"
	case !taken && o.ExpectedEpoch != 0 && o.ExpectedEpoch != d.c.View.Epoch:
		return fmt.Sprintf("the view has moved on: epoch %d was expected, %d is in force; look again and order anew", o.ExpectedEpoch, d.c.View.Epoch)
	case rec.Gone && o.Type != ownership.OrderDeclareLost:
		return fmt.Sprintf("region %s was declared lost for good", o.Region)
	case rec.Role != health.RoleActive && o.Type != ownership.OrderDeclareLost:
		return fmt.Sprintf("region %s is a witness and owns nothing", o.Region)
	}
	return d.refusalOf(o, rec, taken)
}

// refusalOf says why an order of its type is not carried out.
func (d *decider) refusalOf(o ownership.OrderIntent, rec ownership.RegionRecord, taken bool) string {
	service := d.c.Services[o.Service]
	if o.Service != "" && (o.Type == ownership.OrderDrain || o.Type == ownership.OrderHandback) && !d.named(service, o.Region) {
		return fmt.Sprintf("service %s/%s does not name region %s", service.Namespace, service.Name, o.Region)
	}
	switch o.Type {
	case ownership.OrderDrain:
		return d.refuseDrain(o, rec, taken)
	case ownership.OrderUndrain:
		if o.Service == "" && !taken && rec.State != ownership.RegionDrained {
			return fmt.Sprintf("region %s is not drained, it is %s", o.Region, rec.State)
		}
	case ownership.OrderHandback:
		return refuseHandback(o, rec, service)
	case ownership.OrderDeclareLost:
		return d.refuseDeclareLost(o, rec)
	case ownership.OrderDrill:
		return d.refuseDrill(o, rec, taken)
	case ownership.OrderApproveFailover:
	default:
		return fmt.Sprintf("this version does not know orders of type %s", o.Type)
	}
	return ""
}

func (d *decider) refuseDeclareLost(o ownership.OrderIntent, rec ownership.RegionRecord) string {
	if rec.State != ownership.RegionLost && slices.Contains(d.Health.Beating, o.Region) {
		return fmt.Sprintf("region %s is %s and its agent beats: only a region that is lost, or silent, can be declared lost for good",
			o.Region, rec.State)
	}
	return ""
}

func (d *decider) refuseDrain(o ownership.OrderIntent, rec ownership.RegionRecord, taken bool) string {
	switch {
	case rec.State == ownership.RegionLost:
		return fmt.Sprintf("region %s is lost already; others have taken over what may be taken over", o.Region)
	case o.Service != "" && rec.Unshipped:
		// Without the region in the order of its slots nobody could tell that something is missing.
		return fmt.Sprintf("not all that region %s accepted has reached the others: hand everything back to it first", o.Region)
	case taken:
		return ""
	}
	return d.refuseLast(o)
}

func refuseHandback(o ownership.OrderIntent, rec ownership.RegionRecord, service ownership.ServiceRecord) string {
	switch {
	case rec.State == ownership.RegionDrained:
		return fmt.Sprintf("region %s is drained: order Undrain", o.Region)
	case slices.Contains(service.Excluded, o.Region):
		return fmt.Sprintf("region %s is drained of service %s/%s: order Undrain for the service", o.Region, service.Namespace, service.Name)
	}
	return ""
}

// fulfilled reports whether nothing is left to do for an order.
func (d *decider) fulfilled(o ownership.OrderIntent) bool {
	if d.c.View.Phase != ownership.PhaseOpen {
		return false
	}
	rec, service := d.c.View.Regions[o.Region], d.c.Services[o.Service]
	excluded := slices.Contains(service.Excluded, o.Region)
	switch o.Type {
	case ownership.OrderDrain:
		return o.Service == "" && rec.State == ownership.RegionDrained && rec.Drill == "" || o.Service != "" && excluded
	case ownership.OrderUndrain, ownership.OrderHandback:
		if o.Service != "" && o.Type == ownership.OrderUndrain {
			return !excluded
		}
		if o.Service != "" {
			return rec.State == ownership.RegionServing || rec.State == ownership.RegionReturning && service.HandedBack[o.Region] == rec.ReturnedEpoch
		}
		return rec.State == ownership.RegionServing
	case ownership.OrderApproveFailover:
		return len(d.unapproved(o)) == 0
	case ownership.OrderDeclareLost:
		return rec.Gone
	default:
		return false
	}
}

// underWay reports whether the change under way was begun for an order.
func (d *decider) underWay(order string) bool {
	return d.c.View.Change != nil && d.c.View.Change.Order == order
}

// waitsFor says what an order waits for, in words that stay the same while it does.
func (d *decider) waitsFor(o ownership.OrderIntent) string {
	rec := d.c.View.Regions[o.Region]
	switch {
	case d.underWay(o.Name):
		return "owners are changing"
	case o.Type == ownership.OrderDeclareLost && rec.State != ownership.RegionLost:
		return d.waitsForLoss(o.Region, rec)
	case d.c.View.Phase != ownership.PhaseOpen:
		return "waits for another change of owners to end"
	case d.unsettledFor(o) != "" && !undrains(o, rec):
		return "waits: " + d.unsettledFor(o)
	case empties(o) && d.waitsForOthers(o) != "":
		return d.waitsForOthers(o)
	case d.behindFor(o) != "":
		return "waits: " + d.behindFor(o)
	case o.Type == ownership.OrderUndrain && o.Service != "":
		return "waits until every region of the service that was lost serves again, or is declared lost for good"
	case o.Type == ownership.OrderHandback || o.Type == ownership.OrderUndrain:
		return d.waitsForReturn(o.Region)
	default:
		return "waits for its turn"
	}
}

// waitsForOthers says what others must have before a region is drained, "" if they have it.
func (d *decider) waitsForOthers(o ownership.OrderIntent) string {
	switch {
	case o.Service == "" && !d.othersServe(o.Region):
		return lastOne(o.Region)
	case d.refuseLast(o) != "":
		return "waits: " + d.refuseLast(o)
	default:
		return ""
	}
}

func lastOne(region string) string {
	return "waits for another region to serve: " + region + " is the last one"
}

// waitsForLoss says what a region waits for that is to be declared lost for good and is not lost.
func (d *decider) waitsForLoss(region string, rec ownership.RegionRecord) string {
	if rec.Role == health.RoleActive && !d.othersServe(region) {
		return lastOne(region)
	}
	return "waits until the agent of region " + region + " has been silent for longer than its last lease"
}

// waitsForReturn says what a region waits for that is to get its services back.
func (d *decider) waitsForReturn(region string) string {
	switch {
	case d.c.View.Regions[region].State == ownership.RegionLost:
		return "waits for region " + region + " to return"
	case !slices.Contains(d.Health.Ready, region):
		return "waits until region " + region + " has been reachable for long enough"
	default:
		return "waits until region " + region + " has caught up with the others"
	}
}

func (d *decider) othersServe(region string) bool {
	for name, rec := range d.c.View.Regions {
		if name != region && rec.State == ownership.RegionServing && rec.Role == health.RoleActive {
			return true
		}
	}
	return false
}

// ordered makes the next change that a person ordered, the first by name that can be made.
func (d *decider) ordered() (Txn, bool) {
	for _, name := range slices.Sorted(maps.Keys(d.c.OrderIntents)) {
		o := d.c.OrderIntents[name]
		if record, taken := d.c.Orders[name]; !taken || record.State != ownership.OrderRunning || d.refusal(o, true) != "" || d.fulfilled(o) ||
			o.Type == ownership.OrderDrill && !d.begins(o) {
			continue
		}
		if t, ok := d.carryOut(o); ok {
			return t, true
		}
	}
	return Txn{}, false
}

func (d *decider) carryOut(o ownership.OrderIntent) (Txn, bool) {
	switch {
	case o.Type == ownership.OrderDeclareLost:
		return d.declareLost(o)
	case undrains(o, d.c.View.Regions[o.Region]):
		return d.undrain(o.Region, "ordered by "+o.Name), true
	case d.unsettledFor(o) != "", d.behindFor(o) != "":
		return Txn{}, false
	case empties(o) && o.Service == "":
		return d.drain(o)
	case o.Type == ownership.OrderDrain:
		return d.exclude(o)
	case o.Type == ownership.OrderUndrain && o.Service != "":
		return d.include(o)
	case o.Type == ownership.OrderUndrain || o.Type == ownership.OrderHandback:
		if !slices.Contains(d.Health.Ready, o.Region) {
			return Txn{}, false
		}
		return d.handback(o.Region, o.Name, func(r ownership.ServiceRecord) bool { return o.Service == "" || o.Service == r.UID })
	case o.Type == ownership.OrderApproveFailover:
		epoch := d.c.View.Regions[o.Region].LostEpoch
		return d.alter(o, ownership.ChangeApprove, d.unapproved(o), func(s *ownership.ServiceState) { s.Approved = with(s.Approved, o.Region, epoch) })
	}
	return Txn{}, false
}

// empties reports whether an order takes keys away from its region.
func empties(o ownership.OrderIntent) bool {
	return o.Type == ownership.OrderDrain || o.Type == ownership.OrderDrill
}

// undrains reports whether an order lets a drained region return.
func undrains(o ownership.OrderIntent, rec ownership.RegionRecord) bool {
	return o.Type == ownership.OrderUndrain && o.Service == "" && rec.State == ownership.RegionDrained
}

// undrain lets a drained region return, which changes no owner: when the last region that serves is lost,
// there must be one that can serve in its place, however suspect that is.
func (d *decider) undrain(region, why string) Txn {
	regions := next(d.c.View.Regions)
	rec := d.returning(regions[region])
	rec.Drained = false
	regions[region] = rec
	return Txn{What: "undrain", Because: region + ": " + why, View: d.open(regions)}
}

// drain empties a region that is not the last one (R14), for good or for a drill. One that is out for a drill
// already stays out.
func (d *decider) drain(o ownership.OrderIntent) (Txn, bool) {
	if !d.othersServe(o.Region) || d.refuseLast(o) != "" || !d.Memory.mayTry(d.Now, "drain "+o.Region+" "+o.Name) {
		return Txn{}, false
	}
	regions := next(d.c.View.Regions)
	rec := regions[o.Region]
	rec.State, rec.Suspect, rec.Since, rec.Drill, rec.Rehearsal = ownership.RegionDrained, false, d.At.UTC(), "", false
	if o.Type == ownership.OrderDrill {
		rec.Drill, rec.Rehearsal = o.Name, o.Mode == ownership.DrillFailover
	}
	regions[o.Region] = rec
	change := ownership.Change{Kind: ownership.ChangeDrain, Regions: []string{o.Region}, Order: o.Name}
	return d.changing(o.Region+": ordered by "+o.Name, change, regions, nil), true
}

// exclude takes a region out of a service, unless it was lost and not everything of it is there: whoever
// owned its slots then would count as having it.
func (d *decider) exclude(o ownership.OrderIntent) (Txn, bool) {
	if d.c.View.Regions[o.Region].Unshipped || d.refuseLast(o) != "" {
		return Txn{}, false
	}
	return d.alter(o, ownership.ChangeExclude, []string{o.Service}, func(s *ownership.ServiceState) { s.Excluded = append(s.Excluded, o.Region) })
}

// include takes a region into a service again, once no lost region may have what it lacks.
func (d *decider) include(o ownership.OrderIntent) (Txn, bool) {
	for name, rec := range d.c.View.Regions {
		if rec.Unshipped && d.named(d.c.Services[o.Service], name) {
			return Txn{}, false
		}
	}
	return d.alter(o, ownership.ChangeInclude, []string{o.Service}, func(s *ownership.ServiceState) {
		s.Excluded = slices.DeleteFunc(s.Excluded, func(r string) bool { return r == o.Region })
	})
}

// alter changes the state of services for an order, a batch at a time.
func (d *decider) alter(o ownership.OrderIntent, kind ownership.ChangeKind, uids []string, how func(*ownership.ServiceState)) (Txn, bool) {
	uids = uids[:min(len(uids), maxBatch)]
	if !d.Memory.mayTry(d.Now, fmt.Sprintf("%s %s %v", kind, o.Name, uids)) {
		return Txn{}, false
	}
	change := ownership.Change{Kind: kind, Regions: []string{o.Region}, Services: uids, Order: o.Name}
	var services []ownership.ServiceRecord
	for _, uid := range uids {
		services = append(services, d.changed(d.c.Services[uid], how))
	}
	return d.changing(o.Region+": ordered by "+o.Name, change, next(d.c.View.Regions), services), true
}

// unapproved returns the services, by UID, that wait for the approval that the order gives.
func (d *decider) unapproved(o ownership.OrderIntent) []string {
	rec := d.c.View.Regions[o.Region]
	var out []string
	for _, uid := range slices.Sorted(maps.Keys(d.c.Services)) {
		s := d.c.Services[uid]
		named := len(s.Regions) == 0 || slices.Contains(s.Regions, o.Region)
		if named && !s.Deleted && s.Manual && rec.Unshipped && s.Approved[o.Region] != rec.LostEpoch && (o.Service == "" || o.Service == uid) {
			out = append(out, uid)
		}
	}
	return out
}

// declareLost takes a region out for good: what it had and nobody received is given up. One that is not lost
// yet has its gate closed first (package health), and is lost as others are.
func (d *decider) declareLost(o ownership.OrderIntent) (Txn, bool) {
	regions := next(d.c.View.Regions)
	rec := regions[o.Region]
	if rec.State != ownership.RegionLost {
		return Txn{}, false
	}
	rec.Gone, rec.Unshipped, rec.Behind, rec.Lacks, rec.Since = true, false, nil, nil, d.At.UTC()
	rec.Drill, rec.Rehearsal = "", false
	regions[o.Region] = rec
	change := ownership.Change{Kind: ownership.ChangeApprove, Regions: []string{o.Region}, Order: o.Name}
	return d.changing(o.Region+": declared lost for good by "+o.Name, change, regions, nil), true
}

func (d *decider) record(name string, state ownership.OrderState, message string) ownership.OrderRecord {
	record, known := d.c.Orders[name]
	if !known {
		record = ownership.OrderRecord{Name: name, StartedAt: d.At.UTC()}
	}
	record.State, record.Message = state, message
	if state != ownership.OrderRunning {
		at := d.At.UTC()
		record.EndedAt, record.Epoch = &at, d.c.View.Epoch
	}
	return record
}

func (d *decider) ended(order string, state ownership.OrderState, message string) []ownership.OrderRecord {
	if _, known := d.c.Orders[order]; !known {
		return nil
	}
	return []ownership.OrderRecord{d.record(order, state, message)}
}
