package sqlstore_test

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/examples/user/internal/store"
	"multiactive.dev/operator/examples/user/internal/store/sqlstore"
	"multiactive.dev/operator/examples/user/internal/store/storetest"
	"multiactive.dev/operator/examples/user/internal/testserver"
	"multiactive.dev/operator/examples/user/internal/user"
)

func opened(t *testing.T, s *sqlstore.Store, err error) *sqlstore.Store {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func openEmbedded(t *testing.T, dir string) *sqlstore.Store {
	s, err := sqlstore.OpenEmbedded(t.Context(), dir, sqlstore.Options{})
	return opened(t, s, err)
}

func TestEmbedded(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return openEmbedded(t, t.TempDir()) })
	t.Run("sessions", func(t *testing.T) {
		storetest.RunSessions(t, time.Now(), sqlstore.NewSessions(openEmbedded(t, t.TempDir()), time.Now))
	})
	t.Run("fence", func(t *testing.T) {
		dir := t.TempDir()
		s, err := sqlstore.OpenEmbedded(t.Context(), dir, sqlstore.Options{FenceService: "accounts/user"})
		s = opened(t, s, err)
		db, err := sql.Open("sqlite", filepath.Join(dir, "user.db"))
		testFence(t, s, db, err, fenceSQL{valueType: "REAL", future: "unixepoch('subsec') + 60", past: "unixepoch('subsec') - 1"})
	})
	t.Run("two processes share the file", func(t *testing.T) {
		dir := t.TempDir()
		server, sync := openEmbedded(t, dir), openEmbedded(t, dir)
		if _, err := sync.ApplyAccount(t.Context(), storetest.NewAccount("13800000001")); err != nil {
			t.Fatal(err)
		}
		if _, err := server.Account(t.Context(), "13800000001"); err != nil {
			t.Errorf("the account is not visible to the other process: %v", err)
		}
	})
}

func TestMariaDB(t *testing.T) {
	server := testserver.StartMariaDB(t)
	storetest.Run(t, func(t *testing.T) store.Store {
		s, err := sqlstore.OpenMariaDB(t.Context(), server.DSN(t), sqlstore.Options{})
		return opened(t, s, err)
	})
	fenced := func(t *testing.T) (*sqlstore.Store, *sql.DB, error) {
		dsn := server.DSN(t)
		s, err := sqlstore.OpenMariaDB(t.Context(), dsn, sqlstore.Options{FenceService: "accounts/user"})
		s = opened(t, s, err)
		db, err := sql.Open("mysql", dsn)
		return s, db, err
	}
	words := fenceSQL{valueType: "TIMESTAMP(6)", future: "NOW(6) + INTERVAL 60 SECOND", past: "NOW(6) - INTERVAL 1 SECOND"}
	t.Run("fence", func(t *testing.T) {
		s, db, err := fenced(t)
		testFence(t, s, db, err, words)
	})
	t.Run("closing the fence waits for writers", func(t *testing.T) {
		s, db, err := fenced(t)
		testFenceWaits(t, s, db, err, words)
	})
}

func TestOpenMariaDBHidesPassword(t *testing.T) {
	for name, dsn := range map[string]string{
		"malformed":   "root:hunter2@tcp(127.0.0.1:3306",
		"no database": "root:hunter2@tcp(127.0.0.1:3306)/",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sqlstore.OpenMariaDB(t.Context(), dsn, sqlstore.Options{})
			if err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got error %v: want one without the password", err)
			}
		})
	}
}

// fenceSQL is what differs between the engines' fence tables.
type fenceSQL struct{ valueType, future, past string }

func createFence(t *testing.T, db *sql.DB, w fenceSQL) {
	t.Helper()
	t.Cleanup(func() { _ = db.Close() })
	exec(t, db, `CREATE TABLE multiactive_fence (service VARCHAR(128) NOT NULL, slot_from INT NOT NULL,
		slot_to INT NOT NULL, owner VARCHAR(32) NOT NULL, epoch BIGINT NOT NULL, state VARCHAR(16) NOT NULL,
		valid_until `+w.valueType+` NOT NULL, PRIMARY KEY (service, slot_from))`)
	for _, row := range []string{
		`('accounts/user', 0, 99, 'beijing', 7, 'Open', ` + w.future + `)`,
		`('accounts/user', 100, 199, 'beijing', 7, 'Closed', ` + w.future + `)`,
		`('accounts/user', 200, 299, 'beijing', 7, 'Open', ` + w.past + `)`,
		`('accounts/other', 0, 1023, 'beijing', 7, 'Open', ` + w.future + `)`,
	} {
		exec(t, db, `INSERT INTO multiactive_fence VALUES `+row)
	}
}

func exec(t *testing.T, db *sql.DB, stmt string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), stmt); err != nil {
		t.Fatalf("%s: %v", stmt, err)
	}
}

func testFence(t *testing.T, s *sqlstore.Store, db *sql.DB, err error, w fenceSQL) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	createFence(t, db, w)
	tests := map[string]struct {
		tok  *user.Token
		want error
	}{
		"admitted":    {&user.Token{Slot: 99, Epoch: 7, Owner: "beijing"}, nil},
		"no token":    {nil, user.ErrFenced},
		"older epoch": {&user.Token{Slot: 99, Epoch: 6, Owner: "beijing"}, user.ErrFenced},
		"other owner": {&user.Token{Slot: 99, Epoch: 7, Owner: "shanghai"}, user.ErrFenced},
		"closed":      {&user.Token{Slot: 100, Epoch: 7, Owner: "beijing"}, user.ErrFenced},
		"expired":     {&user.Token{Slot: 200, Epoch: 7, Owner: "beijing"}, user.ErrFenced},
		"uncovered":   {&user.Token{Slot: 500, Epoch: 7, Owner: "beijing"}, user.ErrFenced},
		"first slot":  {&user.Token{Slot: 0, Epoch: 7, Owner: "beijing"}, nil},
	}
	n := 0
	for name, tc := range tests {
		n++
		a := storetest.NewAccount(fmt.Sprintf("1390000%04d", n))
		t.Run(name, func(t *testing.T) {
			if err := s.CreateAccount(t.Context(), tc.tok, a, 0); !errors.Is(err, tc.want) {
				t.Fatalf("CreateAccount: got %v, want %v", err, tc.want)
			}
			_, err := s.Account(t.Context(), a.Phone)
			if written := err == nil; written != (tc.want == nil) {
				t.Errorf("account written: %t", written)
			}
		})
	}
}

// testFenceWaits holds the share lock as a writer in flight does, and sees
// that the statement that closes the fence cannot pass it.
func testFenceWaits(t *testing.T, s *sqlstore.Store, db *sql.DB, err error, w fenceSQL) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	createFence(t, db, w)
	release, err := s.HoldFenceForTest(t.Context(), &user.Token{Slot: 5, Epoch: 7, Owner: "beijing"})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.ExecContext(t.Context(), "SET SESSION innodb_lock_wait_timeout = 1"); err != nil {
		t.Fatal(err)
	}
	const closing = `UPDATE multiactive_fence SET state = 'Closed' WHERE service = 'accounts/user' AND slot_from = 0`
	if _, err := conn.ExecContext(t.Context(), closing); err == nil {
		t.Error("the fence was closed under a writer in flight")
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), closing); err != nil {
		t.Errorf("closing the fence after the writer: %v", err)
	}
}
