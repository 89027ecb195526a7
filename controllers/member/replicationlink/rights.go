package replicationlink

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/mirror"
	plan "multiactive.dev/operator/internal/plan/replicationlink"
	"multiactive.dev/operator/internal/port/kafka"
)

const (
	// rightsEvery is how soon somebody who has allowed what was missing sees it.
	rightsEvery = 30 * time.Second
	// rightsCalm is how soon it is seen that something is not allowed any more: to ask for a thousand topics is work.
	rightsCalm    = 2 * time.Minute
	rightsTimeout = 5 * time.Second
)

// Rights asks both Kafkas of each mirror, in the background, whether the users that it logs in as may read the topics
// and write the copies. A mirror need not say so: MirrorMaker leaves a topic that it may not see out without a word,
// while canaries arrive. It is safe for concurrent use.
type Rights struct {
	credentials func(context.Context, v1alpha1.RegionKafka) (kafka.Options, error)
	clock       clock.WithTicker
	log         logr.Logger
	changed     chan event.GenericEvent
	wake        chan struct{}

	mu     sync.Mutex
	wanted map[string]*plan.Carries // by source region
	denied map[string]map[string]string

	// Used by the worker alone, by source region.
	sources, targets map[string]*kafka.Kept
	asked            map[string]asked
}

// asked is what was last asked for, and when that was answered.
type asked struct {
	carries *plan.Carries
	at      time.Time
}

// NewRights returns rights that are asked for while Start runs.
func NewRights(credentials func(context.Context, v1alpha1.RegionKafka) (kafka.Options, error), c clock.WithTicker, log logr.Logger) *Rights {
	return &Rights{
		credentials: credentials, clock: c, log: log, changed: make(chan event.GenericEvent, 16), wake: make(chan struct{}, 1),
		wanted: map[string]*plan.Carries{}, denied: map[string]map[string]string{},
		sources: map[string]*kafka.Kept{}, targets: map[string]*kafka.Kept{}, asked: map[string]asked{},
	}
}

// Changed announces source regions of which something else is denied.
func (r *Rights) Changed() <-chan event.GenericEvent { return r.changed }

// Want has the rights for what a mirror carries asked for; nil: for nothing.
func (r *Rights) Want(from string, carries *plan.Carries) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if reflect.DeepEqual(r.wanted[from], carries) {
		return
	}
	if carries == nil {
		delete(r.wanted, from)
		delete(r.denied, from)
		return
	}
	r.wanted[from] = carries
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Denied says what is denied of the topics from a region.
func (r *Rights) Denied(from string) map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.denied[from]
}

// Start asks until ctx ends.
func (r *Rights) Start(ctx context.Context) error {
	tick := r.clock.NewTicker(rightsEvery)
	defer tick.Stop()
	defer r.close()
	for {
		r.round(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C():
		case <-r.wake:
		}
	}
}

func (r *Rights) close() {
	for _, kept := range []map[string]*kafka.Kept{r.sources, r.targets} {
		for _, k := range kept {
			k.Close()
		}
	}
}

func (r *Rights) round(ctx context.Context) {
	r.mu.Lock()
	wanted := maps.Clone(r.wanted)
	r.mu.Unlock()
	for _, from := range slices.Sorted(maps.Keys(wanted)) {
		if !r.due(from, wanted[from]) {
			continue
		}
		denied, err := r.ask(ctx, wanted[from])
		if ctx.Err() != nil {
			return
		}
		if err != nil { // what is known stays: others tell of a Kafka that does not answer
			r.log.V(1).Info("Rights to topics could not be asked for; trying again.", "from", from, "error", err.Error())
			continue
		}
		r.asked[from] = asked{wanted[from], r.clock.Now()}
		r.mu.Lock()
		news := r.wanted[from] == wanted[from] && !maps.Equal(r.denied[from], denied)
		if news {
			r.denied[from] = denied
		}
		r.mu.Unlock()
		if news {
			announce(ctx, r.changed, from)
		}
	}
}

// due reports whether to ask now: with every tick while something is denied, or was never answered.
func (r *Rights) due(from string, carries *plan.Carries) bool {
	last := r.asked[from]
	return last.carries != carries || len(r.Denied(from)) > 0 || r.clock.Since(last.at) >= rightsCalm
}

// ask returns what is denied, by topic.
func (r *Rights) ask(ctx context.Context, c *plan.Carries) (map[string]string, error) {
	copies := make([]string, len(c.Topics))
	for i, t := range c.Topics {
		copies[i] = mirror.TargetTopic(c.From, t)
	}
	read, err := r.rights(ctx, r.sources, c.From, c.Source, c.Topics)
	if err != nil {
		return nil, err
	}
	write, err := r.rights(ctx, r.targets, c.From, c.Target, copies)
	if err != nil {
		return nil, err
	}
	denied := map[string]string{}
	for i, t := range c.Topics {
		switch {
		case read[t].Known && !read[t].Read:
			denied[t] = fmt.Sprintf("the user that mirrors log in as at the Kafka of region %s may not read topic %s: allow it Read, Describe and DescribeConfigs there", c.From, t)
		case write[copies[i]].Known && !write[copies[i]].Write:
			denied[t] = fmt.Sprintf("the user that mirrors log in as at this region's Kafka may not write topic %s: allow it Write, Describe, Create, DescribeConfigs and AlterConfigs here", copies[i])
		}
	}
	return denied, nil
}

func (r *Rights) rights(ctx context.Context, kept map[string]*kafka.Kept, from string, k v1alpha1.RegionKafka, topics []string) (map[string]kafka.Rights, error) {
	o, err := r.credentials(ctx, k)
	if err != nil {
		return nil, err
	}
	o.Timeout = rightsTimeout
	if kept[from] == nil {
		kept[from] = &kafka.Kept{}
	}
	client, err := kept[from].Client(o)
	if err != nil {
		return nil, err
	}
	return client.Rights(ctx, topics...)
}
