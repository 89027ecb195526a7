package mysql_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/port/store/mysql"
	"multiactive.dev/operator/internal/port/store/mysql/mysqltest"
	"multiactive.dev/operator/internal/storage"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/mariadb"
)

// wanted is a mesh of three regions, of which the server is the second.
func wanted() storage.Want {
	return storage.Want{
		Store: "orders", Region: "shanghai", Regions: []string{"beijing", "shanghai", "shenzhen"}, Mesh: true, Writable: true,
		Tables: []string{"shop.orders"}, Outage: 14 * 24 * time.Hour,
	}
}

func openNode(t *testing.T, n *mysqltest.Node) *mysql.Server {
	t.Helper()
	server, err := mysql.Open(n.Options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return server
}

// must runs statements as an administrator.
func must(t *testing.T, n *mysqltest.Node, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if err := n.Root(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// found observes a server and returns its findings, short: what blocks with "!", what is online with "+".
func found(t *testing.T, server *mysql.Server, w storage.Want) []string {
	t.Helper()
	seen, err := server.Observe(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, finding := range seen.Findings {
		mark := ""
		if finding.Blocks {
			mark += "!"
		}
		if finding.Online {
			mark += "+"
		}
		all = append(all, mark+finding.Check)
	}
	slices.Sort(all)
	return all
}

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

// Every privilege that the operator needs is missed by name, and what is granted then is enough.
func TestPrivilegesOneByOne(t *testing.T) { testPrivilegesOneByOne(t, mysqltest.MariaDB) }

func testPrivilegesOneByOne(t *testing.T, e mysqltest.Engine) {
	t.Helper()
	t.Parallel()
	n := e.RunOne(t, mariadb.Options{Settings: e.Settings(2, 3)})
	server := openNode(t, n)
	if err := server.Prepare(t.Context(), wanted()); err != nil {
		t.Fatal(err)
	}
	global, _, _ := strings.Cut(strings.TrimPrefix(e.Grants[0], "GRANT "), " ON ")
	for privilege := range strings.SplitSeq(global, ", ") {
		must(t, n, "REVOKE "+privilege+" ON *.* FROM multiactive@'%'", "FLUSH PRIVILEGES")
		// Sessions keep the privileges that they began with.
		fresh := openNode(t, n)
		seen, err := fresh.Observe(t.Context(), wanted())
		var finding storage.Finding
		for _, one := range seen.Findings {
			if one.Check == privilege {
				finding = one
			}
		}
		lacks, typed := errors.AsType[*store.PrivilegeError](err)
		switch {
		case typed && slices.Contains(lacks.Missing, privilege):
			finding.Statement = lacks.Statement
		case err != nil:
			t.Errorf("without %s: %v", privilege, err)
		}
		if !strings.Contains(finding.Statement, "GRANT "+privilege+" ON *.* TO `multiactive`@`%`") {
			t.Errorf("without %s: finding is %+v, error %v, want the statement that grants it", privilege, finding, err)
		}
		must(t, n, finding.Statement)
		if got := found(t, openNode(t, n), wanted()); slices.Contains(got, "!"+privilege) {
			t.Errorf("%s was granted, and is among the findings %v", privilege, got)
		}
	}
	must(t, n, "REVOKE UPDATE ON multiactive.* FROM multiactive@'%'", "REVOKE GRANT OPTION ON *.* FROM multiactive@'%'")
	got := found(t, openNode(t, n), wanted())
	for _, want := range []string{"!UPDATE on multiactive.*", "!GRANT OPTION"} {
		if !slices.Contains(got, want) {
			t.Errorf("findings are %v, want %q among them", got, want)
		}
	}
}

// Names that users choose are data everywhere.
func TestHostileNames(t *testing.T) { testHostileNames(t, mysqltest.MariaDB) }

func testHostileNames(t *testing.T, e mysqltest.Engine) {
	t.Helper()
	t.Parallel()
	const region, other = "o'br\"ien`\\;--", "a%_'"
	nodes := e.Run(t, region, other)
	w := storage.Want{Region: other, Regions: []string{region, other}, Mesh: true, Writable: true}
	servers := map[string]*mysql.Server{}
	for name, n := range nodes {
		servers[name] = openNode(t, n)
		if err := servers[name].Prepare(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	source := storage.Source{Region: region, Address: nodes[region].Options().Address}
	here := servers[other]
	fences := storage.Fences{Service: region, Slots: []uint16{0}, Fences: []storage.Fence{{Owner: region, Epoch: 1}}}
	_, beat := servers[region].Beat(t.Context(), storage.Canary{Region: region, Sequence: 1, Time: time.Unix(1, 0)})
	for name, err := range map[string]error{
		"Connect": here.Connect(t.Context(), w, source), "Pause": here.Pause(t.Context(), region), "Connect again": here.Connect(t.Context(), w, source),
		"SetFences": here.SetFences(t.Context(), fences), "Lease": here.Lease(t.Context(), region, time.Minute), "Beat": beat,
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := here.Connect(t.Context(), w, source); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, time.Minute, func() error {
		seen, err := here.Observe(t.Context(), w)
		if link := seen.Links[region]; err == nil && (!link.Applying || seen.Positions[region] == 0) {
			err = fmt.Errorf("link is %+v, positions are %v", link, seen.Positions)
		}
		return err
	})
	if err := here.Disconnect(t.Context(), w, region); err != nil {
		t.Fatal(err)
	}
	if _, err := here.Digests(t.Context(), "sh`op'.or\"ders\\", 10, nil, nil); err == nil {
		t.Error("digests of a table with a hostile name succeeded")
	}
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

// Whoever may not grant what the user for replication needs lacks a privilege: its own credentials are right.
func TestGrantThatIsNotAllowed(t *testing.T) { testGrantThatIsNotAllowed(t, mysqltest.MariaDB) }

func testGrantThatIsNotAllowed(t *testing.T, e mysqltest.Engine) {
	t.Helper()
	t.Parallel()
	n := e.RunOne(t, mariadb.Options{Settings: e.Settings(2, 3)})
	must(t, n, "REVOKE REPLICATION SLAVE ON *.* FROM multiactive@'%'")
	err := openNode(t, n).Prepare(t.Context(), wanted())
	if lacks, ok := errors.AsType[*store.PrivilegeError](err); !ok || !slices.Equal(lacks.Missing, []string{"REPLICATION SLAVE"}) {
		t.Errorf("got error %v, want a PrivilegeError that names REPLICATION SLAVE", err)
	}
	if _, ok := errors.AsType[*store.CredentialsError](err); ok {
		t.Errorf("got error %v, want none about credentials", err)
	}
}
