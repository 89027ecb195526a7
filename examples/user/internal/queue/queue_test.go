package queue_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"multiactive.dev/operator/examples/user/internal/queue"
	"multiactive.dev/operator/examples/user/internal/store"
	"multiactive.dev/operator/examples/user/internal/store/sqlstore"
	"multiactive.dev/operator/examples/user/internal/store/storetest"
	"multiactive.dev/operator/examples/user/internal/user"
)

const (
	accountTopic = "accounts.account"
	ledgerTopic  = "accounts.ledger"
	mirrored     = "beijing.accounts.account"
)

var topics = queue.Topics{store.KindAccount: accountTopic, store.KindLedger: ledgerTopic}

func newStore(t *testing.T) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.OpenEmbedded(t.Context(), t.TempDir(), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// newKafka starts an embedded Kafka with the topics of a region.
func newKafka(t *testing.T) []string {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, accountTopic, ledgerTopic, mirrored, "payroll.accounts.account"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()
}

func newClient(t *testing.T, addrs []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(addrs...))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseAllowingRebalance)
	return c
}

func silent() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func newRelay(s store.Outbox, p queue.Producer) *queue.Relay {
	return &queue.Relay{
		Outbox: s, Producer: p, Topics: topics, Name: "relay",
		Now: func() time.Time { return storetest.Now }, Log: silent(),
	}
}

func newSyncer(s store.Replica, log *slog.Logger) *queue.Syncer {
	return &queue.Syncer{
		Store: s, Log: log,
		Accounts: regexp.MustCompile(`^((beijing|shanghai)\.)?accounts\.account$`),
		Ledger:   regexp.MustCompile(`^((beijing|shanghai)\.)?accounts\.ledger$`),
	}
}

func outboxSize(t *testing.T, s store.Store) int {
	t.Helper()
	m, err := s.Claim(t.Context(), "relay", storetest.Now, storetest.Now.Add(time.Second), 1000)
	if err != nil {
		t.Fatal(err)
	}
	return len(m)
}

// observed tells the test what has been applied, so that it need not poll.
type observed struct {
	store.Replica
	applied chan string
}

func (o observed) ApplyAccount(ctx context.Context, a user.Account) (store.Applied, error) {
	r, err := o.Replica.ApplyAccount(ctx, a)
	o.applied <- "account " + a.Phone + " " + string(r)
	return r, err
}

func (o observed) ApplyEntry(ctx context.Context, e user.Entry) (store.Applied, error) {
	r, err := o.Replica.ApplyEntry(ctx, e)
	o.applied <- "entry " + e.Phone + " " + string(r)
	return r, err
}

func (o observed) Reject(ctx context.Context, r store.Rejected) error {
	err := o.Replica.Reject(ctx, r)
	o.applied <- "rejected from " + r.Topic
	return err
}

// collect waits for n observations, in any order.
func collect(t *testing.T, applied <-chan string, n int) map[string]int {
	t.Helper()
	got := map[string]int{}
	limit := time.After(time.Minute)
	for range n {
		select {
		case one := <-applied:
			got[one]++
		case <-limit:
			t.Fatalf("after a minute there are only %v", got)
		}
	}
	return got
}

// start runs the syncer until the test, or the returned function, ends it.
func start(t *testing.T, addrs []string, s store.Replica, log *slog.Logger) (<-chan string, func()) {
	t.Helper()
	o := observed{s, make(chan string, 100)}
	syncer := newSyncer(o, log)
	c := newClient(t, addrs, queue.ConsumerOptions("account-sync", syncer.Accounts.String(), syncer.Ledger.String())...)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		syncer.Run(ctx, c, nil)
	}()
	stop := sync.OnceFunc(func() {
		cancel()
		<-done
		// Leaves the group, so that the next consumer gets the partitions at once.
		c.CloseAllowingRebalance()
	})
	t.Cleanup(stop)
	return o.applied, stop
}

func TestFromOneRegionToAnother(t *testing.T) {
	home, away := newStore(t), newStore(t)
	addrs := newKafka(t)
	for i := range 3 {
		a := storetest.NewAccount(fmt.Sprintf("1380000000%d", i))
		if err := home.CreateAccount(t.Context(), nil, a, 100); err != nil {
			t.Fatal(err)
		}
	}
	if err := newRelay(home, newClient(t, addrs)).Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := outboxSize(t, home); n != 0 {
		t.Errorf("%d messages are left in the outbox", n)
	}
	applied, _ := start(t, addrs, away, silent())
	want := map[string]int{}
	for i := range 3 {
		want[fmt.Sprintf("account 1380000000%d inserted", i)] = 1
		want[fmt.Sprintf("entry 1380000000%d inserted", i)] = 1
	}
	if diff := cmp.Diff(want, collect(t, applied, 6)); diff != "" {
		t.Errorf("applied (-want +got):\n%s", diff)
	}
	here, err := home.Account(t.Context(), "13800000001")
	if err != nil {
		t.Fatal(err)
	}
	there, err := away.Account(t.Context(), "13800000001")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(here, there); diff != "" {
		t.Errorf("the copy differs (-home +away):\n%s", diff)
	}
	if n, err := away.Balance(t.Context(), "13800000001"); err != nil || n != 100 {
		t.Errorf("balance of the copy is %d (%v), want 100", n, err)
	}
}

func TestSyncKeepsAside(t *testing.T) {
	away := newStore(t)
	addrs := newKafka(t)
	mine := storetest.NewAccount("13800000001")
	if err := away.CreateAccount(t.Context(), nil, mine, 0); err != nil {
		t.Fatal(err)
	}
	account := func(id, phone string) []byte {
		return fmt.Appendf(nil, `{"id":%q,"phone":%q,"name":"n","verifier":"secret-verifier","createdAt":"2026-05-01T09:30:00Z"}`, id, phone)
	}
	producer := newClient(t, addrs)
	for topic, values := range map[string][][]byte{
		mirrored: {
			account(mine.ID, mine.Phone), account("rival", mine.Phone), account("new", "13800000002"),
			[]byte("not JSON 13800000003"), account("", "13800000004"), account("x", "thirteen"),
		},
		// Another tenant's: matched by no pattern.
		"payroll.accounts.account": {account("payroll", "13800000005")},
	} {
		for _, v := range values {
			if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Key: []byte("k"), Value: v}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var log bytes.Buffer
	applied, stop := start(t, addrs, away, slog.New(slog.NewJSONHandler(&log, nil)))
	want := map[string]int{
		"account 13800000001 known": 1, "account 13800000001 conflict": 1, "account 13800000002 inserted": 1,
		"rejected from " + mirrored: 4,
	}
	if diff := cmp.Diff(want, collect(t, applied, 7)); diff != "" {
		t.Errorf("applied (-want +got):\n%s", diff)
	}
	stop()
	kept, err := away.Rejects(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, r := range kept {
		reasons = append(reasons, r.Reason)
	}
	if diff := cmp.Diff([]string{
		"another record holds its unique key here",
		"the value is not the expected JSON",
		"the value is incomplete: id is empty",
		"the value is incomplete: phone must be 5 to 20 digits, with an optional leading +",
	}, reasons); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	for _, secret := range []string{"1380000", "secret-verifier", "thirteen"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has personal data %q: %s", secret, &log)
		}
	}
}

// TestSyncGoesOnWhereItStopped restarts the consumer: what was committed does
// not come again, and what came meanwhile is not lost.
func TestSyncGoesOnWhereItStopped(t *testing.T) {
	home, away := newStore(t), newStore(t)
	addrs := newKafka(t)
	relay := newRelay(home, newClient(t, addrs))
	publish := func(phone string) {
		t.Helper()
		if err := home.CreateAccount(t.Context(), nil, storetest.NewAccount(phone), 0); err != nil {
			t.Fatal(err)
		}
		if err := relay.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	publish("13800000001")
	applied, stop := start(t, addrs, away, silent())
	collect(t, applied, 1)
	// The next record is polled only after the first was committed.
	publish("13800000002")
	collect(t, applied, 1)
	stop()
	publish("13800000003")
	applied, _ = start(t, addrs, away, silent())
	seen := collect(t, applied, 1)
	if seen["account 13800000002 known"] == 1 {
		// Its commit may have been cut off by the stop: a repetition is allowed.
		seen = collect(t, applied, 1)
	}
	if diff := cmp.Diff(map[string]int{"account 13800000003 inserted": 1}, seen); diff != "" {
		t.Errorf("after the restart (-want +got):\n%s", diff)
	}
}

// flaky fails as a store does that is away for a while.
type flaky struct {
	store.Replica
	failures int
}

func (f *flaky) ApplyAccount(ctx context.Context, a user.Account) (store.Applied, error) {
	if f.failures > 0 {
		f.failures--
		return "", errors.New("store is away")
	}
	return f.Replica.ApplyAccount(ctx, a)
}

// fixed hands out one batch and then ends.
type fixed struct {
	records   []*kgo.Record
	committed []*kgo.Record
	end       context.CancelFunc
}

func (f *fixed) PollRecords(context.Context, int) kgo.Fetches {
	if f.committed != nil {
		f.end()
		return nil
	}
	return kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: accountTopic, Partitions: []kgo.FetchPartition{{Records: f.records}}}}}}
}

func (f *fixed) CommitRecords(_ context.Context, rs ...*kgo.Record) error {
	f.committed = append(f.committed, rs...)
	return nil
}

func (f *fixed) AllowRebalance() {}

func TestSyncSkipsNothingWhileTheStoreIsAway(t *testing.T) {
	s := newStore(t)
	value := []byte(`{"id":"a","phone":"13800000001","name":"n","verifier":"v","createdAt":"2026-05-01T09:30:00Z"}`)
	ctx, cancel := context.WithCancel(t.Context())
	c := &fixed{records: []*kgo.Record{{Topic: accountTopic, Value: value}}, end: cancel}
	tick := make(chan time.Time, 3)
	for range 3 {
		tick <- storetest.Now
	}
	newSyncer(&flaky{s, 3}, silent()).Run(ctx, c, tick)
	if _, err := s.Account(t.Context(), "13800000001"); err != nil {
		t.Errorf("the record was lost: %v", err)
	}
	if len(c.committed) != 1 || len(tick) != 0 {
		t.Errorf("committed %d records after %d ticks, want 1 after 3", len(c.committed), 3-len(tick))
	}
}

// producer fails for the keys in bad.
type producer struct {
	bad  map[string]bool
	sent []string
}

func (p *producer) ProduceSync(_ context.Context, rs ...*kgo.Record) kgo.ProduceResults {
	var out kgo.ProduceResults
	for _, r := range rs {
		if p.bad[string(r.Key)] {
			out = append(out, kgo.ProduceResult{Record: r, Err: errors.New("broker is away")})
			continue
		}
		p.sent = append(p.sent, string(r.Key))
		out = append(out, kgo.ProduceResult{Record: r})
	}
	return out
}

func TestRelayKeepsWhatWasNotAcknowledged(t *testing.T) {
	s := newStore(t)
	for _, phone := range []string{"13800000001", "13800000002", "13800000003"} {
		if err := s.CreateAccount(t.Context(), nil, storetest.NewAccount(phone), 0); err != nil {
			t.Fatal(err)
		}
	}
	p := &producer{bad: map[string]bool{"13800000002": true}}
	relay := newRelay(s, p)
	if err := relay.Drain(t.Context()); err == nil {
		t.Error("Drain hid the failure")
	}
	if n := outboxSize(t, s); n != 1 {
		t.Errorf("the outbox has %d messages, want the refused one", n)
	}
	p.bad = nil
	if err := relay.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"13800000001", "13800000003", "13800000002"}, p.sent); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}

func TestRelayDropsKindsWithoutTopic(t *testing.T) {
	s := newStore(t)
	if err := s.CreateAccount(t.Context(), nil, storetest.NewAccount("13800000001"), 50); err != nil {
		t.Fatal(err)
	}
	p := &producer{}
	relay := newRelay(s, p)
	relay.Topics = queue.Topics{store.KindAccount: accountTopic}
	if err := relay.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(p.sent) != 1 || outboxSize(t, s) != 0 {
		t.Errorf("sent %v with %d left, want the account only and none left", p.sent, outboxSize(t, s))
	}
}

// TestRelayRun: what is committed while the relay sleeps is published when it
// is woken, a failure is mended at a tick, and the end leaves nothing behind.
func TestRelayRun(t *testing.T) {
	s := newStore(t)
	register := func(phone string) {
		t.Helper()
		if err := s.CreateAccount(t.Context(), nil, storetest.NewAccount(phone), 0); err != nil {
			t.Fatal(err)
		}
	}
	p := &steered{sent: make(chan string, 10), failed: make(chan struct{}, 10)}
	ctx, cancel := context.WithCancel(t.Context())
	wake, tick, done := make(chan struct{}), make(chan time.Time), make(chan struct{})
	go func() {
		defer close(done)
		newRelay(s, p).Run(ctx, wake, tick)
	}()
	register("13800000001")
	wake <- struct{}{}
	if got := <-p.sent; got != "13800000001" {
		t.Errorf("sent %s first", got)
	}
	p.away.Store(true)
	register("13800000002")
	select {
	case wake <- struct{}{}:
		<-p.failed
	case <-p.failed:
		// The drain of the first wake-up has met it already.
	}
	p.away.Store(false)
	tick <- storetest.Now
	if got := <-p.sent; got != "13800000002" {
		t.Errorf("sent %s after the repair", got)
	}
	// The relay waits when it takes the tick, and finds nothing.
	tick <- storetest.Now
	register("13800000003")
	cancel()
	<-done
	if n := outboxSize(t, s); n != 0 {
		t.Errorf("%d messages are left after the end", n)
	}
}

// steered fails while it is away.
type steered struct {
	away   atomic.Bool
	sent   chan string
	failed chan struct{}
}

func (p *steered) ProduceSync(_ context.Context, rs ...*kgo.Record) kgo.ProduceResults {
	var out kgo.ProduceResults
	for _, r := range rs {
		if p.away.Load() {
			p.failed <- struct{}{}
			out = append(out, kgo.ProduceResult{Record: r, Err: errors.New("broker is away")})
			continue
		}
		p.sent <- string(r.Key)
		out = append(out, kgo.ProduceResult{Record: r})
	}
	return out
}

// TestChanges takes in a new password, and keeps aside what is none.
func TestChanges(t *testing.T) {
	s := newStore(t)
	syncer := newSyncer(s, silent())
	syncer.Changes = regexp.MustCompile(`^beijing\.accounts\.change$`)
	a := storetest.NewAccount("13800000001")
	if err := s.CreateAccount(t.Context(), nil, a, 0); err != nil {
		t.Fatal(err)
	}
	for i, value := range []string{
		`{"phone":"13800000001","verifier":"changed elsewhere","at":"2026-05-01T10:00:00Z"}`,
		`{"phone":"13800000001","at":"2026-05-01T11:00:00Z"}`,
	} {
		if err := syncer.Apply(t.Context(), &kgo.Record{Topic: "beijing.accounts.change", Offset: int64(i), Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Account(t.Context(), a.Phone)
	if err != nil || got.Verifier != "changed elsewhere" {
		t.Errorf("the verifier is %q (%v)", got.Verifier, err)
	}
	aside, err := s.Rejects(t.Context(), 10)
	if err != nil || len(aside) != 1 || aside[0].Offset != 1 {
		t.Errorf("kept aside: %v (%v), want the second record", aside, err)
	}
}
