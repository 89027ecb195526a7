package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// source is a connection of the operator's to a source, as the user that servers replicate as.
type source struct {
	*pgx.Conn
	server  *Server
	address string
}

func (s *Server) dialSource(ctx context.Context, address string) (*source, error) {
	config, err := connConfig(address, s.options.Database, s.options.Replication, s.options.Timeout)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, s.explain("connecting to the source "+address, err)
	}
	return &source{Conn: conn, server: s, address: address}, nil
}

func (src *source) close() {
	ctx, cancel := context.WithTimeout(context.Background(), src.server.options.Timeout)
	defer cancel()
	_ = src.Close(ctx)
}

// slotState is what a source says of a slot.
type slotState struct {
	exists, active, lost bool
	// held: there is none, and one that is held for the same region.
	held bool
}

func (src *source) slot(ctx context.Context, name string) (slotState, error) {
	var state slotState
	err := src.QueryRow(ctx, `SELECT active, coalesce(wal_status = 'lost', false) FROM pg_replication_slots WHERE slot_name = $1`, name).
		Scan(&state.active, &state.lost)
	if errors.Is(err, pgx.ErrNoRows) {
		err := src.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'held_' || $1)", name).Scan(&state.held)
		return state, err
	}
	state.exists = err == nil
	return state, err
}

// published returns the tables that the source publishes.
func (src *source) published(ctx context.Context) ([]table, error) {
	rows, err := src.Query(ctx, "SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = $1", publication)
	if err != nil {
		return nil, err
	}
	return collectTables(rows)
}

// beginner is a connection or a pool.
type beginner interface {
	BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
}

// withRows returns which of the tables have rows, as the snapshot saw them, or as they are without one.
func withRows(ctx context.Context, db beginner, tables []table, snapshot string) ([]string, error) {
	var found []string
	err := pgx.BeginTxFunc(ctx, db, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if snapshot != "" {
			if _, err := tx.Exec(ctx, "SET TRANSACTION SNAPSHOT "+literal(snapshot)); err != nil {
				return err
			}
		}
		for _, t := range tables {
			if t == canaryTable {
				continue
			}
			var has bool
			if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+t.quoted()+")").Scan(&has); err != nil {
				return fmt.Errorf("looking for rows of table %s: %w", t, err)
			}
			if has {
				found = append(found, t.String())
			}
		}
		return nil
	})
	return found, err
}

// makeSlot makes a slot and returns which published tables had rows that it does not carry: those of the very
// snapshot that the slot begins after (manual 55.4, CREATE_REPLICATION_SLOT). Where it does not return nil, the
// caller drops the slot, unless those rows are on the target.
func (src *source) makeSlot(ctx context.Context, name string, tables []table) ([]string, error) {
	config := src.Config().Config.Copy()
	config.RuntimeParams["replication"] = "database"
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	// The snapshot lives as long as this connection does.
	defer func() { _ = conn.Close(ctx) }()
	results, err := conn.Exec(ctx, "CREATE_REPLICATION_SLOT "+quote(name)+" LOGICAL pgoutput EXPORT_SNAPSHOT").ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) < 3 {
		return nil, errors.New("the source made a slot and did not name its snapshot")
	}
	rows, err := withRows(ctx, src.Conn, tables, string(results[0].Rows[0][2]))
	if err != nil {
		return nil, errors.Join(err, src.dropSlot(ctx, name))
	}
	return rows, nil
}

// dropSlot removes a slot; that there is none is as good.
func (src *source) dropSlot(ctx context.Context, name string) error {
	_, err := src.Exec(ctx, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1", name)
	if hasCode(err, codeUndefinedObject) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("dropping slot %s: %w", name, err)
	}
	return nil
}

// conninfo is how a server connects to a source (manual 34.1.1). Without it the server would try for minutes
// to reach a machine that has gone.
func (s *Server) conninfo(address string) (string, error) {
	host, port, err := splitAddress(address)
	if err != nil {
		return "", err
	}
	user := s.options.Replication
	mode := "disable"
	if user.TLS != nil {
		mode = "require"
	}
	pairs := []string{
		"host=" + conninfoValue(host), fmt.Sprintf("port=%d", port), "dbname=" + conninfoValue(s.options.Database),
		"user=" + conninfoValue(user.User), "password=" + conninfoValue(user.Password), "sslmode=" + mode,
		"connect_timeout=10", "keepalives_idle=10", "keepalives_interval=5", "keepalives_count=3",
	}
	return strings.Join(pairs, " "), nil
}

// conninfoValue quotes a value of a connection string.
func conninfoValue(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
}

// conninfoAddress reads host:port out of a connection string; "" when it has none.
func conninfoAddress(conninfo string) string {
	config, err := pgconn.ParseConfig(conninfo)
	if err != nil {
		return ""
	}
	return joinAddress(config.Host, config.Port)
}
