package underlay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"multiactive.dev/operator/internal/playground/underlay"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/process"
)

// dialEnv makes this program connect to an address and send lines, until one is answered.
const dialEnv = "UNDERLAY_TEST_DIAL"

// TestMain runs the tests once more in namespaces of their own.
func TestMain(m *testing.M) {
	if address := os.Getenv(dialEnv); address != "" {
		dial(address)
		return
	}
	outside, err := underlay.Isolate(context.Background())
	if ended := (&underlay.ExitError{}); errors.As(err, &ended) {
		os.Exit(ended.Status)
	} else if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if !outside {
		os.Exit(m.Run())
	}
}

func dial(address string) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	buffer := make([]byte, 1)
	for {
		if _, err := conn.Write([]byte("x")); err != nil {
			os.Exit(2)
		}
		if _, err := io.ReadFull(conn, buffer); err != nil {
			os.Exit(3)
		}
		fmt.Println("answered")
		<-time.After(20 * time.Millisecond)
	}
}

// heard is a listener in a zone that answers every byte, and counts.
type heard struct{ bytes chan struct{} }

func listen(t *testing.T, z *underlay.Zone, address string) *heard {
	t.Helper()
	listener, err := z.Listen(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	h := &heard{bytes: make(chan struct{}, 10000)}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				buffer := make([]byte, 1)
				for {
					if _, err := io.ReadFull(conn, buffer); err != nil {
						return
					}
					h.bytes <- struct{}{}
					if _, err := conn.Write(buffer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return h
}

// next waits for a byte; quiet waits and reports that there was none.
func (h *heard) next(t *testing.T) {
	t.Helper()
	select {
	case <-h.bytes:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing is heard")
	}
}

func (h *heard) quiet(t *testing.T) {
	t.Helper()
	for { // what was on its way
		select {
		case <-h.bytes:
			continue
		case <-time.After(500 * time.Millisecond):
		}
		break
	}
	select {
	case <-h.bytes:
		t.Error("something is heard although the way is cut")
	case <-time.After(time.Second):
	}
}

func TestCutsAreOneWayAndHeal(t *testing.T) {
	network, err := underlay.New()
	if err != nil {
		t.Fatal(err)
	}
	north, err := network.Zone("north", 11)
	if err != nil {
		t.Fatal(err)
	}
	south, err := network.Zone("south", 12)
	if err != nil {
		t.Fatal(err)
	}
	there := listen(t, south, "127.12.0.80:8080")
	log := filepath.Join(t.TempDir(), "log")
	child, err := process.Start(t.Context(), process.Spec{
		Name: "dial", Path: os.Args[0], LogFile: log, Network: north.Path(),
		Env: []string{dialEnv + "=127.12.0.80:8080", "MULTIACTIVE_PLAYGROUND_INSIDE=1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Kill() })
	answered := func() int64 {
		info, err := os.Stat(log)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	there.next(t)
	if conn, err := net.Dial("tcp", "127.12.0.80:8080"); err != nil {
		t.Errorf("users do not reach the zone: %v", err)
	} else {
		_ = conn.Close()
	}

	// What south sends is lost: it still hears north, which sends again and again, but no answer arrives.
	if err := network.Cut("south", "north"); err != nil {
		t.Fatal(err)
	}
	there.quiet(t)
	before := answered()
	if err := network.Heal("south", "north"); err != nil {
		t.Fatal(err)
	}
	there.next(t)
	testkit.Eventually(t, 20*time.Second, func() error {
		if answered() == before {
			return errors.New("no answer arrives after healing")
		}
		return nil
	})

	// What north sends is lost.
	if err := network.Cut("north", "south"); err != nil {
		t.Fatal(err)
	}
	there.quiet(t)
	if err := network.Heal("north", "south"); err != nil {
		t.Fatal(err)
	}
	there.next(t)
	select {
	case <-child.Done():
		t.Error("the connection has not stayed open")
	default:
	}
	if err := network.Cut("north", "east"); err == nil {
		t.Error("a zone that there is not could be cut")
	}
	if err := network.Cut("north", "south"); err != nil {
		t.Fatal(err)
	}
	if err := network.Clear(); err != nil {
		t.Fatal(err)
	}
	if _, err := network.Zone("north", 11); err != nil {
		t.Errorf("a zone of the same number after clearing: %v", err)
	}
}

func TestWithoutIsolation(t *testing.T) {
	t.Setenv("MULTIACTIVE_PLAYGROUND_INSIDE", "")
	if _, err := underlay.New(); err == nil {
		t.Error("the network of this machine would have been changed")
	}
}
