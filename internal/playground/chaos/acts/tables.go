package acts

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
)

// maxLine bounds one row of an export.
const maxLine = 1 << 20

// row has the columns that are looked at, of every table.
type row struct {
	Phone     string `json:"phone"`
	ID        string `json:"id"`
	About     string `json:"about"`
	ChangedAt int64  `json:"changed_at"`
	Transfer  string `json:"transfer_id"`
	Amount    int64  `json:"amount"`
	Payer     string `json:"payer"`
	Payee     string `json:"payee"`
	Once      string `json:"idempotency_key"`
}

// ReadTables reads what `user export` prints: what is of some phone numbers, and all that is unsent or kept aside.
func ReadTables(r io.Reader, of map[string]bool) (Tables, error) {
	t := Tables{Profiles: map[string]int{}, Passwords: map[string]int64{}}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var line struct {
			Table string
			Row   row
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return Tables{}, fmt.Errorf("reading an export: %w", err)
		}
		if err := t.add(line.Table, line.Row, of); err != nil {
			return Tables{}, fmt.Errorf("reading an export: %w", err)
		}
	}
	return t, lines.Err()
}

func (t *Tables) add(table string, r row, of map[string]bool) (err error) {
	switch table {
	case "outbox":
		t.Unsent++
		return nil
	case "quarantine":
		t.Aside++
		return nil
	}
	if !of[r.Phone] && !of[r.Payer] {
		return nil
	}
	switch table {
	case "account":
		t.Accounts = append(t.Accounts, Account{Phone: r.Phone, ID: r.ID})
	case "profile":
		if t.Profiles[r.Phone], err = strconv.Atoi(r.About); err != nil {
			return fmt.Errorf("the profile of %s is %q, which nobody has written", r.Phone, r.About)
		}
	case "password":
		t.Passwords[r.Phone] = r.ChangedAt
	case "entry":
		t.Entries = append(t.Entries, Entry{ID: r.ID, Transfer: r.Transfer, Phone: r.Phone, Amount: r.Amount})
	case "transfer":
		t.Bookings = append(t.Bookings, Booking{Payer: r.Payer, Once: r.Once, ID: r.ID, Payee: r.Payee, Amount: r.Amount})
	default:
		return fmt.Errorf("table %s is unknown", table)
	}
	return nil
}

// Difference says in what two regions differ; nil: they have the same, but for what each has booked itself.
func Difference(one, other Tables) error {
	if len(one.Accounts) != len(other.Accounts) {
		return fmt.Errorf("%d accounts and %d", len(one.Accounts), len(other.Accounts))
	}
	if len(one.Entries) != len(other.Entries) {
		return fmt.Errorf("%d entries and %d", len(one.Entries), len(other.Entries))
	}
	for _, maps := range [][2]Tables{{one, other}, {other, one}} {
		for phone, n := range maps[0].Profiles {
			if maps[1].Profiles[phone] != n {
				return fmt.Errorf("the profile of %s is edit %d and %d", phone, n, maps[1].Profiles[phone])
			}
		}
		for phone, at := range maps[0].Passwords {
			if maps[1].Passwords[phone] != at {
				return fmt.Errorf("the passwords of %s are of different times", phone)
			}
		}
	}
	return nil
}
