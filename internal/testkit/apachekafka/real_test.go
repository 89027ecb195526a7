//go:build e2e

package apachekafka_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apachekafka"
)

const patience = 3 * time.Minute

// What was acknowledged is there after a kill, at the same address, and so are users.
func TestRealBrokerComesBack(t *testing.T) {
	b := apachekafka.Run(t, apachekafka.Options{Users: map[string]string{"alice": "before"}})
	ctx := t.Context()
	if err := b.SetPassword(ctx, "alice", "after-all"); err != nil {
		t.Fatal(err)
	}
	admin := apachekafka.AdminOf(t, b)
	if _, err := admin.CreateTopic(ctx, 1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	produce(t, b.Inside(), "t", "one")
	address, pid := b.Addr(), b.PID()
	for _, end := range []func() error{b.Kill, func() error { return b.Stop(ctx) }} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := b.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if b.Addr() != address || b.PID() == pid {
		t.Errorf("at %s in process %d, was at %s in %d", b.Addr(), b.PID(), address, pid)
	}
	client, err := kafka.NewClient(kafka.Options{
		Brokers: []string{b.Addr()}, SASL: &kafka.SASL{Mechanism: kafka.MechanismScramSHA512, User: "alice", Password: "after-all"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if ends, err := client.EndOffsets(ctx, "t"); err != nil || ends["t"][0] != 1 {
		t.Errorf("end offsets %v, error %v; want the record of before", ends, err)
	}
	log, err := os.ReadFile(b.LogFile())
	if err != nil || strings.Contains(string(log), "after-all") || strings.Contains(string(log), "before\"") {
		t.Errorf("the log has a password (%v)", err)
	}
}

// MirrorMaker copies under its own name of the topic, and goes on after a kill.
func TestRealMirrorMaker(t *testing.T) {
	brokers := apachekafka.RunAll(t, apachekafka.Options{Name: "north"}, apachekafka.Options{Name: "south"})
	north, south := brokers[0], brokers[1]
	if _, err := apachekafka.AdminOf(t, north).CreateTopic(t.Context(), 1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	produce(t, north.Addr(), "t", "one")
	m := apachekafka.RunMirrorMaker(t, apachekafka.MirrorMakerOptions{Config: fmt.Sprintf(`clusters = north, south
north.bootstrap.servers = %s
south.bootstrap.servers = %s
north->south.enabled = true
north->south.topics = t
%s`, north.Addr(), south.Addr(), apachekafka.SingleCopies), Clusters: []string{"south"}})
	admin := apachekafka.AdminOf(t, south)
	copied(t, admin, 1)
	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	produce(t, north.Addr(), "t", "two")
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	copied(t, admin, 2)
}

func copied(t *testing.T, admin *kadm.Client, want int64) {
	t.Helper()
	testkit.Eventually(t, patience, func() error {
		ends, err := admin.ListEndOffsets(t.Context(), "north.t")
		if err != nil {
			return err
		}
		if o, _ := ends.Lookup("north.t", 0); o.Offset < want {
			return fmt.Errorf("%d of %d records are there", o.Offset, want)
		}
		return nil
	})
}

func produce(t *testing.T, address, topic, value string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
}
