package chaos

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
	// byService is the reason of what was refused by the service, not by a gateway.
	byService = "by the service"
)

// endpoint is a region's address.
type endpoint struct{ region, url string }

// writers append to keys through the gateways of all regions, and remember every answer.
type writers struct {
	endpoints []endpoint
	pause     time.Duration
	stop      context.CancelFunc
	done      sync.WaitGroup

	mu   sync.Mutex
	ops  []history.Op
	last map[string]time.Duration // when the latest acknowledged write of a key was asked for
	keys []string
}

// write begins to write to keys that nobody has used before: half of them are written strictly, and every
// third has two writers.
func write(ctx context.Context, run int, endpoints []endpoint, keys int, pause time.Duration) *writers {
	ctx, stop := context.WithCancel(ctx)
	w := &writers{endpoints: endpoints, pause: pause, stop: stop, last: map[string]time.Duration{}}
	for i := range keys {
		key, strict := fmt.Sprintf("r%d-%c%02d", run, "ts"[i%2], i), i%2 == 1
		w.keys = append(w.keys, key)
		for n := range 1 + (i%3)/2 {
			w.done.Go(func() { w.append(ctx, key, strict, i+n, fmt.Sprintf("%s.%c", key, 'a'+n)) })
		}
	}
	return w
}

// end waits until nobody writes any more, and returns all that was written.
func (w *writers) end() []history.Op {
	w.stop()
	w.done.Wait()
	return w.ops
}

// append is one writer. It asks the same region until that fails it, then the next.
func (w *writers) append(ctx context.Context, key string, strict bool, first int, name string) {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	at := first
	for n := 1; ctx.Err() == nil; n++ {
		to := w.endpoints[at%len(w.endpoints)]
		// A request that has been sent is waited for: whether it happened should be known.
		op := ask(context.WithoutCancel(ctx), client, to, history.Op{Key: key, ID: fmt.Sprintf("%s%d", name, n), Strict: strict, Asked: to.region})
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
func ask(ctx context.Context, client *http.Client, to endpoint, op history.Op) history.Op {
	method := http.MethodPut
	if op.Strict {
		method = http.MethodPost
	}
	op.Call = history.Now()
	request, err := http.NewRequestWithContext(ctx, method, to.url+"/keys/"+op.Key+"?id="+op.ID, http.NoBody)
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
		op.Reason = byService
	}
	return op
}

// since returns the keys that have no acknowledged write which was asked for after a time.
func (w *writers) since(at time.Duration) []string {
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
