package gateway

import (
	"errors"
	"net/netip"
	"slices"
	"syscall"
)

// errAddress is why an address is not dialled.
var errAddress = errors.New("the address is link-local, of a metadata service, no host's own, or refused by --notify-refuse")

// noHost are addresses of nobody that the gateway has anything to say to. Metadata services of clouds hand out
// credentials, and not all of them are link-local.
var noHost = prefixes("0.0.0.0/8", "100.100.100.200/32", "168.63.129.16/32", "169.254.0.0/16", "192.0.0.192/32", "224.0.0.0/4", "240.0.0.0/4",
	"::/128", "2001::/32", "fd00:42::42/128", "fd00:ec2::254/128", "fd20:ce::254/128", "fe80::/10", "fec0::/10", "ff00::/8")

// embedding are IPv6 addresses that lead to an IPv4 address, which begins at a byte of them.
var embedding = []struct {
	netip.Prefix
	at int
}{
	{netip.MustParsePrefix("::/96"), 12},           // IPv4-compatible
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12}, // translated
	{netip.MustParsePrefix("64:ff9b::/96"), 12},    // NAT64
	{netip.MustParsePrefix("64:ff9b:1::/48"), 12},  // NAT64 of an own network
	{netip.MustParsePrefix("2002::/16"), 2},        // 6to4
}

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		out[i] = netip.MustParsePrefix(text)
	}
	return out
}

// plainAddress is the address without a zone, and IPv4 if that is what it was written around.
func plainAddress(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is4() || a == netip.IPv6Loopback() || a.IsUnspecified() {
		return a
	}
	for _, e := range embedding {
		if e.Contains(a) {
			b := a.As16()
			return netip.AddrFrom4([4]byte(b[e.at : e.at+4]))
		}
	}
	return a
}

// within reports whether an address is in a range, however it is written.
func within(p netip.Prefix, a netip.Addr) bool { return p.Contains(plainAddress(a)) }

// refusedAddress reports whether nothing is ever sent there, whatever the name was.
func refusedAddress(a netip.Addr) bool {
	return !a.IsValid() || slices.ContainsFunc(noHost, func(p netip.Prefix) bool { return within(p, a) || p.Contains(a.WithZone("")) })
}

// guardedBy returns a dialer's control that looks at the address itself, after the name was resolved.
func guardedBy(refused func(netip.Addr) bool) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if err != nil || refused(a.Addr()) {
			return errAddress
		}
		return nil
	}
}
