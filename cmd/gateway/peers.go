package main

import (
	"fmt"
	"net"
	"net/http"

	"multiactive.dev/operator/internal/gateway"
)

// peerPort is where other regions' gateways are listened to, if they are.
type peerPort struct {
	server *http.Server
	// listener is nil without a port for them.
	listener net.Listener
	stopped  chan struct{}
}

func listenForPeers(c *config, g *gateway.Gateway) (*peerPort, error) {
	p := &peerPort{server: newServer(c, g.PeerHandler()), stopped: make(chan struct{})}
	p.server.TLSConfig = g.PeerTLS()
	p.server.Protocols.SetUnencryptedHTTP2(false)
	p.server.Protocols.SetHTTP2(true)
	p.server.RegisterOnShutdown(func() { close(p.stopped) })
	if c.peerListen == "" {
		return p, nil
	}
	l, err := net.Listen("tcp", c.peerListen)
	if err != nil {
		return nil, fmt.Errorf("--peer-listen: %w", err)
	}
	p.listener = g.PeerListener(l)
	return p, nil
}

// serve returns when the port is shut down, or cannot be served.
func (p *peerPort) serve() error {
	if p.listener == nil {
		<-p.stopped
		return http.ErrServerClosed
	}
	return p.server.ServeTLS(p.listener, "", "")
}

func (p *peerPort) address() string {
	if p.listener == nil {
		return ""
	}
	return p.listener.Addr().String()
}
