package mysql

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

var _ store.ErrantFinder = (*Server)(nil)

const (
	// mostEvents that are read to find out what transactions change, eventPage at a time.
	mostEvents = 200_000
	eventPage  = 2_000
	// firstEvent of every binary log.
	firstEvent = 4
)

// Errant implements store.ErrantFinder.
func (s *Server) Errant(ctx context.Context, w storage.Want, elsewhere int64) (storage.Errant, error) {
	spoken, err := s.dialect(ctx)
	if err != nil {
		return storage.Errant{}, err
	}
	at, err := s.place(ctx, spoken)
	if err != nil {
		return storage.Errant{}, err
	}
	// What was withdrawn is in the binary log still, and in no table but that of what is to be decided on.
	noted, err := readOutage(ctx, s.plain, w.Region)
	if err != nil && !missingTable(err) {
		return storage.Errant{}, s.explain(ctx, "reading what was withdrawn", err)
	}
	_, cut := spoken.numberIn(noted.cut)
	elsewhere = max(elsewhere, cut)
	_, last := spoken.numberIn(spoken.lastOwn(at))
	if last <= elsewhere {
		return storage.Errant{Complete: true}, nil
	}
	reader := errantReader{
		spoken: spoken, own: at.own, after: elsewhere, tables: map[string]bool{},
		found: storage.Errant{First: elsewhere + 1, Last: last, Transactions: last - elsewhere},
	}
	reader.found.Command = s.shows(spoken, at, elsewhere)
	err = s.readLogs(ctx, &reader)
	reader.found.Tables = slices.Sorted(maps.Keys(reader.tables))
	return reader.found, s.explain(ctx, "looking for transactions that only this server has", err)
}

// Elsewhere implements store.ErrantFinder.
func (s *Server) Elsewhere(ctx context.Context, others []storage.Source) (int64, error) {
	spoken, err := s.dialect(ctx)
	if err != nil {
		return 0, err
	}
	at, err := s.place(ctx, spoken)
	if err != nil {
		return 0, err
	}
	reached := int64(0)
	for _, other := range others {
		err := s.asReplica(ctx, other.Address, func(p *pool) error {
			there, err := placeOf(ctx, p, spoken)
			reached = max(reached, spoken.applied(there.here, there.applied)[at.own], spoken.logged(there.here)[at.own])
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("asking the server of %s how much it has of this region's changes: %w", other.Region, err)
		}
	}
	return reached, nil
}

// shows is a command that shows what follows a position.
func (s *Server) shows(spoken dialect, at place, after int64) string {
	host, port, err := net.SplitHostPort(s.options.Address)
	if err != nil {
		return ""
	}
	return spoken.shows(host, port, at, after)
}

// readLogs reads the binary logs that have what is looked for.
func (s *Server) readLogs(ctx context.Context, reader *errantReader) error {
	logs, err := s.plain.table(ctx, "SHOW BINARY LOGS")
	if err != nil {
		return err
	}
	// Every log begins with what the ones before it have.
	first, complete := len(logs), false
	for first > 0 && !complete {
		first--
		before, err := s.plain.table(ctx, reader.spoken.beginQuery(), logs[first]["Log_name"])
		if err != nil {
			return err
		}
		complete = reader.spoken.begin(before)[reader.own] <= reader.after
	}
	for _, log := range logs[first:] {
		more, err := s.readLog(ctx, log["Log_name"], reader)
		if err != nil {
			return err
		}
		complete = complete && !more
	}
	reader.found.Complete = complete
	return nil
}

// readLog reads one binary log, and tells whether it was given up because of its length.
func (s *Server) readLog(ctx context.Context, name string, reader *errantReader) (bool, error) {
	for from := firstEvent; ; {
		events, err := s.plain.table(ctx, "SHOW BINLOG EVENTS IN ? FROM ? LIMIT ?", name, from, eventPage)
		if err != nil {
			return false, err
		}
		for _, event := range events {
			reader.read(event["Event_type"], event["Info"])
		}
		if len(events) < eventPage {
			return false, nil
		}
		if reader.events >= mostEvents {
			return true, nil
		}
		if from, err = strconv.Atoi(events[len(events)-1]["End_log_pos"]); err != nil {
			return false, fmt.Errorf("reading binary log %s: %w", name, err)
		}
	}
}

// errantReader reads the events of a binary log.
type errantReader struct {
	spoken dialect
	own    string
	after  int64
	events int
	// within a transaction that is looked for.
	within bool
	tables map[string]bool
	found  storage.Errant
}

// read takes one event: a number that begins a transaction, a table ("table_id: 19 (shop.orders)"), or a statement.
func (r *errantReader) read(kind, info string) {
	r.events++
	switch kind {
	case "Gtid":
		origin, number := r.spoken.eventNumber(info)
		r.within = origin == r.own && number > r.after
	case "Table_map":
		_, table, ok := strings.Cut(info, "(")
		if table = strings.TrimSuffix(table, ")"); ok && r.within && !strings.HasPrefix(table, store.Schema+".") {
			r.tables[table] = true
		}
	case "Query":
		if r.within && info != "BEGIN" && info != "COMMIT" && info != "ROLLBACK" {
			r.found.Statements++
		}
	}
}
