package regionalservice

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/desired/strimzi"
	"multiactive.dev/operator/internal/kafkasecret"
	plan "multiactive.dev/operator/internal/plan/regionalservice"
	"multiactive.dev/operator/internal/plan/topic"
	"multiactive.dev/operator/internal/port/kafka"
)

// How often topics are looked at: for drift, and again after something did not work.
const (
	topicsEvery    = 30 * time.Second
	topicsRetry    = 5 * time.Second
	topicsTick     = time.Second
	kafkaTimeout   = 5 * time.Second
	objectsTimeout = 10 * time.Second
	maxTopicRounds = 3
)

// WantedTopics are a service's topics in this region's Kafka.
type WantedTopics struct {
	Kafka  v1alpha1.RegionKafka
	Topics []topic.Desired
	// Delete has the topics deleted, with their copies from Origins.
	Delete  bool
	Origins []string
	// Region that the Kafka is in.
	Region string
}

// doomedTopics are those that are to be deleted, with the regions that there may be copies from.
func doomedTopics(rs *v1alpha1.RegionalService, region string) WantedTopics {
	want := wantedTopics(rs)
	doomed := plan.Doomed(rs)
	want.Delete, want.Region = true, region
	want.Topics = slices.DeleteFunc(want.Topics, func(t topic.Desired) bool {
		return !slices.ContainsFunc(doomed, func(d v1alpha1.TopicSlice) bool { return d.Name == t.Name })
	})
	for _, p := range rs.Spec.Peers {
		if p.Name != region {
			want.Origins = append(want.Origins, p.Name)
		}
	}
	return want
}

// wantedTopics translates the slice. It is empty when there is nothing that the member may do.
func wantedTopics(rs *v1alpha1.RegionalService) WantedTopics {
	k := rs.Spec.Kafka
	if k == nil {
		return WantedTopics{}
	}
	// Regions must agree on which of two services is the older, whenever each got its slice.
	created := rs.Spec.ServiceCreatedAt.UTC()
	if rs.Spec.ServiceCreatedAt.IsZero() { // written by a hub that did not say
		created = rs.CreationTimestamp.UTC()
	}
	want := WantedTopics{Kafka: *k.DeepCopy()}
	for _, t := range regional.KeptTopics(rs) {
		want.Topics = append(want.Topics, topic.Desired{
			Name: t.Name, Partitions: int(t.Partitions), ReplicationFactor: int(t.ReplicationFactor),
			Retention: t.Retention.Duration, OrderedByKey: t.OrderByKey == v1alpha1.Yes, Adoption: topic.Adoption(t.Adoption),
			Owner: topic.Owner{
				Namespace: rs.Namespace, Name: rs.Name, UID: rs.Spec.ServiceID, CreatedAt: created,
			},
		})
	}
	return want
}

// TopicKeeper keeps the topics of all services of a region in the background, so that a Kafka that
// does not answer delays nothing else. It is safe for concurrent use.
type TopicKeeper struct {
	// Credentials turns a Region's Kafka into client options.
	Credentials func(context.Context, v1alpha1.RegionKafka) (kafka.Options, error)
	Clock       clock.WithTicker
	Log         logr.Logger
	// Live reads from the API server and Objects writes, for a Kafka that Strimzi manages.
	Live    client.Reader
	Objects client.Client

	changed chan event.GenericEvent
	wake    chan struct{}

	mu      sync.Mutex
	entries map[types.NamespacedName]*topicEntry

	// Used by the worker alone. claims are read through claimant.
	kept     kafka.Kept
	claims   *kafka.Claims
	claimant *kafka.Client
}

type topicEntry struct {
	want  WantedTopics
	found plan.Topics
	due   time.Time
}

// NewTopicKeeper returns a keeper that works while Start runs.
func NewTopicKeeper(credentials func(context.Context, v1alpha1.RegionKafka) (kafka.Options, error), c clock.WithTicker, log logr.Logger) *TopicKeeper {
	return &TopicKeeper{
		Credentials: credentials, Clock: c, Log: log,
		changed: make(chan event.GenericEvent, 64), wake: make(chan struct{}, 1), entries: map[types.NamespacedName]*topicEntry{},
	}
}

// Changed announces services of which something new was found.
func (k *TopicKeeper) Changed() <-chan event.GenericEvent { return k.changed }

// Keep implements Topics.
func (k *TopicKeeper) Keep(service types.NamespacedName, want WantedTopics) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.entries[service]; e != nil && reflect.DeepEqual(e.want, want) {
		return
	}
	k.entries[service] = &topicEntry{want: want, due: k.Clock.Now()}
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Forget implements Topics.
func (k *TopicKeeper) Forget(service types.NamespacedName) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.entries, service)
}

// Look implements Topics.
func (k *TopicKeeper) Look(service types.NamespacedName, want WantedTopics) plan.Topics {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.entries[service]; e != nil && reflect.DeepEqual(e.want, want) {
		return e.found
	}
	return plan.Topics{}
}

// Start works until ctx ends.
func (k *TopicKeeper) Start(ctx context.Context) error {
	tick := k.Clock.NewTicker(topicsTick)
	defer tick.Stop()
	defer k.kept.Close()
	for {
		k.round(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C():
		case <-k.wake:
		}
	}
}

// job is one service in a round.
type job struct {
	service types.NamespacedName
	entry   *topicEntry
}

// round looks at the topics of every service that is due: at those of one Kafka together.
func (k *TopicKeeper) round(ctx context.Context) {
	for {
		jobs := k.due()
		if len(jobs) == 0 || ctx.Err() != nil {
			return
		}
		found, taken, err := k.work(ctx, jobs)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			k.Log.V(1).Info("Topics could not be looked at.", "error", err.Error())
		}
		for i, j := range jobs {
			if k.store(j, found[i]) {
				k.announce(ctx, j.service)
			}
		}
		k.displace(taken)
	}
}

// displace has the services looked at again at once that had a topic which another has taken: nothing
// else would tell them before the next look for drift.
func (k *TopicKeeper) displace(taken map[string]string) {
	now := k.Clock.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.entries {
		if slices.ContainsFunc(e.want.Topics, func(t topic.Desired) bool { return taken[t.Name] == t.Owner.UID }) {
			e.due = now
		}
	}
}

// due returns the services that are due and share the Kafka of the first, oldest service first, so
// that an older claim is made before a newer one is refused. Those of it that would be due soon come along: a Kafka
// is read as a whole, for one topic as for all.
func (k *TopicKeeper) due() []job {
	now := k.Clock.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	jobs := k.dueBy(now)
	if len(jobs) == 0 {
		return nil
	}
	first := jobs[0].entry.want.Kafka
	return slices.DeleteFunc(k.dueBy(now.Add(topicsEvery/2)), func(j job) bool { return !reflect.DeepEqual(j.entry.want.Kafka, first) })
}

// dueBy returns the services that are due at a time, oldest first. The caller holds the lock.
func (k *TopicKeeper) dueBy(at time.Time) []job {
	var jobs []job
	for service, e := range k.entries {
		if !e.due.After(at) {
			jobs = append(jobs, job{service, e})
		}
	}
	slices.SortFunc(jobs, func(a, b job) int {
		if c := a.entry.want.Topics[0].Owner.CreatedAt.Compare(b.entry.want.Topics[0].Owner.CreatedAt); c != 0 {
			return c
		}
		return compareNames(a.service, b.service)
	})
	return jobs
}

func compareNames(a, b types.NamespacedName) int {
	switch {
	case a.String() < b.String():
		return -1
	case a.String() > b.String():
		return 1
	}
	return 0
}

// store keeps what was found, unless the declaration has changed meanwhile, and reports whether it
// is news.
func (k *TopicKeeper) store(j job, found plan.Topics) bool {
	after := topicsEvery
	if found.Unavailable != nil || j.entry.want.Delete {
		after = topicsRetry
	}
	for _, r := range found.Results {
		if r.Reason == v1alpha1.ReasonTopicRepaired || r.Reason == v1alpha1.ReasonProgressing {
			after = topicsRetry
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.entries[j.service] != j.entry {
		return false
	}
	news := !reflect.DeepEqual(j.entry.found, found)
	j.entry.found, j.entry.due = found, k.Clock.Now().Add(after)
	return news
}

func (k *TopicKeeper) announce(ctx context.Context, service types.NamespacedName) {
	rs := &v1alpha1.RegionalService{}
	rs.Namespace, rs.Name = service.Namespace, service.Name
	select {
	case k.changed <- event.GenericEvent{Object: rs}:
	case <-ctx.Done():
	}
}

// work looks at and keeps the topics of all jobs, which share one Kafka. The result has an entry
// for each job whatever happens. taken has the topics that were claimed over another service's claim,
// with that service's UID.
func (k *TopicKeeper) work(ctx context.Context, jobs []job) (_ []plan.Topics, taken map[string]string, _ error) {
	found := make([]plan.Topics, len(jobs))
	all := func(p *plan.Problem) []plan.Topics {
		for i := range found {
			found[i] = plan.Topics{Known: true, Unavailable: p}
		}
		return found
	}
	cluster, err := k.read(ctx, jobs)
	if err != nil {
		return all(unavailable(err)), nil, err
	}
	var topics []*keeping
	for _, j := range jobs {
		for _, want := range j.entry.want.Topics {
			if !j.entry.want.Delete {
				topics = append(topics, &keeping{want: want})
			}
		}
	}
	if err := cluster.keep(ctx, topics); err != nil {
		return all(unavailable(err)), cluster.taken, err
	}
	// What is deleted is deleted last: what another service has taken over stays.
	for i, j := range jobs {
		if j.entry.want.Delete {
			found[i] = k.delete(ctx, cluster, j.entry.want)
			continue
		}
		n := len(j.entry.want.Topics)
		found[i] = plan.Topics{Known: true, Results: make(map[string]plan.TopicResult, n)}
		for _, t := range topics[:n] {
			found[i].Results[t.want.Name] = *t.result
		}
		topics = topics[n:]
	}
	return found, cluster.taken, nil
}

// read looks at the Kafka that all jobs share.
func (k *TopicKeeper) read(ctx context.Context, jobs []job) (*kafkaCluster, error) {
	rk := jobs[0].entry.want.Kafka
	admin, err := k.connect(ctx, rk)
	if err != nil {
		return nil, err
	}
	if k.claimant != admin {
		k.claims, k.claimant = kafka.NewClaims(admin), admin
	}
	cluster, err := readCluster(ctx, admin, k.claims, jobs)
	if err != nil {
		return nil, err
	}
	if managed := strimzi.Managed(&rk); managed != nil {
		ctx, cancel := context.WithTimeout(ctx, objectsTimeout)
		defer cancel()
		cluster.strimzi, err = readStrimzi(ctx, k.Live, k.Objects, *managed)
	}
	return cluster, err
}

// connect returns the client for a Kafka; it is made anew when the options differ.
func (k *TopicKeeper) connect(ctx context.Context, rk v1alpha1.RegionKafka) (*kafka.Client, error) {
	o, err := k.Credentials(ctx, rk)
	if err != nil {
		return nil, err
	}
	o.Timeout = kafkaTimeout
	return k.kept.Client(o)
}

// unavailable says why a Kafka could not be used.
func unavailable(err error) *plan.Problem {
	var invalid *kafkasecret.InvalidError
	var mend *problemError
	p := &plan.Problem{Condition: v1alpha1.ConditionTopicsReady, Reason: v1alpha1.ReasonInvalidObject, Message: err.Error()}
	switch {
	case errors.As(err, &mend):
		p.Reason, p.Message = mend.reason, mend.message
	case errors.As(err, &invalid) && invalid.Missing:
		p.Reason = v1alpha1.ReasonSecretNotFound
	case errors.Is(err, kafka.ErrUnreachable):
		// What each try ends with differs; the addresses do not.
		p.Reason = v1alpha1.ReasonBrokersUnreachable
		p.Message = "no broker answers; check that they run and that Region spec.kafka.bootstrapServers is right"
		var kafkaError *kafka.Error
		if errors.As(err, &kafkaError) && len(kafkaError.Brokers) > 0 {
			p.Message = "no broker of " + join(kafkaError.Brokers) + " answers; check that they run and that Region spec.kafka.bootstrapServers is right"
		}
	case errors.Is(err, kafka.ErrAuthentication), errors.Is(err, kafka.ErrAuthorization), errors.Is(err, kafka.ErrCertificate):
		p.Reason = v1alpha1.ReasonKafkaUnauthorized
	}
	return p
}
