package multiactiveservice_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/api/v1alpha1"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
)

// TestDeferred tells on-call what waits, where, and since when.
func TestDeferred(t *testing.T) {
	mas := service()
	seen := healthy(mas)
	waits := func(region string, list ...v1alpha1.DeferredBacklog) {
		seen.Regions[region].Slice.Status.Deferred = list
	}
	report := func() (string, map[string]*v1alpha1.FlowBacklog) {
		plan.Report(start, mas, seen, plan.Decide(start, mas, seen), true)
		by := map[string]*v1alpha1.FlowBacklog{}
		for _, f := range mas.Status.Flows {
			by[f.Name] = f.Deferred
		}
		return mas.Status.Summary.Deferred, by
	}
	if most, by := report(); most != "" || by["login"] != nil || by["register"] != nil {
		t.Errorf("nothing waits, and told is %q, %v", most, by)
	}
	waits("shanghai", v1alpha1.DeferredBacklog{Flow: "register", Requests: "<100", Oldest: "<10m"}, v1alpha1.DeferredBacklog{Flow: "gone", Requests: ">=10000", Oldest: ">=24h"})
	waits("shenzhen", v1alpha1.DeferredBacklog{Flow: "login", Requests: "<10", Oldest: "<1m"}, v1alpha1.DeferredBacklog{Flow: "register", Requests: "<10", Oldest: "<6h"})
	most, by := report()
	want := map[string]*v1alpha1.FlowBacklog{
		"login":    {Requests: "<10", Oldest: "<1m", Regions: []string{"shenzhen"}},
		"register": {Requests: "<100", Oldest: "<6h", Regions: []string{"shanghai", "shenzhen"}},
	}
	if diff := cmp.Diff(want, by); diff != "" || most != "<100" {
		t.Errorf("the most is %q, by flow (-want +got):\n%s", most, diff)
	}
	seen.Regions["shanghai"].Connection, seen.Regions["shanghai"].Slice = plan.Unusable, nil
	if most, by := report(); most != "<10" || len(by["register"].Regions) != 1 {
		t.Errorf("without shanghai: %q, %+v", most, by["register"])
	}
}
