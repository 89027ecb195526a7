package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// dialect is what differs between the engines.
type dialect struct {
	schema []string
	// changes are the tables of new passwords and profiles.
	changes   []string
	isolation sql.IsolationLevel
	// snapshot is the isolation of transactions that read everything as it is at one moment.
	snapshot sql.IsolationLevel
	// forUpdate ends a SELECT that locks what it reads. SQLite needs none: its
	// write transactions exclude each other.
	forUpdate string
	// guard reads the fence of a service and a slot: owner, epoch, and whether
	// the region's lease is valid by the store's own clock. Empty: there is none.
	guard     string
	duplicate func(error) bool
	transient func(error) bool
}

// Codes of MariaDB's and MySQL's errors.
const (
	errDuplicateEntry = 1062
	errLockWait       = 1205
	errDeadlock       = 1213
)

func mysqlCode(err error) uint16 {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return e.Number
	}
	return 0
}

var mariadb = dialect{
	schema:  mariadbSchema,
	changes: mariadbChanges,
	// The ledger reads the sum after it has the payer's lock and must see what
	// was committed before that.
	isolation: sql.LevelReadCommitted,
	snapshot:  sql.LevelRepeatableRead,
	forUpdate: " FOR UPDATE",
	// As the operator's guide of MariaDB and MySQL has it. MariaDB has no FOR
	// SHARE; MySQL accepts the older words too.
	guard: `SELECT f.owner, f.epoch, COALESCE((SELECT l.valid_until > UTC_TIMESTAMP(6) + INTERVAL
			TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6)) MICROSECOND AND SYSDATE(6) >= NOW(6)
			FROM multiactive.lease l WHERE l.region = f.owner), 0) AS leased
		FROM multiactive.fence f JOIN multiactive.fence_slot s USING (service, slot_set)
		WHERE s.service = ? AND s.slot = ? LOCK IN SHARE MODE`,
	duplicate: func(err error) bool { return mysqlCode(err) == errDuplicateEntry },
	transient: func(err error) bool {
		code := mysqlCode(err)
		return code == errDeadlock || code == errLockWait
	},
}

func sqliteCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()
	}
	return 0
}

var embedded = dialect{
	schema:    embeddedSchema,
	changes:   embeddedChanges,
	isolation: sql.LevelDefault,
	duplicate: func(err error) bool {
		code := sqliteCode(err)
		return code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || code == sqlite3.SQLITE_CONSTRAINT_UNIQUE
	},
	transient: func(err error) bool { return sqliteCode(err)&0xff == sqlite3.SQLITE_BUSY },
}

// Options are common to all engines.
type Options struct {
	// FenceService is the service's name in the operator's table of fences. With
	// a name, every home write must carry a fencing token that the table
	// admits; where Changes are apart, only those: the operator has its table
	// where it replicates. Default: no fence table.
	FenceService string
	// Changes is the DSN of a MariaDB of its own for new passwords and
	// profiles, which replicates them: they are not queued then. Default: they
	// are with everything else.
	Changes string
}

// OpenMariaDB connects to MariaDB or MySQL and makes the tables that are
// missing. dsn has the driver's form, user:password@tcp(host:port)/database.
func OpenMariaDB(ctx context.Context, dsn string, o Options) (*Store, error) {
	db, err := dial(dsn)
	if err != nil {
		return nil, err
	}
	return open(ctx, &Store{write: db, read: db, d: mariadb, o: o})
}

// dial prepares connections to MariaDB or MySQL.
func dial(dsn string) (*sql.DB, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		// The driver's error may repeat the DSN, which holds the password.
		return nil, errors.New("DSN is not of the form user:password@tcp(host:port)/database")
	}
	if cfg.DBName == "" {
		return nil, errors.New("DSN names no database: end it with /database")
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, errors.New("DSN is not usable: check its parameters")
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(32)
	db.SetMaxIdleConns(32)
	return db, nil
}

// OpenEmbedded opens, or makes, the SQLite file user.db in dir. Several
// processes may share it.
func OpenEmbedded(ctx context.Context, dir string, o Options) (*Store, error) {
	if o.FenceService != "" && o.Changes == "" {
		return nil, errors.New("the embedded store has no fences, which the operator keeps in MariaDB: leave the fence's service out, or give a DSN")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	q := url.Values{}
	// FULL: what was answered survives the loss of power.
	for _, pragma := range []string{"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)"} {
		q.Add("_pragma", pragma)
	}
	q.Set("_txlock", "immediate")
	dsn := (&url.URL{Scheme: "file", Path: filepath.Join(dir, "user.db"), RawQuery: q.Encode()}).String()
	write, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", dir, err)
	}
	// One writer per process: waiting for a connection is fair and quiet,
	// waiting for SQLite's lock is neither.
	write.SetMaxOpenConns(1)
	read, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", dir, err), write.Close())
	}
	read.SetMaxOpenConns(8)
	return open(ctx, &Store{write: write, read: read, d: embedded, o: o})
}

func open(ctx context.Context, s *Store) (*Store, error) {
	s.changes = changes{write: s.write, read: s.read, d: s.d}
	if s.o.Changes != "" {
		db, err := dial(s.o.Changes)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("the store of changes: %w", err), s.Close())
		}
		s.changes = changes{write: db, read: db, d: mariadb, apart: true}
	}
	if err := errors.Join(create(ctx, s.write, s.d.schema), create(ctx, s.changes.write, s.changes.d.changes)); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func create(ctx context.Context, db *sql.DB, schema []string) error {
	for _, stmt := range schema {
		if _, err := db.ExecContext(ctx, stmt); err != nil {
			return fmt.Errorf("making the tables: %w", err)
		}
	}
	return nil
}
