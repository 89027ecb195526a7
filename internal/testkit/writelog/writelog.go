// Package writelog notes what a client writes to an API server.
package writelog

import (
	"net/http"
	"sync"
)

// Log notes every request that is not a read. Its zero value is empty.
type Log struct {
	mu   sync.Mutex
	list []string
}

// Wrap notes the requests that are sent by next; it is for rest.Config.Wrap.
func (l *Log) Wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodGet {
			l.mu.Lock()
			l.list = append(l.list, r.Method+" "+r.URL.Path)
			l.mu.Unlock()
		}
		return next.RoundTrip(r)
	})
}

// Count counts the writes, each a method and a path, by what key makes of them; false: it does not count.
func (l *Log) Count(key func(write string) (string, bool)) map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]int{}
	for _, write := range l.list {
		if what, counts := key(write); counts {
			out[what]++
		}
	}
	return out
}

// Take returns the writes since it was called last.
func (l *Log) Take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.list
	l.list = nil
	return out
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
