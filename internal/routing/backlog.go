package routing

import (
	"slices"
	"strings"
	"time"
)

const (
	// MaxBacklogs is how many flows are told of: as many as a service has at most. Requests of flows that it has no more
	// may wait besides.
	MaxBacklogs = 64
	// MaxBacklog bounds the parameter deferred, in bytes; flows' names have 63.
	MaxBacklog = 8 << 10
)

// Waiting is how many requests of a flow wait to be carried out.
type Waiting struct {
	Requests int
	// Oldest is when the first of them was accepted.
	Oldest time.Time
	// Expiry is when the first of them is given up.
	Expiry time.Time
}

// Backlog is what statuses tell of the requests of a flow that wait to be carried out: in coarse steps, so that no
// status is written for every request.
type Backlog struct {
	Flow string
	// Requests and Age, of the oldest, are names of steps, such as <100 and <10m.
	Requests, Age string
}

type step struct {
	// below is the least that is too much.
	below float64
	name  string
}

var (
	requestSteps = []step{{10, "<10"}, {100, "<100"}, {1000, "<1000"}, {10_000, "<10000"}, {0, ">=10000"}}
	ageSteps     = []step{
		{time.Minute.Seconds(), "<1m"}, {10 * time.Minute.Seconds(), "<10m"}, {time.Hour.Seconds(), "<1h"},
		{6 * time.Hour.Seconds(), "<6h"}, {24 * time.Hour.Seconds(), "<24h"}, {0, ">=24h"},
	}
)

// stepOf returns a value's step. What was in a higher one before leaves that only below half of the border between
// them, so that a value that sways around it writes nothing.
func stepOf(steps []step, before string, value float64) string {
	now := slices.IndexFunc(steps, func(s step) bool { return value < s.below || s.below == 0 })
	for i := rank(steps, before); i > now; i-- {
		if value >= steps[i-1].below/2 {
			return steps[i].name
		}
	}
	return steps[now].name
}

func rank(steps []step, name string) int {
	return slices.IndexFunc(steps, func(s step) bool { return s.name == name })
}

// BacklogOf returns the backlog of a flow, of which before was told last.
func BacklogOf(flow string, before Backlog, w Waiting, now time.Time) Backlog {
	return Backlog{
		Flow:     flow,
		Requests: stepOf(requestSteps, before.Requests, float64(w.Requests)),
		Age:      stepOf(ageSteps, before.Age, now.Sub(w.Oldest).Seconds()),
	}
}

// Larger returns the larger of two steps of Backlog.Requests.
func Larger(a, b string) string { return higher(requestSteps, a, b) }

// Older returns the larger of two steps of Backlog.Age.
func Older(a, b string) string { return higher(ageSteps, a, b) }

func higher(steps []step, a, b string) string {
	if rank(steps, b) > rank(steps, a) {
		return b
	}
	return a
}

// FormatBacklogs writes backlogs as the parameter deferred.
func FormatBacklogs(list []Backlog) string {
	parts := make([]string, len(list))
	for i, b := range list {
		parts[i] = b.Flow + ":" + b.Requests + ":" + b.Age
	}
	return strings.Join(parts, ",")
}

// ParseBacklogs reads the parameter deferred. What is no backlog, or has steps of another version, is left out.
func ParseBacklogs(text string) []Backlog {
	var list []Backlog
	for part := range strings.SplitSeq(text, ",") {
		fields := strings.Split(part, ":")
		if len(fields) != 3 || fields[0] == "" || rank(requestSteps, fields[1]) < 0 || rank(ageSteps, fields[2]) < 0 {
			continue
		}
		list = append(list, Backlog{Flow: fields[0], Requests: fields[1], Age: fields[2]})
	}
	return list
}
