// Command user is the example service of MultiActive: accounts, login,
// password, profile, sessions and transfers. This package reads flags and
// wires the parts; it must never hold business rules, and nothing of the
// service chooses a region: that is the gateway's work.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"multiactive.dev/operator/examples/user/internal/password"
	"multiactive.dev/operator/examples/user/internal/queue"
	"multiactive.dev/operator/examples/user/internal/store"
	"multiactive.dev/operator/examples/user/internal/store/redisstore"
	"multiactive.dev/operator/examples/user/internal/store/sqlstore"
	"multiactive.dev/operator/examples/user/internal/web"
)

const (
	// relayEvery bounds how long a message waits that another replica left behind.
	relayEvery = time.Second
	// shutdownLimit bounds how long requests in flight may take to end.
	shutdownLimit = 10 * time.Second
)

func main() { os.Exit(run()) }

// run returns the exit code: 0 after a clean end, 1 after a failure, 2 when the
// command line is wrong.
func run() int {
	c, err := parse(os.Args[1:], os.Getenv, os.Stdout)
	if errors.Is(err, errHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "user:", err)
		return 2
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: c.logLevel}))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	mode := serve
	switch c.mode {
	case "sync":
		mode = syncAccounts
	case "export":
		mode = export
	}
	if err := mode(ctx, c, log); err != nil {
		log.Error("stopped", "error", err)
		return 1
	}
	return 0
}

// openStore opens the region's database.
func openStore(ctx context.Context, c config) (*sqlstore.Store, error) {
	o := sqlstore.Options{FenceService: c.fenceService, Changes: c.changesDSN}
	if c.store == "embedded" {
		return sqlstore.OpenEmbedded(ctx, c.dataDir, o)
	}
	return sqlstore.OpenMariaDB(ctx, c.dsn, o)
}

// openSessions opens what keeps logins.
func openSessions(c config, db *sqlstore.Store) store.Sessions {
	if c.store == "embedded" {
		return sqlstore.NewSessions(db, time.Now)
	}
	return redisstore.Open(c.redisAddr, c.redisPassword)
}

// serve answers HTTP and relays the outbox until ctx ends.
func serve(ctx context.Context, c config, log *slog.Logger) (err error) {
	db, err := openStore(ctx, c)
	if err != nil {
		return err
	}
	sessions := openSessions(c, db)
	defer func() { err = errors.Join(err, sessions.Close(), db.Close()) }()
	passwords, err := password.NewHasher(c.loginCost)
	if err != nil {
		return err
	}
	created := make(chan struct{}, 1)
	handler := (&web.Server{
		Store: db, Sessions: sessions, Passwords: passwords,
		Now: time.Now, NewID: rand.Text, Log: log,
		OpeningBalance: c.openingBalance, SessionTTL: c.sessionTTL, InsecureCookie: c.insecureCookie,
		GatewaySessions: c.gatewaySessions, SubjectKey: []byte(cmp.Or(c.subjectKey, rand.Text())),
		Created: func() {
			select {
			case created <- struct{}{}:
			default: // The relay has been woken already.
			}
		},
	}).Handler()

	relaying, stopRelay := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRelay()
	var relays sync.WaitGroup
	if err := startRelay(relaying, c, db, created, &relays, log); err != nil {
		return err
	}
	err = listen(ctx, c.listen, handler, log)
	// Requests have ended: nothing new comes into the outbox.
	stopRelay()
	relays.Wait()
	return err
}

// startRelay runs the relay in the background until ctx ends.
func startRelay(ctx context.Context, c config, db store.Outbox, wake <-chan struct{}, wg *sync.WaitGroup, log *slog.Logger) error {
	if c.brokers == "" {
		log.Warn("no Kafka is configured: new accounts wait in the outbox")
		return nil
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(c.brokers, ",")...),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		// A repeated record does no harm, a relay that cannot give up does.
		kgo.AllowIdempotentProduceCancellation(),
	)
	if err != nil {
		return fmt.Errorf("configuring Kafka: %w", err)
	}
	topics := queue.Topics{store.KindAccount: c.accountTopic}
	if c.ledgerTopic != "-" {
		topics[store.KindLedger] = c.ledgerTopic
	}
	if c.changeTopic != "-" {
		topics[store.KindChange] = c.changeTopic
	}
	relay := &queue.Relay{
		Outbox: db, Producer: client, Topics: topics, Name: rand.Text(), Now: time.Now, Log: log,
	}
	wg.Go(func() {
		defer client.Close()
		tick := time.NewTicker(relayEvery)
		defer tick.Stop()
		relay.Run(ctx, wake, tick.C)
	})
	return nil
}

// listen serves until ctx ends, then lets requests in flight end.
func listen(ctx context.Context, addr string, handler http.Handler, log *slog.Logger) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listening: %w (set -listen to a free address of this machine)", err)
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	log.Info("serving", "address", l.Addr().String())
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	log.Info("shutting down")
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
	defer cancel()
	if err := server.Shutdown(ending); err != nil {
		return fmt.Errorf("shutting down: %w", err)
	}
	return nil
}

// export prints what the region has.
func export(ctx context.Context, c config, _ *slog.Logger) (err error) {
	db, err := openStore(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return exportTo(ctx, db, os.Stdout)
}

func exportTo(ctx context.Context, db *sqlstore.Store, w io.Writer) error {
	out := json.NewEncoder(w)
	return db.Export(ctx, func(table string, row map[string]any) error {
		return out.Encode(map[string]any{"table": table, "row": row})
	})
}

// syncAccounts takes in what other regions made, until ctx ends.
func syncAccounts(ctx context.Context, c config, log *slog.Logger) (err error) {
	db, err := openStore(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	patterns := []string{c.accountTopics.String()}
	for _, more := range []*regexp.Regexp{c.ledgerTopics, c.changeTopics} {
		if more != nil {
			patterns = append(patterns, more.String())
		}
	}
	opts := append(queue.ConsumerOptions(c.group, patterns...), kgo.SeedBrokers(strings.Split(c.brokers, ",")...))
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("configuring Kafka: %w", err)
	}
	// The rebalance that leaving causes must not wait for a poll.
	defer client.CloseAllowingRebalance()
	tick := time.NewTicker(relayEvery)
	defer tick.Stop()
	log.Info("taking in accounts", "group", c.group, "topics", patterns)
	s := &queue.Syncer{Store: db, Accounts: c.accountTopics, Ledger: c.ledgerTopics, Changes: c.changeTopics, Log: log}
	s.Run(ctx, client, tick.C)
	return nil
}
