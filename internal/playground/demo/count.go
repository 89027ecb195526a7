package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/playground/world"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/etcdstore"
)

// Goals for what a failover writes until the last gateway acts on it.
const (
	transactionsBound = 10
	writesBound       = 0
)

// counted is what was written in a time.
type counted struct {
	// transactions are the coordination store's, as "keys". Those that wrote nothing but beats, which are written
	// anyway, are in beats alone, and the ends of dead agents' sessions, which nobody writes, in ended.
	transactions []string
	beats, ended int
	// writes are the operator's, as "cluster: write"; leases counts those of Leases, and others what was not
	// written by the operator: the playground's nodes, the API servers themselves.
	writes         []string
	leases, others int
	// told are the events among the writes, by their index.
	told map[int]told
}

// told is an event that was written, in a cluster.
type told struct{ cluster, namespace, name string }

// counter counts what is written.
type counter struct {
	world    *world.World
	recorder *etcdstore.Recorder
}

func (d *Demo) counter(ctx context.Context) (*counter, error) {
	recorder, err := etcdstore.Record(ctx, d.world.StoreEndpoints(), coordination.DefaultPrefix)
	if err != nil {
		return nil, err
	}
	return &counter{world: d.world, recorder: recorder}, nil
}

// between counts what was written from since until until.
func (c *counter) between(since, until time.Time) (counted, error) {
	out, err := c.written(since, until)
	for _, revision := range c.recorder.Between(since, until) {
		switch {
		case only(revision, "beat/"):
			out.beats++
			continue
		case only(revision, "-leader/"):
			out.ended++
			continue
		}
		out.transactions = append(out.transactions, fmt.Sprintf("%5.2f s %s", revision.At.Sub(since).Seconds(), strings.Join(revision.Keys, " ")))
	}
	return out, err
}

// only reports whether a transaction touched nothing but keys that begin so.
func only(revision etcdstore.Revision, prefix string) bool {
	return !slices.ContainsFunc(revision.Keys, func(key string) bool { return !strings.HasPrefix(key, prefix) })
}

// written counts what was written to API servers from since until until.
func (c *counter) written(since, until time.Time) (counted, error) {
	var out counted
	writes, err := c.world.Writes(since)
	if err != nil {
		return out, err
	}
	for _, cluster := range slices.Sorted(maps.Keys(writes)) {
		for _, w := range writes[cluster] {
			if !w.At.After(until) {
				out.add(cluster, w, since)
			}
		}
	}
	return out, nil
}

func (c *counted) add(cluster string, w apiserver.Write, since time.Time) {
	switch {
	case w.User == apiserver.Admin || strings.HasPrefix(w.User, "system:apiserver"):
		c.others++
	case strings.HasPrefix(w.Resource, "leases."):
		c.leases++
	default:
		if w.Resource == "events.events.k8s.io" && w.Name != "" {
			if c.told == nil {
				c.told = map[int]told{}
			}
			c.told[len(c.writes)] = told{cluster, w.Namespace, w.Name}
		}
		c.writes = append(c.writes, fmt.Sprintf("%5.2f s %s: %s", w.At.Sub(since).Seconds(), cluster, w))
	}
}

// explain adds to the events that were written what they say: nothing should be told so early.
func (c *counted) explain(ctx context.Context, d *Demo) {
	for i, at := range c.told {
		connect := d.world.HubClient
		if r := d.world.Region(at.cluster); r != nil {
			connect = r.Client
		}
		cluster, err := connect()
		if err != nil {
			continue // lost meanwhile
		}
		e := &eventsv1.Event{}
		if err := cluster.Get(ctx, client.ObjectKey{Namespace: at.namespace, Name: at.name}, e); err == nil {
			c.writes[i] += fmt.Sprintf(": %s: %s", e.Reason, e.Note)
		}
	}
}

// show lists what was counted.
func (c *counted) show(d *Demo) {
	d.console.Line("until the last gateway acted on it: %d transactions (and %d beats, %d sessions ended), %d writes to API servers (and %d of Leases, %d by others)",
		len(c.transactions), c.beats, c.ended, len(c.writes), c.leases, c.others)
	for _, line := range slices.Concat(c.transactions, c.writes) {
		d.console.Line("  %s", line)
	}
}

// viewSeen is what a region's agent says of the configuration, and of its gateways.
type viewSeen struct {
	Configuration ownership.Configuration
	Acks          []struct {
		Namespace, Name, Gateway string
		Epoch                    int64
	}
}

func (d *Demo) viewOf(ctx context.Context, r *world.Region) (viewSeen, error) {
	var seen viewSeen
	body, status, err := getUpTo(ctx, r.AgentURL()+"/v1/view", viewLimit)
	if err != nil {
		return seen, fmt.Errorf("agent of %s: %w", r.Name, err)
	}
	if status != http.StatusOK {
		return seen, fmt.Errorf("agent of %s answers %d", r.Name, status)
	}
	if err := json.Unmarshal(body, &seen); err != nil {
		return seen, fmt.Errorf("agent of %s: %w", r.Name, err)
	}
	return seen, nil
}

// settledWithout returns nil when the regions have agreed on new owners without the region, and every gateway
// of every survivor acts on that.
func (d *Demo) settledWithout(ctx context.Context) error {
	for _, r := range d.survivors() {
		seen, err := d.viewOf(ctx, r)
		if err != nil {
			return err
		}
		view := seen.Configuration.View
		if view.Phase != ownership.PhaseOpen || view.Regions[d.killed.Name].State != ownership.RegionLost {
			return fmt.Errorf("%s has a view that is %s, with %s as %s", r.Name, view.Phase, d.killed.Name, view.Regions[d.killed.Name].State)
		}
		if len(seen.Acks) == 0 {
			return fmt.Errorf("no gateway of %s is known", r.Name)
		}
		for _, ack := range seen.Acks {
			if ack.Epoch != view.Epoch {
				return fmt.Errorf("gateway %s of %s acts on epoch %d, not %d", ack.Gateway, r.Name, ack.Epoch, view.Epoch)
			}
		}
	}
	return nil
}
