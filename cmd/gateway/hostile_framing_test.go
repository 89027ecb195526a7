package main

import "strings"

// hidden is a request that must never come out of the body of another.
const hidden = "POST /v1/payments/hidden HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"

// post is a request to an open flow, with header lines and a body.
func post(lines, body string) string {
	return "POST /v1/open/a HTTP/1.1\r\nHost: x\r\n" + lines + "\r\n" + body
}

// open is one without a body.
func open(lines string) string { return "GET /v1/open/a HTTP/1.1\r\nHost: x\r\n" + lines + "\r\n" }

// framingCases are requests whose end two readers could see in different places.
var framingCases = []bytesCase{
	{name: "two different `Content-Length`", sent: post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"), status: 400, closed: true},
	{name: "the same `Content-Length` twice", sent: post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), status: 200, seen: "POST /v1/open/a hello", as: "one `Content-Length`"},
	{name: "a list in `Content-Length`", sent: post("Content-Length: 5, 5\r\n", "hello"), status: 400, closed: true},
	{name: "`Content-Length: +5`", sent: post("Content-Length: +5\r\n", "hello"), status: 400, closed: true},
	{name: "`Content-Length: -5`", sent: post("Content-Length: -5\r\n", "hello"), status: 400, closed: true},
	{name: "`Content-Length: 0x5`", sent: post("Content-Length: 0x5\r\n", "hello"), status: 400, closed: true},
	{name: "an empty `Content-Length`", sent: post("Content-Length:\r\n", "hello"), status: 400, closed: true},
	{name: "a `Content-Length` beyond 2^63", sent: post("Content-Length: 99999999999999999999\r\n", "hello"), status: 400, closed: true},
	{name: "a request hidden behind a `Content-Length` of 0", sent: post("Content-Length: 0\r\n", hidden), status: 200, also: []int{403}, seen: "POST /v1/open/a", as: "the second one is decided for itself"},
	{name: "a body of GET that is a request", sent: open("Content-Length: "+lengthOf(hidden)+"\r\n") + hidden, status: 200, seen: "GET /v1/open/a " + hidden, as: "a body"},

	{name: "`Content-Length` and `Transfer-Encoding`", sent: post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), status: 200, seen: "POST /v1/open/a hello", as: "chunks alone, as RFC 9112 (6.3) has it", mayRefuse: true},
	{name: "the same, in the other order", sent: post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "5\r\nhello\r\n0\r\n\r\n"), status: 200, seen: "POST /v1/open/a hello", as: "chunks alone", mayRefuse: true},
	{name: "`Transfer-Encoding` twice", sent: post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), status: 501, closed: true},
	{name: "`Transfer-Encoding` twice, once as identity", sent: post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"), status: 501, closed: true},
	{name: "`Transfer-Encoding: xchunked`", sent: post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), status: 501, closed: true},
	{name: "`Transfer-Encoding: gzip, chunked`", sent: post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), status: 501, closed: true},
	{name: "`Transfer-Encoding: chunked, identity`", sent: post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), status: 501, closed: true},
	{name: "`Transfer-Encoding: identity`", sent: post("Transfer-Encoding: identity\r\nContent-Length: 5\r\n", "hello"), status: 501, closed: true},
	{name: "an empty `Transfer-Encoding`", sent: post("Transfer-Encoding:\r\nContent-Length: 5\r\n", "hello"), status: 501, closed: true},
	{name: "`Transfer-Encoding` with a vertical tab", sent: post("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"), status: 400, closed: true},
	{name: "a space before the colon of `Transfer-Encoding`", sent: post("Transfer-Encoding : chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), status: 400, closed: true},
	{name: "`Transfer_Encoding`", sent: post("Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", "hello"), status: 200, seen: "POST /v1/open/a hello", as: "without that header", lacks: "ransfer_"},
	{name: "`Transfer-Encoding` listed in `Connection`", sent: post("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), status: 200, seen: "POST /v1/open/a hello"},
	{name: "`Content-Length` listed in `Connection`", sent: post("Connection: Content-Length\r\nContent-Length: 5\r\n", "hello"), status: 200, seen: "POST /v1/open/a hello"},
	{name: "`Transfer-Encoding` in HTTP/1.0", sent: "POST /v1/open/a HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n5\r\nhello\r\n0\r\n\r\n", status: 200, also: []int{400}, closed: true, seen: "POST /v1/open/a", as: "without a body; what follows is no request", mayRefuse: true},

	{name: "a chunk size that is no number", sent: post("Transfer-Encoding: chunked\r\n", "g\r\nhello\r\n0\r\n\r\n"), status: 400, reason: "malformed-body", closed: true, broken: true},
	{name: "a chunk size with a sign", sent: post("Transfer-Encoding: chunked\r\n", "+5\r\nhello\r\n0\r\n\r\n"), status: 400, reason: "malformed-body", closed: true, broken: true},
	{name: "a chunk size as `0x5`", sent: post("Transfer-Encoding: chunked\r\n", "0x5\r\nhello\r\n0\r\n\r\n"), status: 400, reason: "malformed-body", closed: true, broken: true},
	{name: "a chunk size beyond 64 bits", sent: post("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"), status: 400, reason: "malformed-body", closed: true, broken: true},
	{name: "an empty chunk size", sent: post("Transfer-Encoding: chunked\r\n", "\r\nhello\r\n0\r\n\r\n"), status: 400, reason: "malformed-body", closed: true, broken: true},
	{name: "a chunk that is longer than it says", sent: post("Transfer-Encoding: chunked\r\n", "3\r\nhello\r\n0\r\n\r\n"), status: 400, reason: "malformed-body", closed: true, broken: true},
	{name: "a chunk size ended by a bare LF", sent: post("Transfer-Encoding: chunked\r\n", "5\nhello\r\n0\r\n\r\n"), status: 400, reason: "malformed-body", closed: true, broken: true},
	{name: "a chunk extension", sent: post("Transfer-Encoding: chunked\r\n", "5;a=b\r\nhello\r\n0\r\n\r\n"), status: 200, seen: "POST /v1/open/a hello", as: "without the extension"},
	{name: "a chunk extension with a bare LF", sent: post("Transfer-Encoding: chunked\r\n", "5;a\nb\r\nhello\r\n0\r\n\r\n"), status: 400, reason: "malformed-body", closed: true, broken: true},
	{name: "chunk extensions of 32 KiB", sent: post("Transfer-Encoding: chunked\r\n", "5;"+strings.Repeat("a", 32<<10)+"\r\nhello\r\n0\r\n\r\n"), status: 400, reason: "malformed-body", closed: true, broken: true},
	{name: "a trailer that is no header line", sent: post("Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n", "5\r\nhello\r\n0\r\nnothing\r\n\r\n"), status: 400, reason: "malformed-body", closed: true, broken: true},
	{name: "a declared trailer", sent: post("Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n", "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"), status: 200, seen: "POST /v1/open/a hello", trailer: "X-Sum"},
	{name: "an undeclared trailer", sent: post("Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n", "5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 1\r\n\r\n"), status: 200, seen: "POST /v1/open/a hello", trailer: "X-Sum", as: "without it", lacks: "X-More"},
	{name: "framing declared as a trailer", sent: post("Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n", "5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n"), status: 400, closed: true},
	{name: "framing in an undeclared trailer", sent: post("Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n", "5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\nTransfer-Encoding: gzip\r\n\r\n"), status: 200, seen: "POST /v1/open/a hello", trailer: "X-Sum", as: "without it", lacks: "gzip"},
	{name: "a second request after a body", sent: post("Content-Length: 5\r\n", "hello"+open("")), status: 200, also: []int{200}, seen: "POST /v1/open/a hello;GET /v1/open/a", as: "the second one is decided for itself"},
	{name: "a body that is a request, in a flow that refuses it", sent: "POST /v1/forgotten HTTP/1.1\r\nHost: x\r\nContent-Length: " + lengthOf(hidden) + "\r\n\r\n" + hidden, status: 403, reason: "unmatched"},
	{name: "the same in chunks", sent: "POST /v1/forgotten HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(hidden) + "0\r\n\r\n", status: 403, reason: "unmatched"},
	{name: "the same, with the shed flow's header read first", sent: "GET /v1/admin/x HTTP/1.1\r\nHost: x\r\nContent-Length: " + lengthOf(hidden) + "\r\n\r\n" + hidden, status: 503, reason: "shed"},
}

// lineCases are requests whose lines two readers could read differently.
var lineCases = []bytesCase{
	{name: "a header continued on the next line", sent: open("X-A: one\r\n two\r\n"), status: 200, seen: "GET /v1/open/a", as: "one line, with a space"},
	{name: "a first header line that begins with a space", sent: "GET /v1/open/a HTTP/1.1\r\n Host: x\r\n\r\n", status: 400, closed: true},
	{name: "lines ended by bare LF", sent: "GET /v1/open/a HTTP/1.1\nHost: x\n\n", status: 200, seen: "GET /v1/open/a", as: "with CRLF"},
	{name: "a bare CR in a header's value", sent: open("X-A: one\rX-B: two\r\n"), status: 400, closed: true},
	{name: "NUL in a header's value", sent: open("X-A: o\x00ne\r\n"), status: 400, closed: true},
	{name: "NUL in a header's name", sent: open("X-\x00A: one\r\n"), status: 400, closed: true},
	{name: "a space before a colon", sent: open("X-A : one\r\n"), status: 400, closed: true},
	{name: "a line without a colon", sent: open("nothing\r\n"), status: 400, closed: true},
	{name: "an empty header name", sent: open(": one\r\n"), status: 400, closed: true},
	{name: "a header name beyond ASCII", sent: open("X-\xc3\xa4: one\r\n"), status: 400, closed: true},
	{name: "CR and LF, encoded, in the query", sent: "GET /v1/open/a?b=%0d%0aX-C:%20d HTTP/1.1\r\nHost: x\r\n\r\n", status: 200, seen: "GET /v1/open/a?b=%0d%0aX-C:%20d", as: "it was sent: encoded"},
	{name: "CR and LF, encoded, in the path", sent: "GET /v1/open/a%0d%0aX-C:%20d HTTP/1.1\r\nHost: x\r\n\r\n", status: 400, reason: "ambiguous-path"},
	{name: "NUL, encoded, in the path", sent: "GET /v1/open/a%00.png HTTP/1.1\r\nHost: x\r\n\r\n", status: 400, reason: "ambiguous-path"},
	{name: "a bare CR in the address", sent: "GET /v1/open/a\rb HTTP/1.1\r\nHost: x\r\n\r\n", status: 400, closed: true},
	{name: "an address with a space", sent: "GET /v1/open/a b HTTP/1.1\r\nHost: x\r\n\r\n", status: 400, closed: true},
	{name: "an address with a bad escape", sent: "GET /v1/open/%zz HTTP/1.1\r\nHost: x\r\n\r\n", status: 400, closed: true},
	{name: "an address without a slash", sent: "GET v1/open/a HTTP/1.1\r\nHost: x\r\n\r\n", status: 400, closed: true},
	{name: "a path with dot segments into another flow", sent: "GET /v1/open/../admin/x HTTP/1.1\r\nHost: x\r\n\r\n", status: 400, reason: "ambiguous-path"},
	{name: "the same with a parameter", sent: "GET /v1/open/..;/admin/x HTTP/1.1\r\nHost: x\r\n\r\n", status: 400, reason: "ambiguous-path"},
	{name: "the same, encoded", sent: "GET /v1/open/%2e%2e/admin/x HTTP/1.1\r\nHost: x\r\n\r\n", status: 400, reason: "ambiguous-path"},
	{name: "the same with a backslash", sent: "GET /v1/open/..%5cadmin/x HTTP/1.1\r\nHost: x\r\n\r\n", status: 400, reason: "ambiguous-path"},

	{name: "no `Host`", sent: "GET /v1/open/a HTTP/1.1\r\n\r\n", status: 400, closed: true},
	{name: "`Host` twice", sent: open("Host: y\r\n"), status: 400, closed: true},
	{name: "`Host` twice, the same", sent: open("Host: x\r\n"), status: 400, closed: true},
	{name: "a `Host` with a path", sent: "GET /v1/open/a HTTP/1.1\r\nHost: x/y\r\n\r\n", status: 400, closed: true},
	{name: "a `Host` with a user", sent: "GET /v1/open/a HTTP/1.1\r\nHost: u@x\r\n\r\n", status: 400, closed: true},
	{name: "a `Host` that is a list", sent: "GET /v1/open/a HTTP/1.1\r\nHost: x,admin.example.com\r\n\r\n", status: 400, reason: "invalid-host"},
	{name: "a `Host` with an escape", sent: "GET /v1/open/a HTTP/1.1\r\nHost: %61dmin.example.com\r\n\r\n", status: 400, reason: "invalid-host"},
	{name: "a `Host` with a port that is no number", sent: "GET /v1/open/a HTTP/1.1\r\nHost: x:admin\r\n\r\n", status: 400, reason: "invalid-host"},
	{name: "a `Host` with two final dots", sent: "GET /v1/open/a HTTP/1.1\r\nHost: admin.example.com..\r\n\r\n", status: 400, reason: "invalid-host"},
	{name: "a `Host` with capitals and a final dot", sent: "GET /v1/open/a HTTP/1.1\r\nHost: ADMIN.example.com.\r\n\r\n", status: 503, reason: "shed", as: "the flow of that host"},
	{name: "an absolute address that names another host", sent: "GET http://admin.example.com/v1/open/a HTTP/1.1\r\nHost: x\r\n\r\n", status: 503, reason: "shed", as: "the flow of the address's host"},
	{name: "an absolute address, and a `Host` of another flow", sent: "GET http://x/v1/open/a HTTP/1.1\r\nHost: admin.example.com\r\n\r\n", status: 200, seen: "GET /v1/open/a", as: "the address's host, which becomes `Host`", host: "x"},
	{name: "an absolute address with a user", sent: "GET http://u:p@x/v1/open/a HTTP/1.1\r\nHost: x\r\n\r\n", status: 200, seen: "GET /v1/open/a", as: "without it", host: "x", lacks: "u:p"},
	{name: "an absolute address of another protocol", sent: "GET ftp://x/v1/open/a HTTP/1.1\r\nHost: x\r\n\r\n", status: 200, seen: "GET /v1/open/a", as: "a path", host: "x"},
	{name: "CONNECT", sent: "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", status: 405, reason: "method-not-allowed"},

	{name: "a method in small letters", sent: "post /v1/open/a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", status: 405, reason: "method-not-allowed"},
	{name: "a method that is no token", sent: "G\"T /v1/open/a HTTP/1.1\r\nHost: x\r\n\r\n", status: 400, closed: true},
	{name: "a method that no flow has", sent: "FOO /v1/forgotten HTTP/1.1\r\nHost: x\r\n\r\n", status: 403, reason: "unmatched"},
	{name: "no method", sent: " /v1/open/a HTTP/1.1\r\nHost: x\r\n\r\n", status: 400, closed: true},
	{name: "`X-HTTP-Method-Override` into another method", sent: open("X-HTTP-Method-Override: DELETE\r\n"), status: 400, reason: "ambiguous-method"},
	{name: "the same with its other names", sent: open("X-Method-Override: DELETE\r\n"), status: 400, reason: "ambiguous-method"},
	{name: "`X-HTTP-Method-Override` that says the method", sent: open("X-HTTP-Method-Override: GET\r\n"), status: 200, seen: "GET /v1/open/a"},
	{name: "`X-Original-URL` and `X-Rewrite-URL`", sent: open("X-Original-URL: /v1/admin/x\r\nX-Rewrite-URL: /v1/admin/x\r\n"), status: 200, seen: "GET /v1/open/a", as: "without them", lacks: "/v1/admin/x"},
	{name: "HTTP/0.9", sent: "GET /v1/open/a\r\n\r\n", status: 400, closed: true},
	{name: "HTTP/0.9 with a version", sent: "GET /v1/open/a HTTP/0.9\r\nHost: x\r\n\r\n", status: 505, closed: true},
	{name: "HTTP/2.0 in a request line", sent: "GET /v1/open/a HTTP/2.0\r\nHost: x\r\n\r\n", status: 505, closed: true},
	{name: "HTTP/1.10", sent: "GET /v1/open/a HTTP/1.10\r\nHost: x\r\n\r\n", status: 400, closed: true},
	{name: "`http/1.1`", sent: "GET /v1/open/a http/1.1\r\nHost: x\r\n\r\n", status: 400, closed: true},
	{name: "no version", sent: "GET /v1/open/a \r\nHost: x\r\n\r\n", status: 400, closed: true},
	{name: "HTTP/1.0 without `Host`", sent: "GET /v1/open/a HTTP/1.0\r\n\r\n", status: 200, closed: true, seen: "GET /v1/open/a", as: "the application's own address as `Host`"},
	{name: "`Expect` of something unknown", sent: post("Content-Length: 5\r\nExpect: a-miracle\r\n", "hello"), status: 417, closed: true},
	{name: "TLS", sent: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", status: 400, closed: true},
	{name: "an upgrade to h2c", sent: open("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"), status: 200, seen: "GET /v1/open/a", as: "no upgrade", lacks: "h2c"},
	{name: "an upgrade to h2c among others", sent: open("Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n"), status: 200, seen: "GET /v1/open/a", as: "no upgrade", lacks: "h2c"},
	{name: "an upgrade to anything but WebSocket", sent: open("Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n"), status: 200, seen: "GET /v1/open/a", as: "no upgrade", lacks: "TLS"},
	{name: "`Upgrade: websocket` that the application ignores", sent: open("Connection: Upgrade\r\nUpgrade: websocket\r\n") + open(""), status: 200, also: []int{200}, seen: "GET /v1/open/a;GET /v1/open/a", as: "the second request is decided for itself"},
	{name: "gRPC over HTTP/1.1", sent: post("Content-Type: application/grpc\r\nContent-Length: 5\r\n", "hello"), status: 200, seen: "POST /v1/open/a hello", as: "any other request, over HTTP/1.1"},
}
