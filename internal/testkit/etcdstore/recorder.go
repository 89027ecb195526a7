package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Times of a Recorder's client: it must outlast the loss of a member, and elections.
const (
	recorderDial  = 2 * time.Second
	recorderPause = 100 * time.Millisecond
	recorderRead  = 5 * time.Second
)

// Revision is one transaction that changed the store.
type Revision struct {
	Number int64
	// At is when it was heard of.
	At time.Time
	// Keys that it wrote or deleted, without the prefix, sorted; those that it deleted begin with "-".
	Keys []string
}

// Recorder keeps the revisions of a store from its start on, whichever members live. It asks each member by
// itself: a revision is heard of from the first that tells it, not late because another is frozen.
type Recorder struct {
	clients []*clientv3.Client
	prefix  string
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu        sync.Mutex
	revisions map[int64]Revision
}

// Record records what is written below the prefix from now on, until Close. endpoints are all members'.
func Record(ctx context.Context, endpoints []string, prefix string) (*Recorder, error) {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := &Recorder{prefix: prefix, cancel: stop, revisions: map[int64]Revision{}}
	for _, endpoint := range endpoints {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: recorderDial, Logger: zap.NewNop()})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("recording the store at %s: %w", endpoint, err), r.Close())
		}
		r.clients = append(r.clients, client)
	}
	from, err := r.present(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("recording the store %v: %w", endpoints, err), r.Close())
	}
	for _, client := range r.clients {
		r.running.Go(func() { r.run(running, client, from+1) })
	}
	return r, nil
}

// present returns the store's revision, from the first member that answers.
func (r *Recorder) present(ctx context.Context) (revision int64, err error) {
	for _, client := range r.clients {
		read, cancel := context.WithTimeout(ctx, recorderRead)
		var now *clientv3.GetResponse
		now, err = client.Get(read, r.prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
		cancel()
		if err == nil {
			return now.Header.GetRevision(), nil
		}
	}
	return 0, err
}

// run watches at one member, and goes on after what it had when a watch ends.
func (r *Recorder) run(ctx context.Context, client *clientv3.Client, from int64) {
	for ctx.Err() == nil {
		attempt, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
		for answer := range client.Watch(attempt, r.prefix, clientv3.WithPrefix(), clientv3.WithRev(from)) {
			if answer.Err() != nil {
				break
			}
			from = max(from, r.note(time.Now(), answer.Events)+1)
		}
		cancel()
		select {
		case <-ctx.Done():
		case <-time.After(recorderPause):
		}
	}
}

// note keeps whole revisions, as they were first heard of, and returns the number of the last.
func (r *Recorder) note(at time.Time, events []*clientv3.Event) (last int64) {
	fresh := map[int64]Revision{}
	for _, e := range events {
		key := string(e.Kv.GetKey())[len(r.prefix):]
		if e.Type == clientv3.EventTypeDelete {
			key = "-" + key
		}
		last = e.Kv.GetModRevision()
		revision := fresh[last]
		revision.Number, revision.At, revision.Keys = last, at, append(revision.Keys, key)
		fresh[last] = revision
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for number, revision := range fresh {
		if _, known := r.revisions[number]; !known {
			slices.Sort(revision.Keys)
			r.revisions[number] = revision
		}
	}
	return last
}

// Between returns the revisions that were heard of from since until until, in order.
func (r *Recorder) Between(since, until time.Time) []Revision {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Revision
	for _, number := range slices.Sorted(maps.Keys(r.revisions)) {
		if v := r.revisions[number]; !v.At.Before(since) && !v.At.After(until) {
			out = append(out, v)
		}
	}
	return out
}

// Close ends the recording; what was recorded stays.
func (r *Recorder) Close() error {
	r.cancel()
	r.running.Wait()
	var failures []error
	for _, client := range r.clients {
		failures = append(failures, client.Close())
	}
	if err := errors.Join(failures...); err != nil {
		return fmt.Errorf("ending the recording: %w", err)
	}
	return nil
}
