package mysql

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"multiactive.dev/operator/internal/storage"
)

// longestMessage of a fault, in bytes.
const longestMessage = 512

// faultOf sorts what a link says: first why it does not apply, then why it does not receive.
func faultOf(applyNumber, applyError, receiveNumber, receiveError string) *storage.Fault {
	number, message := applyNumber, applyError
	if number == "" || number == "0" {
		number, message = receiveNumber, receiveError
	}
	if number == "" || number == "0" {
		return nil
	}
	code, _ := strconv.Atoi(number)
	kind, remedy := sortFault(code, message)
	return &storage.Fault{Kind: kind, Code: number, Message: shorten(message), Remedy: remedy}
}

// sortFault tells what a number means for a link.
func sortFault(code int, message string) (storage.FaultKind, string) {
	switch code {
	case 1062, 1022, 1032, 1451, 1452, 1216, 1217, 1048, 1264, 1406, 4025, 3819:
		// Duplicate keys, rows that are not there, foreign keys, NULLs, ranges, checks.
		return storage.FaultConflict, "Compare the row that the message names on both servers, make this server's fit by hand " +
			"in a session with SET sql_log_bin = 0; nothing is skipped."
	case 1146, 1049, 1054, 1136, 1677, 1535:
		return storage.FaultConflict, "The table that the message names is not the same on both servers: make it so, in a session " +
			"with SET sql_log_bin = 0."
	case 1236, 13114:
		if strings.Contains(message, "purged") || strings.Contains(message, "not in the master's binlog") ||
			strings.Contains(message, "is missing the GTID") ||
			strings.Contains(message, "Could not find GTID state requested by slave") {
			return storage.FaultPurged, "Seed this server from a backup of the source, as the link's bootstrap says."
		}
		return storage.FaultOther, "Look at the source's error log: its binary log cannot be read from where this server is."
	case 1950:
		return storage.FaultConflict, "Two servers counted in one gtid_domain_id, or somebody wrote without gtid_ignore_duplicates: " +
			"give every server a domain of its own, and set gtid_ignore_duplicates = ON."
	case 1045, 1698, 1862, 1820, 3118, 4151, 1044, 1227, 2061, 2054, 1251:
		return storage.FaultCredentials, "The source refuses the user that servers replicate as: the operator gives it its password " +
			"and privileges at the source, and this server the same; check its Secret when that does not help."
	case 2002, 2003, 2005, 2006, 2013, 2026, 1040, 1129, 1130, 1158, 1159, 1160, 1161, 1429:
		return storage.FaultConnection, "The source cannot be reached; the server tries again every second. Check its address and the " +
			"network between them."
	case 3, 28, 1021, 1026, 1030, 1114, 1594:
		if code == 1594 {
			return storage.FaultDisk, "What had arrived cannot be read; it is fetched once more when the link is started again."
		}
		return storage.FaultDisk, "The server cannot write: make room on its disk."
	}
	if strings.Contains(message, "No space left on device") || strings.Contains(message, "rrcode: 28") {
		return storage.FaultDisk, "The server cannot write: make room on its disk."
	}
	return storage.FaultOther, "Mend what the message says; nothing is skipped."
}

// shorten cuts a message at the end of a character.
func shorten(message string) string {
	if len(message) <= longestMessage {
		return message
	}
	message = message[:longestMessage]
	for !utf8.ValidString(message) {
		message = message[:len(message)-1]
	}
	return message
}
