package mysql_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

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

// Every privilege that the operator needs is missed by name, and what is granted then is enough.
func TestPrivilegesOneByOne(t *testing.T) {
	t.Parallel()
	e := engine(t)
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
func TestHostileNames(t *testing.T) {
	t.Parallel()
	e := engine(t)
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

// Whoever may not grant what the user for replication needs lacks a privilege: its own credentials are right.
func TestGrantThatIsNotAllowed(t *testing.T) {
	t.Parallel()
	e := engine(t)
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
