package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/internal/testkit/process"
)

// Reasons why a container waits, as kubelet has them.
const (
	reasonCreating    = "ContainerCreating"
	reasonNoImage     = "ErrImagePull"
	reasonConfigError = "CreateContainerConfigError"
	reasonRunError    = "RunContainerError"
	reasonCrashLoop   = "CrashLoopBackOff"
)

const (
	firstBackoff = 500 * time.Millisecond
	lastBackoff  = 30 * time.Second
	// steady is how long a container must have run for its next end to count as the first one.
	steady       = 30 * time.Second
	defaultGrace = 30 * time.Second
	// refreshInterval is how often mounted ConfigMaps and Secrets are read again; kubelet takes up to
	// a minute.
	refreshInterval = 5 * time.Second
)

// pod is one Pod of this node and the process that stands for it.
type pod struct {
	agent    *Agent
	object   *corev1.Pod // as created; not changed afterwards
	owner    types.UID
	template string // hash of the template that it was made from

	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	state    podState
	stopping bool
	// announced is the readiness that the API server has been told, and so what others act on.
	announced bool
	process   *process.Process
}

// podState is what a Pod's status shows.
type podState struct {
	waiting, message string // reason "" while it runs
	ready            bool
	readySince       time.Time
	restarts         int32
	started          time.Time
	lastExit         string
	lastCode         int32
}

func (p *pod) key() types.NamespacedName {
	return types.NamespacedName{Namespace: p.object.Namespace, Name: p.object.Name}
}

func (p *pod) snapshot() (podState, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state, p.stopping
}

// announce notes what the API server has been told, and tells whether that is news.
func (p *pod) announce(ready bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	news := p.announced != ready
	p.announced = ready
	return news
}

// serves reports whether others send the Pod requests.
func (p *pod) serves() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.announced && p.state.ready
}

// change alters the state and has it written when it differs.
func (p *pod) change(alter func(*podState)) {
	p.mu.Lock()
	before := p.state
	alter(&p.state)
	changed := before != p.state
	p.mu.Unlock()
	if changed {
		p.agent.changed(p)
	}
}

func (p *pod) dir() string {
	return filepath.Join(p.agent.config.Dir, "pods", p.object.Namespace+"_"+p.object.Name)
}

// run keeps the Pod's process alive until ctx ends, then ends it within the Pod's grace period.
func (p *pod) run(ctx context.Context) {
	defer close(p.done)
	backoff := firstBackoff
	for {
		began := p.agent.config.Clock.Now()
		p.attempt(ctx)
		if ctx.Err() != nil {
			return
		}
		if p.agent.config.Clock.Since(began) > steady {
			backoff = firstBackoff
		}
		timer := p.agent.config.Clock.NewTimer(backoff)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return
		}
		backoff = min(2*backoff, lastBackoff)
	}
}

// attempt runs the container once, until it ends or ctx does.
func (p *pod) attempt(ctx context.Context) {
	c := &p.object.Spec.Containers[0]
	spec, reason, err := p.prepare(ctx, c)
	if err != nil {
		p.change(func(s *podState) { s.waiting, s.message, s.ready = reason, err.Error(), false })
		return
	}
	started, err := process.Start(ctx, spec)
	if err != nil {
		p.change(func(s *podState) { s.waiting, s.message, s.ready = reasonRunError, err.Error(), false })
		return
	}
	p.mu.Lock()
	p.process = started
	p.mu.Unlock()
	p.change(func(s *podState) {
		s.waiting, s.message, s.started = "", "", p.agent.config.Clock.Now()
		p.setReady(s, c.ReadinessProbe == nil)
	})
	p.look(ctx, c, started)
	if ctx.Err() != nil {
		p.change(func(s *podState) { s.ready = false })
		if err := p.agent.end(ctx, started); err != nil {
			p.agent.config.Log.Warn("ending a container", "pod", p.key().String(), "error", err)
		}
		return
	}
	code, text := exitOf(started.Err())
	p.change(func(s *podState) {
		s.waiting, s.ready, s.restarts = reasonCrashLoop, false, s.restarts+1
		s.message = fmt.Sprintf("back-off restarting failed container %s: %s; log: %s", c.Name, text, spec.LogFile)
		s.lastExit, s.lastCode = text, code
	})
}

func (p *pod) setReady(s *podState, ready bool) {
	if ready && !s.ready {
		s.readySince = p.agent.config.Clock.Now()
	}
	s.ready = ready
}

// prepare turns the container into a process; the reason says what kind of error there is.
func (p *pod) prepare(ctx context.Context, c *corev1.Container) (spec process.Spec, reason string, err error) {
	program, err := p.agent.config.Programs.find(c.Image, c.Command)
	if err != nil {
		return spec, reasonNoImage, err
	}
	dir := p.dir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return spec, reasonRunError, err
	}
	s := sources{client: p.agent.config.Client, namespace: p.object.Namespace}
	env, lookup, err := environment(ctx, s, p.object, c)
	if err != nil {
		return spec, reasonConfigError, err
	}
	mounts, err := p.materialise(ctx, c)
	if err != nil {
		return spec, reasonConfigError, err
	}
	spec = process.Spec{
		Name: "pod " + p.key().String(), Path: program, Dir: dir,
		LogFile:     filepath.Join(p.agent.config.Dir, "pods", p.object.Namespace+"_"+p.object.Name+".log"),
		StopTimeout: grace(p.object), Network: p.agent.config.Network,
		Env: []string{"HOME=" + dir, "HOSTNAME=" + p.object.Name, "PATH=/usr/bin:/bin"},
	}
	if p.agent.config.Env != nil {
		spec.Env = append(spec.Env, p.agent.config.Env(metav1.GetControllerOfNoCopy(p.object).Name)...)
	}
	for _, entry := range env {
		spec.Env = append(spec.Env, relocate(entry, mounts))
	}
	words := c.Args
	if len(c.Command) > 1 {
		words = append(append([]string{}, c.Command[1:]...), c.Args...)
	}
	for _, word := range words {
		spec.Args = append(spec.Args, relocate(expand(word, lookup), mounts))
	}
	return spec, "", nil
}

func grace(object *corev1.Pod) time.Duration {
	if s := ptr.Deref(object.Spec.TerminationGracePeriodSeconds, 0); s > 0 {
		return time.Duration(s) * time.Second
	}
	return defaultGrace
}

// look asks the container's probes until the process ends, its liveness fails or ctx ends.
func (p *pod) look(ctx context.Context, c *corev1.Container, running *process.Process) {
	ready, live := watchProbe(c.ReadinessProbe), watchProbe(c.LivenessProbe)
	readyTimer := p.agent.config.Clock.NewTimer(delay(c.ReadinessProbe, firstLooks))
	liveTimer := p.agent.config.Clock.NewTimer(delay(c.LivenessProbe, period(c.LivenessProbe)))
	defer readyTimer.Stop()
	refresh := p.agent.config.Clock.NewTimer(refreshInterval)
	defer liveTimer.Stop()
	defer refresh.Stop()
	for {
		select {
		case <-running.Done():
			return
		case <-ctx.Done():
			return
		case <-refresh.C():
			p.refresh(ctx, c)
			refresh.Reset(refreshInterval)
		case <-readyTimer.C():
			if ready == nil {
				continue
			}
			if answer := ask(ctx, ready.probe, c, p.object.Status.PodIP); !p.agent.isFrozen() {
				passed, failed := ready.record(answer)
				p.change(func(s *podState) {
					if passed || failed {
						p.setReady(s, passed)
					}
				})
			}
			next := period(ready.probe)
			if state, _ := p.snapshot(); !state.ready {
				next = min(next, firstLooks)
			}
			readyTimer.Reset(next)
		case <-liveTimer.C():
			if live == nil {
				continue
			}
			answer := ask(ctx, live.probe, c, p.object.Status.PodIP)
			if p.agent.isFrozen() {
				answer = nil // what is frozen is not restarted
			}
			if _, failed := live.record(answer); failed {
				p.agent.config.Log.Warn("liveness probe failed: restarting", "pod", p.key().String())
				_ = running.Stop(ctx) // killed when it does not end; attempt reads how it ended
				return
			}
			liveTimer.Reset(period(live.probe))
		}
	}
}

// refresh writes the files of ConfigMaps and Secrets anew when they have changed.
func (p *pod) refresh(ctx context.Context, c *corev1.Container) {
	if len(c.VolumeMounts) == 0 {
		return
	}
	if _, err := p.materialise(ctx, c); err != nil && ctx.Err() == nil {
		p.agent.config.Log.Warn("refreshing a Pod's volumes", "pod", p.key().String(), "error", err)
	}
}

func (p *pod) materialise(ctx context.Context, c *corev1.Container) ([]mount, error) {
	s := sources{client: p.agent.config.Client, namespace: p.object.Namespace}
	return materialise(ctx, s, p.object, c, p.dir(), filepath.Join(p.agent.config.Dir, "root"))
}

func watchProbe(p *corev1.Probe) *watcher {
	if p == nil {
		return nil
	}
	return &watcher{probe: p}
}

func delay(p *corev1.Probe, otherwise time.Duration) time.Duration {
	if p != nil && p.InitialDelaySeconds > 0 {
		return time.Duration(p.InitialDelaySeconds) * time.Second
	}
	return otherwise
}

func exitOf(err error) (code int32, text string) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, "it ended with exit code 0"
	case errors.As(err, &exit):
		return int32(exit.ExitCode()), "it ended with " + exit.Error()
	default:
		return 1, err.Error()
	}
}

// kill ends the process at once, as the loss of the machine does.
func (p *pod) kill() {
	p.cancel()
	p.mu.Lock()
	running := p.process
	p.mu.Unlock()
	if running != nil {
		_ = running.Kill() // it is gone either way
	}
}
