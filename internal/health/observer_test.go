package health_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

// probed is a row of results, one a second from boot on: '.' answered, 'x' failed, '_' none in that
// second, 'z' a failure for which the agent was stalled from the second before the last.
func probed(results string) *health.Observer {
	o := health.NewObserver(ownership.DefaultTimings())
	for i, r := range results {
		at := boot + time.Duration(i)*time.Second
		switch r {
		case '.':
			o.Record(at, at, "b", true)
		case 'x':
			o.Record(at, at, "b", false)
		case 'z':
			o.Record(at-2*time.Second, at, "b", false)
		}
	}
	return o
}

func TestObserver(t *testing.T) {
	failing := ownership.Evidence{Failing: []string{"b"}}
	unreachable := ownership.Evidence{Unreachable: []string{"b"}}
	cases := map[string]struct {
		results string
		want    ownership.Evidence
	}{
		"nothing heard":                       {"", ownership.Evidence{}},
		"answers":                             {"....", ownership.Evidence{}},
		"one failure":                         {"...x", ownership.Evidence{}},
		"two failures":                        {"..xx", failing},
		"failing for less than downAfter":     {".xxx", failing},
		"failing for downAfter":               {".xxxx", unreachable},
		"never answered":                      {"xxxx", unreachable},
		"an answer ends failing":              {"xx.", ownership.Evidence{}},
		"an answer between starts over":       {"xxx.xxx", failing},
		"one answer is no recovery":           {"xxxx.", unreachable},
		"two answers are":                     {"xxxx..", ownership.Evidence{}},
		"flapping while unreachable":          {"xxxx.x.x.", unreachable},
		"two failures after recovery":         {"xxxx..xx", failing},
		"slept between two failures":          {"x_______x", ownership.Evidence{}},
		"slept, then failed for downAfter":    {"x_______xxxx", unreachable},
		"two seconds between two are watched": {"x_x_x", unreachable},
		"a third second is not":               {"x__x", failing},
		"but does not begin anew":             {"x__xx", unreachable},
		"unreachable outlasts sleep":          {"xxxx_______x", unreachable},
		"recovery after sleep needs answers":  {"xxxx_______..", ownership.Evidence{}},
		"stalled through a probe":             {"..__z", ownership.Evidence{}},
		"stalled again and again":             {"..__z__z__z__z", ownership.Evidence{}},
		"stalled amid failures":               {".x__zx", failing},
		"stalled, then failed for downAfter":  {".x__zxx", unreachable},
		"failed before and after a stall":     {".x____zx", failing},
		"stalled, then answered":              {".xx__z.", ownership.Evidence{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, probed(c.results).Evidence()); diff != "" {
				t.Errorf("evidence after %q (-want +got):\n%s", c.results, diff)
			}
		})
	}
}

// A probe that gets no answer fails when its time is up, and the evidence counts from when it was sent.
func TestObserverFailing(t *testing.T) {
	cases := map[string]struct {
		results string
		want    map[string]health.Failing
	}{
		"answers":                       {"...", nil},
		"one failure":                   {"..x", nil},
		"from the first failure":        {"..xx", map[string]health.Failing{"b": {Since: boot + 2*time.Second, Seen: true}}},
		"unreachable too":               {"..xxxxxx", map[string]health.Failing{"b": {Since: boot + 2*time.Second, Seen: true}}},
		"an answer in between":          {"..xxxx.x.xx", map[string]health.Failing{"b": {Since: boot + 2*time.Second, Seen: true}}},
		"recovered, then again":         {"..xx..xx", map[string]health.Failing{"b": {Since: boot + 6*time.Second, Seen: true}}},
		"never reached":                 {"xxx", map[string]health.Failing{"b": {Since: boot}}},
		"slept before the first":        {"..________xx", map[string]health.Failing{"b": {Since: boot + 10*time.Second}}},
		"slept while it failed":         {"..xx________x", map[string]health.Failing{"b": {Since: boot + 12*time.Second}}},
		"a stall is no sleep":           {"..x___zx", map[string]health.Failing{"b": {Since: boot + 2*time.Second, Seen: true}}},
		"what the stall failed is none": {".._zxx", map[string]health.Failing{"b": {Since: boot + 4*time.Second, Seen: true}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, probed(c.results).Failing(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("failing after %q (-want +got):\n%s", c.results, diff)
			}
		})
	}
	o := health.NewObserver(ownership.DefaultTimings())
	for i := range 3 {
		began := boot + time.Duration(i)*time.Second
		o.Record(began, began+time.Second, "b", i == 0)
	}
	if since := o.Failing()["b"].Since; since != boot+time.Second {
		t.Errorf("failing since %s, want when the first probe without an answer was sent", since)
	}
}

func TestObserverRetain(t *testing.T) {
	o := health.NewObserver(ownership.DefaultTimings())
	for i := range 4 {
		for _, region := range []string{"gone", "z", "a"} {
			at := time.Duration(i) * time.Second
			o.Record(at, at, region, false)
		}
	}
	o.Retain([]string{"a", "z"})
	if diff := cmp.Diff(ownership.Evidence{Unreachable: []string{"a", "z"}}, o.Evidence()); diff != "" {
		t.Errorf("evidence (-want +got):\n%s", diff)
	}
}
