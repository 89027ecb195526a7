package mariadb

import (
	"database/sql"
	"strconv"
	"testing"
)

// Replicating returns what a server of a store with several regions has in its configuration. number, from 1, tells
// the servers apart.
func Replicating(number, regions int) map[string]string {
	id := strconv.Itoa(number)
	return map[string]string{
		"server-id": id, "gtid-domain-id": id, "log-bin": "binlog", "log-slave-updates": "ON", "binlog-format": "ROW",
		"gtid-strict-mode": "ON", "gtid-ignore-duplicates": "ON", "auto-increment-increment": strconv.Itoa(regions),
		"auto-increment-offset": id, "expire-logs-days": "7",
	}
}

// Execute runs statements as the superuser, in order and on this server alone.
func Execute(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}
