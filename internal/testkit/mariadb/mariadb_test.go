package mariadb_test

import (
	"testing"

	"multiactive.dev/operator/internal/testkit/mariadb"
)

func TestServerComesBack(t *testing.T) { testComesBack(t, mariadb.Programs{}) }

// What was committed is there after a kill, at the same address.
func testComesBack(t *testing.T, programs mariadb.Programs) {
	t.Helper()
	s := mariadb.Run(t, mariadb.Options{Programs: programs, Settings: map[string]string{"server-id": "7"}})
	before := s.Addr()
	db := mariadb.Root(t, s)
	for _, statement := range []string{"CREATE DATABASE d", "CREATE TABLE d.t (id INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1)"} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	s.Set("server-id", "8")
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var rows, id int
	if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*), @@server_id FROM d.t").Scan(&rows, &id); err != nil {
		t.Fatal(err)
	}
	if rows != 1 || id != 8 || s.Addr() != before {
		t.Errorf("got %d rows, server id %d at %s, want 1, 8 at %s", rows, id, s.Addr(), before)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
