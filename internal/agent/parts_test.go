package agent

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
)

func TestProber(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(code)
		}
	}
	plain := func(code int) *httptest.Server { return httptest.NewServer(status(code)) }
	secure := httptest.NewTLSServer(status(http.StatusOK))
	other := httptest.NewTLSServer(status(http.StatusOK))
	dead := httptest.NewServer(nil)
	dead.Close()
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(func() { secure.Close(); other.Close(); hanging.Close() })
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	cases := map[string]struct {
		url   string
		ca    []byte
		fails string
	}{
		"answers":               {url: plain(http.StatusOK).URL},
		"unauthorised answers":  {url: plain(http.StatusUnauthorized).URL},
		"redirect not followed": {url: plain(http.StatusFound).URL},
		"server error":          {url: plain(http.StatusServiceUnavailable).URL, fails: "503"},
		"nobody listens":        {url: dead.URL, fails: "refused"},
		"hangs":                 {url: hanging.URL, fails: "deadline"},
		"tcp":                   {url: strings.Replace(secure.URL, "https", "tcp", 1)},
		"tcp, nobody listens":   {url: strings.Replace(dead.URL, "http", "tcp", 1), fails: "refused"},
		"https":                 {url: secure.URL, ca: ca},
		"https, unknown CA":     {url: secure.URL, fails: "certificate"},
		"https, CA unreadable":  {url: secure.URL, ca: []byte("x"), fails: "CA bundle"},
		"other scheme":          {url: "ftp://127.0.0.1", fails: "use http, https or tcp"},
		"not a URL":             {url: "http://%", fails: "probe edge"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			limit := 5 * time.Second
			if name == "hangs" {
				limit = 100 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			err := NewProber().Probe(ctx, ownership.Probe{Name: "edge", URL: c.url, CABundle: c.ca})
			if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
				t.Errorf("probing answered %v, want %q", err, c.fails)
			}
		})
	}
}

func TestAcceptedServices(t *testing.T) {
	key := func() []byte { return []byte("fresh") }
	intent := ownership.ServiceIntent{
		UID: "u", Namespace: "accounts", Name: "user", SpecHash: "h", Regions: []string{"a", "b"}, Manual: true, Handback: ownership.HandbackAutomatic,
	}
	accepted := ownership.ServiceRecord{
		UID: "u", Namespace: "accounts", Name: "user", Handback: ownership.HandbackAutomatic, PeerKey: []byte("fresh"),
		ServiceState: ownership.ServiceState{SpecHash: "h", Regions: []string{"a", "b"}, Manual: true},
	}
	deleted := intent
	deleted.Deleted = true
	record := ownership.ServiceRecord{
		UID: "u", Namespace: "accounts", Name: "user", PeerKey: []byte("old"),
		ServiceState: ownership.ServiceState{SpecHash: "h", Excluded: []string{"a"}, HandedBack: map[string]int64{"b": 3}},
	}
	gone := record
	gone.Deleted = true
	other := intent
	other.SpecHash = "other"
	cases := map[string]struct {
		intent *ownership.ServiceIntent
		record *ownership.ServiceRecord
		// closing: a change of owners is under way.
		closing bool
		want    []ownership.ServiceRecord
		done    []string
	}{
		"new":                       {intent: &intent, want: []ownership.ServiceRecord{accepted}},
		"new while owners change":   {intent: &intent, closing: true},
		"deleted while they do":     {intent: &deleted, record: &record, closing: true, want: []ownership.ServiceRecord{gone}},
		"as it was":                 {intent: &intent, record: &record},
		"another ownership spec":    {intent: &other, record: &record},
		"deleted":                   {intent: &deleted, record: &record, want: []ownership.ServiceRecord{gone}},
		"deleted before accepted":   {intent: &deleted},
		"deleted and let go of":     {record: &gone, done: []string{"u"}},
		"deleted, not yet let go":   {intent: &deleted, record: &gone},
		"intent lost, service kept": {record: &record},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			conf := ownership.Configuration{
				Services: map[string]ownership.ServiceRecord{}, ServiceIntents: map[string]ownership.ServiceIntent{},
				View: ownership.View{Phase: ownership.PhaseOpen},
			}
			if c.closing {
				conf.View.Phase = ownership.PhaseClosing
			}
			if c.intent != nil {
				conf.ServiceIntents["u"] = *c.intent
			}
			if c.record != nil {
				conf.Services["u"] = *c.record
			}
			if diff := cmp.Diff(c.want, acceptedServices(conf, key)); diff != "" {
				t.Errorf("accepted (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.done, finishedServices(conf)); diff != "" {
				t.Errorf("finished (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAcceptedServicesAreBounded(t *testing.T) {
	conf := ownership.Configuration{
		ServiceIntents: map[string]ownership.ServiceIntent{}, View: ownership.View{Phase: ownership.PhaseOpen},
	}
	for i := range 100 {
		uid := fmt.Sprintf("u-%03d", i)
		conf.ServiceIntents[uid] = ownership.ServiceIntent{UID: uid}
	}
	if got := len(acceptedServices(conf, newPeerKey)); got != acceptAtOnce {
		t.Errorf("%d services accepted in one pass, want %d", got, acceptAtOnce)
	}
	if a, b := newPeerKey(), newPeerKey(); len(a) != peerKeyBytes || bytes.Equal(a, b) {
		t.Errorf("peer keys of %d bytes, equal %v", len(a), bytes.Equal(a, b))
	}
}

func TestSurplusIncidents(t *testing.T) {
	conf := ownership.Configuration{Incidents: map[string]ownership.Incident{}}
	add := func(region string, n int, closed bool) {
		name := fmt.Sprintf("%s-%d", region, n)
		conf.Incidents[name] = ownership.Incident{Name: name, Region: region, Closed: closed, Timeline: []ownership.IncidentStep{
			{Step: ownership.StepSuspected, At: time.Unix(int64(n), 0)},
		}}
	}
	for n := range keptIncidents + 2 {
		add("a", n+1, true)
	}
	add("a", 0, false)
	add("b", 0, true)
	if diff := cmp.Diff([]string{"a-1", "a-2"}, surplusIncidents(conf)); diff != "" {
		t.Errorf("surplus (-want +got):\n%s", diff)
	}
}

func TestCheckTimings(t *testing.T) {
	for name, timings := range map[string]ownership.Timings{"default": ownership.DefaultTimings(), "fast": ownership.FastTimings()} {
		if err := CheckTimings(timings); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	cases := map[string]struct {
		change func(*ownership.Timings)
		names  string
	}{
		"no probe timeout":   {func(t *ownership.Timings) { t.ProbeTimeout = 0 }, "probeTimeout"},
		"negative downAfter": {func(t *ownership.Timings) { t.DownAfter = -1 }, "downAfter"},
		"lease too short":    {func(t *ownership.Timings) { t.RegionLease = 4 * time.Second }, "regionLease"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			timings := ownership.DefaultTimings()
			c.change(&timings)
			if err := CheckTimings(timings); err == nil || !strings.Contains(err.Error(), c.names) {
				t.Errorf("answered %v, want an error that names %s", err, c.names)
			}
		})
	}
}

func TestNewRefusesWhatIsMissing(t *testing.T) {
	complete := Config{
		Region: "beijing", Store: &coordination.Store{}, Clock: SystemClock(), Prober: NewProber(), Timings: ownership.DefaultTimings(),
	}
	if _, err := New(complete); err != nil {
		t.Fatal(err)
	}
	cases := map[string]func(*Config){
		"region": func(c *Config) { c.Region = "" }, "store": func(c *Config) { c.Store = nil },
		"clock": func(c *Config) { c.Clock = nil }, "prober": func(c *Config) { c.Prober = nil },
		"timings": func(c *Config) { c.Timings.BeatInterval = 0 },
	}
	for name, change := range cases {
		c := complete
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("an agent without %s was created", name)
		}
	}
}

func TestSystemClockCountsOn(t *testing.T) {
	c := SystemClock()
	before := c.Boottime()
	<-c.After(time.Millisecond)
	if d := c.Boottime() - before; d < time.Millisecond || d > time.Minute {
		t.Errorf("a millisecond took %s of boot time", d)
	}
}
