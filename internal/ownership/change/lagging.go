package change

import (
	"fmt"
	"maps"
	"slices"

	"multiactive.dev/operator/internal/ownership"
)

// lags reports whether a region says that it is far behind the others for a service, or could not serve it.
func (d *decider) lags(region, uid string) bool {
	lagging := d.c.Evidence[region].Lagging
	return slices.Contains(lagging, uid) || slices.Contains(lagging, ownership.LaggingAll)
}

// behindFor says which region that would gain slots by an order is far behind, "" when none is: the change
// would leave the slots without an owner for as long as it may take, and then be given up (R9).
func (d *decider) behindFor(o ownership.OrderIntent) string {
	for _, uid := range slices.Sorted(maps.Keys(d.c.Services)) {
		service := d.c.Services[uid]
		if service.Deleted || o.Service != "" && o.Service != uid || !d.named(service, o.Region) {
			continue
		}
		for _, gainer := range d.gainers(o, service) {
			if d.lags(gainer, uid) {
				return fmt.Sprintf("region %s is far behind the others for %s/%s", gainer, service.Namespace, service.Name)
			}
		}
	}
	return ""
}

// gainers returns the regions that gain a service's slots by an order at once, sorted. Handbacks look at each
// service for itself.
func (d *decider) gainers(o ownership.OrderIntent, service ownership.ServiceRecord) []string {
	switch {
	case o.Type == ownership.OrderUndrain && o.Service != "":
		return []string{o.Region}
	case !empties(o):
		return nil
	}
	return slices.DeleteFunc(service.MayOwn(d.c.View.Regions), func(r string) bool { return r == o.Region })
}
