package multiactiveservice

import (
	"fmt"
	"slices"
	"strings"

	"multiactive.dev/operator/api/v1alpha1"
	desired "multiactive.dev/operator/internal/desired/slices"
)

// flaw is a part of the declaration that cannot work.
type flaw struct {
	// reason of the condition DesignSound.
	reason, message string
}

// design returns the flaws of a declaration that are found without design lint, worst first.
func design(spec v1alpha1.MultiActiveServiceSpec) []flaw {
	own := desired.Ownership(&v1alpha1.MultiActiveService{Spec: spec})
	if len(desired.Sessions(spec)) == 0 {
		own.Keys = withoutSessions(own.Keys)
	}
	out := append(homeless(own), keyless(spec, own)...)
	return append(out, unusedSources(own)...)
}

// withoutSessions leaves the sources out that nobody finds: no class says where its token is.
func withoutSessions(keys []v1alpha1.PartitionKey) []v1alpha1.PartitionKey {
	out := slices.Clone(keys)
	for i := range out {
		out[i].From = slices.DeleteFunc(slices.Clone(out[i].From), func(s v1alpha1.KeySource) bool { return s.Type == v1alpha1.KeySourceSession })
	}
	return out
}

// homeless finds the flows that are served in a home region that nothing leads to.
func homeless(own v1alpha1.OwnershipSlice) []flaw {
	var names []string
	for _, f := range own.Flows {
		if f.ServedBy == v1alpha1.ServedByHomeRegion && f.Key == "" && len(f.Pinned) == 0 {
			names = append(names, f.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []flaw{{v1alpha1.ReasonFlowWithoutHome, fmt.Sprintf(
		"flows with servedBy HomeRegion whose home cannot be found: %s; give each a key of spec.partition.keys", strings.Join(names, ", "))}}
}

// keyless finds the requests of home flows that can never have their key: it is read from the path
// alone, and the match's path lacks it.
func keyless(spec v1alpha1.MultiActiveServiceSpec, own v1alpha1.OwnershipSlice) []flaw {
	var out []flaw
	never := func(where, key, variables string) {
		out = append(out, flaw{v1alpha1.ReasonKeyNeverFound, fmt.Sprintf(
			"%s: its requests are refused, for key %s is read from the path alone (%s), and the path has none of it: write the variable in the "+
				"path, or use a key with another source", where, key, variables)})
	}
	for _, f := range own.Flows {
		variables, alone := pathVariables(own, f.Key)
		if f.ServedBy != v1alpha1.ServedByHomeRegion || !alone {
			continue
		}
		for _, m := range f.Match {
			if !slices.ContainsFunc(variables, func(v string) bool { return hasVariable(m, v) }) {
				never(fmt.Sprintf("flows[%s].match %s", f.Name, m.Path), f.Key, braced(variables))
			}
		}
	}
	if u := desired.Unmatched(spec.Unmatched); u.SafeMethods == v1alpha1.UnmatchedHomeRegion || u.OtherMethods == v1alpha1.UnmatchedHomeRegion {
		if variables, alone := pathVariables(own, u.Key); alone {
			never("unmatched", u.Key, braced(variables))
		}
	}
	return out
}

// unusedSources finds path variables of keys with other sources that occur in no match of the flows
// which use the key.
func unusedSources(own v1alpha1.OwnershipSlice) []flaw {
	var out []flaw
	for _, k := range own.Keys {
		variables, alone := pathVariables(own, k.Name)
		for _, v := range variables {
			flows, found := usersOf(own, k.Name, v)
			if alone || found || len(flows) == 0 {
				continue
			}
			out = append(out, flaw{v1alpha1.ReasonKeySourceUnused, fmt.Sprintf(
				"partition.keys[%s].from Path %s: no match of the flows that use the key (%s) has {%s}, so the other sources alone count: write it in "+
					"a match's path, or move the flows to a key without it", k.Name, v, strings.Join(flows, ", "), v)})
		}
	}
	return out
}

// usersOf returns the flows that use a key, and whether a match of theirs has the variable.
func usersOf(own v1alpha1.OwnershipSlice, key, variable string) (names []string, found bool) {
	for _, f := range own.Flows {
		if f.Key != key {
			continue
		}
		names = append(names, f.Name)
		found = found || slices.ContainsFunc(f.Match, func(m v1alpha1.RequestMatch) bool { return hasVariable(m, variable) })
	}
	return names, found
}

// pathVariables returns the path variables that a key is read from, and whether it is read from
// nothing else.
func pathVariables(own v1alpha1.OwnershipSlice, key string) (names []string, alone bool) {
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

// hasVariable reports whether a segment of the match's path is the variable.
func hasVariable(m v1alpha1.RequestMatch, name string) bool {
	return slices.Contains(strings.Split(m.Path, "/"), "{"+name+"}")
}

// braced lists variables as paths have them.
func braced(names []string) string {
	return "{" + strings.Join(names, "}, {") + "}"
}
