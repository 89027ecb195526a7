package mysql

import (
	"fmt"
	"strings"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
)

func (mariaDB) logged(here string) map[string]int64 { return gtids(here) }

func (mariaDB) applied(_, applied string) map[string]int64 { return gtids(applied) }

func (mariaDB) beginQuery() string { return "SELECT BINLOG_GTID_POS(?, 4) AS had" }

func (mariaDB) begin(rows []map[string]string) map[string]int64 {
	if len(rows) == 0 {
		return map[string]int64{}
	}
	return gtids(rows[0]["had"])
}

// eventNumber reads "BEGIN GTID 1-1-5", or "GTID 1-1-6 cid=9".
func (mariaDB) eventNumber(info string) (origin string, number int64) {
	_, text, _ := strings.Cut(info, "GTID ")
	text, _, _ = strings.Cut(text, " ")
	return mariaDB{}.numberIn(text)
}

func (mariaDB) numberIn(gtid string) (origin string, number int64) {
	for origin, number := range gtids(gtid) {
		return origin, number
	}
	return "", 0
}

// shows: mariadb-binlog takes GTIDs from 10.8 on.
func (mariaDB) shows(host, port string, at place, after int64) string {
	last := mariaDB{}.lastOwn(at)
	parts := strings.Split(last, "-")
	if len(parts) != 3 {
		return ""
	}
	return fmt.Sprintf("mariadb-binlog --read-from-remote-server --host=%s --port=%s --user=root --password --base64-output=DECODE-ROWS --verbose "+
		"--to-last-log --start-position=%s-%s-%d --stop-position=%s binlog.000001", host, port, parts[0], parts[1], after, last)
}

func (mariaDB) flavor() string { return gomysql.MariaDBFlavor }

func (mariaDB) lastOwn(at place) string {
	for gtid := range strings.SplitSeq(at.here, ",") {
		if domain, _, _ := strings.Cut(gtid, "-"); domain == at.own {
			return gtid
		}
	}
	return ""
}

func (mariaDB) waitFor(gtid string) statement {
	return statement{"SELECT MASTER_GTID_WAIT(?, ?)", []any{gtid, arriveFor}}
}

func (mariaDB) receiveNoMore(region string) statement {
	return statement{"STOP SLAVE ? IO_THREAD", []any{region}}
}

// settlePrivileges: transactions in the name of a server that was lost need BINLOG REPLAY.
func (mariaDB) settlePrivileges() []string {
	return []string{"BINLOG REPLAY", "DELETE", "INSERT", "TRIGGER", "UPDATE"}
}
