package mysql

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
	"time"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// trimEvery so many beats, rows of old canaries are deleted.
const trimEvery = 32

const (
	// A sequence that the server has already, after a restart of the operator, gives way to the next one: a row
	// that was written twice would stop links. A server that is read-only is not written to, though the operator may.
	writeCanary = "INSERT INTO " + store.Schema + ".canary (region, sequence, written_at, origin) " +
		"SELECT ?, GREATEST(?, COALESCE(MAX(sequence), 0) + 1), ?, %s FROM " + store.Schema + ".canary WHERE region = ? " +
		"HAVING NOT @@GLOBAL.read_only"
	readCanaries = "SELECT c.region, c.sequence, c.written_at, n.last - n.oldest + 1 - n.kept FROM " + store.Schema + ".canary c JOIN " +
		"(SELECT region, MAX(sequence) AS last, MIN(sequence) AS oldest, COUNT(*) AS kept FROM " + store.Schema + ".canary GROUP BY region) n " +
		"ON n.region = c.region AND n.last = c.sequence WHERE c.region <> ? ORDER BY c.region"
	// Without an alias: MariaDB 10.11 asks for a database to be selected where a joined table has one.
	trimCanaries = "DELETE " + store.Schema + ".canary FROM " + store.Schema + ".canary JOIN (SELECT region, MAX(sequence) AS last FROM " +
		store.Schema + ".canary GROUP BY region) n ON n.region = canary.region AND canary.sequence <= n.last - ?"
)

// Beat implements store.Server. A sequence that is not above the region's last is replaced by the next one.
func (s *Server) Beat(ctx context.Context, mine storage.Canary) ([]storage.Canary, error) {
	spoken, err := s.dialect(ctx)
	if err != nil {
		return nil, err
	}
	var others []storage.Canary
	// One round trip: every store is asked once a second.
	both := strings.Replace(writeCanary, "%s", spoken.origin(), 1) + "; " + readCanaries
	args := []any{mine.Region, mine.Sequence, mine.Time.UnixMicro(), mine.Region, mine.Region}
	if s.mute() {
		both, args = readCanaries, args[4:]
	}
	err = s.beats.ask(ctx, both, args, func(row []driver.Value) error {
		region, isText := row[0].([]byte)
		sequence, isCount := row[1].(int64)
		at, isTime := row[2].(int64)
		missing, isNumber := row[3].(int64)
		if !isText || !isCount || !isTime || !isNumber {
			return fmt.Errorf("a canary is %v, want a text and three numbers", row)
		}
		others = append(others, storage.Canary{Region: string(region), Sequence: sequence, Time: time.UnixMicro(at).UTC(), Missing: missing})
		return nil
	})
	if err != nil {
		return nil, s.explain(ctx, "writing and reading canaries", err)
	}
	return others, s.trim(ctx)
}

// trim deletes old canaries, on this server alone.
func (s *Server) trim(ctx context.Context) error {
	s.mu.Lock()
	due := s.beaten%trimEvery == 0
	s.beaten++
	s.mu.Unlock()
	if !due {
		return nil
	}
	_, err := s.local.exec(ctx, trimCanaries, storage.KeptCanaries)
	return s.explain(ctx, "deleting old canaries", err)
}
