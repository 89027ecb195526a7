package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// TestInwardAddresses: an IPv4 address is the same however it is written as an IPv6 one.
func TestInwardAddresses(t *testing.T) {
	for text, refused := range map[string]bool{
		"169.254.169.254": true, "::ffff:169.254.169.254": true, "::ffff:a9fe:a9fe": true, "::169.254.169.254": true,
		"::ffff:0:169.254.169.254": true, "64:ff9b::169.254.169.254": true, "64:ff9b:1::169.254.169.254": true,
		"2002:a9fe:a9fe::1": true, "2001:0:a9fe:a9fe::1": true, "fe80::1": true, "fe80::1%eth0": true, "fec0::1": true,
		"100.100.100.200": true, "192.0.0.192": true, "fd00:ec2::254": true, "fd20:ce::254": true, "fd00:42::42": true,
		"0.0.0.0": true, "0.1.2.3": true, "::": true, "::%lo": true, "::ffff:0.0.0.0": true, "240.0.0.1": true, "255.255.255.255": true, "224.0.0.1": true, "ff02::1": true,
		"10.0.0.7": false, "::ffff:10.0.0.7": false, "2002:a00:7::": false, "64:ff9b::10.0.0.7": false, "192.168.1.1": false, "127.0.0.1": false, "::1": false,
		"203.0.113.9": false, "2001:db8::7": false, "fd00::7": false,
	} {
		if got := refusedAddress(netip.MustParseAddr(text)); got != refused {
			t.Errorf("%s: refused is %t", text, got)
		}
	}
	if !refusedAddress(netip.Addr{}) {
		t.Error("no address is taken")
	}
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	for text, in := range map[string]bool{"127.0.0.1": true, "127.9.9.9": true, "::ffff:127.0.0.1": true, "64:ff9b::127.0.0.1": true, "2002:7f00:1::": true, "::1": false, "128.0.0.1": false} {
		if got := within(loopback, netip.MustParseAddr(text)); got != in {
			t.Errorf("%s: within is %t", text, got)
		}
	}
}

// nameServer answers each question for an IPv4 address with the next of a list.
func nameServer(t *testing.T, addresses ...string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	var asked atomic.Int64
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Authoritative = true, true
			m.Additionals = nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				i := min(int(asked.Add(1)), len(addresses)) - 1
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class},
					Body:   &dnsmessage.AResource{A: netip.MustParseAddr(addresses[i]).As4()},
				}}
			}
			out, err := m.Pack()
			if err == nil {
				_, _ = conn.WriteTo(out, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, conn.LocalAddr().String())
	}}
}

// TestNotifyLooksAtTheAddressThatItDials: a name that led to a good address leads inward the next time, and
// one that does so at once is not dialled either.
func TestNotifyLooksAtTheAddressThatItDials(t *testing.T) {
	var heard atomic.Int64
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { heard.Add(1) }))
	defer receiver.Close()
	_, port, err := net.SplitHostPort(receiver.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	post := func(client *http.Client) error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://sms.example.com.:"+port+"/outcomes", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	client := func(refuse []netip.Prefix, addresses ...string) *http.Client {
		dialer := notifyDialer(refuse)
		dialer.Resolver = nameServer(t, addresses...)
		c := notifyClient(dialer)
		c.Transport.(*http.Transport).DisableKeepAlives = true // so that each asks for the name again
		return c
	}
	rebinding := client(nil, "127.0.0.1", "169.254.169.254")
	if err := post(rebinding); err != nil || heard.Load() != 1 {
		t.Fatalf("the good address was not told: %v", err)
	}
	if err := post(rebinding); !errors.Is(err, errAddress) {
		t.Errorf("after the name changed: %v", err)
	}
	if err := post(client(prefixes("127.0.0.0/8"), "127.0.0.1")); !errors.Is(err, errAddress) || heard.Load() != 1 {
		t.Errorf("a name that leads to this machine: %v", err)
	}
}
