// Package store declares what the service needs from its stores, as small
// interfaces. Implementations live in the packages below it and are held to
// one contract (package storetest). It must never contain SQL or dial anything.
package store

import (
	"context"
	"time"

	"multiactive.dev/operator/examples/user/internal/user"
)

// Kind says what an outbox message carries, and so which topic it belongs to.
type Kind string

// The kinds of message.
const (
	KindAccount Kind = "account"
	KindLedger  Kind = "ledger"
	KindChange  Kind = "change"
)

// Message waits in the outbox until the queue has acknowledged it.
type Message struct {
	Seq   int64
	Kind  Kind
	Key   string
	Value []byte
}

// Applied says what became of a record from another region.
type Applied string

// What can become of a record.
const (
	// Inserted: the record was new here.
	Inserted Applied = "inserted"
	// Known: the same record is here already.
	Known Applied = "known"
	// Conflict: another record holds its unique key; nothing was changed.
	Conflict Applied = "conflict"
)

// Rejected is a record that was kept aside for a person. Topic, Partition and
// Offset identify it, so that a repeated delivery is kept once.
type Rejected struct {
	Topic     string
	Partition int32
	Offset    int64
	Reason    string
	Value     []byte
}

// Accounts is what login, registration, password and profile need. Writes
// take the fencing token of the request, or nil where none was sent; with a
// fence configured a write without a valid token fails with user.ErrFenced.
type Accounts interface {
	// CreateAccount adds an account with its opening balance and queues the
	// records for other regions, all or nothing. It returns
	// user.ErrPhoneTaken when the phone number has an account.
	CreateAccount(ctx context.Context, tok *user.Token, a user.Account, opening int64) error
	// Account returns the account with its present verifier, or user.ErrNotFound.
	Account(ctx context.Context, phone string) (user.Account, error)
	// ChangePassword sets the verifier and queues the change for other
	// regions, or returns user.ErrNotFound.
	ChangePassword(ctx context.Context, tok *user.Token, phone, verifier string, at time.Time) error
	// Profile returns the present profile, or user.ErrNotFound.
	Profile(ctx context.Context, phone string) (user.Profile, error)
	// SaveProfile replaces the profile and queues the change for other
	// regions, or returns user.ErrNotFound.
	SaveProfile(ctx context.Context, tok *user.Token, p user.Profile, at time.Time) error
}

// Ledger moves money.
type Ledger interface {
	// Balance is the sum of the entries, or user.ErrNotFound.
	Balance(ctx context.Context, phone string) (int64, error)
	// Transfer books the transfer once per payer and idempotency key and
	// returns what was booked, which for a repetition is the first one. Errors:
	// user.ErrNotFound (payer), ErrPayeeUnknown, ErrInsufficientFunds,
	// ErrIdempotencyReuse, ErrFenced.
	Transfer(ctx context.Context, tok *user.Token, t user.Transfer) (user.Transfer, error)
}

// Outbox hands committed messages to a publisher, at least once.
type Outbox interface {
	// Claim returns up to limit of the oldest messages that claimer may
	// publish until the claim ends: nobody else's unexpired ones.
	Claim(ctx context.Context, claimer string, now, until time.Time, limit int) ([]Message, error)
	// Done removes published messages.
	Done(ctx context.Context, seqs []int64) error
}

// Replica takes in what other regions have created. It needs no fencing
// token: records are only added, and a change only replaces an older one.
type Replica interface {
	ApplyAccount(ctx context.Context, a user.Account) (Applied, error)
	ApplyEntry(ctx context.Context, e user.Entry) (Applied, error)
	// ApplyChange returns Known where the same or a newer change is.
	ApplyChange(ctx context.Context, c user.Change) (Applied, error)
	// Reject keeps a record aside.
	Reject(ctx context.Context, r Rejected) error
	// Rejects lists what was kept aside, oldest first, up to limit.
	Rejects(ctx context.Context, limit int) ([]Rejected, error)
}

// Store is the region's database.
type Store interface {
	Accounts
	Ledger
	Outbox
	Replica
	// Ping fails when the store cannot answer.
	Ping(ctx context.Context) error
	Close() error
}

// Sessions keeps logins. A session is bulky, short-lived and can be made
// again, so it never leaves its region.
type Sessions interface {
	// Put keeps the session under the token until it expires.
	Put(ctx context.Context, token string, s user.Session) error
	// Get returns user.ErrNotFound for an unknown or expired token.
	Get(ctx context.Context, token string) (user.Session, error)
	// Delete forgets the token; an unknown one is no error.
	Delete(ctx context.Context, token string) error
	Ping(ctx context.Context) error
	Close() error
}
