package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"multiactive.dev/operator/internal/storage"
)

// writeCanary is atomic. A sequence that is not above the last is replaced by the next one.
var writeCanary = redis.NewScript(`
local sequence = tonumber(ARGV[1])
local last = redis.call('LINDEX', KEYS[1], 0)
if last then
	sequence = math.max(sequence, tonumber(string.match(last, '^%d+')) + 1)
end
redis.call('LPUSH', KEYS[1], string.format('%.0f', sequence) .. ' ' .. ARGV[2])
redis.call('LTRIM', KEYS[1], 0, tonumber(ARGV[4]) - 1)
redis.call('ZADD', KEYS[2], sequence, ARGV[3])
return sequence`)

// Beat implements store.Server. It asks the server once, but when a region is new, or the server's role.
func (s *Server) Beat(ctx context.Context, mine storage.Canary) ([]storage.Canary, error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	others, err := s.beat(ctx, mine)
	return others, s.explain("writing and reading canaries", err)
}

func (s *Server) beat(ctx context.Context, mine storage.Canary) ([]storage.Canary, error) {
	s.mutex.Lock()
	known, replica := slices.Clone(s.regions), s.replica
	s.mutex.Unlock()
	if replica {
		// It may have become the primary.
		role, err := s.client.Do(ctx, "ROLE").Slice()
		if err != nil {
			return nil, err
		}
		replica = len(role) > 0 && role[0] != "master"
	}
	if !replica {
		err := s.write(ctx, mine)
		replica = says(err, "READONLY")
		if err != nil && !says(err, "READONLY", "NOREPLICAS") {
			return nil, err
		}
	}
	regions, canaries, err := readCanaries(ctx, s.client, known)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(regions, known) {
		if _, canaries, err = readCanaries(ctx, s.client, regions); err != nil {
			return nil, err
		}
	}
	s.mutex.Lock()
	s.regions, s.replica = regions, replica
	s.mutex.Unlock()
	return slices.DeleteFunc(canaries, func(c storage.Canary) bool { return c.Region == mine.Region }), nil
}

func (s *Server) write(ctx context.Context, mine storage.Canary) error {
	return writeCanary.Run(ctx, s.client, []string{canaryKey + mine.Region, canariesKey},
		mine.Sequence, mine.Time.UnixMicro(), mine.Region, storage.KeptCanaries).Err()
}

// readCanaries reads which regions have canaries, and those of the regions that are known already.
func readCanaries(ctx context.Context, client *redis.Client, known []string) (regions []string, canaries []storage.Canary, err error) {
	pipe := client.Pipeline()
	members := pipe.ZRange(ctx, canariesKey, 0, -1)
	lists := make([]*redis.StringSliceCmd, len(known))
	for i, region := range known {
		lists[i] = pipe.LRange(ctx, canaryKey+region, 0, -1)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, nil, err
	}
	regions = members.Val()
	slices.Sort(regions)
	for i, region := range known {
		if list := lists[i].Val(); len(list) > 0 {
			canary, err := parseCanary(region, list)
			if err != nil {
				return nil, nil, err
			}
			canaries = append(canaries, canary)
		}
	}
	return regions, canaries, nil
}

// parseCanary reads the list of a region's canaries. Those before the first that is there were written before
// the link began.
func parseCanary(region string, list []string) (storage.Canary, error) {
	newest, at, err := parseEntry(list[0])
	if err != nil {
		return storage.Canary{}, fmt.Errorf("reading the canary of region %s: %w", region, err)
	}
	oldest, _, err := parseEntry(list[len(list)-1])
	if err != nil {
		return storage.Canary{}, fmt.Errorf("reading the canary of region %s: %w", region, err)
	}
	return storage.Canary{Region: region, Sequence: newest, Time: at, Missing: newest - oldest + 1 - int64(len(list))}, nil
}

func parseEntry(entry string) (sequence int64, at time.Time, err error) {
	first, second, _ := strings.Cut(entry, " ")
	sequence, err = strconv.ParseInt(first, 10, 64)
	micro, wrong := strconv.ParseInt(second, 10, 64)
	if err := errors.Join(err, wrong); err != nil {
		return 0, time.Time{}, fmt.Errorf("entry %q is none of the operator's: %w", entry, err)
	}
	return sequence, time.UnixMicro(micro).UTC(), nil
}
