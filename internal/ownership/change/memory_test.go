package change_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// attempts lets time go by and gives up what is begun, and returns when what was begun, by services.
func attempts(w *world, until time.Duration) []string {
	var out []string
	start := w.now
	for w.now < start+until {
		if txn, ok := decideAt(w); ok {
			if txn.View.Phase == ownership.PhaseClosing {
				out = append(out, fmt.Sprint(w.now-start, " ", len(txn.Services)))
			}
			w.apply(txn)
		}
		w.now += 10 * time.Second
	}
	return out
}

// What cannot be done is tried less and less often, so that slots are not closed for ever.
func TestAttemptsBecomeRare(t *testing.T) {
	cases := map[string]struct {
		w    *world
		want []string
	}{
		"a handback": {
			newWorld(returning("a")).ready("a").service("s", automatic),
			[]string{"0s 1", "30s 1", "1m30s 1", "3m30s 1", "7m30s 1", "15m30s 1", "31m30s 1", "47m30s 1"},
		},
		"another spec": {
			newWorld().service("s").proposed("s", func(i *ownership.ServiceIntent) { i.SpecHash = "i" }),
			[]string{"0s 1", "30s 1", "1m30s 1", "3m30s 1", "7m30s 1", "15m30s 1", "31m30s 1", "47m30s 1"},
		},
		"a service that was withheld": {
			newWorld(lost("c")).service("s", withheld(5)),
			[]string{"0s 1", "30s 1", "1m30s 1", "3m30s 1", "7m30s 1", "15m30s 1", "31m30s 1", "47m30s 1"},
		},
		"a region that is awaited": {
			newWorld(lost("c", awaits("b"))).service("s"),
			[]string{"0s 0", "30s 0", "1m30s 0", "3m30s 0", "7m30s 0", "15m30s 0", "31m30s 0", "47m30s 0"},
		},
		"serving again": {
			newWorld(returning("a", behind("b"))).ready("a").service("s", handedBack("a", 6)),
			[]string{"0s 0", "30s 0", "1m30s 0", "3m30s 0", "7m30s 0", "15m30s 0", "31m30s 0", "47m30s 0"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := attempts(c.w, time.Hour); !slices.Equal(got, c.want) {
				t.Errorf("attempts at %q, want %q", got, c.want)
			}
		})
	}
}

// One service that cannot catch up holds up no other for long: the batches shrink until it is alone.
func TestOneStuckServiceHoldsUpNoOther(t *testing.T) {
	w := newWorld(returning("a")).ready("a")
	for i := range 60 {
		w.service(fmt.Sprintf("s%02d", i), automatic)
	}
	for start := w.now; w.now < start+15*time.Minute; w.now += 5 * time.Second {
		if c := w.conf.View.Change; c != nil && !slices.Contains(c.Services, "s07") {
			w.fenced("b", "c").caughtUp("a")
		}
		if txn, ok := decideAt(w); ok {
			w.apply(txn)
		}
	}
	var away []string
	for uid, s := range w.conf.Services {
		if s.HandedBack["a"] != 6 {
			away = append(away, uid)
		}
	}
	if !slices.Equal(away, []string{"s07"}) {
		t.Errorf("not handed back: %v, want the one that is stuck", away)
	}
}
