package ports_test

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"multiactive.dev/operator/internal/testkit/ports"
)

func TestFreePortsDifferAndCanBeListenedOn(t *testing.T) {
	t.Parallel()
	host := ports.Host()
	found, err := ports.Free(host, 20)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	if distinct := len(slices.Compact(slices.Clone(found))); distinct != 20 {
		t.Fatalf("got %d distinct ports of 20: %v", distinct, found)
	}
	for _, port := range found {
		listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			t.Fatalf("port %d is not free: %v", port, err)
		}
		_ = listener.Close()
	}
}

// A port that was given is not given again before its owner listens on it: of 28,000 that the kernel has, 3,000
// taken one by one would meet about 160 times.
func TestPortsAreGivenOnce(t *testing.T) {
	t.Parallel()
	host := ports.Host()
	given := map[int]bool{}
	for range 3000 {
		found, err := ports.Free(host, 1)
		if err != nil {
			t.Fatal(err)
		}
		if given[found[0]] {
			t.Fatalf("port %d was given twice", found[0])
		}
		given[found[0]] = true
	}
}

func TestHostIsLoopback(t *testing.T) {
	t.Parallel()
	for range 1000 {
		host := ports.Host()
		if err := ports.CheckLoopback(host); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(host, ".0") || strings.HasSuffix(host, ".255") {
			t.Fatalf("%s looks like a network or broadcast address", host)
		}
	}
}

func TestOnlyLoopbackIsAccepted(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"10.0.0.1":  "not a loopback address",
		"0.0.0.0":   "not a loopback address",
		"localhost": "not an IP address",
		"":          "not an IP address",
	} {
		if _, err := ports.Free(host, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("host %q: got error %v, want one that says %q", host, err, want)
		}
	}
}
