package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"multiactive.dev/operator/internal/port/store"
)

// defaultTimeout of Options.
const defaultTimeout = 5 * time.Second

// Server implements store.Server.
type Server struct {
	options store.Options
	// plain sessions read.
	plain *pool
	// local sessions write no binary log.
	local *pool
	// beats is a session that writes canaries, the only thing that is to be replicated, and reads them.
	beats *steady
	// leases is a local one that writes leases.
	leases *steady
	// replica makes connections to an address, of the user that servers replicate as.
	replica func(address string) (*pool, error)

	mu      sync.Mutex
	spoken  dialect            // nil until the server has told its version
	set     map[string]pointed // links that this process has set up, by region
	unfed   unfed
	beaten  int
	written written // when binary logs were last measured
	told    told    // what the server last said of its clock
	// loggedIn as the user that others replicate as.
	loggedIn loggedIn
	// keyless are tables without a primary key, as they were then.
	keyless   []string
	keylessAt time.Time
}

var _ store.Server = (*Server)(nil)

// Open returns a client of the server; it connects when it is used first.
func Open(o store.Options) (*Server, error) {
	if _, _, err := net.SplitHostPort(o.Address); err != nil {
		return nil, fmt.Errorf("address %q is not host:port: %w", o.Address, err)
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	unlogged := map[string]string{"sql_log_bin": "0"}
	plain, err := newPool(&o, nil)
	if err != nil {
		return nil, err
	}
	local, err := newPool(&o, unlogged)
	if err != nil {
		return nil, err
	}
	beats, err := newSteady(&o, nil)
	if err != nil {
		return nil, err
	}
	leases, err := newSteady(&o, unlogged)
	if err != nil {
		return nil, err
	}
	return &Server{
		options: o, plain: plain, local: local, beats: beats, leases: leases, set: map[string]pointed{},
		replica: func(address string) (*pool, error) { return openReplica(o, address) },
	}, nil
}

// Close implements store.Server.
func (s *Server) Close() error {
	return errors.Join(s.plain.db.Close(), s.local.db.Close(), s.beats.close(), s.leases.close())
}

// dialect returns how the server is spoken to, and asks it for its version the first time.
func (s *Server) dialect(ctx context.Context) (dialect, error) {
	s.mu.Lock()
	spoken := s.spoken
	s.mu.Unlock()
	if spoken != nil {
		return spoken, nil
	}
	spoken, _, err := s.ask(ctx)
	return spoken, err
}

// ask reads the server's version and keeps it: a server may have been replaced by a newer one.
func (s *Server) ask(ctx context.Context) (dialect, string, error) {
	var version string
	err := s.plain.row(ctx, "SELECT VERSION()", nil, &version)
	if err != nil {
		return nil, "", s.explain(ctx, "asking for the version", err)
	}
	spoken := dialectOf(version)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoken = spoken
	return spoken, version, nil
}

// missingTable tells whether the operator's schema is not there yet.
func missingTable(err error) bool { return is(err, errNoSuchTable, errBadDatabase) }

// noRows tells whether a question had no answer.
func noRows(err error) bool { return errors.Is(err, sql.ErrNoRows) }
