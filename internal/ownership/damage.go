package ownership

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Damage is something in the store that no agent writes, of this version or another: a person or a program
// has edited it, or it was lost. Nothing is decided from a configuration that has any.
type Damage struct {
	// Key below the prefix, such as "gate/beijing".
	Key string
	// What is wrong with it, for people.
	What string
	// Foreign: it may have been written by a newer version. Nobody puts back what was there before.
	Foreign bool
	// GoneBack: the view is older than one that was acted on. No lease may be extended meanwhile: who
	// has not seen the newer one may act on this.
	GoneBack bool
}

// Describe says what is damaged, in an order and in words that stay the same while it is.
func Describe(all []Damage) string {
	out := make([]string, len(all))
	for i, d := range all {
		out[i] = d.Key + ": " + d.What
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// Unsound returns what no leader can have committed in a configuration, whatever was there before. fold
// adds the values that cannot be read.
func (c *Configuration) Unsound() []Damage {
	var out []Damage
	damaged := func(key, format string, args ...any) {
		out = append(out, Damage{Key: key, What: fmt.Sprintf(format, args...)})
	}
	if c.View.Epoch <= 0 && len(c.Services)+len(c.Debts)+len(c.Incidents) > 0 {
		damaged("view", "it is gone, and services, debts or incidents of one are there")
	}
	if why := c.View.unsound(); why != "" {
		out = append(out, Damage{Key: "view", What: why, Foreign: true})
	}
	for _, region := range slices.Sorted(maps.Keys(c.View.Regions)) {
		gate, there := c.Gates[region]
		switch {
		case !there:
			damaged("gate/"+region, "it is gone, and the view has the region")
		case gate.Open && c.View.Regions[region].State == RegionLost:
			damaged("gate/"+region, "it is open, and the region is lost")
		case !gate.Open && c.View.Regions[region].State != RegionLost && gate.After != c.Beats[region].N:
			damaged("gate/"+region, "no leader has closed it: it does not name the region's last beat")
		}
	}
	for _, uid := range slices.Sorted(maps.Keys(c.Services)) {
		if s := c.Services[uid]; s.UID != uid || len(s.PeerKey) == 0 {
			damaged("service/"+uid, "its UID or its peer key is gone")
		}
	}
	return out
}

// unsound says why a view is none that a leader commits, "" if it may be.
func (v *View) unsound() string {
	switch {
	case v.Epoch == 0 && v.Phase == "" && len(v.Regions) == 0:
		return "" // there is none
	case v.Epoch <= 0:
		return fmt.Sprintf("epoch %d is not positive", v.Epoch)
	case v.Phase == PhaseClosing && (v.Change == nil || v.Base <= 0 || v.Base >= v.Epoch || v.Previous == nil):
		return "it is Closing without the change, the regions or the epoch before it"
	case v.Phase != PhaseOpen && v.Phase != PhaseClosing:
		return fmt.Sprintf("phase %q is unknown", v.Phase)
	}
	for _, regions := range []map[string]RegionRecord{v.Regions, v.Previous} {
		for _, name := range slices.Sorted(maps.Keys(regions)) {
			switch regions[name].State {
			case RegionServing, RegionLost, RegionReturning, RegionDrained:
			default:
				return fmt.Sprintf("region %s: state %q is unknown", name, regions[name].State)
			}
		}
	}
	return ""
}

// DamagedSince returns what in now does not follow from before, which was sound. Owners change with the
// epoch alone, which only grows. direct tells that now is the next revision, so that nothing happened in
// between.
func DamagedSince(before, now *Configuration, direct bool) []Damage {
	b, n := before.View.Epoch, now.View.Epoch
	if b == 0 {
		return nil
	}
	out := servicesGone(before, now, direct)
	if n > b {
		return out
	}
	switch {
	case n == 0:
		out = append(out, Damage{Key: "view", What: "it is gone"})
	case n < b:
		out = append(out, Damage{Key: "view", What: fmt.Sprintf("epoch %d follows %d", n, b), GoneBack: true})
	case before.Decided != now.Decided && !reflect.DeepEqual(before.View, now.View):
		out = append(out, Damage{Key: "view", What: altered})
	}
	return append(out, alteredRecords(before, now)...)
}

// altered is what is wrong with whatever changes at the same epoch.
const altered = "it was changed, and the epoch was not"

// alteredRecords returns what differs though it changes with the epoch alone. That a service is deleted is
// noted without.
func alteredRecords(before, now *Configuration) []Damage {
	var out []Damage
	for _, region := range slices.Sorted(maps.Keys(before.View.Regions)) {
		if _, there := now.Gates[region]; !there {
			out = append(out, Damage{Key: "gate/" + region, What: "it is gone"})
		}
	}
	for _, origin := range slices.Sorted(maps.Keys(before.Debts)) {
		if !reflect.DeepEqual(before.Debts[origin], now.Debts[origin]) {
			out = append(out, Damage{Key: "debt/" + origin, What: altered})
		}
	}
	if before.Decided == now.Decided {
		return out
	}
	for _, uid := range slices.Sorted(maps.Keys(before.Services)) {
		b := before.Services[uid]
		n, there := now.Services[uid]
		b.Deleted = b.Deleted || n.Deleted
		if there && !reflect.DeepEqual(b, n) {
			out = append(out, Damage{Key: "service/" + uid, What: altered})
		}
	}
	return out
}

// BelowEpoch returns that the view is older than one that was acted on in this store, of which only the
// epoch was kept.
func (c *Configuration) BelowEpoch(kept int64) []Damage {
	switch {
	case c.View.Epoch >= kept:
		return nil
	case c.View.Epoch == 0:
		return []Damage{{Key: "view", What: fmt.Sprintf("it is gone, and was at epoch %d", kept), GoneBack: true}}
	default:
		return []Damage{{Key: "view", What: fmt.Sprintf("epoch %d follows %d", c.View.Epoch, kept), GoneBack: true}}
	}
}

// servicesGone returns the records that are gone though the service is not deleted.
func servicesGone(before, now *Configuration, direct bool) []Damage {
	if before.Decided == now.Decided {
		return nil
	}
	var out []Damage
	for _, uid := range slices.Sorted(maps.Keys(before.Services)) {
		if _, there := now.Services[uid]; there {
			continue
		}
		if before.Services[uid].Deleted {
			continue
		}
		intent, there := now.ServiceIntents[uid]
		if direct || there && !intent.Deleted {
			out = append(out, Damage{Key: "service/" + uid, What: "it is gone, and the service is not deleted"})
		}
	}
	return out
}
