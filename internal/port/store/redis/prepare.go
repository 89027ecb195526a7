package redis

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"multiactive.dev/operator/internal/storage"
)

// replicaRules are what the user that others replicate as may do: what a replica needs (manual, ACL, "ACL rules for
// Sentinel and Replicas"), and what a link that is to be made asks for.
var replicaRules = []string{"on", "resetkeys", "~" + "multiactive:*", "resetchannels", "-@all", "+psync", "+replconf", "+ping", "+info", "+get", "+lrange", "+zrange"}

// Prepare implements store.Server.
func (s *Server) Prepare(ctx context.Context, w storage.Want) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	return s.explain("preparing the server", s.prepare(ctx, w))
}

func (s *Server) prepare(ctx context.Context, w storage.Want) error {
	ready, err := s.userReady(ctx)
	if err != nil {
		return err
	}
	if !ready {
		args := []any{"ACL", "SETUSER", s.options.Replication.User, "resetpass", "#" + passwordHash(s.options.Replication.Password)}
		for _, rule := range replicaRules {
			args = append(args, rule)
		}
		if err := s.client.Do(ctx, args...).Err(); err != nil {
			return err
		}
		if err := s.persist(ctx); err != nil {
			return err
		}
	}
	if named, err := s.lineageReady(ctx, w); err != nil || named {
		return err
	}
	name := make([]byte, 16)
	_, _ = rand.Read(name) // never fails (crypto/rand)
	err = s.client.SetNX(ctx, lineageKey, hex.EncodeToString(name), 0).Err()
	if says(err, "READONLY", "NOREPLICAS") {
		return nil // it is not the primary yet
	}
	return err
}

// passwordHash is what the server keeps of a password: the password itself is in no command, and so in no log.
func passwordHash(password string) string {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:])
}

// userReady tells whether other servers can log in with the password that is wanted, and no other.
func (s *Server) userReady(ctx context.Context) (bool, error) {
	if s.options.Replication.User == "" || s.options.Replication.User == s.options.Admin.User {
		return true, nil
	}
	answer, err := s.client.Do(ctx, "ACL", "GETUSER", s.options.Replication.User).Slice()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var enabled, known, allowed bool
	for i := 0; i+1 < len(answer); i += 2 {
		values := texts(answer[i+1])
		switch answer[i] {
		case "flags":
			enabled = slices.Contains(values, "on")
		case "passwords":
			known = slices.Equal(values, []string{passwordHash(s.options.Replication.Password)})
		case "commands":
			allowed = len(values) == 1 && strings.Contains(values[0], "+psync") && strings.Contains(values[0], "+zrange")
		}
	}
	return enabled && known && allowed, nil
}

// texts are the texts of an answer that is one, or a list of them.
func texts(answer any) []string {
	switch value := answer.(type) {
	case string:
		return []string{value}
	case []any:
		var all []string
		for _, one := range value {
			all = append(all, texts(one)...)
		}
		return all
	}
	return nil
}

// lineageReady tells whether the data have a name, which a primary gives them.
func (s *Server) lineageReady(ctx context.Context, w storage.Want) (bool, error) {
	if !w.Writable {
		return true, nil
	}
	n, err := s.client.Exists(ctx, lineageKey).Result()
	return n > 0, err
}

// persist writes settings and users to where the server reads them when it starts. A server without a file
// forgets them, which is one of its findings.
func (s *Server) persist(ctx context.Context) error {
	settings, err := s.client.ConfigGet(ctx, "aclfile").Result()
	if err != nil {
		return err
	}
	if settings["aclfile"] != "" {
		if err := s.client.Do(ctx, "ACL", "SAVE").Err(); err != nil {
			return err
		}
	}
	err = s.client.ConfigRewrite(ctx).Err()
	if err != nil && strings.Contains(err.Error(), "without a config file") {
		return nil
	}
	return err
}
