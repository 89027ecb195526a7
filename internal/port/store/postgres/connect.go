package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// firstWithOrigin is the first version whose subscriptions can leave out what did not begin at their source.
const firstWithOrigin = 160000

// Connect implements store.Server. For a link that is new it asks the source, and the server does so too.
func (s *Server) Connect(ctx context.Context, w storage.Want, from storage.Source) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	doing := "connecting to region " + from.Region
	if noted, err := readOutage(ctx, s.pool, from.Region); err != nil || noted.phase == phaseHeld {
		return s.explain(doing, errors.Join(err, fmt.Errorf("nothing is received from region %s before it has taken back what it had not shipped", from.Region)))
	}
	existing, err := s.subscription(ctx, linkName(from.Region))
	if err != nil {
		return s.explain(doing, err)
	}
	if existing != nil {
		return s.explain(doing, s.adjust(ctx, w, from, existing))
	}
	return s.explain(doing, s.create(ctx, w, from))
}

// subscription is one of this database.
type subscription struct {
	name    string
	enabled bool
	// conninfo is nil for those who may not read it.
	conninfo *string
}

// subscription returns nil when there is none.
func (s *Server) subscription(ctx context.Context, name string) (*subscription, error) {
	found := &subscription{name: name}
	err := s.pool.QueryRow(ctx, `SELECT subenabled FROM pg_subscription
		WHERE subname = $1 AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())`, name).Scan(&found.enabled)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	if err != nil {
		return nil, err
	}
	found.conninfo, err = s.readConninfo(ctx, name)
	return found, err
}

// readConninfo returns nil for those who may not read it.
func (s *Server) readConninfo(ctx context.Context, name string) (*string, error) {
	var allowed bool
	err := s.pool.QueryRow(ctx, "SELECT has_column_privilege('pg_catalog.pg_subscription', 'subconninfo', 'SELECT')").Scan(&allowed)
	if err != nil || !allowed {
		return nil, err
	}
	var conninfo *string
	err = s.pool.QueryRow(ctx, `SELECT subconninfo FROM pg_subscription
		WHERE subname = $1 AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())`, name).Scan(&conninfo)
	return conninfo, err
}

// adjust points a link that exists at its source, and starts it.
func (s *Server) adjust(ctx context.Context, w storage.Want, from storage.Source, existing *subscription) error {
	wanted, err := s.conninfo(from.Address)
	if err != nil {
		return err
	}
	err = s.write(ctx, func(tx pgx.Tx) error {
		name := quote(existing.name)
		if existing.conninfo == nil || *existing.conninfo != wanted {
			if err := s.secretly(ctx, tx, "ALTER SUBSCRIPTION "+name+" CONNECTION "+literal(wanted)); err != nil {
				return err
			}
		}
		if !existing.enabled {
			if _, err := tx.Exec(ctx, "ALTER SUBSCRIPTION "+name+" ENABLE"); err != nil {
				return err
			}
		}
		return remember(ctx, tx, from)
	})
	if err != nil {
		return err
	}
	if err := s.checkSlot(ctx, w, from); err != nil {
		return err
	}
	return s.refreshLink(ctx, w, from)
}

// checkSlot returns a BootstrapError when the source says that it has not kept what the link needs. A source
// that cannot be reached says nothing: the link itself tells.
func (s *Server) checkSlot(ctx context.Context, w storage.Want, from storage.Source) error {
	src, err := s.dialSource(ctx, from.Address)
	if err != nil {
		return nil
	}
	defer src.close()
	state, err := src.slot(ctx, linkName(w.Region))
	if err != nil {
		return err
	}
	if state.held {
		return errHeld(w, from)
	}
	if why := state.why(w.Region, from.Region); why != "" {
		return &store.BootstrapError{Bootstrap: s.bootstrap(w, from, why, true)}
	}
	return nil
}

// errHeld says that the source waits for this server.
func errHeld(w storage.Want, from storage.Source) error {
	return fmt.Errorf("region %s lets %s receive nothing before that has taken back what it had not shipped when it was lost", from.Region, w.Region)
}

// why a link whose slot is like this needs a seed; "" when it does not.
func (state slotState) why(target, from string) string {
	switch {
	case state.lost:
		return fmt.Sprintf("region %s has not kept what %s had not read: its slot %s went beyond max_slot_wal_keep_size", from, target, linkName(target))
	case !state.exists && !state.held:
		return fmt.Sprintf("region %s has no slot %s any more: what it wrote since the link last ran is not known", from, linkName(target))
	}
	return ""
}

// create makes a link.
func (s *Server) create(ctx context.Context, w storage.Want, from storage.Source) error {
	src, err := s.dialSource(ctx, from.Address)
	if err != nil {
		return err
	}
	defer src.close()
	tables, err := s.checkPublished(ctx, src, w, from)
	if err != nil {
		return err
	}
	slot := linkName(w.Region)
	state, err := src.slot(ctx, slot)
	if err != nil {
		return err
	}
	seeded, err := s.seeded(ctx, from.Region)
	if err != nil {
		return err
	}
	switch {
	case state.held:
		return errHeld(w, from)
	case state.lost:
		return &store.BootstrapError{Bootstrap: s.bootstrap(w, from, state.why(w.Region, from.Region), false)}
	case state.active:
		return fmt.Errorf("slot %s of the source is in use: another server reads as region %s; end that one", slot, w.Region)
	case state.exists && !seeded:
		if err := s.admit(ctx, src, w, from, tables); err != nil {
			return err
		}
	case !state.exists:
		return s.createFromNow(ctx, src, w, from, tables, seeded)
	}
	return s.subscribe(ctx, w, from)
}

// checkPublished returns what the source publishes, which must be all that is wanted of it.
func (s *Server) checkPublished(ctx context.Context, src *source, w storage.Want, from storage.Source) ([]table, error) {
	tables, err := src.published(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(tables, canaryTable) {
		return nil, fmt.Errorf("region %s does not publish %s yet: it does once its server is prepared", from.Region, canaryTable)
	}
	for _, declared := range w.Tables {
		if t := parseTable(declared); !slices.Contains(tables, t) {
			return nil, fmt.Errorf("region %s does not publish table %s yet: it does once the table is there, with a key, and its server is prepared", from.Region, t)
		}
	}
	return tables, nil
}

// createFromNow makes a link that begins with a slot of its own, when nothing was written before it, or a
// person says that what was is here.
func (s *Server) createFromNow(ctx context.Context, src *source, w storage.Want, from storage.Source, tables []table, seeded bool) error {
	slot := linkName(w.Region)
	rows, err := src.makeSlot(ctx, slot, tables)
	if err != nil {
		return err
	}
	if len(rows) > 0 && !seeded {
		why := fmt.Sprintf("region %s has rows in %v that it wrote before the link was made", from.Region, rows)
		return errors.Join(&store.BootstrapError{Bootstrap: s.bootstrap(w, from, why, false)}, src.dropSlot(ctx, slot))
	}
	if err := s.subscribe(ctx, w, from); err != nil {
		return errors.Join(err, src.dropSlot(context.WithoutCancel(ctx), slot))
	}
	return nil
}

// subscribe makes the subscription on a slot that is there. It does not stop at an error by itself
// (disable_on_error): a source that is killed is such an error too, and the link would not go on.
func (s *Server) subscribe(ctx context.Context, w storage.Want, from storage.Source) error {
	conninfo, err := s.conninfo(from.Address)
	if err != nil {
		return err
	}
	version, err := s.version(ctx)
	if err != nil {
		return err
	}
	options := "create_slot = false, slot_name = " + literal(linkName(w.Region)) + ", copy_data = false, streaming = on"
	if version >= firstWithOrigin {
		options += ", origin = none"
	}
	name := quote(linkName(from.Region))
	return s.write(ctx, func(tx pgx.Tx) error {
		statement := "CREATE SUBSCRIPTION " + name + " CONNECTION " + literal(conninfo) + " PUBLICATION " + publication + " WITH (" + options + ")"
		if err := s.secretly(ctx, tx, statement); err != nil {
			return err
		}
		for _, table := range []string{"seeded WHERE source = $1", "applied WHERE region = $1"} {
			if _, err := tx.Exec(ctx, "DELETE FROM multiactive."+table, from.Region); err != nil {
				return err
			}
		}
		return remember(ctx, tx, from)
	})
}

// secretly runs a statement that contains a password: for the rest of the transaction nothing of it gets into
// the server's log, where the operator's user may see to that.
func (s *Server) secretly(ctx context.Context, tx pgx.Tx, statement string) error {
	var super bool
	if err := tx.QueryRow(ctx, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user").Scan(&super); err != nil {
		return err
	}
	if super {
		for _, setting := range []string{
			"log_statement = 'none'", "log_min_duration_statement = -1", "log_duration = off",
			"log_min_error_statement = panic", "log_min_duration_sample = -1", "log_transaction_sample_rate = 0",
		} {
			if _, err := tx.Exec(ctx, "SET LOCAL "+setting); err != nil {
				return err
			}
		}
	}
	_, err := tx.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol)
	return err
}

// remember keeps where a link reads from.
func remember(ctx context.Context, tx pgx.Tx, from storage.Source) error {
	_, err := tx.Exec(ctx, `INSERT INTO multiactive.link AS l (subscription, region, address) VALUES ($1, $2, $3)
		ON CONFLICT (subscription) DO UPDATE SET address = excluded.address WHERE l.address <> excluded.address`,
		linkName(from.Region), from.Region, from.Address)
	return err
}

// version is the server's number, such as 150018.
func (s *Server) version(ctx context.Context) (int, error) {
	var version int
	err := s.pool.QueryRow(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version)
	return version, err
}
