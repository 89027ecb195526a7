package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// Prepare implements store.Server. It also publishes the tables that are declared, gives tables that were
// declared later to the links that exist, for which PostgreSQL asks their sources, and keeps, on a replica, slots
// for the others (standby.go).
func (s *Server) Prepare(ctx context.Context, w storage.Want) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	err := s.write(ctx, func(tx pgx.Tx) error {
		// Two managers that prepare at once would fail at each other's CREATE.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('multiactive/prepare', 4711))"); err != nil {
			return err
		}
		if err := s.ensureSchema(ctx, tx); err != nil {
			return err
		}
		if err := s.ensureRole(ctx, tx); err != nil {
			return err
		}
		return s.ensurePublication(ctx, tx, w)
	})
	if err == nil {
		err = errors.Join(s.ensureStandbySlots(ctx, w), s.refreshLinks(ctx, w))
	}
	return s.explain("preparing the server", err)
}

func (s *Server) ensureSchema(ctx context.Context, tx pgx.Tx) error {
	var complete bool
	if err := tx.QueryRow(ctx, schemaComplete).Scan(&complete); err != nil {
		return err
	}
	if complete {
		return nil
	}
	for _, statement := range schemaStatements {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// ensureRole makes the user that the other servers replicate as: it may read what is published, which the
// first look at a new link needs, and what the operator keeps about links.
func (s *Server) ensureRole(ctx context.Context, tx pgx.Tx) error {
	user, password := s.options.Replication.User, s.options.Replication.Password
	if user == "" || user == s.options.Admin.User {
		return nil
	}
	role, verb := quote(user), "CREATE"
	var exists bool
	if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", user).Scan(&exists); err != nil {
		return err
	}
	if exists {
		verb = "ALTER"
		if ready, err := s.roleReady(ctx, tx); err != nil || ready {
			return err
		}
	}
	kept, err := newVerifier(password)
	if err != nil {
		return err
	}
	for _, statement := range []string{
		fmt.Sprintf("%s ROLE %s LOGIN REPLICATION PASSWORD %s", verb, role, literal(kept)),
		"GRANT USAGE ON SCHEMA multiactive TO " + role,
		"GRANT SELECT ON ALL TABLES IN SCHEMA multiactive TO " + role,
	} {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// roleReady tells whether others can log in as the role, which exists, with the password that is wanted. Who may not read the passwords'
// verifiers does not know, and Prepare sets the password every time.
func (s *Server) roleReady(ctx context.Context, q querier) (bool, error) {
	var login, readable bool
	err := q.QueryRow(ctx, `SELECT coalesce((SELECT rolcanlogin AND rolreplication FROM pg_roles WHERE rolname = $1), false)
		AND coalesce((SELECT bool_and(has_table_privilege($1, c.oid, 'SELECT')) FROM pg_class c WHERE c.relkind = 'r'
			AND c.relnamespace = to_regnamespace('multiactive')), false),
		has_table_privilege('pg_catalog.pg_authid', 'SELECT')`, s.options.Replication.User).Scan(&login, &readable)
	if err != nil || !login || !readable {
		return false, err
	}
	var kept *string
	if err := q.QueryRow(ctx, "SELECT rolpassword FROM pg_authid WHERE rolname = $1", s.options.Replication.User).Scan(&kept); err != nil {
		return false, err
	}
	return kept != nil && verifies(*kept, s.options.Replication.Password), nil
}

// publishable are those of the tables that exist and say which row a change is about. One that does not would
// refuse its updates as soon as it were published (manual 31.1.1 of 15).
const publishable = `SELECT n.nspname, c.relname FROM unnest($1::text[], $2::text[]) AS w(schema, name)
	JOIN pg_namespace n ON n.nspname = w.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
	WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND (c.relreplident = 'f' OR
		c.relreplident = 'd' AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary) OR
		c.relreplident = 'i' AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident))`

// ensurePublication publishes the canary and what of the declared tables can be published.
func (s *Server) ensurePublication(ctx context.Context, tx pgx.Tx, w storage.Want) error {
	wanted, err := s.publishable(ctx, tx, published(w))
	if err != nil {
		return err
	}
	missing, exists, err := unpublished(ctx, tx, wanted)
	if err != nil {
		return err
	}
	if !exists {
		// Its name is a constant that needs no quotes. TRUNCATE is published too: without it rows that are gone
		// here would stay there.
		if _, err := tx.Exec(ctx, "CREATE PUBLICATION multiactive FOR TABLE multiactive.canary"); err != nil {
			return err
		}
	}
	for _, t := range missing {
		if _, err := tx.Exec(ctx, "ALTER PUBLICATION multiactive ADD TABLE "+t.quoted()); err != nil {
			return fmt.Errorf("publishing table %s: %w", t, err)
		}
	}
	return s.grantTables(ctx, tx, wanted)
}

// published are the tables that are to be published besides the canary.
func published(w storage.Want) []string {
	if !w.Mesh {
		return w.Tables
	}
	return append(slices.Clone(w.Tables), conflictTable.String())
}

// publishable returns the tables that can be published, of those that are declared.
func (s *Server) publishable(ctx context.Context, q querier, declared []string) ([]table, error) {
	schemas, names := make([]string, 0, len(declared)), make([]string, 0, len(declared))
	for _, one := range declared {
		t := parseTable(one)
		schemas, names = append(schemas, t.schema), append(names, t.name)
	}
	rows, err := q.Query(ctx, publishable, schemas, names)
	if err != nil {
		return nil, err
	}
	return collectTables(rows)
}

// unpublished returns which of the tables, and of the operator's own, are not in the publication, and whether there is one.
func unpublished(ctx context.Context, q querier, wanted []table) (missing []table, exists bool, err error) {
	if err := q.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_publication WHERE pubname = $1)", publication).Scan(&exists); err != nil {
		return nil, false, err
	}
	rows, err := q.Query(ctx, `SELECT n.nspname, c.relname FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
		JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = $1`, publication)
	if err != nil {
		return nil, false, err
	}
	published, err := collectTables(rows)
	if err != nil {
		return nil, false, err
	}
	has := make(map[table]bool, len(published))
	for _, t := range published {
		has[t] = true
	}
	for _, t := range append([]table{canaryTable}, wanted...) {
		if !has[t] && (exists || t != canaryTable) {
			missing = append(missing, t)
		}
	}
	return missing, exists, nil
}

// grantTables lets the replication user read what is published. PostgreSQL only warns whoever may not grant.
func (s *Server) grantTables(ctx context.Context, tx pgx.Tx, tables []table) error {
	user := s.options.Replication.User
	if user == "" || user == s.options.Admin.User {
		return nil
	}
	for _, t := range tables {
		granted, err := mayRead(ctx, tx, user, t)
		if err != nil {
			return err
		}
		if granted {
			continue
		}
		grants := []string{"GRANT USAGE ON SCHEMA " + quote(t.schema) + " TO " + quote(user), "GRANT SELECT ON " + t.quoted() + " TO " + quote(user)}
		for _, grant := range grants {
			if _, err := tx.Exec(ctx, grant); err != nil {
				return err
			}
		}
		if granted, err = mayRead(ctx, tx, user, t); err != nil {
			return err
		}
		if !granted {
			return &store.PrivilegeError{Missing: []string{"ownership of schema " + t.schema + " and table " + t.String()}, Statement: strings.Join(grants, "; ")}
		}
	}
	return nil
}

func mayRead(ctx context.Context, q querier, user string, t table) (bool, error) {
	var granted bool
	err := q.QueryRow(ctx, "SELECT has_table_privilege($1, $2, 'SELECT') AND has_schema_privilege($1, $3, 'USAGE')", user, t.quoted(), t.schema).Scan(&granted)
	return granted, err
}

var canaryTable = table{schema: "multiactive", name: "canary"}

// querier is a connection, a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func collectTables(rows pgx.Rows) ([]table, error) {
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (table, error) {
		var t table
		err := row.Scan(&t.schema, &t.name)
		return t, err
	})
}
