// Package underlay gives every failure domain of a playground a network namespace of its own, joined by a
// router, so that packets from one region to another can be lost, in one direction or both, while
// connections stay open and the users still reach every region.
//
// Everything happens in namespaces below the one that Isolate makes: nothing that it does can be seen
// outside, and the kernel removes all of it with the last process, also after a crash.
package underlay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"multiactive.dev/operator/internal/testkit/cuts"
)

// Network is the router and the zones around it.
type Network struct {
	mu    sync.Mutex
	zones map[string]*Zone
	cuts  cuts.Cuts
}

// Zone is one failure domain: the loopback network 127.<number>.0.0/16 in a namespace of its own.
type Zone struct {
	name   string
	number int
	space  netns.NsHandle
	router string // the router's end of the link
}

// New returns the network of this process, which must run inside of Isolate.
func New() (*Network, error) {
	if !inside() {
		return nil, errors.New("the underlay needs namespaces of its own: call Isolate first")
	}
	if err := loopback(127<<24|1, 32); err != nil {
		return nil, fmt.Errorf("preparing the router: %w", err)
	}
	if err := allow("ip_forward", "ip_nonlocal_bind"); err != nil {
		return nil, fmt.Errorf("preparing the router: %w", err)
	}
	return &Network{zones: map[string]*Zone{}}, nil
}

// Zone makes the zone of a failure domain.
func (n *Network) Zone(name string, number int) (*Zone, error) {
	z := &Zone{name: name, number: number, router: fmt.Sprintf("zone%d", number)}
	if err := z.make(); err != nil {
		return nil, fmt.Errorf("making the network of %s: %w", name, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.zones[name] = z
	return z, nil
}

// Clear removes all zones and cuts. Processes that still run in a zone reach nobody any more.
func (n *Network) Clear() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	failures := []error{n.cuts.Clear()}
	for name, z := range n.zones {
		link, err := netlink.LinkByName(z.router)
		if err == nil {
			err = netlink.LinkDel(link)
		}
		failures = append(failures, err, z.space.Close())
		delete(n.zones, name)
	}
	return errors.Join(failures...)
}

// Path names the zone's namespace for processes that are to run in it.
func (z *Zone) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), z.space) }

// Listen opens an address of the zone for this process.
func (z *Zone) Listen(ctx context.Context, address string) (listener net.Listener, err error) {
	err = z.within(func() error {
		listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		return err
	})
	return listener, err
}

// Cut loses all packets that one zone sends to another, until Heal; those of the other direction pass.
func (n *Network) Cut(from, to string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	source, target := n.zones[from], n.zones[to]
	if source == nil || target == nil {
		return fmt.Errorf("cutting %s from %s: there is no such zone", from, to)
	}
	return n.cuts.Cut(source.part(), target.part())
}

// Heal undoes Cut.
func (n *Network) Heal(from, to string) error { return n.cuts.Heal(from, to) }

func (z *Zone) part() cuts.Part {
	return cuts.Part{Name: z.name, Link: z.router, Addresses: z.prefix()}
}

func (z *Zone) prefix() *net.IPNet {
	return &net.IPNet{IP: net.IPv4(127, byte(z.number), 0, 0).To4(), Mask: net.CIDRMask(16, 32)}
}

func (z *Zone) host(last byte) *net.IPNet {
	return &net.IPNet{IP: net.IPv4(10, 99, byte(z.number), last).To4(), Mask: net.CIDRMask(30, 32)}
}

// make makes the namespace and the link between it and the router.
func (z *Zone) make() (err error) {
	home, err := netns.Get()
	if err != nil {
		return err
	}
	defer func() { _ = home.Close() }()
	err = cuts.OnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		if z.space, err = netns.Get(); err != nil {
			return err
		}
		if err := loopback(127<<24|uint32(z.number)<<16|1, 16); err != nil {
			return err
		}
		link := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: "out", MTU: 65535}, PeerName: z.router, PeerNamespace: netlink.NsFd(home),
		}
		if err := netlink.LinkAdd(link); err != nil {
			return fmt.Errorf("linking it: %w", err)
		}
		return up("out", z.host(2), &netlink.Route{
			Dst: &net.IPNet{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
			Gw:  z.host(1).IP, Src: net.IPv4(127, byte(z.number), 0, 1).To4(),
		})
	})
	if err != nil {
		return err
	}
	return up(z.router, z.host(1), &netlink.Route{Dst: z.prefix(), Gw: z.host(2).IP})
}

// within calls do on a thread inside the zone.
func (z *Zone) within(do func() error) error {
	return cuts.OnThread(func() error {
		if err := netns.Set(z.space); err != nil {
			return fmt.Errorf("entering the network of %s: %w", z.name, err)
		}
		return do()
	})
}

// loopback leaves one address, or a network of them, on the namespace's lo, and lets 127.0.0.0/8 be routed.
func loopback(address uint32, bits int) error {
	if err := allow("conf/all/route_localnet", "conf/default/route_localnet"); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	present, err := netlink.AddrList(lo, unix.AF_INET)
	if err != nil {
		return err
	}
	for i := range present {
		if err := netlink.AddrDel(lo, &present[i]); err != nil {
			return err
		}
	}
	ip := net.IPv4(byte(address>>24), byte(address>>16), byte(address>>8), byte(address)).To4()
	return netlink.AddrAdd(lo, &netlink.Addr{IPNet: &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, 32)}, Scope: unix.RT_SCOPE_HOST})
}

func up(name string, address *net.IPNet, route *netlink.Route) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: address}); err != nil {
		return fmt.Errorf("address of %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	route.LinkIndex = link.Attrs().Index
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("route of %s: %w", name, err)
	}
	return nil
}

// allow sets switches of the namespace that this thread is in.
func allow(names ...string) error {
	for _, name := range names {
		if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte("1"), 0o600); err != nil {
			return err
		}
	}
	return nil
}
