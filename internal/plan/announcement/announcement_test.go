package announcement_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/plan/announcement"
)

var (
	start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	user  = v1alpha1.ServiceKey{Namespace: "accounts", Name: "user"}
)

// says is an announcement of half an hour that is shown, ordered so many minutes after the start.
func says(name string, minutes int, change ...func(*v1alpha1.Operation)) v1alpha1.Operation {
	service := user
	o := v1alpha1.Operation{
		ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(start.Add(time.Duration(minutes) * time.Minute))},
		Spec: v1alpha1.OperationSpec{Type: v1alpha1.OperationAnnounce, Service: &service, Announce: &v1alpha1.AnnounceSpec{
			Text: []v1alpha1.LocalizedText{{Language: "en", Value: name}}, Duration: &metav1.Duration{Duration: 30 * time.Minute},
		}},
		Status: v1alpha1.OperationStatus{State: v1alpha1.OperationRunning},
	}
	for _, c := range change {
		c(&o)
	}
	return o
}

func flows(names ...string) func(*v1alpha1.Operation) {
	return func(o *v1alpha1.Operation) { o.Spec.Announce.Flows = names }
}

func regions(names ...string) func(*v1alpha1.Operation) {
	return func(o *v1alpha1.Operation) { o.Spec.Announce.Regions = names }
}

func is(s v1alpha1.OperationState) func(*v1alpha1.Operation) {
	return func(o *v1alpha1.Operation) { o.Status.State = s }
}

func ended(o *v1alpha1.Operation) { o.Spec.Announce.Course = v1alpha1.AnnounceEnd }

func deleted(o *v1alpha1.Operation) { o.DeletionTimestamp = &metav1.Time{Time: start} }

func lasts(d time.Duration) func(*v1alpha1.Operation) {
	return func(o *v1alpha1.Operation) { o.Spec.Announce.Duration = &metav1.Duration{Duration: d} }
}

func TestShown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		orders []v1alpha1.Operation
		// after the start; 10 minutes unless it says otherwise.
		after time.Duration
		want  []string
		next  time.Duration
	}{
		"nothing is ordered": {},
		"one is shown":       {orders: []v1alpha1.Operation{says("a", 0)}, want: []string{"a"}, next: 20 * time.Minute},
		"until its time is up": {
			orders: []v1alpha1.Operation{says("a", 0)}, after: 30*time.Minute - time.Nanosecond, want: []string{"a"}, next: time.Nanosecond,
		},
		"and no longer": {orders: []v1alpha1.Operation{says("a", 0)}, after: 30 * time.Minute},
		"for an hour if it does not say": {
			orders: []v1alpha1.Operation{says("a", 0, func(o *v1alpha1.Operation) { o.Spec.Announce.Duration = nil })},
			want:   []string{"a"}, next: 50 * time.Minute,
		},
		"what nobody has looked at is not":    {orders: []v1alpha1.Operation{says("a", 0, is("")), says("b", 0, is(v1alpha1.OperationPending))}},
		"nor is what was refused":             {orders: []v1alpha1.Operation{says("a", 0, is(v1alpha1.OperationRefused))}},
		"what was ended is not":               {orders: []v1alpha1.Operation{says("a", 0, ended)}},
		"what is being deleted is not":        {orders: []v1alpha1.Operation{says("a", 0, deleted)}},
		"another kind of order is none":       {orders: []v1alpha1.Operation{says("a", 0, func(o *v1alpha1.Operation) { o.Spec.Type = v1alpha1.OperationDrain })}},
		"another service's is not":            {orders: []v1alpha1.Operation{says("a", 0, func(o *v1alpha1.Operation) { o.Spec.Service.Name = "pay" })}},
		"a later one for all ends it":         {orders: []v1alpha1.Operation{says("a", 0, flows("login")), says("b", 1)}, want: []string{"b"}, next: 21 * time.Minute},
		"a later one for the same flow does":  {orders: []v1alpha1.Operation{says("a", 0, flows("login")), says("b", 1, flows("login"))}, want: []string{"b"}, next: 21 * time.Minute},
		"one for less does not":               {orders: []v1alpha1.Operation{says("a", 0), says("b", 1, flows("login"))}, want: []string{"b", "a"}, next: 20 * time.Minute},
		"nor one for other flows":             {orders: []v1alpha1.Operation{says("b", 1, flows("pay")), says("a", 0, flows("login"))}, want: []string{"b", "a"}, next: 20 * time.Minute},
		"nor one for fewer regions":           {orders: []v1alpha1.Operation{says("a", 0), says("b", 1, regions("beijing"))}, want: []string{"b", "a"}, next: 20 * time.Minute},
		"nor one for other regions":           {orders: []v1alpha1.Operation{says("a", 0, regions("shanghai")), says("b", 1, regions("beijing"))}, want: []string{"b", "a"}, next: 20 * time.Minute},
		"one for more regions does":           {orders: []v1alpha1.Operation{says("a", 0, regions("shanghai")), says("b", 1, regions("beijing", "shanghai"))}, want: []string{"b"}, next: 21 * time.Minute},
		"one that was refused ends nothing":   {orders: []v1alpha1.Operation{says("a", 0), says("b", 1, is(v1alpha1.OperationRefused))}, want: []string{"a"}, next: 20 * time.Minute},
		"one that has ended does still":       {orders: []v1alpha1.Operation{says("a", 0), says("b", 1, ended, is(v1alpha1.OperationSucceeded))}},
		"nor does it come back with its time": {orders: []v1alpha1.Operation{says("a", 0, lasts(time.Hour)), says("b", 1, lasts(time.Minute))}},
		"copies of one name are one order":    {orders: []v1alpha1.Operation{says("a", 0), says("a", 5)}, want: []string{"a"}, next: 25 * time.Minute},
		"and ended in one they are ended":     {orders: []v1alpha1.Operation{says("a", 0), says("a", 5, ended)}},
		"of the same second the name decides": {orders: []v1alpha1.Operation{says("a", 0, flows("x")), says("b", 0, flows("y"))}, want: []string{"b", "a"}, next: 20 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.after == 0 {
				c.after = 10 * time.Minute
			}
			now := start.Add(c.after)
			shown := announcement.Shown(now, user, c.orders)
			var got []string
			for _, o := range shown {
				got = append(got, o.Name)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("shown (-want +got)\n%s", diff)
			}
			if next := announcement.Next(now, shown); next != c.next {
				t.Errorf("the next ends in %s, want %s", next, c.next)
			}
		})
	}
}

func TestIn(t *testing.T) {
	t.Parallel()
	declared := []v1alpha1.Announcement{{Flows: []string{"login"}, Text: text("declared for login")}, {Flows: []string{"*"}, Text: text("declared")}}
	for name, c := range map[string]struct {
		orders []v1alpha1.Operation
		most   int
		want   []v1alpha1.Announcement
	}{
		"none":                               {want: declared},
		"one for a flow is before all":       {orders: []v1alpha1.Operation{says("a", 0, flows("login"))}, want: append([]v1alpha1.Announcement{{Flows: []string{"login"}, Text: text("a")}}, declared...)},
		"behind one for all is nothing":      {orders: []v1alpha1.Operation{says("a", 0)}, want: []v1alpha1.Announcement{{Flows: []string{"*"}, Text: text("a")}}},
		"the later is before the earlier":    {orders: []v1alpha1.Operation{says("a", 0), says("b", 1, flows("login"))}, want: []v1alpha1.Announcement{{Flows: []string{"login"}, Text: text("b")}, {Flows: []string{"*"}, Text: text("a")}}},
		"another region's is not there":      {orders: []v1alpha1.Operation{says("a", 0, regions("shanghai"))}, want: declared},
		"what there is no room for is last":  {orders: []v1alpha1.Operation{says("a", 0, flows("pay"))}, most: 2, want: []v1alpha1.Announcement{{Flows: []string{"pay"}, Text: text("a")}, declared[0]}},
		"the region's own is before the all": {orders: []v1alpha1.Operation{says("a", 0, regions("beijing"), flows("login"))}, most: 1, want: []v1alpha1.Announcement{{Flows: []string{"login"}, Text: text("a")}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.most == 0 {
				c.most = announcement.Known
			}
			got := announcement.In("beijing", announcement.Shown(start.Add(2*time.Minute), user, c.orders), declared, c.most)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("the region's announcements (-want +got)\n%s", diff)
			}
		})
	}
}

func text(value string) []v1alpha1.LocalizedText {
	return []v1alpha1.LocalizedText{{Language: "en", Value: value}}
}

// Whatever is ordered: a slice has room for it, what is shown is in it unless something for all is before it, and the order
// of what is listed changes nothing.
func TestInHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		some := func(from ...string) *rapid.Generator[[]string] {
			return rapid.SliceOfNDistinct(rapid.SampledFrom(from), 0, len(from), func(s string) string { return s })
		}
		var orders []v1alpha1.Operation
		for range rapid.IntRange(0, 40).Draw(t, "orders") {
			orders = append(orders, says(rapid.StringMatching(`[a-d][0-9]`).Draw(t, "name"), rapid.IntRange(0, 20).Draw(t, "minutes"),
				flows(some("*", "login", "pay", "buy").Draw(t, "flows")...), regions(some("beijing", "shanghai").Draw(t, "regions")...)))
		}
		declared := make([]v1alpha1.Announcement, rapid.IntRange(0, 16).Draw(t, "declared"))
		most := rapid.SampledFrom([]int{announcement.Known, announcement.Most}).Draw(t, "most")
		shown := announcement.Shown(start.Add(5*time.Minute), user, orders)
		got := announcement.In("beijing", shown, declared, most)
		if len(got) > most {
			t.Fatalf("%d announcements, where there is room for %d", len(got), most)
		}
		if most == announcement.Most && len(shown) <= announcement.Running && len(shown) > 0 && len(shown[0].Regions) == 0 && !announcement.Has(got[:1], shown[0]) {
			t.Fatalf("the latest is not first: %+v", got)
		}
		again := announcement.Shown(start.Add(5*time.Minute), user, rapid.Permutation(orders).Draw(t, "in another order"))
		if diff := cmp.Diff(names(shown), names(again)); diff != "" && !copies(orders) {
			t.Fatalf("shown depends on the order of the list (-one +other)\n%s", diff)
		}
	})
}

// copies reports whether several orders have one name.
func copies(orders []v1alpha1.Operation) bool {
	seen := map[string]bool{}
	for _, o := range orders {
		if seen[o.Name] {
			return true
		}
		seen[o.Name] = true
	}
	return false
}

func names(list []announcement.Ordered) []string {
	var out []string
	for _, o := range list {
		out = append(out, o.Name)
	}
	return out
}
