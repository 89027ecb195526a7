// Package ports finds addresses to listen on for processes that are told their address beforehand.
//
// It must never hand out anything but loopback: no test reaches another machine.
package ports

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
)

// Host returns a random loopback address (127.64.0.0/10), so that worlds which run at the same time,
// in one process or in several, do not meet. Linux answers on all of 127.0.0.0/8 without set-up.
func Host() string {
	n := rand.Uint32N(1 << 22)
	return netip.AddrFrom4([4]byte{127, 64 | byte(n>>16), byte(n >> 8), 1 + byte(n)%254}).String()
}

// taken are the addresses that this process has been given: the servers of one world share a host, and the
// kernel gives a port again that its first owner has yet to listen on.
var taken sync.Map

// Free returns count different TCP ports that are free on the loopback address host now, and that Free has
// not returned before in this process. Other processes may take them: have an address that others do not
// use (Host) where that matters.
func Free(host string, count int) ([]int, error) {
	if err := CheckLoopback(host); err != nil {
		return nil, err
	}
	// Listeners stay open until all ports are found, so that none is found twice.
	listeners := make([]net.Listener, 0, count)
	defer func() {
		for _, listener := range listeners {
			_ = listener.Close()
		}
	}()
	found := make([]int, 0, count)
	for len(found) < count {
		listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return nil, fmt.Errorf("finding a free port on %s: %w", host, err)
		}
		listeners = append(listeners, listener)
		address, ok := listener.Addr().(*net.TCPAddr)
		if !ok {
			return nil, fmt.Errorf("finding a free port on %s: got the address %s, which has none", host, listener.Addr())
		}
		if _, given := taken.LoadOrStore(address.String(), true); !given {
			found = append(found, address.Port)
		}
	}
	return found, nil
}

// CheckLoopback returns an error unless host is a loopback IP address.
func CheckLoopback(host string) error {
	address, err := netip.ParseAddr(host)
	if err != nil {
		return fmt.Errorf("host %q is not an IP address; give a loopback address such as 127.11.0.1", host)
	}
	if !address.IsLoopback() {
		return fmt.Errorf("host %s is not a loopback address; give one such as 127.11.0.1", host)
	}
	return nil
}
