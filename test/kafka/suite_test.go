//go:build e2e

// Package kafka_test runs the mirror and the keeper of topics together, as a region does, against
// Apache Kafka that wants logins over TLS and allows what the documentation says they need, no more.
package kafka_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apachekafka"
	"multiactive.dev/operator/internal/testkit/locked"
)

const (
	patience = 4 * time.Minute
	origin   = "beijing"
	orders   = "shop.orders"
	mirror   = "mirror"
	member   = "member"
)

// world is a source and a target region's Kafka.
type world struct {
	t              *testing.T
	ca             *apachekafka.Authority
	source, target *apachekafka.Broker
	logs           locked.Buffer
	// passwords that were ever used; none may be in what anything says.
	passwords []string
}

func newWorld(t *testing.T, passwords map[string]string) *world {
	t.Helper()
	ca, err := apachekafka.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, ca: ca}
	options := apachekafka.Options{
		Users: passwords, TLS: ca, Authorize: true,
		// A connection has to log in again before this is over, so that a changed password soon matters.
		Properties: map[string]string{"listener.name.clients.connections.max.reauth.ms": "5000"},
	}
	source, target := options, options
	source.Name, target.Name = "source", "target"
	brokers := apachekafka.RunAll(t, source, target)
	w.source, w.target = brokers[0], brokers[1]
	for _, p := range passwords {
		w.passwords = append(w.passwords, p)
	}
	w.permit()
	return w
}

// permit allows what cmd/mirror and the guide say that the two users need.
func (w *world) permit() {
	w.t.Helper()
	for broker, lists := range map[*apachekafka.Broker][]*kadm.ACLBuilder{
		w.source: {
			kadm.NewACLs().Allow("User:"+mirror).AllowHosts().Topics(orders, "multiactive.canary").Operations(kadm.OpRead, kadm.OpDescribeConfigs),
			kadm.NewACLs().Allow("User:"+member).AllowHosts().Topics("shop.").ResourcePatternType(kadm.ACLPatternPrefixed).
				Operations(kadm.OpCreate, kadm.OpAlter, kadm.OpDescribe, kadm.OpDescribeConfigs, kadm.OpAlterConfigs),
			kadm.NewACLs().Allow("User:"+member).AllowHosts().Topics("multiactive.claims").
				Operations(kadm.OpCreate, kadm.OpRead, kadm.OpWrite, kadm.OpDescribeConfigs),
		},
		w.target: {
			kadm.NewACLs().Allow("User:"+mirror).AllowHosts().Topics(origin+".").ResourcePatternType(kadm.ACLPatternPrefixed).
				Operations(kadm.OpCreate, kadm.OpAlter, kadm.OpRead, kadm.OpWrite, kadm.OpDescribeConfigs),
			kadm.NewACLs().Allow("User:" + mirror).AllowHosts().Groups("multiactive.mirror." + origin).Operations(kadm.OpRead),
		},
	} {
		admin := apachekafka.AdminOf(w.t, broker)
		for _, list := range lists {
			results, err := admin.CreateACLs(w.t.Context(), list)
			if err != nil {
				w.t.Fatal(err)
			}
			for _, r := range results {
				if r.Err != nil {
					w.t.Fatal(r.Err)
				}
			}
		}
	}
}

// setPassword changes a user's password at both brokers.
func (w *world) setPassword(user, password string) {
	w.t.Helper()
	w.passwords = append(w.passwords, password)
	for _, b := range []*apachekafka.Broker{w.source, w.target} {
		if err := b.SetPassword(w.t.Context(), user, password); err != nil {
			w.t.Fatal(err)
		}
	}
}

// silent requires that no password is in what the programs and the brokers have said.
func (w *world) silent() {
	w.t.Helper()
	said := map[string]string{"mirror and keeper": w.logs.String()}
	for name, b := range map[string]*apachekafka.Broker{"source": w.source, "target": w.target} {
		text, err := os.ReadFile(b.LogFile())
		if err != nil {
			w.t.Fatal(err)
		}
		said["broker "+name] = string(text)
	}
	for who, text := range said {
		if text == "" {
			w.t.Errorf("%s: nothing was said, so nothing was looked at", who)
		}
		for _, p := range w.passwords {
			if strings.Contains(text, p) {
				w.t.Errorf("%s: the log has the password %s", who, p)
			}
		}
	}
}

// writer adds numbered records to the source's topic until it is stopped, and returns how many it has
// written.
func (w *world) writer() (stop func() int) {
	w.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(w.source.Inside()), kgo.UnknownTopicRetries(-1))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	written := make(chan int, 1)
	go func() {
		defer client.Close()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		n := 0
		for {
			select {
			case <-ctx.Done():
				written <- n
				return
			case <-tick.C:
			}
			record := &kgo.Record{Topic: orders, Key: fmt.Appendf(nil, "k%d", n%17), Value: fmt.Appendf(nil, "%d", n)}
			if err := client.ProduceSync(context.WithoutCancel(ctx), record).FirstErr(); err != nil {
				w.t.Errorf("writing record %d: %v", n, err)
			}
			n++
		}
	}()
	return func() int { cancel(); return <-written }
}

// arrived waits until the target has the records 0 to n-1, each key's in order; repeated ones are allowed.
func (w *world) arrived(n int) {
	w.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(w.target.Inside()), kgo.ConsumeTopics(origin+"."+orders), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	seen, newest := map[int]bool{}, map[string]int{}
	for len(seen) < n {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			w.t.Fatalf("%d of %d records have arrived", len(seen), n)
		}
		for r := range fetches.RecordsAll() {
			var number int
			if _, err := fmt.Sscan(string(r.Value), &number); err != nil {
				w.t.Fatal(err)
			}
			if seen[number] {
				continue
			}
			if last, ok := newest[string(r.Key)]; ok && number < last {
				w.t.Fatalf("key %s: %d came after %d", r.Key, number, last)
			}
			seen[number], newest[string(r.Key)] = true, number
		}
	}
}

// file writes a file as a mounted Secret has it: replaced, never half written.
func (w *world) file(dir, name, content string) string {
	w.t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func eventually(t *testing.T, check func() error) {
	t.Helper()
	testkit.Eventually(t, patience, check)
}
