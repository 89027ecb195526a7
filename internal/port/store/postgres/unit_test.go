package postgres

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

var slotName = regexp.MustCompile(`^multiactive_[a-z0-9_]{0,51}$`)

// Every region has a name of its own that a slot may have.
func TestLinkNames(t *testing.T) {
	t.Parallel()
	if got := linkName("beijing"); got != "multiactive_beijing" {
		t.Errorf("got %q", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		one, two := rapid.String().Draw(t, "one"), rapid.String().Draw(t, "two")
		if !slotName.MatchString(linkName(one)) {
			t.Fatalf("%q is not a slot's name", linkName(one))
		}
		if (linkName(one) == linkName(two)) != (one == two) {
			t.Fatalf("%q and %q have the names %q and %q", one, two, linkName(one), linkName(two))
		}
	})
}

// What is put into connection strings comes out of them.
func TestConninfo(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[ -~]{1,30}`)
		s := &Server{options: store.Options{Database: text.Draw(t, "database"),
			Replication: store.Credentials{User: text.Draw(t, "user"), Password: text.Draw(t, "password")}}}
		conninfo, err := s.conninfo("db.example.com:6543")
		if err != nil {
			t.Fatal(err)
		}
		got, err := pgconn.ParseConfig(conninfo)
		if err != nil {
			t.Fatal(err)
		}
		if got.Host != "db.example.com" || got.Port != 6543 || got.Database != s.options.Database || got.User != s.options.Replication.User ||
			got.Password != s.options.Replication.Password || conninfoAddress(conninfo) != "db.example.com:6543" {
			t.Fatalf("%q is read as user %q, password %q, database %q at %s", conninfo, got.User, got.Password, got.Database, conninfoAddress(conninfo))
		}
	})
}

// No form of a password survives in an error, whatever the server quotes.
func TestScrub(t *testing.T) {
	t.Parallel()
	s := &Server{options: store.Options{Admin: store.Credentials{Password: `top'se\cret`}, Replication: store.Credentials{User: "replica", Password: `it's"\`}}}
	conninfo, err := s.conninfo("a:1")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"plain": `password top'se\cret is wrong`, "conninfo": "invalid: " + conninfo, "statement": "near CREATE SUBSCRIPTION x CONNECTION " + literal(conninfo),
	} {
		got := s.explain("trying", errors.New(text)).Error()
		for _, secret := range []string{`top'se\cret`, `it's"\`, conninfoValue(`it's"\`)} {
			if strings.Contains(got, secret) {
				t.Errorf("%s: %q has a password in it", name, got)
			}
		}
	}
	long := s.message(strings.Repeat("ü", longestMessage))
	if len(long) > longestMessage || !strings.HasPrefix(long, "ü") || strings.ContainsRune(long, '\uFFFD') {
		t.Errorf("a long message was cut to %d bytes", len(long))
	}
}

// A verifier is of its own password alone.
func TestVerifier(t *testing.T) {
	t.Parallel()
	made, err := newVerifier("pencil")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		kept, password string
		want           bool
	}{
		"own":        {made, "pencil", true},
		"another":    {made, "pen", false},
		"md5":        {"md53f3fbe4d3bd0a9b9a5b9ba5f5e0a9bb2", "pencil", false},
		"no numbers": {"SCRAM-SHA-256$x:y$z:a", "pencil", false},
		"empty":      {"", "", false},
	} {
		if got := verifies(c.kept, c.password); got != c.want {
			t.Errorf("%s: got %t, want %t", name, got, c.want)
		}
	}
}

func TestVersionFindings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		state state
		mesh  bool
		want  []string
	}{
		"too old":         {state{number: 130014, version: "13.14"}, false, []string{"version"}},
		"first":           {state{number: 140000}, false, nil},
		"no mesh yet":     {state{number: 150018}, true, []string{"version"}},
		"mesh":            {state{number: 160000}, true, nil},
		"standby":         {state{number: 170000, recovering: true}, false, []string{"pg_is_in_recovery"}},
		"replica of 15":   {state{number: 150000}, false, nil},
		"too old, a mesh": {state{number: 90600}, true, []string{"version"}},
	} {
		var got []string
		for _, f := range versionFindings(c.state, c.mesh) {
			if !f.Blocks || f.Problem == "" {
				t.Errorf("%s: finding %+v does not block, or says nothing", name, f)
			}
			got = append(got, f.Check)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestSettingFindings(t *testing.T) {
	t.Parallel()
	regions := []string{"a", "b", "c"}
	mesh := storage.Want{Region: "a", Regions: regions, Mesh: true, Sources: []storage.Source{{Region: "b"}, {Region: "c"}}}
	primary := storage.Want{Region: "a", Regions: regions, Writable: true}
	enough := state{walLevel: "logical", slots: 10, senders: 10, workers: 4, processes: 8}
	for name, c := range map[string]struct {
		want  storage.Want
		state state
		found []string
	}{
		"defaults of a server": {mesh, enough, nil},
		"as installed":         {primary, state{walLevel: "replica", slots: 10, senders: 10, workers: 4, processes: 8}, []string{"wal_level"}},
		"few slots":            {mesh, state{walLevel: "logical", slots: 5, senders: 10, workers: 4, processes: 8}, []string{"max_replication_slots"}},
		"slots of a primary":   {primary, state{walLevel: "logical", slots: 2, senders: 10, workers: 1, processes: 2}, nil},
		"none of all":          {mesh, state{walLevel: "logical"}, []string{"max_replication_slots", "max_wal_senders", "max_logical_replication_workers", "max_worker_processes"}},
	} {
		var got []string
		for _, f := range settingFindings(c.want, c.state) {
			if !f.Blocks || f.Online || !strings.HasPrefix(f.Statement, "ALTER SYSTEM SET "+f.Check+" = ") {
				t.Errorf("%s: %+v", name, f)
			}
			got = append(got, f.Check)
		}
		if diff := cmp.Diff(c.found, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// The longest that is kept is what may be kept by the rate of writes, the higher one of two.
func TestRetained(t *testing.T) {
	t.Parallel()
	s := &Server{}
	look := func(now float64, log int64, average float64, keep int64) time.Duration {
		return s.retained(state{now: now, log: log, average: average, keep: keep})
	}
	for _, c := range []struct {
		what string
		got  time.Duration
		want time.Duration
	}{
		{"nothing is known", look(1000, 0, 0, 1000), 0},
		{"the average", look(1001, 5000, 10, 1000), 100 * time.Second},
		{"a burst", look(1010, 10000, 10, 1000), time.Second},
		{"the burst, too soon for another look", look(1012, 10000, 10, 1000), time.Second},
		{"it is over", look(1020, 10000, 10, 1000), 100 * time.Second},
		{"no limit", look(1030, 20000, 10, -1), 0},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %s, want %s", c.what, c.got, c.want)
		}
	}
	w := storage.Want{Outage: time.Hour}
	if f := retentionFindings(w, state{keep: 1 << 30}, time.Minute); len(f) != 1 || !f[0].Online || f[0].Blocks {
		t.Errorf("an outage that is too long gives %+v", f)
	}
	if f := retentionFindings(w, state{keep: 1 << 30}, 2*time.Hour); f != nil {
		t.Errorf("an outage that is short enough gives %+v", f)
	}
	if f := retentionFindings(w, state{keep: -1}, 0); len(f) != 1 || f[0].Online {
		t.Errorf("no limit gives %+v", f)
	}
}

// Sequences that are mended make numbers that no other region's do.
func TestSequences(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		regions := make([]string, rapid.IntRange(2, 15).Draw(t, "regions"))
		for i := range regions {
			regions[i] = fmt.Sprint(i)
		}
		highest := rapid.Int64Range(-50, 1000).Draw(t, "highest")
		seen := map[int64]int{}
		for i := range regions {
			q := sequence{schema: "s", name: "q", increment: 1, next: highest, cacheSize: 1}
			if q.ownNumbers(int64(len(regions)), int64(i)) {
				t.Fatal("a step of 1 makes own numbers")
			}
			f := q.finding(storage.Want{Regions: regions, Mesh: true}, int64(i), highest)
			if _, err := fmt.Sscanf(f.Statement, `ALTER SEQUENCE "s"."q" INCREMENT BY %d START WITH %d RESTART`, &q.increment, &q.next); err != nil {
				t.Fatal(err)
			}
			if q.next < highest || !q.ownNumbers(int64(len(regions)), int64(i)) {
				t.Fatalf("region %d of %d: %s after %d", i, len(regions), f.Statement, highest)
			}
			for n := range int64(20) {
				if other, ok := seen[q.next+n*q.increment]; ok {
					t.Fatalf("regions %d and %d make the number %d", i, other, q.next+n*q.increment)
				}
			}
			for n := range int64(20) {
				seen[q.next+n*q.increment] = i
			}
		}
	})
}

// The log of a real conflict, and what stands around it.
func TestFindError(t *testing.T) {
	t.Parallel()
	log := `2026-11-29 05:00:00 GMT [1] ERROR:  duplicate key value violates unique constraint "t_pkey"
2026-11-29 05:00:00 GMT [1] DETAIL:  Key (id)=(4) already exists.
2026-11-29 05:00:00 GMT [1] CONTEXT:  processing remote data for replication origin "pg_16391" during message type "INSERT" for replication target relation "shop.orders" in transaction 734, finished at 0/15FD6E8
2026-11-29 05:00:00 GMT [9] LOG:  background worker "logical replication worker" (PID 1) exited with exit code 1
2026-11-29 05:00:00 GMT [2] ERROR:  column "x" does not exist at character 8
2026-11-29 05:00:00 GMT [2] STATEMENT:  select x
2026-11-29 05:00:01 GMT [3] ERROR:  could not extend file "base/5/16384": No space left on device
2026-11-29 05:00:01 GMT [3] CONTEXT:  processing remote data for replication origin "pg_4" during message type "INSERT" for replication target relation "a.b" in transaction 1, finished at 0/1
2026-11-29 05:00:02 GMT [5] ERROR:  duplicate key value violates unique constraint "t_name"
2026-11-29 05:00:02 GMT [5] DETAIL:  Key (first, last)=(Ann (junior), Li) already exists.
2026-11-29 05:00:02 GMT [5] CONTEXT:  processing remote data for replication origin "pg_5" during message type "INSERT" for replication target relation "a.b" in transaction 1, finished at 0/1
2026-11-29 05:00:03 GMT [6] ERROR:  conflict detected on relation "a.b": conflict=insert_exists
2026-11-29 05:00:03 GMT [6] DETAIL:  Key already exists in unique index "b_pkey", which was modified locally in transaction 740 at 2026-11-29 05:00:00+00.
	Key (c)=(1); existing local row (1, 'local'); remote row (1, 'remote').
2026-11-29 05:00:03 GMT [6] CONTEXT:  processing remote data for replication origin "pg_6" during message type "INSERT" for replication target relation "a.b" in transaction 725, finished at 0/14C0378
`
	for name, c := range map[string]struct {
		origin string
		want   *workerError
		kind   storage.FaultKind
	}{
		"conflict": {"pg_16391", &workerError{message: `duplicate key value violates unique constraint "t_pkey"`, code: "23505", table: "shop.orders",
			constraint: "t_pkey", values: "4"}, storage.FaultConflict},
		"another key": {"pg_5", &workerError{message: `duplicate key value violates unique constraint "t_name"`, code: "23505", table: "a.b",
			constraint: "t_name", values: "Ann (junior), Li"}, storage.FaultConflict},
		"as 18 says it": {"pg_6", &workerError{message: `conflict detected on relation "a.b": conflict=insert_exists`, code: "23505", table: "a.b",
			constraint: "b_pkey", values: "1"}, storage.FaultConflict},
		"disk": {"pg_4", &workerError{message: `could not extend file "base/5/16384": No space left on device`, code: "53100", table: "a.b"}, storage.FaultDisk},
		"none": {"pg_1639", nil, ""},
	} {
		got := findError(log, c.origin)
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(workerError{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if got != nil && got.kind() != c.kind {
			t.Errorf("%s is of kind %s, want %s", name, got.kind(), c.kind)
		}
	}
}
