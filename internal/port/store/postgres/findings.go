package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"multiactive.dev/operator/internal/storage"
)

// firstSupported is the first version that the engine knows.
const firstSupported = 140000

func supported(number int) bool { return number >= firstSupported }

// findings are what keeps the server from being part of the store, worst first.
func (s *Server) findings(ctx context.Context, w storage.Want, st state, retained time.Duration) ([]storage.Finding, error) {
	if found := versionFindings(st, w.Mesh); len(found) > 0 && found[0].Blocks {
		return found, nil
	}
	found := settingFindings(w, st)
	found = append(found, retentionFindings(w, st, retained)...)
	for _, look := range []func(context.Context, storage.Want, state) ([]storage.Finding, error){
		s.privilegeFindings, s.tableFindings, s.sequenceFindings, s.slotFindings, s.settleFindings,
	} {
		more, err := look(ctx, w, st)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	slices.SortStableFunc(found, func(a, b storage.Finding) int { return rank(a) - rank(b) })
	return found, nil
}

// rank puts what blocks first.
func rank(f storage.Finding) int {
	if f.Blocks {
		return 0
	}
	return 1
}

func versionFindings(st state, mesh bool) []storage.Finding {
	switch {
	case !supported(st.number):
		return []storage.Finding{{Check: "version", Blocks: true, Problem: fmt.Sprintf(
			"version %s is too old: links need what PostgreSQL has from 14 on; upgrade the server", st.version)}}
	case mesh && st.number < firstWithOrigin:
		return []storage.Finding{{Check: "version", Blocks: true, Problem: fmt.Sprintf(
			"version %s cannot be part of a mesh: before 16 a subscription has no origin = none, so every change would come back to the server that made it; upgrade, or declare PrimaryReplica", st.version)}}
	case st.recovering:
		return []storage.Finding{{Check: "pg_is_in_recovery", Blocks: true,
			Problem: "the server is a physical standby; the store's address must be that of its primary"}}
	}
	return nil
}

// settingFindings are about what a link takes in the server that it reads from, and in its own (manual 31.10 of 15).
func settingFindings(w storage.Want, st state) []storage.Finding {
	var found []storage.Finding
	if st.walLevel != "logical" {
		found = append(found, storage.Finding{Check: "wal_level", Blocks: true, Statement: "ALTER SYSTEM SET wal_level = 'logical'",
			Problem: fmt.Sprintf("wal_level is %s: nobody can replicate from this server; set it to logical and restart the server", st.walLevel)})
	}
	others, sources, held := len(w.Regions)-1, len(w.Sources), 0
	if w.Mesh && len(w.Conflicts) > 0 {
		held = others + 1
	}
	for _, need := range []struct {
		name      string
		has, need int
		what      string
	}{
		// One for each that reads from here, and, for each source, one to note how far it has been applied and one while a table is added. Where
		// late changes are settled, one for each that is held, and one for what is put back.
		{"max_replication_slots", st.slots, others + 2*sources + held, "links of the other regions and of its own"},
		{"max_wal_senders", st.senders, 2 * others, "links of the other regions"},
		{"max_logical_replication_workers", st.workers, sources + 1, "links from the other regions"},
		{"max_worker_processes", st.processes, sources + 2, "links from the other regions"},
	} {
		if need.has < need.need {
			found = append(found, storage.Finding{Check: need.name, Blocks: true,
				Statement: fmt.Sprintf("ALTER SYSTEM SET %s = %d", need.name, need.need),
				Problem:   fmt.Sprintf("%s is %d and %s take %d; set it and restart the server", need.name, need.has, need.what, need.need)})
		}
	}
	return found
}

// walSample is how far the log was at a time, by the server's clock in seconds.
type walSample struct {
	log  int64
	now  float64
	rate float64
}

// sampleSeconds is the least time between two looks that say how fast the log grows.
const sampleSeconds = 5

// retained is how long the log that slots may keep lasts: at the rate since the last look or, where that is
// higher, since the statistics began. 0 without a limit, when the disk is the limit, which the server does not tell.
func (s *Server) retained(st state) time.Duration {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if seconds := st.now - s.wal.now; s.wal.now == 0 || seconds < 0 {
		s.wal = walSample{log: st.log, now: st.now}
	} else if seconds >= sampleSeconds {
		s.wal = walSample{log: st.log, now: st.now, rate: float64(st.log-s.wal.log) / seconds}
	}
	rate := max(s.wal.rate, st.average)
	if st.keep < 0 || rate <= 0 {
		return 0
	}
	const longest = 10 * 365 * 24 * time.Hour
	return min(longest, time.Duration(min(float64(st.keep)/rate, longest.Seconds())*float64(time.Second)))
}

// retentionFindings are about what slots of regions that are away may keep.
func retentionFindings(w storage.Want, st state, retained time.Duration) []storage.Finding {
	switch {
	case st.keep < 0:
		return []storage.Finding{{Check: "max_slot_wal_keep_size", Statement: "ALTER SYSTEM SET max_slot_wal_keep_size = '64GB'",
			Problem: "max_slot_wal_keep_size is -1: the log that is kept for a region that is away fills the disk, and then this server stops; give it what the disk has to spare"}}
	case retained > 0 && retained < w.Outage:
		size := int64(float64(st.keep)/retained.Seconds()*w.Outage.Seconds()*1.5) >> 20
		return []storage.Finding{{Check: "max_slot_wal_keep_size", Online: true, Statement: fmt.Sprintf("ALTER SYSTEM SET max_slot_wal_keep_size = '%dMB'", size+1),
			Problem: fmt.Sprintf("at the present rate of writes max_slot_wal_keep_size is used up before the longest outage of %s is over; a region that is away for longer must be seeded again", w.Outage)}}
	}
	return nil
}

// slotFindings are about slots at this server that have been used up, or that nobody reads.
func (s *Server) slotFindings(ctx context.Context, w storage.Want, _ state) ([]storage.Finding, error) {
	rows, err := s.pool.Query(ctx, `SELECT slot_name, coalesce(wal_status, ''), active, slot_name = ANY ($1)
		FROM pg_replication_slots WHERE (slot_name LIKE 'multiactive\_%' OR slot_name LIKE 'held\_multiactive\_%')
			AND database = current_database() ORDER BY slot_name`, append(linkNames(w.Regions), heldSlots(w.Regions)...))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []storage.Finding
	for rows.Next() {
		var name, status string
		var active, wanted bool
		if err := rows.Scan(&name, &status, &active, &wanted); err != nil {
			return nil, err
		}
		drop := "SELECT pg_drop_replication_slot(" + literal(name) + ")"
		switch {
		case !wanted && !active:
			found = append(found, storage.Finding{Check: "slot " + name, Statement: drop,
				Problem: "slot " + name + " is of a region that is not in the store any more, and keeps the log from being removed"})
		case status == "unreserved" || status == "lost":
			found = append(found, storage.Finding{Check: "slot " + name,
				Problem: "slot " + name + " has gone beyond max_slot_wal_keep_size: its region must be seeded again"})
		}
	}
	return found, rows.Err()
}

// privilegeFindings name what the operator's user lacks, one by one. A superuser lacks nothing.
func (s *Server) privilegeFindings(ctx context.Context, _ storage.Want, st state) ([]storage.Finding, error) {
	if st.super {
		return nil, nil
	}
	user := quote(s.options.Admin.User)
	if st.number < firstWithOrigin {
		return []storage.Finding{{Check: "SUPERUSER", Blocks: true, Statement: "ALTER ROLE " + user + " SUPERUSER",
			Problem: "the operator's user is no superuser: before 16 nobody else may make subscriptions"}}, nil
	}
	var database string
	var create, createRole, replication, subscribe, signal, stats, reload, origins, setting bool
	err := s.pool.QueryRow(ctx, `SELECT current_database(), has_database_privilege(current_database(), 'CREATE'), r.rolcreaterole, r.rolreplication,
		pg_has_role('pg_create_subscription', 'MEMBER'), pg_has_role('pg_signal_backend', 'MEMBER'), pg_has_role('pg_read_all_stats', 'MEMBER'),
		has_function_privilege('pg_reload_conf()', 'EXECUTE'), has_function_privilege('pg_show_replication_origin_status()', 'EXECUTE')
			AND has_table_privilege('pg_replication_origin_status', 'SELECT'),
		has_parameter_privilege('default_transaction_read_only', 'ALTER SYSTEM') FROM pg_roles r WHERE r.rolname = current_user`).
		Scan(&database, &create, &createRole, &replication, &subscribe, &signal, &stats, &reload, &origins, &setting)
	if err != nil {
		return nil, err
	}
	var found []storage.Finding
	for _, need := range []struct {
		has              bool
		check, statement string
		what             string
	}{
		{create, "CREATE on the database", "GRANT CREATE ON DATABASE " + quote(database) + " TO " + user, "its schema, the publication and subscriptions are made with it"},
		{createRole, "CREATEROLE", "ALTER ROLE " + user + " CREATEROLE", "it makes the user that the other servers replicate as"},
		{replication, "REPLICATION", "ALTER ROLE " + user + " REPLICATION", "only who has it may give it to the user that the other servers replicate as, and make slots"},
		{subscribe, "pg_create_subscription", "GRANT pg_create_subscription TO " + user, "links are subscriptions"},
		{signal, "pg_signal_backend", "GRANT pg_signal_backend TO " + user, "transactions that do not end are ended when the server is made read-only"},
		{stats, "pg_read_all_stats", "GRANT pg_read_all_stats TO " + user, "it sees which transactions are under way"},
		{reload, "EXECUTE on pg_reload_conf", "GRANT EXECUTE ON FUNCTION pg_reload_conf() TO " + user, "the server takes up that it is read-only"},
		{origins, "EXECUTE on pg_show_replication_origin_status", "GRANT EXECUTE ON FUNCTION pg_show_replication_origin_status() TO " + user + "; GRANT SELECT ON pg_replication_origin_status TO " + user, "it tells what has been applied"},
		{setting, "ALTER SYSTEM on default_transaction_read_only", "GRANT ALTER SYSTEM ON PARAMETER default_transaction_read_only TO " + user, "it makes the server read-only"},
	} {
		if !need.has {
			found = append(found, storage.Finding{Check: need.check, Statement: need.statement, Blocks: true,
				Problem: "the operator's user lacks " + need.check + ": " + need.what})
		}
	}
	return found, nil
}
