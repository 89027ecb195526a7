package multiactiveservice_test

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
)

// DesignSound says what design lint finds, and Ready does not depend on it.
func TestLinted(t *testing.T) {
	t.Parallel()
	sound := func(m *v1alpha1.MultiActiveService) {
		m.Spec.Partition.Keys[0].Normalize = []v1alpha1.Normalizer{v1alpha1.NormalizeDigitsOnly}
		m.Spec.Flows[0].Reads = []string{"account"}
		m.Spec.DataClasses[0].Sync = append(m.Spec.DataClasses[0].Sync, v1alpha1.SyncPolicy{Method: v1alpha1.SyncSecondRead})
		m.Spec.Announcements = []v1alpha1.Announcement{{Flows: []string{"*"}, Text: []v1alpha1.LocalizedText{{Language: "en", Value: "Later."}}}}
	}
	for name, c := range map[string]struct {
		change func(*v1alpha1.MultiActiveService)
		want   string
		words  []string
		silent string
	}{
		"nothing to say": {sound, "True/DesignSound", []string{"no rule"}, "MA"},
		"a warning":      {func(*v1alpha1.MultiActiveService) {}, "True/DesignWarnings", []string{"MA111 spec.dataClasses[0].sync: ", "kubectl multiactive lint"}, ""},
		"an accepted warning": {func(m *v1alpha1.MultiActiveService) {
			sound(m)
			m.Spec.Announcements = nil
			m.Annotations = map[string]string{"multiactive.dev/accept.MA109": "registration has a page of its own"}
		}, "True/DesignSound", []string{"1 warnings of design lint are accepted"}, ""},
		"an error": {func(m *v1alpha1.MultiActiveService) { m.Spec.DataClasses[0].Mutability = v1alpha1.Mutable },
			"False/DesignErrors", []string{"MA008 spec.dataClasses[0]", "orderBy: Version"}, "MA111"},
		"many errors": {func(m *v1alpha1.MultiActiveService) {
			for i := range 9 {
				class := *m.Spec.DataClasses[0].DeepCopy()
				class.Name, class.Mutability = fmt.Sprintf("class-%d", i), v1alpha1.Mutable
				class.Sync[0].MessageQueue.Topic = class.Name
				m.Spec.DataClasses = append(m.Spec.DataClasses, class)
			}
		}, "False/DesignErrors", []string{"and 4 more (MA008)"}, "dataClasses[6]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mas := service()
			c.change(mas)
			plan.Report(start, mas, healthy(mas), plan.Plan{}, true)
			got := meta.FindStatusCondition(mas.Status.Conditions, v1alpha1.ConditionDesignSound)
			if string(got.Status)+"/"+got.Reason != c.want {
				t.Fatalf("DesignSound is %+v, want %s", got, c.want)
			}
			for _, word := range c.words {
				if !strings.Contains(got.Message, word) {
					t.Errorf("DesignSound says %q, want %q in it", got.Message, word)
				}
			}
			if c.silent != "" && strings.Contains(got.Message, c.silent) {
				t.Errorf("DesignSound says %q, with %q in it", got.Message, c.silent)
			}
			if ready := meta.FindStatusCondition(mas.Status.Conditions, v1alpha1.ConditionReady); ready.Status == metav1.ConditionFalse {
				t.Errorf("Ready is %+v", ready)
			}
		})
	}
}

// What members see of their servers is an error of the design where it is short, for as long as they say it of the slice
// that they have.
func TestLintedByWhatIsSeen(t *testing.T) {
	t.Parallel()
	mas := service()
	mas.Spec.DataClasses = append(mas.Spec.DataClasses, v1alpha1.DataClass{Name: "profile", Sync: []v1alpha1.SyncPolicy{
		{Method: v1alpha1.SyncStorageReplication, StorageReplication: &v1alpha1.StorageReplicationSync{Store: "db"}},
	}})
	seen := healthy(mas)
	seen.Stores = map[string]*v1alpha1.DataStore{"db": {Spec: v1alpha1.DataStoreSpec{Engine: v1alpha1.EngineMariaDB}}}
	says := func() string {
		plan.Report(start, mas, seen, plan.Plan{}, true)
		return meta.FindStatusCondition(mas.Status.Conditions, v1alpha1.ConditionDesignSound).Message
	}
	if got := says(); strings.Contains(got, "MA009") {
		t.Errorf("nobody has seen a server, and DesignSound says %q", got)
	}
	slice := seen.Regions["shanghai"].Slice
	slice.Status.Stores = []v1alpha1.StoreStatus{{Name: "db", ShortFor: []string{"profile"}}}
	if got := says(); !strings.Contains(got, "MA009 spec.dataClasses[1].sync[0].storageReplication.store") || !strings.Contains(got, "in: shanghai") {
		t.Errorf("DesignSound says %q", got)
	}
	slice.Generation++
	if got := says(); strings.Contains(got, "MA009") {
		t.Errorf("the member speaks of a former slice, and DesignSound says %q", got)
	}
}

func BenchmarkReport(b *testing.B) {
	mas := service()
	seen := healthy(mas)
	for b.Loop() {
		plan.Report(start, mas, seen, plan.Plan{}, true)
	}
}
