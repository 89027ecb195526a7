package etcdstore

import (
	"context"
	"fmt"
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
	recorderRead  = 10 * time.Second
)

// Revision is one transaction that changed the store.
type Revision struct {
	Number int64
	// At is when it was heard of.
	At time.Time
	// Keys that it wrote or deleted, without the prefix, sorted; those that it deleted begin with "-".
	Keys []string
}

// Recorder keeps the revisions of a store from its start on, whichever members live.
type Recorder struct {
	client *clientv3.Client
	prefix string
	cancel context.CancelFunc
	done   chan struct{}

	mu        sync.Mutex
	revisions []Revision
}

// Record records what is written below the prefix from now on, until Close. endpoints are all members'.
func Record(ctx context.Context, endpoints []string, prefix string) (*Recorder, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, DialTimeout: recorderDial, DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: time.Second,
		Logger: zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("recording the store %v: %w", endpoints, err)
	}
	read, cancel := context.WithTimeout(ctx, recorderRead)
	defer cancel()
	now, err := client.Get(read, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		_ = client.Close() // it could not be used
		return nil, fmt.Errorf("recording the store %v: %w", endpoints, err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := &Recorder{client: client, prefix: prefix, cancel: stop, done: make(chan struct{})}
	go r.run(running, now.Header.GetRevision()+1)
	return r, nil
}

// run watches, and goes on after what it had when a watch ends.
func (r *Recorder) run(ctx context.Context, from int64) {
	defer close(r.done)
	for ctx.Err() == nil {
		attempt, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
		for answer := range r.client.Watch(attempt, r.prefix, clientv3.WithPrefix(), clientv3.WithRev(from)) {
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

// note keeps whole revisions, and returns the number of the last.
func (r *Recorder) note(at time.Time, events []*clientv3.Event) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var last int64
	for _, e := range events {
		key := string(e.Kv.GetKey())[len(r.prefix):]
		if e.Type == clientv3.EventTypeDelete {
			key = "-" + key
		}
		if last != e.Kv.GetModRevision() {
			last = e.Kv.GetModRevision()
			r.revisions = append(r.revisions, Revision{Number: last, At: at})
		}
		current := &r.revisions[len(r.revisions)-1]
		current.Keys = append(current.Keys, key)
		slices.Sort(current.Keys)
	}
	return last
}

// Between returns the revisions that were heard of from since until until.
func (r *Recorder) Between(since, until time.Time) []Revision {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Revision
	for _, v := range r.revisions {
		if !v.At.Before(since) && !v.At.After(until) {
			out = append(out, v)
		}
	}
	return out
}

// Close ends the recording; what was recorded stays.
func (r *Recorder) Close() error {
	r.cancel()
	<-r.done
	if err := r.client.Close(); err != nil {
		return fmt.Errorf("ending the recording: %w", err)
	}
	return nil
}
