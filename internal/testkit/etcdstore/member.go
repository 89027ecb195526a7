package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"multiactive.dev/operator/internal/testkit/process"
)

// errNotRunning is returned by what needs a running member.
var errNotRunning = errors.New("the member is not running")

// Member is one etcd process and its data. It can be started, ended and started again; its addresses
// and data stay. Its methods may be called from several goroutines.
type Member struct {
	name    string
	host    string
	ports   memberPorts
	logFile string
	args    []string
	program string
	timeout time.Duration
	network string

	mu      sync.Mutex
	process *process.Process // nil: not running
}

// Name returns the member's name.
func (m *Member) Name() string { return m.name }

// Endpoint returns the URL that clients use.
func (m *Member) Endpoint() string { return address(m.host, m.ports.Client) }

// Start runs the member on the data it has, or does nothing when it runs. It returns once the member
// answers consistent reads, which takes a majority of the members; without one it fails after
// Options.StartTimeout.
func (m *Member) Start(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running() {
		return nil
	}
	started, err := process.Start(ctx, process.Spec{
		Name: "etcd " + m.name, Path: m.program, Args: m.args, LogFile: m.logFile,
		Ready: m.ready, ReadyTimeout: m.timeout, Network: m.network,
	})
	if err != nil {
		return err
	}
	m.process = started
	return nil
}

// Stop ends the member gracefully.
func (m *Member) Stop(ctx context.Context) error {
	return m.end(func(p *process.Process) error { return p.Stop(ctx) })
}

// Kill ends the member at once, as the loss of its region does. What it acknowledged stays on disk.
// A Start under way is awaited first; end that one by its context.
func (m *Member) Kill() error {
	return m.end((*process.Process).Kill)
}

// Freeze halts the member: its connections stay open and nothing answers.
func (m *Member) Freeze() error { return m.with((*process.Process).Freeze) }

// Continue undoes Freeze.
func (m *Member) Continue() error { return m.with((*process.Process).Continue) }

// Process returns the running process, or nil.
func (m *Member) Process() *process.Process {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.running() {
		return nil
	}
	return m.process
}

func (m *Member) end(how func(*process.Process) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil {
		return nil
	}
	err := how(m.process)
	m.process = nil
	return err
}

func (m *Member) with(what func(*process.Process) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.running() {
		return fmt.Errorf("etcd %s: %w", m.name, errNotRunning)
	}
	return what(m.process)
}

// running must be called with mu held.
func (m *Member) running() bool {
	if m.process == nil {
		return false
	}
	select {
	case <-m.process.Done():
		return false
	default:
		return true
	}
}

// ready asks etcd's own check, which includes a linearizable read.
func (m *Member) ready(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Endpoint()+"/readyz", http.NoBody)
	if err != nil {
		return fmt.Errorf("asking etcd %s whether it is ready: %w", m.name, err)
	}
	response, err := readyClient.Do(request)
	if err != nil {
		return fmt.Errorf("asking etcd %s whether it is ready: %w", m.name, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1024))
	if err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("etcd %s is not ready: %s: %s", m.name, response.Status, strings.TrimSpace(string(body)))
	}
	return nil
}

// readyClient opens a connection per look: a kept one could belong to the member's previous life.
var readyClient = &http.Client{
	Timeout:   2 * time.Second,
	Transport: &http.Transport{DisableKeepAlives: true},
}

func address(host string, port int) string {
	return "http://" + net.JoinHostPort(host, strconv.Itoa(port))
}

func arguments(m *Member, o Options, initialCluster string) []string {
	client, peer := m.Endpoint(), address(m.host, m.ports.Peer)
	args := []string{
		"--name=" + m.name,
		"--data-dir=" + filepath.Join(o.Dir, m.name),
		"--listen-client-urls=" + client,
		"--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer,
		"--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=" + initialCluster,
		"--initial-cluster-token=" + filepath.Base(o.Dir),
		"--initial-cluster-state=new",
		"--heartbeat-interval=" + milliseconds(o.HeartbeatInterval),
		"--election-timeout=" + milliseconds(o.ElectionTimeout),
		// The end of a process loses nothing without fsync; only the end of the machine would.
		"--unsafe-no-fsync=true",
	}
	return append(args, o.ExtraArgs...)
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
