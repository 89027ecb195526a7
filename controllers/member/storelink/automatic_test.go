package storelink

import (
	"testing"

	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/store"
)

// TestAutomatic: all services of a store have to go back by themselves, as the regions have agreed.
func TestAutomatic(t *testing.T) {
	t.Parallel()
	records := map[string]ownership.ServiceRecord{"a": {Handback: ownership.HandbackAutomatic}, "b": {}, "c": {Handback: ownership.HandbackAutomatic}}
	for name, c := range map[string]struct {
		services []string
		want     bool
	}{
		"one that does":          {[]string{"a"}, true},
		"both do":                {[]string{"a", "c"}, true},
		"one waits for a person": {[]string{"a", "b"}, false},
		"not agreed on yet":      {[]string{"new"}, false},
		"no service":             {nil, false},
	} {
		if got := automatic(records, &plan.Declared{Services: c.services}); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}
