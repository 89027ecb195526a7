// Package storetest is the contract that every store must keep: the same
// tests run against MariaDB, Redis and the embedded store. It must never know
// which of them it tests.
package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/examples/user/internal/store"
	"multiactive.dev/operator/examples/user/internal/user"
)

// Now is the time at which the tests write.
var Now = time.Date(2026, 5, 1, 9, 30, 0, 123456000, time.UTC)

// NewAccount returns an account for the phone number.
func NewAccount(phone string) user.Account {
	return user.Account{ID: "id-" + phone, Phone: phone, Name: "王芳", Verifier: "verifier-" + phone, CreatedAt: Now}
}

// Run holds a store to the contract. open returns an empty store without a
// fence, closed by the caller's cleanup.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	tests := map[string]func(*testing.T, store.Store){
		"account is created once":       createOnce,
		"password changes":              changePassword,
		"profile changes":               saveProfile,
		"changes arrive in any order":   changesArrive,
		"unknown account":               unknown,
		"outbox":                        outbox,
		"outbox belongs to one claimer": claims,
		"replica":                       replica,
		"records kept aside":            rejects,
		"transfer":                      transfer,
		"transfers are refused":         refused,
		"transfer of another region":    transferElsewhere,
		"parallel registrations":        parallelRegistrations,
		"parallel transfers":            parallelTransfers,
		"money is conserved":            conservation,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("got error %v, want %v", got, want)
	}
}

func create(t *testing.T, s store.Store, phone string, opening int64) user.Account {
	t.Helper()
	a := NewAccount(phone)
	must(t, s.CreateAccount(t.Context(), nil, a, opening))
	return a
}

func createOnce(t *testing.T, s store.Store) {
	a := create(t, s, "13800000001", 0)
	again := a
	again.ID, again.Name = "another", "another"
	wantErr(t, s.CreateAccount(t.Context(), nil, again, 100), user.ErrPhoneTaken)
	got, err := s.Account(t.Context(), a.Phone)
	must(t, err)
	if diff := cmp.Diff(a, got); diff != "" {
		t.Errorf("account (-want +got):\n%s", diff)
	}
	if n := wantBalance(t, s, a.Phone); n != 0 {
		t.Errorf("the refused registration left a balance of %d", n)
	}
	if n := len(claim(t, s, "relay", Now)); n != 1 {
		t.Errorf("the outbox has %d messages, want the first registration's only", n)
	}
}

func changePassword(t *testing.T, s store.Store) {
	a := create(t, s, "13800000002", 0)
	for _, verifier := range []string{"second", "third"} {
		must(t, s.ChangePassword(t.Context(), nil, a.Phone, verifier, Now))
		got, err := s.Account(t.Context(), a.Phone)
		must(t, err)
		if got.Verifier != verifier {
			t.Errorf("verifier is %q, want %q", got.Verifier, verifier)
		}
	}
}

func saveProfile(t *testing.T, s store.Store) {
	a := create(t, s, "13800000003", 0)
	got, err := s.Profile(t.Context(), a.Phone)
	must(t, err)
	if diff := cmp.Diff(user.Profile{Phone: a.Phone, Name: a.Name}, got); diff != "" {
		t.Errorf("profile of a new account (-want +got):\n%s", diff)
	}
	for _, about := range []string{"tea", "更喜欢咖啡"} {
		want := user.Profile{Phone: a.Phone, Name: "Wang Fang", About: about}
		must(t, s.SaveProfile(t.Context(), nil, want, Now))
		got, err := s.Profile(t.Context(), a.Phone)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("profile (-want +got):\n%s", diff)
		}
	}
}

// changesArrive holds that the newest change stands, in whichever order they come, and that one made here is newer than what has come
// although the clock says otherwise.
func changesArrive(t *testing.T, s store.Store) {
	a := create(t, s, "13800000004", 0)
	password := func(verifier string, after time.Duration) user.Change {
		return user.Change{Phone: a.Phone, Verifier: verifier, At: Now.Add(after)}
	}
	profile := func(about string, after time.Duration) user.Change {
		return user.Change{Phone: a.Phone, Name: "Wang Fang", About: about, At: Now.Add(after)}
	}
	for _, tc := range []struct {
		c    user.Change
		want store.Applied
	}{
		{password("second", 2*time.Hour), store.Inserted}, {password("first", time.Hour), store.Known}, {password("second", 2*time.Hour), store.Known},
		{profile("tea", time.Hour), store.Inserted}, {profile("coffee", time.Hour+time.Microsecond), store.Inserted}, {profile("tea", time.Hour), store.Known},
		{user.Change{Phone: "13800000005", Verifier: "before its account", At: Now}, store.Inserted},
	} {
		got, err := s.ApplyChange(t.Context(), tc.c)
		must(t, err)
		if got != tc.want {
			t.Errorf("applying %+v: %s, want %s", tc.c, got, tc.want)
		}
	}
	must(t, s.ChangePassword(t.Context(), nil, a.Phone, "third", Now))
	messages := claim(t, s, "relay", Now)
	var sent user.Change
	must(t, json.Unmarshal(messages[len(messages)-1].Value, &sent))
	if diff := cmp.Diff(password("third", 2*time.Hour+time.Microsecond), sent); diff != "" {
		t.Errorf("what is told to others (-want +got):\n%s", diff)
	}
	p, err := s.Profile(t.Context(), a.Phone)
	must(t, err)
	if p.About != "coffee" {
		t.Errorf("the profile is %q, want coffee", p.About)
	}
	wantVerifier(t, s, a.Phone, "third")
	create(t, s, "13800000005", 0)
	wantVerifier(t, s, "13800000005", "before its account")
}

func wantVerifier(t *testing.T, s store.Store, phone, want string) {
	t.Helper()
	got, err := s.Account(t.Context(), phone)
	must(t, err)
	if got.Verifier != want {
		t.Errorf("the verifier of %s is %q, want %q", phone, got.Verifier, want)
	}
}

func unknown(t *testing.T, s store.Store) {
	const phone = "13800000404"
	_, err := s.Account(t.Context(), phone)
	wantErr(t, err, user.ErrNotFound)
	_, err = s.Profile(t.Context(), phone)
	wantErr(t, err, user.ErrNotFound)
	_, err = s.Balance(t.Context(), phone)
	wantErr(t, err, user.ErrNotFound)
	wantErr(t, s.ChangePassword(t.Context(), nil, phone, "v", Now), user.ErrNotFound)
	wantErr(t, s.SaveProfile(t.Context(), nil, user.Profile{Phone: phone, Name: "n"}, Now), user.ErrNotFound)
	must(t, s.Ping(t.Context()))
}

func claim(t *testing.T, s store.Store, claimer string, now time.Time) []store.Message {
	t.Helper()
	got, err := s.Claim(t.Context(), claimer, now, now.Add(time.Minute), 100)
	must(t, err)
	return got
}

func outbox(t *testing.T, s store.Store) {
	for i := range 3 {
		create(t, s, fmt.Sprintf("1380000010%d", i), 500)
	}
	got := claim(t, s, "relay", Now)
	var kinds []string
	for _, m := range got {
		kinds = append(kinds, string(m.Kind)+" "+m.Key)
	}
	want := []string{
		"account 13800000100", "ledger 13800000100", "account 13800000101",
		"ledger 13800000101", "account 13800000102", "ledger 13800000102",
	}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	must(t, s.Done(t.Context(), []int64{got[0].Seq, got[1].Seq}))
	if diff := cmp.Diff(got[2:], claim(t, s, "relay", Now)); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
}

func claims(t *testing.T, s store.Store) {
	create(t, s, "13800000110", 0)
	first := claim(t, s, "one", Now)
	if len(first) != 1 {
		t.Fatalf("claimed %d messages, want 1", len(first))
	}
	if got := claim(t, s, "two", Now.Add(time.Second)); len(got) != 0 {
		t.Errorf("the second relay got %d messages that the first has claimed", len(got))
	}
	if diff := cmp.Diff(first, claim(t, s, "two", Now.Add(2*time.Minute))); diff != "" {
		t.Errorf("after the claim's end (-want +got):\n%s", diff)
	}
}

func replica(t *testing.T, s store.Store) {
	mine := create(t, s, "13800000120", 0)
	other := NewAccount("13800000121")
	rival := mine
	rival.ID = "made elsewhere"
	for _, tc := range []struct {
		a    user.Account
		want store.Applied
	}{{mine, store.Known}, {other, store.Inserted}, {other, store.Known}, {rival, store.Conflict}} {
		got, err := s.ApplyAccount(t.Context(), tc.a)
		must(t, err)
		if got != tc.want {
			t.Errorf("applying %s: %s, want %s", tc.a.ID, got, tc.want)
		}
	}
	kept, err := s.Account(t.Context(), mine.Phone)
	must(t, err)
	if kept.ID != mine.ID {
		t.Errorf("the conflicting record replaced the account")
	}
	if n := len(claim(t, s, "relay", Now)); n != 1 {
		t.Errorf("the outbox has %d messages: records from elsewhere must not be sent on", n)
	}

	e := user.OpeningEntry(other, 300)
	forged := e
	forged.Amount = 900
	for _, tc := range []struct {
		e    user.Entry
		want store.Applied
	}{{e, store.Inserted}, {e, store.Known}, {forged, store.Conflict}} {
		got, err := s.ApplyEntry(t.Context(), tc.e)
		must(t, err)
		if got != tc.want {
			t.Errorf("applying entry of %d: %s, want %s", tc.e.Amount, got, tc.want)
		}
	}
	if n := wantBalance(t, s, other.Phone); n != 300 {
		t.Errorf("balance is %d, want 300", n)
	}
}

func rejects(t *testing.T, s store.Store) {
	r := store.Rejected{Topic: "accounts.account", Partition: 3, Offset: 7, Reason: "conflict", Value: []byte{0, 'x'}}
	later := r
	later.Offset = 8
	for _, one := range []store.Rejected{later, r, r} {
		must(t, s.Reject(t.Context(), one))
	}
	got, err := s.Rejects(t.Context(), 10)
	must(t, err)
	if diff := cmp.Diff([]store.Rejected{r, later}, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}
