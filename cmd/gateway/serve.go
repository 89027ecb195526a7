package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"multiactive.dev/operator/internal/gateway"
)

// drainPoll is how often the end of upgraded connections is looked for.
const drainPoll = 50 * time.Millisecond

// serve runs both listeners until ctx ends, then drains.
func serve(ctx context.Context, c *config) error {
	var deferred *secretLog
	if c.deferral.topic != "" {
		var err error
		if deferred, err = newSecretLog(c.deferral, c.options.Log); err != nil {
			return err
		}
		defer deferred.Close()
		c.options.Deferred, c.options.NotifySecret = deferred, c.deferral.notifySecret
	}
	c.options.CompensationSecret = (&compensationSecret{secrets: c.secrets, log: c.options.Log, now: time.Now}).get
	if c.tracing.endpoint != "" {
		traces := c.tracing.open(c)
		defer c.endTraces(traces)
		c.options.TracerProvider = traces
	}
	g, err := gateway.New(c.options)
	if err != nil {
		return err
	}
	public, err := net.Listen("tcp", c.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	admin, err := listenAdmin(c.adminListen)
	if err != nil {
		return errors.Join(fmt.Errorf("--admin-listen: %w", err), public.Close())
	}
	peers, err := listenForPeers(c, g)
	if err != nil {
		return errors.Join(err, public.Close(), admin.Close())
	}
	// The lease is needed until the last request has ended, so Run outlives ctx.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	// Partitions of deferred requests are let go of, so that other gateways need not wait for them.
	defer background.Wait()
	defer stop()
	background.Go(func() { g.Run(running) })
	if deferred != nil {
		background.Go(func() { deferred.watch(running) })
	}

	log := c.options.Log
	servers := []*http.Server{newServer(c, g), newServer(c, g.AdminHandler())}
	failed := make(chan error, 2+len(admin))
	users := public.Addr()
	public = g.NewFastListener(g.LimitListener(public), servers[0])
	go func() { failed <- servers[0].Serve(public) }()
	for _, l := range admin {
		go func() { failed <- servers[1].Serve(l) }()
	}
	go func() { failed <- peers.serve() }()
	log.Info("listening", slog.String("users", users.String()), slog.String("admin", admin[0].Addr().String()),
		slog.String("peers", peers.address()))
	select {
	case err := <-failed:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	return drain(c, g, public, servers[0], peers.server, servers[1])
}

// listenAdmin listens at the address, and at localhost besides when that is a Pod's: kubectl port-forward speaks
// to localhost.
func listenAdmin(address string) (listeners, error) {
	first, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	at, ok := first.Addr().(*net.TCPAddr)
	if !ok || !leavesLocalhostOut(at.IP) {
		return listeners{first}, nil
	}
	local, err := net.Listen("tcp", net.JoinHostPort("localhost", strconv.Itoa(at.Port)))
	if err != nil {
		return nil, errors.Join(err, first.Close())
	}
	return listeners{first, local}, nil
}

// listeners of one server.
type listeners []net.Listener

// Close ends them all.
func (all listeners) Close() error {
	var errs []error
	for _, l := range all {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// leavesLocalhostOut reports whether who listens at the address cannot be reached at localhost.
func leavesLocalhostOut(ip net.IP) bool { return !ip.IsLoopback() && !ip.IsUnspecified() }

// newServer returns a server for HTTP/1.1 and HTTP/2 without TLS, with its times bounded. Bodies
// and answers are bounded by the gateway, read by read, for streams may last.
func newServer(c *config, h http.Handler) *http.Server {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: c.headerTimeout,
		IdleTimeout:       c.idleTimeout,
		MaxHeaderBytes:    c.options.ServerHeaderBytes(),
		Protocols:         new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second,
			MaxReadFrameSize: 16 << 10, // a connection keeps a buffer for the largest frame that came
		},
		ErrorLog: slog.NewLogLogger(c.options.Log.Handler(), slog.LevelDebug),
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	return s
}

// drain ends without failing a request, as far as the times allow.
func drain(c *config, g *gateway.Gateway, users net.Listener, public, peers, admin *http.Server) error {
	log := c.options.Log
	g.Drain()
	log.Info("draining", slog.Duration("delay", c.drainDelay), slog.Int64("inFlight", g.InFlight()))
	time.Sleep(c.drainDelay)
	ctx, cancel := context.WithTimeout(context.Background(), c.drainTimeout)
	defer cancel()
	fast, _ := users.(*gateway.FastListener)
	var err error
	if fast != nil {
		public.SetKeepAlivesEnabled(false) // its answers are the last ones too
		err = fast.Drain(ctx)
	}
	err = errors.Join(err, public.Shutdown(ctx), peers.Shutdown(ctx))
	// Upgraded connections are not the server's any more, but still under way.
	for err == nil && g.InFlight() > 0 {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(drainPoll):
		}
	}
	if err != nil {
		log.Warn("requests were cut off", slog.Int64("inFlight", g.InFlight()))
		if fast != nil {
			fast.Cut()
		}
		_ = errors.Join(public.Close(), peers.Close()) // it is over
	}
	_ = admin.Close() // probes and scrapes only
	log.Info("drained")
	return nil
}
