package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"multiactive.dev/operator/internal/testkit/cuts"
)

// network is the router between the regions. It is this process's own network namespace, which users are in.
type network struct {
	mu    sync.Mutex
	zones map[string]*zone
	cuts  cuts.Cuts
}

// zone is the network of one region, the namespace 10.99.<number>.0/24 with one address for its node.
type zone struct {
	name   string
	number int
	space  netns.NsHandle
}

func newNetwork() (*network, error) {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err == nil {
		err = os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("preparing the router: %w", err)
	}
	if err := os.MkdirAll(spacesDir, 0o700); err != nil {
		return nil, fmt.Errorf("preparing the router: %w", err)
	}
	return &network{zones: map[string]*zone{}}, nil
}

// filterTimeout bounds one change of a packet filter.
const filterTimeout = 20 * time.Second

// spacesDir is where `ip netns` looks.
const spacesDir = "/run/netns"

func (z *zone) path() string { return filepath.Join(spacesDir, z.name) }

// node is the address of the region's only node, and router that of what joins regions.
func (z *zone) node() string   { return fmt.Sprintf("10.99.%d.2", z.number) }
func (z *zone) router() string { return fmt.Sprintf("10.99.%d.1", z.number) }
func (z *zone) pods() string   { return fmt.Sprintf("10.244.%d.0/24", z.number) }

func (z *zone) prefix() *net.IPNet {
	return &net.IPNet{IP: net.IPv4(10, 99, byte(z.number), 0).To4(), Mask: net.CIDRMask(24, 32)}
}

func (z *zone) link() string { return fmt.Sprintf("zone%d", z.number) }

// zone makes the network of a region.
func (n *network) zone(name string, number int) (*zone, error) {
	z := &zone{name: name, number: number}
	if err := z.make(); err != nil {
		return nil, fmt.Errorf("making the network of %s: %w", name, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.zones[name] = z
	return z, nil
}

func (z *zone) make() error {
	home, err := netns.Get()
	if err != nil {
		return err
	}
	defer func() { _ = home.Close() }()
	err = cuts.OnThread(func() (err error) {
		if z.space, err = netns.NewNamed(z.name); err != nil {
			return err
		}
		// What Services do needs the packets between Pods of one node to be seen, too.
		for _, name := range []string{"ipv4/ip_forward", "bridge/bridge-nf-call-iptables"} {
			if err := os.WriteFile("/proc/sys/net/"+name, []byte("1"), 0o600); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: z.link(), PeerNamespace: netlink.NsFd(home)}
		if err := netlink.LinkAdd(link); err != nil {
			return fmt.Errorf("linking it: %w", err)
		}
		if err := up("lo", ""); err != nil {
			return err
		}
		if err := up("eth0", z.node()+"/24"); err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(z.router())})
	})
	if err != nil {
		return err
	}
	return up(z.link(), z.router()+"/24")
}

func up(name, address string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if address != "" {
		parsed, err := netlink.ParseAddr(address)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(link, parsed); err != nil {
			return fmt.Errorf("address of %s: %w", name, err)
		}
	}
	return netlink.LinkSetUp(link)
}

// within runs a program in the zone's network.
func (z *zone) within(program string, args ...string) error {
	return cuts.OnThread(func() error {
		if err := netns.Set(z.space); err != nil {
			return fmt.Errorf("entering the network of %s: %w", z.name, err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), filterTimeout)
		defer cancel()
		out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
		}
		return nil
	})
}

// silence loses every packet from and to the region, of connections old and new, or ends that.
func (z *zone) silence(on bool) error {
	action := "-D"
	if on {
		action = "-I"
	}
	return errors.Join(
		z.within("iptables", "-w", "10", "-t", "raw", action, "PREROUTING", "-i", "eth0", "-j", "DROP"),
		z.within("iptables", "-w", "10", "-t", "mangle", action, "POSTROUTING", "-o", "eth0", "-j", "DROP"))
}

// cut loses all packets that one region sends to another, until heal; those of the other direction pass,
// and users still reach both.
func (n *network) cut(from, to string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	source, target := n.zones[from], n.zones[to]
	if source == nil || target == nil {
		return fmt.Errorf("cutting %s from %s: there is no such region", from, to)
	}
	return n.cuts.Cut(source.part(), target.part())
}

// heal undoes cut.
func (n *network) heal(from, to string) error { return n.cuts.Heal(from, to) }

func (z *zone) part() cuts.Part {
	return cuts.Part{Name: z.name, Link: z.link(), Addresses: z.prefix()}
}

// clear removes all regions' networks.
func (n *network) clear() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	failures := []error{n.cuts.Clear()}
	for name, z := range n.zones {
		link, err := netlink.LinkByName(z.link())
		if err == nil {
			err = netlink.LinkDel(link)
		}
		failures = append(failures, err, z.space.Close(), netns.DeleteNamed(name))
		delete(n.zones, name)
	}
	return errors.Join(failures...)
}
