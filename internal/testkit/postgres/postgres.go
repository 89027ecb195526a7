// Package postgres runs PostgreSQL as a process: a server with data of its own that a test can stop, kill,
// freeze and bring back with its data and its address.
//
// It is for tests only. It must never listen on anything but loopback, never touch a server that it has not
// started, and never fetch anything: hack/ensure.sh does.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"multiactive.dev/operator/internal/testkit/ports"
	"multiactive.dev/operator/internal/testkit/process"
)

const (
	startTimeout = 2 * time.Minute
	stopTimeout  = 30 * time.Second
	probeTimeout = 2 * time.Second
	// shmemLine of postmaster.pid has key and id of the segment.
	shmemLine = 7
)

// The superuser of every server, and its password.
const (
	Superuser = "postgres"
	Password  = "superuser's own"
)

// Options describe a server.
type Options struct {
	// Name appears in errors. Default "postgres".
	Name string
	// Dir holds data and log. Required. Where the test runs as root, every directory above it must let others through.
	Dir string
	// Programs is the directory of PostgreSQL's programs. Default: what Programs finds.
	Programs string
	// Host is the loopback address to listen on. Default: one that nobody else uses.
	Host string
	// Settings are added to the server's configuration, and replace what it has.
	Settings map[string]string
	// Certificate and Key in PEM have the server take TLS as well. Default: it does not.
	Certificate, Key []byte
	// Access are lines of pg_hba.conf. Default: everybody, with a password.
	Access []string
}

// Server is one server. It can be started, ended and started again; one goroutine may use it at a time.
type Server struct {
	options  Options
	programs programs
	port     int
	process  *process.Process
}

// New prepares a server's data and starts nothing.
func New(ctx context.Context, o Options) (*Server, error) {
	if o.Name == "" {
		o.Name = "postgres"
	}
	if o.Host == "" {
		o.Host = ports.Host()
	}
	s := &Server{options: o}
	if err := s.prepare(ctx); err != nil {
		return nil, fmt.Errorf("preparing server %s: %w", o.Name, err)
	}
	return s, nil
}

func (s *Server) prepare(ctx context.Context) error {
	if s.options.Dir == "" {
		return errors.New("no Dir is given")
	}
	var err error
	if s.programs, err = find(s.options.Programs); err != nil {
		return err
	}
	free, err := ports.Free(s.options.Host, 1)
	if err != nil {
		return err
	}
	s.port = free[0]
	if err := s.programs.initialise(ctx, s.options.Dir, s.data()); err != nil {
		return err
	}
	access := s.options.Access
	if access == nil {
		access = []string{"host all all all scram-sha-256"}
	}
	return errors.Join(
		s.certify(),
		s.write("postgresql.conf", s.settings()),
		s.write("pg_hba.conf", strings.Join(access, "\n")+"\n"),
	)
}

// certify writes what the server proves itself with: it refuses a key that others may read.
func (s *Server) certify() error {
	if s.options.Key == nil {
		return nil
	}
	key := filepath.Join(s.data(), "server.key")
	return errors.Join(
		s.write("server.crt", string(s.options.Certificate)),
		os.WriteFile(key, s.options.Key, 0o600), os.Chown(key, s.programs.uid, s.programs.gid),
		s.Configure(map[string]string{"ssl": "on"}),
	)
}

func (s *Server) data() string { return filepath.Join(s.options.Dir, "data") }

func (s *Server) write(name, content string) error {
	return os.WriteFile(filepath.Join(s.data(), name), []byte(content), 0o644)
}

// settings are safe against a killed server, and small: several run beside each other.
func (s *Server) settings() string {
	all := map[string]string{
		"listen_addresses": s.options.Host, "port": strconv.Itoa(s.port), "unix_socket_directories": "",
		"wal_level": "logical", "shared_buffers": "16MB", "max_connections": "60", "max_wal_size": "256MB",
		"logging_collector": "on", "log_filename": "server.log", "log_truncate_on_rotation": "off",
		// A worker that failed begins again so soon: tests wait for it.
		"wal_retrieve_retry_interval": "500ms", "wal_writer_delay": "10ms", "max_slot_wal_keep_size": "256MB",
		"autovacuum_naptime": "1h", "timezone": "UTC",
		// What a killed server leaves of its memory goes with its directory.
		"dynamic_shared_memory_type": "mmap",
		// A killed server loses nothing that it gave to the kernel; a lost machine ends the test anyway.
		"fsync": "off", "full_page_writes": "off",
	}
	maps.Copy(all, s.options.Settings)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s = '%s'\n", name, strings.ReplaceAll(all[name], "'", "''"))
	}
	return b.String()
}

// Configure changes settings of the configuration's file; a start takes them up.
func (s *Server) Configure(settings map[string]string) error {
	merged := maps.Clone(settings)
	for name, value := range s.options.Settings {
		if _, ok := merged[name]; !ok {
			merged[name] = value
		}
	}
	s.options.Settings = merged
	return s.write("postgresql.conf", s.settings())
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
	return s.write("postgresql.conf", s.settings())
}

// Programs is the directory of PostgreSQL's programs that the server was started with.
func (s *Server) Programs() string { return s.programs.dir }

// Start runs the server on what its directory holds and returns when it serves. On an error nothing is
// left running.
func (s *Server) Start(ctx context.Context) error {
	spec := s.programs.spec("postgres", "-D", s.data())
	spec.Name, spec.LogFile = "server "+s.options.Name, filepath.Join(s.options.Dir, "start.log")
	spec.Ready, spec.ReadyTimeout, spec.StopTimeout = s.ready, startTimeout, stopTimeout
	var err error
	s.process, err = process.Start(ctx, spec)
	return err
}

func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := s.Dial(ctx, Superuser, Password)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// Dial connects as a user, to the database "postgres"; the caller closes.
func (s *Server) Dial(ctx context.Context, user, password string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig("sslmode=disable")
	if err != nil {
		return nil, err
	}
	config.Host, config.Port, config.Database = s.options.Host, uint16(s.port), "postgres"
	config.User, config.Password = user, password
	return pgx.ConnectConfig(ctx, config)
}

// Stop ends the server as its operators do: connections are ended, everything is written. (SIGTERM would
// wait for whoever is connected.)
func (s *Server) Stop(ctx context.Context) error {
	if s.process == nil {
		return nil
	}
	if err := syscall.Kill(s.process.PID(), syscall.SIGINT); err != nil {
		return s.process.Kill()
	}
	select {
	case <-s.process.Done():
		return nil
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), s.process.Kill())
	}
}

// Kill ends all the server's processes as a power failure would (SIGKILL). Its data stay.
func (s *Server) Kill() error {
	if s.process == nil {
		return nil
	}
	children := s.children()
	err := s.process.Kill()
	// A server's workers end by themselves when they notice, which takes some time under load.
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return err
}

// Close is Kill for a server that will not be started again: a killed server leaves the segment of shared memory that
// proves that it runs, of which the kernel lets there be 4,096 (postmaster.pid has its id, see LOCK_FILE_LINE_SHMEM_KEY of PostgreSQL).
func (s *Server) Close() error {
	content, _ := os.ReadFile(filepath.Join(s.data(), "postmaster.pid")) // a server that was stopped has none
	err := s.Kill()
	lines := strings.Split(string(content), "\n")
	if len(lines) < shmemLine {
		return err
	}
	fields := strings.Fields(lines[shmemLine-1])
	if len(fields) != 2 { // not yet written
		return err
	}
	id, parseErr := strconv.Atoi(fields[1])
	if parseErr != nil {
		return errors.Join(err, parseErr)
	}
	if _, rmErr := unix.SysvShmCtl(id, unix.IPC_RMID, nil); rmErr != nil && !errors.Is(rmErr, unix.EINVAL) {
		err = errors.Join(err, fmt.Errorf("removing the shared memory %d of server %s: %w", id, s.options.Name, rmErr))
	}
	return err
}

// Freeze halts the server and every process of it (SIGSTOP), as a machine that hangs.
func (s *Server) Freeze() error { return s.signal(syscall.SIGSTOP) }

// Continue undoes Freeze.
func (s *Server) Continue() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal syscall.Signal) error {
	var failed []error
	for _, pid := range append([]int{s.process.PID()}, s.children()...) {
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// children are the processes that the server has started: each is the leader of a group of its own.
func (s *Server) children() []int {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.process.PID()))
	var found []int
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for field := range strings.FieldsSeq(string(content)) {
			if pid, err := strconv.Atoi(field); err == nil {
				found = append(found, pid)
			}
		}
	}
	return found
}

// LogFile is what the server says.
func (s *Server) LogFile() string { return filepath.Join(s.data(), "log", "server.log") }

// LogTail is the end of what the server says.
func (s *Server) LogTail() string {
	content, err := os.ReadFile(s.LogFile())
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	const most = 4096
	return string(content[max(0, len(content)-most):])
}
