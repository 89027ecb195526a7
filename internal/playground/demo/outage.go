package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/playground/term"
	"multiactive.dev/operator/internal/testkit/poll"
)

// Events of an outage, in the order in which they are expected.
const (
	eventKilled      = "every process of the region is killed"
	eventFirstFailed = "first request fails"
	eventLoginsBack  = "every user has logged in elsewhere"
	eventSuspected   = "the leader suspects the region"
	eventConfirmed   = "a majority of the others confirms it"
	eventGateClosed  = "the region's lease has run out for certain"
	eventCommitted   = "the view without the region is committed"
	eventRouted      = "a survivor's gateways have acted"
	eventRerouted    = "every survivor's gateway routes around it"
	eventDegraded    = "kubectl get mas says what is degraded"
	eventFlagged     = "the flags ConfigMap says it in every survivor"
)

// Bounds that the operator promises, for processes that are killed.
const (
	loginBound    = 5 * time.Second
	rerouteBound  = 10 * time.Second
	electionBound = 6 * time.Second // more, when the leader's region is the one that is lost
	outageTimeout = 60 * time.Second
	readyPatience = 10 * time.Second
)

var incidentEvents = map[string]string{
	ownership.StepSuspected: eventSuspected, ownership.StepConfirmed: eventConfirmed, ownership.StepGateClose: eventGateClosed,
	ownership.StepCommitted: eventCommitted, ownership.StepRouted: eventRouted,
}

// settle waits until the hub says that all is well.
func (d *Demo) settle(ctx context.Context) error {
	hub, err := d.world.HubClient()
	if err != nil {
		return err
	}
	done := d.console.Step("the hub reports that core flows are available, none degraded")
	err = d.await(ctx, deployTimeout, func(ctx context.Context) error {
		s, err := d.service(ctx, hub)
		if err != nil {
			return err
		}
		core, why := condition(s, v1alpha1.ConditionCoreAvailable)
		degraded, what := condition(s, v1alpha1.ConditionDegraded)
		if core != "True" || degraded != "False" {
			return fmt.Errorf("CoreAvailable=%s (%s), Degraded=%s (%s)", core, why, degraded, what)
		}
		return nil
	})
	done(err)
	return err
}

// ready gives everything a moment to be as declared: the links' lag is not known at once. A service may
// have reasons of its own for not being ready, so that is no failure.
func (d *Demo) ready(ctx context.Context) {
	hub, err := d.world.HubClient()
	if err != nil {
		return
	}
	_ = d.await(ctx, readyPatience, func(ctx context.Context) error {
		s, err := d.service(ctx, hub)
		if err != nil {
			return err
		}
		if ready, why := condition(s, v1alpha1.ConditionReady); ready != "True" {
			return fmt.Errorf("condition %s is %q (%s)", v1alpha1.ConditionReady, ready, why)
		}
		return nil
	})
}

// outage kills the region and measures what follows.
func (d *Demo) outage(ctx context.Context) error {
	leader := d.leader(ctx)
	d.console.Section("Losing " + d.killed.Name)
	if leader == d.killed.Name {
		d.console.Note("%s is also where the leader of the regions runs: its successor has to be elected first", leader)
	}
	var stopLoad func()
	if d.people != nil {
		stopLoad = d.people.begin(ctx, d)
		defer stopLoad()
		if err := d.pause(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	t := newTimeline()
	watching, cancel := context.WithTimeout(ctx, outageTimeout)
	defer cancel()
	watch, err := d.watchOutage(watching, t)
	if err != nil {
		return err
	}
	stopAsking := d.keepAsking(ctx)
	defer stopAsking()
	killed := d.options.Clock.Now()
	t.mark(eventKilled, killed)
	if err := d.killed.Kill(); err != nil {
		return err
	}
	d.console.Line("SIGKILL to every process of %s took %s", d.killed.Name, term.Seconds(d.options.Clock.Since(killed)))
	if d.people != nil {
		if _, err := d.people.loginAll(ctx, d, t, killed); err != nil {
			return err
		}
	}
	if err := watch(); err != nil {
		return err
	}
	d.readIncident(ctx, t)
	if d.people != nil {
		t.mark(eventFirstFailed, d.people.firstFailure(killed))
	}
	d.printTimeline(t, killed)
	asked, failed := stopAsking()
	d.promised(failed == 0 && asked > 0, "the survivors' gateways serve all the time", "%d of %d requests failed", failed, asked)
	d.judgeOutage(t, killed, leader == d.killed.Name)
	if d.people != nil {
		d.people.tryDegraded(ctx, d)
	}
	return d.show(ctx, "While "+d.killed.Name+" is gone")
}

// watchOutage looks for everything that the survivors do; the function that it returns waits for it.
func (d *Demo) watchOutage(ctx context.Context, t *timeline) (func() error, error) {
	hub, err := d.world.HubClient()
	if err != nil {
		return nil, err
	}
	looks := map[string]func(context.Context) error{
		eventDegraded: func(ctx context.Context) error { return d.degradedInStatus(ctx, hub) },
		eventRerouted: d.rerouted,
	}
	if d.degradable() {
		clients, err := clients(d.survivors())
		if err != nil {
			return nil, err
		}
		looks[eventFlagged] = func(ctx context.Context) error { return d.flags(ctx, clients, true) }
	}
	var all sync.WaitGroup
	failures := make(chan error, len(looks))
	for event, look := range looks {
		all.Go(func() {
			if err := poll.Until(ctx, lookInterval, look); err != nil {
				failures <- fmt.Errorf("waiting until %s: %w", event, err)
				return
			}
			t.mark(event, d.options.Clock.Now())
		})
	}
	return func() error {
		all.Wait()
		close(failures)
		var out error
		for err := range failures {
			out = errors.Join(out, err)
		}
		return out
	}, nil
}

// degradedInStatus returns nil when the hub's status tells of the outage.
func (d *Demo) degradedInStatus(ctx context.Context, hub client.Client) error {
	s, err := d.service(ctx, hub)
	if err != nil {
		return err
	}
	name, wanted := v1alpha1.ConditionRegionsHealthy, "False"
	if d.degradable() {
		name, wanted = v1alpha1.ConditionDegraded, "True"
	}
	if status, _ := condition(s, name); status != wanted {
		return fmt.Errorf("condition %s is %q", name, status)
	}
	return nil
}

// rerouted returns nil when the gateways of every survivor have the region as lost.
func (d *Demo) rerouted(ctx context.Context) error {
	for _, r := range d.survivors() {
		state, serves, err := stateSeen(ctx, r, d.killed.Name)
		if err != nil {
			return err
		}
		if serves || state != string(ownership.RegionLost) {
			return fmt.Errorf("the gateway of %s has %s as %s", r.Name, d.killed.Name, state)
		}
	}
	return nil
}

// keepAsking asks the survivors' gateways whether they serve, until it is told to stop.
func (d *Demo) keepAsking(ctx context.Context) (stop func() (asked, failed int64)) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	var asked, failed atomic.Int64
	for _, r := range d.survivors() {
		all.Go(func() {
			ticker := d.options.Clock.NewTicker(statusInterval)
			defer ticker.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-ticker.C():
				}
				err := healthy(ctx, r)
				if ctx.Err() != nil {
					return
				}
				asked.Add(1)
				if err != nil {
					failed.Add(1)
					d.options.Log.Warn("a survivor does not serve", "region", r.Name, "error", err)
				}
			}
		})
	}
	return sync.OnceValues(func() (int64, int64) {
		cancel()
		all.Wait()
		return asked.Load(), failed.Load()
	})
}

// degradable reports whether losing the region degrades a flow of the service: it owns keys.
func (d *Demo) degradable() bool {
	for _, r := range d.manifest.Service.Spec.Regions {
		if r.Name == d.killed.Name && (r.Weight == nil || *r.Weight > 0) {
			return slices.ContainsFunc(d.manifest.Service.Spec.Flows, func(f v1alpha1.Flow) bool {
				return f.ServedBy == v1alpha1.ServedByHomeRegion
			})
		}
	}
	return false
}

// readIncident takes the leader's own times, which are this machine's, from the incident's record.
func (d *Demo) readIncident(ctx context.Context, t *timeline) {
	hub, err := d.world.HubClient()
	if err != nil {
		d.console.Note("reading the incident: %v", err)
		return
	}
	killed, _ := t.at(eventKilled)
	err = d.await(ctx, 10*time.Second, func(ctx context.Context) error {
		list := &v1alpha1.RegionIncidentList{}
		if err := hub.List(ctx, list); err != nil {
			return err
		}
		for i := range list.Items {
			if list.Items[i].Spec.Region == d.killed.Name && d.readSteps(&list.Items[i], killed, t) {
				return nil
			}
		}
		return fmt.Errorf("no incident of %s that tells when the view was committed", d.killed.Name)
	})
	if err != nil {
		d.console.Note("%v", err)
	}
}

// readSteps is true for an incident after the kill that has come to its end.
func (d *Demo) readSteps(incident *v1alpha1.RegionIncident, killed time.Time, t *timeline) bool {
	found := false
	for _, step := range incident.Status.Timeline {
		event, known := incidentEvents[step.Step]
		if !known || step.At == nil || step.At.Time.Before(killed) {
			continue
		}
		t.mark(event, step.At.Time)
		found = found || step.Step == ownership.StepCommitted
	}
	return found
}

// printTimeline shows the events by time.
func (d *Demo) printTimeline(t *timeline, killed time.Time) {
	d.console.Section("Timeline")
	t.mu.Lock()
	events := make([]string, 0, len(t.events))
	for event := range t.events {
		events = append(events, event)
	}
	slices.SortFunc(events, func(a, b string) int { return t.events[a].Compare(t.events[b]) })
	rows := make([][]string, 0, len(events))
	for _, event := range events {
		rows = append(rows, []string{fmt.Sprintf("%7.2f s", t.events[event].Sub(killed).Seconds()), event})
	}
	t.mu.Unlock()
	d.console.Table(rows)
}

// judgeOutage compares the times with the promises.
func (d *Demo) judgeOutage(t *timeline, killed time.Time, leaderLost bool) {
	bound := rerouteBound
	if leaderLost {
		bound += electionBound
	}
	d.judge(t, eventRerouted, killed, bound)
	if at, seen := t.at(eventDegraded); seen {
		d.promised(true, "kubectl get mas says what is degraded", "after %s", term.Seconds(at.Sub(killed)))
	}
	if at, seen := t.at(eventFlagged); seen {
		d.promised(true, "applications read it from the flags ConfigMap", "after %s", term.Seconds(at.Sub(killed)))
	}
}

func (d *Demo) judge(t *timeline, event string, from time.Time, bound time.Duration) {
	text := fmt.Sprintf("%s, within %s", event, term.Seconds(bound))
	at, seen := t.at(event)
	if !seen {
		d.promised(false, text, "never seen")
		return
	}
	d.promised(at.Sub(from) <= bound, text, "after %s", term.Seconds(at.Sub(from)))
}

func (d *Demo) pause(ctx context.Context, length time.Duration) error {
	timer := d.options.Clock.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
