package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"multiactive.dev/operator/internal/port/store"
)

// recorder is a database/sql driver that answers as a server did, and keeps what is sent. A statement begins with
// the text of an answer; one that has none fails the test.
type recorder struct {
	t       testing.TB
	answers []answer

	mu   sync.Mutex
	sent []string
}

// answer to statements that begin with a text: columns and rows, or a number of rows that are changed.
type answer struct {
	begins  string
	columns []string
	rows    [][]driver.Value
	changed int64
	err     error
}

// Connect implements driver.Connector.
func (r *recorder) Connect(context.Context) (driver.Conn, error) { return recorded{r}, nil }

// Driver implements driver.Connector.
func (r *recorder) Driver() driver.Driver { return nil }

// take returns what was sent since the last time.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	sent := r.sent
	r.sent = nil
	return sent
}

func (r *recorder) answer(query string, args []driver.NamedValue) (answer, error) {
	text := query
	for _, arg := range args {
		text = strings.Replace(text, "?", literal(fmt.Sprint(arg.Value)), 1)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.answers {
		if strings.HasPrefix(query, one.begins) {
			if one.columns == nil {
				r.sent = append(r.sent, text)
			}
			return one, one.err
		}
	}
	r.t.Errorf("no answer to %q", text)
	return answer{}, fmt.Errorf("no answer to %q", text)
}

// recorded is one connection.
type recorded struct{ *recorder }

// Prepare implements driver.Conn.
func (recorded) Prepare(string) (driver.Stmt, error) { return nil, driver.ErrSkip }

// Close implements driver.Conn.
func (recorded) Close() error { return nil }

// Begin implements driver.Conn.
func (recorded) Begin() (driver.Tx, error) { return done{}, nil }

type done struct{}

func (done) Commit() error   { return nil }
func (done) Rollback() error { return nil }

// ExecContext implements driver.ExecerContext.
func (c recorded) ExecContext(_ context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	one, err := c.answer(query, args)
	return driver.RowsAffected(one.changed), err
}

// QueryContext implements driver.QueryerContext.
func (c recorded) QueryContext(_ context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	one, err := c.answer(query, args)
	return &recordedRows{one, 0}, err
}

type recordedRows struct {
	answer
	next int
}

func (r *recordedRows) Columns() []string { return r.columns }
func (*recordedRows) Close() error        { return nil }
func (r *recordedRows) Next(into []driver.Value) error {
	if r.next == len(r.rows) {
		return io.EOF
	}
	copy(into, r.rows[r.next])
	r.next++
	return nil
}

// recordedServer is a client of a server of which there are answers alone. Whoever replicates meets the same
// answers.
func recordedServer(t testing.TB, answers ...answer) (*Server, *recorder) {
	t.Helper()
	r := &recorder{t: t, answers: answers}
	open := func() *pool { return &pool{db: sql.OpenDB(r), timeout: time.Minute, secrets: []string{"secret"}} }
	s := &Server{
		options: store.Options{
			Address: "db.sh:3306", Admin: store.Credentials{User: "multiactive", Password: "secret"},
			Replication: store.Credentials{User: "replica", Password: "secret"}, Timeout: time.Minute,
		},
		plain: open(), local: open(), beats: steadyOf(r, time.Minute, "secret"), leases: steadyOf(r, time.Minute, "secret"), set: map[string]pointed{},
		replica: func(string) (*pool, error) { return open(), nil },
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, r
}
