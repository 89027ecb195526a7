package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strings"

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

// settles returns the dialect, if it is one whose late changes can be settled.
func (s *Server) settles(ctx context.Context) (mariaDB, error) {
	spoken, err := s.dialect(ctx)
	if err != nil {
		return mariaDB{}, err
	}
	maria, is := spoken.(mariaDB)
	if !is {
		return mariaDB{}, fmt.Errorf("settling what a lost region had not shipped: %w", store.ErrUnsupported)
	}
	return maria, nil
}

// Hold implements store.Settler. The link is removed: one that is only stopped starts with the server.
func (s *Server) Hold(ctx context.Context, w storage.Want, o storage.Outage) (bool, error) {
	spoken, err := s.settles(ctx)
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
func (s *Server) drain(ctx context.Context, w storage.Want, spoken mariaDB, region string) (bool, error) {
	if err := s.do(ctx, []statement{{"STOP SLAVE ? IO_THREAD", []any{region}}}); err != nil {
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
	if _, err := s.settles(ctx); err != nil {
		return nil, err
	}
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

// Release implements store.Settler. The server counts what was withdrawn among what it has: an empty transaction with the
// last number of those goes into its binary log, for others that read it would be refused a number that it does not have
// (error 1236, with gtid_strict_mode), and gtid_slave_pos moves there.
func (s *Server) Release(ctx context.Context, _ storage.Want, o storage.Outage, from storage.Source) (bool, error) {
	spoken, err := s.settles(ctx)
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
		domain, _, _ := strings.Cut(there.cut, "-")
		if gtids(at.applied)[domain] < there.reached {
			return false, nil // another region has more of what was shipped, and it comes from there
		}
		if gtids(at.applied)[domain] < gtids(there.cut)[domain] {
			if err := s.pass(ctx, spoken, there.cut); err != nil {
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

// pass moves the server behind a GTID of another domain, while its links stand still.
func (s *Server) pass(ctx context.Context, spoken mariaDB, cut string) (err error) {
	started, err := s.halt(ctx, spoken, nil)
	defer func() {
		if again := s.do(ctx, started); err == nil {
			err = again
		}
	}()
	if err != nil {
		return err
	}
	at, err := s.place(ctx, spoken)
	if err != nil {
		return err
	}
	parts := strings.Split(cut, "-")
	if gtids(at.here)[parts[0]] < gtids(cut)[parts[0]] {
		if err := s.empty(ctx, parts); err != nil {
			return err
		}
	}
	all := []string{cut}
	for _, text := range []string{at.applied, ownOf(at)} {
		for gtid := range strings.SplitSeq(text, ",") {
			domain, _, _ := strings.Cut(gtid, "-")
			// Its own it has in its binary log, see knowOwn.
			if gtid != "" && domain != parts[0] && (text != at.applied || domain != at.own) {
				all = append(all, gtid)
			}
		}
	}
	_, err = s.local.exec(ctx, "SET GLOBAL gtid_slave_pos = ?", strings.Join(all, ","))
	return err
}

// ownOf is the last of the server's own transactions.
func ownOf(at place) string {
	for gtid := range strings.SplitSeq(at.here, ",") {
		if domain, _, _ := strings.Cut(gtid, "-"); domain == at.own {
			return gtid
		}
	}
	return ""
}

// empty writes a transaction without a change, with a GTID of another server, as replaying a binary log does.
func (s *Server) empty(ctx context.Context, gtid []string) error {
	conn, err := s.plain.db.Conn(ctx)
	if err != nil {
		return s.plain.scrub(err)
	}
	defer func() {
		// Whoever gets the connection next must not write as another server.
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		_ = conn.Close()
	}()
	for _, text := range []string{
		"SET SESSION gtid_domain_id = " + gtid[0], "SET SESSION server_id = " + gtid[1], "SET SESSION gtid_seq_no = " + gtid[2], schema[0],
	} {
		if _, err := conn.ExecContext(ctx, text); err != nil {
			return s.plain.scrub(err)
		}
	}
	return nil
}

// halt stops links that run, but for those that are left, and returns the statements that start them again.
func (s *Server) halt(ctx context.Context, spoken mariaDB, leave func(name string, row map[string]string) bool) ([]statement, error) {
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
		started = append(started, statement{"START SLAVE ?", []any{name}})
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
