package postgres

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"

	"multiactive.dev/operator/internal/storage"
)

// Mend implements store.Server. The server takes settings up at once.
func (s *Server) Mend(ctx context.Context, findings []storage.Finding) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	var failed []error
	for _, f := range findings {
		if !f.Online || f.Statement == "" {
			continue
		}
		failed = append(failed, s.explain("mending "+f.Check, s.mend(ctx, f.Statement)))
	}
	return errors.Join(failed...)
}

func (s *Server) mend(ctx context.Context, statement string) error {
	if strings.HasPrefix(statement, "ALTER SYSTEM") {
		if _, err := s.pool.Exec(ctx, statement); err != nil {
			return err
		}
		_, err := s.pool.Exec(ctx, "SELECT pg_reload_conf()")
		return err
	}
	return s.write(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol)
		return err
	})
}
