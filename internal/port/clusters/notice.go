package clusters

import (
	"context"
	"errors"
	"net/http"
)

// noticing tells of requests that got no answer. An informer retries a refused connection by
// itself, without telling its error handler.
type noticing struct {
	next   http.RoundTripper
	failed func()
}

// RoundTrip implements http.RoundTripper.
func (n noticing) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := n.next.RoundTrip(r)
	if err != nil && !errors.Is(r.Context().Err(), context.Canceled) {
		n.failed()
	}
	return answer, err
}
