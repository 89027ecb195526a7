package gateway

import (
	"errors"
	"syscall"
)

// rawReads: the fast path works here.
const rawReads = true

// rawRead reads what is there. It never waits, as sockets of the poller do not.
func rawRead(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		if !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}

// rawWrite writes what can be written at once.
func rawWrite(fd uintptr, p []byte) (int, error) {
	for n := 0; ; {
		m, err := syscall.Write(int(fd), p[n:])
		switch {
		case err == nil:
			if n += m; n == len(p) {
				return n, nil
			}
		case !errors.Is(err, syscall.EINTR):
			return n, err
		}
	}
}

// rawGone reports whether the other side has ended the connection. What it has sent before stays there.
func rawGone(fd uintptr) bool {
	var b [1]byte
	for {
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return !errors.Is(err, syscall.EAGAIN)
		default:
			return n == 0
		}
	}
}

// rawEmpty reports whether nothing is there to be read, not even the connection's end.
func rawEmpty(fd uintptr) bool {
	var b [1]byte
	for {
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if !errors.Is(err, syscall.EINTR) {
			return errors.Is(err, syscall.EAGAIN)
		}
	}
}
