package postgres

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"multiactive.dev/operator/internal/storage"
)

// logTail is how much of the end of a server's log is looked through, in bytes.
const logTail = 256 << 10

// workerError is what a link's worker said last in the server's log.
type workerError struct {
	message, code, table string
	// constraint is the unique one that a row is in the way of, and values what both rows have in its columns: users' data.
	constraint, values string
}

// lastError reads it; nil when there is none, or the log cannot be read: it needs logging_collector, and the
// privilege to read the server's files. Messages in another language than English are not understood.
func (s *Server) lastError(ctx context.Context, subscription uint32) *workerError {
	var text string
	err := s.pool.QueryRow(ctx, `SELECT pg_read_file(f.name, greatest(0, (pg_stat_file(f.name)).size - $1), $1)
		FROM (SELECT coalesce(pg_current_logfile('stderr'), pg_current_logfile('csvlog'), pg_current_logfile('jsonlog')) AS name) AS f
		WHERE f.name IS NOT NULL`, logTail).Scan(&text)
	if err != nil {
		return nil
	}
	return findError(text, fmt.Sprintf("pg_%d", subscription))
}

var (
	errorLine = regexp.MustCompile(`ERROR:\s+(.*)`)
	// The context of an error of a worker names the link's origin and, where there is one, the table.
	relation = regexp.MustCompile(`replication target relation "([^"]*)"`)
	// What is said of a key that exists, up to 17, and from 18 on.
	duplicate = regexp.MustCompile(`duplicate key value violates unique constraint "([^"]*)"`)
	exists    = regexp.MustCompile(`Key already exists in unique index "([^"]*)"`)
	// The detail of it, which 18 has on a line of its own, with both rows behind it.
	detail = regexp.MustCompile(`^(?:.*DETAIL:  |\s*)Key \(.*?\)=\((.*?)\)(?: already exists\.$|; existing local )`)
)

// findError returns the last error whose context names the origin. Details, which quote rows, are in no message: they
// are users' data.
func findError(log, origin string) *workerError {
	lines := strings.Split(log, "\n")
	for i, line := range slices.Backward(lines) {
		if !strings.Contains(line, `replication origin "`+origin+`"`) {
			continue
		}
		found := &workerError{}
		if match := relation.FindStringSubmatch(line); match != nil {
			found.table = match[1]
		}
		for j := i; j >= max(0, i-8); j-- {
			found.read(lines[j])
			if match := errorLine.FindStringSubmatch(lines[j]); match != nil {
				found.message = strings.TrimSpace(match[1])
				found.code = codeOf(found.message)
				return found
			}
		}
	}
	return nil
}

// read takes what a line says about the key that exists.
func (e *workerError) read(line string) {
	for _, pattern := range []*regexp.Regexp{duplicate, exists} {
		if match := pattern.FindStringSubmatch(line); match != nil {
			e.constraint = match[1]
		}
	}
	if match := detail.FindStringSubmatch(line); match != nil {
		e.values = match[1]
	}
}

// codes of messages that workers end with: the log has them only where log_line_prefix does.
var codes = []struct{ text, code string }{
	{"duplicate key value violates unique constraint", codeUniqueViolation},
	{"conflict=insert_exists", codeUniqueViolation},
	{"conflict=update_exists", codeUniqueViolation},
	{"conflict=multiple_unique_conflicts", codeUniqueViolation},
	{"violates foreign key constraint", "23503"},
	{"violates not-null constraint", "23502"},
	{"violates check constraint", "23514"},
	{"No space left on device", "53100"},
	{"could not receive data from WAL stream", "08006"},
	{"terminating logical replication worker due to timeout", "08006"},
	{"is missing replicated column", "55000"},
	{"does not exist", codeUndefinedTable},
}

func codeOf(message string) string {
	for _, known := range codes {
		if strings.Contains(message, known.text) {
			return known.code
		}
	}
	return ""
}

// kind sorts what a worker said.
func (e *workerError) kind() storage.FaultKind {
	switch {
	case strings.HasPrefix(e.code, "23"):
		return storage.FaultConflict
	case e.code == "53100":
		return storage.FaultDisk
	case e.code == "08006":
		return storage.FaultConnection
	}
	return storage.FaultOther
}
