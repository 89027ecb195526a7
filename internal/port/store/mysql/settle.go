package mysql

import (
	"context"
	"database/sql"
	"fmt"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

var _ store.Settler = (*Server)(nil)

// Phases of an outage, as a server notes them: Held and Released on those that receive from the region, Withdrawn and Settled on its own.
const (
	phaseHeld      = "Held"
	phaseReleased  = "Released"
	phaseWithdrawn = "Withdrawn"
	phaseSettled   = "Settled"
)

const outageTable = store.Schema + ".outage"

// outage is a server's note about one.
type outage struct {
	id    int64
	phase string
	// reached is the position of the region's changes that the server had when it held, or that any other had
	// when they were withdrawn.
	reached int64
	// cut is the last of the region's transactions that are withdrawn, as a GTID; "" if none is.
	cut string
}

// readOutage reads a server's note about a region's newest outage; the zero outage without one.
func readOutage(ctx context.Context, p *pool, region string) (outage, error) {
	var o outage
	err := p.row(ctx, "SELECT id, phase, reached, cut FROM "+outageTable+" WHERE region = ?", []any{region}, &o.id, &o.phase, &o.reached, &o.cut)
	if noRows(err) {
		return outage{}, nil
	}
	return o, err
}

const writeOutage = "REPLACE INTO " + outageTable + " (region, id, phase, reached, cut) VALUES (?, ?, ?, ?, ?)"

// Hold implements store.Settler. The link is removed: one that is only stopped starts with the server.
func (s *Server) Hold(ctx context.Context, w storage.Want, o storage.Outage) (bool, error) {
	spoken, err := s.dialect(ctx)
	if err != nil {
		return false, err
	}
	noted, err := readOutage(ctx, s.plain, o.Region)
	if err != nil {
		return false, s.explain(ctx, "reading what is known of an outage", err)
	}
	rows, err := s.status(ctx, spoken)
	if err != nil {
		return false, err
	}
	_, exists := find(spoken, rows, o.Region)
	if noted.id == o.ID && (noted.phase == phaseReleased || !exists) {
		return true, nil
	}
	if exists {
		if done, err := s.drain(ctx, w, spoken, o.Region); err != nil || !done {
			return false, err
		}
	}
	at, err := s.whereabouts(ctx, spoken, w.Region)
	if err != nil {
		return false, err
	}
	_, err = s.local.exec(ctx, writeOutage, o.Region, o.ID, phaseHeld, at.positions[o.Region], "")
	return err == nil, s.explain(ctx, "noting that nothing is received from "+o.Region, err)
}

// drain stops a link's receiving, and removes it once all that arrived is applied.
func (s *Server) drain(ctx context.Context, w storage.Want, spoken dialect, region string) (bool, error) {
	if err := s.do(ctx, []statement{spoken.receiveNoMore(region)}); err != nil {
		return false, s.explain(ctx, "receiving nothing more from "+region, err)
	}
	rows, err := s.status(ctx, spoken)
	if err != nil {
		return false, err
	}
	at, err := s.whereabouts(ctx, spoken, w.Region) // after the question: what is applied grows
	if err != nil {
		return false, err
	}
	for _, row := range rows {
		if name, link, received := spoken.link(row); name == region && !link.Stopped && received[at.origins[region]] > at.positions[region] {
			return false, nil
		}
	}
	err = s.do(ctx, spoken.disconnect(region))
	return err == nil, s.explain(ctx, "removing the link from "+region, err)
}

// Held implements store.Settler.
func (s *Server) Held(ctx context.Context) ([]storage.Outage, error) {
	var held []storage.Outage
	err := s.plain.each(ctx, "SELECT region, id FROM "+outageTable+" WHERE phase = ?", []any{phaseHeld}, func(scan func(...any) error) error {
		var o storage.Outage
		err := scan(&o.Region, &o.ID)
		held = append(held, o)
		return err
	})
	if missingTable(err) {
		return nil, nil
	}
	return held, s.explain(ctx, "reading which links are held", err)
}

// Release implements store.Settler. The server counts what was withdrawn among what it has: empty transactions with the numbers of those go
// into its binary log, for others that read it would be refused a number that it does not have.
func (s *Server) Release(ctx context.Context, _ storage.Want, o storage.Outage, from storage.Source) (bool, error) {
	spoken, err := s.dialect(ctx)
	if err != nil {
		return false, err
	}
	noted, err := readOutage(ctx, s.plain, o.Region)
	if err != nil {
		return false, s.explain(ctx, "reading what is known of an outage", err)
	}
	if noted.id == o.ID && noted.phase == phaseReleased {
		return true, nil
	}
	var there outage
	if err := s.asReplica(ctx, from.Address, func(p *pool) (err error) {
		there, err = readOutage(ctx, p, o.Region)
		return err
	}); err != nil {
		return false, fmt.Errorf("asking the server of %s whether it has withdrawn what it had not shipped: %w", o.Region, err)
	}
	if there.id != o.ID || there.phase != phaseWithdrawn && there.phase != phaseSettled {
		return false, nil
	}
	at, err := s.place(ctx, spoken)
	if err != nil {
		return false, err
	}
	if there.cut != "" {
		origin, cut := spoken.numberIn(there.cut)
		has := spoken.applied(at.here, at.applied)[origin]
		if has < there.reached {
			return false, nil // another region has more of what was shipped, and it comes from there
		}
		if has < cut {
			if done, err := spoken.pass(ctx, s, there.cut); err != nil || !done {
				return false, s.explain(ctx, "going on behind what "+o.Region+" has withdrawn", err)
			}
		}
	}
	_, err = s.local.exec(ctx, writeOutage, o.Region, o.ID, phaseReleased, there.reached, there.cut)
	return err == nil, s.explain(ctx, "noting that changes from "+o.Region+" are received again", err)
}

// Forgo implements store.Settler.
func (s *Server) Forgo(ctx context.Context, w storage.Want, o storage.Outage) error {
	noted, err := readOutage(ctx, s.plain, o.Region)
	switch {
	case err != nil, noted.id == o.ID && noted.phase != phaseHeld:
	case o.Region == w.Region:
		phase, left := phaseSettled, []late(nil)
		if left, err = s.undecided(ctx, o.Region); len(left) > 0 {
			phase = phaseWithdrawn // of an outage before this one
		}
		if err == nil {
			_, err = s.local.exec(ctx, writeOutage, o.Region, o.ID, phase, 0, "")
		}
	default:
		_, err = s.local.exec(ctx, writeOutage, o.Region, o.ID, phaseReleased, noted.reached, "")
	}
	return s.explain(ctx, "noting that an outage is not settled", err)
}

// halt stops links that run, but for those that are left, and returns the statements that start them again.
func (s *Server) halt(ctx context.Context, spoken dialect, leave func(name string, row map[string]string) bool) ([]statement, error) {
	rows, err := s.status(ctx, spoken)
	if err != nil {
		return nil, err
	}
	var started []statement
	for _, row := range rows {
		name, link, _ := spoken.link(row)
		if link.Stopped || leave != nil && leave(name, row) {
			continue
		}
		if err := s.do(ctx, spoken.pause(name)); err != nil {
			return started, err
		}
		started = append(started, statement{spoken.start(name), nil})
	}
	return started, nil
}

// settling makes sessions that write rows as they were: without checks of foreign keys, which they passed then, and with any value.
func (s *Server) settling(logged bool) (*pool, error) {
	variables := map[string]string{"foreign_key_checks": "0", "sql_mode": "'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'"}
	if !logged {
		variables["sql_log_bin"] = "0"
	}
	return newPool(&s.options, variables)
}

// run is one transaction of such sessions.
func (s *Server) run(ctx context.Context, logged bool, do func(context.Context, *sql.Tx) error) error {
	p, err := s.settling(logged)
	if err != nil {
		return err
	}
	defer func() { _ = p.db.Close() }()
	return p.transact(ctx, do)
}
