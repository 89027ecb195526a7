package mysqltest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"multiactive.dev/operator/internal/port/store/mysql"
	"multiactive.dev/operator/internal/storage"
	"multiactive.dev/operator/internal/testkit/poll"
)

// Soak is a mesh that is written to in all regions while its servers are killed, one at a time.
type Soak struct {
	// Rate is how many rows are written each second, in all regions together.
	Rate int
	// Kills is how many servers are killed (SIGKILL).
	Kills int
	// Quiet is how long rows are written before the first kill. Up is how long all servers run between kills, and
	// Down how long a killed one stays away.
	Quiet, Up, Down time.Duration
	// Patience bounds how long links may take to catch up.
	Patience time.Duration
	// Seed of the order in which servers are killed.
	Seed uint64
}

// Result of a soak. Lags are ages of the newest canary that has arrived, ten times a second for each link whose
// servers both run and have recovered, with a canary written each second: while nothing is killed, and from the
// first kill on.
type Result struct {
	Acknowledged, Refused int64
	Quiet, Killing        []time.Duration
	// Recoveries are the times from a server's answering again until all links are within two seconds.
	Recoveries []time.Duration
	// Settled is how long it took after the last row until all servers had the same.
	Settled time.Duration
}

// soak is one that runs.
type soak struct {
	Soak
	regions []string
	nodes   map[string]*Node
	servers map[string]*mysql.Server
	up      map[string]*atomic.Bool
	killing atomic.Bool

	mu                      sync.Mutex
	acknowledged, attempted map[int64]string
	result                  Result
}

// Run runs it on servers that run, and returns an error when a row that was acknowledged is lost, a row is where
// nobody wrote it, or a link does not go on by itself.
func (o Soak) Run(ctx context.Context, regions []string, nodes map[string]*Node) (Result, error) {
	s := &soak{
		Soak: o, regions: regions, nodes: nodes, servers: map[string]*mysql.Server{}, up: map[string]*atomic.Bool{},
		acknowledged: map[int64]string{}, attempted: map[int64]string{},
	}
	defer func() {
		for _, server := range s.servers {
			_ = server.Close()
		}
	}()
	if err := s.connect(ctx); err != nil {
		return Result{}, err
	}
	writing, stop := context.WithCancel(ctx)
	defer stop()
	var writers, watchers sync.WaitGroup
	watching, end := context.WithCancel(ctx)
	defer end()
	for i, region := range regions {
		writers.Go(func() { s.write(writing, region, int64(i)) })
		watchers.Go(func() { s.beat(watching, region) })
		watchers.Go(func() { s.measure(watching, region) })
	}
	err := s.kill(ctx)
	stop()
	writers.Wait()
	if err == nil {
		err = s.settle(ctx)
	}
	end()
	watchers.Wait()
	return s.result, err
}

// connect makes a mesh of the servers.
func (s *soak) connect(ctx context.Context) error {
	for _, region := range s.regions {
		server, err := mysql.Open(s.nodes[region].Options())
		if err != nil {
			return err
		}
		s.servers[region] = server
		s.up[region] = &atomic.Bool{}
		s.up[region].Store(true)
		if err := server.Prepare(ctx, storage.Want{Region: region, Regions: s.regions, Mesh: true, Writable: true}); err != nil {
			return err
		}
	}
	for _, region := range s.regions {
		for _, other := range s.regions {
			if other == region {
				continue
			}
			w := storage.Want{Region: region, Regions: s.regions, Mesh: true, Writable: true}
			from := storage.Source{Region: other, Address: s.nodes[other].Addr()}
			if err := s.servers[region].Connect(ctx, w, from); err != nil {
				return err
			}
		}
	}
	return nil
}

// kill ends servers and starts them again.
func (s *soak) kill(ctx context.Context) error {
	random := rand.New(rand.NewPCG(s.Seed, 0))
	if err := poll.Pause(ctx, s.Quiet); err != nil {
		return err
	}
	s.killing.Store(true)
	for range s.Kills {
		victim := s.regions[random.IntN(len(s.regions))]
		s.up[victim].Store(false)
		if err := s.nodes[victim].Kill(); err != nil {
			return err
		}
		if err := poll.Pause(ctx, s.Down); err != nil {
			return err
		}
		if err := s.nodes[victim].Start(ctx); err != nil {
			return err
		}
		began := time.Now()
		if err := s.recovered(ctx); err != nil {
			return fmt.Errorf("after %s was killed: %w", victim, err)
		}
		s.up[victim].Store(true)
		s.mu.Lock()
		s.result.Recoveries = append(s.result.Recoveries, time.Since(began))
		s.mu.Unlock()
		if err := poll.Pause(ctx, s.Up); err != nil {
			return err
		}
	}
	return nil
}

// recovered waits until every link is within two seconds.
func (s *soak) recovered(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	return poll.Until(ctx, 50*time.Millisecond, func(ctx context.Context) error {
		for _, region := range s.regions {
			ages, err := s.ages(ctx, region)
			if err != nil {
				return err
			}
			for other, age := range ages {
				if age > 2*time.Second {
					return fmt.Errorf("%s lags %s behind %s", region, age, other)
				}
			}
		}
		return nil
	})
}

// settle waits until all servers have the same rows, and compares them with what was written.
func (s *soak) settle(ctx context.Context) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	err := poll.Until(ctx, 100*time.Millisecond, func(ctx context.Context) error {
		var failed []error
		first, err := s.nodes[s.regions[0]].Rows(ctx)
		if err != nil {
			return err
		}
		for _, region := range s.regions {
			rows, err := s.nodes[region].Rows(ctx)
			if err != nil {
				return err
			}
			failed = append(failed, s.compare(region, rows))
			if !maps.Equal(rows, first) {
				failed = append(failed, fmt.Errorf("%s and %s have other rows: %d and %d", region, s.regions[0], len(rows), len(first)))
			}
		}
		return errors.Join(failed...)
	})
	s.result.Settled = time.Since(began)
	return err
}

// compare finds rows that were lost, and rows that nobody wrote. A row that came twice stops a link, and shows
// as one that is lost.
func (s *soak) compare(region string, rows map[int64]string) error {
	lost, foreign := 0, 0
	for id, value := range s.acknowledged {
		if rows[id] != value {
			lost++
		}
	}
	for id, value := range rows {
		if s.attempted[id] != value {
			foreign++
		}
	}
	if lost+foreign == 0 {
		return nil
	}
	return fmt.Errorf("%s lacks %d of %d rows that were acknowledged, and has %d that nobody wrote", region, lost, len(s.acknowledged), foreign)
}
