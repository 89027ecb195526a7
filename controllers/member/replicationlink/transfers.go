package replicationlink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/canary"
	"multiactive.dev/operator/internal/mirror"
	"multiactive.dev/operator/internal/mirrormaker"
	plan "multiactive.dev/operator/internal/plan/replicationlink"
	"multiactive.dev/operator/internal/port/kafka"
)

const (
	transfersRetry  = 5 * time.Second
	transferTimeout = 30 * time.Second
	transferAdmin   = 5 * time.Second
	// maxReplication of the topics that MirrorMaker keeps for itself.
	maxReplication = 3
)

// Transfers hand on how far mirrors have come, in the background: a Kafka that does not answer delays nothing
// else. A transfer may be done twice, it puts the same in the same place. It is safe for concurrent use.
type Transfers struct {
	credentials func(context.Context, v1alpha1.RegionKafka) (kafka.Options, error)
	clock       clock.WithTicker
	log         logr.Logger
	changed     chan event.GenericEvent
	wake        chan struct{}

	mu   sync.Mutex
	jobs map[string]*transfer // by source region
}

type transfer struct {
	want   plan.Transfer
	result plan.TransferResult
}

// NewTransfers returns transfers that are carried out while Start runs.
func NewTransfers(credentials func(context.Context, v1alpha1.RegionKafka) (kafka.Options, error), c clock.WithTicker, log logr.Logger) *Transfers {
	return &Transfers{
		credentials: credentials, clock: c, log: log,
		changed: make(chan event.GenericEvent, 16), wake: make(chan struct{}, 1), jobs: map[string]*transfer{},
	}
}

// Changed announces source regions whose transfer has a result.
func (t *Transfers) Changed() <-chan event.GenericEvent { return t.changed }

// Want has a transfer carried out; nil: none is wanted, and what came of one is forgotten.
func (t *Transfers) Want(from string, want *plan.Transfer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if want == nil {
		delete(t.jobs, from)
		return
	}
	if job := t.jobs[from]; job != nil && reflect.DeepEqual(job.want, *want) {
		return
	}
	t.jobs[from] = &transfer{want: *want}
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Look returns what came of the transfer that is wanted.
func (t *Transfers) Look(from string) plan.TransferResult {
	t.mu.Lock()
	defer t.mu.Unlock()
	if job := t.jobs[from]; job != nil {
		return job.result
	}
	return plan.TransferResult{}
}

// Start carries transfers out until ctx ends.
func (t *Transfers) Start(ctx context.Context) error {
	tick := t.clock.NewTicker(transfersRetry)
	defer tick.Stop()
	for {
		t.round(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C():
		case <-t.wake:
		}
	}
}

func (t *Transfers) round(ctx context.Context) {
	t.mu.Lock()
	jobs := maps.Clone(t.jobs)
	t.mu.Unlock()
	for _, from := range slices.Sorted(maps.Keys(jobs)) {
		job := jobs[from]
		if job.result.Done || ctx.Err() != nil { // written by this goroutine alone
			continue
		}
		result := t.carryOut(ctx, job.want)
		t.mu.Lock()
		news := t.jobs[from] == job && job.result != result
		job.result = result
		t.mu.Unlock()
		if !news {
			continue
		}
		announce(ctx, t.changed, from)
	}
}

func (t *Transfers) carryOut(ctx context.Context, want plan.Transfer) plan.TransferResult {
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	brokers, err := t.transfer(ctx, want)
	if err != nil {
		t.log.V(1).Info("How far a mirror has come could not be handed on; trying again.", "from", want.From, "error", err.Error())
		return plan.TransferResult{Problem: problem(err)}
	}
	t.log.Info("How far a mirror has come was handed on.", "from", want.From, "engine", want.Engine)
	return plan.TransferResult{Done: true, Brokers: brokers}
}

func (t *Transfers) transfer(ctx context.Context, want plan.Transfer) (brokers int, err error) {
	target, err := t.options(ctx, want.Target)
	if err != nil {
		return 0, err
	}
	admin, err := kafka.NewClient(target)
	if err != nil {
		return 0, err
	}
	defer admin.Close()
	if brokers, err = admin.Brokers(ctx); err != nil {
		return 0, err
	}
	maker, err := mirrormaker.NewOffsets(want.From, target)
	if err != nil {
		return 0, err
	}
	defer maker.Close()
	topics, positions, err := gather(ctx, want, admin, maker)
	if err != nil {
		return 0, err
	}
	if want.Engine == v1alpha1.LinkMirrorMaker2 {
		return brokers, maker.Store(ctx, want.To, topics, positions, min(brokers, maxReplication))
	}
	options, err := t.options(ctx, want.Source)
	if err != nil {
		return 0, err
	}
	source, err := kafka.NewClient(options)
	if err != nil {
		return 0, err
	}
	defer source.Close()
	return brokers, mirror.Store(ctx, source, admin, want.From, positions)
}

// gather reads how far each topic's engine has come. The canary goes with the others.
func gather(ctx context.Context, want plan.Transfer, admin *kafka.Client, maker *mirrormaker.Offsets) ([]string, mirrormaker.Positions, error) {
	engines := maps.Clone(want.Topics)
	for _, engine := range want.Topics {
		engines[canary.Topic] = engine
	}
	builtin, err := mirror.Positions(ctx, admin, want.From)
	if err != nil {
		return nil, nil, err
	}
	theirs, err := maker.Positions(ctx)
	if err != nil {
		return nil, nil, err
	}
	positions := mirrormaker.Positions{}
	for topic, engine := range engines {
		if positions[topic] = builtin[topic]; engine == v1alpha1.LinkMirrorMaker2 {
			positions[topic] = theirs[topic]
		}
	}
	return slices.Sorted(maps.Keys(engines)), positions, nil
}

func (t *Transfers) options(ctx context.Context, k v1alpha1.RegionKafka) (kafka.Options, error) {
	o, err := t.credentials(ctx, k)
	o.Timeout = transferAdmin
	return o, err
}

// problem says what is wrong without what differs from one try to the next, such as ports.
func problem(err error) string {
	var known *kafka.Error
	if errors.As(err, &known) && known.Kind != nil {
		return fmt.Sprintf("%s: %v, at %s", known.Op, known.Kind, strings.Join(known.Brokers, ", "))
	}
	return err.Error()
}
