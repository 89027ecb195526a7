//go:build e2e

// Package mirrormaker_test runs Apache Kafka's MirrorMaker 2 with the configuration that the operator writes, and
// looks at what comes of it as a region's member does: lag, positions, and whether a change of owners may go on.
package mirrormaker_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"k8s.io/utils/clock"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/canary"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/port/kafka"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apachekafka"
)

const (
	from, to = "beijing", "shanghai"
	topic    = "accounts.account"
	copied   = from + "." + topic
	group    = "account-sync"
	user     = "mirror"
	patience = 4 * time.Minute
)

// world is a source and a target region's Kafka: both want logins, the target over TLS.
type world struct {
	t              *testing.T
	ca             *apachekafka.Authority
	source, target *apachekafka.Broker
	passwords      map[*apachekafka.Broker]string
	dir            string
}

func newWorld(t *testing.T) *world {
	return newWorldOf(t, apachekafka.Options{}, apachekafka.Options{})
}

// newWorldOf has a source and a target that are like other brokers.
func newWorldOf(t *testing.T, source, target apachekafka.Options) *world {
	t.Helper()
	source.Name, source.Users = "source", map[string]string{user: "from-there-1"}
	ca, err := apachekafka.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, ca: ca, dir: t.TempDir()}
	target.Name, target.Users, target.TLS = "target", map[string]string{user: "over-here-1"}, ca
	brokers := apachekafka.RunAll(t, source, target)
	w.source, w.target = brokers[0], brokers[1]
	w.passwords = map[*apachekafka.Broker]string{w.source: "from-there-1", w.target: "over-here-1"}
	w.files()
	return w
}

// files are what the Secrets are mounted as.
func (w *world) files() {
	w.t.Helper()
	for end, b := range map[string]*apachekafka.Broker{"source": w.source, "target": w.target} {
		dir := filepath.Join(w.dir, end)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			w.t.Fatal(err)
		}
		for name, content := range map[string]string{
			regional.SecretKeyUser: user, regional.SecretKeyPassword: w.passwords[b], regional.SecretKeyCA: string(w.ca.PEM()),
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// kafka is a broker as a Region declares it.
func (w *world) kafka(b *apachekafka.Broker) v1alpha1.RegionKafka {
	return v1alpha1.RegionKafka{
		BootstrapServers: []string{b.Addr()}, Auth: &v1alpha1.KafkaAuth{SecretRef: v1alpha1.SecretReference{Name: "kafka"}},
		Mirrors: &v1alpha1.KafkaMirrors{Engine: v1alpha1.MirrorMirrorMaker2},
	}
}

// options are how the member reaches a broker.
func (w *world) options(k v1alpha1.RegionKafka) kafka.Options {
	b, mechanism := w.source, kafka.MechanismScramSHA512
	if k.BootstrapServers[0] == w.target.Addr() {
		b, mechanism = w.target, kafka.MechanismPlain
	}
	o := kafka.Options{Brokers: k.BootstrapServers, SASL: &kafka.SASL{Mechanism: mechanism, User: user, Password: w.passwords[b]}}
	if b == w.target {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
		o.TLS.RootCAs.AppendCertsFromPEM(w.ca.PEM())
	}
	return o
}

func (w *world) admin(b *apachekafka.Broker) *kafka.Client {
	w.t.Helper()
	admin, err := kafka.NewClient(w.options(w.kafka(b)))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(admin.Close)
	return admin
}

// properties are what the operator writes, with the mounts of this machine, for the topic and others.
func (w *world) properties(others ...string) string {
	m := regional.MirrorMaker{
		From: from, To: to, Topics: append([]string{topic}, others...), Groups: []string{group}, ReplicationFactor: 1, ExactlyOnce: true,
		Source: regional.MirrorCluster{Kafka: w.kafka(w.source), Mechanism: "SCRAM-SHA-512"},
		Target: regional.MirrorCluster{Kafka: w.kafka(w.target), Mechanism: "PLAIN", CA: true},
	}
	config := m.Properties()
	for _, end := range []string{"source", "target"} {
		config = strings.ReplaceAll(config, "/etc/multiactive/"+end, filepath.Join(w.dir, end))
	}
	port := testkit.FreePort(w.t, "127.0.0.1")
	return strings.Replace(config, "127.0.0.1:8083", fmt.Sprintf("127.0.0.1:%d", port), 1)
}

func (w *world) create(b *apachekafka.Broker, partitions int, topics ...string) {
	w.t.Helper()
	for _, name := range topics {
		if err := w.admin(b).Create(w.t.Context(), kafka.NewTopic{Name: name, Partitions: partitions, Configs: map[string]string{"retention.ms": "3600000"}}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// client reaches a broker as its superuser.
func (w *world) client(b *apachekafka.Broker, opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.Inside()))...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(cl.Close)
	return cl
}

// produce writes numbered values into a partition at the source, in a transaction or without.
func (w *world) produce(partition int32, first, n int, transaction bool) {
	w.t.Helper()
	opts := []kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner())}
	if transaction {
		opts = append(opts, kgo.TransactionalID("shop"))
	}
	cl := w.client(w.source, opts...)
	if transaction {
		if err := cl.BeginTransaction(); err != nil {
			w.t.Fatal(err)
		}
	}
	for i := range n {
		r := &kgo.Record{Topic: topic, Partition: partition, Value: fmt.Appendf(nil, "%d/%d", partition, first+i)}
		if err := cl.ProduceSync(w.t.Context(), r).FirstErr(); err != nil {
			w.t.Fatal(err)
		}
	}
	if transaction {
		if err := cl.EndTransaction(w.t.Context(), kgo.TryCommit); err != nil {
			w.t.Fatal(err)
		}
	}
}

// values reads what is in a topic now, by partition, and the offset behind the last record of each.
func (w *world) values(b *apachekafka.Broker, name string) (values map[int32][]string, next map[int32]int64) {
	w.t.Helper()
	ends, err := w.admin(b).StableOffsets(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	start := map[int32]kgo.Offset{}
	left := map[int32]int64{}
	for p, end := range ends[name] {
		if start[p] = kgo.NewOffset().AtStart(); end > 0 {
			left[p] = end
		}
	}
	values, next = map[int32][]string{}, map[int32]int64{}
	cl := w.client(b, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: start}), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	defer cl.Close()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			w.t.Fatalf("reading %s: %v", name, err)
		}
		for r := range fetches.RecordsAll() {
			if !r.Attrs.IsControl() {
				values[r.Partition] = append(values[r.Partition], string(r.Value))
				next[r.Partition] = r.Offset + 1
			}
			if r.Offset >= left[r.Partition]-1 {
				delete(left, r.Partition)
			}
		}
	}
	return values, next
}

// arrived waits until a partition of the copy has exactly these records, in order.
func (w *world) arrived(partition int32, first, n int) {
	w.t.Helper()
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf("%d/%d", partition, first+i))
	}
	testkit.Eventually(w.t, patience, func() error {
		topics, err := w.admin(w.target).Describe(w.t.Context(), copied)
		if err != nil {
			return err
		}
		if !topics[copied].Exists {
			return fmt.Errorf("there is no %s", copied)
		}
		got, _ := w.values(w.target, copied)
		if !slices.Equal(got[partition], want) {
			return fmt.Errorf("partition %d has %v, want %v", partition, got[partition], want)
		}
		return nil
	})
}

// canaries write the source's canary and read what comes of it at the target.
func (w *world) canaries() *canary.Reader {
	w.t.Helper()
	log := slog.New(slog.NewTextHandler(w.t.Output(), nil))
	writer, err := canary.NewWriter(from, w.options(w.kafka(w.source)), clock.RealClock{}, log)
	if err != nil {
		w.t.Fatal(err)
	}
	reader, err := canary.NewReader([]string{from}, w.options(w.kafka(w.target)), clock.RealClock{}, log)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, run := range []func(context.Context) error{writer.Run, reader.Run} {
		done := make(chan struct{})
		go func() { defer close(done); _ = run(w.t.Context()) }()
		w.t.Cleanup(func() { <-done })
	}
	return reader
}
