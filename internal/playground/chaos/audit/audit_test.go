package audit_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/playground/chaos/acts"
	"multiactive.dev/operator/internal/playground/chaos/audit"
)

const (
	ann = "13900001000"
	bao = "13900001001"
)

// story tells a good day of two users in three regions, to be broken in one place.
type story struct {
	h   acts.History
	now time.Duration
}

// act adds one that took a tenth of a second, a second after the one before.
func (s *story) act(a acts.Act) {
	s.now += time.Second
	a.Call, a.Return = s.now, s.now+100*time.Millisecond
	if a.At == "" {
		a.At = "north"
	}
	s.h.Acts = append(s.h.Acts, a)
}

func goodDay() *story {
	s := &story{h: acts.History{Opening: 100, Objective: 5 * time.Minute, Tables: map[string]acts.Tables{}}}
	for _, phone := range []string{ann, bao} {
		s.act(acts.Act{Kind: acts.Register, Phone: phone, Status: 201, Account: "id-" + phone})
		s.act(acts.Act{Kind: acts.Register, Phone: phone, At: "south", Status: 409, Code: "phone-taken"})
		s.act(acts.Act{Kind: acts.Register, Phone: phone, At: "west", Status: 503, Code: "closing", Refused: true})
	}
	s.act(acts.Act{Kind: acts.Login, Phone: ann, Status: 200})
	s.act(acts.Act{Kind: acts.Save, Phone: ann, N: 1, Status: 200})
	s.act(acts.Act{Kind: acts.Look, Phone: ann, N: 1, Status: 200})
	s.act(acts.Act{Kind: acts.Save, Phone: ann, N: 2, Status: 0, Code: "no answer"})
	s.act(acts.Act{Kind: acts.Look, Phone: ann, N: 2, Status: 200})
	s.act(acts.Act{Kind: acts.Password, Phone: ann, N: 1, Status: 204})
	s.act(acts.Act{Kind: acts.Login, Phone: ann, At: "west", N: 0, Status: 200}) // the change has not arrived
	s.act(acts.Act{Kind: acts.Password, Phone: ann, N: 2, Status: 503, Code: "home-lost", Refused: true})
	s.act(acts.Act{Kind: acts.Login, Phone: ann, At: "west", N: 1, Status: 200})
	s.act(acts.Act{Kind: acts.Transfer, Phone: ann, Payee: bao, Amount: 60, Once: "t1", Status: 0, Code: "no answer"})
	s.act(acts.Act{Kind: acts.Transfer, Phone: ann, Payee: bao, Amount: 60, Once: "t1", At: "south", Status: 200, Booked: "b1"})
	s.act(acts.Act{Kind: acts.Transfer, Phone: ann, Payee: bao, Amount: 70, Once: "t2", Status: 422, Code: "insufficient-funds"})
	s.act(acts.Act{Kind: acts.Transfer, Phone: bao, Payee: ann, Amount: 5, Once: "t1", Status: 202, Deferred: "d1"})
	s.act(acts.Act{Kind: acts.Follow, Phone: bao, Deferred: "d1", Status: 200, State: "Executed"})
	s.act(acts.Act{Kind: acts.Balance, Phone: ann, Status: 200, Balance: 45})
	for _, region := range []string{"north", "south", "west"} {
		t := acts.Tables{
			Accounts:  []acts.Account{{Phone: ann, ID: "id-" + ann}, {Phone: bao, ID: "id-" + bao}},
			Profiles:  map[string]int{ann: 2},
			Passwords: map[string]int64{ann: 17},
			Entries: []acts.Entry{
				{ID: "o1", Phone: ann, Amount: 100}, {ID: "o2", Phone: bao, Amount: 100},
				{ID: "1d", Transfer: "b1", Phone: ann, Amount: -60}, {ID: "1c", Transfer: "b1", Phone: bao, Amount: 60},
				{ID: "2d", Transfer: "b2", Phone: bao, Amount: -5}, {ID: "2c", Transfer: "b2", Phone: ann, Amount: 5},
			},
		}
		if region == "north" {
			t.Bookings = []acts.Booking{{Payer: ann, Once: "t1", ID: "b1", Payee: bao, Amount: 60}, {Payer: bao, Once: "t1", ID: "b2", Payee: ann, Amount: 5}}
		}
		s.h.Tables[region] = t
	}
	return s
}

// in changes what a region has in the end.
func (s *story) in(region string, change func(*acts.Tables)) {
	t := s.h.Tables[region]
	t.Accounts, t.Entries = slices.Clone(t.Accounts), slices.Clone(t.Entries)
	change(&t)
	s.h.Tables[region] = t
}

// everywhere changes what all regions have.
func (s *story) everywhere(change func(*acts.Tables)) {
	for region := range s.h.Tables {
		s.in(region, change)
	}
}

// find is the act of a kind that is the nth of it.
func (s *story) find(kind acts.Kind, nth int) *acts.Act {
	for i := range s.h.Acts {
		if s.h.Acts[i].Kind == kind {
			if nth--; nth < 0 {
				return &s.h.Acts[i]
			}
		}
	}
	panic("there is no such act")
}

func TestGoodDay(t *testing.T) {
	v := audit.Judge(&goodDay().h)
	for _, one := range v.Violations {
		t.Error(one)
	}
	if v.Accounts != 2 || v.Logins != 3 || v.Edits != 2 || v.Transfers != 1 || v.Deferred != 1 || v.Oldest != 900*time.Millisecond {
		t.Errorf("it came to %+v", v)
	}
}

// TestWrongHistories holds that nothing of what must never be is taken for good, and that each is told of with what happened.
func TestWrongHistories(t *testing.T) {
	for name, c := range map[string]struct {
		wrong func(*story)
		want  string
	}{
		"two accounts for a number": {func(s *story) {
			s.in("west", func(t *acts.Tables) { t.Accounts = append(t.Accounts, acts.Account{Phone: ann, ID: "another"}) })
		}, "exists 2 times"},
		"two registrations acknowledged": {func(s *story) {
			*s.find(acts.Register, 1) = acts.Act{Kind: acts.Register, Phone: ann, At: "south", Status: 201, Account: "another", Call: 1, Return: 2}
		}, "two registrations were acknowledged"},
		"a registration lost": {func(s *story) {
			s.in("south", func(t *acts.Tables) { t.Accounts = t.Accounts[1:] })
		}, "south has \"\""},
		"a registration lost everywhere": {func(s *story) {
			s.everywhere(func(t *acts.Tables) { t.Accounts = t.Accounts[1:] })
		}, "is taken, and no region has its account"},
		"an edit lost": {func(s *story) {
			s.everywhere(func(t *acts.Tables) { t.Profiles = map[string]int{} })
		}, "edit 1 of its profile is the last that was acknowledged"},
		"an edit that nobody sent":          {func(s *story) { s.find(acts.Look, 1).N = 3 }, "which nobody had sent"},
		"an old profile that is not marked": {func(s *story) { s.find(acts.Look, 0).N = 0 }, "number 0 was seen, although number 1"},
		"an old profile for too long": {func(s *story) {
			l := s.find(acts.Look, 0)
			l.N, l.Stale, l.Call, l.Return = 0, true, l.Call+time.Hour, l.Return+time.Hour
		}, "number 0 was seen, although number 1"},
		"an old password for too long": {func(s *story) {
			s.act(acts.Act{Kind: acts.Login, Phone: ann, N: 0, Status: 200})
			last := &s.h.Acts[len(s.h.Acts)-1]
			last.Call, last.Return = last.Call+time.Hour, last.Return+time.Hour
		}, "number 0 was seen, although number 1"},
		"the password refused for too long": {func(s *story) {
			s.act(acts.Act{Kind: acts.Login, Phone: ann, N: 1, Status: 401, Code: "unknown-or-wrong"})
			last := &s.h.Acts[len(s.h.Acts)-1]
			last.Call, last.Return = last.Call+time.Hour, last.Return+time.Hour
		}, "number 1, which was the only one, was refused"},
		"a transfer booked twice": {func(s *story) {
			s.in("west", func(t *acts.Tables) {
				t.Bookings = []acts.Booking{{Payer: ann, Once: "t1", ID: "b3", Payee: bao, Amount: 60}}
			})
		}, "transfer t1 is booked 2 times"},
		"a transfer told as two": {func(s *story) {
			a := s.find(acts.Transfer, 0)
			a.Status, a.Booked = 201, "b3"
		}, "acknowledged as b3 and as b1"},
		"a transfer lost": {func(s *story) {
			s.everywhere(func(t *acts.Tables) { t.Entries = slices.Delete(t.Entries, 2, 4) })
		}, "does not have its two entries"},
		"half a transfer": {func(s *story) {
			s.in("south", func(t *acts.Tables) { t.Entries = slices.Delete(t.Entries, 3, 4) })
		}, "has 1 entries in south, whose sum is -60"},
		"a deferred transfer forgotten": {func(s *story) { s.find(acts.Follow, 0).State = "Pending" }, `was accepted for later by north, and is "Pending"`},
		"a deferred transfer carried out in words only": {func(s *story) {
			s.in("north", func(t *acts.Tables) { t.Bookings = t.Bookings[:1] })
		}, "no region has booked it"},
		"a negative balance": {func(s *story) {
			s.everywhere(func(t *acts.Tables) {
				t.Entries = append(t.Entries, acts.Entry{ID: "3d", Transfer: "b3", Phone: ann, Amount: -90}, acts.Entry{ID: "3c", Transfer: "b3", Phone: bao, Amount: 90})
			})
		}, "its balance in north is -45"},
		"money made": {func(s *story) {
			s.everywhere(func(t *acts.Tables) { t.Entries = append(t.Entries, acts.Entry{ID: "gift", Phone: bao, Amount: 1}) })
		}, "have 201 together, want 200"},
		"records that contradict":         {func(s *story) { s.in("west", func(t *acts.Tables) { t.Aside = 1 }) }, "west has kept 1 records aside"},
		"records that nobody was told of": {func(s *story) { s.in("west", func(t *acts.Tables) { t.Unsent = 2 }) }, "2 records that it has told nobody of"},
		"regions that differ": {func(s *story) {
			s.in("west", func(t *acts.Tables) { t.Passwords = map[string]int64{ann: 16} })
		}, "north and west have different data"},
	} {
		t.Run(name, func(t *testing.T) {
			s := goodDay()
			c.wrong(s)
			v := audit.Judge(&s.h)
			at := slices.IndexFunc(v.Violations, func(v audit.Violation) bool { return strings.Contains(v.String(), c.want) })
			if at < 0 {
				t.Fatalf("it is not told that %q, but: %v", c.want, v.Violations)
			}
			if v := v.Violations[at]; v.Phone != "" && !slices.ContainsFunc(v.History, func(line string) bool { return strings.Contains(line, "register") }) {
				t.Errorf("nobody is told what happened: %v", v.History)
			}
		})
	}
}

// TestAllowed holds that what may be is not taken for wrong.
func TestAllowed(t *testing.T) {
	for name, tell := range map[string]func(*story){
		"a login before the account has arrived": func(s *story) {
			s.h.Acts = append(s.h.Acts, acts.Act{Kind: acts.Login, Phone: bao, At: "west", Status: 401, Code: "unknown-or-wrong", Call: 20 * time.Second, Return: 21 * time.Second})
		},
		"a login while the password is being changed": func(s *story) {
			change := s.find(acts.Password, 0)
			s.h.Acts = append(s.h.Acts,
				acts.Act{Kind: acts.Login, Phone: ann, At: "west", N: 0, Status: 401, Code: "unknown-or-wrong", Call: change.Call, Return: change.Return},
				acts.Act{Kind: acts.Login, Phone: ann, At: "west", N: 1, Status: 200, Call: change.Call, Return: change.Return})
		},
		"a password of which nobody knows whether it was changed": func(s *story) {
			s.act(acts.Act{Kind: acts.Password, Phone: ann, N: 3, Status: 0, Code: "no answer"})
			s.act(acts.Act{Kind: acts.Login, Phone: ann, N: 1, Status: 401, Code: "unknown-or-wrong"})
			s.act(acts.Act{Kind: acts.Login, Phone: ann, N: 3, Status: 200})
		},
		"a credit that is still on its way to the new home": func(s *story) { s.find(acts.Balance, 0).Balance = -1 },
		"a profile that says that it is old": func(s *story) {
			l := s.find(acts.Look, 0)
			l.N, l.Stale = 0, true
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := goodDay()
			tell(s)
			for _, one := range audit.Judge(&s.h).Violations {
				t.Error(one)
			}
		})
	}
}
