package mysql

import (
	"context"
	"fmt"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// newest canary of every region; the primary key gives both.
const newest = "(SELECT c.region, c.origin FROM " + store.Schema + ".canary c JOIN (SELECT region, MAX(sequence) AS last FROM " +
	store.Schema + ".canary GROUP BY region) n ON n.region = c.region AND n.last = c.sequence)"

// Positions implements store.Server. A region is among them once a canary of it has arrived: that tells what
// its server counts by.
func (s *Server) Positions(ctx context.Context, w storage.Want) (storage.Positions, error) {
	spoken, err := s.dialect(ctx)
	if err != nil {
		return nil, err
	}
	at, err := s.whereabouts(ctx, spoken, w.Region)
	return at.positions, err
}

// whereabouts are what a server has.
type whereabouts struct {
	positions storage.Positions
	// origins are what regions count by, own what this server does.
	origins map[string]string
	own     string
	// written: transactions of its own are on the server.
	written bool
}

func (s *Server) whereabouts(ctx context.Context, spoken dialect, region string) (whereabouts, error) {
	at := whereabouts{positions: storage.Positions{}, origins: map[string]string{}}
	var here, applied string
	read := func(scan func(...any) error) error {
		var name, origin *string
		if err := scan(&at.own, &here, &applied, &name, &origin); err != nil {
			return err
		}
		if name != nil && origin != nil {
			at.origins[*name] = *origin
		}
		return nil
	}
	ask := fmt.Sprintf("SELECT %s, %s, ", spoken.origin(), spoken.positionQuery())
	err := s.plain.each(ctx, ask+"k.region, k.origin FROM (SELECT 1 AS one) o LEFT JOIN "+newest+" k ON TRUE", nil, read)
	if missingTable(err) {
		err = s.plain.each(ctx, ask+"NULL, NULL", nil, read)
	}
	if err != nil {
		return at, s.explain(ctx, "reading positions", err)
	}
	at.origins[region] = at.own
	by := spoken.positions(at.own, here, applied)
	for name, origin := range at.origins {
		if upTo, ok := by[origin]; ok || name == region {
			at.positions[name] = upTo
		}
	}
	at.written = by[at.own] > 0
	return at, nil
}
