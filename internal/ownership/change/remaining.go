package change

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

// alone reports whether nothing but the region is left that may own keys of a service which names others
// too: they are drained of it, drained altogether, or gone.
func (d *decider) alone(service ownership.ServiceRecord, region string) bool {
	others := false
	for name, rec := range d.inForce() {
		if name == region || rec.Role != health.RoleActive || !d.named(service, name) {
			continue
		}
		others = true
		if !slices.Contains(service.Excluded, name) && rec.State != ownership.RegionDrained && !rec.Gone {
			return false
		}
	}
	return others
}

// refuseLast says why a region cannot be drained, or drained of a service: nobody would own the keys.
func (d *decider) refuseLast(o ownership.OrderIntent) string {
	if o.Service != "" {
		service := d.c.Services[o.Service]
		if !d.alone(service, o.Region) {
			return ""
		}
		return fmt.Sprintf("region %s is the last one that may own keys of service %s/%s: order Undrain for another one first",
			o.Region, service.Namespace, service.Name)
	}
	if left := d.leftAlone(o.Region); len(left) > 0 {
		return fmt.Sprintf("other regions are drained of services that region %s is the last one for: %s; order Undrain for these first",
			o.Region, strings.Join(left, ", "))
	}
	return ""
}

// leftAlone returns the services, as namespace/name, whose keys nobody would own without the region, because
// others are drained of them.
func (d *decider) leftAlone(region string) []string {
	var out []string
	for _, uid := range slices.Sorted(maps.Keys(d.c.Services)) {
		s := d.c.Services[uid]
		if len(s.Excluded) > 0 && !s.Deleted && !slices.Contains(s.Excluded, region) && d.named(s, region) && d.alone(s, region) {
			out = append(out, s.Namespace+"/"+s.Name)
		}
	}
	return out
}
