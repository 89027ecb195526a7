package deferred

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

const hour = time.Hour

func accepted(id, key string, at time.Time) Event {
	return Event{Kind: Accepted, ID: id, At: at, Request: &Request{Flow: "transfer", Key: key, Method: "POST", URI: "/v1/transfers", Digest: "d-" + id, ExpiresAt: at.Add(hour)}}
}

func about(kind Kind, id string, of int64) Event {
	return Event{Kind: kind, ID: id, Of: of, At: noon.Add(time.Minute)}
}

// play applies events to partition 0, each at the next offset.
func play(events ...Event) *Ledger {
	l := NewLedger()
	for i, ev := range events {
		l.Apply(Position{0, int64(i)}, ev)
	}
	return l
}

func everywhere(int32) bool { return true }

func TestOutcome(t *testing.T) {
	executed := Event{Kind: Executed, ID: "a", At: noon.Add(time.Minute), Status: 201}
	expired := about(Expired, "a", 0)
	unknown := expired
	unknown.Unknown = true
	late := func(kind Kind) Event { e := about(kind, "a", 7); return e }
	tests := map[string]struct {
		then    []Event
		state   State
		begun   bool
		unknown bool
	}{
		"accepted":                            {nil, StatePending, false, false},
		"begun":                               {[]Event{about(Begun, "a", 0)}, StatePending, true, false},
		"unsent":                              {[]Event{about(Begun, "a", 0), about(Unsent, "a", 0)}, StatePending, false, false},
		"one of two attempts is unsent":       {[]Event{about(Begun, "a", 0), about(Begun, "a", 0), about(Unsent, "a", 0)}, StatePending, true, false},
		"executed":                            {[]Event{about(Begun, "a", 0), executed}, StateExecuted, true, false},
		"the first outcome counts":            {[]Event{executed, about(Refused, "a", 0)}, StateExecuted, false, false},
		"expired":                             {[]Event{expired}, StateExpired, false, false},
		"begun: not as if nothing had been":   {[]Event{about(Begun, "a", 0), expired}, StatePending, true, false},
		"begun: expired, and nobody knows":    {[]Event{about(Begun, "a", 0), unknown}, StateExpired, true, true},
		"begun too late":                      {[]Event{expired, about(Begun, "a", 0), executed}, StateExpired, true, false},
		"accepted twice":                      {[]Event{accepted("a", "k", noon)}, StatePending, false, false},
		"accepted again after the outcome":    {[]Event{executed, accepted("a", "k", noon.Add(2*time.Minute))}, StateExecuted, false, false},
		"another one when it is not kept":     {[]Event{executed, accepted("a", "k", noon.Add(2*hour))}, StatePending, false, false},
		"an event of an earlier one":          {[]Event{executed, accepted("a", "k", noon.Add(2*hour)), about(Refused, "a", 0)}, StatePending, false, false},
		"an event of what was never accepted": {[]Event{late(Executed)}, StatePending, false, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := play(append([]Event{accepted("a", "k", noon)}, tt.then...)...)
			e, ok := l.Get("a")
			if !ok || e.State != tt.state || e.Begun() != tt.begun || e.Unknown != tt.unknown {
				t.Errorf("got %+v, begun %t; want %+v", e, e.Begun(), tt)
			}
		})
	}
}

func TestOrderOfAKey(t *testing.T) {
	l := play(accepted("a", "k", noon), accepted("b", "k", noon), accepted("c", "other", noon), accepted("d", "k", noon))
	wantHeads(t, l, "a", "c")
	l.Apply(Position{0, 4}, about(Executed, "b", 1)) // as expired ones may
	wantHeads(t, l, "a", "c")
	l.Apply(Position{0, 5}, about(Refused, "a", 0))
	wantHeads(t, l, "c", "d")
	for e := range l.Heads(func(p int32) bool { return p == 1 }) {
		t.Errorf("the head of a partition that is not held: %v", e)
	}
}

func wantHeads(t *testing.T, l *Ledger, want ...string) {
	t.Helper()
	var got []string
	for e := range l.Heads(everywhere) {
		got = append(got, e.ID)
	}
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("heads (-want +got):\n%s", d)
	}
}

func TestTimes(t *testing.T) {
	l := play(accepted("a", "k", noon), accepted("b", "k", noon.Add(time.Minute)))
	if due := slices.Collect(l.Overdue(noon.Add(hour), everywhere)); len(due) != 1 || due[0].ID != "a" {
		t.Errorf("overdue: %+v, want a", due)
	}
	l.Apply(Position{0, 2}, Event{Kind: Expired, ID: "a", Of: 0, At: noon.Add(hour), Why: "nobody"})
	if untold := slices.Collect(l.Untold(everywhere)); len(untold) != 1 || untold[0].Why != "nobody" {
		t.Errorf("to be told: %+v, want a", untold)
	}
	l.Apply(Position{0, 3}, about(Notified, "a", 0))
	if untold := slices.Collect(l.Untold(everywhere)); len(untold) > 0 {
		t.Errorf("told already: %+v", untold)
	}
	l.Sweep(noon.Add(2 * hour))
	if _, kept := l.Get("a"); !kept {
		t.Error("forgotten before its time")
	}
	l.Sweep(noon.Add(9 * hour))
	if _, kept := l.Get("a"); kept {
		t.Error("kept after its time")
	}
	if _, kept := l.Get("b"); !kept {
		t.Error("a pending request was forgotten")
	}
}

func TestRoom(t *testing.T) {
	l := play(accepted("a", "k", noon), accepted("b", "k", noon), accepted("c", "", noon), about(Executed, "b", 1))
	size := accepted("x", "k", noon).Request.Size()
	tests := map[string]struct {
		key    string
		limits Limits
		more   int
		room   bool
	}{
		"room":               {"k", Limits{Requests: 4, Bytes: 4 * size, PerKey: 2}, 0, true},
		"too many":           {"k", Limits{Requests: 3, Bytes: 4 * size, PerKey: 2}, 0, false},
		"too many promised":  {"k", Limits{Requests: 4, Bytes: 4 * size, PerKey: 2}, 1, false},
		"too large":          {"k", Limits{Requests: 4, Bytes: 2 * size, PerKey: 2}, 0, false},
		"too many of a key":  {"k", Limits{Requests: 4, Bytes: 4 * size, PerKey: 1}, 0, false},
		"another key":        {"o", Limits{Requests: 4, Bytes: 4 * size, PerKey: 1}, 0, true},
		"keyless are no key": {"", Limits{Requests: 4, Bytes: 4 * size, PerKey: 1}, 0, true},
	}
	for name, tt := range tests {
		why := l.Room(accepted("x", tt.key, noon).Request, tt.limits, tt.more, 0)
		if (why == "") != tt.room {
			t.Errorf("%s: %q, want room %t", name, why, tt.room)
		}
	}
	if pending, kept, bytes := l.Count(); pending != 2 || kept != 1 || bytes < size {
		t.Errorf("counted %d pending, %d kept, %d bytes", pending, kept, bytes)
	}
}

func TestEncoding(t *testing.T) {
	for _, ev := range []Event{accepted("a", "k", noon), about(Begun, "a", 3), {Kind: Expired, ID: "a", At: noon, Why: "没有", Unknown: true}} {
		content, err := Encode(ev)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(content)
		if err != nil {
			t.Fatalf("%s: %v", content, err)
		}
		if d := cmp.Diff(ev, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
	for name, text := range map[string]string{
		"no JSON": `{"secret`, "another version": `{"v":2,"kind":"Begun","id":"secret"}`, "another kind": `{"v":1,"kind":"Dreamt","id":"secret"}`,
		"no request": `{"v":1,"kind":"Accepted","id":"secret"}`, "no id": `{"v":1,"kind":"Begun"}`, "empty": ``,
	} {
		if _, err := Decode([]byte(text)); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error is %v; want one without the content", name, err)
		}
	}
}

// Whatever gateways write, in whatever order and however often they try: the first outcome stands, the
// order of a key is that of the log, nothing pending is lost, and reading from the beginning, or some of
// it twice, gives the same books.
func TestLedgerProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		live, firsts := NewLedger(), map[string]State{}
		var log []Event
		acceptedAt := map[string]int64{}
		for i := range rapid.IntRange(1, 60).Draw(t, "events") {
			id := fmt.Sprint("r", rapid.IntRange(0, 5).Draw(t, "id"))
			kind := rapid.SampledFrom([]Kind{Accepted, Begun, Unsent, Executed, Refused, Expired, Notified}).Draw(t, "kind")
			ev := Event{Kind: kind, ID: id, Of: acceptedAt[id], At: noon.Add(time.Duration(i) * time.Second), Unknown: rapid.Bool().Draw(t, "unknown")}
			if kind == Accepted {
				ev = accepted(id, fmt.Sprint("k", id[1]%2), ev.At)
				if _, known := acceptedAt[id]; !known {
					acceptedAt[id] = int64(i)
				}
			}
			at := Position{0, int64(i)}
			live.Apply(at, ev)
			log = append(log, ev)
			if e, ok := live.Get(id); ok && e.State != StatePending {
				if first, known := firsts[id]; known && first != e.State {
					t.Fatalf("%s was %s and is %s", id, first, e.State)
				}
				firsts[id] = e.State
			}
			live.Apply(at, accepted("again", "k", noon)) // read twice
		}
		again := play(log...)
		all := cmp.Options{cmp.AllowUnexported(Ledger{}, Entry{}, lane{}), cmpopts.EquateEmpty()}
		if d := cmp.Diff(again, live, all); d != "" {
			t.Fatalf("read again (-want +got):\n%s", d)
		}
		seen := map[string]bool{}
		for in, queue := range live.lanes {
			for i, e := range queue {
				seen[e.ID] = true
				if e.State != StatePending || e.Request.Key != in.key || i > 0 && e.Position.Offset < queue[i-1].Position.Offset {
					t.Fatalf("queue %v: %+v at %d", in, e, i)
				}
			}
		}
		for id := range acceptedAt {
			if e, ok := live.Get(id); !ok || (e.State == StatePending) != seen[id] {
				t.Fatalf("%s is %+v, queued %t", id, e, seen[id])
			}
		}
	})
}
