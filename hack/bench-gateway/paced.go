package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pacedCommand is this program's first argument when it makes a load at a fixed rate for another process of it.
const pacedCommand = "paced"

// pacing is what that process is told, as JSON on its standard input; it answers with latencies in nanoseconds.
type pacing struct {
	Address     string
	Connections int
	Keys        []string
	Rate        float64
	Length      time.Duration
}

// paced measures latencies at a fixed rate, by a process of its own: one thread waits for connections and for the time of the
// next request at once, so that what is measured is neither another goroutine's turn nor the upstreams'.
func paced(ctx context.Context, p *pacing) ([]time.Duration, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	told, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, pacedCommand) //nolint:gosec // this very program
	cmd.Stdin, cmd.Stderr = bytes.NewReader(told), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("making a load of %.0f requests per second: %w", p.Rate, err)
	}
	var took []time.Duration
	err = json.Unmarshal(out, &took)
	return took, err
}

// runPaced is that process.
func runPaced() error {
	var p pacing
	if err := json.NewDecoder(os.Stdin).Decode(&p); err != nil {
		return err
	}
	runtime.LockOSThread()
	l, err := newPaced(&p)
	if err != nil {
		return err
	}
	if err := l.run(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(l.took)
}

// asker is one connection.
type asker struct {
	fd      int
	request []byte
	// due are the times at which its next requests had to be sent, from when on the present one counts.
	due   []time.Time
	began time.Time
	busy  bool
	buf   []byte
	n     int
}

// pacedLoad waits for connections and for time.
type pacedLoad struct {
	p            *pacing
	epoll, timer int
	askers       []*asker
	byFD         map[int32]*asker
	took         []time.Duration
}

func newPaced(p *pacing) (*pacedLoad, error) {
	l := &pacedLoad{p: p, byFD: map[int32]*asker{}, took: make([]time.Duration, 0, int(p.Rate*p.Length.Seconds())+p.Connections)}
	address, err := netip.ParseAddrPort(p.Address)
	if err != nil {
		return nil, err
	}
	if l.epoll, err = unix.EpollCreate1(0); err != nil {
		return nil, err
	}
	if l.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK); err != nil {
		return nil, err
	}
	if err := l.listen(l.timer); err != nil {
		return nil, err
	}
	for i := range p.Connections {
		a := &asker{request: request(p.Address, p.Keys[i%len(p.Keys)]), buf: make([]byte, 8<<10)}
		if a.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err != nil {
			return nil, err
		}
		if err := unix.Connect(a.fd, &unix.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()}); err != nil {
			return nil, err
		}
		if err := errors.Join(unix.SetsockoptInt(a.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1), unix.SetNonblock(a.fd, true), l.listen(a.fd)); err != nil {
			return nil, err
		}
		l.askers = append(l.askers, a)
		l.byFD[int32(a.fd)] = a //nolint:gosec // file descriptors are small
	}
	return l, nil
}

func (l *pacedLoad) listen(fd int) error {
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}) //nolint:gosec // file descriptors are small
}

// warm is how long requests are made before they count.
const warm = 300 * time.Millisecond

// run makes the load until its end.
func (l *pacedLoad) run() error {
	every := time.Duration(float64(time.Second) / l.p.Rate)
	begin := time.Now()
	counts, end := begin.Add(warm), begin.Add(warm+l.p.Length)
	events := make([]syscall.EpollEvent, len(l.askers)+1)
	for next, i := begin, 0; ; {
		now := time.Now()
		for ; !next.After(now) && next.Before(end); next, i = next.Add(every), i+1 {
			a := l.askers[i%len(l.askers)]
			a.due = append(a.due, next)
			if err := l.send(a); err != nil {
				return err
			}
		}
		if !now.Before(end) {
			return nil
		}
		if err := l.wake(max(time.Until(next), 1)); err != nil {
			return err
		}
		n, err := rawWait(l.epoll, events)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			a := l.byFD[e.Fd]
			if a == nil {
				var ticks [8]byte
				_, _ = rawRead(uintptr(l.timer), ticks[:])
				continue
			}
			if err := l.read(a, counts); err != nil {
				return err
			}
		}
	}
}

func (l *pacedLoad) wake(after time.Duration) error {
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(after.Nanoseconds())}
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_TIMERFD_SETTIME, uintptr(l.timer), 0, uintptr(unsafe.Pointer(&at)), 0, 0, 0); errno != 0 { //nolint:gosec // the kernel reads it during the call
		return errno
	}
	return nil
}

// send begins the connection's next request, if it is due and the one before is answered. One that could not be sent
// because of that began when it was due.
func (l *pacedLoad) send(a *asker) error {
	if a.busy || len(a.due) == 0 {
		return nil
	}
	late := a.due[0]
	a.due, a.busy, a.n = a.due[1:], true, 0
	a.began = late
	if len(a.due) == 0 && time.Since(late) < time.Millisecond/2 {
		a.began = time.Now()
	}
	_, err := rawWrite(uintptr(a.fd), a.request)
	return err
}

// read takes what has arrived.
func (l *pacedLoad) read(a *asker, counts time.Time) error {
	n, err := rawRead(uintptr(a.fd), a.buf[a.n:])
	switch {
	case errors.Is(err, unix.EAGAIN):
		return nil
	case err != nil:
		return err
	case n == 0:
		return errors.New("the connection was closed")
	}
	a.n += n
	end := bytes.Index(a.buf[:a.n], headEnd)
	if end < 0 || a.n < end+len(headEnd)+bodyBytes {
		return nil
	}
	if !bytes.HasPrefix(a.buf, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("the answer is not as expected: %.60q", a.buf[:a.n])
	}
	if a.began.After(counts) {
		l.took = append(l.took, time.Since(a.began))
	}
	a.busy = false
	return l.send(a)
}
