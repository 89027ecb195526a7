// Package kafkatest is the test support of everything that speaks Kafka:
// brokers as processes of their own that can be killed, and the contract that
// every Kafka the project meets must keep. Only tests may import it.
package kafkatest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"multiactive.dev/operator/internal/port/kafka/embedded"
)

// roleVariable tells a test binary that it was started again as a process of
// the given role.
const roleVariable = "MULTIACTIVE_TEST_ROLE"

// Role is a program that a test binary can be started as. It prints one line
// when it is ready and runs until the context ends.
type Role func(ctx context.Context, arguments []string) error

// Main runs the tests, or the role that this process was started for. Call it
// from TestMain: os.Exit(kafkatest.Main(m, roles)).
func Main(m *testing.M, roles map[string]Role) int {
	name := os.Getenv(roleVariable)
	if name == "" {
		return m.Run()
	}
	role, ok := roles[name]
	if name == "kafka" {
		role, ok = broker, true
	}
	if !ok {
		fmt.Fprintf(os.Stderr, "unknown role %q\n", name)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := role(ctx, os.Args[1:]); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func broker(ctx context.Context, arguments []string) error {
	var o embedded.Options
	if err := json.Unmarshal([]byte(arguments[0]), &o); err != nil {
		return err
	}
	b, err := embedded.Start(o)
	if err != nil {
		return err
	}
	fmt.Println(b.Addr())
	<-ctx.Done()
	b.Close()
	return nil
}

// Process is a running role. It is killed at the end of its test.
type Process struct {
	// Ready is the line that it printed when it was ready.
	Ready string
	cmd   *exec.Cmd
	ended chan struct{}
}

// Spawn starts this test binary again as a process of a role, and waits until
// it is ready.
func Spawn(t testing.TB, role string, arguments ...string) *Process {
	t.Helper()
	cmd := exec.Command(os.Args[0], arguments...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = t.Output()
	// The child goes when the parent does, also when the parent is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &Process{cmd: cmd, ended: make(chan struct{})}
	t.Cleanup(p.Kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		go p.wait()
		t.Fatalf("role %s ended before it was ready: %v", role, err)
	}
	p.Ready = strings.TrimSpace(line)
	go p.wait()
	return p
}

func (p *Process) wait() {
	_ = p.cmd.Wait() // how it ended is the test's doing
	close(p.ended)
}

// Kill sends SIGKILL and waits for the end; a process that ended is no error.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

// Stop sends SIGTERM and waits for the end.
func (p *Process) Stop() { p.end(syscall.SIGTERM) }

func (p *Process) end(s os.Signal) {
	_ = p.cmd.Process.Signal(s)
	<-p.ended
}

// Broker is an embedded Kafka as a process, with data that stay.
type Broker struct {
	*Process
	// Addr stays the same through restarts.
	Addr    string
	options embedded.Options
	t       testing.TB
}

// StartBroker starts one on a free port.
func StartBroker(t testing.TB, name string) *Broker {
	t.Helper()
	b := &Broker{t: t, options: embedded.Options{Listen: "127.0.0.1:0", DataDir: t.TempDir(), ClusterID: name}}
	b.Start()
	b.Addr = b.Ready
	b.options.Listen = b.Addr
	return b
}

// Dir is where its data are.
func (b *Broker) Dir() string { return b.options.DataDir }

// Start starts it again after Kill or Stop.
func (b *Broker) Start() {
	b.t.Helper()
	raw, err := json.Marshal(b.options)
	if err != nil {
		b.t.Fatal(err)
	}
	b.Process = Spawn(b.t, "kafka", string(raw))
}
