package lint

import (
	"slices"
	"strings"

	"multiactive.dev/operator/api/v1alpha1"
	desired "multiactive.dev/operator/internal/desired/slices"
)

// Ownership returns what maps requests to owners, without the sources of keys that nobody finds: no class says where
// its token is, or has its tokens stamped.
func Ownership(spec v1alpha1.MultiActiveServiceSpec) v1alpha1.OwnershipSlice {
	own := desired.Ownership(&v1alpha1.MultiActiveService{Spec: spec})
	if desired.Stamped(desired.Sessions(spec)) {
		return own
	}
	own.Keys = slices.Clone(own.Keys)
	for i := range own.Keys {
		own.Keys[i].From = slices.DeleteFunc(slices.Clone(own.Keys[i].From), func(s v1alpha1.KeySource) bool { return s.Type == v1alpha1.KeySourceSession })
	}
	return own
}

// Homeless returns the indexes of the flows that are served in a home region that nothing leads to.
func Homeless(own v1alpha1.OwnershipSlice) []int {
	var out []int
	for i, f := range own.Flows {
		if f.ServedBy == v1alpha1.ServedByHomeRegion && f.Key == "" && len(f.Pinned) == 0 {
			out = append(out, i)
		}
	}
	return out
}

// Keyless is a kind of request that can never have its key: that is read from the path alone, and the path lacks it.
type Keyless struct {
	// Flow and Match are indexes; both -1 for requests that no flow matches.
	Flow, Match int
	Key         string
	// Variables of paths that the key is read from.
	Variables []string
}

// KeylessRequests returns the matches of home flows, and then the unmatched requests, that never have their key.
func KeylessRequests(spec v1alpha1.MultiActiveServiceSpec, own v1alpha1.OwnershipSlice) []Keyless {
	var out []Keyless
	for i, f := range own.Flows {
		variables, alone := PathVariables(own, f.Key)
		if f.ServedBy != v1alpha1.ServedByHomeRegion || !alone {
			continue
		}
		for j, m := range f.Match {
			if !slices.ContainsFunc(variables, func(v string) bool { return HasVariable(m, v) }) {
				out = append(out, Keyless{Flow: i, Match: j, Key: f.Key, Variables: variables})
			}
		}
	}
	if u := desired.Unmatched(spec.Unmatched); u.SafeMethods == v1alpha1.UnmatchedHomeRegion || u.OtherMethods == v1alpha1.UnmatchedHomeRegion {
		if variables, alone := PathVariables(own, u.Key); alone {
			out = append(out, Keyless{Flow: -1, Match: -1, Key: u.Key, Variables: variables})
		}
	}
	return out
}

// PathVariables returns the path variables that a key is read from, and whether it is read from nothing else.
func PathVariables(own v1alpha1.OwnershipSlice, key string) (names []string, alone bool) {
	for _, k := range own.Keys {
		if k.Name != key {
			continue
		}
		alone = true
		for _, from := range k.From {
			if from.Path != nil {
				names = append(names, from.Path.Name)
			} else {
				alone = false
			}
		}
	}
	return names, alone && len(names) > 0
}

// HasVariable reports whether a segment of the match's path is the variable.
func HasVariable(m v1alpha1.RequestMatch, name string) bool {
	return slices.Contains(strings.Split(m.Path, "/"), "{"+name+"}")
}

// Braced lists variables as paths have them.
func Braced(names []string) string {
	return "{" + strings.Join(names, "}, {") + "}"
}
