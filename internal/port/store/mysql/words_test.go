package mysql

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	driver "github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

func TestVersions(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"10.11.14-MariaDB-0+deb12u2": true, "10.6.0-MariaDB": true, "11.4.2-MariaDB-log": true, "12.0-MariaDB": true,
		"10.5.25-MariaDB": false, "10.3.39-MariaDB-0ubuntu0.20.04.2": false, "5.5.5-10.11.6-MariaDB": true, "5.5.5-10.4.1-MariaDB": false,
		"8.0.36": true, "8.0.26-log": true, "8.4.0": true, "9.1.0": true, "8.0.25": false, "5.7.44-log": false, "8": false, "": false,
		"unknown": false,
	} {
		if got := dialectOf(version).supports(version); got != want {
			t.Errorf("%q is supported: %t, want %t", version, got, want)
		}
	}
	finding := tooOld(mariaDB{}, "10.5.1-MariaDB")
	if !finding.Blocks || !strings.Contains(finding.Problem, "10.5.1") || !strings.Contains(finding.Problem, "10.6") {
		t.Errorf("finding of an old server is %+v, want it to block, and to name both versions", finding)
	}
}

func TestPositionsAreRead(t *testing.T) {
	t.Parallel()
	const a, b = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "4f22fa47-71ca-11e1-9e33-c80aa9429562"
	for name, test := range map[string]struct {
		got, want map[string]int64
	}{
		"MariaDB: applied and own": {mariaDB{}.positions("1", "1-1-15,2-2-9", "2-2-7,3-3-1"), map[string]int64{"1": 15, "2": 7, "3": 1}},
		"MariaDB: own came back":   {mariaDB{}.positions("1", "1-1-15", "1-1-17"), map[string]int64{"1": 17}},
		"MariaDB: nothing":         {mariaDB{}.positions("1", "", ""), map[string]int64{}},
		"MariaDB: not understood":  {gtids("1-1,x-y-z,1-2-3-4,2-1-5"), map[string]int64{"2": 5}},
		"MariaDB: two servers":     {gtids("1-1-5,1-2-9,1-3-7"), map[string]int64{"1": 9}},
		"MySQL: gaps":              {mySQL{}.positions("", a+":1-15:17-20,\n"+strings.ToUpper(b)+":1", ""), map[string]int64{a: 15, b: 1}},
		"MySQL: not from 1":        {gtidSet(a + ":5-9"), map[string]int64{}},
		"MySQL: received":          {highest(a + ":5-9:11," + b + ":7"), map[string]int64{a: 11, b: 7}},
		"MySQL: tags":              {gtidSet(a + ":1-5:blue:1-3"), map[string]int64{a: 5, a + ":blue": 3}},
		"MySQL: not understood":    {gtidSet(a + ":1-x," + a + ":"), map[string]int64{}},
	} {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Numbers of transactions are read as binary logs and SHOW BINLOG EVENTS have them.
func TestNumbersAreRead(t *testing.T) {
	t.Parallel()
	const a, b = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "4f22fa47-71ca-11e1-9e33-c80aa9429562"
	for name, test := range map[string]struct {
		read   func(string) (string, int64)
		text   string
		origin string
		number int64
	}{
		"MariaDB begins":       {mariaDB{}.eventNumber, "BEGIN GTID 1-1-5", "1", 5},
		"MariaDB commits":      {mariaDB{}.eventNumber, "GTID 2-1-6 cid=9", "2", 6},
		"MariaDB, none":        {mariaDB{}.numberIn, "", "", 0},
		"MySQL":                {mySQL{}.eventNumber, "SET @@SESSION.GTID_NEXT= '" + a + ":5'", a, 5},
		"MySQL with a tag":     {mySQL{}.eventNumber, "SET @@SESSION.GTID_NEXT= '" + a + ":blue:7'", a + ":blue", 7},
		"MySQL without number": {mySQL{}.eventNumber, "SET @@SESSION.GTID_NEXT= 'ANONYMOUS'", "", 0},
	} {
		if origin, number := test.read(test.text); origin != test.origin || number != test.number {
			t.Errorf("%s: %q is read as %q, %d, want %q, %d", name, test.text, origin, number, test.origin, test.number)
		}
	}
	events := []map[string]string{{"Event_type": "Format_desc", "Info": "Server ver: 9.7.4"}, {"Event_type": "Previous_gtids", "Info": a + ":1-4,\n" + b + ":1"}}
	if diff := cmp.Diff(map[string]int64{a: 4, b: 1}, mySQL{}.begin(events)); diff != "" {
		t.Errorf("a binary log of MySQL begins behind (-want +got):\n%s", diff)
	}
	at := place{own: a, here: b + ":1-9,\n" + a + ":1-5:7"}
	if got := (mySQL{}).lastOwn(at); got != a+":7" {
		t.Errorf("the last own transaction is %q", got)
	}
	if got := (mariaDB{}).lastOwn(place{own: "2", here: "1-1-9,2-2-4"}); got != "2-2-4" {
		t.Errorf("the last own transaction of MariaDB is %q", got)
	}
	if got := (mySQL{}).waitFor(a + ":7").args[0]; got != a+":1-7" {
		t.Errorf("it is waited for %v", got)
	}
}

// A former primary asks for what follows its own changes as well.
func TestOwnChangesAreKnown(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ here, applied, want string }{
		"never a replica":  {"1-1-9", "", "1-1-9"},
		"a replica before": {"1-1-9,2-2-4", "2-2-7,1-1-3,3-3-1", "1-1-9,2-2-7,3-3-1"},
		"known":            {"1-1-9,2-2-4", "1-1-9,2-2-4", ""},
		"wrote nothing":    {"2-2-4", "2-2-4", ""},
		"nothing":          {"", "", ""},
	} {
		got := ""
		if s := (mariaDB{}).knowOwn("1", test.here, test.applied); s != nil {
			got = fmt.Sprint(s.args...)
		}
		if got != test.want {
			t.Errorf("%s: gtid_slave_pos becomes %q, want %q", name, got, test.want)
		}
	}
}

func TestGrantsAreRead(t *testing.T) {
	t.Parallel()
	g := grants{on: map[string][]string{}, option: map[string]bool{}}
	for _, line := range []string{
		"GRANT SELECT, BINLOG MONITOR ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '*ABC' REQUIRE SSL WITH GRANT OPTION",
		"GRANT INSERT ON `multiactive`.* TO `a`@`%`", "GRANT `role` TO `a`@`%`", "SET DEFAULT ROLE `role` FOR `a`@`%`",
		"GRANT BACKUP_ADMIN,CONNECTION_ADMIN ON *.* TO `a`@`%`",
		"GRANT SELECT ON `multiactive`.`fence` TO PUBLIC WITH GRANT OPTION",
	} {
		g.read(line)
	}
	if diff := cmp.Diff([]string{"SUPER"}, g.lacking([]string{"SELECT", "BINLOG MONITOR", "CONNECTION_ADMIN", "SUPER"})); diff != "" {
		t.Errorf("lacking (-want +got):\n%s", diff)
	}
	if g.account != "`a`@`%`" {
		t.Errorf("account is %q, want `a`@`%%`", g.account)
	}
	dynamic := grants{on: map[string][]string{}, option: map[string]bool{}}
	dynamic.read("GRANT SELECT ON *.* TO `a`@`%`")
	dynamic.read("GRANT CONNECTION_ADMIN,SYSTEM_VARIABLES_ADMIN ON *.* TO `a`@`%` WITH GRANT OPTION")
	if dynamic.option["*.*"] {
		t.Error("whoever may grant dynamic privileges alone is taken to be able to grant all")
	}
	if !g.option["*.*"] || g.option["`multiactive`.*"] || !g.has("`multiactive`.*", "INSERT") {
		t.Errorf("read %+v", g)
	}
	all := grants{on: map[string][]string{"*.*": {"ALL PRIVILEGES"}}, option: map[string]bool{"*.*": true}}
	root := &Server{options: store.Options{Admin: store.Credentials{User: "o'x"}, Replication: store.Credentials{User: "replica"}}}
	if lacks := root.lacking(mariaDB{}, all); lacks != nil {
		t.Errorf("an administrator lacks %v", lacks)
	}
	lacks := root.lacking(mySQL{}, grants{})
	if lacks == nil || !strings.Contains(lacks.Statement, "TO 'o''x'@'%' WITH GRANT OPTION; GRANT SELECT") {
		t.Errorf("somebody without privileges lacks %+v", lacks)
	}
	watcher := &Server{}
	if lacks := watcher.lacking(mariaDB{}, grants{}); lacks == nil || slices.Contains(lacks.Missing, "CREATE USER") || !slices.Contains(lacks.Missing, "SELECT") {
		t.Errorf("somebody who only watches lacks %+v", lacks)
	}
}

func TestFaultsAreSorted(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		apply, receive, message string
		want                    storage.FaultKind
	}{
		"none":            {"0", "0", "", ""},
		"duplicate key":   {"1062", "0", "Duplicate entry '1' for key 'PRIMARY'", storage.FaultConflict},
		"row is gone":     {"1032", "0", "Can't find record", storage.FaultConflict},
		"both":            {"1062", "2003", "Duplicate entry", storage.FaultConflict},
		"no table":        {"1146", "0", "Table 'a.b' doesn't exist", storage.FaultConflict},
		"two domains":     {"1950", "0", "An attempt was made to binlog GTID 1-1-1", storage.FaultConflict},
		"purged":          {"0", "1236", "Could not find GTID state requested by slave in any binlog files. Probably the slave state is too old and required binlog files have been purged.", storage.FaultPurged},
		"purged (MySQL)":  {"0", "13114", "Got fatal error 1236 from source when reading data from binary log: 'Cannot replicate because the source purged required binary logs.'", storage.FaultPurged},
		"a gap":           {"0", "1236", "Got fatal error 1236 from master when reading data from binary log: 'The binlog on the master is missing the GTID 1-1-1 requested by the slave (even though both a prior and a subsequent sequence number does exist), and GTID strict mode is enabled'", storage.FaultPurged},
		"diverged":        {"0", "1236", "Error: connecting slave requested to start from GTID 1-1-5, which is not in the master's binlog", storage.FaultPurged},
		"log is damaged":  {"0", "1236", "log event entry exceeded max_allowed_packet", storage.FaultOther},
		"refused":         {"0", "1045", "Access denied for user 'replica'", storage.FaultCredentials},
		"not reachable":   {"0", "2003", "Can't connect to server", storage.FaultConnection},
		"disk full":       {"1114", "0", "The table 'orders' is full", storage.FaultDisk},
		"disk full, text": {"1590", "0", "The incident: No space left on device", storage.FaultDisk},
		"unknown":         {"1317", "0", "Query execution was interrupted", storage.FaultOther},
	} {
		fault := faultOf(test.apply, test.message, test.receive, test.message)
		if test.want == "" {
			if fault != nil {
				t.Errorf("%s: got %+v, want none", name, *fault)
			}
			continue
		}
		if fault == nil || fault.Kind != test.want || fault.Remedy == "" || fault.Message != test.message {
			t.Errorf("%s: got %+v, want kind %s with a remedy", name, fault, test.want)
		}
	}
}

// A message stays text, and short.
func TestMessagesAreShortened(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		message := strings.Repeat(text, 1+rapid.IntRange(0, 600).Draw(t, "times")/(1+len(text)))
		got := shorten(message)
		if len(got) > longestMessage || !utf8.ValidString(got) || !strings.HasPrefix(message, got) {
			t.Fatalf("shortened to %d bytes: %q", len(got), got)
		}
	})
}

// No part of a password is left in an error, also where a statement has it quoted.
func TestErrorsAreScrubbed(t *testing.T) {
	t.Parallel()
	const secret = `'se'cr\et"`
	p := &pool{secrets: []string{secret, "", "other"}}
	for message, number := range map[string]uint16{
		"You have an error in your SQL syntax; check the manual for the right syntax to use near ''''se''c": 1064,
		"it is " + secret: 1396, "it is " + quote(secret): 1396, "it is " + escaped.Replace(secret): 1396,
	} {
		said := &driver.MySQLError{Number: number, SQLState: [5]byte{'4', '2', '0', '0', '0'}, Message: message}
		if got := p.scrub(said); strings.Contains(got.Error(), "se'") || strings.Contains(got.Error(), "cr") || !is(got, number) {
			t.Errorf("%q: got %v, want error %d without the password", message, got, number)
		}
	}
	if got := p.scrub(errors.New("dial: other")); strings.Contains(got.Error(), "other") {
		t.Errorf("got %v, want no password", got)
	}
	plain := errors.New("nothing secret")
	if got := p.scrub(plain); !errors.Is(got, plain) {
		t.Errorf("got %v, want the error as it was", got)
	}
}

func TestRetentionBySize(t *testing.T) {
	t.Parallel()
	start := time.Unix(1000, 0)
	for name, test := range map[string]struct {
		kept          time.Duration
		before, after written
		want          time.Duration
	}{
		"first look":    {time.Hour, written{}, written{100, start}, time.Hour},
		"nothing comes": {time.Hour, written{100, start}, written{100, start.Add(time.Second)}, time.Hour},
		"size is less":  {time.Hour, written{0, start}, written{100, start.Add(time.Second)}, 10 * time.Second},
		"age is less":   {time.Second, written{0, start}, written{100, start.Add(time.Second)}, time.Second},
		"no age":        {0, written{0, start}, written{100, start.Add(time.Second)}, 10 * time.Second},
	} {
		if got := bySize(test.kept, 1000, test.before, test.after); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}
