// Package writers are the users of the register: they append to keys through the gateways of all regions, and remember every
// answer. They know addresses, and nothing of the operator but the reason that a gateway gives for a refusal.
package writers

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"multiactive.dev/operator/internal/playground/chaos/history"
)

const (
	// patience is how long a writer waits for an answer; a gateway holds a request for two seconds while
	// owners change.
	patience = 4 * time.Second
	maxBody  = 64 << 10
	// ByService is the reason of what was refused by the service, not by a gateway.
	ByService = "by the service"
)

// Endpoint is a region's address.
type Endpoint struct{ Region, URL string }

// Writers append to keys until End.
type Writers struct {
	endpoints []Endpoint
	pause     time.Duration
	stop      context.CancelFunc
	done      sync.WaitGroup

	mu   sync.Mutex
	ops  []history.Op
	last map[string]time.Duration // when the latest acknowledged write of a key was asked for
	keys []string
}

// Write begins to write to keys that nobody has used before, for they have the run's number: half of them are written
// strictly, and every third has two writers. Each pauses for about that long between two writes.
func Write(ctx context.Context, run int, endpoints []Endpoint, keys int, pause time.Duration) *Writers {
	ctx, stop := context.WithCancel(ctx)
	w := &Writers{endpoints: endpoints, pause: pause, stop: stop, last: map[string]time.Duration{}}
	for i := range keys {
		key, strict := fmt.Sprintf("r%d-%c%02d", run, "ts"[i%2], i), i%2 == 1
		w.keys = append(w.keys, key)
		for n := range 1 + (i%3)/2 {
			w.done.Go(func() { w.append(ctx, key, strict, i+n, fmt.Sprintf("%s.%c", key, 'a'+n)) })
		}
	}
	return w
}

// End waits until nobody writes any more, and returns all that was written.
func (w *Writers) End() []history.Op {
	w.stop()
	w.done.Wait()
	return w.ops
}

// append is one writer. It asks the same region until that fails it, then the next.
func (w *Writers) append(ctx context.Context, key string, strict bool, first int, name string) {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	at := first
	for n := 1; ctx.Err() == nil; n++ {
		to := w.endpoints[at%len(w.endpoints)]
		// A request that has been sent is waited for: whether it happened should be known.
		op := ask(context.WithoutCancel(ctx), client, to, history.Op{Key: key, ID: fmt.Sprintf("%s%d", name, n), Strict: strict, Asked: to.Region})
		w.mu.Lock()
		w.ops = append(w.ops, op)
		if op.Acknowledged() {
			w.last[key] = max(w.last[key], op.Call)
		}
		w.mu.Unlock()
		if !op.Acknowledged() || n%8 == 0 {
			at++
		}
		timer := time.NewTimer(w.pause/2 + rand.N(w.pause))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// ask sends one write and notes what came of it.
func ask(ctx context.Context, client *http.Client, to Endpoint, op history.Op) history.Op {
	method := http.MethodPut
	if op.Strict {
		method = http.MethodPost
	}
	op.Call = history.Now()
	request, err := http.NewRequestWithContext(ctx, method, to.URL+"/keys/"+op.Key+"?id="+op.ID, http.NoBody)
	if err != nil {
		op.Return, op.Reason = history.Now(), err.Error()
		return op
	}
	answer, err := client.Do(request)
	if err != nil {
		op.Return, op.Reason = history.Now(), "no answer"
		return op
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxBody))
	op.Return, op.Status = history.Now(), answer.StatusCode
	var refused struct{ Reason string }
	switch {
	case err != nil, op.Acknowledged() && json.Unmarshal(body, &op.Entry) != nil:
		op.Status, op.Reason = 0, "half an answer"
	case op.Acknowledged():
	case json.Unmarshal(body, &refused) == nil:
		op.Reason = refused.Reason
	default:
		op.Reason = ByService
	}
	return op
}

// Since returns the keys that have no acknowledged write which was asked for after a time.
func (w *Writers) Since(at time.Duration) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, key := range w.keys {
		if w.last[key] < at {
			out = append(out, key)
		}
	}
	return out
}
