package redis

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// A primary has no setting that makes it read-only. What does it is min-replicas-to-write (manual, "Replication"): a
// number of replicas that nobody has, so that every command that writes is refused at once (NOREPLICAS), also in
// scripts and transactions. Replicas go on reading, keys expire, and the setting outlives a restart. CLIENT PAUSE
// would hold commands instead of refusing them, for a time, and forget that with a restart.
const (
	// shutBy is added to the setting's own value, which is put back later.
	shutBy = 1_000_000
	// Without this one, which is a time in seconds, the number does not count. It is the default.
	defaultLag = 10

	replicasToWrite = "min-replicas-to-write"
	replicasMaxLag  = "min-replicas-max-lag"
)

// SetWritable implements store.Server. With true a replica becomes the primary (REPLICAOF NO ONE). With false nothing
// has to be waited for: Redis carries out one command, script or transaction after the other.
func (s *Server) SetWritable(ctx context.Context, writable bool) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	if writable {
		return s.explain("making the server writable", s.open(ctx))
	}
	return s.explain("making the server read-only", s.shut(ctx))
}

func (s *Server) open(ctx context.Context) error {
	seen, err := readInfo(ctx, s.client)
	if err != nil {
		return err
	}
	number, err := s.toWrite(ctx)
	if err != nil || number < shutBy && !seen.replica() {
		return err
	}
	if seen.replica() {
		if err := s.client.Do(ctx, "REPLICAOF", "NO", "ONE").Err(); err != nil {
			return err
		}
	}
	if number >= shutBy {
		if err := s.client.ConfigSet(ctx, replicasToWrite, strconv.FormatInt(number-shutBy, 10)).Err(); err != nil {
			return err
		}
		// What comes now is not on those who have the last write.
		if !seen.replica() {
			if err := s.client.Del(ctx, lastWriteKey).Err(); err != nil {
				return err
			}
		}
	}
	return s.persist(ctx)
}

func (s *Server) toWrite(ctx context.Context) (int64, error) {
	settings, err := s.client.ConfigGet(ctx, replicasToWrite).Result()
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(settings[replicasToWrite], 10, 64)
}

// shut writes a name that nobody else has as the last thing before the setting is there: whoever has the name has
// everything that was written.
func (s *Server) shut(ctx context.Context) error {
	seen, err := readInfo(ctx, s.client)
	if err != nil {
		return err
	}
	number, err := s.toWrite(ctx)
	if err != nil || number >= shutBy {
		return err
	}
	if err := s.ensureLag(ctx); err != nil {
		return err
	}
	name := make([]byte, 16)
	_, _ = rand.Read(name) // never fails (crypto/rand)
	_, err = s.client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		if !seen.replica() && seen.keys() > 0 {
			pipe.Set(ctx, lastWriteKey, hex.EncodeToString(name), 0)
		}
		pipe.ConfigSet(ctx, replicasToWrite, strconv.FormatInt(number+shutBy, 10))
		return nil
	})
	if says(err, "READONLY", "NOREPLICAS", "EXECABORT") {
		return errors.Join(err, errors.New("the server's role changed meanwhile; try again"))
	}
	if err != nil {
		return err
	}
	return s.persist(ctx)
}

func (s *Server) ensureLag(ctx context.Context) error {
	settings, err := s.client.ConfigGet(ctx, replicasMaxLag).Result()
	if err != nil || settings[replicasMaxLag] != "0" {
		return err
	}
	return s.client.ConfigSet(ctx, replicasMaxLag, strconv.Itoa(defaultLag)).Err()
}
