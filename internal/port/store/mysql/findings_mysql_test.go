//go:build e2e

package mysql_test

import (
	"flag"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/port/store/mysql/mysqltest"
	"multiactive.dev/operator/internal/testkit/mariadb"
)

// Servers of MySQL start slowly and compute little: more of these tests run at once than there are processors, unless somebody says how many.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0)+1)); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// engine is what tests run on.
func engine(t testing.TB) mysqltest.Engine {
	t.Helper()
	e, err := mysqltest.MySQL()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Settings, filters and links of others are found as they are with MariaDB.
func TestFindingsOfABareServer(t *testing.T) {
	t.Parallel()
	e := engine(t)
	n := e.RunOne(t, mariadb.Options{Settings: e.Bare})
	want := []string{
		"!+server_id", "!enforce_gtid_consistency", "!gtid_mode", "+auto_increment_increment", "+auto_increment_offset", "+replica_net_timeout",
		"innodb_flush_log_at_trx_commit", "sync_binlog",
	}
	// The retention is 30 days by itself, which is enough.
	if diff := cmp.Diff(want, found(t, openNode(t, n), wanted())); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	must(t, n,
		"CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = 1, SOURCE_USER = 'legacy' FOR CHANNEL 'old'",
		"CHANGE REPLICATION FILTER REPLICATE_DO_DB = (shop) FOR CHANNEL 'old'",
		"SET GLOBAL binlog_row_image = 'MINIMAL'", "CREATE TABLE shop.keyless (id INT)", "SET GLOBAL super_read_only = ON")
	got := found(t, openNode(t, n), wanted())
	for _, one := range []string{"!Replicate_Do_DB", "link 'old'", "!+binlog_row_image", "!+super_read_only", "read_only", "primary keys"} {
		if !slices.Contains(got, one) {
			t.Errorf("findings are %v, want %q among them", got, one)
		}
	}
}
