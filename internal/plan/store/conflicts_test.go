package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	plan "multiactive.dev/operator/internal/plan/store"
	"multiactive.dev/operator/internal/storage"
)

func TestConflictPolicies(t *testing.T) {
	t.Parallel()
	class := func(name string, p *v1alpha1.ConflictPolicy, tables ...string) v1alpha1.StoreClass {
		return v1alpha1.StoreClass{Name: name, Conflict: p, Tables: tables}
	}
	last := &v1alpha1.ConflictPolicy{Policy: v1alpha1.ConflictLastWriterWins, LastWriterWins: &v1alpha1.LastWriterWins{TimestampColumn: "changed"}}
	skewed := last.DeepCopy()
	skewed.LastWriterWins.MaxClockSkew = &metav1.Duration{Duration: time.Minute}
	owner := &v1alpha1.ConflictPolicy{Policy: v1alpha1.ConflictOwnerWins}
	for name, test := range map[string]struct {
		classes   []v1alpha1.StoreClass
		want      []storage.ConflictPolicy
		disagreed []string
	}{
		"none": {classes: []v1alpha1.StoreClass{class("a", nil, "s.a")}},
		"each": {
			classes: []v1alpha1.StoreClass{
				class("d", skewed, "s.d"), class("c", last, "s.c"), class("b", &v1alpha1.ConflictPolicy{Policy: v1alpha1.ConflictQuarantine}, "s.b"), class("a", owner, "s.a", "s.z"), class("n", nil, "s.n"),
			},
			want: []storage.ConflictPolicy{
				{Table: "s.a", Winner: storage.WinnerOwner}, {Table: "s.b", Winner: storage.WinnerNobody},
				{Table: "s.c", Winner: storage.WinnerLast, TimestampColumn: "changed", MaxClockSkew: time.Second},
				{Table: "s.d", Winner: storage.WinnerLast, TimestampColumn: "changed", MaxClockSkew: time.Minute}, {Table: "s.z", Winner: storage.WinnerOwner},
			},
		},
		"two that agree": {
			classes: []v1alpha1.StoreClass{class("a", owner, "s.a"), class("b", owner, "s.a")},
			want:    []storage.ConflictPolicy{{Table: "s.a", Winner: storage.WinnerOwner}},
		},
		"two that do not": {
			classes: []v1alpha1.StoreClass{class("a", owner, "s.a"), class("b", last, "s.a")}, disagreed: []string{"s.a"},
			want: []storage.ConflictPolicy{{Table: "s.a", Winner: storage.WinnerNobody}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := plan.Merge([]v1alpha1.RegionalService{serviceWith("u", sliced(func(s *v1alpha1.StoreSlice) { s.Classes = test.classes }))}, here)["db"]
			if diff := cmp.Diff(test.want, d.Want.Conflicts); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.disagreed, d.Disagreed); diff != "" {
				t.Error(diff)
			}
			told := plan.Server(d, plan.Look{Known: true, Observed: true, Observation: storage.Observation{Prepared: true}})
			if strings.Contains(told.Message, "declare different policies") != (len(test.disagreed) > 0) || told.Ready != metav1.ConditionTrue {
				t.Errorf("it tells %+v", told)
			}
		})
	}
}

// A link from a region that was lost is not made while that is settled, and says why.
func TestHeld(t *testing.T) {
	t.Parallel()
	d := plan.Merge([]v1alpha1.RegionalService{serviceWith("u", sliced(nil))}, here)["db"]
	held := map[string]string{"shanghai": "changes of shanghai wait"}
	o := storage.Observation{Prepared: true, Writable: true, Links: map[string]storage.Link{"shenzhen": {Address: "shenzhen:3306", Receiving: true, Applying: true}}}
	if steps := plan.Steps(d, plan.Seen{Observation: o, Held: held}); len(steps) > 0 {
		t.Errorf("steps %+v while the link is held", steps)
	}
	if steps := plan.Steps(d, plan.Seen{Observation: o}); len(steps) != 1 || steps[0].Kind != plan.StepConnect {
		t.Errorf("steps %+v, want the link made", steps)
	}
	for lost, reason := range map[bool]string{true: v1alpha1.ReasonSourceLost, false: v1alpha1.ReasonLateChanges} {
		link := &v1alpha1.ReplicationLink{Spec: v1alpha1.ReplicationLinkSpec{From: "shanghai", Store: "db"}}
		plan.Report(link, d, plan.Look{Known: true, Observed: true, Observation: o, Held: held}, lost)
		c := meta.FindStatusCondition(link.Status.Conditions, v1alpha1.ConditionStreaming)
		if c.Status != metav1.ConditionFalse || c.Reason != reason || link.Status.State != v1alpha1.LinkBroken {
			t.Errorf("lost %t: %+v, state %s", lost, c, link.Status.State)
		}
	}
}

func TestLateChangesTold(t *testing.T) {
	t.Parallel()
	d := plan.Merge([]v1alpha1.RegionalService{serviceWith("u", sliced(nil))}, here)["db"]
	look := plan.Look{Known: true, Observed: true, Observation: storage.Observation{Prepared: true}, Late: []storage.Late{
		{Outage: storage.Outage{Region: "shanghai", ID: 1_700_000_000_000_001}, Applied: 2, OwnerStands: 1, Open: 1,
			Conflicts: []storage.Conflict{{Table: "a.a", Key: `{"id":1}`, Outcome: storage.OutcomeOpen}}},
		{Outage: storage.Outage{Region: "shenzhen", ID: 5}},
	}}
	got := plan.Server(d, look)
	want := []v1alpha1.LateChanges{{
		Region: "shanghai", LostAt: metav1.NewMicroTime(time.UnixMicro(1_700_000_000_000_001).UTC()), Applied: 2, OwnerStands: 1, Open: 1,
		Conflicts: []v1alpha1.RowConflict{{Table: "a.a", Key: `{"id":1}`, Outcome: "Open"}},
	}}
	if diff := cmp.Diff(want, got.Late); diff != "" {
		t.Error(diff)
	}
	if got.Ready != metav1.ConditionTrue || got.Reason != v1alpha1.ReasonConflictingRows || !strings.Contains(got.Message, "multiactive.conflict") {
		t.Errorf("rows wait for a person, and it tells %+v", got)
	}
	look.Settling = "it waits"
	if got := plan.Server(d, look); got.Ready != metav1.ConditionFalse || got.Reason != v1alpha1.ReasonLateChanges || got.Message != "it waits" {
		t.Errorf("while it is settled it tells %+v", got)
	}
}
