package regionalservice

import (
	"context"
	"testing"
	"time"

	"github.com/go-logr/logr"
	clocktesting "k8s.io/utils/clock/testing"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/mirrormaker"
	"multiactive.dev/operator/internal/plan/topic"
	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/port/kafka/embedded"
)

// TestDelete has a service's topics deleted, and leaves alone what another has claimed, or nobody has.
func TestDelete(t *testing.T) {
	broker, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	options := kafka.Options{Brokers: []string{broker.Addr()}}
	admin, err := kafka.NewClient(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	names := []string{"a.mine", "beijing.a.mine", "a.theirs", "beijing.a.theirs", "a.nobodys", "shenzhen.a.mine"}
	for _, name := range names {
		if err := admin.Create(ctx, kafka.NewTopic{Name: name, Partitions: 1}); err != nil {
			t.Fatal(err)
		}
	}
	claims := kafka.NewClaims(admin)
	if err := claims.Ensure(ctx, 1); err != nil {
		t.Fatal(err)
	}
	for name, uid := range map[string]string{"a.mine": "u-1", "a.theirs": "u-2"} {
		if err := claims.Put(ctx, name, kafka.Claim{Namespace: "a", Name: uid, UID: uid}); err != nil {
			t.Fatal(err)
		}
	}
	offsets, err := mirrormaker.NewOffsets("beijing", options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(offsets.Close)
	if err := offsets.Store(ctx, "shanghai", []string{"a.mine", "a.theirs"}, mirrormaker.Positions{"a.mine": {0: 4}, "a.theirs": {0: 5}}, 1); err != nil {
		t.Fatal(err)
	}
	owner := topic.Owner{Namespace: "a", Name: "u-1", UID: "u-1"}
	keeper := NewTopicKeeper(func(context.Context, v1alpha1.RegionKafka) (kafka.Options, error) { return options, nil },
		clocktesting.NewFakeClock(time.Now()), logr.Discard())
	want := WantedTopics{
		Kafka:  v1alpha1.RegionKafka{BootstrapServers: options.Brokers, Mirrors: &v1alpha1.KafkaMirrors{Engine: v1alpha1.MirrorMirrorMaker2}},
		Topics: []topic.Desired{{Name: "a.mine", Owner: owner}, {Name: "a.theirs", Owner: owner}, {Name: "a.nobodys", Owner: owner}},
		Delete: true, Origins: []string{"beijing"}, Region: "shanghai",
	}
	found, _, err := keeper.work(ctx, []job{{entry: &topicEntry{want: want}}})
	if err != nil || !found[0].Deleted {
		t.Fatalf("found %+v, %v; want all deleted", found, err)
	}
	topics, err := admin.Describe(ctx, names...)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if want := name != "a.mine" && name != "beijing.a.mine"; topics[name].Exists != want {
			t.Errorf("topic %s is there: %t, want %t", name, topics[name].Exists, want)
		}
	}
	left, err := claims.Load(ctx)
	if err != nil || len(left) != 1 || left["a.theirs"].UID != "u-2" {
		t.Errorf("claims are %v, %v; want the other's alone", left, err)
	}
	positions, err := offsets.Positions(ctx)
	if err != nil || len(positions["a.mine"]) > 0 || positions["a.theirs"][0] != 5 {
		t.Errorf("positions are %v, %v; want the other's alone", positions, err)
	}
}
