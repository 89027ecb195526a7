package handover_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/controllers/member/handover"
	"multiactive.dev/operator/internal/canary"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/mirror"
	"multiactive.dev/operator/internal/mirrormaker"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/port/kafka/embedded"
	"multiactive.dev/operator/internal/port/kafka/kafkatest"
)

const (
	here, there = "shanghai", "beijing"
	topic       = "accounts.account"
	group       = "account-sync"
	uid         = "u-1"
)

// The embedded broker of the source runs as a process of its own when a test kills it.
func TestMain(m *testing.M) { os.Exit(kafkatest.Main(m, nil)) }

// cluster stands for the cache of a region's objects.
type cluster struct {
	services    []v1alpha1.RegionalService
	links       []v1alpha1.ReplicationLink
	deployments map[string]*appsv1.Deployment
}

func (c *cluster) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	switch list := list.(type) {
	case *v1alpha1.RegionalServiceList:
		list.Items = append([]v1alpha1.RegionalService(nil), c.services...)
	case *v1alpha1.ReplicationLinkList:
		list.Items = c.links
	}
	return nil
}

func (c *cluster) Get(_ context.Context, key client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	d, there := c.deployments[key.Name]
	if !there {
		return apierrors.NewNotFound(schema.GroupResource{Group: "apps", Resource: "deployments"}, key.Name)
	}
	d.DeepCopyInto(obj.(*appsv1.Deployment))
	return nil
}

func service(brokers ...string) v1alpha1.RegionalService {
	return v1alpha1.RegionalService{
		ObjectMeta: metav1.ObjectMeta{Namespace: "accounts", Name: "user"},
		Spec: v1alpha1.RegionalServiceSpec{
			Region: here, ServiceID: uid, Kafka: &v1alpha1.RegionKafka{BootstrapServers: brokers},
			Topics: []v1alpha1.TopicSlice{{Name: topic, Partitions: 2, ConsumerGroups: []string{group}}},
			Peers:  []v1alpha1.Peer{{Name: here}, {Name: there, Kafka: &v1alpha1.RegionKafka{}}},
		},
	}
}

func region(c *cluster) *handover.Region {
	return &handover.Region{
		Name: here, Client: c,
		Credentials: func(_ context.Context, k v1alpha1.RegionKafka) (kafka.Options, error) {
			return kafka.Options{Brokers: k.BootstrapServers}, nil
		},
	}
}

func broker(t *testing.T) string {
	t.Helper()
	b, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b.Addr()
}

func produce(t *testing.T, addr string, partition int32, n int) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for range n {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: partition, Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func stuck(t *testing.T, r *handover.Region, target ownership.Vector, lost ...string) []string {
	t.Helper()
	ok, stuck, err := r.CaughtUp(t.Context(), target, lost)
	if err != nil || ok != (len(stuck) == 0) {
		t.Fatalf("answered %t, %v, %v", ok, stuck, err)
	}
	return stuck
}

// TestCaughtUp follows records from their origin until the consumers have applied them (R9, R10).
func TestCaughtUp(t *testing.T) {
	source, target := broker(t), broker(t)
	for _, addr := range []string{source, target} {
		if err := kafkatest.NewAdmin(t, addr).Create(t.Context(), kafka.NewTopic{Name: topic, Partitions: 2}); err != nil {
			t.Fatal(err)
		}
	}
	produce(t, source, 0, 3)
	produce(t, source, 1, 2)
	origin := service(source)
	origin.Spec.Region, origin.Spec.Peers = there, nil
	from := region(&cluster{services: []v1alpha1.RegionalService{origin}})
	from.Name = there
	want, err := from.Vector(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stream := func(p int) string { return fmt.Sprintf("kafka/%s/%d", topic, p) }
	if diff := cmp.Diff(ownership.Vector{there: {stream(0): 3, stream(1): 2}}, want); diff != "" {
		t.Fatalf("the origin has (-want +got):\n%s", diff)
	}

	r := region(&cluster{services: []v1alpha1.RegionalService{service(target)}})
	if got := stuck(t, r, want); len(got) != 1 {
		t.Errorf("stuck are %v before anything was mirrored, want the service", got)
	}
	if got := stuck(t, r, nil, there); len(got) > 0 {
		t.Errorf("stuck are %v though the lost origin's records never arrived", got)
	}
	runMirror(t, source, target)
	kafkatest.Eventually(t, "everything is mirrored", func() error {
		v, err := r.Vector(t.Context())
		if err != nil || !v.Covers(want) {
			return fmt.Errorf("the region has %v (%w), want %v", v, err, want)
		}
		return nil
	})
	if got := stuck(t, r, want); len(got) != 1 {
		t.Errorf("stuck are %v before anything was consumed, want the service", got)
	}
	if got := stuck(t, r, nil, there); len(got) > 0 {
		t.Errorf("stuck are %v: what arrived after the region was asked of a lost one counts", got)
	}
	consume(t, target, 0, 3)
	if got := stuck(t, r, want); len(got) != 1 {
		t.Errorf("stuck are %v with one partition consumed, want the service", got)
	}
	consume(t, target, 1, 2)
	if got := stuck(t, r, want); len(got) > 0 {
		t.Errorf("stuck are %v, and everything is consumed", got)
	}
	more := want.Join(ownership.Vector{there: {stream(0): 4}})
	if got := stuck(t, r, more); len(got) != 1 {
		t.Errorf("stuck are %v though a record is missing, want the service", got)
	}
	if got := stuck(t, r, want); len(got) > 0 {
		t.Errorf("stuck are %v: the first question has another answer after the second", got)
	}
}

func runMirror(t *testing.T, source, target string) {
	t.Helper()
	c := mirror.Config{
		Origin: there, Source: mirror.Cluster{Brokers: []string{source}}, Target: mirror.Cluster{Brokers: []string{target}}, Topics: []string{topic},
	}
	s := mirror.Settings{Interval: 200 * time.Millisecond, AdminTimeout: 2 * time.Second, FlushTimeout: 2 * time.Second}
	e, err := mirror.New(c, s, clock.RealClock{}, slog.New(slog.NewTextHandler(t.Output(), nil)), mirror.NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	ctx := t.Context() // ends before the cleanups run
	go func() { defer close(done); _ = e.Run(ctx) }()
	t.Cleanup(func() { <-done })
}

func consume(t *testing.T, addr string, partition int32, offset int64) {
	t.Helper()
	err := kafkatest.NewAdmin(t, addr).CommitOffsets(t.Context(), group, []kafka.GroupOffset{
		{Topic: mirror.TargetTopic(there, topic), Partition: partition, Offset: offset},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestAnUnreachableKafkaHoldsUpItsServicesAlone gives two services a Kafka each, one of which is not there.
func TestAnUnreachableKafkaHoldsUpItsServicesAlone(t *testing.T) {
	well := service(broker(t))
	well.Spec.ServiceID = "u-2"
	none := service("127.0.0.1:1")
	none.Spec.ServiceID, none.Spec.Topics = "u-3", nil
	r := region(&cluster{services: []v1alpha1.RegionalService{service("127.0.0.1:1"), well, none}})
	if diff := cmp.Diff([]string{uid}, stuck(t, r, nil)); diff != "" {
		t.Errorf("stuck (-want +got):\n%s", diff)
	}
	if _, err := r.Vector(t.Context()); err == nil {
		t.Error("what the region has is told though a Kafka cannot be read")
	}
}

func TestLagging(t *testing.T) {
	readings := map[string]canary.Reading{}
	open := ownership.Configuration{Gates: map[string]ownership.Gate{there: {Open: true}}}
	conf, known := open, true
	r := region(&cluster{services: []v1alpha1.RegionalService{service("127.0.0.1:1")}})
	r.Canary = func(origin string) canary.Reading { return readings[origin] }
	r.Snapshot = func() (ownership.Configuration, bool) { return conf, known }
	for _, c := range []struct {
		name    string
		reading canary.Reading
		conf    ownership.Configuration
		known   bool
		want    []string
	}{
		{"nothing is known", canary.Reading{}, open, true, []string{uid}},
		{"near", canary.Reading{Known: true, Age: time.Second}, open, true, nil},
		{"not quite near", canary.Reading{Known: true, Age: 4 * time.Second}, open, true, nil},
		{"far", canary.Reading{Known: true, Age: 6 * time.Second}, open, true, []string{uid}},
		{"not quite near again", canary.Reading{Known: true, Age: 4 * time.Second}, open, true, []string{uid}},
		{"near again", canary.Reading{Known: true, Age: 2 * time.Second}, open, true, nil},
		{"the origin is lost", canary.Reading{Known: true, Age: time.Hour}, ownership.Configuration{}, true, nil},
		{"no configuration yet", canary.Reading{Known: true}, open, false, []string{ownership.LaggingAll}},
	} {
		readings[there], conf, known = c.reading, c.conf, c.known
		if diff := cmp.Diff(c.want, r.Lagging(t.Context())); diff != "" {
			t.Errorf("%s: lagging (-want +got):\n%s", c.name, diff)
		}
	}
}

// A region that is back is handed no keys of a service that has no ready replica there.
func TestLaggingWithoutAReadyReplica(t *testing.T) {
	type slice = v1alpha1.RegionalService
	back := ownership.RegionRecord{State: ownership.RegionReturning, ReturnedEpoch: 7}
	for name, c := range map[string]struct {
		change func(*v1alpha1.RegionalService)
		here   ownership.RegionRecord
		record ownership.ServiceState
		want   []string
	}{
		"none is ready":     {func(*slice) {}, back, ownership.ServiceState{}, []string{uid}},
		"one is":            {func(s *slice) { s.Status.Workload.Ready = 1 }, back, ownership.ServiceState{}, nil},
		"none is wanted":    {func(s *slice) { s.Status.Workload.Desired = 0 }, back, ownership.ServiceState{}, nil},
		"nobody has looked": {func(s *slice) { s.Status.Workload = nil }, back, ownership.ServiceState{}, []string{uid}},
		"it cannot be told": {func(s *slice) {
			s.Status.Workload, s.Spec.Workload.Type = nil, v1alpha1.WorkloadServiceRef
		}, back, ownership.ServiceState{}, nil},
		"it never owns a key":      {func(s *slice) { s.Spec.Ownership[0].Regions[0].Weight = 0 }, back, ownership.ServiceState{}, nil},
		"it has its keys":          {func(*slice) {}, back, ownership.ServiceState{HandedBack: map[string]int64{here: 7}}, nil},
		"it had them another time": {func(*slice) {}, back, ownership.ServiceState{HandedBack: map[string]int64{here: 5}}, []string{uid}},
		"it serves":                {func(*slice) {}, ownership.RegionRecord{State: ownership.RegionServing}, ownership.ServiceState{}, nil},
		"it is drained":            {func(*slice) {}, ownership.RegionRecord{State: ownership.RegionDrained}, ownership.ServiceState{}, []string{uid}},
	} {
		t.Run(name, func(t *testing.T) {
			rs := v1alpha1.RegionalService{Spec: v1alpha1.RegionalServiceSpec{
				Region: here, ServiceID: uid, Workload: v1alpha1.WorkloadSlice{Type: v1alpha1.WorkloadManaged},
				Ownership: []v1alpha1.OwnershipSlice{{Hash: "h", Regions: []v1alpha1.RegionWeight{{Name: here, Weight: 50}, {Name: there, Weight: 50}}}},
			}}
			rs.Status.Workload = &v1alpha1.ReplicaStatus{Desired: 3}
			c.change(&rs)
			c.record.SpecHash = "h"
			r := region(&cluster{services: []v1alpha1.RegionalService{rs}})
			r.Snapshot = func() (ownership.Configuration, bool) {
				return ownership.Configuration{
					View:     ownership.View{Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{here: c.here}},
					Services: map[string]ownership.ServiceRecord{uid: {UID: uid, ServiceState: c.record}},
				}, true
			}
			if diff := cmp.Diff(c.want, r.Lagging(t.Context())); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Nor is it of a service that its cluster knows nothing of.
func TestLaggingWithoutASlice(t *testing.T) {
	back := ownership.RegionRecord{State: ownership.RegionReturning, ReturnedEpoch: 7}
	for name, c := range map[string]struct {
		here   ownership.RegionRecord
		record ownership.ServiceRecord
		want   []string
	}{
		"it is for the region":   {back, ownership.ServiceRecord{ServiceState: ownership.ServiceState{Regions: []string{here, there}}}, []string{uid}},
		"it is for others":       {back, ownership.ServiceRecord{ServiceState: ownership.ServiceState{Regions: []string{there}}}, nil},
		"a hub that says none":   {back, ownership.ServiceRecord{}, nil},
		"it is deleted":          {back, ownership.ServiceRecord{Deleted: true, ServiceState: ownership.ServiceState{Regions: []string{here}}}, nil},
		"the region has it":      {back, ownership.ServiceRecord{ServiceState: ownership.ServiceState{Regions: []string{here}, HandedBack: map[string]int64{here: 7}}}, nil},
		"the region is not away": {ownership.RegionRecord{State: ownership.RegionServing}, ownership.ServiceRecord{ServiceState: ownership.ServiceState{Regions: []string{here}}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := region(&cluster{})
			r.Snapshot = func() (ownership.Configuration, bool) {
				return ownership.Configuration{
					View:     ownership.View{Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{here: c.here}},
					Services: map[string]ownership.ServiceRecord{uid: c.record},
				}, true
			}
			if diff := cmp.Diff(c.want, r.Lagging(t.Context())); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestStopped(t *testing.T) {
	rs := service()
	rs.Spec.Ownership = []v1alpha1.OwnershipSlice{{Hash: "h", Regions: []v1alpha1.RegionWeight{{Name: here, Weight: 1}, {Name: there, Weight: 1}}}}
	rs.Spec.Workload.Additional = []v1alpha1.AdditionalWorkload{
		{Name: "cron", Activation: v1alpha1.ActivationOwnerOnly}, {Name: "sync", Activation: v1alpha1.ActivationEveryRegion},
	}
	deployment := func(spec, replicas int32, observed int64) *appsv1.Deployment {
		return &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Generation: 2}, Spec: appsv1.DeploymentSpec{Replicas: ptr.To(spec)},
			Status: appsv1.DeploymentStatus{Replicas: replicas, ObservedGeneration: observed},
		}
	}
	for name, c := range map[string]struct {
		cron  *appsv1.Deployment
		owner bool
		want  bool
	}{
		"it may run":                       {deployment(1, 1, 2), true, true},
		"it still runs":                    {deployment(1, 1, 2), false, false},
		"it is being stopped":              {deployment(0, 1, 2), false, false},
		"nobody has looked at that yet":    {deployment(0, 0, 1), false, false},
		"it has stopped":                   {deployment(0, 0, 2), false, true},
		"it was never there":               {nil, false, true},
		"replicas are somebody else's":     {&appsv1.Deployment{}, false, false},
		"the other kind runs all the time": {deployment(0, 0, 2), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			cl := &cluster{services: []v1alpha1.RegionalService{rs}, deployments: map[string]*appsv1.Deployment{"user-sync": deployment(1, 1, 2)}}
			if c.cron != nil {
				cl.deployments["user-cron"] = c.cron
			}
			state := ownership.RegionDrained
			if c.owner {
				state = ownership.RegionServing
			}
			got, err := region(cl).Stopped(t.Context(), ownership.Configuration{
				View:     ownership.View{Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{here: {State: state}}},
				Services: map[string]ownership.ServiceRecord{uid: {UID: uid, ServiceState: ownership.ServiceState{SpecHash: "h"}}},
			})
			if err != nil || got != c.want {
				t.Errorf("stopped %t, %v; want %t", got, err, c.want)
			}
		})
	}
}

// A paused link is not seen by the canary: nothing planned begins for the services whose topic it is.
func TestLaggingWhilePaused(t *testing.T) {
	paused := map[string]string{regional.AnnotationPaused: "maintenance"}
	for name, c := range map[string]struct {
		link v1alpha1.ReplicationLinkSpec
		open bool
		note map[string]string
		want []string
	}{
		"paused":                    {v1alpha1.ReplicationLinkSpec{Topic: topic, From: there}, true, paused, []string{uid}},
		"not paused":                {v1alpha1.ReplicationLinkSpec{Topic: topic, From: there}, true, nil, nil},
		"another topic":             {v1alpha1.ReplicationLinkSpec{Topic: "x", From: there}, true, paused, nil},
		"another origin":            {v1alpha1.ReplicationLinkSpec{Topic: topic, From: "shenzhen"}, true, paused, nil},
		"the origin's gate is shut": {v1alpha1.ReplicationLinkSpec{Topic: topic, From: there}, false, paused, nil},
	} {
		link := v1alpha1.ReplicationLink{ObjectMeta: metav1.ObjectMeta{Name: "l", Annotations: c.note}, Spec: c.link}
		r := region(&cluster{services: []v1alpha1.RegionalService{service("127.0.0.1:1")}, links: []v1alpha1.ReplicationLink{link}})
		r.Canary = func(string) canary.Reading { return canary.Reading{Known: true, Age: time.Second} }
		r.Snapshot = func() (ownership.Configuration, bool) {
			return ownership.Configuration{Gates: map[string]ownership.Gate{there: {Open: c.open}}}, true
		}
		if diff := cmp.Diff(c.want, r.Lagging(t.Context())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestCaughtUpWithMirrorMaker reads what Connect stores; what the built-in mirror stored before counts too.
func TestCaughtUpWithMirrorMaker(t *testing.T) {
	source, target := broker(t), broker(t)
	for _, addr := range []string{source, target} {
		if err := kafkatest.NewAdmin(t, addr).Create(t.Context(), kafka.NewTopic{Name: topic, Partitions: 2}); err != nil {
			t.Fatal(err)
		}
	}
	rs := service(target)
	rs.Spec.Topics[0].ConsumerGroups = nil
	rs.Spec.Kafka.Mirrors = &v1alpha1.KafkaMirrors{Engine: v1alpha1.MirrorMirrorMaker2}
	rs.Spec.Peers[1].Kafka.BootstrapServers = []string{source}
	produce(t, source, 0, 3)
	r := region(&cluster{services: []v1alpha1.RegionalService{rs}})
	want := ownership.Vector{there: {fmt.Sprintf("kafka/%s/0", topic): 3}}
	if got := stuck(t, r, want); len(got) != 1 {
		t.Errorf("stuck are %v before anything was mirrored, want the service", got)
	}
	offsets, err := mirrormaker.NewOffsets(there, kafka.Options{Brokers: []string{target}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(offsets.Close)
	store := func(position int64) {
		t.Helper()
		if err := offsets.Store(t.Context(), here, []string{topic}, mirrormaker.Positions{topic: {0: position}}, 1); err != nil {
			t.Fatal(err)
		}
	}
	store(2)
	if got := stuck(t, r, want); len(got) != 1 {
		t.Errorf("stuck are %v though a record of the source has not arrived, want the service", got)
	}
	store(3)
	if got := stuck(t, r, want); len(got) > 0 {
		t.Errorf("stuck are %v, and everything has arrived", got)
	}
}
