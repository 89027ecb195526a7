package routing_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"multiactive.dev/operator/internal/routing"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func backlog(before routing.Backlog, requests int, age time.Duration) routing.Backlog {
	return routing.BacklogOf("transfer", before, routing.Waiting{Requests: requests, Oldest: noon.Add(-age)}, noon)
}

func TestBacklogSteps(t *testing.T) {
	for name, c := range map[string]struct {
		before        routing.Backlog
		requests      int
		age           time.Duration
		want, wantAge string
	}{
		"the first":                 {routing.Backlog{}, 1, 0, "<10", "<1m"},
		"at a border":               {routing.Backlog{}, 10, time.Minute, "<100", "<10m"},
		"the most":                  {routing.Backlog{}, 20_000, 48 * time.Hour, ">=10000", ">=24h"},
		"more at once":              {routing.Backlog{Requests: "<10", Age: "<1m"}, 5000, 2 * time.Hour, "<10000", "<6h"},
		"a little less":             {routing.Backlog{Requests: "<1000", Age: "<1h"}, 60, 6 * time.Minute, "<1000", "<1h"},
		"less by half":              {routing.Backlog{Requests: "<1000", Age: "<1h"}, 49, 4 * time.Minute, "<100", "<10m"},
		"less by far":               {routing.Backlog{Requests: ">=10000", Age: ">=24h"}, 3, time.Second, "<10", "<1m"},
		"less by far, and a little": {routing.Backlog{Requests: ">=10000", Age: ">=24h"}, 70, 40 * time.Second, "<1000", "<10m"},
		"a step that nobody knows":  {routing.Backlog{Requests: "<7", Age: "<7y"}, 3, time.Second, "<10", "<1m"},
		"a clock that goes back":    {routing.Backlog{}, 3, -time.Hour, "<10", "<1m"},
	} {
		if got := backlog(c.before, c.requests, c.age); got.Requests != c.want || got.Age != c.wantAge || got.Flow != "transfer" {
			t.Errorf("%s: %+v, want %s, %s", name, got, c.want, c.wantAge)
		}
	}
}

// TestBacklogIsCalm: whatever a count does between the half of a border and that border, the status is written once.
func TestBacklogIsCalm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		border := rapid.SampledFrom([]int{10, 100, 1000, 10_000}).Draw(t, "border")
		told := backlog(routing.Backlog{}, border, time.Minute)
		for _, n := range rapid.SliceOf(rapid.IntRange(border/2, 2*border)).Draw(t, "requests") {
			if told2 := backlog(told, n, time.Minute); told2 != told {
				t.Fatalf("%d requests: %+v after %+v", n, told2, told)
			}
		}
	})
}

func TestBacklogsTravel(t *testing.T) {
	list := []routing.Backlog{{"transfer", "<10", "<1m"}, {"order", ">=10000", ">=24h"}}
	if diff := cmp.Diff(list, routing.ParseBacklogs(routing.FormatBacklogs(list))); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{"", ",", "transfer", "transfer:<10", ":<10:<1m", "transfer:<11:<1m", "transfer:<10:<2m", "transfer:<10:<1m:x"} {
		if got := routing.ParseBacklogs(text); got != nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
	var all []routing.Backlog
	for range routing.MaxBacklogs {
		all = append(all, routing.Backlog{Flow: strings.Repeat("f", 63), Requests: ">=10000", Age: ">=24h"})
	}
	if n := len(routing.FormatBacklogs(all)); n > routing.MaxBacklog {
		t.Errorf("the backlogs of all flows take %d bytes", n)
	}
}

func TestMoreAndOlder(t *testing.T) {
	if got := routing.Larger("<100", "<10"); got != "<100" {
		t.Errorf("the larger is %s", got)
	}
	if got := routing.Larger("", "<10"); got != "<10" {
		t.Errorf("the larger is %s", got)
	}
	if got := routing.Older("<1h", ">=24h"); got != ">=24h" {
		t.Errorf("the older is %s", got)
	}
}
