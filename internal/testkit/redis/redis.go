// Package redis runs Redis as a process: a server with data of its own that a test can stop, kill, freeze and
// bring back with its data and its address.
//
// It is for tests only. It must never listen on anything but loopback, never touch a server that it has not
// started, and never fetch anything: hack/ensure.sh does.
package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"multiactive.dev/operator/internal/testkit/ports"
	"multiactive.dev/operator/internal/testkit/process"
)

// startTimeout is for a busy machine.
const startTimeout = 90 * time.Second

// Password of the user "default", who may do everything.
const Password = "superuser's own"

// ErrNotFound is wrapped when Redis is missing.
var ErrNotFound = errors.New("program not found")

// Options describe a server.
type Options struct {
	// Name appears in errors. Default "redis".
	Name string
	// Dir holds configuration, data and log. Required.
	Dir string
	// Host is the loopback address to listen on. Default: one that nobody else uses.
	Host string
	// Settings are added to the server's configuration, and replace what it has.
	Settings map[string]string
}

// Server is one server. It can be started, ended and started again; one goroutine may use it at a time.
type Server struct {
	options Options
	program string
	port    int
	process *process.Process
}

// New prepares a server and starts nothing.
func New(o Options) (*Server, error) {
	if o.Name == "" {
		o.Name = "redis"
	}
	if o.Host == "" {
		o.Host = ports.Host()
	}
	s := &Server{options: o}
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("preparing server %s: %w", o.Name, err)
	}
	return s, nil
}

func (s *Server) prepare() error {
	if s.options.Dir == "" {
		return errors.New("no Dir is given")
	}
	var err error
	if s.program, err = exec.LookPath("redis-server"); err != nil {
		return fmt.Errorf("%w: redis-server: run `apt-get install redis-server`", ErrNotFound)
	}
	if err := s.Move(); err != nil {
		return err
	}
	// Written once: afterwards it is the server that rewrites it.
	return os.WriteFile(s.config(), []byte(s.settings()), 0o600)
}

func (s *Server) config() string { return filepath.Join(s.options.Dir, "redis.conf") }

func (s *Server) settings() string {
	all := map[string]string{
		"dir": s.options.Dir, "requirepass": strconv.Quote(Password), "daemonize": "no", "appendonly": "yes", "save": `""`,
		// What was answered is the kernel's, and survives Kill. With the default it may stay in the process while the disk is slow.
		"appendfsync": "no",
		// Replicas get what they ask for at once, not after more of them have come.
		"repl-diskless-sync-delay": "0", "repl-backlog-size": "16mb", "repl-backlog-ttl": "0",
	}
	maps.Copy(all, s.options.Settings)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s %s\n", name, all[name])
	}
	return b.String()
}

// Addr is host:port. It stays the same through restarts.
func (s *Server) Addr() string { return net.JoinHostPort(s.options.Host, strconv.Itoa(s.port)) }

// Move gives the server another port, for its next start.
func (s *Server) Move() error {
	free, err := ports.Free(s.options.Host, 1)
	if err != nil {
		return err
	}
	s.port = free[0]
	return nil
}

// Start runs the server on what its directory holds and returns when it serves. On an error nothing is
// left running.
func (s *Server) Start(ctx context.Context) error {
	var err error
	s.process, err = process.Start(ctx, process.Spec{
		Name: "server " + s.options.Name, Path: s.program, LogFile: s.log(), Ready: s.ready, ReadyTimeout: startTimeout,
		Args: []string{s.config(), "--bind", s.options.Host, "--port", strconv.Itoa(s.port)}, Env: []string{"LC_ALL=C.UTF-8"},
	})
	return err
}

func (s *Server) log() string { return filepath.Join(s.options.Dir, "redis.log") }

func (s *Server) ready(ctx context.Context) error {
	client := s.Client("default", Password)
	defer func() { _ = client.Close() }()
	return client.Ping(ctx).Err()
}

// Client returns connections of a user, which follow the server when it moves; the caller closes them.
func (s *Server) Client(user, password string) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: s.Addr(), Username: user, Password: password, MaxRetries: -1, DisableIdentity: true, ContextTimeoutEnabled: true,
		Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, s.Addr())
		},
	})
}

// Stop ends the server as its operators do.
func (s *Server) Stop(ctx context.Context) error {
	if s.process == nil {
		return nil
	}
	return s.process.Stop(ctx)
}

// Kill ends the server as a crash does (SIGKILL). Its data stay.
func (s *Server) Kill() error {
	if s.process == nil {
		return nil
	}
	return s.process.Kill()
}

// Freeze halts the server (SIGSTOP), as a machine that hangs.
func (s *Server) Freeze() error { return s.process.Freeze() }

// Continue undoes Freeze.
func (s *Server) Continue() error { return s.process.Continue() }

// LogTail is the end of what the server says.
func (s *Server) LogTail() string {
	if s.process == nil {
		return "(not started)"
	}
	return s.process.LogTail()
}
