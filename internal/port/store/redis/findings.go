package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"multiactive.dev/operator/internal/storage"
)

// firstSupported is the first version with ACLs.
const firstSupported = 6

// settings of a server, by name.
type settings map[string]string

func (s settings) number(name string) int64 {
	n, _ := strconv.ParseInt(s[name], 10, 64)
	return n
}

func (s *Server) settings(ctx context.Context) (settings, error) {
	found := settings{}
	// 6 takes one pattern at a time.
	for _, pattern := range []string{"repl-*", "replica-*", "min-replicas-*", "master*", "save", "appendonly", "client-output-buffer-limit"} {
		some, err := s.client.ConfigGet(ctx, pattern).Result()
		if err != nil {
			return nil, err
		}
		maps.Copy(found, some)
	}
	return found, nil
}

func supported(version string) bool {
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	return err == nil && n >= firstSupported
}

func tooOld(version string) storage.Finding {
	return storage.Finding{Check: "version", Blocks: true, Problem: fmt.Sprintf("version %q is too old: the operator needs users (ACL), which Redis has from 6 on; upgrade the server", version)}
}

// logSample is how far the replication log was at a time, in seconds of the server's uptime.
type logSample struct {
	run          string
	offset, time int64
	rate         float64
}

// sampleSeconds is the least time between two looks that say how fast the log grows.
const sampleSeconds = 5

// retained is how long the log lasts that is kept for a replica that is away: at the rate since the last look or,
// where that is higher, since the server began. It is also let go some time after the last replica has gone.
func (s *Server) retained(i info, settings settings) time.Duration {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	now := logSample{run: i["run_id"], offset: i.number("master_repl_offset"), time: i.number("uptime_in_seconds"), rate: s.log.rate}
	if seconds := now.time - s.log.time; s.log.run != now.run || now.offset < s.log.offset {
		now.rate = 0
		s.log = now
	} else if seconds >= sampleSeconds {
		now.rate = float64(now.offset-s.log.offset) / float64(seconds)
		s.log = now
	}
	rate := max(s.log.rate, float64(now.offset)/float64(max(now.time, 60)))
	if rate <= 0 {
		return 0
	}
	const longest = 365 * 24 * 3600
	kept := time.Duration(min(longest, float64(settings.number("repl-backlog-size"))/rate) * float64(time.Second))
	if ttl := time.Duration(settings.number("repl-backlog-ttl")) * time.Second; ttl > 0 {
		kept = min(kept, ttl)
	}
	return kept
}

// findings are what keeps the server from being, or staying, part of the store, worst first.
func findings(w storage.Want, i info, settings settings, retained time.Duration) []storage.Finding {
	var found []storage.Finding
	add := func(f storage.Finding) { found = append(found, f) }
	if w.Mesh {
		add(storage.Finding{Check: "topology", Blocks: true, Problem: "Redis replicates one way, and a replica loses what it has: declare PrimaryReplica"})
	}
	if i["cluster_enabled"] == "1" || i["redis_mode"] == "sentinel" {
		add(storage.Finding{Check: "redis_mode", Blocks: true, Problem: "the server is part of a Redis Cluster, or a Sentinel: it decides itself whom it replicates from; give a plain server's address"})
	}
	if settings["save"] == "" && settings["appendonly"] == "no" {
		add(storage.Finding{Check: "appendonly", Blocks: true, Online: true, Statement: "CONFIG SET appendonly yes",
			Problem: "nothing is kept on disk: as the primary the server would begin empty after a restart, and all replicas would lose what they have"})
	} else if settings["appendonly"] == "no" {
		add(storage.Finding{Check: "appendonly", Online: true, Statement: "CONFIG SET appendonly yes",
			Problem: "only snapshots are kept on disk: after a crash of the primary the replicas lose what was written since the last one"})
	}
	if settings["replica-read-only"] == "no" {
		add(storage.Finding{Check: "replica-read-only", Blocks: true, Online: true, Statement: "CONFIG SET replica-read-only yes",
			Problem: "applications can write to replicas, and lose that"})
	}
	found = append(found, retentionFindings(w, i, settings, retained)...)
	if i["config_file"] == "" {
		add(storage.Finding{Check: "config_file", Problem: "the server was started without a configuration's file: after a restart it is no replica, and not read-only, any more; start it with one"})
	}
	slices.SortStableFunc(found, func(a, b storage.Finding) int { return rank(a) - rank(b) })
	return found
}

func rank(f storage.Finding) int {
	if f.Blocks {
		return 0
	}
	return 1
}

const (
	// installed is the backlog of a server that nobody configured; with it, links over a distance begin anew for ever.
	installed = 1 << 20
	// least is what is proposed at least.
	least = 64 << 20
)

// retentionFindings are about what replicas that are away, or slow, may lack before everything is copied anew.
func retentionFindings(w storage.Want, i info, settings settings, retained time.Duration) []storage.Finding {
	var found []storage.Finding
	size := settings.number("repl-backlog-size")
	wanted := int64(least)
	if retained > 0 {
		wanted = max(wanted, int64(float64(size)/retained.Seconds()*w.Outage.Seconds()*1.5))
	}
	ttl := settings.number("repl-backlog-ttl")
	switch short := retained > 0 && retained < w.Outage && (ttl == 0 || retained < time.Duration(ttl)*time.Second); {
	case size <= installed:
		found = append(found, storage.Finding{Check: "repl-backlog-size", Online: true, Statement: fmt.Sprintf("CONFIG SET repl-backlog-size %d", wanted),
			Problem: "repl-backlog-size is as small as installed: a link that is interrupted, or slow, copies everything anew, and may never catch up"})
	case short:
		found = append(found, storage.Finding{Check: "repl-backlog-size", Online: true, Statement: fmt.Sprintf("CONFIG SET repl-backlog-size %d", wanted),
			Problem: fmt.Sprintf("at the present rate of writes repl-backlog-size is used up before the longest outage of %s is over; everything is copied anew then", w.Outage)})
	}
	if ttl > 0 && time.Duration(ttl)*time.Second < w.Outage {
		found = append(found, storage.Finding{Check: "repl-backlog-ttl", Online: true, Statement: "CONFIG SET repl-backlog-ttl 0",
			Problem: fmt.Sprintf("the log for replicas is let go %d s after the last one has gone; everything is copied anew then", ttl)})
	}
	if hard := replicaLimit(settings["client-output-buffer-limit"]); hard > 0 && hard < max(i.number("used_memory_dataset"), 4*installed) {
		found = append(found, storage.Finding{Check: "client-output-buffer-limit", Online: true, Statement: `CONFIG SET client-output-buffer-limit "replica 0 0 0"`,
			Problem: "client-output-buffer-limit of replicas is less than the data: while everything is copied the server may end the link for it, and begin again"})
	}
	return found
}

// replicaLimit is the hard limit of replicas in bytes: normal 0 0 0 slave 268435456 67108864 60 pubsub ...
func replicaLimit(limits string) int64 {
	fields := strings.Fields(limits)
	for n := 0; n+1 < len(fields); n++ {
		if fields[n] == "slave" || fields[n] == "replica" {
			limit, _ := strconv.ParseInt(fields[n+1], 10, 64)
			return limit
		}
	}
	return 0
}

// openFinding is about a server that asks nobody for a password.
func (s *Server) openFinding(ctx context.Context) (*storage.Finding, error) {
	answer, err := s.client.Do(ctx, "ACL", "GETUSER", "default").Slice()
	if err != nil {
		return nil, err
	}
	var flags []string
	for n := 0; n+1 < len(answer); n += 2 {
		if answer[n] == "flags" {
			flags = texts(answer[n+1])
		}
	}
	if !slices.Contains(flags, "on") || !slices.Contains(flags, "nopass") {
		return nil, nil //nolint:nilnil // nothing is wrong, and that is no error
	}
	return &storage.Finding{Check: "requirepass", Problem: "whoever reaches the server may do everything with it: give the user default a password, or switch it off (ACL SETUSER default off)"}, nil
}

// Mend implements store.Server.
func (s *Server) Mend(ctx context.Context, findings []storage.Finding) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	var failed []error
	for _, f := range findings {
		name, value, ok := strings.Cut(strings.TrimPrefix(f.Statement, "CONFIG SET "), " ")
		if !f.Online || !ok || !strings.HasPrefix(f.Statement, "CONFIG SET ") {
			continue
		}
		err := s.client.ConfigSet(ctx, name, strings.Trim(value, `"`)).Err()
		if err == nil {
			err = s.persist(ctx)
		}
		failed = append(failed, s.explain("mending "+f.Check, err))
	}
	return errors.Join(failed...)
}
