package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"multiactive.dev/operator/examples/user/internal/store"
	"multiactive.dev/operator/examples/user/internal/user"
)

func wantBalance(t *testing.T, s store.Store, phone string) int64 {
	t.Helper()
	n, err := s.Balance(t.Context(), phone)
	must(t, err)
	return n
}

func newTransfer(id, from, to string, amount int64) user.Transfer {
	return user.Transfer{ID: id, From: from, To: to, Amount: amount, IdempotencyKey: "key-" + id, CreatedAt: Now}
}

func transfer(t *testing.T, s store.Store) {
	a, b := create(t, s, "13800000200", 100), create(t, s, "13800000201", 0)
	first := newTransfer("t1", a.Phone, b.Phone, 60)
	got, err := s.Transfer(t.Context(), nil, first)
	must(t, err)
	if diff := cmp.Diff(first, got); diff != "" {
		t.Errorf("transfer (-want +got):\n%s", diff)
	}
	repeated := first
	repeated.ID = "t2"
	got, err = s.Transfer(t.Context(), nil, repeated)
	must(t, err)
	if diff := cmp.Diff(first, got); diff != "" {
		t.Errorf("repetition (-want +got):\n%s", diff)
	}
	if x, y := wantBalance(t, s, a.Phone), wantBalance(t, s, b.Phone); x != 40 || y != 60 {
		t.Errorf("balances are %d and %d, want 40 and 60", x, y)
	}
}

// transferElsewhere has a payer repeat at a new home what the former one has booked.
func transferElsewhere(t *testing.T, s store.Store) {
	a, b := create(t, s, "13800000220", 100), create(t, s, "13800000221", 0)
	first := newTransfer("t1", a.Phone, b.Phone, 60)
	for _, e := range first.Entries() {
		_, err := s.ApplyEntry(t.Context(), e)
		must(t, err)
	}
	repeated := first
	repeated.ID = "t2"
	got, err := s.Transfer(t.Context(), nil, repeated)
	must(t, err)
	if diff := cmp.Diff(first, got); diff != "" {
		t.Errorf("repetition (-want +got):\n%s", diff)
	}
	if x, y := wantBalance(t, s, a.Phone), wantBalance(t, s, b.Phone); x != 40 || y != 60 {
		t.Errorf("balances are %d and %d, want 40 and 60", x, y)
	}
	other := repeated
	other.Amount = 1
	_, err = s.Transfer(t.Context(), nil, other)
	wantErr(t, err, user.ErrIdempotencyReuse)
	another := newTransfer("t3", a.Phone, b.Phone, 50)
	_, err = s.Transfer(t.Context(), nil, another)
	wantErr(t, err, user.ErrInsufficientFunds)
}

func refused(t *testing.T, s store.Store) {
	a, b := create(t, s, "13800000210", 100), create(t, s, "13800000211", 0)
	_, err := s.Transfer(t.Context(), nil, newTransfer("t1", a.Phone, b.Phone, 30))
	must(t, err)
	reused := newTransfer("t3", a.Phone, b.Phone, 31)
	reused.IdempotencyKey = "key-t1"
	for name, tc := range map[string]struct {
		t    user.Transfer
		want error
	}{
		"more than there is":     {newTransfer("t2", a.Phone, b.Phone, 71), user.ErrInsufficientFunds},
		"reused idempotency key": {reused, user.ErrIdempotencyReuse},
		"unknown payee":          {newTransfer("t4", a.Phone, "13800000404", 1), user.ErrPayeeUnknown},
		"unknown payer":          {newTransfer("t5", "13800000404", b.Phone, 1), user.ErrNotFound},
	} {
		if _, err := s.Transfer(t.Context(), nil, tc.t); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
	if n := wantBalance(t, s, a.Phone); n != 70 {
		t.Errorf("balance is %d, want 70", n)
	}
}

// parallel runs fn n times at once and waits.
func parallel(n int, fn func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			fn(i)
		})
	}
	close(start)
	wg.Wait()
}

func parallelRegistrations(t *testing.T, s store.Store) {
	var created, taken atomic.Int64
	parallel(50, func(i int) {
		a := NewAccount("13800000300")
		a.ID = fmt.Sprint("id-", i)
		switch err := s.CreateAccount(t.Context(), nil, a, 10); {
		case err == nil:
			created.Add(1)
		case errors.Is(err, user.ErrPhoneTaken):
			taken.Add(1)
		default:
			t.Errorf("registration %d: %v", i, err)
		}
	})
	if created.Load() != 1 || taken.Load() != 49 {
		t.Errorf("%d created and %d refused, want 1 and 49", created.Load(), taken.Load())
	}
	if n := len(claim(t, s, "relay", Now)); n != 2 {
		t.Errorf("the outbox has %d messages, want one account and one entry", n)
	}
}

// parallelTransfers lets two users pay each other more than they have.
func parallelTransfers(t *testing.T, s store.Store) {
	a, b := create(t, s, "13800000310", 100), create(t, s, "13800000311", 100)
	parallel(40, func(i int) {
		from, to := a.Phone, b.Phone
		if i%2 == 0 {
			from, to = to, from
		}
		_, err := s.Transfer(t.Context(), nil, newTransfer(fmt.Sprint("p", i), from, to, 30))
		if err != nil && !errors.Is(err, user.ErrInsufficientFunds) {
			t.Errorf("transfer %d: %v", i, err)
		}
	})
	x, y := wantBalance(t, s, a.Phone), wantBalance(t, s, b.Phone)
	if x+y != 200 || x < 0 || y < 0 {
		t.Errorf("balances are %d and %d: want a sum of 200 and none negative", x, y)
	}
}

// conservation compares random transfers, repetitions among them, with a model.
func conservation(t *testing.T, s store.Store) {
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		model := map[string]int64{}
		var phones []string
		for i := range 3 {
			phone := fmt.Sprintf("139%04d%04d", round, i)
			opening := rapid.Int64Range(0, 50).Draw(rt, "opening")
			create(t, s, phone, opening)
			phones = append(phones, phone)
			model[phone] = opening
		}
		booked := map[string]bool{}
		for range rapid.IntRange(1, 8).Draw(rt, "transfers") {
			from := rapid.IntRange(0, 2).Draw(rt, "from")
			to := (from + rapid.IntRange(1, 2).Draw(rt, "step")) % 3
			amount := rapid.Int64Range(1, 40).Draw(rt, "amount")
			tr := newTransfer(fmt.Sprintf("%d-%d-%d-%d", round, from, to, amount), phones[from], phones[to], amount)
			_, err := s.Transfer(t.Context(), nil, tr)
			switch {
			case booked[tr.ID]:
				if err != nil {
					rt.Fatalf("repetition of %s: %v", tr.ID, err)
				}
			case model[tr.From] < amount:
				if !errors.Is(err, user.ErrInsufficientFunds) {
					rt.Fatalf("transfer of %d from a balance of %d: got %v", amount, model[tr.From], err)
				}
			case err != nil:
				rt.Fatalf("transfer of %d from a balance of %d: %v", amount, model[tr.From], err)
			default:
				booked[tr.ID] = true
				model[tr.From] -= amount
				model[tr.To] += amount
			}
		}
		for phone, want := range model {
			if got := wantBalance(t, s, phone); got != want {
				rt.Fatalf("balance of %s is %d, the model has %d", phone, got, want)
			}
		}
	})
}
