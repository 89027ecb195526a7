package ownership

import "reflect"

// SameDecisions reports whether two configurations agree in all of what was decided but single services: the view,
// and whom the regions trust. Maps that did not change are the same maps, so comparing them costs nothing.
func SameDecisions(a, b *Configuration) bool {
	return a.Decided == b.Decided || reflect.DeepEqual(a.View, b.View) && reflect.DeepEqual(a.Trusts, b.Trusts)
}

// ChangedServices returns the services whose records differ, as they are after, or, when they are gone, as they were
// before, in no order.
func ChangedServices(before, after map[string]ServiceRecord) []ServiceRecord {
	return changed(before, after)
}

// ChangedIntents returns the services whose intents differ, as ChangedServices does.
func ChangedIntents(before, after map[string]ServiceIntent) []ServiceIntent {
	return changed(before, after)
}

// DifferingServices returns the UIDs of the services whose records differ, in no order.
func DifferingServices(before, after map[string]ServiceRecord) []string {
	return differing(before, after)
}

// changed returns the values that differ.
func changed[V any](before, after map[string]V) []V {
	var out []V
	for _, key := range differing(before, after) {
		is, still := after[key]
		if !still {
			is = before[key]
		}
		out = append(out, is)
	}
	return out
}

// differing compares nothing when the maps are the same, as they are in nearly all of the configurations that follow each
// other: most are beats.
func differing[V any](before, after map[string]V) []string {
	if reflect.ValueOf(before).Pointer() == reflect.ValueOf(after).Pointer() {
		return nil
	}
	var out []string
	for key, is := range after {
		if was, known := before[key]; !known || !reflect.DeepEqual(was, is) {
			out = append(out, key)
		}
	}
	for key := range before {
		if _, still := after[key]; !still {
			out = append(out, key)
		}
	}
	return out
}
