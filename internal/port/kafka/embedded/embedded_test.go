package embedded_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/port/kafka/embedded"
	"multiactive.dev/operator/internal/port/kafka/kafkatest"
)

func TestMain(m *testing.M) { os.Exit(kafkatest.Main(m, nil)) }

func TestContract(t *testing.T) {
	b, err := embedded.Start(embedded.Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	kafkatest.Contract(t, kafka.Options{Brokers: []string{b.Addr()}})
}

// Everything that was acknowledged is there after a SIGKILL: records, topic
// configurations, partition counts and group offsets.
func TestSurvivesKill(t *testing.T) {
	b := kafkatest.StartBroker(t, "kill")
	admin := kafkatest.NewAdmin(t, b.Addr)
	ctx := t.Context()
	if err := admin.Create(ctx, kafka.NewTopic{Name: "t", Partitions: 2, Configs: map[string]string{"retention.ms": "-1"}}); err != nil {
		t.Fatal(err)
	}
	if err := admin.CreatePartitions(ctx, "t", 4); err != nil {
		t.Fatal(err)
	}
	if err := admin.AlterConfigs(ctx, "t", map[string]string{"cleanup.policy": "compact"}); err != nil {
		t.Fatal(err)
	}
	for round := range int64(3) {
		for p := range int32(4) {
			kafkatest.Produce(t, []string{b.Addr}, &kgo.Record{Topic: "t", Partition: p, Key: fmt.Append(nil, round), Value: []byte("v")})
		}
		position := []kafka.GroupOffset{{Topic: "t", Partition: 3, Offset: round, Metadata: "m"}}
		if err := admin.CommitOffsets(ctx, "g", position); err != nil {
			t.Fatal(err)
		}
		before, err := admin.Describe(ctx, "t")
		if err != nil {
			t.Fatal(err)
		}

		b.Kill()
		b.Start()

		after, err := admin.Describe(ctx, "t")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(before, after); d != "" {
			t.Errorf("topic (-before +after):\n%s", d)
		}
		if after["t"].Partitions != 4 || after["t"].Configs["cleanup.policy"] != "compact" || after["t"].Configs["retention.ms"] != "-1" {
			t.Errorf("topic is %+v", after["t"])
		}
		ends, err := admin.EndOffsets(ctx, "t")
		if err != nil {
			t.Fatal(err)
		}
		n := round + 1
		if d := cmp.Diff(map[int32]int64{0: n, 1: n, 2: n, 3: n}, ends["t"]); d != "" {
			t.Errorf("end offsets (-want +got):\n%s", d)
		}
		got, err := admin.GroupOffsets(ctx, "g")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(position, got); d != "" {
			t.Errorf("group (-want +got):\n%s", d)
		}
	}
}

func TestListensWhereItIsTold(t *testing.T) {
	b, err := embedded.Start(embedded.Options{Listen: "127.77.0.3:0", ClusterID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if host, _, _ := net.SplitHostPort(b.Addr()); host != "127.77.0.3" {
		t.Errorf("listens on %s", b.Addr())
	}
	// The advertised address is the same one: an admin call goes through it.
	if n, err := kafkatest.NewAdmin(t, b.Addr()).Brokers(t.Context()); err != nil || n != 1 {
		t.Errorf("Brokers() = %d, %v", n, err)
	}
}

func TestStartRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	tests := map[string]struct {
		options embedded.Options
		say     string
	}{
		"no port":         {embedded.Options{Listen: "127.0.0.1"}, "use host:port"},
		"a wild port":     {embedded.Options{Listen: "127.0.0.1:kafka"}, "not a number"},
		"every address":   {embedded.Options{Listen: "0.0.0.0:9092"}, "concrete host"},
		"no host":         {embedded.Options{Listen: ":9092"}, "concrete host"},
		"a taken address": {embedded.Options{Listen: taken.Addr().String()}, "in use"},
		"half a user":     {embedded.Options{Listen: "127.0.0.1:0", User: "u"}, "go together"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := embedded.Start(tt.options)
			if err == nil {
				b.Close()
				t.Fatal("started")
			}
			if !strings.Contains(err.Error(), tt.say) {
				t.Errorf("error %q does not say %q", err, tt.say)
			}
		})
	}
}
