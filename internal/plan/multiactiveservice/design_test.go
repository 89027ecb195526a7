package multiactiveservice_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"multiactive.dev/operator/api/v1alpha1"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
)

// TestPathKeys tells of path variables that no request has.
func TestPathKeys(t *testing.T) {
	t.Parallel()
	path := func(name string) v1alpha1.KeySource {
		return v1alpha1.KeySource{Type: v1alpha1.KeySourcePath, Path: &v1alpha1.NamedSource{Name: name}}
	}
	header := v1alpha1.KeySource{Type: v1alpha1.KeySourceHeader, Header: &v1alpha1.NamedSource{Name: "X-User"}}
	session := v1alpha1.KeySource{Type: v1alpha1.KeySourceSession}
	flow := func(name string, servedBy v1alpha1.ServedBy, paths ...string) v1alpha1.Flow {
		f := v1alpha1.Flow{Name: name, ServedBy: servedBy}
		for _, p := range paths {
			f.Match = append(f.Match, v1alpha1.RequestMatch{Path: p})
		}
		return f
	}
	home, anywhere := v1alpha1.ServedByHomeRegion, v1alpha1.ServedByAnyRegion
	for name, c := range map[string]struct {
		from      []v1alpha1.KeySource
		flows     []v1alpha1.Flow
		unmatched *v1alpha1.Unmatched
		classes   []v1alpha1.DataClass
		// reason is empty when DesignSound has nothing to say of keys.
		reason string
		words  []string
		// silent must not be said.
		silent string
		ready  bool
	}{
		"in the path":                     {from: []v1alpha1.KeySource{path("id")}, flows: []v1alpha1.Flow{flow("profile", home, "/v1/users/{id}")}, ready: true},
		"in a prefix":                     {from: []v1alpha1.KeySource{path("id")}, flows: []v1alpha1.Flow{flow("profile", home, "/v1/users/{id}/")}, ready: true},
		"one of two variables":            {from: []v1alpha1.KeySource{path("id"), path("user")}, flows: []v1alpha1.Flow{flow("profile", home, "/u/{id}", "/v2/{user}")}, ready: true},
		"nobody uses the key":             {from: []v1alpha1.KeySource{path("id"), header}, ready: true},
		"the header counts":               {from: []v1alpha1.KeySource{path("id"), header}, flows: []v1alpha1.Flow{flow("profile", home, "/v1/users/{id}"), flow("order", home, "/orders")}, ready: true},
		"any region needs no key":         {from: []v1alpha1.KeySource{path("id")}, flows: []v1alpha1.Flow{flow("browse", anywhere, "/items/")}, ready: true},
		"any region, with another source": {from: []v1alpha1.KeySource{path("id"), header}, flows: []v1alpha1.Flow{flow("browse", anywhere, "/items/")}, reason: v1alpha1.ReasonKeySourceUnused, words: []string{"keys[user]", "Path id", "browse", "{id}"}, ready: true},
		"a variable that no match has": {
			from: []v1alpha1.KeySource{path("id"), path("uid"), header}, flows: []v1alpha1.Flow{flow("profile", home, "/v1/users/{uid}"), flow("order", home, "/orders/{ids}")},
			reason: v1alpha1.ReasonKeySourceUnused, words: []string{"keys[user].from Path id", "(profile, order)"}, silent: "Path uid", ready: true,
		},
		"a flow that never has its key": {
			from: []v1alpha1.KeySource{path("id"), session}, flows: []v1alpha1.Flow{flow("profile", home, "/v1/users/{id}", "/v1/me"), flow("order", home, "/orders")},
			reason: v1alpha1.ReasonKeyNeverFound, words: []string{"flows[profile].match /v1/me", "key user", "({id})", "flows[order].match /orders"}, silent: "/v1/users",
		},
		"the session has it": {
			from: []v1alpha1.KeySource{path("id"), session}, flows: []v1alpha1.Flow{flow("profile", home, "/v1/users/{id}", "/v1/me")},
			classes: []v1alpha1.DataClass{{Name: "session", Sync: []v1alpha1.SyncPolicy{{Method: v1alpha1.SyncOriginRead, OriginRead: &v1alpha1.OriginReadSync{
				Type: v1alpha1.OriginForwardRequest, Token: v1alpha1.SessionToken{Cookie: "sid"},
			}}}}},
			ready: true,
		},
		"unmatched requests never have it": {
			from: []v1alpha1.KeySource{path("id")}, flows: []v1alpha1.Flow{flow("profile", home, "/v1/users/{id}")},
			unmatched: &v1alpha1.Unmatched{OtherMethods: v1alpha1.UnmatchedHomeRegion, Key: "user"},
			reason:    v1alpha1.ReasonKeyNeverFound, words: []string{"unmatched: ", "key user"}, silent: "flows[",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mas := service()
			mas.Spec.Partition.Keys = []v1alpha1.PartitionKey{{Name: "user", From: c.from}}
			mas.Spec.Flows, mas.Spec.Unmatched, mas.Spec.DataClasses = c.flows, c.unmatched, append(mas.Spec.DataClasses, c.classes...)
			seen := healthy(mas)
			plan.Report(start, mas, seen, plan.Plan{}, true)
			got := meta.FindStatusCondition(mas.Status.Conditions, v1alpha1.ConditionDesignSound)
			if c.reason == "" && (got.Reason == v1alpha1.ReasonFlowWithoutHome || got.Reason == v1alpha1.ReasonKeyNeverFound || got.Reason == v1alpha1.ReasonKeySourceUnused) ||
				c.reason != "" && got.Reason != c.reason {
				t.Errorf("DesignSound is %s (%s), want %q", got.Reason, got.Message, c.reason)
			}
			for _, word := range c.words {
				if !strings.Contains(got.Message, word) {
					t.Errorf("DesignSound says %q, want %q in it", got.Message, word)
				}
			}
			if c.silent != "" && strings.Contains(got.Message, c.silent) {
				t.Errorf("DesignSound says %q, with %q in it", got.Message, c.silent)
			}
			if ready := meta.IsStatusConditionTrue(mas.Status.Conditions, v1alpha1.ConditionReady); ready != c.ready {
				t.Errorf("ready: %t, want %t", ready, c.ready)
			}
		})
	}
}
