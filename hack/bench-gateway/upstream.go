package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
)

// bodyBytes is the length of an answer's body.
const bodyBytes = 1024

// upstream is an application that costs as little as one can: it reads requests without a body and answers
// each with the same bytes.
type upstream struct {
	net.Listener
	answer []byte
}

func newUpstream(name string) (*upstream, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u := &upstream{Listener: l, answer: fmt.Appendf(nil,
		"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nServer: bench\r\n%s: %s\r\nContent-Length: %d\r\n\r\n%s",
		upstreamHeader, name, bodyBytes, strings.Repeat("x", bodyBytes))}
	go u.serve()
	return u, nil
}

// upstreamHeader of an answer names who gave it.
const upstreamHeader = "X-Upstream"

func (u *upstream) serve() {
	for {
		conn, err := u.Accept()
		if err != nil {
			return
		}
		go u.answerAll(conn)
	}
}

// answerAll answers within the poller's read, which then waits for what follows.
func (u *upstream) answerAll(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	buf, n := make([]byte, 8<<10), 0
	_ = raw.Read(func(fd uintptr) bool { // it is over when the connection is
		for {
			read, err := rawRead(fd, buf[n:])
			if errors.Is(err, syscall.EAGAIN) {
				return false
			}
			if err != nil || read == 0 {
				return true
			}
			n += read
			for {
				end := bytes.Index(buf[:n], headEnd)
				if end < 0 {
					break
				}
				if sent, err := rawWrite(fd, u.answer); err != nil || sent < len(u.answer) {
					return true // nobody sends so many requests at once
				}
				n = copy(buf, buf[end+len(headEnd):n])
			}
		}
	})
}

var headEnd = []byte("\r\n\r\n")

// readAnswer reads one answer of a known body, into buf, and returns its head.
func readAnswer(conn io.Reader, buf []byte) ([]byte, error) {
	n, end := 0, -1
	for end < 0 || n < end+bodyBytes {
		read, err := conn.Read(buf[n:])
		if err != nil {
			return nil, err
		}
		n += read
		if end < 0 {
			if i := bytes.Index(buf[:n], headEnd); i >= 0 {
				end = i + len(headEnd)
			}
		}
	}
	if n != end+bodyBytes || !bytes.HasPrefix(buf, []byte("HTTP/1.1 200 ")) {
		return nil, fmt.Errorf("the answer is not as expected: %d bytes, %.60q", n, buf[:n])
	}
	return buf[:end], nil
}
