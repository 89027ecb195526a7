// Package mariadb runs real servers of MariaDB, and of MySQL, as processes that a test can kill, freeze and bring back
// with their data and their address.
//
// It is for tests and benchmarks only. It must never listen on anything but loopback, never touch a
// server that it has not started, and never install anything: hack/ensure.sh does.
package mariadb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"

	"multiactive.dev/operator/internal/testkit/ports"
	"multiactive.dev/operator/internal/testkit/process"
)

// A server that comes back after a kill recovers first, and the machine may be busy.
const (
	startTimeout = 2 * time.Minute
	stopTimeout  = time.Minute
	probeTimeout = 2 * time.Second
)

// Options describe a server.
type Options struct {
	// Name appears in errors. Default: the product.
	Name string
	// Programs that the server runs. Default: the machine's MariaDB.
	Programs Programs
	// Dir holds data, log and socket; its path must be short enough for a socket. Required.
	Dir string
	// Host is the loopback address to listen on. Default: one that nobody else uses.
	Host string
	// Settings are options of the server without the leading dashes, in addition to those that make the
	// server small and quick to start. An empty value gives the option without one.
	Settings map[string]string
}

// Server is one server. It can be started, ended and started again; one goroutine may use it at a time.
type Server struct {
	options Options
	port    int
	process *process.Process
}

// New prepares a server and starts nothing.
func New(o Options) (*Server, error) {
	if o.Programs.name == "" {
		var err error
		if o.Programs, err = machines(); err != nil {
			return nil, fmt.Errorf("preparing a server: %w", err)
		}
	}
	if o.Name == "" {
		o.Name = o.Programs.name
	}
	if o.Host == "" {
		o.Host = ports.Host()
	}
	o.Settings = maps.Clone(o.Settings)
	s := &Server{options: o}
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("preparing %s: %w", o.Name, err)
	}
	return s, nil
}

func (s *Server) prepare() error {
	if s.options.Dir == "" {
		return errors.New("no Dir is given")
	}
	found, err := ports.Free(s.options.Host, 1)
	if err != nil {
		return err
	}
	s.port = found[0]
	template, err := s.options.Programs.template()
	if err != nil {
		return err
	}
	return os.CopyFS(s.file("data"), os.DirFS(template))
}

func (s *Server) file(name string) string { return filepath.Join(s.options.Dir, name) }

// Addr is where the server listens, host:port. It stays the same through restarts.
func (s *Server) Addr() string { return net.JoinHostPort(s.options.Host, strconv.Itoa(s.port)) }

// PID is the number of the server's process. It is meaningless when it does not run.
func (s *Server) PID() int { return s.process.PID() }

// Dir is the directory of the server's data.
func (s *Server) Dir() string { return s.file("data") }

// Socket is the path of the server's socket.
func (s *Server) Socket() string { return s.file("s") }

// Set changes a setting for the next start; "-" removes it.
func (s *Server) Set(name, value string) {
	if s.options.Settings == nil {
		s.options.Settings = map[string]string{}
	}
	if value == "-" {
		delete(s.options.Settings, name)
		return
	}
	s.options.Settings[name] = value
}

// Move gives the server another port, for the next start.
func (s *Server) Move() error {
	found, err := ports.Free(s.options.Host, 1)
	if err != nil {
		return err
	}
	s.port = found[0]
	return nil
}

// Start runs the server and returns when it answers. On an error nothing is left running.
func (s *Server) Start(ctx context.Context) error {
	db := s.Superuser()
	defer func() { _ = db.Close() }()
	var err error
	s.process, err = process.Start(ctx, process.Spec{
		Name: s.options.Name, Path: s.options.Programs.daemon, Args: s.arguments(), LogFile: s.file("log"),
		Ready: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			return db.PingContext(ctx)
		},
		ReadyTimeout: startTimeout, StopTimeout: stopTimeout,
	})
	return err
}

func (s *Server) arguments() []string {
	settings := maps.Clone(s.options.Programs.small)
	maps.Copy(settings, s.options.Settings)
	// What follows --no-defaults is all that the server reads. Temporary files are in a directory of its own: a
	// server that starts deletes those of others.
	args := []string{
		"--no-defaults", "--datadir=" + s.file("data"), "--socket=" + s.file("s"), "--pid-file=" + s.file("pid"),
		"--bind-address=" + s.options.Host, "--port=" + strconv.Itoa(s.port), "--user=" + username(), "--tmpdir=" + s.options.Dir,
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if value := settings[name]; value != "" {
			args = append(args, "--"+name+"="+value)
		} else {
			args = append(args, "--"+name)
		}
	}
	return args
}

// Kill ends the server as a crash would (SIGKILL). Its data stay.
func (s *Server) Kill() error {
	if s.process == nil {
		return nil
	}
	return s.process.Kill()
}

// Stop ends the server gracefully.
func (s *Server) Stop(ctx context.Context) error {
	if s.process == nil {
		return nil
	}
	return s.process.Stop(ctx)
}

// Freeze halts the server (SIGSTOP): connections stay open and nothing answers.
func (s *Server) Freeze() error { return s.process.Freeze() }

// Continue undoes Freeze.
func (s *Server) Continue() error { return s.process.Continue() }

// LogTail is the end of what the server wrote.
func (s *Server) LogTail() string {
	if s.process == nil {
		return "(not started)"
	}
	return s.process.LogTail()
}

// Superuser returns connections of the superuser, by the socket, in sessions that write no binary log; the caller
// closes them.
func (s *Server) Superuser() *sql.DB {
	config := mysql.NewConfig()
	config.User, config.Net, config.Addr = "root", "unix", s.file("s")
	config.Params = map[string]string{"sql_log_bin": "0"}
	config.InterpolateParams = true
	config.Logger = &mysql.NopLogger{} // a test kills servers
	connector, err := mysql.NewConnector(config)
	if err != nil {
		panic(err) // the configuration is a constant
	}
	return sql.OpenDB(connector)
}
