package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"multiactive.dev/operator/hack/internal/report"
	"multiactive.dev/operator/internal/port/store/mysql"
	"multiactive.dev/operator/internal/port/store/mysql/mysqltest"
	"multiactive.dev/operator/internal/storage"
)

const (
	service = "5c2b9b0e-0c1d-4f5e-9a3c-1f6f1d2e3a4b"
	sets    = 6
	// writers of an application, while fences change.
	writers = 4
	part    = 10_000
)

func (p *page) measure(ctx context.Context, nodes map[string]*mysqltest.Node) error {
	soak := mysqltest.Soak{
		Rate: p.options.rate, Kills: p.options.kills, Quiet: p.options.quiet, Up: 2 * time.Second, Down: 2 * time.Second,
		Patience: 2 * time.Minute, Seed: p.options.seed,
	}
	var err error
	if p.soak, err = soak.Run(ctx, regions, nodes); err != nil {
		return fmt.Errorf("while servers are killed: %w", err)
	}
	one := nodes[regions[0]]
	server, err := mysql.Open(one.Options())
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	if err := p.canaries(ctx, server, one); err != nil {
		return err
	}
	if p.alone, err = p.fences(ctx, server); err != nil {
		return err
	}
	if err := p.contended(ctx, server, one); err != nil {
		return err
	}
	return p.digests(ctx, server, one)
}

// canaries measures what a beat costs this process and the server.
func (p *page) canaries(ctx context.Context, server *mysql.Server, one *mysqltest.Node) error {
	here, err := report.ProcessorTime(os.Getpid())
	if err != nil {
		return err
	}
	there, err := report.ProcessorTime(one.PID())
	if err != nil {
		return err
	}
	began := time.Now()
	beats := p.options.rounds * 10
	for i := range beats {
		if _, err := server.Beat(ctx, storage.Canary{Region: regions[0], Sequence: int64(i), Time: time.Now()}); err != nil {
			return err
		}
	}
	p.beat.took = time.Since(began) / time.Duration(beats)
	after, err := report.ProcessorTime(os.Getpid())
	if err != nil {
		return err
	}
	p.beat.here = (after - here) / time.Duration(beats)
	if after, err = report.ProcessorTime(one.PID()); err != nil {
		return err
	}
	p.beat.there = (after - there) / time.Duration(beats)
	return nil
}

// fences measures how long it takes until a set of slots is taken away, or given back.
func (p *page) fences(ctx context.Context, server *mysql.Server) ([]time.Duration, error) {
	f := fences(service, regions[0])
	if err := server.SetFences(ctx, f); err != nil {
		return nil, err
	}
	var all []time.Duration
	for round := range p.options.rounds {
		owner := []string{"", regions[0]}[round%2]
		for set := range f.Fences {
			f.Fences[set] = storage.Fence{Set: set, Owner: owner, Epoch: int64(round + 2)}
		}
		began := time.Now()
		if err := server.SetFences(ctx, f); err != nil {
			return nil, err
		}
		all = append(all, time.Since(began))
	}
	return all, nil
}

// contended measures the same while an application writes in guarded transactions.
func (p *page) contended(ctx context.Context, server *mysql.Server, one *mysqltest.Node) error {
	if err := server.Lease(ctx, regions[0], time.Hour); err != nil {
		return err
	}
	writing, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	for writer := range writers {
		all.Go(func() {
			for id := 1_000_000_000 + writer; writing.Err() == nil; id += writers {
				if guarded(writing, one, id) {
					p.guarded.Add(1)
				}
			}
		})
	}
	var err error
	p.busy, err = p.fences(ctx, server)
	stop()
	all.Wait()
	return err
}

// guarded writes one row as an application does, and tells whether it was let.
func guarded(ctx context.Context, one *mysqltest.Node, id int) bool {
	tx, err := one.Application().BeginTx(ctx, nil)
	if err != nil {
		return false
	}
	defer func() { _ = tx.Rollback() }()
	var owner string
	var epoch int64
	var leased bool
	err = tx.QueryRowContext(ctx, mysql.Guard, service, id%1024).Scan(&owner, &epoch, &leased)
	if err != nil || owner != regions[0] || !leased {
		return false
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO shop.orders VALUES (?, 'guarded')", id)
	return err == nil && tx.Commit() == nil
}

// digests measures how long those of a large table take: first when bounds are chosen as well.
func (p *page) digests(ctx context.Context, server *mysql.Server, one *mysqltest.Node) error {
	for _, statement := range []string{
		"CREATE TABLE shop.large (id BIGINT PRIMARY KEY, customer VARCHAR(64) NOT NULL, note VARCHAR(200), amount DECIMAL(12, 2) NOT NULL, " +
			"changed DATETIME(6) NOT NULL)",
		fmt.Sprintf("INSERT INTO shop.large SELECT seq, CONCAT('customer ', seq), IF(seq %% 10, REPEAT('note ', 10), NULL), seq / 100, "+
			"NOW(6) FROM shop.seq_1_to_%d", p.options.rows),
	} {
		if err := one.Root(ctx, statement); err != nil {
			return err
		}
	}
	long, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	began := time.Now()
	chosen, err := server.Digests(long, "shop.large", part, nil, nil)
	if err != nil {
		return err
	}
	p.digest.chosen = time.Since(began)
	began = time.Now()
	if _, err = server.Digests(long, "shop.large", part, chosen, nil); err != nil {
		return err
	}
	p.digest.given = time.Since(began)
	p.digest.parts = len(chosen)
	return nil
}
