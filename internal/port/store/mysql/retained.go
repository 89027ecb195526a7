package mysql

import (
	"context"
	"strconv"
	"time"
)

// written is how much a server had written to its binary log at some time.
type written struct {
	bytes int64
	at    time.Time
}

// retained tells for how long the server keeps its binary logs: by their age, or, where their size is limited
// (max_binlog_total_size, MariaDB 11.4 and later), by the rate since the last look. 0 where neither bounds it.
func (s *Server) retained(ctx context.Context) (time.Duration, error) {
	var kept time.Duration
	var limit int64
	err := s.plain.each(ctx, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('binlog_expire_logs_seconds', 'max_binlog_total_size')", nil,
		func(scan func(...any) error) error {
			var name, value string
			if err := scan(&name, &value); err != nil {
				return err
			}
			if name == "binlog_expire_logs_seconds" {
				kept = time.Duration(number(value)) * time.Second
				return nil
			}
			var err error
			limit, err = strconv.ParseInt(value, 10, 64)
			return err
		})
	if err != nil || limit == 0 {
		return kept, s.explain(ctx, "reading how long binary logs are kept", err)
	}
	var name string
	latest := written{at: now()}
	err = s.plain.row(ctx, "SHOW GLOBAL STATUS LIKE 'Binlog_bytes_written'", nil, &name, &latest.bytes)
	if err != nil {
		return 0, s.explain(ctx, "reading how fast binary logs grow", err)
	}
	s.mu.Lock()
	before := s.written
	s.written = latest
	s.mu.Unlock()
	return bySize(kept, limit, before, latest), nil
}

// bySize is the shorter of an age (0: none) and the time in which the limit is written.
func bySize(kept time.Duration, limit int64, before, latest written) time.Duration {
	took, bytes := latest.at.Sub(before.at), latest.bytes-before.bytes
	if before.at.IsZero() || took <= 0 || bytes <= 0 {
		return kept
	}
	lasts := time.Duration(float64(took) * float64(limit) / float64(bytes))
	if kept == 0 {
		return lasts
	}
	return min(kept, lasts)
}
