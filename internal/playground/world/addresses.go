package world

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// Ports that every region has on addresses of its own.
const (
	apiPort           = 6443
	storageClientPort = 2379
	storagePeerPort   = 2380
	kafkaPort         = 9092
	agentPort         = 8090
	healthPort        = 8081
	metricsPort       = 8080
	profilesPort      = 6060
	edgePort          = 8080
	peerPort          = 8443
	guardPort         = 61999
)

// network is the loopback /16 of one failure domain: 127.<number>.0.0/16.
type network struct{ number int }

func (n network) host(last int) string { return fmt.Sprintf("127.%d.0.%d", n.number, last) }

// The addresses of a region's parts.
func (n network) api() string          { return n.host(1) }
func (n network) coordination() string { return n.host(2) }
func (n network) kafka() string        { return net.JoinHostPort(n.host(5), strconv.Itoa(kafkaPort)) }
func (n network) manager() string      { return n.host(6) }
func (n network) node() string         { return n.host(7) }
func (n network) edge(service int) string {
	return net.JoinHostPort(n.host(80+service), strconv.Itoa(edgePort))
}
func (n network) peers(service int) string {
	return net.JoinHostPort(n.host(80+service), strconv.Itoa(peerPort))
}
func (n network) agentURL() string {
	return "http://" + net.JoinHostPort(n.manager(), strconv.Itoa(agentPort))
}
func (n network) health() string { return net.JoinHostPort(n.manager(), strconv.Itoa(healthPort)) }

func (n network) pods() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{127, byte(n.number), 64, 0}), 18)
}

func (n network) services() string { return fmt.Sprintf("127.%d.128.0/17", n.number) }

// claim takes the first block of networks that no other playground of this machine has: one for the hub
// and one for every region. The listener is what keeps others away.
func claim() (hub network, guard net.Listener, err error) {
	const first, last, step = 10, 50, 8
	for base := first; base <= last; base += step {
		hub = network{base}
		guard, err = net.Listen("tcp", net.JoinHostPort(hub.host(1), strconv.Itoa(guardPort)))
		if err == nil {
			return hub, guard, nil
		}
	}
	return network{}, nil, errors.Join(errors.New("all loopback networks from 127.10 to 127.57 belong to other playgrounds: end one"), err)
}

// at claims one network again, for a directory whose certificates and kubeconfigs name it.
func at(number int) (hub network, guard net.Listener, err error) {
	hub = network{number}
	guard, err = net.Listen("tcp", net.JoinHostPort(hub.host(1), strconv.Itoa(guardPort)))
	if err != nil {
		return network{}, nil, fmt.Errorf("the directory belongs to the network 127.%d, which another playground uses: end it, or give another --dir: %w", number, err)
	}
	return hub, guard, nil
}
