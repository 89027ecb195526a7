package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// settleFindings look for what would keep late changes from being settled, while nothing is lost yet.
func (s *Server) settleFindings(ctx context.Context, w storage.Want, st state) ([]storage.Finding, error) {
	if !w.Mesh {
		return nil, nil
	}
	if len(w.Conflicts) == 0 {
		// A policy may have been removed before all was decided on.
		left, err := readLate(ctx, s.pool, undecided, w.Region)
		if hasCode(err, codeUndefinedTable, codeUndefinedSchema) || err == nil && len(left) == 0 {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
	found, err := s.settlePrivileges(ctx, st)
	for _, declared := range w.Tables {
		if err == nil {
			found, err = s.identityFinding(ctx, parseTable(declared), found)
		}
	}
	for _, p := range w.Conflicts {
		if err == nil && p.Winner == storage.WinnerLast {
			found, err = s.columnFinding(ctx, p, found)
		}
	}
	return found, err
}

// settlePrivileges names what the operator's user lacks. All of it is a superuser's before.
func (s *Server) settlePrivileges(ctx context.Context, st state) ([]storage.Finding, error) {
	if st.super {
		return nil, nil
	}
	functions := []string{
		"pg_replication_origin_create(text)", "pg_replication_origin_session_setup(text)", "pg_replication_origin_xact_setup(pg_lsn, timestamptz)",
	}
	user := quote(s.options.Admin.User)
	var found []storage.Finding
	lacks := func(check, statement string) {
		found = append(found, storage.Finding{Check: check, Statement: statement, Problem: "the operator's user lacks " + check +
			": what a lost region had not shipped is not settled (dataClasses.conflict), and nothing comes from that region until an administrator has granted it"})
	}
	for _, function := range functions {
		var has bool
		if err := s.pool.QueryRow(ctx, "SELECT has_function_privilege($1, 'EXECUTE')", "pg_catalog."+function).Scan(&has); err != nil {
			return nil, err
		}
		if !has {
			name, _, _ := strings.Cut(function, "(")
			lacks("EXECUTE on "+name, "GRANT EXECUTE ON FUNCTION "+function+" TO "+user)
		}
	}
	var has bool
	if err := s.pool.QueryRow(ctx, "SELECT has_parameter_privilege('session_replication_role', 'SET')").Scan(&has); err != nil {
		return nil, err
	}
	if !has {
		lacks("SET on session_replication_role", "GRANT SET ON PARAMETER session_replication_role TO "+user)
	}
	return found, nil
}

// identityFinding: a row can be put back only if the log tells what it was.
func (s *Server) identityFinding(ctx context.Context, t table, found []storage.Finding) ([]storage.Finding, error) {
	var full bool
	err := s.pool.QueryRow(ctx, "SELECT relreplident = 'f' FROM pg_class WHERE oid = to_regclass($1)", t.quoted()).Scan(&full)
	if errors.Is(err, pgx.ErrNoRows) {
		return found, nil // another finding says so
	}
	if err != nil {
		return nil, err
	}
	if !full {
		found = append(found, storage.Finding{Check: "replica identity of " + t.String(), Statement: identityStatement(t),
			Problem: fmt.Sprintf("the log does not tell what rows of table %s were before they were changed: what a lost region had not shipped is not settled "+
				"(dataClasses.conflict) as soon as it has changed or deleted one, and nothing comes from that region", t)})
	}
	var refused *store.UnsettledError
	if _, err := newLayouts(s).of(ctx, t); errors.As(err, &refused) {
		found = append(found, storage.Finding{Check: "late rows of " + t.String(), Problem: refused.Why})
	} else if err != nil {
		return nil, err
	}
	return found, nil
}

func (s *Server) columnFinding(ctx context.Context, p storage.ConflictPolicy, found []storage.Finding) ([]storage.Finding, error) {
	var typ string
	err := s.pool.QueryRow(ctx, "SELECT coalesce((SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND NOT attisdropped), '')",
		parseTable(p.Table).quoted(), p.TimestampColumn).Scan(&typ)
	if err != nil || strings.HasPrefix(typ, "timestamp") {
		return found, err
	}
	return append(found, storage.Finding{Check: "column of " + p.Table, Problem: fmt.Sprintf("table %s has no column %s of the type timestamp or timestamptz, which "+
		"dataClasses.conflict.lastWriterWins names: of rows that two regions have changed a person decides", p.Table, p.TimestampColumn)}), nil
}
