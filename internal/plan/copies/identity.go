package copies

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// Slice is a slice of the service that a region's cluster has.
type Slice struct {
	ServiceID string
	Ballot    int64
	CreatedAt time.Time
	// Deleting: it is on its way out.
	Deleting bool
}

// Identity is what a service is called in the coordination store and in the regions, whoever leads.
type Identity struct {
	UID string
	// CreatedAt is the same for all, too.
	CreatedAt time.Time
}

// Identify returns a service's identity: the one that the store has, else the one that a former leader
// has begun to hand to the regions, else that of the youngest copy, which nobody has used before. One
// that is deleted for good is never taken again, so that a service which is declared anew is a new one.
func (v Verdict) Identify(c ownership.Configuration, namespace, name string, found []Slice) Identity {
	alive, dead := stored(c, namespace, name)
	used := slices.DeleteFunc(slices.Clone(found), func(s Slice) bool { return dead[s.ServiceID] })
	slices.SortStableFunc(used, func(a, b Slice) int {
		return cmp.Or(compareBool(a.Deleting, b.Deleting), cmp.Compare(b.Ballot, a.Ballot), cmp.Compare(a.ServiceID, b.ServiceID))
	})
	switch {
	case len(alive) > 0:
		return v.known(alive[0], found)
	case v.Outcome == Deleted && len(used) > 0:
		return v.known(used[0].ServiceID, found)
	case v.Outcome == Deleted:
		return v.known(lowest(dead), found)
	case len(used) > 0 && !used[0].Deleting:
		return v.known(used[0].ServiceID, found)
	}
	return v.youngest(dead)
}

// stored returns the identities that the store has for the name: those that are in force, accepted ones
// first, and those that are deleted for good.
func stored(c ownership.Configuration, namespace, name string) (alive []string, dead map[string]bool) {
	dead = map[string]bool{}
	all := map[string]bool{}
	for uid, s := range c.Services {
		if s.Namespace == namespace && s.Name == name {
			all[uid] = true
			dead[uid] = s.Deleted
		}
	}
	for uid, i := range c.ServiceIntents {
		if i.Namespace == namespace && i.Name == name {
			all[uid] = true
			dead[uid] = dead[uid] || i.Deleted
		}
	}
	maps.DeleteFunc(dead, func(_ string, is bool) bool { return !is })
	for uid := range all {
		if !dead[uid] {
			alive = append(alive, uid)
		}
	}
	slices.SortFunc(alive, func(a, b string) int {
		return cmp.Or(compareBool(c.Services[a].UID == "", c.Services[b].UID == ""), cmp.Compare(a, b))
	})
	return alive, dead
}

func lowest(set map[string]bool) string {
	if names := slices.Sorted(maps.Keys(set)); len(names) > 0 {
		return names[0]
	}
	return ""
}

// compareBool puts false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}

// known adds when the service was created, as the regions were told, else as the copy of that UID says.
func (v Verdict) known(uid string, found []Slice) Identity {
	for _, s := range found {
		if s.ServiceID == uid {
			return Identity{UID: uid, CreatedAt: s.CreatedAt}
		}
	}
	for _, c := range v.Copies {
		if uid != "" && c.UID == uid {
			return Identity{UID: uid, CreatedAt: c.CreatedAt}
		}
	}
	return Identity{UID: uid, CreatedAt: v.youngest(nil).CreatedAt}
}

// youngest returns the youngest of the copies that count, but for those whose UIDs are used up.
func (v Verdict) youngest(dead map[string]bool) Identity {
	var out Identity
	for _, c := range v.Copies {
		counts := c.State == Present && (v.Outcome == Undecided || v.Outcome == Agreed && c.Hash == v.Hash) ||
			c.State == Deleting && v.Outcome == Deleted
		if !counts || dead[c.UID] {
			continue
		}
		if out.UID == "" || c.CreatedAt.After(out.CreatedAt) || c.CreatedAt.Equal(out.CreatedAt) && c.UID < out.UID {
			out = Identity{UID: c.UID, CreatedAt: c.CreatedAt}
		}
	}
	return out
}
