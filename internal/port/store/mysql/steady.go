package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"multiactive.dev/operator/internal/port/store"
)

// steady is one connection for what is said once a second. database/sql, and the driver where a context can be cancelled, pass
// every question from goroutine to goroutine, which costs as much again as the question itself: here the connection's own
// deadline ends it, without another goroutine.
type steady struct {
	connector driver.Connector
	timeout   time.Duration
	secrets   []string
	// turn is held by whoever uses conn.
	turn chan struct{}
	conn driver.Conn

	mu     sync.Mutex
	line   net.Conn // that conn speaks over, nil without one
	closed bool
}

// newSteady makes a connection of the operator's user with these session variables; it connects when it is first used.
func newSteady(o *store.Options, variables map[string]string) (*steady, error) {
	config := configure(o, o.Admin)
	config.MultiStatements = true // a question is one round trip
	maps.Copy(config.Params, variables)
	s := steadyOf(nil, o.Timeout, o.Admin.Password, o.Replication.Password)
	config.DialFunc = s.dial
	var err error
	if s.connector, err = mysql.NewConnector(config); err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", o.Address, err)
	}
	return s, nil
}

func steadyOf(c driver.Connector, timeout time.Duration, secrets ...string) *steady {
	return &steady{connector: c, timeout: timeout, secrets: secrets, turn: make(chan struct{}, 1)}
}

var errClosed = errors.New("the connection was closed")

// dial connects, and keeps what is connected.
func (s *steady) dial(ctx context.Context, network, address string) (net.Conn, error) {
	line, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = line.Close()
		return nil, errClosed
	}
	s.line = line
	return line, nil
}

// ask sends statements, and calls do for every row of the last one's answer, whose values are good until it returns. Over a connection that has ended
// since it was used last it sends them again, so carrying them out twice must do no harm.
func (s *steady) ask(ctx context.Context, statements string, args []any, do func(row []driver.Value) error) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer func() { <-s.turn }()
	until := now().Add(s.timeout)
	if deadline, ok := ctx.Deadline(); ok {
		until = deadline
	}
	used := s.conn != nil
	err := s.once(ctx, until, statements, args, do)
	if used && err != nil && s.conn == nil && ctx.Err() == nil && since(until) < 0 {
		err = s.once(ctx, until, statements, args, do)
	}
	return scrubbed(err, s.secrets)
}

// take waits for its turn.
func (s *steady) take(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	default:
	}
	ctx, cancel := bounded(ctx, s.timeout)
	defer cancel()
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// once asks over the connection that there is, or a new one, which is kept unless it may be broken.
func (s *steady) once(ctx context.Context, until time.Time, statements string, args []any, do func(row []driver.Value) error) error {
	if s.conn == nil {
		its, cancel := context.WithDeadline(ctx, until)
		defer cancel()
		conn, err := s.connector.Connect(its)
		if err != nil {
			return ended(ctx, until, err)
		}
		s.conn = conn
	}
	release, err := s.bind(ctx, until)
	if err == nil {
		err = s.exchange(statements, args, do)
	}
	_, said := errors.AsType[*mysql.MySQLError](err)
	if whole := release(); !whole || err != nil && !said {
		_ = s.conn.Close()
		s.conn = nil
	}
	return ended(ctx, until, err)
}

// bind has the connection end with ctx, and at a time. release reports whether it goes on being of use.
func (s *steady) bind(ctx context.Context, until time.Time) (release func() (whole bool), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return func() bool { return false }, errClosed
	}
	line := s.line
	if line == nil {
		return func() bool { return true }, nil // there is none under a connection of a test
	}
	stop := context.AfterFunc(ctx, func() { _ = line.Close() })
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return stop() && !s.closed
	}, line.SetDeadline(until)
}

// exchange sends statements and reads the answer. Without a way to cancel, the driver has nobody watch it.
func (s *steady) exchange(statements string, args []any, do func(row []driver.Value) error) error {
	asker, ok := s.conn.(driver.QueryerContext)
	if !ok {
		return driver.ErrSkip
	}
	named := make([]driver.NamedValue, len(args))
	for i, arg := range args {
		value, err := driver.DefaultParameterConverter.ConvertValue(arg)
		if err != nil {
			return err
		}
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: value}
	}
	rows, err := asker.QueryContext(context.Background(), statements, named)
	if err != nil {
		return err
	}
	row := make([]driver.Value, len(rows.Columns()))
	for {
		if err = rows.Next(row); err != nil {
			break
		}
		if err = do(row); err != nil {
			break
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, rows.Close())
}

// ended tells that the time is over where that is why something failed: the connection may be first to notice.
func ended(ctx context.Context, until time.Time, err error) error {
	if _, said := errors.AsType[*mysql.MySQLError](err); err == nil || said {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if since(until) >= 0 {
		return context.DeadlineExceeded
	}
	return err
}

// close ends the connection, also while somebody waits for an answer.
func (s *steady) close() error {
	s.mu.Lock()
	s.closed = true
	if s.line != nil {
		_ = s.line.Close()
	}
	s.mu.Unlock()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
		if s.conn != nil {
			_ = s.conn.Close() // the line under it has gone
			s.conn = nil
		}
	default: // whoever uses it lets go of it
	}
	return nil
}
