package health_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

// probed is a row of results, one a second: '.' answered, 'x' failed, '_' none in that second.
func probed(results string) ownership.Evidence {
	o := health.NewObserver(3 * time.Second)
	for i, r := range results {
		switch r {
		case '.':
			o.Record(time.Duration(i)*time.Second, "b", true)
		case 'x':
			o.Record(time.Duration(i)*time.Second, "b", false)
		}
	}
	return o.Evidence()
}

func TestObserver(t *testing.T) {
	failing := ownership.Evidence{Failing: []string{"b"}}
	unreachable := ownership.Evidence{Unreachable: []string{"b"}}
	cases := map[string]struct {
		results string
		want    ownership.Evidence
	}{
		"nothing heard":                      {"", ownership.Evidence{}},
		"answers":                            {"....", ownership.Evidence{}},
		"one failure":                        {"...x", ownership.Evidence{}},
		"two failures":                       {"..xx", failing},
		"failing for less than downAfter":    {".xxx", failing},
		"failing for downAfter":              {".xxxx", unreachable},
		"never answered":                     {"xxxx", unreachable},
		"an answer ends failing":             {"xx.", ownership.Evidence{}},
		"an answer between starts over":      {"xxx.xxx", failing},
		"one answer is no recovery":          {"xxxx.", unreachable},
		"two answers are":                    {"xxxx..", ownership.Evidence{}},
		"flapping while unreachable":         {"xxxx.x.x.", unreachable},
		"two failures after recovery":        {"xxxx..xx", failing},
		"slept between two failures":         {"x_______x", ownership.Evidence{}},
		"slept, then failed for downAfter":   {"x_______xxxx", unreachable},
		"a slow probe is no gap":             {"x__x", unreachable},
		"unreachable outlasts sleep":         {"xxxx_______x", unreachable},
		"recovery after sleep needs answers": {"xxxx_______..", ownership.Evidence{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, probed(c.results)); diff != "" {
				t.Errorf("evidence after %q (-want +got):\n%s", c.results, diff)
			}
		})
	}
}

func TestObserverRetain(t *testing.T) {
	o := health.NewObserver(time.Second)
	for i := range 3 {
		o.Record(time.Duration(i)*time.Second, "gone", false)
		o.Record(time.Duration(i)*time.Second, "z", false)
		o.Record(time.Duration(i)*time.Second, "a", false)
	}
	o.Retain([]string{"a", "z"})
	if diff := cmp.Diff(ownership.Evidence{Unreachable: []string{"a", "z"}}, o.Evidence()); diff != "" {
		t.Errorf("evidence (-want +got):\n%s", diff)
	}
}
