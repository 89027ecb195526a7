package health_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

func ownershipPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "concepts", "ownership.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// TestDocumentedDefaults compares the page's table with the code, row by row.
func TestDocumentedDefaults(t *testing.T) {
	_, section, found := strings.Cut(ownershipPage(t), "## Defaults")
	if !found {
		t.Fatal("the page has no section of defaults")
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| (\S[^|]*?) \| ([^|]*?) \| ([^|]*?) \|$`).FindAllStringSubmatch(section, -1) {
		documented[row[1]] = row[2] + ", " + row[3]
	}
	delete(documented, "setting")
	d, f := ownership.DefaultTimings(), ownership.FastTimings()
	drift := fmt.Sprintf("%g %%", ownership.MaxDrift*100)
	want := map[string]string{
		"probeInterval":     fmt.Sprintf("%s, %s", d.ProbeInterval, f.ProbeInterval),
		"probeTimeout":      fmt.Sprintf("%s, %s", d.ProbeTimeout, f.ProbeTimeout),
		"downAfter":         fmt.Sprintf("%s, %s", d.DownAfter, f.DownAfter),
		"upAfter":           fmt.Sprintf("%s, %s", d.UpAfter, f.UpAfter),
		"beatInterval":      fmt.Sprintf("%s, %s", d.BeatInterval, f.BeatInterval),
		"regionLease":       fmt.Sprintf("%s, %s", d.RegionLease, f.RegionLease),
		"leaderSession":     fmt.Sprintf("%s, %s", d.LeaderSession, f.LeaderSession),
		"plannedLimit":      fmt.Sprintf("%s, %s", d.PlannedLimit, f.PlannedLimit),
		"lossLimit":         fmt.Sprintf("%s, %s", d.LossLimit, f.LossLimit),
		"longest hold-down": fmt.Sprintf("%s, %s", health.HoldDown(d, 1000), health.HoldDown(f, 1000)),
		"slots":             fmt.Sprintf("%d, %d", ownership.SlotCount, ownership.SlotCount),
		"maxDrift":          drift + ", " + drift,
	}
	if diff := cmp.Diff(want, documented); diff != "" {
		t.Errorf("defaults in the code and on the page differ (-code +page):\n%s", diff)
	}
}

// TestDocumentedReasons demands that the page explains every reason, and no other.
func TestDocumentedReasons(t *testing.T) {
	_, section, _ := strings.Cut(ownershipPage(t), "the store says why (`held`)")
	section, _, _ = strings.Cut(section, "## ")
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(section, -1) {
		documented = append(documented, row[1])
	}
	want := []string{
		health.ReasonTooFewObservers, health.ReasonNoMajority, health.ReasonBeatsArrive, health.ReasonLeaseRunning,
		health.ReasonLastServing, health.ReasonOneAtATime, health.ReasonNotAsked, health.ReasonUnreachable,
		health.ReasonHoldDown, health.ReasonGone,
	}
	slices.Sort(documented)
	slices.Sort(want)
	if diff := cmp.Diff(want, documented); diff != "" {
		t.Errorf("reasons in the code and on the page differ (-code +page):\n%s", diff)
	}
}
