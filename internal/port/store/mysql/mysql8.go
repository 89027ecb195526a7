package mysql

import (
	"iter"
	"net"
	"strconv"
	"strings"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// mySQL speaks MySQL from 8.0.26. What it relies on was tested with 9.7; with older ones recorded answers were, as the manual has
// them.
type mySQL struct{}

func (mySQL) oldest() string { return "MySQL 8.0.26" }

func (mySQL) supports(version string) bool { return atLeast(version, 8, 0, 26) }

func (mySQL) origin() string { return "@@GLOBAL.server_uuid" }

// gtid_executed has what is committed, whoever wrote it (manual, "Replication with Global Transaction
// Identifiers").
func (mySQL) positionQuery() string { return "@@GLOBAL.gtid_executed, ''" }

func (mySQL) positions(_, here, _ string) map[string]int64 { return gtidSet(here) }

// gtidSet reads "uuid:1-15:17,uuid:tag:1-3": by server, the end of the interval that begins with 1. What comes
// after a gap is not counted. Tagged transactions (8.3 and later) count by server and tag.
func gtidSet(text string) map[string]int64 {
	all := map[string]int64{}
	for one := range intervals(text) {
		if one.from == 1 {
			all[one.origin] = one.to
		}
	}
	return all
}

// highest reads what a link received, which begins where the server was when it connected.
func highest(text string) map[string]int64 {
	all := map[string]int64{}
	for one := range intervals(text) {
		all[one.origin] = max(all[one.origin], one.to)
	}
	return all
}

// interval of transactions.
type interval struct {
	origin   string
	from, to int64
}

// intervals reads a set of them; what it does not understand it leaves out.
func intervals(text string) iter.Seq[interval] {
	return func(yield func(interval) bool) {
		for set := range strings.SplitSeq(text, ",") {
			parts := strings.Split(strings.TrimSpace(set), ":")
			origin := strings.ToLower(parts[0])
			for _, part := range parts[1:] {
				first, last, isRange := strings.Cut(part, "-")
				from, err := strconv.ParseInt(first, 10, 64)
				if err != nil {
					origin = strings.ToLower(parts[0]) + ":" + part
					continue
				}
				to := from
				if isRange {
					to, err = strconv.ParseInt(last, 10, 64)
				}
				if err == nil && !yield(interval{origin, from, to}) {
					return
				}
			}
		}
	}
}

func (mySQL) statusQuery() string { return "SHOW REPLICA STATUS" }

func (mySQL) link(row map[string]string) (string, storage.Link, map[string]int64) {
	link := storage.Link{
		Address:   net.JoinHostPort(row["Source_Host"], row["Source_Port"]),
		Receiving: row["Replica_IO_Running"] == "Yes",
		Applying:  row["Replica_SQL_Running"] == "Yes",
		Fault:     faultOf(row["Last_SQL_Errno"], row["Last_SQL_Error"], row["Last_IO_Errno"], row["Last_IO_Error"]),
	}
	link.Stopped = row["Replica_IO_Running"] == "No" && row["Replica_SQL_Running"] == "No" && link.Fault == nil
	return row["Channel_Name"], link, highest(row["Retrieved_Gtid_Set"])
}

// connect goes on from gtid_executed, and tries again for ever: from 8.4 on servers give up after ten attempts otherwise. Servers that authenticate with caching_sha2_password send their public key
// over plain connections.
func (mySQL) connect(region, host, port string, who store.Credentials, exists bool) []statement {
	var all []statement
	if exists {
		all = append(all, statement{"STOP REPLICA FOR CHANNEL ?", []any{region}})
	}
	number, _ := strconv.Atoi(port)
	change := "CHANGE REPLICATION SOURCE TO SOURCE_HOST = ?, SOURCE_PORT = ?, SOURCE_USER = ?, SOURCE_PASSWORD = ?, " +
		"SOURCE_AUTO_POSITION = 1, SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 0, SOURCE_SSL = ?, GET_SOURCE_PUBLIC_KEY = ? FOR CHANNEL ?"
	return append(all,
		statement{change, []any{host, number, who.User, who.Password, bit(who.TLS != nil), bit(who.TLS == nil), region}},
		statement{"START REPLICA FOR CHANNEL ?", []any{region}})
}

// knowOwn has nothing to do: gtid_executed has everything.
func (mySQL) knowOwn(string, string, string) *statement { return nil }

func (mySQL) knowOwnOf(string, string, string, string) *statement { return nil }

func (mySQL) asksForOwn() bool { return false }

func (mySQL) start(region string) string { return "START REPLICA FOR CHANNEL " + quote(region) }

func (mySQL) pause(region string) []statement {
	return []statement{{"STOP REPLICA FOR CHANNEL ?", []any{region}}}
}

func (mySQL) disconnect(region string) []statement {
	return []statement{{"STOP REPLICA FOR CHANNEL ?", []any{region}}, {"RESET REPLICA ALL FOR CHANNEL ?", []any{region}}}
}

func (mySQL) userQuery() string { return "" }

func (mySQL) keySettings(grants) bool { return true }

func (mySQL) privileges() (operator, replication []string) {
	return []string{
			"CONNECTION_ADMIN", "CREATE USER", "RELOAD", "REPLICATION CLIENT", "REPLICATION SLAVE", "REPLICATION_SLAVE_ADMIN", "SELECT",
			"SYSTEM_VARIABLES_ADMIN",
		}, []string{
			"REPLICATION CLIENT", "REPLICATION SLAVE",
		}
}

// gtid_purged has all transactions whose binary logs are gone.
func (mySQL) purged() purgedQuery {
	return purgedQuery{lost: "SELECT @@GLOBAL.gtid_purged", read: gtidSet}
}

// seed copies a source without stopping it; the dump sets gtid_purged.
func (mySQL) seed(host, port string) []string {
	return []string{
		"mysql --host=THIS-SERVER --user=root --password --execute='STOP REPLICA; RESET BINARY LOGS AND GTIDS'",
		"mysqldump --host=" + host + " --port=" + port + " --user=root --password --all-databases --single-transaction " +
			"--set-gtid-purged=ON --routines --events --triggers --result-file=seed.sql",
		"mysql --host=THIS-SERVER --user=root --password < seed.sql",
	}
}

func (mySQL) scope() string { return "PERSIST" }

// hash is not MD5, which servers from 9.6 on have only as a component.
func (mySQL) hash(text string) string { return "SHA2(" + text + ", 256)" }
