package redis

import (
	"context"
	"errors"
	"fmt"
	"net"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// pausedUser is whom a replica logs in as whose link is paused. Nobody has the name, so it stays where it is, with
// its position. REPLICAOF NO ONE would give the position up, and make it a primary.
const pausedUser = store.Schema + "-paused"

// Connect implements store.Server. Unless the server reads from the address already, it asks the source whether that has
// everything which the server would lose; if it cannot be asked, nothing is done. When the source has not kept what
// comes next, Redis copies everything by itself, which then loses nothing.
func (s *Server) Connect(ctx context.Context, w storage.Want, from storage.Source) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	return s.explain("connecting to region "+from.Region, s.connect(ctx, w, from))
}

func (s *Server) connect(ctx context.Context, w storage.Want, from storage.Source) error {
	host, port, err := splitAddress(from.Address)
	if err != nil {
		return err
	}
	if w.Mesh {
		return errors.New("a server of Redis has one source: declare PrimaryReplica")
	}
	seen, err := readInfo(ctx, s.client)
	if err != nil {
		return err
	}
	there := seen.replica() && seen.source() == net.JoinHostPort(host, port)
	if !there {
		if err := s.checkLoss(ctx, w, from, seen); err != nil {
			return err
		}
	}
	// A link that is down logs in anew by itself every second.
	if err := s.authenticate(ctx); err != nil {
		return err
	}
	if !there {
		if err := s.client.Do(ctx, "REPLICAOF", host, port).Err(); err != nil {
			return err
		}
	}
	return s.persist(ctx)
}

// authenticate sets whom the server logs in at its source as.
func (s *Server) authenticate(ctx context.Context) error {
	wanted := map[string]string{"masteruser": s.options.Replication.User, "masterauth": s.options.Replication.Password, "replica-read-only": "yes"}
	if s.options.Replication.TLS != nil {
		wanted["tls-replication"] = "yes"
	}
	for name, value := range wanted {
		now, err := s.client.ConfigGet(ctx, name).Result()
		if err != nil {
			return err
		}
		if now[name] == value {
			continue
		}
		if err := s.client.ConfigSet(ctx, name, value).Err(); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	return nil
}

// Pause implements store.Server: the server cannot log in at its source any more.
func (s *Server) Pause(ctx context.Context, from string) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	return s.explain("pausing the link from region "+from, s.pause(ctx))
}

func (s *Server) pause(ctx context.Context) error {
	seen, err := readInfo(ctx, s.client)
	if err != nil || !seen.replica() {
		return err
	}
	if err := s.client.ConfigSet(ctx, "masteruser", pausedUser).Err(); err != nil {
		return err
	}
	// It would go on reading until it has to log in again.
	if err := s.client.ClientKillByFilter(ctx, "TYPE", "master").Err(); err != nil {
		return err
	}
	return s.persist(ctx)
}

// Disconnect implements store.Server. The server keeps its data, and stays read-only.
func (s *Server) Disconnect(ctx context.Context, _ storage.Want, from string) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	return s.explain("removing the link from region "+from, s.disconnect(ctx))
}

func (s *Server) disconnect(ctx context.Context) error {
	seen, err := readInfo(ctx, s.client)
	if err != nil || !seen.replica() {
		return err
	}
	if err := s.shut(ctx); err != nil {
		return err
	}
	if err := s.client.Do(ctx, "REPLICAOF", "NO", "ONE").Err(); err != nil {
		return err
	}
	return s.persist(ctx)
}

// errReplica says that a source is itself a replica.
var errReplica = errors.New("the source is a replica itself; it must be made writable first")
