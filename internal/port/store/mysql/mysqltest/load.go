package mysqltest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// write writes rows of one region's own numbers at its share of the rate.
func (s *soak) write(ctx context.Context, region string, offset int64) {
	share := time.Duration(len(s.regions)) * time.Second / time.Duration(s.Rate)
	ticker := time.NewTicker(share)
	defer ticker.Stop()
	for id := offset; ; id += int64(len(s.regions)) {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		value := fmt.Sprintf("%s %d", region, id)
		s.mu.Lock()
		s.attempted[id] = value
		s.mu.Unlock()
		one, done := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		err := s.nodes[region].Put(one, id, value)
		done()
		s.mu.Lock()
		if err != nil {
			s.result.Refused++
		} else {
			s.acknowledged[id] = value
			s.result.Acknowledged++
		}
		s.mu.Unlock()
	}
}

// beat writes a region's canary once a second.
func (s *soak) beat(ctx context.Context, region string) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for sequence := int64(1); ; sequence++ {
		_, _ = s.servers[region].Beat(ctx, storage.Canary{Region: region, Sequence: sequence, Time: time.Now()})
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// measure reads how old canaries of others are.
func (s *soak) measure(ctx context.Context, region string) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		ages, err := s.ages(ctx, region)
		if err != nil {
			continue
		}
		s.mu.Lock()
		for other, age := range ages {
			switch {
			case other == region || !s.up[region].Load() || !s.up[other].Load():
			case s.killing.Load():
				s.result.Killing = append(s.result.Killing, age)
			default:
				s.result.Quiet = append(s.result.Quiet, age)
			}
		}
		s.mu.Unlock()
	}
}

// ages of the newest canary of every region at one of them.
func (s *soak) ages(ctx context.Context, region string) (map[string]time.Duration, error) {
	rows, err := s.nodes[region].root.QueryContext(ctx, "SELECT region, MAX(written_at) FROM "+store.Schema+".canary GROUP BY region")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	now, ages := time.Now(), map[string]time.Duration{}
	for rows.Next() {
		var other string
		var at int64
		if err := rows.Scan(&other, &at); err != nil {
			return nil, err
		}
		ages[other] = now.Sub(time.UnixMicro(at))
	}
	return ages, rows.Err()
}

// Quantile of durations, such as 0.99; 0 without any.
func Quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
