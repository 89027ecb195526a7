package sqlstore_test

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
	t.Run("export", func(t *testing.T) { testExport(t, openEmbedded(t, t.TempDir())) })
	t.Run("no fence", func(t *testing.T) {
		_, err := sqlstore.OpenEmbedded(t.Context(), t.TempDir(), sqlstore.Options{FenceService: "accounts/user"})
		if err == nil || !strings.Contains(err.Error(), "MariaDB") {
			t.Errorf("got error %v: want one that says where fences are", err)
		}
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
	t.Run("changes apart", func(t *testing.T) { testChangesApart(t, server.DSN(t)) })
	t.Run("export", func(t *testing.T) {
		s, err := sqlstore.OpenMariaDB(t.Context(), server.DSN(t), sqlstore.Options{})
		testExport(t, opened(t, s, err))
	})
	fenced := func(t *testing.T) (*sqlstore.Store, *sql.DB, error) {
		dsn := server.DSN(t)
		s, err := sqlstore.OpenMariaDB(t.Context(), dsn, sqlstore.Options{FenceService: "accounts/user"})
		s = opened(t, s, err)
		db, err := sql.Open("mysql", dsn)
		return s, db, err
	}
	t.Run("fence", func(t *testing.T) {
		s, db, err := fenced(t)
		testFence(t, s, db, err)
	})
	t.Run("closing the fence waits for writers", func(t *testing.T) {
		s, db, err := fenced(t)
		testFenceWaits(t, s, db, err)
	})
}

// testChangesApart has new passwords and profiles in a MariaDB of their own, with its fence: nothing of them is in the file beside it, nor
// queued, and what comes to that MariaDB by replication counts.
func testChangesApart(t *testing.T, dsn string) {
	t.Helper()
	s, err := sqlstore.OpenEmbedded(t.Context(), t.TempDir(), sqlstore.Options{FenceService: "accounts/user", Changes: dsn})
	s = opened(t, s, err)
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	createFence(t, db)
	a := storetest.NewAccount("13800000001")
	if err := s.CreateAccount(t.Context(), nil, a, 100); err != nil {
		t.Fatalf("an account, which no fence is beside: %v", err)
	}
	p := user.Profile{Phone: a.Phone, Name: "n", About: "tea"}
	if err := s.SaveProfile(t.Context(), &user.Token{Slot: 10, Epoch: 7, Owner: "beijing"}, p, storetest.Now); !errors.Is(err, user.ErrFenced) {
		t.Errorf("a profile that the fence does not admit: %v", err)
	}
	open := &user.Token{Slot: 0, Epoch: 7, Owner: "beijing"}
	if err := errors.Join(s.SaveProfile(t.Context(), open, p, storetest.Now), s.ChangePassword(t.Context(), open, a.Phone, "new", storetest.Now)); err != nil {
		t.Fatal(err)
	}
	if err := s.ChangePassword(t.Context(), open, "13800000404", "new", storetest.Now); !errors.Is(err, user.ErrNotFound) {
		t.Errorf("the password of nobody: %v", err)
	}
	if diff := cmp.Diff([]string{"account", "ledger"}, kinds(t, s)); diff != "" {
		t.Errorf("what is queued (-want +got):\n%s", diff)
	}
	exec(t, db, `UPDATE password SET verifier = 'replicated'`)
	got, err := s.Account(t.Context(), a.Phone)
	profile, failed := s.Profile(t.Context(), a.Phone)
	if errors.Join(err, failed) != nil || got.Verifier != "replicated" || profile != p {
		t.Errorf("it is %+v with %+v (%v)", got, profile, errors.Join(err, failed))
	}
	tables := map[string]int{}
	if err := s.Export(t.Context(), func(table string, _ map[string]any) error { tables[table]++; return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"account": 1, "entry": 1, "outbox": 2, "password": 1, "profile": 1}, tables); diff != "" {
		t.Errorf("the export (-want +got):\n%s", diff)
	}
}

// kinds are what waits in the outbox.
func kinds(t *testing.T, s *sqlstore.Store) (out []string) {
	t.Helper()
	messages, err := s.Claim(t.Context(), "relay", storetest.Now, storetest.Now.Add(time.Minute), 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		out = append(out, string(m.Kind))
	}
	return out
}

// testExport holds that an export has everything but what vouches for users.
func testExport(t *testing.T, s *sqlstore.Store) {
	t.Helper()
	a, b := storetest.NewAccount("13800000001"), storetest.NewAccount("13800000002")
	err := errors.Join(
		s.CreateAccount(t.Context(), nil, a, 100), s.CreateAccount(t.Context(), nil, b, 100),
		s.ChangePassword(t.Context(), nil, a.Phone, "a secret", storetest.Now),
		s.SaveProfile(t.Context(), nil, user.Profile{Phone: a.Phone, Name: "n", About: "tea"}, storetest.Now),
		s.Reject(t.Context(), store.Rejected{Topic: "t", Reason: "r", Value: []byte("a secret")}),
	)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Transfer(t.Context(), nil, user.Transfer{ID: "t1", From: a.Phone, To: b.Phone, Amount: 7, IdempotencyKey: "lunch", CreatedAt: storetest.Now}); err != nil {
		t.Fatal(err)
	}
	rows := map[string]int{}
	var text strings.Builder
	if err := s.Export(t.Context(), func(table string, row map[string]any) error {
		rows[table]++
		fmt.Fprintln(&text, table, row)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"account": 2, "password": 1, "profile": 1, "entry": 4, "transfer": 1, "outbox": 8, "quarantine": 1}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	for _, part := range []string{"idempotency_key:lunch", "about:tea", "amount:-7", "phone:" + b.Phone} {
		if !strings.Contains(text.String(), part) {
			t.Errorf("the export has no %s", part)
		}
	}
	if strings.Contains(text.String(), "a secret") || strings.Contains(text.String(), a.Verifier) {
		t.Error("the export has a secret")
	}
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

// createFence makes the operator's tables anew: of ten slots each, one set is open, one closed, one another region's.
func createFence(t *testing.T, db *sql.DB) {
	t.Helper()
	t.Cleanup(func() { _ = db.Close() })
	for _, stmt := range []string{
		`CREATE OR REPLACE DATABASE multiactive`,
		`CREATE TABLE multiactive.fence (service VARCHAR(317) NOT NULL, slot_set INT NOT NULL, owner VARCHAR(32) NOT NULL,
			epoch BIGINT NOT NULL, PRIMARY KEY (service, slot_set))`,
		`CREATE TABLE multiactive.fence_slot (service VARCHAR(317) NOT NULL, slot INT NOT NULL, slot_set INT NOT NULL, PRIMARY KEY (service, slot))`,
		`CREATE TABLE multiactive.lease (region VARCHAR(32) PRIMARY KEY, valid_until DATETIME(6) NOT NULL)`,
		`INSERT INTO multiactive.fence VALUES ('accounts/user', 0, 'beijing', 7), ('accounts/user', 1, '', 7),
			('accounts/user', 2, 'shanghai', 7), ('accounts/other', 0, 'beijing', 7)`,
		`INSERT INTO multiactive.fence_slot SELECT 'accounts/user', seq, seq DIV 10 FROM seq_0_to_29`,
		`INSERT INTO multiactive.fence_slot SELECT 'accounts/other', seq, 0 FROM seq_0_to_1023`,
		`INSERT INTO multiactive.lease VALUES ('beijing', UTC_TIMESTAMP(6) + INTERVAL 60 SECOND), ('shanghai', UTC_TIMESTAMP(6) - INTERVAL 1 SECOND)`,
	} {
		exec(t, db, stmt)
	}
}

func exec(t *testing.T, db *sql.DB, stmt string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), stmt); err != nil {
		t.Fatalf("%s: %v", stmt, err)
	}
}

func testFence(t *testing.T, s *sqlstore.Store, db *sql.DB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	createFence(t, db)
	tests := map[string]struct {
		tok  *user.Token
		want error
	}{
		"admitted":    {&user.Token{Slot: 9, Epoch: 7, Owner: "beijing"}, nil},
		"later epoch": {&user.Token{Slot: 9, Epoch: 8, Owner: "beijing"}, nil},
		"no token":    {nil, user.ErrFenced},
		"older epoch": {&user.Token{Slot: 9, Epoch: 6, Owner: "beijing"}, user.ErrFenced},
		"other owner": {&user.Token{Slot: 9, Epoch: 7, Owner: "shanghai"}, user.ErrFenced},
		"closed":      {&user.Token{Slot: 10, Epoch: 7, Owner: "beijing"}, user.ErrFenced},
		"expired":     {&user.Token{Slot: 20, Epoch: 7, Owner: "shanghai"}, user.ErrFenced},
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
func testFenceWaits(t *testing.T, s *sqlstore.Store, db *sql.DB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	createFence(t, db)
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
	const closing = `UPDATE multiactive.fence SET owner = '' WHERE service = 'accounts/user' AND slot_set = 0`
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
