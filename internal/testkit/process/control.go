package process

import (
	"context"
	"fmt"
	"io"
	"os"
	"syscall"
)

// tailBytes is how much of a log LogTail returns.
const tailBytes = 4096

// PID returns the child's process id, which is also its group's. It is meaningless after Done.
func (p *Process) PID() int { return p.pid }

// Done is closed when the child has ended and been reaped, for whatever reason.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err tells how the child ended: nil for exit code 0 or while it runs, otherwise an *exec.ExitError.
func (p *Process) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Stop asks the child to end (SIGTERM), also a frozen one, and kills it when StopTimeout or ctx is
// over first. It returns once the child is gone; having had to kill it is an error.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.signal(syscall.SIGTERM, syscall.SIGCONT); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, p.spec.StopTimeout)
	defer cancel()
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		if err := p.Kill(); err != nil {
			return err
		}
		return fmt.Errorf("stopping %s: killed it because it did not end in time: %w", p.spec.Name, context.Cause(ctx))
	}
}

// Kill ends the child's group at once (SIGKILL), as a power failure would, and returns once the child
// is gone. Killing an ended child is no error.
func (p *Process) Kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// Freeze halts the child's group (SIGSTOP): connections stay open and nothing answers.
func (p *Process) Freeze() error { return p.signal(syscall.SIGSTOP) }

// Continue undoes Freeze (SIGCONT).
func (p *Process) Continue() error { return p.signal(syscall.SIGCONT) }

// signal sends to the whole group, unless the child is gone.
func (p *Process) signal(signals ...syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return nil
	}
	for _, s := range signals {
		if err := syscall.Kill(-p.pid, s); err != nil {
			return fmt.Errorf("sending %s to %s (process group %d): %w", s, p.spec.Name, p.pid, err)
		}
	}
	return nil
}

// LogTail returns the last few kilobytes of the child's log, or why it cannot be read.
func (p *Process) LogTail() string {
	tail, err := readTail(p.spec.LogFile)
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	return tail
}

func readTail(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	if _, err := file.Seek(max(0, info.Size()-tailBytes), io.SeekStart); err != nil {
		return "", err
	}
	tail, err := io.ReadAll(file)
	return string(tail), err
}
