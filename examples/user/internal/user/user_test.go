package user_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"multiactive.dev/operator/examples/user/internal/user"
)

func TestNormalizePhone(t *testing.T) {
	tests := map[string]struct {
		in, want string
		ok       bool
	}{
		"plain":          {"13800000001", "13800000001", true},
		"international":  {"+8613800000001", "+8613800000001", true},
		"spaces around":  {" 13800000001\t", "13800000001", true},
		"spaces within":  {"138 0000 0001", "", false},
		"letters":        {"call-me", "", false},
		"full-width":     {"１３８００００００００１", "", false},
		"too short":      {"1234", "", false},
		"too long":       {strings.Repeat("1", 21), "", false},
		"line break":     {"13800000001\n13800000002", "", false},
		"empty":          {"", "", false},
		"plus at end":    {"13800000001+", "", false},
		"trailing break": {"13800000001\n", "13800000001", true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := user.NormalizePhone(tc.in)
			if got != tc.want || (err == nil) != tc.ok {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestRecordsAreChecked(t *testing.T) {
	now := time.Date(2026, 5, 1, 9, 30, 0, 0, time.UTC)
	a := user.Account{ID: "a", Phone: "13800000001", Name: "n", Verifier: "v", CreatedAt: now}
	e := user.OpeningEntry(a, 5)
	without := func(change func(*user.Account)) error {
		b := a
		change(&b)
		return b.Check()
	}
	entryWithout := func(change func(*user.Entry)) error {
		b := e
		change(&b)
		return b.Check()
	}
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"whole account": {a.Check(), ""},
		"no id":         {without(func(a *user.Account) { a.ID = "" }), "id is empty"},
		"no verifier":   {without(func(a *user.Account) { a.Verifier = "" }), "verifier is empty"},
		"no time":       {without(func(a *user.Account) { a.CreatedAt = time.Time{} }), "createdAt is empty"},
		"no phone":      {without(func(a *user.Account) { a.Phone = "" }), "phone must be"},
		"whole entry":   {e.Check(), ""},
		"no entry id":   {entryWithout(func(e *user.Entry) { e.ID = "" }), "id is empty"},
		"no amount":     {entryWithout(func(e *user.Entry) { e.Amount = 0 }), "amount is zero"},
		"no entry time": {entryWithout(func(e *user.Entry) { e.CreatedAt = time.Time{} }), "createdAt is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.want == "" && tc.err != nil || tc.want != "" && (tc.err == nil || !strings.Contains(tc.err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", tc.err, tc.want)
			}
		})
	}
}

// TestTransferEntries: whatever the transfer, its entries sum to zero and
// belong to payer and payee.
func TestTransferEntries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr := user.Transfer{
			ID: rapid.StringMatching(`[a-z0-9]{1,20}`).Draw(t, "id"), From: "13800000001", To: "13800000002",
			Amount: rapid.Int64Range(1, user.MaxAmount).Draw(t, "amount"), IdempotencyKey: "k",
		}
		if err := tr.Check(); err != nil {
			t.Fatal(err)
		}
		e := tr.Entries()
		if e[0].Amount+e[1].Amount != 0 || e[0].Phone != tr.From || e[1].Phone != tr.To || e[0].ID == e[1].ID || e[1].Amount != tr.Amount {
			t.Fatalf("entries are %+v", e)
		}
	})
}

func TestCheckIdempotencyKey(t *testing.T) {
	for key, ok := range map[string]bool{
		"a": true, "A-1_~": true, strings.Repeat("k", 128): true,
		"": false, "a b": false, "é": false, "a\n": false, strings.Repeat("k", 129): false,
	} {
		if err := user.CheckIdempotencyKey(key); (err == nil) != ok {
			t.Errorf("key %q: %v", key, err)
		}
	}
}
