package region_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/region"
)

// heldRows are the rows of the page's table of reasons: reason, meaning, what to do.
func heldRows(t *testing.T) [][]string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "concepts", "ownership.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "the store says why (`held`)")
	section, _, _ = strings.Cut(section, "## ")
	rows := regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (.*?) \\| (.*?) \\|$").FindAllStringSubmatch(section, -1)
	if len(rows) == 0 {
		t.Fatal("the page has no reasons")
	}
	return rows
}

// serving returns what the condition Serving says of a region that the leader holds for the reason.
func serving(rec ownership.RegionRecord, reason string) string {
	rg, seen := region(), healthy()
	seen.Configuration.View.Regions["beijing"] = rec
	seen.Configuration.Held = map[string]string{"beijing": reason, "shanghai": "NoMajority"}
	plan.Report(start, rg, seen, plan.Plan{}, true)
	return meta.FindStatusCondition(rg.Status.Conditions, v1alpha1.ConditionServing).Message
}

// TestHeldSaysWhatThePageSays demands the page's meaning and next step of every reason, in every
// state of the region.
func TestHeldSaysWhatThePageSays(t *testing.T) {
	t.Parallel()
	for _, row := range heldRows(t) {
		for _, rec := range []ownership.RegionRecord{
			{State: ownership.RegionServing}, {State: ownership.RegionServing, Suspect: true},
			{State: ownership.RegionLost, Incident: "beijing-7"}, {State: ownership.RegionReturning}, {State: ownership.RegionDrained},
		} {
			if got := serving(rec, row[1]); !strings.HasSuffix(got, " ("+row[1]+"): "+row[2]+"; "+row[3]) {
				t.Errorf("%s: Serving says %q, the page %q and %q", row[1], got, row[2], row[3])
			}
		}
	}
}

func TestHeld(t *testing.T) {
	t.Parallel()
	up := ownership.RegionRecord{State: ownership.RegionServing}
	if got := serving(up, ""); got != "the region serves" {
		t.Errorf("Serving of a region that is not held says %q", got)
	}
	if got := serving(up, "FromTheFuture"); !strings.HasSuffix(got, ": FromTheFuture") {
		t.Errorf("a reason of a newer leader is left out: %q", got)
	}
	rg, seen := region(), healthy()
	delete(seen.Configuration.View.Regions, "beijing")
	seen.Configuration.Held = map[string]string{"beijing": "AgentNotHeardOf"}
	plan.Report(start, rg, seen, plan.Plan{}, true)
	if got := meta.FindStatusCondition(rg.Status.Conditions, v1alpha1.ConditionServing).Message; !strings.Contains(got, "start the region's member") {
		t.Errorf("Serving of a newcomer says %q", got)
	}
}
