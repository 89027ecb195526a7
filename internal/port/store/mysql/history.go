package mysql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"multiactive.dev/operator/internal/port/store"
)

const (
	// mostLate rows are taken back and decided on; more is a matter of comparing and seeding.
	mostLate = 100_000
	// readerID is the server id of who reads binary logs, above those that anybody numbers servers with.
	readerID = 4_200_000_000
	// idleAfter the source has nothing more to send it says so.
	idleAfter = 200 * time.Millisecond
)

// touched is a row that the server's own region changed.
type touched struct {
	layout *layout
	key    string
	id     row // any version, for the key
	// before the first of these changes, and after the last one; nil where there is no row.
	before, after row
	// without them: as it would be with the changes of the other regions alone.
	without row
	gtid    string
	at      int64 // seconds since 1970
}

// logged is a change of one row in a binary log.
type logged struct {
	layout        *layout
	key           string
	before, after row
	// own: the server's own region made it, after the position from which its changes are looked for.
	own bool
	// gtid of its transaction, and what that counts by.
	gtid, origin string
	number       int64
	at           int64 // seconds since 1970
	// had is what the server had by then, by origin. It changes with the next transaction.
	had map[string]int64
}

// id is any version, for the key.
func (c logged) id() row {
	if c.after != nil {
		return c.after
	}
	return c.before
}

// reader goes through binary logs.
type reader struct {
	layouts *layouts
	spoken  dialect
	own     string
	after   int64
	take    func(logged) error
	file    string
	// gtid of the transaction, and what it counts by; "" before the first.
	gtid, origin string
	number       int64
	within       bool
	had          map[string]int64
	only         map[string]bool
	failed       sync.Map // of *replication.RowsEvent: why it could not be read
}

// logs are the binary logs of a server.
type logs struct {
	asks    *pool
	address string
	who     store.Credentials
	// only these tables matter, and no statements; nil: all do.
	only map[string]bool
}

func (s *Server) ownLogs() logs {
	return logs{asks: s.plain, address: s.options.Address, who: s.options.Admin}
}

// readLogsAfter hands take every change after a position that a region made, own is what that counts by, and those of others that
// follow, in tables that the former changed; those of the operator's canaries are left out.
func (s *Server) readLogsAfter(ctx context.Context, spoken dialect, of logs, own string, after int64, take func(logged) error) error {
	all, err := of.asks.table(ctx, "SHOW BINARY LOGS")
	if err != nil || len(all) == 0 {
		return errors.Join(err, errors.New("the server has no binary log"))
	}
	end := all[len(all)-1]
	file, had, err := logWith(ctx, spoken, of.asks, all, own, after)
	if err != nil {
		return err
	}
	r := &reader{
		layouts: &layouts{s.plain, map[string]*layout{}}, spoken: spoken, own: own, after: after, take: take, file: file, had: had, only: of.only,
	}
	syncer, err := syncer(of.address, of.who, r)
	if err != nil {
		return err
	}
	defer syncer.Close()
	events, err := syncer.StartSync(gomysql.Position{Name: file, Pos: firstEvent})
	if err != nil {
		return s.scrubbed(err)
	}
	for {
		event, err := events.GetEvent(ctx)
		if err != nil {
			return s.scrubbed(err)
		}
		if err := r.read(ctx, event); err != nil {
			return err
		}
		// One that has nothing more to send says so after a while.
		last := r.file == end["Log_name"] && fmt.Sprint(event.Header.LogPos) == end["File_size"]
		if last || event.Header.EventType == replication.HEARTBEAT_EVENT {
			return nil
		}
	}
}

func (s *Server) scrubbed(err error) error {
	return errors.New(scrub(err.Error(), s.plain.secrets))
}

// logWith finds the last of these binary logs that begins no later than after a position, and what the server had when that began.
func logWith(ctx context.Context, spoken dialect, p *pool, logs []map[string]string, own string, after int64) (string, map[string]int64, error) {
	for _, log := range slices.Backward(logs) {
		before, err := p.table(ctx, spoken.beginQuery(), log["Log_name"])
		if err != nil {
			return "", nil, err
		}
		had := spoken.begin(before)
		if had[own] <= after {
			return log["Log_name"], had, nil
		}
	}
	return "", nil, unsettled("the server has deleted binary logs that are still needed")
}

// syncer makes what reads a server's binary logs.
func syncer(at string, who store.Credentials, r *reader) (*replication.BinlogSyncer, error) {
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("reading the port of address %s: %w", at, err)
	}
	return replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID: readerID, Flavor: r.spoken.flavor(), Host: host, Port: uint16(number),
		User: who.User, Password: who.Password, TLSConfig: who.TLS,
		Logger: slog.New(slog.DiscardHandler), TimestampStringLocation: time.UTC, VerifyChecksum: true, DisableRetrySync: true,
		HeartbeatPeriod: idleAfter, ReadTimeout: 30 * time.Second, EventCacheCount: 256,
		RowsEventDecodeFunc: func(e *replication.RowsEvent, data []byte) error {
			at, err := e.DecodeHeader(data)
			if err != nil {
				return err
			}
			if err := e.DecodeData(at, data); err != nil {
				r.failed.Store(e, err) // it matters only if it is one of those that are looked for
			}
			return nil
		},
	}), nil
}

// read takes one event.
func (r *reader) read(ctx context.Context, event *replication.BinlogEvent) error {
	switch e := event.Event.(type) {
	case *replication.RotateEvent:
		r.file = string(e.NextLogName)
	case *replication.MariadbGTIDEvent:
		r.begin(e.GTID.String())
	case *replication.GTIDEvent:
		return r.beginNext(e)
	case *replication.GtidTaggedLogEvent:
		return r.beginNext(&e.GTIDEvent)
	case *replication.TransactionPayloadEvent: // a compressed one, without its number
		for _, one := range e.Events {
			if err := r.read(ctx, one); err != nil {
				return err
			}
		}
	case *replication.RowsEvent:
		return r.changes(ctx, event.Header, e)
	default:
		if r.within && r.only == nil {
			return r.refused(event)
		}
	}
	return nil
}

// refused tells why a transaction that is looked for cannot be taken back as changes of rows.
func (r *reader) refused(event *replication.BinlogEvent) error {
	switch e := event.Event.(type) {
	case *replication.QueryEvent:
		if !harmless(string(e.Query)) {
			return unsettled("transaction %s is a statement and no change of rows", r.gtid)
		}
	case *replication.GenericEvent:
		if unknown(event.Header.EventType) {
			return unsettled("transaction %s has events of the kind %d, which is not known", r.gtid, event.Header.EventType)
		}
	}
	return nil
}

// unknown kinds are those of versions that came later.
func unknown(kind replication.EventType) bool {
	return kind > replication.GTID_TAGGED_LOG_EVENT && kind < replication.MARIADB_ANNOTATE_ROWS_EVENT || kind > replication.MARIADB_DELETE_ROWS_COMPRESSED_EVENT_V1
}

func (r *reader) beginNext(e *replication.GTIDEvent) error {
	set, err := e.GTIDNext()
	if err == nil {
		r.begin(set.String())
	}
	return err
}

// begin takes the number of the transaction that follows.
func (r *reader) begin(gtid string) {
	r.gtid = gtid
	r.origin, r.number = r.spoken.numberIn(gtid)
	r.within = r.origin == r.own && r.number > r.after
	r.had[r.origin] = r.number
}

// harmless statements change no data.
func harmless(statement string) bool {
	word, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(statement)), " ")
	switch word {
	case "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "FLUSH", "ANALYZE", "OPTIMIZE", "":
		return true
	}
	return false
}

// changes takes an event with rows.
func (r *reader) changes(ctx context.Context, header *replication.EventHeader, e *replication.RowsEvent) error {
	if e.Table == nil || r.gtid == "" {
		return nil
	}
	table := string(e.Table.Schema) + "." + string(e.Table.Table)
	if r.only != nil && !r.only[table] || table == canaryTable || !r.within && r.layouts.known[table] == nil {
		return nil // canaries of an outage help nobody; and none of the table's rows was changed by what is looked for
	}
	if why, failed := r.failed.LoadAndDelete(e); failed {
		return unsettled("a change of table %s cannot be read: %v", table, why)
	}
	l, err := r.layouts.of(ctx, table)
	if err != nil {
		return err
	}
	var images []row
	for i, image := range e.Rows {
		if i < len(e.SkippedColumns) && !onlyGenerated(l, e.SkippedColumns[i]) {
			return unsettled("table %s has changes without all columns: binlog_row_image is not FULL", table)
		}
		one, err := l.rowOf(image)
		if err != nil {
			return err
		}
		images = append(images, one)
	}
	c := logged{
		layout: l, own: r.within, origin: r.origin, had: r.had, number: r.number, gtid: r.gtid, at: int64(header.Timestamp),
	}
	return r.images(c, e.Type(), images)
}

func onlyGenerated(l *layout, skipped []int) bool {
	for _, i := range skipped {
		if i >= len(l.columns) || !l.columns[i].generated {
			return false
		}
	}
	return true
}

func (r *reader) images(c logged, kind replication.EnumRowsEventType, images []row) error {
	switch kind {
	case replication.EnumRowsEventTypeInsert:
		for _, after := range images {
			if err := r.hand(c, nil, after); err != nil {
				return err
			}
		}
	case replication.EnumRowsEventTypeDelete:
		for _, before := range images {
			if err := r.hand(c, before, nil); err != nil {
				return err
			}
		}
	case replication.EnumRowsEventTypeUpdate:
		for i := 0; i+1 < len(images); i += 2 {
			if err := r.hand(c, images[i], images[i+1]); err != nil {
				return err
			}
		}
	default:
		return unsettled("a change of table %s is of a kind that is not known", c.layout.table)
	}
	return nil
}

// hand takes a change of one row, or, where it changes the key, of two.
func (r *reader) hand(c logged, before, after row) error {
	from, err := c.layout.keyOf(before)
	if err != nil {
		return err
	}
	to, err := c.layout.keyOf(after)
	if err != nil {
		return err
	}
	c.key, c.before, c.after = from, before, after
	switch {
	case before == nil:
		c.key = to
	case after != nil && from != to:
		c.after = nil
		if err := r.take(c); err != nil {
			return err
		}
		c.key, c.before, c.after = to, nil, after
	}
	return r.take(c)
}

// history is what the server's own region changed after a position, by row.
type history struct {
	rows  map[string]*touched
	order []*touched
}

// note takes a change. One of another region after those that are looked for stays.
func (h *history) note(c logged) error {
	seen := h.rows[c.layout.table+c.key]
	if !c.own {
		if seen != nil {
			seen.without = c.after
		}
		return nil
	}
	if seen == nil {
		if len(h.rows) >= mostLate {
			return unsettled("there are more than %d such rows", mostLate)
		}
		seen = &touched{layout: c.layout, key: c.key, id: c.id(), before: c.before, without: c.before}
		h.rows[c.layout.table+c.key] = seen
		h.order = append(h.order, seen)
	}
	seen.after, seen.gtid, seen.at = c.after, c.gtid, c.at
	return nil
}

const (
	canaryTable   = store.Schema + ".canary"
	conflictTable = store.Schema + ".conflict"
)
