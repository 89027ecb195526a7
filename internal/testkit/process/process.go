// Package process runs one child process for a test or a playground: start and wait until it is
// ready, stop, kill, freeze, and tell when it ended.
//
// It must never leave anything behind: a child has a process group of its own, which is killed as a
// whole when its first process ends, and the kernel kills the child when the parent crashes.
// A child inherits no environment, so that a developer's settings cannot change what a test sees.
//
// Linux only, like the loopback addresses that give every region an IP of its own.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"multiactive.dev/operator/internal/testkit/poll"
)

const (
	// DefaultReadyTimeout is how long Start waits for a child when Spec.ReadyTimeout is zero.
	DefaultReadyTimeout = 60 * time.Second
	// DefaultStopTimeout is how long Stop waits before it kills when Spec.StopTimeout is zero.
	DefaultStopTimeout = 10 * time.Second

	readyInterval = 50 * time.Millisecond
)

// ErrExited is the cause of a failed Start when the child ended before it was ready.
var ErrExited = errors.New("the process ended before it was ready")

// Spec says what to run.
type Spec struct {
	// Name appears in errors. Required.
	Name string
	// Path is the program, an absolute path or one relative to the parent's directory. Required.
	Path string
	// Args are the arguments without the program's name.
	Args []string
	// Env is the child's whole environment as KEY=value; nothing is inherited.
	Env []string
	// Dir is the working directory. Default: the parent's.
	Dir string
	// LogFile receives standard output and standard error, appended. Required.
	LogFile string
	// Ready tells whether the child can be used; it is called repeatedly until it returns nil.
	// Default: ready as soon as it runs.
	Ready func(context.Context) error
	// ReadyTimeout bounds the wait for Ready. Default: DefaultReadyTimeout.
	ReadyTimeout time.Duration
	// StopTimeout is how long Stop waits for a graceful end. Default: DefaultStopTimeout.
	StopTimeout time.Duration
	// Network is the file of the network namespace to run in. Default: the parent's.
	Network string
}

// Process is one started child. Its methods may be called from several goroutines.
type Process struct {
	spec Spec
	pid  int
	done chan struct{}

	mu     sync.Mutex
	reaped bool  // once true, pid may belong to somebody else
	err    error // how it ended, valid once done is closed
}

// Start runs the child and returns once it is ready. On an error nothing is left running, and the
// error carries the end of the child's output.
func Start(ctx context.Context, spec Spec) (*Process, error) {
	if spec.Name == "" || spec.Path == "" || spec.LogFile == "" {
		return nil, fmt.Errorf("starting process %q: Name, Path and LogFile are required", spec.Name)
	}
	if spec.ReadyTimeout == 0 {
		spec.ReadyTimeout = DefaultReadyTimeout
	}
	if spec.StopTimeout == 0 {
		spec.StopTimeout = DefaultStopTimeout
	}
	log, err := os.OpenFile(spec.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("starting %s: opening its log: %w", spec.Name, err)
	}
	defer func() { _ = log.Close() }() // the child has its own copy

	p := &Process{spec: spec, done: make(chan struct{})}
	cmd := &exec.Cmd{
		Path: spec.Path, Args: append([]string{spec.Path}, spec.Args...), Env: append([]string{}, spec.Env...),
		Dir: spec.Dir, Stdout: log, Stderr: log, SysProcAttr: attributes(),
	}
	started := make(chan error)
	go p.run(cmd, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", spec.Name, err)
	}
	if err := p.awaitReady(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w; end of %s:\n%s", spec.Name, err, spec.LogFile, p.LogTail()), p.Kill())
	}
	return p, nil
}

// run starts and reaps the child on one thread: the kernel's "kill the child with its parent" means
// the thread that started it, and the Go runtime ends threads at will unless they are locked.
func (p *Process) run(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	if p.spec.Network == "" {
		defer runtime.UnlockOSThread() // a thread that has entered a namespace must end
	} else if err := enter(p.spec.Network); err != nil {
		started <- err
		return
	}
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	p.pid = cmd.Process.Pid
	started <- nil

	awaitExit(p.pid)
	p.mu.Lock()
	// Not reaped yet, so the group's number cannot have been given to others: end what it left behind.
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	p.err = cmd.Wait()
	p.reaped = true
	p.mu.Unlock()
	close(p.done)
}

func (p *Process) awaitReady(ctx context.Context) error {
	if p.spec.Ready == nil {
		return nil
	}
	tooLate := fmt.Errorf("not ready after %s", p.spec.ReadyTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, p.spec.ReadyTimeout, tooLate)
	defer cancel()
	ctx, exited := context.WithCancelCause(ctx)
	defer exited(nil)
	go func() {
		select {
		case <-p.done:
			exited(ErrExited)
		case <-ctx.Done():
		}
	}()
	return poll.Until(ctx, readyInterval, p.spec.Ready)
}
