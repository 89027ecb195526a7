// Package load is the users of the example service: they register, log in, read their profile and
// transfer money through the regions' gateways, and remember every answer. It is the only part of the
// playground that knows the example.
//
// It must never know more than a user's client could: addresses, and how to ask again elsewhere. The
// home of a user is computed to check what is seen, never to choose an address.
package load

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"k8s.io/utils/clock"
)

const (
	// tryTimeout bounds one request to one endpoint.
	tryTimeout = 2 * time.Second
	// patience is how long a client goes on asking the endpoints that it knows.
	patience = 5 * time.Second
	// pause between two rounds of all endpoints.
	pause    = 50 * time.Millisecond
	maxBody  = 64 << 10
	password = "correct horse battery"
	// sessionCookie is where the example keeps its users' sessions.
	sessionCookie = "sid"
)

// errNobody is the cause when no endpoint served a request.
var errNobody = errors.New("no endpoint served it")

// Endpoint is a region's address.
type Endpoint struct{ Region, URL string }

// User is one user.
type User struct {
	Phone string
	// Home is the region that the user's key belongs to.
	Home string
}

// Answer is what one operation came to.
type Answer struct {
	// Region that answered last; empty when none did.
	Region string
	// Status of the last answer; 0 without one.
	Status int
	// Attempts it took; each endpoint that was asked counts.
	Attempts int
	// FirstFailure is when the first attempt failed; zero when none did.
	FirstFailure time.Time
	// Began and Took of the operation as a whole.
	Began time.Time
	Took  time.Duration
	Stale bool
	// Source is the region whose application answered, when it was not the one of the endpoint.
	Source string
	Body   []byte
	// session is the cookie that came with it, as a browser would send it back.
	session string
	// Err is nil when an endpoint answered below 500.
	Err error
}

// Client is one user's client: it knows endpoints and asks the next one when one fails.
type Client struct {
	// Patience with a transfer, which a gateway keeps waiting while owners change. Default: as with any other request.
	Patience time.Duration

	http  *http.Client
	clock clock.WithTicker
}

// NewClient returns a client whose connections are its own.
func NewClient(c clock.WithTicker) *Client {
	return &Client{clock: c, http: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: 10 * time.Second},
	}}
}

// Login logs the user in at the first endpoint that serves it, and returns the session's cookie: gateways find the
// session of another region by it. The token in the body is not theirs to see, and is known in its region alone.
func (c *Client) Login(ctx context.Context, u User, endpoints []Endpoint) (Answer, string) {
	body := map[string]string{"phone": u.Phone, "password": password}
	a := c.anywhere(ctx, endpoints, request{method: http.MethodPost, path: "/v1/login", phone: u.Phone, body: body})
	switch {
	case a.Err != nil:
	case a.Status != http.StatusOK:
		a.Err = fmt.Errorf("login answered %d: %s", a.Status, a.Body)
	case a.session == "":
		a.Err = fmt.Errorf("login answered without the cookie %s: %s", sessionCookie, a.Body)
	}
	return a, a.session
}

// Register creates the user's account at the first endpoint that can be reached; an endpoint that
// answers is not asked again, whatever it says.
func (c *Client) Register(ctx context.Context, u User, endpoints []Endpoint, language string) (a Answer) {
	body := map[string]string{"phone": u.Phone, "password": password, "name": "User " + u.Phone}
	began := c.clock.Now()
	for i, e := range endpoints {
		a = c.once(ctx, e, request{method: http.MethodPost, path: "/v1/accounts", phone: u.Phone, body: body, language: language})
		a.Began, a.Took, a.Attempts = began, c.clock.Since(began), i+1
		if a.Status != 0 {
			break
		}
	}
	return a
}

// Profile reads the user's profile.
func (c *Client) Profile(ctx context.Context, u User, at Endpoint, session string) Answer {
	return c.once(ctx, at, request{method: http.MethodGet, path: "/v1/profile", phone: u.Phone, session: session})
}

// Transfer sends an amount to another user.
func (c *Client) Transfer(ctx context.Context, from, to User, at Endpoint, session, id string) Answer {
	body := map[string]any{"from": from.Phone, "to": to.Phone, "amount": 1}
	return c.once(ctx, at, request{method: http.MethodPost, path: "/v1/transfers", phone: from.Phone, session: session, body: body, idempotency: id, within: c.Patience})
}

// Deferred reads the status page of a request that was accepted for later.
func (c *Client) Deferred(ctx context.Context, u User, at Endpoint, id string) Answer {
	return c.once(ctx, at, request{method: http.MethodGet, path: "/.multiactive/deferred/" + id, phone: u.Phone})
}

type request struct {
	method, path, phone, session, language, idempotency string
	body                                                any
	// within is how long it may take. Default: tryTimeout.
	within time.Duration
}

// anywhere asks the endpoints in turn until one serves the request or patience ends.
func (c *Client) anywhere(ctx context.Context, endpoints []Endpoint, r request) Answer {
	began := c.clock.Now()
	var total Answer
	for {
		for _, e := range endpoints {
			a := c.once(ctx, e, r)
			a.Began, a.Attempts, a.FirstFailure = began, total.Attempts+1, total.FirstFailure
			a.Took = c.clock.Since(began)
			if a.Err == nil {
				return a
			}
			if a.FirstFailure.IsZero() {
				a.FirstFailure = c.clock.Now()
			}
			total = a
		}
		if ctx.Err() != nil || c.clock.Since(began) > patience {
			total.Err = fmt.Errorf("%w: %w", errNobody, total.Err)
			return total
		}
		timer := c.clock.NewTimer(pause)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// once asks one endpoint.
func (c *Client) once(ctx context.Context, e Endpoint, r request) (a Answer) {
	a = Answer{Began: c.clock.Now(), Attempts: 1}
	defer func() {
		a.Took = c.clock.Since(a.Began)
		if a.Err != nil {
			a.FirstFailure = c.clock.Now()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(r.within, tryTimeout))
	defer cancel()
	content, err := json.Marshal(r.body)
	if err != nil {
		a.Err = err
		return a
	}
	var body io.Reader = http.NoBody
	if r.body != nil {
		body = bytes.NewReader(content)
	}
	q, err := http.NewRequestWithContext(ctx, r.method, e.URL+r.path, body)
	if err != nil {
		a.Err = err
		return a
	}
	for name, value := range map[string]string{
		"X-User-Phone": r.phone, "Accept-Language": r.language, "Idempotency-Key": r.idempotency,
	} {
		if value != "" {
			q.Header.Set(name, value)
		}
	}
	if r.body != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	if r.session != "" {
		q.Header.Set("Cookie", sessionCookie+"="+r.session)
	}
	answer, err := c.http.Do(q)
	if err != nil {
		a.Err = err
		return a
	}
	defer func() { _ = answer.Body.Close() }()
	a.Region, a.Status, a.Stale = e.Region, answer.StatusCode, answer.Header.Get("Multiactive-Stale") == "true"
	a.Source = answer.Header.Get("Multiactive-Source")
	for _, c := range answer.Cookies() {
		if c.Name == sessionCookie {
			a.session = c.Value
		}
	}
	if a.Body, err = io.ReadAll(io.LimitReader(answer.Body, maxBody)); err != nil {
		a.Err = err
	} else if answer.StatusCode >= http.StatusInternalServerError {
		a.Err = fmt.Errorf("%s answered %d: %s", e.Region, a.Status, a.Body)
	}
	return a
}
