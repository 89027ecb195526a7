//go:build amd64 || arm64

package gateway

import (
	"errors"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller waits until sockets can be read (epoll(7), edge-triggered). One goroutine waits, adds and removes; wake is for
// all.
type poller struct {
	fd, alarm int
	// awake is set while a wake-up is on its way, so that there is one at most.
	awake  atomic.Bool
	events [pollerEvents]unix.EpollEvent
}

// pollEvent is a socket that can be read, or that has ended.
type pollEvent struct {
	fd int
	// ended: the other side sends nothing more.
	ended bool
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	alarm, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	p := &poller{fd: fd, alarm: alarm}
	if err := p.add(alarm); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *poller) close() { _ = errors.Join(unix.Close(p.fd), unix.Close(p.alarm)) }

// add waits for a socket; what is there already is told too.
func (p *poller) add(fd int) error {
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(fd)}) //nolint:gosec // descriptors are small
}

// remove waits for a socket no more, which is to go on elsewhere; one that is closed is removed by that.
func (p *poller) remove(fd int) {
	_ = unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, fd, nil)
}

// wait returns what has happened, which is valid until it is called again. It looks without the scheduler's knowledge at
// first, as raw does, and gives its processor to others when there is nothing.
func (p *poller) wait(into []pollEvent) []pollEvent {
	at := uintptr(unsafe.Pointer(&p.events)) //nolint:gosec // they are on the heap, and stay there
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), at, pollerEvents, 0, 0, 0)
	if n == 0 || errno != 0 {
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), at, pollerEvents, forEver, 0, 0)
	}
	if errno != 0 { // interrupted
		n = 0
	}
	into = into[:0]
	for _, e := range p.events[:n] {
		if int(e.Fd) == p.alarm {
			p.quiet()
			continue
		}
		into = append(into, pollEvent{fd: int(e.Fd), ended: e.Events&^unix.EPOLLIN != 0})
	}
	return into
}

// forEver is a timeout of -1.
const forEver = ^uintptr(0)

// wake ends the wait that is under way, or the next one.
func (p *poller) wake() {
	if p.awake.Swap(true) {
		return
	}
	one := [8]byte{1}
	_, _ = rawWrite(uintptr(p.alarm), one[:])
}

// quiet allows for the next wake-up; what it was for is looked at afterwards.
func (p *poller) quiet() {
	var count [8]byte
	_, _ = rawRead(uintptr(p.alarm), count[:])
	p.awake.Store(false)
}
