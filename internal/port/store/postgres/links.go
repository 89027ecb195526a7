package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"multiactive.dev/operator/internal/storage"
)

// probeTimeout bounds how long an observation waits for the source of a link that does not run.
const probeTimeout = time.Second

// linkRow is a subscription as the server tells it.
type linkRow struct {
	id                 uint32
	name               string
	enabled            bool
	running, receiving bool
	received, applied  *int64
	errors             int64
	syncing            int
}

// Columns of pg_stat_subscription and pg_subscription_rel: manual 28.2.8 and 53.55 of 15. A worker that has had
// nothing from its source yet has an infinite time.
const linksSQL = `SELECT s.oid, s.subname, s.subenabled, t.pid IS NOT NULL,
	coalesce(t.pid IS NOT NULL AND isfinite(t.last_msg_receipt_time), false),
	t.received_lsn - '0/0'::pg_lsn, greatest(o.remote_lsn, t.latest_end_lsn) - '0/0'::pg_lsn, %s,
	(SELECT count(*) FROM pg_subscription_rel r WHERE r.srsubid = s.oid AND r.srsubstate <> 'r')
	FROM pg_subscription s LEFT JOIN pg_stat_subscription t ON t.subid = s.oid AND t.relid IS NULL
	LEFT JOIN pg_replication_origin_status o ON o.external_id = 'pg_' || s.oid %s
	WHERE s.subname LIKE 'multiactive\_%%' AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
	ORDER BY s.subname`

func (s *Server) links(ctx context.Context, w storage.Want) (map[string]storage.Link, error) {
	version, err := s.version(ctx)
	if err != nil {
		return nil, err
	}
	query := fmt.Sprintf(linksSQL, "0", "")
	if version >= firstWithStatistics {
		query = fmt.Sprintf(linksSQL, "coalesce(e.apply_error_count + e.sync_error_count, 0)", "LEFT JOIN pg_stat_subscription_stats e ON e.subid = s.oid")
	}
	rows, err := s.pool.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (linkRow, error) {
		var l linkRow
		err := row.Scan(&l.id, &l.name, &l.enabled, &l.running, &l.receiving, &l.received, &l.applied, &l.errors, &l.syncing)
		return l, err
	})
	if err != nil {
		return nil, err
	}
	regions, addresses, err := s.remembered(ctx)
	if err != nil {
		return nil, err
	}
	links := make(map[string]storage.Link, len(found))
	for _, l := range found {
		region, ok := regionOf(l.name, w, regions)
		if !ok {
			continue
		}
		if links[region], err = s.link(ctx, w, region, addresses[l.name], l); err != nil {
			return nil, err
		}
	}
	return links, nil
}

func (s *Server) link(ctx context.Context, w storage.Want, region, address string, l linkRow) (storage.Link, error) {
	conninfo, err := s.readConninfo(ctx, l.name)
	if err != nil {
		return storage.Link{}, err
	}
	if conninfo != nil {
		address = conninfoAddress(*conninfo)
	}
	link := storage.Link{Address: address, Receiving: l.receiving, Applying: l.receiving, Stopped: !l.enabled, Received: -1}
	for _, position := range []*int64{l.received, l.applied} {
		if position != nil {
			link.Received = max(link.Received, *position)
		}
	}
	// A worker that fails begins again every few seconds, and may run just now.
	if grew := s.errorsGrew(l.name, l.errors); l.enabled && (!l.receiving || l.syncing > 0 || grew) {
		link.Fault, link.Bootstrap = s.fault(ctx, w, storage.Source{Region: region, Address: address}, l)
	}
	if l.enabled {
		link.Fault = s.hold(l, link.Fault)
	}
	link.Applying = link.Applying && link.Fault == nil
	return link, nil
}

// errorsGrew tells whether a link has failed since it was last asked.
func (s *Server) errorsGrew(name string, errors int64) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	before, known := s.errors[name]
	s.errors[name] = errors
	return known && errors > before
}

// held is a fault that stays until the link gets on.
type held struct {
	applied int64
	fault   *storage.Fault
}

// hold returns the fault of a link: the one that is seen, or one of applying a change that was seen before and
// that nothing has been applied since.
func (s *Server) hold(l linkRow, seen *storage.Fault) *storage.Fault {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	applied := int64(0)
	if l.applied != nil {
		applied = *l.applied
	}
	if seen != nil {
		delete(s.held, l.name)
		if seen.Kind == storage.FaultConflict || seen.Kind == storage.FaultOther {
			s.held[l.name] = held{applied: applied, fault: seen}
		}
		return seen
	}
	before, ok := s.held[l.name]
	if ok && applied <= before.applied {
		return before.fault
	}
	delete(s.held, l.name)
	return nil
}

// remembered returns the regions and addresses of links by the names of their subscriptions.
func (s *Server) remembered(ctx context.Context) (regions, addresses map[string]string, err error) {
	rows, err := s.pool.Query(ctx, "SELECT subscription, region, address FROM multiactive.link")
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	regions, addresses = map[string]string{}, map[string]string{}
	for rows.Next() {
		var name, region, address string
		if err := rows.Scan(&name, &region, &address); err != nil {
			return nil, nil, err
		}
		regions[name], addresses[name] = region, address
	}
	return regions, addresses, rows.Err()
}
