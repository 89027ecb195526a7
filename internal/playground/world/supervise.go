package world

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/testkit/process"
)

// restartAfter is the pause before a program that ended by itself is started again, as a Deployment's
// Pods are.
const restartAfter = time.Second

// program is a process that is started again when it ends by itself.
type program struct {
	spec  process.Spec
	clock clock.WithTicker
	log   *slog.Logger

	mu       sync.Mutex
	current  *process.Process
	cancel   context.CancelFunc
	done     chan struct{}
	restarts int
}

// start runs the program and returns once it is ready; it does nothing when it runs.
func (p *program) start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel != nil {
		return nil
	}
	started, err := process.Start(ctx, p.spec)
	if err != nil {
		return err
	}
	keeping, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p.current, p.cancel, p.done = started, cancel, make(chan struct{})
	go p.keep(keeping, started, p.done)
	return nil
}

func (p *program) keep(ctx context.Context, running *process.Process, done chan<- struct{}) {
	defer close(done)
	for {
		select {
		case <-ctx.Done():
			return
		case <-running.Done():
		}
		if ctx.Err() != nil {
			return
		}
		p.log.Warn("a program ended by itself and is started again", "program", p.spec.Name, "error", running.Err(), "log", p.spec.LogFile)
		timer := p.clock.NewTimer(restartAfter)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C():
		}
		again := p.spec
		again.Ready = nil // whoever needs it ready asks it
		started, err := process.Start(ctx, again)
		if err != nil {
			p.log.Error("starting a program again", "program", p.spec.Name, "error", err)
			return
		}
		p.mu.Lock()
		p.restarts++
		p.current = started
		p.mu.Unlock()
		if ctx.Err() != nil {
			_ = started.Kill() // it came too late
			return
		}
		running = started
	}
}

// kill ends the program at once and for good, until start.
func (p *program) kill() error {
	p.mu.Lock()
	cancel, done := p.cancel, p.done
	p.cancel = nil
	if cancel == nil {
		p.mu.Unlock()
		return nil
	}
	cancel()
	current := p.current
	p.mu.Unlock()
	err := current.Kill()
	<-done
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(err, p.current.Kill())
}

// crash kills the program's process, which is started again after a pause as if it had ended by itself.
func (p *program) crash() error { return p.signal((*process.Process).Kill) }

// freeze halts the program: its connections stay open and nothing answers.
func (p *program) freeze() error { return p.signal((*process.Process).Freeze) }

// proceed undoes freeze.
func (p *program) proceed() error { return p.signal((*process.Process).Continue) }

// signal does something to the process, if the program runs.
func (p *program) signal(what func(*process.Process) error) error {
	p.mu.Lock()
	current, runs := p.current, p.cancel != nil
	p.mu.Unlock()
	if !runs {
		return fmt.Errorf("%s does not run", p.spec.Name)
	}
	return what(current)
}

// process is nil while the program does not run.
func (p *program) process() *process.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel == nil {
		return nil
	}
	return p.current
}

// pid is 0 while the program does not run.
func (p *program) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel == nil || p.current == nil {
		return 0
	}
	return p.current.PID()
}
