package coordination

import (
	"context"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// StallFirstWatch has the first watch say nothing, whichever member it is of. It is for before there is one.
func (s *Store) StallFirstWatch() {
	var begun atomic.Bool
	for _, one := range s.members.all {
		one.client.Watcher = &stalls{one.client.Watcher, &begun}
	}
}

type stalls struct {
	clientv3.Watcher
	begun *atomic.Bool
}

func (w *stalls) Watch(ctx context.Context, key string, options ...clientv3.OpOption) clientv3.WatchChan {
	if w.begun.Swap(true) {
		return w.Watcher.Watch(ctx, key, options...)
	}
	answers := make(chan clientv3.WatchResponse)
	context.AfterFunc(ctx, func() { close(answers) })
	return answers
}
