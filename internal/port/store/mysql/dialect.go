package mysql

import (
	"context"
	"strconv"
	"strings"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// dialect is what MariaDB and MySQL say differently. Its methods are pure, but for pass.
type dialect interface {
	// oldest is the lowest version that is spoken with, for a person.
	oldest() string
	// supports tells whether that version is at least the oldest.
	supports(version string) bool
	// origin is an expression for what positions of a server are counted by, as text.
	origin() string
	// positionQuery asks for two texts: what is on the server, and what it applied of others.
	positionQuery() string
	// positions reads them, by origin; own is the server's own.
	positions(own, here, applied string) map[string]int64
	// statusQuery asks for all links.
	statusQuery() string
	// link reads one of its rows: the source region, what it says, and what has arrived, by origin.
	link(row map[string]string) (region string, link storage.Link, received map[string]int64)
	// connect makes statements that point a link at a source and start it.
	connect(region, host, port string, who store.Credentials, exists bool) []statement
	// knowOwn makes the statement with which a server that has no link that runs counts its own transactions among
	// what it has applied; nil when it does so.
	knowOwn(own, here, applied string) *statement
	// knowOwnOf does so for those that a source has, whose positions are given.
	knowOwnOf(own, here, applied, source string) *statement
	// asksForOwn tells whether a link asks its source for what the server wrote itself.
	asksForOwn() bool
	// start is the statement with which a person starts a link again.
	start(region string) string
	// pause and disconnect make statements for a link that exists.
	pause(region string) []statement
	disconnect(region string) []statement
	// settings that replication needs, and how they are set: so that they stay, where the product can.
	settings() []setting
	scope() string
	// privileges that the operator's user needs on everything, and those of the replication user.
	privileges() (operator, replication []string)
	// userQuery asks for all that a server has of a user, whose name it takes twice, as one text; "" where it takes more than that.
	userQuery() string
	// keySettings tells whether the operator's user may set how keys are generated.
	keySettings(g grants) bool
	// purged asks a source for its oldest binary log, and what it does not have any more, by origin.
	purged() purgedQuery
	// logged is what a server has written to its own binary log, applied what it has of others, by origin.
	logged(here string) map[string]int64
	applied(here, applied string) map[string]int64
	// beginQuery takes the name of a binary log and asks what was written before it, which begin reads, by origin.
	beginQuery() string
	begin(rows []map[string]string) map[string]int64
	// numberIn reads one transaction's number, as its product writes it.
	numberIn(gtid string) (origin string, number int64)
	// eventNumber is the number that an event begins a transaction with, as SHOW BINLOG EVENTS has it.
	eventNumber(info string) (origin string, number int64)
	// shows is a command that shows what follows a number of the server's own; "" where there is none.
	shows(host, port string, at place, after int64) string
	// lastOwn is the last of the server's own transactions, "" without one.
	lastOwn(at place) string
	// waitFor asks for 0, once the server has applied everything up to a transaction.
	waitFor(gtid string) statement
	// receiveNoMore lets a link apply what has arrived.
	receiveNoMore(region string) statement
	// pass has the server count a region's transactions up to one among what it has; done is false while that is not all.
	pass(ctx context.Context, s *Server, gtid string) (done bool, err error)
	// flavor is how the library that reads binary logs calls the product.
	flavor() string
	// settlePrivileges are needed on everything where late changes are settled.
	settlePrivileges() []string
	// hash is an expression for a digest of a text, of at least 32 hexadecimal digits.
	hash(text string) string
	// seed makes the commands that copy a source to this server.
	seed(host, port string) []string
}

// statement with its arguments.
type statement struct {
	text string
	args []any
}

// dialectOf chooses by the version that a server tells, such as "10.11.14-MariaDB-0+deb12u2" or "8.0.36".
func dialectOf(version string) dialect {
	if strings.Contains(strings.ToLower(version), "mariadb") {
		return mariaDB{}
	}
	return mySQL{}
}

// atLeast compares the numbers that a version begins with.
func atLeast(version string, wanted ...int) bool {
	// Servers that hide behind an old client's expectations say "5.5.5-10.11.14-MariaDB".
	version = strings.TrimPrefix(version, "5.5.5-")
	for _, want := range wanted {
		end := strings.IndexFunc(version, func(r rune) bool { return r < '0' || r > '9' })
		digits := version
		if end >= 0 {
			digits, version = version[:end], version[end+1:]
		} else {
			version = ""
		}
		got, err := strconv.Atoi(digits)
		if err != nil || got != want {
			return err == nil && got > want
		}
	}
	return true
}

// numberOf is a region's number in its store, from 1; 0 when it is not one of them.
func numberOf(w storage.Want, region string) int {
	for i, r := range w.Regions {
		if r == region {
			return i + 1
		}
	}
	return 0
}
