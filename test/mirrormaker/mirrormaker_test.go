//go:build e2e

package mirrormaker_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/controllers/member/handover"
	"multiactive.dev/operator/internal/mirrormaker"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apachekafka"
)

// TestMirrorMaker follows records through a MirrorMaker that goes on where another mirror was, is killed and
// started again: each record is there once, nothing else is, the lag is known, and a change of owners may go on
// when everything has been consumed and not before.
func TestMirrorMaker(t *testing.T) {
	w := newWorld(t)
	// What must not be mirrored: a name that the pattern of another would match, a heartbeat, a copy.
	w.create(w.source, 2, topic, "accountsXaccount", "heartbeats", to+"."+topic)
	w.create(w.target, 2, topic)
	w.produce(0, 0, 10, false)
	w.produce(1, 0, 3, true) // behind these is a marker
	o := w.positions()
	if err := o.Store(w.patience(), to, []string{topic}, mirrormaker.Positions{topic: {0: 4}}, 1); err != nil {
		t.Fatal(err)
	}
	m := apachekafka.RunMirrorMaker(t, apachekafka.MirrorMakerOptions{Config: w.properties(), Clusters: []string{to}})
	reader := w.canaries()
	w.arrived(0, 4, 6) // it went on where it was told: the keys are Connect's own
	w.arrived(1, 0, 3)
	testkit.Eventually(t, patience, func() error {
		if age, known := reader.Age(from); !known || age > 30*time.Second {
			return fmt.Errorf("the lag is known %t, %s", known, age)
		}
		return nil
	})

	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	w.produce(0, 10, 5, false)
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.arrived(0, 4, 11)
	w.onlyWanted()
	w.catchesUp()
	w.silent(m.LogFile())
}

// positions reads and writes MirrorMaker's positions at the target.
func (w *world) positions() *mirrormaker.Offsets {
	w.t.Helper()
	o, err := mirrormaker.NewOffsets(from, w.options(w.kafka(w.target)))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(o.Close)
	return o
}

func (w *world) patience() context.Context {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	w.t.Cleanup(cancel)
	return ctx
}

// onlyWanted requires that no other topic was mirrored, and that the copy is kept as its source.
func (w *world) onlyWanted() {
	w.t.Helper()
	admin := apachekafka.AdminOf(w.t, w.target)
	topics, err := admin.ListTopics(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	var mirrored []string
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		if strings.HasPrefix(name, from+".") && !strings.HasSuffix(name, ".internal") {
			mirrored = append(mirrored, name)
		}
	}
	if d := cmp.Diff([]string{copied, from + ".multiactive.canary"}, mirrored); d != "" {
		w.t.Errorf("mirrored topics (-want +got):\n%s", d)
	}
	described, err := w.admin(w.target).Describe(w.t.Context(), copied)
	if err != nil || described[copied].Configs["retention.ms"] != "3600000" {
		w.t.Errorf("the copy is %+v, %v; want the source's retention", described[copied], err)
	}
	source, err := apachekafka.AdminOf(w.t, w.source).ListTopics(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for name := range source {
		if strings.Contains(name, "mm2") || strings.Contains(name, "checkpoints") {
			w.t.Errorf("MirrorMaker has made topic %s at the source, where it may only read", name)
		}
	}
}

// service is what a region has of the service.
func (w *world) service(region string) v1alpha1.RegionalService {
	own, peer := w.kafka(w.target), w.kafka(w.source)
	rs := v1alpha1.RegionalService{Spec: v1alpha1.RegionalServiceSpec{
		Region: region, ServiceID: "u-1", Kafka: &own, Topics: []v1alpha1.TopicSlice{{Name: topic, Partitions: 2, ConsumerGroups: []string{group}}},
		Peers: []v1alpha1.Peer{{Name: to}, {Name: from, Kafka: &peer}},
	}}
	if region == from {
		rs.Spec.Kafka, rs.Spec.Peers = &peer, nil
	}
	return rs
}

// catchesUp goes through a planned change: it waits for what is mirrored, and for what is consumed.
func (w *world) catchesUp() {
	w.t.Helper()
	want, err := w.region(from).Vector(w.patience())
	if err != nil {
		w.t.Fatal(err)
	}
	if end := want[from]["kafka/"+topic+"/1"]; end != 4 {
		w.t.Fatalf("the source's partition ends at %d; want 4, behind the marker", end)
	}
	target := w.region(to)
	if ok, stuck, err := target.CaughtUp(w.patience(), want, nil); ok || err != nil || len(stuck) != 1 {
		w.t.Errorf("caught up %t, %v, %v before anything was consumed", ok, stuck, err)
	}
	// A consumer commits the offset behind the last record that it has applied, not behind the marker.
	_, next := w.values(w.target, copied)
	consume := func(p int32, offset int64) {
		err := w.admin(w.target).CommitOffsets(w.t.Context(), group, []kafka.GroupOffset{{Topic: copied, Partition: p, Offset: offset}})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	consume(0, next[0])
	consume(1, next[1]-1)
	if ok, _, err := target.CaughtUp(w.patience(), want, nil); ok || err != nil {
		w.t.Errorf("caught up %t, %v with a record that was not consumed", ok, err)
	}
	consume(1, next[1])
	w.eventuallyCaughtUp(target, want)
	more := want.Join(ownership.Vector{from: {"kafka/" + topic + "/0": want[from]["kafka/"+topic+"/0"] + 1}})
	if ok, _, err := target.CaughtUp(w.patience(), more, nil); ok || err != nil {
		w.t.Errorf("caught up %t, %v though a record has not arrived", ok, err)
	}
}

func (w *world) eventuallyCaughtUp(target *handover.Region, want ownership.Vector) {
	w.t.Helper()
	testkit.Eventually(w.t, patience, func() error {
		ok, stuck, err := target.CaughtUp(w.t.Context(), want, nil)
		if err == nil && !ok {
			return fmt.Errorf("stuck are %v", stuck)
		}
		return err
	})
}

func (w *world) region(name string) *handover.Region {
	return &handover.Region{
		Name: name, Client: cached{w.service(name)},
		Credentials: func(_ context.Context, k v1alpha1.RegionKafka) (kafka.Options, error) { return w.options(k), nil },
	}
}

// cached stands for the cache of a region's objects.
type cached struct{ service v1alpha1.RegionalService }

func (c cached) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	if services, is := list.(*v1alpha1.RegionalServiceList); is {
		services.Items = []v1alpha1.RegionalService{c.service}
	}
	return nil
}

func (cached) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.New("nothing but services is cached")
}

// silent requires that no password is in MirrorMaker's log, nor in the topics in which it keeps its configuration.
func (w *world) silent(log string) {
	w.t.Helper()
	text, err := os.ReadFile(log)
	if err != nil || len(text) == 0 {
		w.t.Fatalf("the log has %d bytes, %v", len(text), err)
	}
	stored, _ := w.values(w.target, "mm2-configs."+from+".internal")
	said := string(text) + fmt.Sprint(stored)
	if !strings.Contains(said, "${secrets:") {
		w.t.Error("the stored configuration does not refer to files: nothing of it was looked at")
	}
	for _, password := range w.passwords {
		if strings.Contains(said, password) {
			w.t.Errorf("password %s is in the log, or in what is stored", password)
		}
	}
}
