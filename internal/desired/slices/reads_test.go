package slices_test

import (
	stdslices "slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/slices"
)

func TestSecondRead(t *testing.T) {
	class := func(name string, home *v1alpha1.DataHome, declared *v1alpha1.SecondReadSync) v1alpha1.DataClass {
		return v1alpha1.DataClass{Name: name, Home: home, Sync: []v1alpha1.SyncPolicy{{Method: v1alpha1.SyncSecondRead, SecondRead: declared}}}
	}
	byKey := func(name string) *v1alpha1.DataHome { return &v1alpha1.DataHome{Type: v1alpha1.HomeByKey, Key: name} }
	pinnedTo := func(regions ...string) *v1alpha1.DataHome {
		return &v1alpha1.DataHome{Type: v1alpha1.HomePinned, Pinned: &v1alpha1.PinnedHome{Regions: regions}}
	}
	within := func(d time.Duration, when v1alpha1.WhenUnreachable) *v1alpha1.SecondReadSync {
		return &v1alpha1.SecondReadSync{Timeout: &metav1.Duration{Duration: d}, WhenUnreachable: when}
	}
	locally, refuse := v1alpha1.WhenUnreachableAnswerLocally, v1alpha1.WhenUnreachableRefuse
	for name, test := range map[string]struct {
		flow    v1alpha1.Flow
		classes []v1alpha1.DataClass
		want    *v1alpha1.SecondReadSync
	}{
		"nothing declared but the method": {
			v1alpha1.Flow{Key: "phone", Reads: []string{"a"}}, []v1alpha1.DataClass{class("a", nil, nil)}, within(300*time.Millisecond, refuse),
		},
		"as declared": {
			v1alpha1.Flow{Key: "phone", Reads: []string{"a"}}, []v1alpha1.DataClass{class("a", byKey("phone"), within(time.Second, locally))},
			within(time.Second, locally),
		},
		"the class's key": {
			v1alpha1.Flow{Reads: []string{"a"}}, []v1alpha1.DataClass{class("a", byKey("phone"), within(time.Second, locally))},
			within(time.Second, locally),
		},
		"two classes": {
			v1alpha1.Flow{Key: "phone", Reads: []string{"a", "b"}},
			[]v1alpha1.DataClass{class("a", nil, within(time.Second, locally)), class("b", nil, within(0, refuse)), class("c", nil, within(time.Hour, locally))},
			within(time.Second, refuse),
		},
		"no time":        {v1alpha1.Flow{Key: "phone", Reads: []string{"a"}}, []v1alpha1.DataClass{class("a", nil, within(0, refuse))}, within(0, refuse)},
		"not read":       {v1alpha1.Flow{Key: "phone", Writes: []string{"a"}}, []v1alpha1.DataClass{class("a", nil, nil)}, nil},
		"without a key":  {v1alpha1.Flow{Reads: []string{"a"}}, []v1alpha1.DataClass{class("a", nil, nil)}, nil},
		"another's home": {v1alpha1.Flow{Key: "phone", Reads: []string{"a"}}, []v1alpha1.DataClass{class("a", byKey("mail"), nil)}, nil},
		"a pinned class": {
			v1alpha1.Flow{Reads: []string{"a"}}, []v1alpha1.DataClass{class("a", pinnedTo("beijing"), within(time.Second, locally))}, within(time.Second, locally),
		},
		"a pinned class of another home": {
			v1alpha1.Flow{Reads: []string{"a", "b"}},
			[]v1alpha1.DataClass{class("a", pinnedTo("beijing"), within(time.Second, locally)), class("b", pinnedTo("shanghai"), within(time.Hour, refuse))},
			within(time.Second, locally),
		},
		"a pinned class beside the key's": {
			v1alpha1.Flow{Key: "phone", Reads: []string{"a", "b"}},
			[]v1alpha1.DataClass{class("a", pinnedTo("beijing"), within(time.Hour, refuse)), class("b", byKey("phone"), within(time.Second, locally))},
			within(time.Second, locally),
		},
		"served at home": {
			v1alpha1.Flow{Key: "phone", Reads: []string{"a"}, ServedBy: v1alpha1.ServedByHomeRegion}, []v1alpha1.DataClass{class("a", nil, nil)}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			mas := &v1alpha1.MultiActiveService{Spec: v1alpha1.MultiActiveServiceSpec{Flows: []v1alpha1.Flow{test.flow}, DataClasses: test.classes}}
			got := slices.Build(slices.Input{Service: mas}, "beijing").Spec.Behaviours[0]
			if diff := cmp.Diff(test.want, got.SecondRead); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			var homes []string
			if strings.HasPrefix(name, "a pinned class") && !strings.HasSuffix(name, "the key's") {
				homes = []string{"beijing"}
			}
			if !stdslices.Equal(got.SecondReadHomes, homes) {
				t.Errorf("second reads ask %v, want %v", got.SecondReadHomes, homes)
			}
		})
	}
}

func TestSessions(t *testing.T) {
	read := func(o v1alpha1.OriginReadSync) v1alpha1.SyncPolicy {
		return v1alpha1.SyncPolicy{Method: v1alpha1.SyncOriginRead, OriginRead: &o}
	}
	in := func(cookie, header string) v1alpha1.SessionToken {
		return v1alpha1.SessionToken{Cookie: cookie, Header: header}
	}
	second := &metav1.Duration{Duration: time.Second}
	mas := &v1alpha1.MultiActiveService{Spec: v1alpha1.MultiActiveServiceSpec{
		DataClasses: []v1alpha1.DataClass{
			{Name: "session", Sync: []v1alpha1.SyncPolicy{
				read(v1alpha1.OriginReadSync{Type: v1alpha1.OriginForwardRequest, Token: in("sid", "")}), {Method: v1alpha1.SyncRegenerate},
			}},
			{Name: "api", Sync: []v1alpha1.SyncPolicy{read(v1alpha1.OriginReadSync{Type: v1alpha1.OriginForwardRequest, Token: in("", "X-Token"), Timeout: second})}},
			{Name: "again", Sync: []v1alpha1.SyncPolicy{read(v1alpha1.OriginReadSync{Type: v1alpha1.OriginForwardRequest, Token: in("", "x-token")})}},
			{Name: "account"},
		},
		Flows: []v1alpha1.Flow{{Name: "login", Reads: []string{"account", "again"}, Writes: []string{"api", "session"}}, {Name: "inbox", Reads: []string{"session"}}},
	}}
	got := slices.Build(slices.Input{Service: mas}, "beijing").Spec
	want := []v1alpha1.SessionSlice{
		{DataClass: "session", Regenerate: v1alpha1.ChoiceYes, OriginRead: v1alpha1.OriginReadSync{
			Type: v1alpha1.OriginForwardRequest, Token: in("sid", ""), Timeout: &metav1.Duration{Duration: 200 * time.Millisecond},
		}},
		{DataClass: "api", Regenerate: v1alpha1.ChoiceNo, OriginRead: v1alpha1.OriginReadSync{
			Type: v1alpha1.OriginForwardRequest, Token: in("", "X-Token"), Timeout: second,
		}},
	}
	if diff := cmp.Diff(want, got.Sessions); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	flows := []v1alpha1.FlowBehaviour{{Name: "login", IssuesSessions: []string{"session", "api"}}, {Name: "inbox", ReadsSessions: []string{"session"}}}
	if diff := cmp.Diff(flows, got.Behaviours); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
