//go:build !e2e

package mysql_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/port/store/mysql"
	"multiactive.dev/operator/internal/port/store/mysql/mysqltest"
	"multiactive.dev/operator/internal/storage"
	"multiactive.dev/operator/internal/testkit/mariadb"
)

// engine is what tests run on.
func engine(testing.TB) mysqltest.Engine { return mysqltest.MariaDB }

func TestFindingsOfABareServer(t *testing.T) {
	t.Parallel()
	n := mysqltest.RunOne(t, mariadb.Options{})
	if got := found(t, openNode(t, n), wanted()); !slices.Contains(got, "auto_increment_offset") {
		t.Errorf("findings are %v, want auto_increment_offset, which the operator may not set without SUPER, among them", got)
	}
	must(t, n, "GRANT SUPER ON *.* TO multiactive@'%'")
	server := openNode(t, n)
	want := []string{
		"!+binlog_format", "!+gtid_domain_id", "!+gtid_ignore_duplicates", "!+gtid_strict_mode", "!+server_id", "!log_bin", "!log_slave_updates",
		"+auto_increment_increment", "+auto_increment_offset", "+slave_net_timeout", "innodb_flush_log_at_trx_commit", "sync_binlog",
	}
	if diff := cmp.Diff(want, found(t, server, wanted())); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	for name, test := range map[string]struct {
		before, after []string
		want          string
		change        func(*storage.Want)
	}{
		"retention":        {before: []string{"SET GLOBAL binlog_expire_logs_seconds = 86400"}, want: "+binlog_expire_logs_seconds"},
		"row image":        {before: []string{"SET GLOBAL binlog_row_image = 'MINIMAL'"}, want: "!+binlog_row_image"},
		"exec mode":        {before: []string{"SET GLOBAL slave_exec_mode = 'IDEMPOTENT'"}, want: "!+slave_exec_mode"},
		"read only":        {before: []string{"SET GLOBAL read_only = 1"}, after: []string{"SET GLOBAL read_only = 0"}, want: "read_only"},
		"duplicates":       {want: "+gtid_ignore_duplicates", change: func(w *storage.Want) { w.Mesh = false }},
		"writable replica": {change: func(w *storage.Want) { w.Writable, w.Mesh = false, false }, want: "read_only"},
		"generated keys": {
			before: []string{"CREATE TABLE shop.gen (id INT AUTO_INCREMENT PRIMARY KEY)"}, want: "!+auto_increment_offset",
			change: func(w *storage.Want) { w.Tables = []string{"shop.gen"} },
		},
		"no such table": {want: "shop.none", change: func(w *storage.Want) { w.Tables = []string{"shop.none"} }},
		"hostile table": {want: "a`b'\"\\.c;", change: func(w *storage.Want) { w.Tables = []string{"a`b'\"\\.c;"} }},
		"no key": {
			before: []string{"CREATE TABLE shop.keyless (id INT)"}, want: "!shop.keyless",
			change: func(w *storage.Want) { w.Tables = []string{"shop.keyless"} },
		},
		"no key, not declared": {before: []string{"CREATE TABLE shop.other (id INT)"}, want: "primary keys"},
		"engine": {
			before: []string{"CREATE TABLE shop.aria (id INT PRIMARY KEY) ENGINE = Aria"}, want: "!shop.aria",
			change: func(w *storage.Want) { w.Tables = []string{"shop.aria"} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := wanted()
			if test.change != nil {
				test.change(&w)
			}
			must(t, n, test.before...)
			if got := found(t, openNode(t, n), w); !slices.Contains(got, test.want) {
				t.Errorf("findings are %v, want %q among them", got, test.want)
			}
			must(t, n, test.after...)
		})
	}
}

// Numbers that somebody chose are left alone while they cannot be those of other regions.
func TestNumbersOfServers(t *testing.T) {
	t.Parallel()
	n := mysqltest.RunOne(t, mariadb.Options{Settings: mysqltest.Settings(1, 3)})
	server := openNode(t, n)
	if err := server.Prepare(t.Context(), wanted()); err != nil {
		t.Fatal(err)
	}
	domain := func(want string, statements ...string) {
		t.Helper()
		must(t, n, statements...)
		seen, err := server.Observe(t.Context(), wanted())
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, finding := range seen.Findings {
			if finding.Check == "gtid_domain_id" {
				got = fmt.Sprint(finding.Statement, " ", finding.Online)
			}
		}
		if got != want {
			t.Errorf("after %q: domain is to be mended by %q, want %q", statements, got, want)
		}
	}
	domain("SET GLOBAL gtid_domain_id = 2 true") // it is 1, the first region's
	domain("", "SET GLOBAL gtid_domain_id = 2")
	domain("", "SET GLOBAL gtid_domain_id = 17")
	must(t, n, "INSERT INTO multiactive.canary VALUES ('beijing', 1, 1, '2')")
	domain("SET GLOBAL gtid_domain_id = 5 true", "SET GLOBAL gtid_domain_id = 2")
	if err := n.Put(t.Context(), 1, "written"); err != nil {
		t.Fatal(err)
	}
	domain("SET GLOBAL gtid_domain_id = 5 false")
}

// A link that leaves something out is found.
func TestFilters(t *testing.T) {
	t.Parallel()
	n := mysqltest.RunOne(t, mariadb.Options{Settings: mysqltest.Settings(2, 3)})
	must(t, n, "CHANGE MASTER 'beijing' TO MASTER_HOST = '127.0.0.1', MASTER_PORT = 1, MASTER_USE_GTID = slave_pos, DO_DOMAIN_IDS = (1)")
	if got := found(t, openNode(t, n), wanted()); !slices.Contains(got, "!Replicate_Do_Domain_Ids") {
		t.Errorf("findings are %v, want the filter among them", got)
	}
}

// Links that somebody else has made are told, and left alone; where the operator makes none, they are what there is.
func TestForeignLinks(t *testing.T) {
	t.Parallel()
	n := mysqltest.RunOne(t, mariadb.Options{Settings: mysqltest.Settings(2, 3)})
	must(t, n, "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = 1, MASTER_USER = 'legacy', MASTER_USE_GTID = slave_pos",
		"CHANGE MASTER 'old' TO MASTER_HOST = '127.0.0.1', MASTER_PORT = 2, MASTER_USER = 'replica', MASTER_USE_GTID = slave_pos")
	w := wanted()
	w.Sources = []storage.Source{{Region: "beijing", Address: "127.0.0.1:1"}}
	observe := func(server *mysql.Server) (links, foreign []string) {
		t.Helper()
		seen, err := server.Observe(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		for _, finding := range seen.Findings {
			if strings.HasPrefix(finding.Check, "link ") {
				foreign = append(foreign, finding.Check)
			}
		}
		return slices.Sorted(maps.Keys(seen.Links)), foreign
	}
	links, foreign := observe(openNode(t, n))
	if diff := cmp.Diff([][]string{{"old"}, {"link ''"}}, [][]string{links, foreign}); diff != "" {
		t.Errorf("links, and those of others (-want +got):\n%s", diff)
	}
	o := n.Options()
	o.Replication = store.Credentials{}
	watcher, err := mysql.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = watcher.Close() }()
	links, foreign = observe(watcher)
	if diff := cmp.Diff([][]string{{"beijing"}, {"link 'old'"}}, [][]string{links, foreign}); diff != "" {
		t.Errorf("links of a server that is only watched, and others (-want +got):\n%s", diff)
	}
}
