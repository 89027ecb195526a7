package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"multiactive.dev/operator/internal/routing"
)

// Limits of the agent's HTTP server: no client holds a connection by being slow.
const (
	readHeaderTimeout = 5 * time.Second
	answerTimeout     = routing.MaxWait + 5*time.Second
	idleTimeout       = time.Minute
	maxHeaderBytes    = 16 << 10
)

// Serve serves Handler on the listener until ctx ends. It closes the listener. Long polls that are
// under way are cut off: a gateway asks again, and keeps what it has until then.
func (a *Agent) Serve(ctx context.Context, listener net.Listener, source ConfigSource) error {
	server := &http.Server{
		Handler:           a.Handler(source),
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readHeaderTimeout, WriteTimeout: answerTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving routing on %s: %w", listener.Addr(), err)
	}
	return nil
}
