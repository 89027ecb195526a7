package mysql

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"multiactive.dev/operator/internal/storage"
)

// facts are what settings are judged by.
type facts struct {
	want storage.Want
	// value of every global variable that settings name; variables that the server does not have are not in it.
	value map[string]string
	// origins are what the regions count by, as far as it is known, and own what this server does.
	origins map[string]string
	own     string
	// written: the server's own binary log has transactions. Linked: it has links.
	written, linked bool
	// generated: a declared table has keys that the server generates. settable: the operator's user may set how.
	generated, settable bool
}

// setting is a variable that replication needs to have some value.
type setting struct {
	name string
	// judge returns "" when the value is right, and else the value that is and what the wrong one leads to.
	judge func(facts) (value, leads string)
	// blocks and online are as in storage.Finding, inMesh: it blocks there alone. Fixed variables are read when the
	// server starts.
	blocks bool
	inMesh bool
	online func(facts) bool
	fixed  bool
}

func always(facts) bool { return true }

func never(facts) bool { return false }

func settable(f facts) bool { return f.settable }

// one wants a single value.
func one(name, wanted, leads string, blocks bool, online func(facts) bool) setting {
	return setting{name: name, blocks: blocks, online: online, judge: func(f facts) (string, string) {
		if strings.EqualFold(f.value[name], wanted) {
			return "", ""
		}
		return wanted, leads
	}}
}

// fixed wants a single value of a variable that is read when the server starts.
func fixed(name, wanted, leads string) setting {
	s := one(name, wanted, leads, true, never)
	s.fixed = true
	return s
}

// meshed is a setting that only a mesh needs.
func meshed(s setting) setting {
	judge := s.judge
	s.judge = func(f facts) (string, string) {
		if !f.want.Mesh {
			return "", ""
		}
		return judge(f)
	}
	return s
}

// numbered wants a number that no other region's server has: its place in the store, or one that is no
// region's place. taken are numbers of other regions that are known.
func numbered(name, leads string, taken func(facts) []string) setting {
	return setting{name: name, blocks: true, online: unwritten, judge: func(f facts) (string, string) {
		mine := numberOf(f.want, f.want.Region)
		value := number(f.value[name])
		others := taken(f)
		own := value == mine || value > len(f.want.Regions)
		if own && !slices.Contains(others, strconv.Itoa(value)) {
			return "", ""
		}
		free := mine
		for slices.Contains(others, strconv.Itoa(free)) {
			free += len(f.want.Regions)
		}
		return strconv.Itoa(free), leads
	}}
}

// unwritten: the numbers of a server may change while none of its transactions bears them.
func unwritten(f facts) bool { return !f.written && !f.linked }

// domains that other regions are known to count in.
func (f facts) otherOrigins() []string {
	var others []string
	for region, origin := range f.origins {
		if region != f.want.Region {
			others = append(others, origin)
		}
	}
	return others
}

func nobody(facts) []string { return nil }

func number(text string) int {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0
	}
	return int(n)
}

// common settings of both products; timeout is the variable that bounds how long a dead source goes unnoticed.
func common(timeout, exec string) []setting {
	return []setting{
		fixed("log_bin", "ON", "nothing can be replicated from this server"),
		one("binlog_format", "ROW", "statements give other rows on other servers; sessions that are open keep theirs until they "+
			"connect again", true, always),
		one("binlog_row_image", "FULL", "conflicts cannot be told from what arrived", true, always),
		numbered("server_id", "servers with the same number refuse each other's changes", nobody),
		meshed(increment()), meshed(offset()),
		retention(),
		one("sync_binlog", "1", "a crash of the machine may lose what was acknowledged, and numbers that others have seen are "+
			"given twice: they take the second change for the first and leave it out", false, never),
		one("innodb_flush_log_at_trx_commit", "1", "a crash of the machine may lose what was acknowledged", false, never),
		{name: timeout, online: always, judge: func(f facts) (string, string) {
			if number(f.value[timeout]) <= longestSilence {
				return "", ""
			}
			return strconv.Itoa(longestSilence), "a link whose packets are dropped stands still for so many seconds before it connects again"
		}},
		one(exec, "STRICT", "changes that do not fit are left out silently", true, always),
		readOnly(),
	}
}

// longestSilence of a source before its link connects again, in seconds.
const longestSilence = 10

func increment() setting {
	const name = "auto_increment_increment"
	return setting{name: name, online: settable, judge: func(f facts) (string, string) {
		if number(f.value[name]) >= len(f.want.Regions) {
			return "", ""
		}
		return strconv.Itoa(len(f.want.Regions)), "regions generate the same keys; sessions that are open keep theirs until they connect again"
	}}
}

func offset() setting {
	const name = "auto_increment_offset"
	return setting{name: name, online: settable, judge: func(f facts) (string, string) {
		mine, value := numberOf(f.want, f.want.Region), number(f.value[name])
		if value == mine || (value > len(f.want.Regions) && value <= number(f.value["auto_increment_increment"])) {
			return "", ""
		}
		return strconv.Itoa(mine), "regions generate the same keys; sessions that are open keep theirs until they connect again"
	}}
}

// retention is by age: 0 keeps binary logs for ever.
func retention() setting {
	const name = "binlog_expire_logs_seconds"
	return setting{name: name, online: always, judge: func(f facts) (string, string) {
		kept, wanted := number(f.value[name]), int(f.want.Outage.Seconds())
		if kept == 0 || kept >= wanted {
			return "", ""
		}
		return strconv.Itoa(wanted), fmt.Sprintf("a region that is away for the %s that services mean to sit through cannot catch up", f.want.Outage)
	}}
}

func readOnly() setting {
	const name = "read_only"
	return setting{name: name, online: never, judge: func(f facts) (string, string) {
		off := strings.EqualFold(f.value[name], "OFF")
		switch {
		case f.want.Writable && !off:
			return "OFF", "applications cannot write here"
		case !f.want.Writable && off:
			return "ON", "what applications write here is nowhere else"
		}
		return "", ""
	}}
}

// finding says what is wrong with a setting, nil when nothing is. set is how the product sets a variable.
func (s setting) finding(f facts, set string) *storage.Finding {
	value, has := f.value[s.name]
	if !has {
		return nil
	}
	wanted, leads := s.judge(f)
	if leads == "" {
		return nil
	}
	found := storage.Finding{Check: s.name, Blocks: s.blocks || (s.inMesh && f.want.Mesh)}
	if f.generated && strings.HasPrefix(s.name, "auto_increment") {
		found.Blocks = true
	}
	problem := fmt.Sprintf("%s is %s, and has to be %s: with this %s.", s.name, shown(value), wanted, leads)
	switch {
	case s.fixed:
		found.Problem = problem + " It takes effect when it is in the server's configuration and the server starts again."
		return &found
	case s.online(f):
		found.Online = true
	case s.name == "server_id" || s.name == "gtid_domain_id":
		problem += " The server has transactions with this number, or links: seed it from another one, or make sure that no region has " +
			"them and set it by hand."
	}
	found.Problem = problem + " Have it in the server's configuration as well."
	found.Statement = fmt.Sprintf("SET %s %s = %s", set, s.name, literal(wanted))
	return &found
}

// shown is a value for a person.
func shown(value string) string {
	if value == "" {
		return "empty"
	}
	return value
}

// literal leaves numbers as they are.
func literal(value string) string {
	if _, err := strconv.ParseInt(value, 10, 64); err == nil {
		return value
	}
	return quote(value)
}

func (mariaDB) settings() []setting {
	return append(common("slave_net_timeout", "slave_exec_mode"),
		fixed("log_slave_updates", "ON", "what this server received cannot be had from it when its source is lost"),
		fixed("slave_skip_errors", "OFF", "changes that do not fit are left out silently"),
		one("gtid_strict_mode", "ON", "servers may write other transactions under the same number", true, always),
		ignoreDuplicates(),
		numbered("gtid_domain_id", "regions count in the same domain, and refuse each other's changes", facts.otherOrigins),
	)
}

// ignoreDuplicates cannot be changed while links run (error 1198).
func ignoreDuplicates() setting {
	s := one("gtid_ignore_duplicates", "ON", "changes that come on two ways stop the link (error 1950), and a server that has changes that "+
		"its source has not, as a former primary may, cannot connect to it (error 1236)", false, func(f facts) bool { return !f.linked })
	s.inMesh = true
	return s
}

func (mySQL) settings() []setting {
	return append(common("replica_net_timeout", "replica_exec_mode"),
		fixed("log_replica_updates", "ON", "what this server received cannot be had from it when its source is lost"),
		fixed("replica_skip_errors", "OFF", "changes that do not fit are left out silently"),
		one("gtid_mode", "ON", "links cannot find where they are; set it by the steps in the manual, \"Enabling GTID Transactions Online\"", true, never),
		one("enforce_gtid_consistency", "ON", "some transactions cannot be replicated by number", true, never),
		one("super_read_only", "OFF", "the operator cannot write fences and leases", true, always),
		one("replica_preserve_commit_order", "ON", "changes may be seen in another order than they were made in", false, never),
	)
}
