package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"multiactive.dev/operator/internal/gateway/http1"
)

// pass passes an answer on, of which n bytes are there, and reports whether the client's connection can be
// used again.
func (c *fastConn) pass(fd uintptr, up *upstream, n int) bool {
	w := c.work
	end := http1.End(w.back[:n], 0)
	for end < 0 && n < len(w.back) {
		m, err := up.more(w.back[n:])
		if err != nil {
			return c.passOther(fd, up, n) // which fails in the same way, and says so
		}
		end = http1.End(w.back[:n+m], n)
		n += m
	}
	if end < 0 || !w.resp.Read(string(w.back[:end]), w.toHEAD()) {
		return c.passOther(fd, up, n)
	}
	left := c.composeAnswer(end, n)
	if left <= 0 {
		c.plain = true
		c.releaseWhole(up, left)
		return c.settled(c.write(fd, w.out))
	}
	err := c.write(fd, w.out)
	if err == nil {
		err = c.stream(fd, up, left)
	}
	c.release(up, err == nil && !w.resp.Close)
	return c.settled(err)
}

// composeAnswer writes the answer whose head ends at end, with what is there of its body, and returns how much of that
// is left. Less than none: more is there than belongs to it.
func (c *fastConn) composeAnswer(end, n int) (left int64) {
	w := c.work
	w.local = http.Response{StatusCode: w.resp.Status, Header: w.resp.Header}
	c.accept(&w.local)
	out := c.appendStatus(w.out[:0], w.resp.Status, w.resp.Header)
	out = appendHeader(out, w.resp.Header)
	if w.resp.Length >= 0 && w.resp.Status != http.StatusNoContent {
		out = appendLength(out, w.resp.Length)
	}
	out = append(out, "\r\n"...)
	length, there := w.resp.Body(w.toHEAD()), int64(n-end)
	out = append(out, w.back[end:end+int(min(there, length))]...)
	w.out = out
	return length - there
}

// releaseWhole ends the use of a connection whose answer is all there. What follows it, nobody has asked for.
func (c *fastConn) releaseWhole(up *upstream, left int64) {
	c.release(up, left == 0 && !c.work.resp.Close)
}

// stream passes the rest of a body of a known length on.
func (c *fastConn) stream(fd uintptr, up *upstream, left int64) error {
	back := c.work.back
	for left > 0 {
		n, err := up.more(back[:min(int64(len(back)), left)])
		if err != nil {
			return err
		}
		left -= int64(n)
		if err := c.write(fd, back[:n]); err != nil {
			return err
		}
	}
	return nil
}

// accept cleans the answer as those of net/http's path are.
func (c *fastConn) accept(resp *http.Response) {
	c.enter(phaseAnswer)
	ex := &c.work.ex
	removeNamed(resp.Header)
	_ = ex.answer(resp) // it refuses answers of other kinds of attempts alone
	ex.w.status = resp.StatusCode
}

// hopHeaders concern one connection.
var hopHeaders = [...]string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade",
}

// release ends the use of the connection to the application, and keeps it for another request if it may.
func (c *fastConn) release(up *upstream, keep bool) {
	if cause := c.unuse(); keep && cause == nil {
		up.pool.put(up)
		return
	}
	up.close()
}

// settled notes the outcome, and reports whether all of the answer was passed on. An answer that broke off
// ends the client's connection, so that it does not look whole.
func (c *fastConn) settled(err error) bool {
	ex := &c.work.ex
	if err != nil {
		ex.err = err
		return false
	}
	ex.outcome = OutcomeLocal
	if ex.target.home {
		ex.outcome = OutcomeHome
	}
	return true
}

// passOther passes an answer on that is not plain: chunked, until the connection's end, with others before
// it. net/http reads it.
func (c *fastConn) passOther(fd uintptr, up *upstream, n int) bool {
	first := bytes.NewReader(slices.Clone(c.work.back[:n]))
	in := &bounded{r: io.MultiReader(first, up), left: maxAnswerHeader}
	br := bufio.NewReader(in)
	resp, err := c.readOther(fd, br) //nolint:bodyclose // it is read to its end, or its connection is closed
	if err != nil {
		return c.refuseOther(fd, up, err)
	}
	in.left = -1
	c.accept(resp)
	err = c.streamOther(fd, resp)
	c.release(up, err == nil && !resp.Close && resp.ProtoAtLeast(1, 1) && br.Buffered() == 0 && first.Len() == 0)
	return c.settled(err)
}

// readOther reads a head, and passes some of those on that come before it: as many as may come, but no more
// bytes than all of them may have.
func (c *fastConn) readOther(fd uintptr, br *bufio.Reader) (*http.Response, error) {
	for hints := 1; ; hints++ {
		resp, err := http.ReadResponse(br, c.work.ex.r)
		switch {
		case err != nil:
			return nil, err
		case resp.StatusCode == http.StatusSwitchingProtocols:
			return nil, errUnasked101
		case resp.StatusCode >= http.StatusOK:
			return resp, nil
		case hints > maxHints, resp.StatusCode == http.StatusContinue: // nobody waits for that here
			continue
		}
		removeNamed(resp.Header)
		stripReserved(resp.Header)
		out := append([]byte("HTTP/1.1 "), strconv.Itoa(resp.StatusCode)+" "+http.StatusText(resp.StatusCode)+"\r\n"...)
		if err := c.write(fd, append(appendHeader(out, resp.Header), "\r\n"...)); err != nil {
			return nil, err
		}
	}
}

var errUnasked101 = errors.New("the application switches to a protocol that nobody asked for")

// refuseOther answers for an application that gave no answer.
func (c *fastConn) refuseOther(fd uintptr, up *upstream, err error) bool {
	ex := &c.work.ex
	up.close()
	if cause := c.unuse(); cause != nil {
		err = cause
	}
	ex.err = err
	if errors.Is(err, errClientGone) || errors.Is(err, errCut) {
		return false
	}
	ex.settle(OutcomeFailed, err)
	return c.tell(fd) == nil
}

// removeNamed removes the headers that end at a connection because its Connection header names them.
func removeNamed(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hopHeaders {
		delete(h, name)
	}
}

// streamOther passes head, body and trailers on, as they come.
func (c *fastConn) streamOther(fd uintptr, resp *http.Response) error {
	w := c.work
	bodiless := w.r.Method == http.MethodHead || resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified
	chunked := resp.ContentLength < 0 && !bodiless
	w.out = c.appendOther(w.out[:0], resp, bodiless, chunked)
	if err := c.write(fd, w.out); err != nil || bodiless {
		return err
	}
	for {
		n, err := resp.Body.Read(w.back)
		if n > 0 {
			if err := c.writePart(fd, w.back[:n], chunked); err != nil {
				return err
			}
		}
		if err == nil {
			continue
		}
		if errors.Is(err, io.EOF) {
			return c.endOther(fd, resp, chunked)
		}
		return err
	}
}

// appendOther writes the head.
func (c *fastConn) appendOther(out []byte, resp *http.Response, bodiless, chunked bool) []byte {
	out = c.appendStatus(out, resp.StatusCode, resp.Header)
	length := resp.Header["Content-Length"]
	delete(resp.Header, "Content-Length")
	out = appendHeader(out, resp.Header)
	switch {
	case chunked:
		out = append(out, "Transfer-Encoding: chunked\r\n"...)
		out = appendTrailerNames(out, resp.Trailer)
	case bodiless && len(length) == 1 && resp.StatusCode != http.StatusNoContent:
		out = append(append(append(out, "Content-Length: "...), length[0]...), "\r\n"...)
	case !bodiless:
		out = appendLength(out, resp.ContentLength)
	}
	return append(out, "\r\n"...)
}

// endOther ends a body whose length was not known, with the trailers.
func (c *fastConn) endOther(fd uintptr, resp *http.Response, chunked bool) error {
	if !chunked {
		return nil
	}
	return c.write(fd, append(appendHeader([]byte("0\r\n"), resp.Trailer), "\r\n"...))
}

func (c *fastConn) writePart(fd uintptr, p []byte, chunked bool) error {
	if !chunked {
		return c.write(fd, p)
	}
	w := c.work
	out := strconv.AppendInt(w.out[:0], int64(len(p)), 16)
	out = append(append(append(out, "\r\n"...), p...), "\r\n"...)
	w.out = out
	return c.write(fd, out)
}

func appendTrailerNames(out []byte, trailer http.Header) []byte {
	if len(trailer) == 0 {
		return out
	}
	names := make([]string, 0, len(trailer))
	for name := range trailer {
		names = append(names, name)
	}
	return append(append(append(out, "Trailer: "...), strings.Join(names, ", ")...), "\r\n"...)
}

// bounded reads at most so much; negative: any amount.
type bounded struct {
	r    io.Reader
	left int
}

var errLongHead = errors.New("the header of the answer is too long")

func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errLongHead
	}
	if b.left > 0 && len(p) > b.left {
		p = p[:b.left]
	}
	n, err := b.r.Read(p)
	if b.left > 0 {
		b.left -= n
	}
	return n, err
}
