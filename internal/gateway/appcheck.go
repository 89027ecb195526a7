package gateway

import (
	"context"
	"net"
	"net/url"
	"sync"
	"time"
)

const (
	// appCheckEvery is for how long an answer about the application counts: however many ask, it gets
	// one connection in that time.
	appCheckEvery = time.Second
	// appCheckTimeout bounds one connection; the other regions' agents wait for a second themselves.
	appCheckTimeout = 500 * time.Millisecond
)

// appCheck knows whether the local application takes connections. It sends nothing there: the
// application's own readiness decides whether its Service has somebody who takes them.
type appCheck struct {
	clock Clock

	mu sync.Mutex
	// address that was looked at, when, and whether it took the connection.
	address string
	at      time.Time
	takes   bool
}

// look reports whether the application takes connections now, or did a moment ago. Whoever comes
// while somebody looks waits for the answer.
func (c *appCheck) look(ctx context.Context, upstream *url.URL) bool {
	address := dialAddress(upstream)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.address != address || c.clock.Now().Sub(c.at) >= appCheckEvery {
		c.takes = connects(ctx, address)
		c.address, c.at = address, c.clock.Now()
	}
	return c.takes
}

// connects opens a connection and closes it. Who asked may go meanwhile: others get the answer too.
func connects(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), appCheckTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	_ = conn.Close() // it has served its purpose
	return true
}

// dialAddress is where a base URL leads.
func dialAddress(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}
