// Package user holds the words of the service: accounts, sessions, transfers,
// the rules they obey and the errors that break them. It does no input or
// output, and knows nothing of regions beyond the fencing token that a write
// may carry.
package user

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Limits on what users send. Bcrypt reads 72 bytes of a password at most, so
// a longer one would be cut without a word.
const (
	MinPasswordBytes = 8
	MaxPasswordBytes = 72
	MaxNameBytes     = 128
	MaxAboutBytes    = 1024
	MaxAmount        = int64(1_000_000_000_000)
	MaxIdempotency   = 128
)

// Errors that stores and handlers agree on.
var (
	// ErrNotFound is returned where an account, session or profile does not exist here.
	ErrNotFound = errors.New("not found")
	// ErrPhoneTaken is returned when an account with this phone number exists.
	ErrPhoneTaken = errors.New("the phone number has an account")
	// ErrPayeeUnknown is returned when the receiver of a transfer has no account here.
	ErrPayeeUnknown = errors.New("the payee has no account")
	// ErrInsufficientFunds is returned when the payer's balance is below the amount.
	ErrInsufficientFunds = errors.New("the balance is too low")
	// ErrIdempotencyReuse is returned when an idempotency key comes again with another transfer.
	ErrIdempotencyReuse = errors.New("the idempotency key belongs to another transfer")
	// ErrFenced is returned when the fence table does not admit the write.
	ErrFenced = errors.New("home writes for this key are closed here")
)

// Account is what a registration creates. It never changes: a new password
// and an edited profile are rows of their own, so that an account can travel
// to other regions as a message without racing storage replication.
type Account struct {
	ID        string    `json:"id"`
	Phone     string    `json:"phone"`
	Name      string    `json:"name"`
	Verifier  string    `json:"verifier"`
	CreatedAt time.Time `json:"createdAt"`
}

// Check reports the first field that an account record lacks.
func (a Account) Check() error {
	switch {
	case a.ID == "":
		return errors.New("id is empty")
	case a.Verifier == "":
		return errors.New("verifier is empty")
	case a.CreatedAt.IsZero():
		return errors.New("createdAt is empty")
	}
	_, err := NormalizePhone(a.Phone)
	return err
}

// Profile is what users tell about themselves.
type Profile struct {
	Phone string `json:"phone"`
	Name  string `json:"name"`
	About string `json:"about"`
}

// Change is a new password or an edited profile as it travels to other
// regions. At orders the changes of a phone number: each is later than the one
// before it, whatever the clocks of regions say.
type Change struct {
	Phone string `json:"phone"`
	// Verifier of the new password; empty: it is the profile that changed.
	Verifier string    `json:"verifier,omitempty"`
	Name     string    `json:"name,omitempty"`
	About    string    `json:"about,omitempty"`
	At       time.Time `json:"at"`
}

// Check reports the first field that a change lacks.
func (c Change) Check() error {
	switch {
	case c.Verifier == "" && c.Name == "":
		return errors.New("verifier and name are empty")
	case c.At.IsZero():
		return errors.New("at is empty")
	}
	_, err := NormalizePhone(c.Phone)
	return err
}

// Session is a login that has succeeded.
type Session struct {
	Phone     string    `json:"phone"`
	AccountID string    `json:"accountId"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// Transfer moves an amount, in the smallest unit of the currency, between two
// accounts. IdempotencyKey is unique per payer.
type Transfer struct {
	ID             string    `json:"id"`
	From           string    `json:"from"`
	To             string    `json:"to"`
	Amount         int64     `json:"amount"`
	IdempotencyKey string    `json:"-"`
	CreatedAt      time.Time `json:"createdAt"`
}

// Entry is one line of the ledger. Entries are only ever added, and a balance
// is the sum of its entries: copies of the ledger in several regions can merge
// in any order without losing or making money.
type Entry struct {
	ID         string    `json:"id"`
	TransferID string    `json:"transferId,omitempty"`
	Phone      string    `json:"phone"`
	Amount     int64     `json:"amount"`
	CreatedAt  time.Time `json:"createdAt"`
}

// Check reports the first field that a ledger record lacks.
func (e Entry) Check() error {
	switch {
	case e.ID == "":
		return errors.New("id is empty")
	case e.Amount == 0:
		return errors.New("amount is zero")
	case e.CreatedAt.IsZero():
		return errors.New("createdAt is empty")
	}
	_, err := NormalizePhone(e.Phone)
	return err
}

// Entries returns the two lines that a transfer adds to the ledger. Their
// sum is zero. Their IDs are made from the payer and the idempotency key, so
// that a region which has them from another one knows a repetition by them.
func (t Transfer) Entries() [2]Entry {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q", t.From, t.IdempotencyKey))
	id := hex.EncodeToString(sum[:20])
	return [2]Entry{
		{ID: id + "-debit", TransferID: t.ID, Phone: t.From, Amount: -t.Amount, CreatedAt: t.CreatedAt},
		{ID: id + "-credit", TransferID: t.ID, Phone: t.To, Amount: t.Amount, CreatedAt: t.CreatedAt},
	}
}

// OpeningEntry is the money that a new account starts with.
func OpeningEntry(a Account, amount int64) Entry {
	return Entry{ID: a.ID + "-opening", Phone: a.Phone, Amount: amount, CreatedAt: a.CreatedAt}
}

// Token is the fencing token that the gateway sends with a home write: the
// slot of the key, the ownership epoch, and the region that owns the slot.
type Token struct {
	Slot  int
	Epoch int64
	Owner string
}

var phonePattern = regexp.MustCompile(`^\+?[0-9]{5,20}$`)

// NormalizePhone trims spaces and checks the form: an optional plus sign and
// 5 to 20 digits. The gateway normalises the routing key in the same way.
func NormalizePhone(s string) (string, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	if !phonePattern.MatchString(s) {
		return "", errors.New("phone must be 5 to 20 digits, with an optional leading +")
	}
	return s, nil
}

// CheckPassword refuses passwords that are too short or too long to be verified whole.
func CheckPassword(field, s string) error {
	if len(s) < MinPasswordBytes || len(s) > MaxPasswordBytes {
		return fmt.Errorf("%s must have %d to %d bytes", field, MinPasswordBytes, MaxPasswordBytes)
	}
	return nil
}

// CheckText refuses an empty required text and one that is too long.
func CheckText(field, s string, limit int, required bool) error {
	if required && strings.TrimSpace(s) == "" {
		return fmt.Errorf("%s must not be empty", field)
	}
	if len(s) > limit {
		return fmt.Errorf("%s must have at most %d bytes", field, limit)
	}
	return nil
}

// Check normalises the phone numbers of a transfer and refuses what cannot be
// carried out in any region.
func (t *Transfer) Check() error {
	var err error
	if t.From, err = NormalizePhone(t.From); err != nil {
		return fmt.Errorf("from: %w", err)
	}
	if t.To, err = NormalizePhone(t.To); err != nil {
		return fmt.Errorf("to: %w", err)
	}
	if t.From == t.To {
		return errors.New("from and to must differ")
	}
	if t.Amount < 1 || t.Amount > MaxAmount {
		return fmt.Errorf("amount must be 1 to %d", MaxAmount)
	}
	return CheckIdempotencyKey(t.IdempotencyKey)
}

// CheckIdempotencyKey wants a printable ASCII key without spaces: it is
// compared byte by byte in every store.
func CheckIdempotencyKey(s string) error {
	if s == "" || len(s) > MaxIdempotency {
		return fmt.Errorf("header Idempotency-Key must have 1 to %d bytes", MaxIdempotency)
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return errors.New("header Idempotency-Key must be printable ASCII without spaces")
		}
	}
	return nil
}
