//go:build amd64 || arm64

package gateway

import (
	"syscall"
	"unsafe"
)

// rawReads: the fast path works here.
const rawReads = true

// raw makes a call about a socket that never waits, as sockets of the poller do not. The scheduler need not know
// of it: told, it would take the processor away from whoever the kernel happens to interrupt in the call.
func raw(call, fd uintptr, p []byte, flags uintptr) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0) //nolint:gosec // the bytes stay where they are during the call
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

// rawRead reads what is there.
func rawRead(fd uintptr, p []byte) (int, error) { return raw(syscall.SYS_READ, fd, p, 0) }

// rawWrite writes what can be written at once.
func rawWrite(fd uintptr, p []byte) (int, error) {
	for n := 0; ; {
		m, err := raw(syscall.SYS_WRITE, fd, p[n:], 0)
		if n += m; err != nil || n == len(p) {
			return n, err
		}
	}
}

// rawPeek looks at what is there and leaves it.
func rawPeek(fd uintptr) (int, error) {
	var b [1]byte
	return raw(syscall.SYS_RECVFROM, fd, b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
}

// rawGone reports whether the other side has ended the connection. What it has sent before stays there.
func rawGone(fd uintptr) bool {
	n, err := rawPeek(fd)
	return err == nil && n == 0 || err != nil && err != syscall.EAGAIN //nolint:errorlint // the kernel's own
}

// rawEmpty reports whether nothing is there to be read, not even the connection's end.
func rawEmpty(fd uintptr) bool {
	_, err := rawPeek(fd)
	return err == syscall.EAGAIN //nolint:errorlint // the kernel's own
}
