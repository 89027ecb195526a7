package mysql

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
)

// pass: one empty transaction with the last number is enough, without which servers that read this one's binary log would be refused (error
// 1236, with gtid_strict_mode); then gtid_slave_pos moves there, while links stand still.
func (spoken mariaDB) pass(ctx context.Context, s *Server, cut string) (done bool, err error) {
	started, err := s.halt(ctx, spoken, nil)
	defer func() {
		if again := s.do(ctx, started); err == nil {
			done, err = again == nil, again
		}
	}()
	if err != nil {
		return false, err
	}
	at, err := s.place(ctx, spoken)
	if err != nil {
		return false, err
	}
	parts := strings.Split(cut, "-")
	if gtids(at.here)[parts[0]] < gtids(cut)[parts[0]] {
		if err := s.empty(ctx, parts); err != nil {
			return false, err
		}
	}
	all := []string{cut}
	for _, text := range []string{at.applied, spoken.lastOwn(at)} {
		for gtid := range strings.SplitSeq(text, ",") {
			domain, _, _ := strings.Cut(gtid, "-")
			// Its own it has in its binary log, see knowOwn.
			if gtid != "" && domain != parts[0] && (text != at.applied || domain != at.own) {
				all = append(all, gtid)
			}
		}
	}
	_, err = s.local.exec(ctx, "SET GLOBAL gtid_slave_pos = ?", strings.Join(all, ","))
	return err == nil, err
}

// passAtOnce is how many transactions of a lost region one call counts among what the server has: each is synced to its disk.
const passAtOnce = 250

// pass: every number needs an empty transaction of its own. Setting gtid_purged would do without, and then no other server could be sent what
// this one has.
func (mySQL) pass(ctx context.Context, s *Server, cut string) (done bool, err error) {
	var missing string
	if err := s.plain.row(ctx, "SELECT GTID_SUBTRACT(?, @@GLOBAL.gtid_executed)", []any{upTo(cut)}, &missing); err != nil {
		return false, err
	}
	var all []string
	for one := range intervals(missing) {
		for number := one.from; number <= one.to; number++ {
			if len(all) == 3*passAtOnce {
				return false, s.as(ctx, all)
			}
			all = append(all, fmt.Sprintf("SET SESSION gtid_next = '%s:%d'", one.origin, number), "BEGIN", "COMMIT")
		}
	}
	return true, s.as(ctx, all)
}

// empty writes a transaction without a change, with a GTID of another server, as replaying a binary log does.
func (s *Server) empty(ctx context.Context, gtid []string) error {
	return s.as(ctx, []string{
		"SET SESSION gtid_domain_id = " + gtid[0], "SET SESSION server_id = " + gtid[1], "SET SESSION gtid_seq_no = " + gtid[2], schema[0],
	})
}

// as runs statements in the name of another server.
func (s *Server) as(ctx context.Context, all []string) error {
	conn, err := s.plain.db.Conn(ctx)
	if err != nil {
		return s.plain.scrub(err)
	}
	defer func() {
		// Whoever gets the connection next must not write as another server.
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		_ = conn.Close()
	}()
	for _, text := range all {
		if _, err := conn.ExecContext(ctx, text); err != nil {
			return s.plain.scrub(err)
		}
	}
	return nil
}
