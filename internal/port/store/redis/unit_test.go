package redis

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

func TestSupported(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{"5.0.14": false, "6.0.0": true, "7.0.15": true, "10.1": true, "": false, "x": false} {
		if got := supported(version); got != want {
			t.Errorf("version %q: got %t, want %t", version, got, want)
		}
	}
}

// good is a server that nothing is wrong with.
func good() settings {
	return settings{"save": "3600 1", "appendonly": "yes", "replica-read-only": "yes", "repl-backlog-size": "67108864", "repl-backlog-ttl": "0",
		"client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"}
}

func TestFindings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mesh     bool
		info     info
		settings settings
		retained time.Duration
		want     []string // with "!" what blocks
	}{
		"good":               {},
		"mesh":               {mesh: true, want: []string{"topology!"}},
		"cluster":            {info: info{"cluster_enabled": "1"}, want: []string{"redis_mode!"}},
		"nothing on disk":    {settings: settings{"save": "", "appendonly": "no"}, want: []string{"appendonly!"}},
		"snapshots":          {settings: settings{"appendonly": "no"}, want: []string{"appendonly"}},
		"replicas written":   {settings: settings{"replica-read-only": "no", "repl-backlog-ttl": "60"}, want: []string{"replica-read-only!", "repl-backlog-ttl"}},
		"backlog installed":  {settings: settings{"repl-backlog-size": "1048576"}, want: []string{"repl-backlog-size"}},
		"backlog too short":  {retained: time.Minute, want: []string{"repl-backlog-size"}},
		"backlog in time":    {retained: 2 * time.Hour},
		"much data":          {info: info{"used_memory_dataset": "1000000000"}, want: []string{"client-output-buffer-limit"}},
		"no limit":           {info: info{"used_memory_dataset": "1000000000"}, settings: settings{"client-output-buffer-limit": "slave 0 0 0"}},
		"no file":            {info: info{"config_file": ""}, want: []string{"config_file"}},
		"a blocking one too": {mesh: true, info: info{"config_file": ""}, want: []string{"topology!", "config_file"}},
	} {
		i, s := info{"config_file": "/etc/redis.conf"}, good()
		maps.Copy(i, c.info)
		maps.Copy(s, c.settings)
		var got []string
		for _, f := range findings(storage.Want{Mesh: c.mesh, Outage: time.Hour}, i, s, c.retained) {
			check := f.Check
			if f.Blocks {
				check += "!"
			}
			if f.Problem == "" || f.Online && !strings.HasPrefix(f.Statement, "CONFIG SET "+f.Check+" ") {
				t.Errorf("%s: finding %+v says nothing, or cannot be mended", name, f)
			}
			got = append(got, check)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// The log lasts by the rate of writes, and no longer than it is kept when nobody reads it.
func TestRetained(t *testing.T) {
	t.Parallel()
	s := &Server{}
	look := func(run, offset, uptime, ttl string) time.Duration {
		return s.retained(info{"run_id": run, "master_repl_offset": offset, "uptime_in_seconds": uptime}, settings{"repl-backlog-size": "1000", "repl-backlog-ttl": ttl})
	}
	for _, c := range []struct {
		what      string
		got, want time.Duration
	}{
		{"nothing was written", look("a", "0", "100", "0"), 0},
		{"the average", look("a", "1000", "100", "0"), 100 * time.Second},
		{"a burst", look("a", "10100", "110", "0"), 1010 * time.Second / 1010},
		{"let go before", look("a", "10100", "111", "1"), time.Second},
		{"another run", look("b", "100", "100", "0"), 1000 * time.Second},
	} {
		if c.got.Round(time.Second) != c.want.Round(time.Second) {
			t.Errorf("%s: got %s, want %s", c.what, c.got, c.want)
		}
	}
}

// Who has everything, by what Redis and the operator's own keys tell.
func TestContains(t *testing.T) {
	t.Parallel()
	primary := past{info: info{"role": "master", "master_replid": "p", "master_replid2": "old", "second_repl_offset": "101"}, lineage: "l", lastWrite: "w", canaries: map[string]storage.Canary{"a": {Sequence: 7}}}
	for name, c := range map[string]struct {
		mine past
		want bool
	}{
		"its own replica":                  {past{info: info{"role": "slave", "master_replid": "p"}}, true},
		"read as much as the new primary":  {past{info: info{"role": "slave", "master_replid": "old", "master_repl_offset": "100"}}, true},
		"read more than the new primary":   {past{info: info{"role": "slave", "master_replid": "old", "master_repl_offset": "101"}}, false},
		"its primary before":               {past{info: info{"role": "master", "master_replid": "old", "master_repl_offset": "100"}}, true},
		"its primary, with more":           {past{info: info{"role": "master", "master_replid": "old", "master_repl_offset": "150"}}, false},
		"shut, with the last write":        {past{info: info{"role": "master", "master_replid": "old", "master_repl_offset": "150"}, shut: true, lastWrite: "w"}, true},
		"open, with the last write":        {past{info: info{"role": "master", "master_replid": "old", "master_repl_offset": "150"}, lastWrite: "w"}, false},
		"shut, with another last write":    {past{info: info{"role": "master", "master_replid": "x"}, shut: true, lastWrite: "v"}, false},
		"detached, and nothing since":      {past{info: info{"role": "master", "master_replid": "n", "master_replid2": "p", "master_repl_offset": "50", "second_repl_offset": "51"}}, true},
		"detached, and written to":         {past{info: info{"role": "master", "master_replid": "n", "master_replid2": "p", "master_repl_offset": "51", "second_repl_offset": "51"}}, false},
		"a replica of the same data":       {past{info: info{"role": "slave", "master_replid": "x"}, lineage: "l", canaries: map[string]storage.Canary{"a": {Sequence: 7}}}, true},
		"a replica that is further":        {past{info: info{"role": "slave", "master_replid": "x"}, lineage: "l", canaries: map[string]storage.Canary{"a": {Sequence: 8}}}, false},
		"a primary of the same data":       {past{info: info{"role": "master", "master_replid": "x"}, lineage: "l", shut: true}, false},
		"a replica of other data":          {past{info: info{"role": "slave", "master_replid": "x"}, lineage: "m"}, false},
		"nothing is known":                 {past{info: info{"role": "master", "master_replid": "x"}}, false},
		"nothing, and no last write there": {past{info: info{"role": "master", "master_replid": "x"}, shut: true}, false},
	} {
		if got := contains(primary, c.mine); got != c.want {
			t.Errorf("%s: got %t, want %t", name, got, c.want)
		}
	}
}

func TestInfo(t *testing.T) {
	t.Parallel()
	i := info{"db0": "keys=12,expires=1,avg_ttl=0", "db3": "keys=5,expires=0", "dbsize": "9", "role": "slave", "master_host": "::1", "master_port": "6379"}
	if got := i.keys(); got != 17 {
		t.Errorf("%d keys, want 17", got)
	}
	if got := i.source(); got != "[::1]:6379" {
		t.Errorf("source is %s", got)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	s := &Server{options: store.Options{Admin: store.Credentials{User: "u", Password: "top-secret"}, Replication: store.Credentials{Password: "other-secret"}}}
	err := s.explain("trying", errors.New("ERR near top-secret and other-secret"))
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("%v has a password in it", err)
	}
	if got := s.message(strings.Repeat("ü", longestMessage)); len(got) > longestMessage || strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("a long message has %d bytes", len(got))
	}
	for word, want := range map[string]string{"db-1.example.com": "db-1.example.com", "a b": "'a b'", "it's": `'it'\''s'`, "": "''"} {
		if got := shell(word); got != want {
			t.Errorf("%q is quoted as %s, want %s", word, got, want)
		}
	}
}
