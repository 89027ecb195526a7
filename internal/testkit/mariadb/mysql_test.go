//go:build e2e

package mariadb_test

import (
	"testing"

	"multiactive.dev/operator/internal/testkit/mariadb"
)

// Servers of MySQL come back as those of MariaDB do.
func TestRealMySQLComesBack(t *testing.T) {
	programs, err := mariadb.MySQL()
	if err != nil {
		t.Fatal(err)
	}
	testComesBack(t, programs)
}
