package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

const (
	// maxAnswerBytes bounds one answer of the agent.
	maxAnswerBytes = 16 << 20
	// maxReasonBytes bounds what is logged of an answer that is an error.
	maxReasonBytes = 256
	// agentTimeout bounds one poll beyond the time that the agent may wait.
	agentTimeout = 2 * time.Second
	// minBackoff and maxBackoff bound the pause after a failed poll.
	minBackoff = 100 * time.Millisecond
	maxBackoff = time.Second
	// minPollTime keeps an agent that does not wait from being asked without pause.
	minPollTime = 20 * time.Millisecond
)

// agentClient keeps the state current by long polls of the region's agent.
type agentClient struct {
	options *Options
	state   *state
	metrics *metrics
	client  *http.Client
	// peers names the regions whose gateways this one takes requests from; nil: none.
	peers func() []string
	// lost is told that the view has lost a region; nil: nobody needs to know.
	lost func()
	// backlog tells what waits of the deferred requests; nil: nothing is kept for later.
	backlog func() []routing.Backlog
	// failing is the last failure, to log each only once.
	failing string
	// refused is the version that could not be used, and why, to tell the agent with the next poll;
	// empty once an answer was taken.
	refused, why string
}

// run polls until ctx ends. It keeps the last configuration when the agent is away; the lease
// then runs out by itself.
func (a *agentClient) run(ctx context.Context) {
	backoff := minBackoff
	for ctx.Err() == nil {
		start := a.options.Clock.Boot()
		err := a.poll(ctx)
		pause := minPollTime - (a.options.Clock.Boot() - start)
		if err != nil {
			a.metrics.polls.WithLabelValues("failed").Inc()
			pause = backoff
			backoff = min(2*backoff, maxBackoff)
		} else {
			a.metrics.polls.WithLabelValues("ok").Inc()
			backoff = minBackoff
		}
		a.report(ctx, err)
		if pause > 0 {
			done, stop := after(a.options.Clock, pause)
			select {
			case <-ctx.Done():
			case <-done:
			}
			stop()
		}
	}
}

// report logs a failure when it begins or changes, and its end.
func (a *agentClient) report(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	switch {
	case err == nil && a.failing != "":
		a.options.Log.Info("the agent answers again")
		a.failing = ""
	case err != nil && a.failing != err.Error():
		a.failing = err.Error()
		a.options.Log.Warn("no routing from the agent; going on with the last one while the lease lasts", slog.Any("error", err))
	}
}

// errSettled ends a question early: the next one says that no home request is under way any more that
// the configuration would not admit.
var errSettled = errors.New("asking again at once")

// untilSettled ends a context when the requests have ended that the configuration would not admit.
func (a *agentClient) untilSettled(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-a.state.settled:
			cancel(errSettled)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// poll asks once and installs the answer.
func (a *agentClient) poll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, routing.MaxWait+agentTimeout)
	defer cancel()
	select {
	case <-a.state.settled: // of the question before
	default:
	}
	busy := 0
	if snap := a.state.load(); snap != nil {
		busy = snap.busy()
	}
	if busy > 0 {
		var stop context.CancelFunc
		ctx, stop = a.untilSettled(ctx)
		defer stop()
	}
	err := a.ask(ctx, busy)
	if errors.Is(context.Cause(ctx), errSettled) {
		return nil // whatever became of this question
	}
	return err
}

// ask asks one question and takes the answer.
func (a *agentClient) ask(ctx context.Context, busy int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url(busy), http.NoBody)
	if err != nil {
		return fmt.Errorf("asking the agent: %w", err)
	}
	// The lease counts from no later than the agent read it (R11): the answer may have been under way
	// for long.
	asked := a.options.Clock.Boot()
	resp, err := a.client.Do(req)
	if err != nil {
		return fmt.Errorf("asking the agent: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, maxReasonBytes)) // as much as there is
		return fmt.Errorf("asking the agent: it answered %s: %q", resp.Status, strings.TrimSpace(string(why)))
	}
	var answer routing.Answer
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswerBytes)).Decode(&answer); err != nil {
		return fmt.Errorf("reading the agent's answer: %w", err)
	}
	return a.take(&answer, asked)
}

func (a *agentClient) url(busy int) string {
	q := url.Values{}
	q.Set(routing.ParamNamespace, a.options.Namespace)
	q.Set(routing.ParamName, a.options.Name)
	q.Set(routing.ParamGateway, a.options.Gateway)
	wait := routing.MaxWait
	if a.failing != "" {
		wait = 0 // what is left of the lease may not outlast another wait
	}
	q.Set(routing.ParamWait, wait.String())
	if snap := a.state.load(); snap != nil {
		q.Set(routing.ParamVersion, snap.version)
		q.Set(routing.ParamRevision, strconv.FormatInt(snap.revision, 10))
		q.Set(routing.ParamBusy, strconv.Itoa(busy))
	}
	if a.peers != nil {
		if taken := a.peers(); len(taken) > 0 {
			q.Set(routing.ParamPeers, strings.Join(taken, ","))
		}
	}
	if a.backlog != nil {
		if waiting := a.backlog(); len(waiting) > 0 {
			q.Set(routing.ParamDeferred, routing.FormatBacklogs(waiting))
		}
	}
	if a.refused != "" {
		q.Set(routing.ParamRefused, a.refused)
		q.Set(routing.ParamReason, a.why)
	}
	return a.options.Agent + routing.Path + "?" + q.Encode()
}

// Errors of an answer that is refused; the lease is not extended by it.
var (
	errOlder   = errors.New("the answer is of an older revision of the coordination store than one seen before (R2)")
	errForeign = errors.New("the answer is for another service")
	errUnasked = errors.New("the answer renews a version that this gateway does not have")
)

// take installs an answer, whole or not at all: whoever cannot act on a configuration must not
// be given the lease that comes with it.
func (a *agentClient) take(answer *routing.Answer, asked time.Duration) error {
	old := a.state.load()
	if old != nil && answer.Revision < old.revision {
		return fmt.Errorf("revision %d after %d: %w", answer.Revision, old.revision, errOlder)
	}
	next := &snapshot{version: answer.Version, revision: answer.Revision, leaseUntil: leaseUntil(old, answer, asked)}
	var err error
	if next.router, err = a.routerOf(answer, old); err != nil {
		return err
	}
	if old != nil {
		next.term = old.term
		if !old.leased(a.options.Clock.Boot()) {
			next.term++
		}
	}
	a.refused, a.why = "", ""
	a.state.install(next)
	if old == nil || old.router != next.router {
		a.announce(next)
	}
	if old != nil && a.lost != nil && loses(old.router, next.router) {
		a.lost()
	}
	return nil
}

// loses tells whether a region is lost that was not.
func loses(before, after *Router) bool {
	was := map[string]bool{}
	for i := range before.cfg.Regions {
		was[before.cfg.Regions[i].Name] = before.cfg.Regions[i].State == ownership.RegionLost
	}
	return slices.ContainsFunc(after.cfg.Regions, func(r routing.Region) bool { return r.State == ownership.RegionLost && !was[r.Name] })
}

// routerOf returns the compiled configuration of an answer, which may be the one that there is.
func (a *agentClient) routerOf(answer *routing.Answer, old *snapshot) (*Router, error) {
	switch {
	case answer.Config == nil && (old == nil || old.version != answer.Version):
		return nil, fmt.Errorf("version %q: %w", answer.Version, errUnasked)
	case answer.Config == nil || old != nil && old.version == answer.Version:
		return old.router, nil
	case answer.Config.Namespace != a.options.Namespace || answer.Config.Name != a.options.Name:
		return nil, fmt.Errorf("%s/%s: %w", answer.Config.Namespace, answer.Config.Name, errForeign)
	}
	router, err := Compile(answer.Config)
	if err != nil {
		a.refused, a.why = answer.Version, routing.Refusal(err.Error())
		return nil, fmt.Errorf("routing version %s cannot be used: %w", answer.Version, err)
	}
	return router, nil
}

// leaseUntil returns when the lease ends once an answer is taken. A shorter one does not take back
// what is left of the last: the gate is not closed before that has run out (R4), and an agent that
// has just started knows of none.
func leaseUntil(old *snapshot, answer *routing.Answer, asked time.Duration) time.Duration {
	if answer.LeaseEnded {
		return asked
	}
	until := answer.LeaseFrom(asked) + max(answer.LeaseRemaining, 0)
	if old != nil {
		until = max(until, old.leaseUntil)
	}
	return until
}

// announce tells of a new configuration.
func (a *agentClient) announce(s *snapshot) {
	a.metrics.configured(s)
	a.options.Log.Info("routing changed", slog.String("version", s.version), slog.Int64("revision", s.revision),
		slog.Int64("epoch", s.router.cfg.Epoch), slog.Bool("closed", s.router.cfg.Closed), slog.Bool("closing", s.router.cfg.Closing))
	for _, w := range s.router.warnings {
		a.options.Log.Warn("routing has a flaw", slog.String("flaw", w))
	}
}
