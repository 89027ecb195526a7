package mysql

import (
	"fmt"
	"strings"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
)

func (mySQL) logged(here string) map[string]int64 { return gtidSet(here) }

func (mySQL) applied(here, _ string) map[string]int64 { return gtidSet(here) }

// beginQuery: the second event of a binary log has all that was written before it.
func (mySQL) beginQuery() string { return "SHOW BINLOG EVENTS IN ? LIMIT 2" }

func (mySQL) begin(rows []map[string]string) map[string]int64 {
	for _, event := range rows {
		if event["Event_type"] == "Previous_gtids" {
			return gtidSet(event["Info"])
		}
	}
	return map[string]int64{}
}

// eventNumber reads "SET @@SESSION.GTID_NEXT= 'uuid:5'".
func (mySQL) eventNumber(info string) (origin string, number int64) {
	_, text, _ := strings.Cut(info, "'")
	return mySQL{}.numberIn(strings.TrimSuffix(text, "'"))
}

func (mySQL) numberIn(gtid string) (origin string, number int64) {
	for one := range intervals(gtid) {
		return one.origin, one.to
	}
	return "", 0
}

func (mySQL) shows(host, port string, at place, after int64) string {
	return fmt.Sprintf("mysqlbinlog --read-from-remote-server --host=%s --port=%s --user=root --password --base64-output=DECODE-ROWS --verbose "+
		"--to-last-log --include-gtids=%s:%d-%d binlog.000001", host, port, at.own, after+1, highest(at.here)[at.own])
}

func (mySQL) flavor() string { return gomysql.MySQLFlavor }

func (mySQL) lastOwn(at place) string {
	last := highest(at.here)[at.own]
	if last == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d", at.own, last)
}

func (mySQL) waitFor(gtid string) statement {
	return statement{"SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?)", []any{upTo(gtid), arriveFor}}
}

// upTo is the set of all transactions up to one.
func upTo(gtid string) string { return strings.Replace(gtid, ":", ":1-", 1) }

func (mySQL) receiveNoMore(region string) statement {
	return statement{"STOP REPLICA IO_THREAD FOR CHANNEL ?", []any{region}}
}

// settlePrivileges: SYSTEM_VARIABLES_ADMIN, which the operator's user has, lets it write transactions in the name of other servers.
func (mySQL) settlePrivileges() []string { return []string{"DELETE", "INSERT", "TRIGGER", "UPDATE"} }
