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

// changed compares nothing when the maps are the same, as they are in nearly all of the configurations that follow each
// other: most are beats.
func changed[V any](before, after map[string]V) []V {
	if reflect.ValueOf(before).Pointer() == reflect.ValueOf(after).Pointer() {
		return nil
	}
	var out []V
	for key, is := range after {
		if was, known := before[key]; !known || !reflect.DeepEqual(was, is) {
			out = append(out, is)
		}
	}
	for key, was := range before {
		if _, still := after[key]; !still {
			out = append(out, was)
		}
	}
	return out
}
