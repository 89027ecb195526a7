package chaos

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/playground/chaos/register"
	"multiactive.dev/operator/internal/playground/world"
)

func TestRegionsAreThoseOfTheManifest(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "register.yaml")
	if err := os.WriteFile(file, register.Manifest, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := world.ReadManifest(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Regions, m.RegionNames()); diff != "" {
		t.Error(diff)
	}
}

func TestPlanIsOfItsSeed(t *testing.T) {
	t.Parallel()
	regions := Regions
	kinds := map[Kind]int{}
	for run := range 400 {
		plan := Plan(7, run, regions)
		if diff := cmp.Diff(plan, Plan(7, run, regions)); diff != "" {
			t.Fatalf("run %d differs the second time:\n%s", run, diff)
		}
		if cmp.Equal(plan, Plan(8, run, regions)) || cmp.Equal(plan, Plan(7, run+1, regions)) {
			t.Fatalf("run %d is that of another seed or run", run)
		}
		checkPlan(t, plan)
		for _, f := range plan {
			kinds[f.Kind]++
		}
	}
	for _, kind := range append(append([]Kind{Drain, DrainService}, gentle...), harsh...) {
		if kinds[kind] == 0 {
			t.Errorf("400 runs never %s", kind)
		}
	}
}

// checkPlan holds that the first fault is a gentle one and alone, and that every fault can be carried out.
func checkPlan(t *testing.T, plan []Fault) {
	t.Helper()
	planned := 0
	for i, f := range plan {
		if i > 0 && f.At < plan[0].At+plan[0].For+aftermath {
			t.Errorf("%s is not alone: %s", plan[0], f)
		}
		if f.For < shortest || f.At+f.For > calm+gentleFor+gentleCalm+stormWindow+longest {
			t.Errorf("%s lasts too long, or not long enough", f)
		}
		if f.Region == f.Other && f.Region != "" {
			t.Errorf("%s is about one region twice", f)
		}
		if f.Kind == Drain || f.Kind == DrainService {
			planned++
		}
	}
	if planned == 0 {
		t.Error("nobody orders a change")
	}
}
