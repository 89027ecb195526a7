package handover

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/mirror"
	"multiactive.dev/operator/internal/mirrormaker"
	"multiactive.dev/operator/internal/ownership"
	links "multiactive.dev/operator/internal/plan/replicationlink"
	"multiactive.dev/operator/internal/port/kafka"
)

// kafkaTimeout bounds one question to a Kafka: a change of owners waits for the answer.
const kafkaTimeout = 2 * time.Second

// stream names a partition of a topic in a Vector.
func stream(topic string, partition int32) string {
	return fmt.Sprintf("kafka/%s/%d", topic, partition)
}

// offsets are by topic and partition.
type offsets = map[string]map[int32]int64

// reading is what one Kafka has of the services that use it.
type reading struct {
	// ends of the region's own topics.
	ends offsets
	// mirrored are the positions in the origins' topics below which everything is here, by origin, and
	// copies the ends of the topics that they are mirrored into.
	mirrored map[string]offsets
	copies   offsets
	// consumed are the offsets that groups have committed in the copies.
	consumed map[string]offsets
	// admin asks the Kafka again.
	admin *kafka.Client
}

// Vector implements agent.Local.
func (r *Region) Vector(ctx context.Context) (ownership.Vector, error) {
	services, err := r.services(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	v := ownership.Vector{}
	for _, group := range byKafka(services) {
		seen, err := r.read(ctx, group, false)
		if err != nil {
			return nil, err
		}
		v = v.Join(vectorOf(r.Name, seen))
	}
	stored, err := r.storeVector(ctx, services)
	return v.Join(stored), err
}

func vectorOf(region string, seen reading) ownership.Vector {
	v := ownership.Vector{}
	add := func(origin string, from offsets) {
		for topic, partitions := range from {
			for p, offset := range partitions {
				if v[origin] == nil {
					v[origin] = map[string]int64{}
				}
				v[origin][stream(topic, p)] = offset
			}
		}
	}
	add(region, seen.ends)
	for origin, from := range seen.mirrored {
		add(origin, from)
	}
	return v
}

// byKafka groups services by the Kafka that they use; those without topics are left out.
func byKafka(services []v1alpha1.RegionalService) [][]v1alpha1.RegionalService {
	var groups [][]v1alpha1.RegionalService
	for _, rs := range services {
		if rs.Spec.Kafka == nil || len(rs.Spec.Topics) == 0 {
			continue
		}
		i := slices.IndexFunc(groups, func(g []v1alpha1.RegionalService) bool { return reflect.DeepEqual(g[0].Spec.Kafka, rs.Spec.Kafka) })
		if i < 0 {
			groups = append(groups, nil)
			i = len(groups) - 1
		}
		groups[i] = append(groups[i], rs)
	}
	return groups
}

// read asks a Kafka for what it has of the services. Consumption is read only when asked for.
func (r *Region) read(ctx context.Context, services []v1alpha1.RegionalService, consumption bool) (reading, error) {
	o, err := r.Credentials(ctx, *services[0].Spec.Kafka)
	if err != nil {
		return reading{}, err
	}
	o.Timeout = kafkaTimeout
	admin, err := r.kept.Client(o)
	if err != nil {
		return reading{}, err
	}
	var topics, origins, groups, copies []string
	for i := range services {
		origins = append(origins, r.origins(&services[i])...)
		for _, t := range services[i].Spec.Topics {
			topics, groups = append(topics, t.Name), append(groups, t.ConsumerGroups...)
		}
	}
	origins, groups = distinct(origins), distinct(groups)
	out := reading{mirrored: map[string]offsets{}, consumed: map[string]offsets{}, admin: admin}
	var failed []error
	if out.ends, err = admin.EndOffsets(ctx, topics...); err != nil {
		return out, err
	}
	for _, origin := range origins {
		out.mirrored[origin], err = r.mirrored(ctx, *services[0].Spec.Kafka, o, admin, origin)
		failed = append(failed, err)
		for _, t := range topics {
			copies = append(copies, mirror.TargetTopic(origin, t))
		}
	}
	if !consumption {
		return out, errors.Join(failed...)
	}
	out.copies, err = admin.EndOffsets(ctx, copies...)
	failed = append(failed, err)
	for _, g := range groups {
		committed, err := admin.GroupOffsets(ctx, g)
		failed = append(failed, err)
		out.consumed[g] = offsets{}
		for _, o := range committed {
			if out.consumed[g][o.Topic] == nil {
				out.consumed[g][o.Topic] = map[int32]int64{}
			}
			out.consumed[g][o.Topic][o.Partition] = o.Offset
		}
	}
	return out, errors.Join(failed...)
}

// mirrored reads how far what has come from an origin has been mirrored. What one engine has stored stays true
// when another goes on: the farther of the two counts.
func (r *Region) mirrored(ctx context.Context, k v1alpha1.RegionKafka, o kafka.Options, admin *kafka.Client, origin string) (offsets, error) {
	out, err := mirror.Positions(ctx, admin, origin)
	if err != nil || links.Engine(&k) != v1alpha1.LinkMirrorMaker2 {
		return out, err
	}
	follower, err := r.follower(origin, o)
	if err != nil {
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, kafkaTimeout)
	defer cancel()
	theirs, err := follower.Positions(ctx)
	if err != nil {
		return out, err
	}
	for topic, partitions := range theirs {
		if out[topic] == nil {
			out[topic] = map[int32]int64{}
		}
		for p, offset := range partitions {
			out[topic][p] = max(out[topic][p], offset)
		}
	}
	return out, nil
}

// follower returns what reads MirrorMaker's positions in an origin; one of other options is closed.
func (r *Region) follower(origin string, o kafka.Options) (*mirrormaker.Offsets, error) {
	key := origin + " " + strings.Join(o.Brokers, ",")
	if f := r.followers[key]; f != nil && reflect.DeepEqual(f.options, o) {
		return f.Offsets, nil
	}
	if f := r.followers[key]; f != nil {
		f.Close()
		delete(r.followers, key)
	}
	f, err := mirrormaker.NewOffsets(origin, o)
	if err != nil {
		return nil, err
	}
	if r.followers == nil {
		r.followers = map[string]*follower{}
	}
	r.followers[key] = &follower{Offsets: f, options: o}
	return f, nil
}

// follower is kept while the options stay the same: it has read what is long.
type follower struct {
	*mirrormaker.Offsets
	options kafka.Options
}

func distinct(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }

// latch holds the ends of copies that have to be consumed for one question: they are taken once, when
// everything asked for has arrived, or a steady stream would never be caught up with. What was taken under
// one epoch counts for no other: the same question may come up again after the regions that it calls lost
// have been back.
type latch struct {
	epoch  int64
	target ownership.Vector
	lost   []string
	ends   map[string]int64 // by copy's stream
	// hollow are runs of offsets in which there is no record, by stream and the first.
	hollow map[string]int64
}

// maxLatches bounds the questions that are remembered: the change under way and the debts.
const maxLatches = 8

// latchOf returns what was taken for a question before.
func (r *Region) latchOf(target ownership.Vector, lost []string) *latch {
	var epoch int64
	if r.Snapshot != nil {
		c, _ := r.Snapshot()
		epoch = c.View.Epoch
	}
	i := slices.IndexFunc(r.latches, func(l *latch) bool {
		return l.epoch == epoch && reflect.DeepEqual(l.target, target) && slices.Equal(l.lost, lost)
	})
	if i >= 0 {
		return r.latches[i]
	}
	if len(r.latches) == maxLatches {
		r.latches = r.latches[1:]
	}
	l := &latch{epoch: epoch, target: target, lost: lost, ends: map[string]int64{}, hollow: map[string]int64{}}
	r.latches = append(r.latches, l)
	return l
}

// CaughtUp implements agent.Local.
func (r *Region) CaughtUp(ctx context.Context, target ownership.Vector, lost []string) (bool, []string, error) {
	services, err := r.services(ctx)
	if err != nil {
		return false, nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := r.latchOf(target, lost)
	var stuck []string
	for _, group := range byKafka(services) {
		// A Kafka that cannot be read holds up the services that use it, and no others.
		seen, err := r.read(ctx, group, true)
		for i := range group {
			if err != nil || !r.applied(ctx, &group[i], seen, asked) {
				stuck = append(stuck, group[i].Spec.ServiceID)
			}
		}
	}
	seen, _ := r.storePositions(ctx, services)
	for i := range services {
		if uid := services[i].Spec.ServiceID; !slices.Contains(stuck, uid) && !r.storesApplied(&services[i], target, lost, seen) {
			stuck = append(stuck, uid)
		}
	}
	slices.Sort(stuck)
	return len(stuck) == 0, stuck, nil
}

// applied reports whether everything that a service must have has arrived and is consumed.
func (r *Region) applied(ctx context.Context, rs *v1alpha1.RegionalService, seen reading, asked *latch) bool {
	ok := true
	for _, origin := range r.origins(rs) {
		for _, t := range rs.Spec.Topics {
			q := question{latch: asked, rs: rs, origin: origin, topic: t, seen: seen}
			ok = r.topicApplied(ctx, q, ok) && ok
		}
	}
	return ok
}

// question is about one topic from one origin.
type question struct {
	*latch
	rs     *v1alpha1.RegionalService
	origin string
	topic  v1alpha1.TopicSlice
	seen   reading
}

// topicApplied takes the ends of what has arrived; whether that is consumed matters only while everything else
// that was asked for is.
func (r *Region) topicApplied(ctx context.Context, q question, matters bool) bool {
	name, copied := q.topic.Name, mirror.TargetTopic(q.origin, q.topic.Name)
	ok := true
	for _, p := range slices.Sorted(maps.Keys(q.seen.ends[name])) {
		// The target leaves out what can no longer arrive.
		arrived, wanted := q.seen.mirrored[q.origin][name][p], q.target[q.origin][stream(name, p)]
		if arrived < wanted && !r.nothingThere(ctx, q, p, arrived, wanted) {
			ok = false
			continue
		}
		key := stream(copied, p)
		if _, latched := q.ends[key]; !latched {
			q.ends[key] = q.seen.copies[copied][p]
		}
		for _, g := range q.topic.ConsumerGroups {
			ok = ok && matters && r.consumedUpTo(ctx, q, g, p)
		}
	}
	return ok
}

// consumedUpTo reports whether a group has consumed a copy's partition up to the end that was taken.
func (r *Region) consumedUpTo(ctx context.Context, q question, group string, p int32) bool {
	copied := mirror.TargetTopic(q.origin, q.topic.Name)
	end, committed := q.ends[stream(copied, p)], q.seen.consumed[group][copied][p]
	return committed >= end || q.nothing(ctx, q.seen.admin, copied, p, committed, end)
}

// nothingThere reports whether the origin has no record in a run of its offsets. MirrorMaker says of records alone
// how far it has come; behind the last one of a transaction there is a marker.
func (r *Region) nothingThere(ctx context.Context, q question, p int32, from, to int64) bool {
	if links.Engine(q.rs.Spec.Kafka) != v1alpha1.LinkMirrorMaker2 {
		return false
	}
	i := slices.IndexFunc(q.rs.Spec.Peers, func(peer v1alpha1.Peer) bool { return peer.Name == q.origin })
	if i < 0 || q.rs.Spec.Peers[i].Kafka == nil {
		return false
	}
	o, err := r.Credentials(ctx, *q.rs.Spec.Peers[i].Kafka)
	if err != nil {
		return false
	}
	o.Timeout = kafkaTimeout
	if r.sources == nil {
		r.sources = map[string]*kafka.Kept{}
	}
	if r.sources[q.origin] == nil {
		r.sources[q.origin] = &kafka.Kept{}
	}
	admin, err := r.sources[q.origin].Client(o)
	return err == nil && q.nothing(ctx, admin, q.topic.Name, p, from, to)
}

// maxHollow bounds the runs of offsets that are looked through: at the end of a topic there are few markers, and
// whoever is farther behind has something to do.
const maxHollow = 64

// nothing looks for a record in a run of offsets, and remembers that there is none.
func (l *latch) nothing(ctx context.Context, admin *kafka.Client, topic string, p int32, from, to int64) bool {
	if to-from > maxHollow {
		return false
	}
	key := fmt.Sprintf("%s from %d", stream(topic, p), from)
	if l.hollow[key] >= to {
		return true
	}
	none, err := admin.Nothing(ctx, topic, p, from, to)
	if err == nil && none {
		l.hollow[key] = to
	}
	return err == nil && none
}
