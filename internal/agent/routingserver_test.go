package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

// fakeClock is a Clock that stands still until it is stepped.
type fakeClock struct {
	*clocktesting.FakeClock
	start time.Time
}

func newFakeClock() *fakeClock {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &fakeClock{FakeClock: clocktesting.NewFakeClock(start), start: start}
}

func (c *fakeClock) Boottime() time.Duration { return time.Hour + c.Since(c.start) }

// desk is an agent without a store: the test delivers configurations itself.
type desk struct {
	*Agent
	t      *testing.T
	clock  *fakeClock
	server *httptest.Server
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	clock := newFakeClock()
	a := &Agent{
		config: Config{Region: "beijing", Clock: clock, Timings: ownership.DefaultTimings()},
		acks:   newAckBook(clock), subscribers: map[chan struct{}]struct{}{},
	}
	a.publisher = newPublisher(a.Snapshot)
	server := httptest.NewServer(a.Handler(a.publisher))
	t.Cleanup(server.Close)
	return &desk{Agent: a, t: t, clock: clock, server: server}
}

// show delivers a configuration of the revision with the epoch.
func (d *desk) show(revision, epoch int64) {
	d.t.Helper()
	d.deliver(ownership.Configuration{
		Revision: revision, Decided: epoch, View: ownership.View{Epoch: epoch},
		Gates:    map[string]ownership.Gate{"beijing": {Generation: 1, Open: true}},
		Services: map[string]ownership.ServiceRecord{"u": {UID: "u", PeerKey: []byte("very secret")}},
	})
	if err := d.publisher.update(); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) lease(remaining time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leaseUntil = d.clock.Boottime() + remaining
}

func build(c ownership.Configuration) routing.Config {
	return routing.Config{Namespace: "accounts", Name: "user", Epoch: c.View.Epoch}
}

func (d *desk) get(ctx context.Context, query string) (int, string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.server.URL+query, http.NoBody)
	if err != nil {
		return 0, err.Error()
	}
	answer, err := d.server.Client().Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(body)
}

// poll asks as a gateway; without a name in the query it has one of its own.
func (d *desk) poll(query string) routing.Answer {
	d.t.Helper()
	if !strings.Contains(query, "gateway=") {
		query += "&gateway=pod"
	}
	status, body := d.get(d.t.Context(), routing.Path+"?namespace=accounts&name=user"+query)
	var answer routing.Answer
	if err := json.Unmarshal([]byte(body), &answer); status != http.StatusOK || err != nil {
		d.t.Fatalf("status %d, %v: %s", status, err, body)
	}
	return answer
}

// whenWaiting runs do once a poll waits on the clock.
func (d *desk) whenWaiting(do func()) *sync.WaitGroup {
	var done sync.WaitGroup
	done.Go(func() {
		for !d.clock.HasWaiters() {
			if d.t.Context().Err() != nil {
				return
			}
		}
		do()
	})
	return &done
}

func TestPollAnswersAtOnceWithAnotherVersion(t *testing.T) {
	d := newDesk(t)
	if err := d.publisher.Publish("accounts", "user", build); err != nil {
		t.Fatal(err)
	}
	d.show(10, 3)
	d.lease(4 * time.Second)
	first := d.poll("")
	if first.Config == nil || first.Config.Epoch != 3 || first.Version == "" {
		t.Fatalf("the first answer was %+v", first)
	}
	if first.Revision != 10 || first.LeaseRemaining != 4*time.Second {
		t.Errorf("revision %d, lease %s; want 10, 4s", first.Revision, first.LeaseRemaining)
	}
	d.show(11, 4)
	second := d.poll("&version=" + first.Version)
	if second.Config == nil || second.Config.Epoch != 4 || second.Version == first.Version || second.Revision != 11 {
		t.Errorf("after a change the answer was %+v", second)
	}
}

func TestPollWaitsForAChange(t *testing.T) {
	d := newDesk(t)
	if err := d.publisher.Publish("accounts", "user", build); err != nil {
		t.Fatal(err)
	}
	d.show(10, 3)
	version := d.poll("").Version
	changed := d.whenWaiting(func() { d.show(11, 4) })
	if a := d.poll("&version=" + version); a.Config == nil || a.Config.Epoch != 4 {
		t.Errorf("the change was answered with %+v", a)
	}
	changed.Wait()
}

func TestPollEndsAfterTheWait(t *testing.T) {
	d := newDesk(t)
	if err := d.publisher.Publish("accounts", "user", build); err != nil {
		t.Fatal(err)
	}
	d.show(10, 3)
	d.lease(10 * time.Second)
	version := d.poll("").Version
	// Revisions go on while nothing that routing depends on changes.
	passed := d.whenWaiting(func() { d.show(12, 3); d.clock.Step(routing.MaxWait) })
	got := d.poll("&wait=1h&version=" + version)
	passed.Wait()
	want := routing.Answer{Version: version, Revision: 12, LeaseRemaining: 9 * time.Second, Held: routing.MaxWait}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	d.clock.Step(time.Minute)
	if got := d.poll("&wait=0s").LeaseRemaining; got != 0 {
		t.Errorf("a lease that has run out remains for %s", got)
	}
}

// A gateway that waits while the lease runs short hears at once that it was renewed.
func TestPollEndsWithARenewal(t *testing.T) {
	cases := map[string]struct {
		left time.Duration // of the lease, when the beat succeeds
		ends bool
	}{
		"none":           {0, true},
		"short":          {3*time.Second - 1, true},
		"half the lease": {3 * time.Second, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			if err := d.publisher.Publish("accounts", "user", build); err != nil {
				t.Fatal(err)
			}
			d.show(10, 3)
			version := d.poll("").Version
			renewed := d.whenWaiting(func() {
				d.clock.Step(200 * time.Millisecond)
				d.lease(c.left)
				conf, _ := d.Snapshot()
				if err := d.beatOnce(t.Context(), &fakeRegistration{}, conf, 1); err != nil {
					t.Error(err)
				}
				if !c.ends {
					d.clock.Step(routing.MaxWait - 200*time.Millisecond)
				}
			})
			got := d.poll("&version=" + version)
			renewed.Wait()
			want := routing.Answer{Version: version, Revision: 10, LeaseRemaining: 6 * time.Second, Held: 200 * time.Millisecond}
			if !c.ends {
				want.LeaseRemaining, want.Held = 5200*time.Millisecond, routing.MaxWait
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

// What an answer says of the lease: it goes with routing made under the gate that granted it, and is
// taken back only when it has ended.
func TestAnswerOfTheLease(t *testing.T) {
	at := func(revision, generation int64, open bool) ownership.Configuration {
		return ownership.Configuration{
			Revision: revision, Decided: revision,
			Gates: map[string]ownership.Gate{"beijing": {Generation: generation, Open: open}},
		}
	}
	epoch := func(c ownership.Configuration, e int64) ownership.Configuration { c.View.Epoch = e; return c }
	cases := map[string]struct {
		published, latest ownership.Configuration
		then              func(*desk)
		remaining         time.Duration
		ended             bool
	}{
		"routing under the gate":              {at(10, 1, true), at(11, 1, true), nil, 4 * time.Second, false},
		"routing from before the return":      {at(10, 1, true), at(12, 3, true), nil, 0, false},
		"routing from before the gate opened": {at(10, 2, false), at(12, 3, true), nil, 0, false},
		"gate closed":                         {at(10, 1, true), at(11, 2, false), nil, 0, true},
		"gate closed, routing too":            {at(11, 2, false), at(11, 2, false), nil, 0, true},
		"another store": {
			at(10, 1, true), at(10, 1, true), func(d *desk) { d.storeAnswered(&coordination.OtherStoreError{}) }, 0, true,
		},
		"not beaten yet":               {at(10, 1, true), at(10, 1, true), func(d *desk) { d.lease(0) }, 0, false},
		"routing from before a change": {at(10, 1, true), epoch(at(11, 1, true), 8), nil, 0, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			if err := d.publisher.Publish("accounts", "user", build); err != nil {
				t.Fatal(err)
			}
			d.deliver(c.published)
			if err := d.publisher.update(); err != nil {
				t.Fatal(err)
			}
			d.deliver(c.latest) // the publisher is late
			if c.latest.Gates["beijing"].Open {
				d.lease(4 * time.Second)
			}
			if c.then != nil {
				c.then(d)
			}
			got := d.poll("&wait=0s")
			if got.LeaseRemaining != c.remaining || got.LeaseEnded != c.ended || got.Revision != c.published.Revision {
				t.Errorf("revision %d, lease %s, ended %v; want %d, %s, %v",
					got.Revision, got.LeaseRemaining, got.LeaseEnded, c.published.Revision, c.remaining, c.ended)
			}
			if err := d.publisher.update(); err != nil {
				t.Fatal(err)
			}
			if got := d.poll("&wait=0s"); got.LeaseRemaining != d.Lease() {
				t.Errorf("with the latest routing the lease is %s, want %s", got.LeaseRemaining, d.Lease())
			}
		})
	}
}

// TestFirstAnswerHasTheLease holds that a gateway which asked before there was anything to answer is given
// the lease with its first routing.
func TestFirstAnswerHasTheLease(t *testing.T) {
	d := newDesk(t)
	d.lease(4 * time.Second)
	published := d.whenWaiting(func() {
		d.show(10, 3)
		d.lease(4 * time.Second)
		if err := d.publisher.Publish("accounts", "user", build); err != nil {
			t.Error(err)
		}
		d.clock.Step(routing.MaxWait)
	})
	got := d.poll("")
	published.Wait()
	if got.Config == nil || got.LeaseRemaining != 3*time.Second {
		t.Errorf("the first answer is %+v, want routing with the lease", got)
	}
	if d.acks.fenced(d.clock.Boottime(), 3) {
		t.Error("the lease is not booked")
	}
}

// The region acknowledges for every gateway that may hold a lease, so each one is noted before it gets it.
func TestLeasesAreNoted(t *testing.T) {
	d := newDesk(t)
	if err := d.publisher.Publish("accounts", "user", build); err != nil {
		t.Fatal(err)
	}
	d.show(10, 3)
	d.lease(4 * time.Second)
	if got := d.poll("&wait=0s&gateway="); got.LeaseRemaining != 0 || got.Config == nil {
		t.Errorf("a gateway without a name is given %+v, want routing without a lease", got)
	}
	if !d.acks.fenced(d.clock.Boottime(), 3) {
		t.Error("a lease is out that nobody was given")
	}
	version := d.poll("&wait=0s&gateway=pod-1").Version
	if d.acks.fenced(d.clock.Boottime(), 3) {
		t.Error("a gateway was given a lease, has acknowledged nothing, and the region counts as fenced")
	}
	d.poll("&wait=0s&gateway=pod-1&version=" + version)
	if !d.acks.fenced(d.clock.Boottime(), 3) {
		t.Error("the only gateway acts on the epoch, and the region does not count as fenced")
	}
	if got := d.poll("&wait=0s&gateway=pod-2&refused=" + version).LeaseRemaining; got != 0 || !d.acks.fenced(d.clock.Boottime(), 3) {
		t.Errorf("a gateway that cannot use the routing is given a lease of %s, or is waited for", got)
	}
}

func TestPollOfAnUnknownService(t *testing.T) {
	d := newDesk(t)
	d.show(10, 3)
	status, body := d.get(t.Context(), routing.Path+"?namespace=accounts&name=nobody&wait=0s")
	if status != http.StatusNotFound || !strings.Contains(body, "accounts/nobody") {
		t.Errorf("status %d: %s", status, body)
	}
}

func TestPollBeforeTheFirstConfiguration(t *testing.T) {
	d := newDesk(t)
	if err := d.publisher.Publish("accounts", "user", build); err != nil {
		t.Fatal(err)
	}
	shown := d.whenWaiting(func() { d.show(10, 3) })
	if a := d.poll(""); a.Config == nil || a.Revision != 10 {
		t.Errorf("answer %+v", a)
	}
	shown.Wait()
	d.publisher.Withdraw("accounts", "user")
	if status, _ := d.get(t.Context(), routing.Path+"?namespace=accounts&name=user&wait=0s"); status != http.StatusNotFound {
		t.Errorf("a withdrawn service answers %d", status)
	}
}

func TestPollRefusesBadQuestions(t *testing.T) {
	d := newDesk(t)
	d.show(10, 3)
	cases := map[string]string{
		"no name":           "?namespace=a",
		"no namespace":      "?name=a",
		"two names":         "?namespace=a&name=b&name=c",
		"long name":         "?namespace=a&name=" + strings.Repeat("x", 254),
		"revision in words": "?namespace=a&name=b&revision=many",
		"busy in words":     "?namespace=a&name=b&busy=very",
		"negative busy":     "?namespace=a&name=b&busy=-1",
		"wait in words":     "?namespace=a&name=b&wait=long",
		"negative wait":     "?namespace=a&name=b&wait=-1s",
	}
	for name, query := range cases {
		t.Run(name, func(t *testing.T) {
			if status, body := d.get(t.Context(), routing.Path+query); status != http.StatusBadRequest {
				t.Errorf("status %d: %s", status, body)
			}
		})
	}
}

func TestAcks(t *testing.T) {
	d := newDesk(t)
	if err := d.publisher.Publish("accounts", "user", build); err != nil {
		t.Fatal(err)
	}
	d.show(10, 3)
	version := d.poll("&gateway=pod-1").Version
	if d.acks.Epoch() != 0 {
		t.Error("a gateway without routing has acknowledged an epoch")
	}
	d.poll("&wait=0s&gateway=pod-1&revision=10&busy=2&version=" + version)
	d.clock.Step(5 * time.Second)
	d.poll("&wait=0s&gateway=pod-2&revision=9&version=older")
	want := []Ack{
		{Namespace: "accounts", Name: "user", Gateway: "pod-1", Version: version, Epoch: 3, Revision: 10, Busy: 2, Age: 5 * time.Second},
		{Namespace: "accounts", Name: "user", Gateway: "pod-2", Version: "older", Revision: 9},
	}
	if diff := cmp.Diff(want, d.Acks()); diff != "" {
		t.Errorf("acknowledgements (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, d.AcksOf("accounts", "user")); diff != "" {
		t.Errorf("acknowledgements of the service (-want +got):\n%s", diff)
	}
	if got := d.AcksOf("accounts", "other"); len(got) > 0 {
		t.Errorf("another service has %+v", got)
	}
	if d.acks.Epoch() != 3 {
		t.Errorf("acknowledged epoch %d, want 3", d.acks.Epoch())
	}
	if epoch, since := d.ActsOn("accounts", "user"); epoch != 3 || since != 5*time.Second {
		t.Errorf("it acts on epoch %d for %v, want 3 for 5s, since its first gateway does", epoch, since)
	}
	if epoch, since := d.ActsOn("accounts", "other"); epoch != 0 || since != 0 {
		t.Errorf("another service acts on epoch %d for %v", epoch, since)
	}
	d.clock.Step(ackExpires - 4*time.Second)
	if got := d.AcksOf("accounts", "user"); len(got) != 1 || got[0].Gateway != "pod-2" {
		t.Errorf("of the service, after pod-1 fell silent: %+v", got)
	}
	if got := d.Acks(); len(got) != 1 || got[0].Gateway != "pod-2" {
		t.Errorf("after pod-1 fell silent: %+v", got)
	}
}

// What a gateway refuses is told while it is what the agent has, and fit to be shown; so is whom it takes requests from.
func TestReports(t *testing.T) {
	d := newDesk(t)
	if err := d.publisher.Publish("accounts", "user", build); err != nil {
		t.Fatal(err)
	}
	d.show(10, 3)
	version := d.poll("&gateway=pod-1").Version
	said := func(query string) string {
		d.poll("&wait=0s&gateway=pod-1" + query)
		return d.AcksOf("accounts", "user")[0].Refused
	}
	for query, want := range map[string]string{
		"": "",
		"&refused=" + version + "&reason=upstream%3A+bad":  "upstream: bad",
		"&refused=" + version + "&reason=a%0Ab%1B%5B31mc":  "a b [31mc",
		"&refused=" + version:                              "it does not say why",
		"&refused=former&reason=upstream":                  "",
		"&reason=upstream":                                 "",
		"&refused=" + version + "&version=v&reason=%F0%28": "\ufffd(",
	} {
		if got := said(query); got != want {
			t.Errorf("%s: refused for %q, want %q", query, got, want)
		}
	}
	said("")
	before := d.Reports()
	for range 2 {
		said("&refused=" + version + "&reason=upstream")
	}
	said("")
	said("")
	if got := d.Reports() - before; got != 2 {
		t.Errorf("%d changes, want one for the beginning and one for the end", got)
	}
	before = d.Reports()
	if list := d.ReportedSince(before); len(list) != 0 {
		t.Errorf("nothing has changed, and reported is %v", list)
	}
	for _, query := range []string{"&peers=shanghai,shenzhen", "&peers=shanghai,shenzhen", "&peers=shanghai", ""} {
		said(query)
		var want []string
		if _, list, has := strings.Cut(query, "="); has {
			want = strings.Split(list, ",")
		}
		if got := d.AcksOf("accounts", "user")[0].Peers; !slices.Equal(got, want) {
			t.Errorf("%q: takes requests from %q, want %q", query, got, want)
		}
	}
	if list := d.ReportedSince(before); !slices.Equal(list, []Reporting{{"accounts", "user"}}) {
		t.Errorf("reported is %v", list)
	}
	if got := d.Reports() - before; got != 3 {
		t.Errorf("%d changes of whom the gateway takes requests from, want 3", got)
	}
	if status, body := d.get(t.Context(), routing.Path+"?namespace=accounts&name=user&peers="+strings.Repeat("x", routing.MaxPeers+1)); status != http.StatusBadRequest {
		t.Errorf("peers of any number: status %d, %s", status, body)
	}
	if status, body := d.get(t.Context(), routing.Path+"?namespace=accounts&name=user&refused="+version+"&reason="+strings.Repeat("x", 254)); status != http.StatusBadRequest {
		t.Errorf("a reason of any length: status %d, %s", status, body)
	}
}

func TestAcksAreBounded(t *testing.T) {
	clock := newFakeClock()
	b := newAckBook(clock)
	fill := func() (kept int) {
		for i := range acksPerService + 10 {
			if b.note(Ack{Name: "user", Gateway: fmt.Sprintf("pod-%d-%d", clock.Boottime(), i)}) {
				kept++
			}
		}
		return kept
	}
	if kept := fill(); kept != acksPerService {
		t.Errorf("%d acknowledgements kept, want %d", kept, acksPerService)
	}
	if !b.note(Ack{Name: "other", Gateway: "pod"}) {
		t.Error("one service's gateways leave no room for another's")
	}
	clock.Step(ackExpires + time.Second)
	if kept := fill(); kept != acksPerService {
		t.Errorf("after the first expired %d were kept, want %d", kept, acksPerService)
	}
}

func TestViewHasNoSecrets(t *testing.T) {
	d := newDesk(t)
	d.show(10, 3)
	status, body := d.get(t.Context(), "/v1/view")
	if status != http.StatusOK || !strings.Contains(body, `"Revision":10`) {
		t.Errorf("status %d: %s", status, body)
	}
	key, err := json.Marshal([]byte("very secret"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(body, strings.Trim(string(key), `"`)) {
		t.Error("the view shows a peer key")
	}
	if c, _ := d.Snapshot(); string(c.Services["u"].PeerKey) != "very secret" {
		t.Error("showing the view changed the configuration")
	}
	if status, body := d.get(t.Context(), "/healthz"); status != http.StatusOK {
		t.Errorf("/healthz answers %d: %s", status, body)
	}
}

func TestPublisherNeverGoesBack(t *testing.T) {
	d := newDesk(t)
	d.show(20, 5)
	if err := d.publisher.Publish("accounts", "user", build); err != nil {
		t.Fatal(err)
	}
	d.deliver(ownership.Configuration{Revision: 19, Decided: 4, View: ownership.View{Epoch: 4}})
	if err := d.publisher.update(); err != nil {
		t.Fatal(err)
	}
	if c, _ := d.Snapshot(); c.Revision != 20 {
		t.Errorf("the snapshot went from revision 20 to %d", c.Revision)
	}
	if p := d.publisher.Config("accounts", "user"); p.Config.Epoch != 5 || p.Revision != 20 {
		t.Errorf("published %+v after an older configuration", p)
	}
	built := 0
	if err := d.publisher.Publish("accounts", "user", func(c ownership.Configuration) routing.Config { built++; return build(c) }); err != nil {
		t.Fatal(err)
	}
	d.show(21, 5)
	d.show(22, 5)
	if built != 1 {
		t.Errorf("built %d times for configurations with the same decisions, want once", built)
	}
}

// An agent whose gate is closed, or whose store is another one, holds nothing at once.
func TestLeaseEnds(t *testing.T) {
	cases := map[string]func(*desk){
		"gate closed": func(d *desk) {
			d.deliver(ownership.Configuration{Revision: 11, Gates: map[string]ownership.Gate{"beijing": {Generation: 2}}})
		},
		"time passes": func(d *desk) { d.clock.Step(6 * time.Second) },
	}
	for name, end := range cases {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.show(10, 3)
			d.lease(6 * time.Second)
			if d.Lease() != 6*time.Second {
				t.Fatalf("lease %s", d.Lease())
			}
			end(d)
			if d.Lease() != 0 {
				t.Errorf("lease %s", d.Lease())
			}
		})
	}
}
