package multiactiveservice_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/announcement"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
)

// What is ordered is before what is declared in the slices of the regions that it names, and gone when it is not shown any
// more.
func TestOrderedAnnouncements(t *testing.T) {
	t.Parallel()
	text := func(value string) []v1alpha1.LocalizedText {
		return []v1alpha1.LocalizedText{{Language: "en", Value: value}}
	}
	mas := service()
	for range announcement.Known {
		mas.Spec.Announcements = append(mas.Spec.Announcements, v1alpha1.Announcement{Flows: []string{"*"}, Text: text("declared")})
	}
	seen := healthy(mas)
	seen.Regions["beijing"].Slice.Status.Features = []string{announcement.Feature}
	staged := func() map[string][]v1alpha1.Announcement {
		out := map[string][]v1alpha1.Announcement{}
		for _, s := range plan.Decide(start, mas, seen).Steps {
			if s.Kind == plan.StepStage {
				out[s.Region] = s.Slice.Spec.Announcements
				s.Slice.Generation, s.Slice.Status = 1, seen.Regions[s.Region].Slice.Status
				seen.Regions[s.Region].Slice = s.Slice
			}
		}
		return out
	}
	if got := staged(); len(got) > 0 {
		t.Fatalf("slices are written of which nothing has changed: %v", got)
	}
	ordered := v1alpha1.Announcement{Flows: []string{"login"}, Text: text("ordered")}
	seen.Announced = []announcement.Ordered{{
		Name: "a", Until: start.Add(10 * time.Minute), Flows: ordered.Flows, Text: ordered.Text, Regions: []string{"beijing", "shanghai"},
	}}
	all := append([]v1alpha1.Announcement{ordered}, mas.Spec.Announcements...)
	want := map[string][]v1alpha1.Announcement{"beijing": all, "shanghai": all[:announcement.Known]} // whose member is of an earlier version
	if got := plan.Decide(start, mas, seen).RecheckAfter; got != 10*time.Minute {
		t.Errorf("looks again after %s, want when its time is up", got)
	}
	if diff := cmp.Diff(want, staged()); diff != "" {
		t.Errorf("ordered (-want +got)\n%s", diff)
	}
	if got := staged(); len(got) > 0 {
		t.Errorf("what is ordered is written again: %v", got)
	}
	seen.Announced = nil
	got := staged()
	for _, region := range []string{"beijing", "shanghai"} {
		if !slices.EqualFunc(got[region], mas.Spec.Announcements, func(a, b v1alpha1.Announcement) bool { return cmp.Equal(a, b) }) {
			t.Errorf("afterwards %s has %v, want what is declared", region, got[region])
		}
	}
}
