package mysql

import (
	"net"
	"strconv"
	"strings"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// mariaDB speaks MariaDB from 10.6. What it relies on was tested with 10.11 unless a comment says otherwise.
type mariaDB struct{}

func (mariaDB) oldest() string { return "MariaDB 10.6" }

func (mariaDB) supports(version string) bool { return atLeast(version, 10, 6) }

func (mariaDB) origin() string { return "CAST(@@GLOBAL.gtid_domain_id AS CHAR)" }

// gtid_binlog_pos counts a transaction when it is written to the binary log, before others see its rows;
// gtid_slave_pos when it has been applied. Own transactions are in the first alone.
func (mariaDB) positionQuery() string { return "@@GLOBAL.gtid_binlog_pos, @@GLOBAL.gtid_slave_pos" }

func (mariaDB) positions(own, here, applied string) map[string]int64 {
	all := gtids(applied)
	if mine, ok := gtids(here)[own]; ok {
		all[own] = max(all[own], mine)
	}
	return all
}

// gtids reads "1-1-15,2-3-7": domain, server, sequence. A domain that occurs twice, as in a binary log's
// state, has its higher sequence.
func gtids(text string) map[string]int64 {
	all := map[string]int64{}
	for gtid := range strings.SplitSeq(text, ",") {
		parts := strings.Split(strings.TrimSpace(gtid), "-")
		if len(parts) != 3 {
			continue
		}
		if sequence, err := strconv.ParseInt(parts[2], 10, 64); err == nil {
			all[parts[0]] = max(all[parts[0]], sequence)
		}
	}
	return all
}

func (mariaDB) statusQuery() string { return "SHOW ALL SLAVES STATUS" }

func (mariaDB) link(row map[string]string) (string, storage.Link, map[string]int64) {
	link := storage.Link{
		Address:   net.JoinHostPort(row["Master_Host"], row["Master_Port"]),
		Receiving: row["Slave_IO_Running"] == "Yes",
		Applying:  row["Slave_SQL_Running"] == "Yes",
		Fault:     faultOf(row["Last_SQL_Errno"], row["Last_SQL_Error"], row["Last_IO_Errno"], row["Last_IO_Error"]),
	}
	link.Stopped = row["Slave_IO_Running"] == "No" && row["Slave_SQL_Running"] == "No" && link.Fault == nil
	return row["Connection_name"], link, gtids(row["Gtid_IO_Pos"])
}

// connect lets the server go on from gtid_slave_pos, what it has applied of every domain: changing the
// address discards what has arrived and is not applied, which then comes once more.
func (mariaDB) connect(region, host, port string, who store.Credentials, exists bool) []statement {
	var all []statement
	if exists {
		all = append(all, statement{"STOP SLAVE ?", []any{region}})
	}
	number, _ := strconv.Atoi(port)
	change := "CHANGE MASTER ? TO MASTER_HOST = ?, MASTER_PORT = ?, MASTER_USER = ?, MASTER_PASSWORD = ?, " +
		"MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, MASTER_SSL = ?"
	return append(all,
		statement{change, []any{region, host, number, who.User, who.Password, bit(who.TLS != nil)}},
		statement{"START SLAVE ?", []any{region}})
}

// knowOwn: a source is asked for what follows gtid_slave_pos, in which a former primary does not have what it wrote
// itself. Once its replicas have deleted that from their binary logs, they would refuse it (error 1236). What is
// added is in the server's own binary log: nothing is skipped. MASTER_DEMOTE_TO_SLAVE does the same from 10.10 on
// (manual, "CHANGE MASTER TO").
func (mariaDB) knowOwn(own, here, applied string) *statement {
	mine := ""
	for gtid := range strings.SplitSeq(here, ",") {
		if domain, _, _ := strings.Cut(gtid, "-"); domain == own {
			mine = gtid
		}
	}
	if mine == "" || gtids(applied)[own] >= gtids(mine)[own] {
		return nil
	}
	all := []string{mine}
	for gtid := range strings.SplitSeq(applied, ",") {
		if domain, _, _ := strings.Cut(gtid, "-"); domain != own && gtid != "" {
			all = append(all, gtid)
		}
	}
	return &statement{"SET GLOBAL gtid_slave_pos = ?", []any{strings.Join(all, ",")}}
}

func (spoken mariaDB) knowOwnOf(own, here, applied, source string) *statement {
	last := spoken.lastOwn(place{own: own, here: here})
	theirs := gtids(source)[own]
	if last == "" || theirs == 0 {
		return nil
	}
	parts := strings.Split(last, "-")
	parts[2] = strconv.FormatInt(min(gtids(last)[own], theirs), 10)
	return spoken.knowOwn(own, strings.Join(parts, "-"), applied)
}

func (mariaDB) asksForOwn() bool { return true }

func bit(set bool) int {
	if set {
		return 1
	}
	return 0
}

func (mariaDB) start(region string) string { return "START SLAVE " + quote(region) }

func (mariaDB) pause(region string) []statement { return []statement{{"STOP SLAVE ?", []any{region}}} }

func (mariaDB) disconnect(region string) []statement {
	return []statement{{"STOP SLAVE ?", []any{region}}, {"RESET SLAVE ? ALL", []any{region}}}
}

// userQuery: group_concat_max_len is 1 MB (tested with 10.11). Nobody else may see the answer, which has the hash of a password in it.
func (mariaDB) userQuery() string {
	return "SELECT CONCAT(COALESCE((SELECT GROUP_CONCAT(Host, ' ', Priv ORDER BY Host SEPARATOR '\n') FROM mysql.global_priv WHERE User = ?), ''), '\n', " +
		"COALESCE((SELECT GROUP_CONCAT(Host, ' ', Db, ' ', Select_priv ORDER BY Host, Db SEPARATOR '\n') FROM mysql.db WHERE User = ?), ''))"
}

// keySettings need SUPER to be set (tested with 10.11), which is not asked for.
func (mariaDB) keySettings(g grants) bool { return g.has("*.*", "SUPER") }

func (mariaDB) privileges() (operator, replication []string) {
	return []string{
			"BINLOG ADMIN", "BINLOG MONITOR", "CREATE USER", "READ_ONLY ADMIN", "RELOAD", "REPLICATION MASTER ADMIN",
			"REPLICATION SLAVE", "REPLICATION SLAVE ADMIN", "SELECT", "SLAVE MONITOR",
		}, []string{
			"BINLOG MONITOR", "REPLICATION SLAVE",
		}
}

func (mariaDB) purged() purgedQuery {
	// The first event of a binary log lists all that was written to older ones (manual, "Gtid_list_event").
	return purgedQuery{file: "SHOW BINARY LOGS", lost: "SELECT BINLOG_GTID_POS(?, 4)", read: gtids}
}

// seed copies a source without stopping it, and sets gtid_slave_pos to where the copy was made.
func (mariaDB) seed(host, port string) []string {
	return []string{
		"mariadb --host=THIS-SERVER --user=root --password --execute='STOP ALL SLAVES'",
		"mariadb-dump --host=" + host + " --port=" + port + " --user=root --password --all-databases --single-transaction --gtid " +
			"--master-data=1 --routines --events --triggers --result-file=seed.sql",
		"mariadb --host=THIS-SERVER --user=root --password --init-command='SET sql_log_bin = 0' < seed.sql",
	}
}

func (mariaDB) scope() string { return "GLOBAL" }

func (mariaDB) hash(text string) string { return "MD5(" + text + ")" }
