package mysql

import (
	"context"
	"errors"
	"fmt"
	"net"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// purgedQuery asks a source for what it does not have any more.
type purgedQuery struct {
	// file, when it is set, has the name of the oldest binary log in the first row's column Log_name, which is
	// the argument of lost.
	file string
	// lost answers with the positions that the source has nothing up to.
	lost string
	// read them, by origin.
	read func(string) map[string]int64
}

// place is where a server is, as it tells.
type place struct{ own, here, applied string }

func (s *Server) place(ctx context.Context, spoken dialect) (place, error) {
	at, err := placeOf(ctx, s.plain, spoken)
	return at, s.explain(ctx, "reading positions", err)
}

// placeOf asks any server.
func placeOf(ctx context.Context, p *pool, spoken dialect) (place, error) {
	var at place
	err := p.row(ctx, fmt.Sprintf("SELECT %s, %s", spoken.origin(), spoken.positionQuery()), nil, &at.own, &at.here, &at.applied)
	return at, err
}

// checkSource asks a source whether it still has what the server lacks. A source that cannot be asked is no
// obstacle: the link will say so itself.
func (s *Server) checkSource(ctx context.Context, spoken dialect, w storage.Want, from storage.Source, at place) error {
	var lost map[string]int64
	err := s.asReplica(ctx, from.Address, func(p *pool) error {
		var err error
		lost, err = lostOf(ctx, p, spoken.purged())
		return err
	})
	if err != nil {
		return ctx.Err()
	}
	has := spoken.positions(at.own, at.here, at.applied)
	for origin, upTo := range lost {
		if has[origin] < upTo {
			why := fmt.Sprintf("region %s has up to %d of %s, and %s has deleted its binary logs up to %d", w.Region, has[origin],
				origin, from.Region, upTo)
			return &store.BootstrapError{Bootstrap: *bootstrap(spoken, from.Region, from.Address, why)}
		}
	}
	return nil
}

func lostOf(ctx context.Context, p *pool, q purgedQuery) (map[string]int64, error) {
	var args []any
	if q.file != "" {
		logs, err := p.table(ctx, q.file)
		if err != nil {
			return nil, err
		}
		if len(logs) == 0 {
			return nil, errors.New("the source has no binary log")
		}
		args = append(args, logs[0]["Log_name"])
	}
	var lost *string
	if err := p.row(ctx, q.lost, args, &lost); err != nil || lost == nil {
		return nil, err
	}
	return q.read(*lost), nil
}

// bootstrap says how a server is seeded from a source. Passwords are asked for.
func bootstrap(spoken dialect, region, address, why string) *storage.Bootstrap {
	host, port, _ := net.SplitHostPort(address)
	return &storage.Bootstrap{
		Why:      fmt.Sprintf("The server lacks changes that %s does not have any more, and has to be seeded: %s.", region, why),
		Commands: spoken.seed(host, port),
	}
}
