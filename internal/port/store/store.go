// Package store is how the operator uses the database servers of a DataStore. Every engine implements
// Server in a package of its own, and all pass the same contract (storetest).
//
// An engine must never copy, skip or discard data by itself, never let a credential into an error, and
// never replicate the operator's own tables but for the canaries.
package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"multiactive.dev/operator/internal/storage"
)

// Schema is the schema, or the prefix of keys, that the operator has for itself in every server.
const Schema = "multiactive"

// Credentials of one user of a server.
type Credentials struct {
	User, Password string
	// TLS is nil for plain connections.
	TLS *tls.Config
	// CA is the PEM file that TLS trusts, for servers that open connections themselves; empty without TLS.
	CA []byte
}

// String keeps credentials out of what is printed by mistake.
func (c Credentials) String() string { return "credentials of " + c.User }

// GoString does the same for %#v.
func (c Credentials) GoString() string { return c.String() }

// Options are how a server is reached.
type Options struct {
	// Address is host:port.
	Address string
	// Admin is whom the operator connects as.
	Admin Credentials
	// Replication is whom servers connect to each other as: the same on all servers of a store. Prepare
	// makes the user, and gives it the password; with an empty User it leaves users alone.
	Replication Credentials
	// Database that is replicated, for engines that replicate one (PostgreSQL). Default: the engine's own.
	Database string
	// Timeout bounds dialling, and every statement whose context has no deadline of its own. Default: 5 s.
	Timeout time.Duration
}

// Server is one region's server. Its methods are safe for concurrent use and end with their contexts.
// None of them waits for another server, except where it says so.
type Server interface {
	// Observe reads all that is to be known, and changes nothing. Findings are about what is wanted.
	Observe(ctx context.Context, w storage.Want) (storage.Observation, error)
	// Prepare makes the operator's schema and the user that others replicate as. It does nothing when they are there.
	Prepare(ctx context.Context, w storage.Want) error
	// Mend carries out the statements of findings that are Online.
	Mend(ctx context.Context, findings []storage.Finding) error
	// Connect sets a link up, and starts it, from where the server is: nothing is copied or skipped. For a link
	// that exists it changes the address and the credentials alone, and starts it. It may ask the source what
	// it has. Errors: *BootstrapError when the source does not have any more what the server lacks.
	Connect(ctx context.Context, w storage.Want, from storage.Source) error
	// Pause stops the link from a region and keeps its position; Connect goes on.
	Pause(ctx context.Context, from string) error
	// Disconnect removes the link from a region, and what the source keeps for it where that can be reached.
	Disconnect(ctx context.Context, w storage.Want, from string) error
	// Beat writes the region's canary, if the server is writable, and returns those of all other regions. A
	// sequence that is not above the region's last is replaced by the next one: that is how one goes on counting.
	Beat(ctx context.Context, mine storage.Canary) ([]storage.Canary, error)
	// Positions returns what the server has, as in an Observation, at the price of one question.
	Positions(ctx context.Context, w storage.Want) (storage.Positions, error)
	// SetWritable lets applications write, or stops them: it returns once what they had begun has ended or
	// been refused. Replication goes on.
	SetWritable(ctx context.Context, writable bool) error
	// SetFences makes the rows of a service equal. A row that takes a set from this region waits for the
	// transactions that hold it. Before slots change their sets, all sets of the service are nobody's; those of Pinned
	// may come and go at any time.
	SetFences(ctx context.Context, f storage.Fences) error
	// RemoveFences deletes the rows of a service.
	RemoveFences(ctx context.Context, service string) error
	// Fences returns the services that the server has rows of, with their sets' owners; Slots is nil.
	Fences(ctx context.Context) ([]storage.Fences, error)
	// Lease lets the region's applications write, by the server's clock, for no longer than validFor from the
	// beginning of the call, however late the server carries that out; with 0, from now on no more.
	Lease(ctx context.Context, region string, validFor time.Duration) error
	// Bounds divides a table into parts of at most so many rows, in the order of its primary key, from behind a key on ("": from the
	// beginning), without reading more than keys: at most parts of them, 0 for all. The sums are those of no rows. end tells that the
	// last one reaches to the end of the table. A table without rows there is one part.
	Bounds(ctx context.Context, table string, rows int, after string, parts int) (bounds []storage.Digest, end bool, err error)
	// Digests computes digests of a table by parts, without blocking writers. Servers with the same rows return the same
	// digests, given the same bounds; with nil, parts are of at most rows, and this one chooses them. A part begins behind the one before it, and the last one
	// reaches to the end of the table. With bounds, only names those that are computed, in ascending order, nil for all: of others From and To
	// alone are returned.
	Digests(ctx context.Context, table string, rows int, bounds []storage.Digest, only []int) ([]storage.Digest, error)
	// Close ends all connections.
	Close() error
}

// ErrantFinder is implemented by servers of engines that can tell what only one server has.
type ErrantFinder interface {
	// Errant returns the transactions that the server's own region wrote after a position: the highest that any
	// other server has of it. Contents of rows are not among what it tells.
	Errant(ctx context.Context, w storage.Want, elsewhere int64) (storage.Errant, error)
	// Elsewhere asks other servers for that position. It fails if one cannot be asked.
	Elsewhere(ctx context.Context, others []storage.Source) (int64, error)
}

// ErrUnsupported is returned by methods that an engine has no means for; the error says which.
var ErrUnsupported = errors.New("not supported by this engine")

// CredentialsError says that a server refused the operator's user.
type CredentialsError struct{ Err error }

// Error implements error.
func (e *CredentialsError) Error() string { return "the server refuses the user: " + e.Err.Error() }

// Unwrap returns what the server said.
func (e *CredentialsError) Unwrap() error { return e.Err }

// PrivilegeError says what the operator's user is not allowed to do.
type PrivilegeError struct {
	// Missing are privileges as the engine names them.
	Missing []string
	// Statement grants them.
	Statement string
}

// Error implements error.
func (e *PrivilegeError) Error() string {
	return fmt.Sprintf("the operator's user lacks %v: %s", e.Missing, e.Statement)
}

// BootstrapError says that a server must be seeded before it can replicate from a source.
type BootstrapError struct{ storage.Bootstrap }

// Error implements error.
func (e *BootstrapError) Error() string { return e.Why }
