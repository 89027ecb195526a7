package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// firstWithStatistics is the first version that counts the errors of subscriptions.
const firstWithStatistics = 150000

// errProbed ends the transaction of a probe.
var errProbed = errors.New("probed")

// fault finds out why a link that should run does not. The server itself does not say it in any view, so it is
// asked to reach the source as the link does; then the source, what it keeps; then the server's log, what the
// worker said last. nil means that nothing is wrong yet, as when a worker is about to begin.
func (s *Server) fault(ctx context.Context, w storage.Want, from storage.Source, l linkRow) (*storage.Fault, *storage.Bootstrap) {
	if fault := s.probe(ctx, l.name, from); fault != nil {
		return fault, nil
	}
	if fault, bootstrap := s.askSource(ctx, w, from); fault != nil {
		return fault, bootstrap
	}
	said := s.lastError(ctx, l.id)
	if said == nil && l.errors == 0 {
		return nil, nil
	}
	return s.applyFault(ctx, said, l), nil
}

// probe has the server connect to the source as the link does: it makes a subscription like it in a transaction
// that is rolled back. Whoever may not read the link's own connection string asks with the one that it should have.
func (s *Server) probe(ctx context.Context, name string, from storage.Source) *storage.Fault {
	conninfo, err := s.readConninfo(ctx, name)
	if err != nil {
		return nil
	}
	if conninfo == nil {
		made, err := s.conninfo(from.Address)
		if err != nil {
			return nil
		}
		conninfo = &made
	}
	err = s.write(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, fmt.Sprintf("SET LOCAL statement_timeout = %d", probeTimeout.Milliseconds())); err != nil {
			return err
		}
		statement := "CREATE SUBSCRIPTION multiactive_probe CONNECTION " + literal(*conninfo) + " PUBLICATION " + publication +
			" WITH (create_slot = false, slot_name = NONE, enabled = false, copy_data = false)"
		if err := s.secretly(ctx, tx, statement); err != nil {
			return err
		}
		return errProbed
	})
	var said *pgconn.PgError
	if !errors.As(err, &said) {
		return nil
	}
	_, text, isConnection := strings.Cut(said.Message, "could not connect to the publisher: ")
	switch {
	case said.Code == "57014": // statement_timeout
		return &storage.Fault{Kind: storage.FaultConnection, Message: fmt.Sprintf("%s does not answer within %s", from.Address, probeTimeout),
			Remedy: "Nothing as long as the source is away: the link goes on when it answers."}
	case !isConnection:
		return nil
	case strings.Contains(text, "password authentication failed") || strings.Contains(text, "no pg_hba.conf entry") ||
		strings.Contains(text, "does not exist") || strings.Contains(text, "authentication"):
		return &storage.Fault{Kind: storage.FaultCredentials, Code: codeInvalidPassword, Message: s.message(text),
			Remedy: fmt.Sprintf("Let the source's pg_hba.conf accept user %s from here, with the password of the store's Secret.", s.options.Replication.User)}
	}
	return &storage.Fault{Kind: storage.FaultConnection, Code: said.Code, Message: s.message(text),
		Remedy: "Nothing as long as the source is away: the link goes on when it answers. Otherwise look at its address."}
}

// askSource asks whether the source still has what the link needs.
func (s *Server) askSource(ctx context.Context, w storage.Want, from storage.Source) (*storage.Fault, *storage.Bootstrap) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	src, err := s.dialSource(ctx, from.Address)
	if err != nil {
		if refused, ok := errors.AsType[*store.CredentialsError](err); ok {
			return &storage.Fault{Kind: storage.FaultCredentials, Message: s.message(refused.Error()),
				Remedy: fmt.Sprintf("Let the source accept user %s with the password of the store's Secret.", s.options.Replication.User)}, nil
		}
		return nil, nil // the server reaches it, the operator does not
	}
	defer src.close()
	state, err := src.slot(ctx, linkName(w.Region))
	if err != nil {
		return nil, nil
	}
	if state.held {
		return &storage.Fault{Kind: storage.FaultConnection, Message: s.message(errHeld(w, from).Error()),
			Remedy: "Nothing: the link goes on once that is done, and the region's StoresReady says what it waits for."}, nil
	}
	why := state.why(w.Region, from.Region)
	if why == "" {
		return nil, nil
	}
	bootstrap := s.bootstrap(w, from, why, true)
	return &storage.Fault{Kind: storage.FaultPurged, Message: s.message(why),
		Remedy: "Seed the server with the commands of the link's bootstrap."}, &bootstrap
}

// applyFault is about a change that could not be applied. Versions before 15 do not count such errors.
func (s *Server) applyFault(ctx context.Context, said *workerError, l linkRow) *storage.Fault {
	look := "SELECT apply_error_count, sync_error_count FROM pg_stat_subscription_stats WHERE subname = " + literal(l.name)
	if said == nil {
		return &storage.Fault{Kind: storage.FaultConflict, Message: fmt.Sprintf("what arrives cannot be applied (%d errors); the server's log, which the operator cannot read, says why", l.errors),
			Remedy: "Look into the server's log for subscription " + l.name + "; the link tries again by itself once the row in the way has been removed. " + look}
	}
	fault := &storage.Fault{Kind: said.kind(), Code: said.code, Message: s.message(said.message)}
	switch fault.Kind {
	case storage.FaultDisk:
		fault.Remedy = "Give the server's disk room: the link goes on by itself."
	case storage.FaultConnection:
		fault.Remedy = "Nothing as long as the source is away: the link goes on when it answers."
	default:
		row := "table " + said.table
		if key := s.inTheWay(ctx, said); key != "" {
			row += ", key " + key
		}
		fault.Remedy = fmt.Sprintf("Compare the row here and at the source, %s, and remove or change the one here that is in the way: the link tries again by itself and skips nothing. %s",
			row, look)
	}
	return fault
}
