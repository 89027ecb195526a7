package check_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/playground/chaos/check"
	"multiactive.dev/operator/internal/playground/chaos/history"
)

// story builds a history by hand: every write of one key takes a second, and the next begins after it.
type story struct {
	history.History
	at   time.Duration
	last map[string]history.Entry // by key
}

func newStory() *story { return &story{last: map[string]history.Entry{}} }

// entry is the next write to a key.
func (s *story) entry(key, region string, epoch int64) history.Entry {
	before := s.last[key]
	e := history.Entry{
		Key: key, ID: fmt.Sprintf("%s-%d", key, len(s.Ops)+1), Prev: before.ID, Seq: before.Seq + 1,
		Slot: int(key[0]), Epoch: epoch, Owner: region, Region: region, Strict: strings.HasPrefix(key, "s"),
	}
	s.last[key] = e
	return e
}

// write appends an acknowledged write.
func (s *story) write(key, region string, epoch int64) history.Entry {
	e := s.entry(key, region, epoch)
	s.happen(e, 200)
	return e
}

// happen notes an entry as a writer and the service see it; without a status the writer had no answer.
func (s *story) happen(e history.Entry, status int) {
	begin := s.at
	s.at += time.Second
	s.Ops = append(s.Ops, history.Op{Key: e.Key, ID: e.ID, Strict: e.Strict, Call: begin, Return: s.at, Status: status, Entry: e})
	s.note(e, history.Attempted, begin+100*time.Millisecond, begin+200*time.Millisecond)
	s.note(e, history.Accepted, begin+100*time.Millisecond, begin+900*time.Millisecond)
}

func (s *story) note(e history.Entry, what string, begin, end time.Duration) {
	s.Notes = append(s.Notes, history.Note{Entry: e, What: what, Begin: begin, End: end})
}

// forget makes the key what it was before a write, as a region does that has not received it.
func (s *story) forget(e history.Entry, before history.Entry) { s.last[e.Key] = before }

func TestJudge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tell func(*story)
		// want is part of a violation; empty: there must be none.
		want      string
		unshipped int
	}{
		"nothing": {tell: func(*story) {}},
		"a planned change": {tell: func(s *story) {
			s.write("k", "north", 1)
			s.write("k", "north", 1)
			s.write("k", "south", 2)
			s.write("k", "north", 3)
		}},
		"two owners in one epoch": {want: "epoch 1 has two owners", tell: func(s *story) {
			s.write("k", "north", 1)
			s.write("k", "south", 1)
		}},
		"two owners of keys that share a slot": {want: "began to accept", tell: func(s *story) {
			s.write("k1", "south", 2)
			s.write("k2", "north", 1)
		}},
		"an owner that has not stopped": {want: "began to accept", tell: func(s *story) {
			one := s.write("k1", "north", 1)
			s.Notes[1].End += time.Second // while south begins
			s.write("k2", "south", 2)
			_ = one
		}},
		"an epoch that comes back": {want: "began to accept", tell: func(s *story) {
			s.write("k", "north", 1)
			s.write("k", "south", 2)
			s.write("k", "north", 1)
		}},
		"an owner of its own epoch meets an older gateway": {tell: func(s *story) {
			s.write("k1", "north", 2)
			s.write("k2", "north", 1)
		}},
		"a region that writes for another": {want: "as the key of south", tell: func(s *story) {
			e := s.entry("k", "north", 1)
			e.Owner = "south"
			s.happen(e, 200)
		}},
		"lost in a planned change": {want: "is lost", tell: func(s *story) {
			first := s.write("k", "north", 1)
			second := s.write("k", "north", 1)
			s.forget(second, first)
			s.write("k", "south", 2)
		}},
		"lost with its region": {unshipped: 2, tell: func(s *story) {
			first := s.write("k", "north", 1)
			second := s.write("k", "north", 1)
			s.write("k", "north", 1)
			s.forget(second, first)
			s.Losses = []history.Loss{{Region: "north", Epoch: 2}}
			s.write("k", "south", 2)
		}},
		"lost with its region, first of its key": {unshipped: 1, tell: func(s *story) {
			first := s.write("k", "north", 1)
			s.forget(first, history.Entry{})
			s.Losses = []history.Loss{{Region: "north", Epoch: 2}}
			s.write("k", "south", 3)
		}},
		"lost, and another region was": {want: "is lost", tell: func(s *story) {
			first := s.write("k", "north", 1)
			second := s.write("k", "north", 1)
			s.forget(second, first)
			s.Losses = []history.Loss{{Region: "west", Epoch: 2}}
			s.write("k", "south", 2)
		}},
		"lost before its region was": {want: "is lost", tell: func(s *story) {
			first := s.write("k", "north", 1)
			second := s.write("k", "north", 1)
			s.forget(second, first)
			s.write("k", "south", 2)
			s.Losses = []history.Loss{{Region: "north", Epoch: 3}}
			s.write("k", "south", 3)
		}},
		"lost by nobody in particular": {want: "is lost", tell: func(s *story) {
			first := s.write("k", "north", 3)
			second := s.write("k", "north", 3)
			s.forget(second, first)
			s.Losses = []history.Loss{{Region: "north", Epoch: 2}}
			s.write("k", "north", 3)
		}},
		"strictly written, and lost with its region": {want: "is lost", tell: func(s *story) {
			first := s.write("strict", "north", 1)
			second := s.write("strict", "north", 1)
			s.forget(second, first)
			s.Losses = []history.Loss{{Region: "north", Epoch: 2}}
			s.write("strict", "south", 2)
		}},
		"no answer, and it happened": {tell: func(s *story) {
			s.write("k", "north", 1)
			s.happen(s.entry("k", "north", 1), 0)
			s.write("k", "north", 1)
		}},
		"no answer, and it did not happen": {tell: func(s *story) {
			first := s.write("k", "north", 1)
			second := s.entry("k", "north", 1)
			s.happen(second, 0)
			s.forget(second, first)
			s.write("k", "north", 1)
		}},
		"no answer, and it hides a lost one": {want: "is lost", tell: func(s *story) {
			first := s.write("k", "north", 1)
			second := s.write("k", "north", 1)
			s.forget(second, first)
			s.happen(s.entry("k", "south", 2), 0)
			s.write("k", "south", 2)
		}},
		"a write that comes before one which it follows": {want: "not linearizable", tell: func(s *story) {
			s.write("k", "north", 1)
			s.write("k", "north", 1)
			s.Ops[0].Call += time.Minute
			s.Ops[0].Return += time.Minute
		}},
		"a former owner that the service has to fence": {want: "only the service refused it", tell: func(s *story) {
			s.write("k", "north", 1)
			s.write("k", "south", 2)
			s.note(s.entry("k", "north", 1), history.Fenced, s.at, s.at)
		}},
		"an older gateway of the same owner that the service fences": {tell: func(s *story) {
			s.write("k", "south", 2)
			s.note(s.entry("k", "south", 1), history.Fenced, s.at, s.at)
		}},
		"unanswered, by a process that had stood still": {tell: func(s *story) {
			late := s.entry("k", "north", 1)
			s.write("other", "north", 1)
			s.last["k"] = history.Entry{}
			s.write("k", "south", 2)
			s.Stalls = []history.Stall{{Region: "north", From: 0, Until: s.at}}
			s.happen(late, 0)
		}},
		"answered, by a process that had stood still": {want: "began to accept", tell: func(s *story) {
			late := s.entry("k", "north", 1)
			s.last["k"] = history.Entry{}
			s.write("k", "south", 2)
			s.Stalls = []history.Stall{{Region: "north", From: 0, Until: s.at}}
			s.happen(late, 200)
		}},
		"unanswered, and nothing had stood still": {want: "began to accept", tell: func(s *story) {
			late := s.entry("k", "north", 1)
			s.last["k"] = history.Entry{}
			s.write("k", "south", 2)
			s.happen(late, 0)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory()
			c.tell(s)
			v := check.Judge(&s.History)
			found := strings.Join(v.Violations, "\n")
			if (c.want == "") != (found == "") || !strings.Contains(found, c.want) {
				t.Errorf("violations:\n%s\nwant one with %q", found, c.want)
			}
			if v.Unshipped != c.unshipped {
				t.Errorf("%d writes were unshipped, want %d", v.Unshipped, c.unshipped)
			}
		})
	}
}

// TestEveryBreakIsFound breaks long good histories in one place each.
func TestEveryBreakIsFound(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		s := newStory()
		regions, epoch := []string{"north", "south", "west"}, int64(1)
		for range 60 {
			if random.IntN(6) == 0 {
				epoch++
			}
			key := string(rune('a' + random.IntN(5)))
			s.write(key, regions[epoch%3], epoch)
		}
		if v := check.Judge(&s.History); len(v.Violations) > 0 {
			t.Fatalf("seed %d: a good history has violations: %v", seed, v.Violations)
		}
		what := s.tamper(random)
		if v := check.Judge(&s.History); len(v.Violations) == 0 {
			t.Errorf("seed %d: %s was not found", seed, what)
		}
	}
}

// tamper does to a history what must never happen.
func (s *story) tamper(random *rand.Rand) string {
	n := random.IntN(len(s.Ops) - 10)
	e := s.Ops[n].Entry
	switch random.IntN(3) {
	case 0: // the next write of the key has not seen this one
		for i := n + 1; i < len(s.Ops); i++ {
			if next := &s.Ops[i].Entry; next.Key == e.Key {
				next.Prev, next.Seq = e.Prev, e.Seq
				return "a lost write"
			}
		}
	case 1: // another region has accepted it
		for i := range s.Notes {
			if s.Notes[i].ID == e.ID {
				s.Notes[i].Region = "east"
			}
		}
		return "a region that writes for another"
	}
	// Somebody still accepts writes at the end who owned the slot of the last one before.
	late := s.Notes[len(s.Notes)-1]
	late.ID, late.Owner, late.Region, late.Epoch = "late", "east", "east", late.Epoch-1
	s.Notes = append(s.Notes, late)
	return "an owner that has not stopped"
}
