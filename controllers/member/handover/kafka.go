package handover

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/mirror"
	"multiactive.dev/operator/internal/ownership"
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
	return v, nil
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
	out := reading{mirrored: map[string]offsets{}, consumed: map[string]offsets{}}
	var failed []error
	if out.ends, err = admin.EndOffsets(ctx, topics...); err != nil {
		return out, err
	}
	for _, origin := range origins {
		out.mirrored[origin], err = mirror.Positions(ctx, admin, origin)
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
	l := &latch{epoch: epoch, target: target, lost: lost, ends: map[string]int64{}}
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
			if err != nil || !r.applied(&group[i], seen, asked) {
				stuck = append(stuck, group[i].Spec.ServiceID)
			}
		}
	}
	slices.Sort(stuck)
	return len(stuck) == 0, stuck, nil
}

// applied reports whether everything that a service must have has arrived and is consumed.
func (r *Region) applied(rs *v1alpha1.RegionalService, seen reading, asked *latch) bool {
	ok := true
	for _, origin := range r.origins(rs) {
		for _, t := range rs.Spec.Topics {
			ok = asked.applied(origin, t, seen) && ok
		}
	}
	return ok
}

func (l *latch) applied(origin string, t v1alpha1.TopicSlice, seen reading) bool {
	copied := mirror.TargetTopic(origin, t.Name)
	ok := true
	for _, p := range slices.Sorted(maps.Keys(seen.ends[t.Name])) {
		// The target leaves out what can no longer arrive.
		if seen.mirrored[origin][t.Name][p] < l.target[origin][stream(t.Name, p)] {
			ok = false
			continue
		}
		key := stream(copied, p)
		if _, latched := l.ends[key]; !latched {
			l.ends[key] = seen.copies[copied][p]
		}
		for _, g := range t.ConsumerGroups {
			ok = ok && seen.consumed[g][copied][p] >= l.ends[key]
		}
	}
	return ok
}
