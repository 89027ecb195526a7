// Package redis is the engine of Redis, 6 and later: one primary, which the other regions replicate from.
//
// A server that is made a replica loses everything that it has (manual, REPLICAOF), so the engine never does that
// to a server that has something which its source lacks, unless just that is accepted. It has no fences, leases or digests, as
// Redis has no transactions that could ask for them. Facts about Redis that a comment gives without a source were
// seen with 7.0.15.
package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

const defaultTimeout = 5 * time.Second

// Keys of the operator's own, which are replicated like any other.
const (
	// canaryKey, followed by a region, is a list of the region's last canaries, the newest first.
	canaryKey = store.Schema + ":canary:"
	// canariesKey is the set of the regions that have one, with the last sequence: so it is replicated with every one.
	canariesKey = store.Schema + ":canaries"
	// lineageKey tells data that come from one primary from those of another.
	lineageKey = store.Schema + ":lineage"
	// lastWriteKey is the last that a primary wrote before it was made read-only; see lineage.go.
	lastWriteKey = store.Schema + ":last-write"
)

// Server is one Redis server.
type Server struct {
	options store.Options
	client  *redis.Client

	mutex sync.Mutex
	// regions whose canaries an earlier beat saw.
	regions []string
	// replica: an earlier beat found that it cannot write.
	replica bool
	// log is what an earlier look saw of the replication log.
	log logSample
}

var _ store.Server = (*Server)(nil)

// quiet takes what the client would write to standard error: its errors are returned as well.
type quiet struct{}

// Printf implements the client's logger.
func (quiet) Printf(context.Context, string, ...any) {}

var silence = sync.OnceFunc(func() { redis.SetLogger(quiet{}) })

// Open returns a client of the server; it connects when it is first used.
func Open(o store.Options) (*Server, error) {
	silence()
	o.Timeout = cmp.Or(o.Timeout, defaultTimeout)
	if _, _, err := splitAddress(o.Address); err != nil {
		return nil, err
	}
	return &Server{options: o, client: newClient(o.Address, o.Admin, o.Timeout)}, nil
}

// newClient never tries a command twice: it may have been carried out.
func newClient(address string, user store.Credentials, timeout time.Duration) *redis.Client {
	o := &redis.Options{
		Addr: address, Username: user.User, Password: user.Password, Protocol: 2, DisableIdentity: true,
		DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, PoolTimeout: timeout,
		MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, PoolSize: 4, ConnMaxIdleTime: time.Minute,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if user.TLS != nil {
		o.TLSConfig = user.TLS.Clone()
		host, _, _ := net.SplitHostPort(address)
		o.TLSConfig.ServerName = cmp.Or(o.TLSConfig.ServerName, host)
	}
	return redis.NewClient(o)
}

func splitAddress(address string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(address)
	if err == nil && (host == "" || port == "") {
		err = errors.New("host or port is empty")
	}
	if err != nil {
		return "", "", fmt.Errorf("address %q: give host:port, such as cache.example.com:6379: %w", address, err)
	}
	return host, port, nil
}

// Close implements store.Server.
func (s *Server) Close() error { return s.client.Close() }

// within bounds a method whose caller set no deadline.
func (s *Server) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, s.options.Timeout)
}

// info is what INFO tells (manual, INFO).
type info map[string]string

func readInfo(ctx context.Context, client redis.Cmdable) (info, error) {
	text, err := client.Info(ctx).Result()
	if err != nil {
		return nil, err
	}
	found := info{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			found[name] = value
		}
	}
	return found, nil
}

func (i info) number(name string) int64 {
	n, _ := strconv.ParseInt(i[name], 10, 64)
	return n
}

func (i info) replica() bool { return i["role"] == "slave" }

// source is the address that a replica reads from.
func (i info) source() string { return net.JoinHostPort(i["master_host"], i["master_port"]) }

// keys counts those of all databases.
func (i info) keys() int64 {
	var all int64
	for name, value := range i {
		if !strings.HasPrefix(name, "db") {
			continue
		}
		if _, err := strconv.Atoi(name[len("db"):]); err != nil {
			continue
		}
		first, _, _ := strings.Cut(value, ",")
		n, _ := strconv.ParseInt(strings.TrimPrefix(first, "keys="), 10, 64)
		all += n
	}
	return all
}

func unsupported(what string) error {
	return fmt.Errorf("%s in Redis: %w", what, store.ErrUnsupported)
}

// SetFences implements store.Server: Redis has none.
func (s *Server) SetFences(context.Context, storage.Fences) error { return unsupported("fences") }

// RemoveFences implements store.Server: Redis has none.
func (s *Server) RemoveFences(context.Context, string) error { return unsupported("fences") }

// Fences implements store.Server: Redis has none.
func (s *Server) Fences(context.Context) ([]storage.Fences, error) {
	return nil, unsupported("fences")
}

// Lease implements store.Server: Redis has none.
func (s *Server) Lease(context.Context, string, time.Duration) error { return unsupported("leases") }

// Bounds implements store.Server: Redis has no digests.
func (s *Server) Bounds(context.Context, string, int, string, int) ([]storage.Digest, bool, error) {
	return nil, false, unsupported("digests")
}

// Digests implements store.Server: Redis has none.
func (s *Server) Digests(context.Context, string, int, []storage.Digest, []int) ([]storage.Digest, error) {
	return nil, unsupported("digests")
}
