package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var requests = map[string]struct {
	head string
	want Verdict
}{
	"plain":                {"GET /v1/x?a=b%20c HTTP/1.1\r\nHost: a:80\r\nX-User: 1\r\nConnection: keep-alive\r\n\r\n", Plain},
	"body":                 {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n", Plain},
	"ends":                 {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", Plain},
	"expects":              {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n", Framed},
	"trailers wanted":      {"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n", Framed},
	"chunked":              {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Foreign},
	"two lengths":          {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", Foreign},
	"length list":          {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", Foreign},
	"signed length":        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", Foreign},
	"no length":            {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", Foreign},
	"huge length":          {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", Foreign},
	"both":                 {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", Foreign},
	"folded":               {"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", Foreign},
	"bare line feed":       {"GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n", Foreign},
	"bare carriage return": {"GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n", Foreign},
	"NUL":                  {"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", Foreign},
	"space before colon":   {"GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", Foreign},
	"no colon":             {"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", Foreign},
	"no name":              {"GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n", Foreign},
	"no host":              {"GET / HTTP/1.1\r\nX: a\r\n\r\n", Foreign},
	"empty host":           {"GET / HTTP/1.1\r\nHost:\r\n\r\n", Foreign},
	"two hosts":            {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Foreign},
	"odd host":             {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Foreign},
	"absolute form":        {"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Foreign},
	"asterisk":             {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Foreign},
	"authority":            {"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", Foreign},
	"two slashes":          {"GET //a HTTP/1.1\r\nHost: a\r\n\r\n", Foreign},
	"encoded path":         {"GET /a%2fb HTTP/1.1\r\nHost: a\r\n\r\n", Foreign},
	"path parameter":       {"GET /a;b HTTP/1.1\r\nHost: a\r\n\r\n", Foreign},
	"semicolon":            {"GET /?a;b HTTP/1.1\r\nHost: a\r\n\r\n", Foreign},
	"bad escape":           {"GET /?a=%zz HTTP/1.1\r\nHost: a\r\n\r\n", Foreign},
	"fragment":             {"GET /#a HTTP/1.1\r\nHost: a\r\n\r\n", Foreign},
	"two spaces":           {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Foreign},
	"old version":          {"GET / HTTP/1.0\r\nHost: a\r\n\r\n", Foreign},
	"no version":           {"GET /\r\nHost: a\r\n\r\n", Foreign},
	"HTTP/2":               {"PRI * HTTP/2.0\r\n\r\n", Foreign},
	"other method":         {"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", Foreign},
	"small letters":        {"get / HTTP/1.1\r\nHost: a\r\n\r\n", Foreign},
	"upgrade":              {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", Foreign},
	"connection option":    {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-User\r\n\r\n", Foreign},
	"empty line first":     {"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Foreign},
}

func TestRequests(t *testing.T) {
	for name, tc := range requests {
		t.Run(name, func(t *testing.T) {
			var r Request
			if got := r.Read(tc.head); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

var responses = map[string]struct {
	head string
	want bool
}{
	"plain":          {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", true},
	"no reason":      {"HTTP/1.1 200 \r\nContent-Length: 3\r\n\r\n", true},
	"no content":     {"HTTP/1.1 204 No Content\r\n\r\n", true},
	"not modified":   {"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", true},
	"until its end":  {"HTTP/1.1 200 OK\r\n\r\n", false},
	"chunked":        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false},
	"both":           {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", false},
	"two lengths":    {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", false},
	"early hints":    {"HTTP/1.1 103 Early Hints\r\n\r\n", false},
	"old version":    {"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", false},
	"no status":      {"HTTP/1.1 OK\r\nContent-Length: 3\r\n\r\n", false},
	"long status":    {"HTTP/1.1 2000 OK\r\nContent-Length: 3\r\n\r\n", false},
	"folded":         {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: 1\r\n 2\r\n\r\n", false},
	"bare line feed": {"HTTP/1.1 200 OK\nContent-Length: 3\r\n\r\n", false},
}

func TestResponses(t *testing.T) {
	for name, tc := range responses {
		t.Run(name, func(t *testing.T) {
			var r Response
			if got := r.Read(tc.head, false); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestEndIsFoundInPieces(t *testing.T) {
	const text = "GET / HTTP/1.1\r\nHost: a\r\n\r\nrest"
	want := strings.Index(text, "rest")
	for cut := range len(text) {
		end := End([]byte(text[:cut]), 0)
		if end < 0 {
			end = End([]byte(text), cut)
		}
		if end != want {
			t.Errorf("cut after %d: got %d, want %d", cut, end, want)
		}
	}
}

// FuzzRequest: whatever is read here, net/http reads in the same way, and to the same end.
func FuzzRequest(f *testing.F) {
	for _, tc := range requests {
		f.Add([]byte(tc.head + "body"))
	}
	f.Add([]byte("GET /v1/x?a=b%20c HTTP/1.1\r\nHost: a:80\r\nX-User: 1\r\nx-user: 2\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 0002\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nab"))
	f.Fuzz(func(t *testing.T, data []byte) {
		end := End(data, 0)
		if end < 0 {
			return
		}
		var r Request
		verdict := r.Read(string(data[:end]))
		if verdict == Foreign {
			return
		}
		in := bufio.NewReader(strings.NewReader(string(data)))
		want, err := http.ReadRequest(in)
		if err != nil {
			t.Fatalf("net/http refuses what was taken: %v", err)
		}
		if len(want.TransferEncoding) > 0 || len(want.Trailer) > 0 {
			t.Fatalf("net/http reads encodings %q and trailers %q", want.TransferEncoding, want.Trailer)
		}
		body, err := io.ReadAll(want.Body)
		if whole := int64(len(data)-end) >= r.Body(); (err == nil) != whole {
			t.Fatalf("reading the body: %v; all of it is there: %v", err, whole)
		}
		rest, _ := io.ReadAll(in)
		if wantRest := data[min(end+int(min(r.Body(), int64(len(data)))), len(data)):]; !bytes.Equal(rest, wantRest) {
			t.Fatalf("after the request net/http reads %q, not %q", rest, wantRest)
		}
		want.Header.Del("Content-Length")
		want.Header.Del("Connection")
		type parts struct {
			Method, URI, Path, Query, Host string
			Length                         int64
			Close                          bool
			Header                         http.Header
		}
		diff := cmp.Diff(parts{want.Method, want.RequestURI, want.URL.Path, want.URL.RawQuery, want.Host, want.ContentLength, want.Close, want.Header},
			parts{r.Method, r.Target, r.Path, r.Query, r.Host, r.Body(), r.Close, r.Header})
		if diff != "" || want.URL.RawPath != "" || err == nil && int64(len(body)) != r.Body() {
			t.Errorf("raw path %q, %d bytes of body; net/http's (-) and ours (+):\n%s", want.URL.RawPath, len(body), diff)
		}
	})
}

// FuzzResponse does the same for answers.
func FuzzResponse(f *testing.F) {
	for _, tc := range responses {
		f.Add([]byte(tc.head+"body"), false)
		f.Add([]byte(tc.head+"body"), true)
	}
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\nx-a: 2\r\n\r\nabHTTP/1.1 200 OK\r\n\r\n"), false)
	f.Add([]byte("HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"), false)
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"), true)
	f.Fuzz(func(t *testing.T, data []byte, toHEAD bool) {
		end := End(data, 0)
		if end < 0 {
			return
		}
		var r Response
		if !r.Read(string(data[:end]), toHEAD) {
			return
		}
		method := http.MethodGet
		if toHEAD {
			method = http.MethodHead
		}
		in := bufio.NewReader(strings.NewReader(string(data)))
		want, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("net/http refuses what was taken: %v", err)
		}
		body, err := io.ReadAll(want.Body)
		length := r.Length
		if r.Bodiless(toHEAD) {
			length = 0
		}
		if whole := int64(len(data)-end) >= length; (err == nil) != whole {
			t.Fatalf("reading the body: %v; all of it is there: %v", err, whole)
		}
		rest, _ := io.ReadAll(in)
		if wantRest := data[min(end+int(min(length, int64(len(data)))), len(data)):]; !bytes.Equal(rest, wantRest) {
			t.Fatalf("after the answer net/http reads %q, not %q", rest, wantRest)
		}
		want.Header.Del("Content-Length")
		want.Header.Del("Connection")
		diff := cmp.Diff(want.Header, r.Header)
		if diff != "" || want.StatusCode != r.Status || want.Close != r.Close || len(want.TransferEncoding) > 0 || err == nil && int64(len(body)) != length {
			t.Errorf("status %d and %d, close %v and %v, %d bytes; net/http's (-) and ours (+):\n%s",
				want.StatusCode, r.Status, want.Close, r.Close, len(body), diff)
		}
	})
}
