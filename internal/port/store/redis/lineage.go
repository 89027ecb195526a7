package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// past is what a server tells of where its data come from.
type past struct {
	info               info
	lineage, lastWrite string
	canaries           map[string]storage.Canary
	shut               bool
}

func readPast(ctx context.Context, client *redis.Client, seen info) (past, error) {
	p := past{info: seen, canaries: map[string]storage.Canary{}}
	for key, into := range map[string]*string{lineageKey: &p.lineage, lastWriteKey: &p.lastWrite} {
		value, err := client.Get(ctx, key).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return p, err
		}
		*into = value
	}
	regions, _, err := readCanaries(ctx, client, nil)
	if err != nil {
		return p, err
	}
	_, canaries, err := readCanaries(ctx, client, regions)
	for _, c := range canaries {
		p.canaries[c.Region] = c
	}
	return p, err
}

// checkLoss returns a BootstrapError when the server has, or may have, what the source lacks, unless just that is accepted.
func (s *Server) checkLoss(ctx context.Context, w storage.Want, from storage.Source, seen info) error {
	client := newClient(from.Address, s.options.Replication, s.options.Timeout)
	defer func() { _ = client.Close() }()
	there, err := readInfo(ctx, client)
	if err != nil {
		return fmt.Errorf("asking the source %s: %w", from.Address, err)
	}
	if there.replica() {
		return errReplica
	}
	source, err := readPast(ctx, client, there)
	if err != nil {
		return fmt.Errorf("asking the source %s: %w", from.Address, err)
	}
	mine, err := readPast(ctx, s.client, seen)
	if err != nil {
		return err
	}
	number, err := s.toWrite(ctx)
	if err != nil {
		return err
	}
	mine.shut = number >= shutBy
	own, err := s.ownKeys(ctx, seen)
	if err != nil || own == 0 || contains(source, mine) {
		return err
	}
	loss := lossOf(w, from, source, mine, own)
	if loss.Token == from.Accepted && (mine.shut || mine.info.replica()) {
		return nil // nobody writes to it any more
	}
	return &store.BootstrapError{Bootstrap: s.bootstrap(w, from, loss)}
}

// contains tells whether a source has all that another server has.
func contains(source, mine past) bool {
	return byOffset(source.info, mine.info) || byLastWrite(source, mine) || byCanaries(source, mine)
}

// byOffset tells it by the names of logs, and how far they have been read (manual, "Replication ID explained").
func byOffset(source, mine info) bool {
	offset := mine.number("master_repl_offset")
	switch {
	case mine.replica() && mine["master_replid"] == source["master_replid"]:
		return true // it reads from the source, at another address
	case source["master_replid2"] == mine["master_replid"] && offset < source.number("second_repl_offset"):
		return true // the source was its replica, or that of its own source, and has read as much
	case !mine.replica() && mine["master_replid2"] == source["master_replid"] && offset < mine.number("second_repl_offset"):
		return true // it was the source's replica, and nothing has been written here since
	}
	return false
}

// byLastWrite: the last thing that their primary wrote before it was made read-only is on both.
func byLastWrite(source, mine past) bool {
	return mine.lastWrite != "" && mine.lastWrite == source.lastWrite && (mine.shut || mine.info.replica())
}

// byCanaries: nobody but their common primary has written to a replica, and the canaries tell which has read more.
func byCanaries(source, mine past) bool {
	if !mine.info.replica() || mine.lineage == "" || mine.lineage != source.lineage {
		return false
	}
	for region, canary := range mine.canaries {
		if canary.Sequence > source.canaries[region].Sequence {
			return false
		}
	}
	return true
}

// ownKeys counts the keys that are not the operator's.
func (s *Server) ownKeys(ctx context.Context, seen info) (int64, error) {
	all := seen.keys()
	if all == 0 {
		return 0, nil
	}
	var cursor uint64
	var operators int64
	for {
		// They are few; a server with many other keys is not searched to its end.
		keys, next, err := s.client.Scan(ctx, cursor, store.Schema+":*", 1000).Result()
		if err != nil {
			return 0, err
		}
		operators += int64(len(keys))
		if cursor = next; cursor == 0 || all > 1000 {
			return all - operators, nil
		}
	}
}

// bootstrap says what a person does who wants the server to have what the source has, in place of its own.
func (s *Server) bootstrap(w storage.Want, from storage.Source, loss storage.Loss) storage.Bootstrap {
	host, port, _ := splitAddress(s.options.Address)
	source, sourcePort, _ := splitAddress(from.Address)
	cli := fmt.Sprintf("redis-cli -h %s -p %s --user %s --askpass", shell(host), shell(port), shell(s.options.Admin.User))
	return storage.Bootstrap{
		Why: fmt.Sprintf("the server of region %s has %d keys, some of which region %s may lack: as its replica it would lose them; %s",
			w.Region, loss.Keys, from.Region, estimate(loss)),
		Commands: []string{
			cli + " --rdb multiactive-" + plain(w.Region) + ".rdb",
			cli + " REPLICAOF " + shell(source) + " " + shell(sourcePort),
		},
		Loss: &loss,
	}
}

// plain leaves of a name what can be part of a file's.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, name)
}

// shell quotes a word of a command where that is needed.
func shell(word string) string {
	if word != "" && plain(strings.ReplaceAll(word, ".", "")) == strings.ReplaceAll(word, ".", "") {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
