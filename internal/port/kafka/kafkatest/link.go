package kafkatest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxFrame bounds one request or answer, as brokers do by default.
const maxFrame = 100 << 20

// Link is a way to the only broker of a Kafka that can be cut as a network is that drops packets: nobody is told.
// What was sent meanwhile arrives when it is mended, also what its sender has given up. Clients that begin with
// its address stay on it: the broker's own address is replaced wherever the broker names it.
type Link struct {
	listener net.Listener
	target   string
	host     string
	port     int32

	mu    sync.Mutex
	whole *sync.Cond
	cut   bool
	ended bool
	conns []net.Conn
}

// NewLink returns a link to a broker that ends with the test.
func NewLink(t testing.TB, broker string) *Link {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Link{listener: listener, target: broker}
	host, port, err := net.SplitHostPort(l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	l.host, l.port, l.whole = host, int32(n), sync.NewCond(&l.mu)
	go l.accept()
	t.Cleanup(l.end)
	return l
}

// Addr is the bootstrap address of who is to go through the link.
func (l *Link) Addr() string { return l.listener.Addr().String() }

// Cut cuts the link, or mends it.
func (l *Link) Cut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	l.whole.Broadcast()
}

func (l *Link) end() {
	_ = l.listener.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended, l.cut = true, false
	l.whole.Broadcast()
	for _, c := range l.conns {
		_ = c.Close()
	}
}

func (l *Link) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.mu.Lock()
		l.conns = append(l.conns, near)
		l.mu.Unlock()
		go l.carry(near)
	}
}

// wait returns when the link is whole, and false when it has ended.
func (l *Link) wait() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.cut {
		l.whole.Wait()
	}
	return !l.ended
}

// call is a request whose answer names brokers.
type call struct{ key, version int16 }

// carry carries one connection to the broker and back.
func (l *Link) carry(near net.Conn) {
	defer func() { _ = near.Close() }()
	if !l.wait() {
		return
	}
	far, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", l.target)
	if err != nil {
		return
	}
	defer func() { _ = far.Close() }()
	var calls sync.Map // by correlation
	go func() {
		defer func() { _ = near.Close(); _ = far.Close() }()
		l.frames(far, near, func(frame []byte) ([]byte, error) { return l.rename(&calls, frame) })
	}()
	l.frames(near, far, func(frame []byte) ([]byte, error) {
		if len(frame) < 8 {
			return nil, errors.New("the request is too short")
		}
		c := call{int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))}
		if namesBrokers(c.key) {
			calls.Store(binary.BigEndian.Uint32(frame[4:]), c)
		}
		return frame, nil
	})
}

// frames carries what is sent one way, until either end is gone.
func (l *Link) frames(from io.Reader, to io.Writer, change func([]byte) ([]byte, error)) {
	for {
		frame, err := readFrame(from)
		if err != nil || !l.wait() {
			return
		}
		if frame, err = change(frame); err != nil {
			return
		}
		out := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(frame)), uint32(len(frame)))
		if _, err := to.Write(append(out, frame...)); err != nil {
			return
		}
	}
}

func readFrame(from io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(from, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxFrame {
		return nil, fmt.Errorf("a frame of %d bytes is no Kafka", n)
	}
	frame := make([]byte, n)
	_, err := io.ReadFull(from, frame)
	return frame, err
}

func namesBrokers(key int16) bool {
	switch kmsg.Key(key) {
	case kmsg.Metadata, kmsg.FindCoordinator, kmsg.DescribeCluster:
		return true
	default:
		return false
	}
}

// rename puts the link in the place of the broker that an answer names.
func (l *Link) rename(calls *sync.Map, frame []byte) ([]byte, error) {
	if len(frame) < 4 {
		return nil, errors.New("the answer is too short")
	}
	known, ok := calls.LoadAndDelete(binary.BigEndian.Uint32(frame))
	if !ok {
		return frame, nil
	}
	c, _ := known.(call)
	request := kmsg.RequestForKey(c.key)
	request.SetVersion(c.version)
	header := 4
	if request.IsFlexible() {
		header++ // an empty list of tags
	}
	answer := request.ResponseKind()
	if err := answer.ReadFrom(frame[header:]); err != nil {
		return nil, err
	}
	switch a := answer.(type) {
	case *kmsg.MetadataResponse:
		for i := range a.Brokers {
			a.Brokers[i].Host, a.Brokers[i].Port = l.host, l.port
		}
	case *kmsg.FindCoordinatorResponse:
		a.Host, a.Port = l.host, l.port
		for i := range a.Coordinators {
			a.Coordinators[i].Host, a.Coordinators[i].Port = l.host, l.port
		}
	case *kmsg.DescribeClusterResponse:
		for i := range a.Brokers {
			a.Brokers[i].Host, a.Brokers[i].Port = l.host, l.port
		}
	}
	return answer.AppendTo(frame[:header:header]), nil
}
