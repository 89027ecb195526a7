package demo

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/internal/playground/crowd"
	"multiactive.dev/operator/internal/playground/term"
)

const (
	// crowdTimeout bounds the wait until many services are there and everything is told of them.
	crowdTimeout = 30 * time.Minute
	// calmFor is how long nothing may be written before a loss that is counted.
	calmFor = 6 * time.Second
	// manyViewInterval is how often agents with many services are asked for all that they know.
	manyViewInterval = 250 * time.Millisecond
	// creators create services at a time.
	creators = 8
	// toldFor is how long to look at what follows a loss.
	toldFor = 20 * time.Second
)

// many kills a region of a world with so many services in all, and counts what is written until the last
// gateway of the last service acts on it.
func (d *Demo) many(ctx context.Context, services int, out *results) error {
	ctx, cancel := context.WithTimeout(ctx, crowdTimeout+2*roundTimeout)
	defer cancel()
	if err := d.crowd(ctx, services-1); err != nil {
		return err
	}
	victim, _, err := d.victim(ctx, false)
	if err != nil {
		return err
	}
	d.killed = victim
	done := d.console.Step("nothing is written for a while")
	err = d.calm(ctx)
	done(err)
	if err != nil {
		return err
	}
	done = d.console.Step(fmt.Sprintf("%s, another region than the leader's, is killed, with %d services", victim.Name, services))
	began := d.options.Clock.Now()
	r, err := d.loss(ctx, PartKill)
	done(err)
	if err != nil {
		return fmt.Errorf("losing %s: %w", victim.Name, err)
	}
	d.console.Line("rerouted %s, taken over %s, settled %s", term.Seconds(r.rerouted), term.Seconds(r.takenOver), term.Seconds(r.settled))
	r.written.show(d)
	with := ", with " + strconv.Itoa(services) + " services"
	out.took("last gateway has the new owners"+with, 0, r.settled)
	out.count("  transactions until then"+with, transactionsBound, len(r.written.transactions))
	out.count("  writes to API servers until then"+with, writesBound, len(r.written.writes))
	return d.followed(ctx, began.Add(r.settled), with, out)
}

// crowd deploys more services, and polls for each as a gateway in every region.
func (d *Demo) crowd(ctx context.Context, count int) error {
	if count == 0 {
		return nil
	}
	done := d.console.Step(fmt.Sprintf("%d more services", count))
	err := d.deployCrowd(ctx, count)
	done(err)
	if err != nil {
		return err
	}
	for _, r := range d.world.Regions() {
		if d.crowds == nil {
			d.crowds = map[string]*crowd.Gateways{}
		}
		d.crowds[r.Name] = crowd.Poll(ctx, r.AgentURL(), count, d.options.Clock)
	}
	done = d.console.Step("every region has routing for all of them")
	err = d.await(ctx, crowdTimeout, func(context.Context) error {
		for _, name := range sortedKeys(d.crowds) {
			if _, routed := d.crowds[name].Lowest(); routed < count {
				return fmt.Errorf("%s has routing for %d of %d services", name, routed, count)
			}
		}
		return nil
	})
	done(err)
	return err
}

func (d *Demo) deployCrowd(ctx context.Context, count int) error {
	hub, err := d.world.HubClient()
	if err != nil {
		return err
	}
	regions, err := clients(d.world.Regions())
	if err != nil {
		return err
	}
	all := []client.Client{hub}
	for _, name := range sortedKeys(regions) {
		all = append(all, regions[name])
	}
	for _, c := range all {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: crowd.Namespace, Labels: map[string]string{"multiactive.dev/services": "allowed"},
		}}
		if err := errors.Join(c.Create(ctx, namespace), c.Create(ctx, crowd.Application())); err != nil {
			return fmt.Errorf("preparing for many services: %w", err)
		}
	}
	failures := make([]error, count)
	turns := make(chan struct{}, creators)
	var running sync.WaitGroup
	for i := range count {
		running.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			failures[i] = hub.Create(ctx, crowd.Service(i, d.manifest.Service.Spec.Regions))
		})
	}
	running.Wait()
	return errors.Join(failures...)
}

// calm waits until the operator has written nothing for a while.
func (d *Demo) calm(ctx context.Context) error {
	count := &counter{world: d.world}
	return d.await(ctx, crowdTimeout, func(context.Context) error {
		now := d.options.Clock.Now()
		seen, err := count.written(now.Add(-calmFor), now)
		if err == nil && len(seen.writes) > 0 {
			err = fmt.Errorf("%d writes within %s, the last: %s", len(seen.writes), calmFor, seen.writes[len(seen.writes)-1])
		}
		return err
	})
}

// followed shows how fast statuses, flags and replicas follow.
func (d *Demo) followed(ctx context.Context, from time.Time, with string, out *results) error {
	if err := d.pause(ctx, toldFor); err != nil {
		return err
	}
	count := &counter{world: d.world}
	total, busiest := 0, 0
	for second := range int(toldFor / time.Second) {
		since := from.Add(time.Duration(second) * time.Second)
		seen, err := count.written(since, since.Add(time.Second-1))
		if err != nil {
			return err
		}
		total, busiest = total+len(seen.writes), max(busiest, len(seen.writes))
	}
	d.console.Line("in the %s after that: %d writes, %d in the busiest second", toldFor, total, busiest)
	out.count("  writes to API servers in the busiest second after it"+with, -1, busiest)
	return nil
}

// viewInterval is how often agents are asked for all that they know.
func (d *Demo) viewInterval() time.Duration {
	if d.crowds != nil {
		return manyViewInterval
	}
	return lookInterval
}
