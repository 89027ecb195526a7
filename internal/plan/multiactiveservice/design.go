package multiactiveservice

import (
	"fmt"
	"slices"
	"strings"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/lint"
)

// flaw is a part of the declaration that cannot work.
type flaw struct {
	// reason of the condition DesignSound.
	reason, message string
}

// design returns the flaws of a declaration that are found without design lint, worst first.
func design(spec v1alpha1.MultiActiveServiceSpec) []flaw {
	own := lint.Ownership(spec)
	out := append(homeless(own), keyless(spec, own)...)
	return append(out, unusedSources(own)...)
}

// homeless finds the flows that are served in a home region that nothing leads to.
func homeless(own v1alpha1.OwnershipSlice) []flaw {
	var names []string
	for _, i := range lint.Homeless(own) {
		names = append(names, own.Flows[i].Name)
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
	for _, k := range lint.KeylessRequests(spec, own) {
		where := "unmatched"
		if k.Flow >= 0 {
			f := own.Flows[k.Flow]
			where = fmt.Sprintf("flows[%s].match %s", f.Name, f.Match[k.Match].Path)
		}
		out = append(out, flaw{v1alpha1.ReasonKeyNeverFound, fmt.Sprintf(
			"%s: its requests are refused, for key %s is read from the path alone (%s), and the path has none of it: write the variable in the "+
				"path, or use a key with another source", where, k.Key, lint.Braced(k.Variables))})
	}
	return out
}

// unusedSources finds path variables of keys with other sources that occur in no match of the flows
// which use the key.
func unusedSources(own v1alpha1.OwnershipSlice) []flaw {
	var out []flaw
	for _, k := range own.Keys {
		variables, alone := lint.PathVariables(own, k.Name)
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
		found = found || slices.ContainsFunc(f.Match, func(m v1alpha1.RequestMatch) bool { return lint.HasVariable(m, variable) })
	}
	return names, found
}
