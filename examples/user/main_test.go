package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"multiactive.dev/operator/examples/user/internal/store/sqlstore"
)

func TestParse(t *testing.T) {
	tests := map[string]struct {
		args []string
		env  map[string]string
		want string // part of the error; empty: accepted
	}{
		"defaults":            {nil, nil, ""},
		"help":                {[]string{"--help"}, nil, "help was printed"},
		"environment":         {nil, map[string]string{"STORE": "mariadb", "DSN": "u@tcp(h:1)/d", "REDIS_ADDR": "h:2"}, ""},
		"flag over variable":  {[]string{"-store", "embedded"}, map[string]string{"STORE": "nonsense"}, ""},
		"unknown mode":        {[]string{"run"}, nil, "use serve, sync or export"},
		"unknown flag":        {[]string{"-port", "1"}, nil, "not defined: -port"},
		"unexpected argument": {[]string{"serve", "now"}, nil, `unexpected argument "now"`},
		"unknown store":       {[]string{"-store", "oracle"}, nil, "use mariadb or embedded"},
		"no DSN":              {[]string{"-store", "mariadb", "-redis-addr", "h:1"}, nil, "-dsn is empty"},
		"no Redis":            {[]string{"-store", "mariadb", "-dsn", "u@tcp(h:1)/d"}, nil, "-redis-addr is empty"},
		"sync needs no Redis": {[]string{"sync", "-store", "mariadb", "-dsn", "u@tcp(h:1)/d", "-kafka-brokers", "h:1"}, nil, ""},
		"sync without Kafka":  {[]string{"sync"}, nil, "-kafka-brokers is empty"},
		"cost too high":       {[]string{"-login-cost", "31"}, nil, "outside 4 to 15"},
		"cost no number":      {nil, map[string]string{"LOGIN_COST": "many"}, "environment variable LOGIN_COST"},
		"no lifetime":         {[]string{"-session-ttl", "0s"}, nil, "-session-ttl"},
		"negative balance":    {[]string{"-opening-balance", "-1"}, nil, "-opening-balance"},
		"open pattern":        {[]string{"-account-topics-regex", `.*accounts\.account`}, nil, "must begin with ^ and end with $"},
		"broken pattern":      {[]string{"-ledger-topics-regex", `^(accounts$`}, nil, "missing closing"},
		"no ledger topics":    {[]string{"-ledger-topics-regex", "-"}, nil, ""},
		"empty data dir":      {[]string{"-data-dir", ""}, nil, "-data-dir is empty"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parse(tc.args, func(k string) string { return tc.env[k] }, io.Discard)
			if tc.want == "" && err != nil {
				t.Fatalf("refused: %v", err)
			}
			if tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Fatalf("got error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestHelpNamesEveryFlagAndNoSecret(t *testing.T) {
	var out strings.Builder
	env := func(k string) string { return map[string]string{"REDIS_PASSWORD": "hunter2"}[k] }
	if _, err := parse([]string{"-h"}, env, &out); err != errHelp { //nolint:errorlint // it is returned as it is
		t.Fatal(err)
	}
	for _, want := range []string{"user serve", "user sync", "-login-cost", "-account-topics-regex", "-fence-service"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help does not mention %q", want)
		}
	}
	if strings.Contains(out.String(), "hunter2") {
		t.Error("help shows a secret")
	}
}

// newLog returns a log and where serve says in it that it listens.
func newLog(t *testing.T) (*slog.Logger, <-chan string) {
	t.Helper()
	r, w := io.Pipe()
	found := make(chan string, 1)
	go func() {
		in := bufio.NewScanner(r)
		for in.Scan() {
			var line struct{ Msg, Address string }
			if json.Unmarshal(in.Bytes(), &line) == nil && line.Msg == "serving" {
				found <- line.Address
			}
		}
	}()
	t.Cleanup(func() { _ = w.Close() })
	return slog.New(slog.NewJSONHandler(w, nil)), found
}

// background runs a mode until the test, or the returned function, ends it.
func background(t *testing.T, run func(context.Context, config, *slog.Logger) error, c config, log *slog.Logger) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- run(ctx, c, log) }()
	var ended bool
	stop := func() {
		cancel()
		if ended {
			return
		}
		ended = true
		if err := <-done; err != nil {
			t.Errorf("ended with %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func parsed(t *testing.T, args ...string) config {
	t.Helper()
	c, err := parse(args, func(string) string { return "" }, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestTwoRegions runs the whole service in two regions that share a Kafka, in
// place of a mirror: an account that is made in one can log in in the other.
func TestTwoRegions(t *testing.T) {
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "accounts.account", "accounts.ledger"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	brokers := strings.Join(kafka.ListenAddrs(), ",")
	home, away := filepath.Join(t.TempDir(), "home"), filepath.Join(t.TempDir(), "away")
	common := []string{"-kafka-brokers", brokers, "-listen", "127.0.0.1:0", "-login-cost", "4", "-opening-balance", "100"}

	log, found := newLog(t)
	stopHome := background(t, serve, parsed(t, append([]string{"serve", "-data-dir", home}, common...)...), log)
	post(t, <-found, "/v1/accounts", `{"phone":"13800000001","password":"correct horse","name":"王芳"}`, http.StatusCreated)
	stopHome()

	log, found = newLog(t)
	background(t, serve, parsed(t, append([]string{"serve", "-data-dir", away}, common...)...), log)
	addr := <-found
	login := `{"phone":"13800000001","password":"correct horse"}`
	post(t, addr, "/v1/login", login, http.StatusUnauthorized)
	silent, _ := newLog(t)
	background(t, syncAccounts, parsed(t, append([]string{"sync", "-data-dir", away}, common...)...), silent)
	waitForBalance(t, away, "13800000001", 100)
	post(t, addr, "/v1/login", login, http.StatusOK)
}

func post(t *testing.T, addr, path, body string, want int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != want {
		t.Fatalf("POST %s: %d %s, want %d", path, res.StatusCode, got, want)
	}
}

// waitForBalance asks until account and entry have arrived, which are sent
// through different topics.
func waitForBalance(t *testing.T, dir, phone string, want int64) {
	t.Helper()
	s, err := sqlstore.OpenEmbedded(t.Context(), dir, sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for {
		n, err := s.Balance(t.Context(), phone)
		if err == nil && n == want {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("the balance did not arrive in a minute: %d, %v", n, err)
		}
	}
}

func TestListenSaysWhatToDo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	err = listen(t.Context(), l.Addr().String(), http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "set -listen") {
		t.Errorf("got %v", err)
	}
}
