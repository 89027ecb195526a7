package main

import (
	"encoding/base64"
	"strings"
)

// pay is a request of a home flow, with header lines and a body.
func pay(lines, body string) string {
	return "POST /v1/payments HTTP/1.1\r\nHost: x\r\n" + lines + "Content-Length: " + lengthOf(body) + "\r\n\r\n" + body
}

// paid is what the application sees of it, if it is sent there.
func paid(body string) string { return strings.TrimSpace("POST /v1/payments " + body) }

// bearer is a token with claims, which nobody has signed.
func bearer(claims string) string {
	return "Authorization: Bearer eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".\r\n"
}

// forgedCases are requests that speak for the gateway.
var forgedCases = []bytesCase{
	{name: "`Multiactive-*` from outside", sent: open("Multiactive-Key: forged\r\nMultiactive-Owner: forged\r\nMultiactive-Session: forged\r\nMultiactive-New: forged\r\n"), status: 200, seen: "GET /v1/open/a", as: "without them", lacks: "forged"},
	{name: "the same in other letters", sent: open("MULTIACTIVE-KEY: forged\r\nmultiactive-slot: forged\r\n"), status: 200, seen: "GET /v1/open/a", as: "without them", lacks: "forged"},
	{name: "the same with underscores", sent: open("Multiactive_Key: forged\r\nMULTIACTIVE_SLOT: forged\r\n"), status: 200, seen: "GET /v1/open/a", as: "without them", lacks: "forged"},
	{name: "the same twice, in a home flow", sent: pay("X-User-Phone: 138\r\nMultiactive-Key: forged\r\nMultiactive-Key: forged\r\nMultiactive-Epoch: forged\r\n", ""), status: 200, seen: paid(""), as: "with the gateway's own", key: "138", lacks: "forged"},
	{name: "the gateway's own headers listed in `Connection`", sent: pay("X-User-Phone: 138\r\nConnection: Multiactive-Key, Multiactive-Owner, Multiactive-Epoch\r\n", ""), status: 200, seen: paid(""), as: "with them", key: "138"},
	{name: "`Multiactive-*` in announced trailers", sent: post("Transfer-Encoding: chunked\r\nTrailer: Multiactive-Key, X-Sum\r\n", "5\r\nhello\r\n0\r\nMultiactive-Key: forged\r\nX-Sum: 1\r\n\r\n"), status: 200, seen: "POST /v1/open/a hello", trailer: "X-Sum", as: "without them", lacks: "orged"},
	{name: "`Multiactive-*` in other trailers", sent: post("Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n", "5\r\nhello\r\n0\r\nMultiactive-Key: forged\r\nX-Sum: 1\r\n\r\n"), status: 200, seen: "POST /v1/open/a hello", trailer: "X-Sum", as: "without them", lacks: "orged"},
	{name: "the key's header in a trailer", sent: post("Transfer-Encoding: chunked\r\nTrailer: X-User-Phone, Authorization\r\n", "5\r\nhello\r\n0\r\nX-User-Phone: forged\r\nAuthorization: forged\r\n\r\n"), status: 200, seen: "POST /v1/open/a hello", as: "without it", lacks: "orged"},
	{name: "a hop that nobody signed", sent: open("Multiactive-Hop: v1,shanghai,beijing,7,00,x,AAAA\r\n"), status: 403, reason: "hop-not-authenticated"},
	{name: "an empty hop", sent: open("Multiactive-Hop:\r\n"), status: 403, reason: "hop-not-authenticated"},
	{name: "a hop listed in `Connection`", sent: open("Connection: Multiactive-Hop\r\nMultiactive-Hop: forged\r\n"), status: 200, seen: "GET /v1/open/a", as: "without it", lacks: "forged"},
	{name: "a deferred request that nobody signed", sent: pay("X-User-Phone: 138\r\nMultiactive-Deferred: v1,forged,forged\r\nMultiactive-Subject: forged\r\n", ""), status: 200, seen: paid(""), as: "without it", key: "138", lacks: "forged"},
	{name: "the page where gateways ask for sessions", sent: "GET /.multiactive/session?class=session HTTP/1.1\r\nHost: x\r\nCookie: sid=a\r\n\r\n", status: 404, problem: "not-found"},
	{name: "the application's page for sessions", sent: "GET /internal/session HTTP/1.1\r\nHost: x\r\n\r\n", status: 404, reason: "not-found"},
	{name: "the same in other letters and with a parameter", sent: "GET /Internal/%73ession;a=b/ HTTP/1.1\r\nHost: x\r\n\r\n", status: 404, reason: "not-found"},
	{name: "`Proxy`, which some servers take for a setting", sent: open("Proxy: http://forged\r\n"), status: 200, seen: "GET /v1/open/a", as: "without it", lacks: "forged"},
	{name: "the key's header with underscores", sent: pay("X-User-Phone: 138\r\nX_User_Phone: forged\r\n", ""), status: 200, seen: paid(""), as: "without it", key: "138", lacks: "forged"},
	{name: "the key's header listed in `Connection`", sent: pay("X-User-Phone: forged\r\nConnection: X-User-Phone\r\nCookie: phone=138\r\n", ""), status: 200, seen: paid(""), as: "without it, and not decided by it", key: "138", lacks: "forged"},
}

// keyCases are requests whose key two readers could see differently.
var keyCases = []bytesCase{
	{name: "no key", sent: pay("", ""), status: 400, reason: "missing-key"},
	{name: "the same key everywhere", sent: pay("X-User-Phone: 138\r\nCookie: phone=138\r\n"+bearer(`{"phone":"138"}`), `{"phone":138}`), status: 200, seen: paid(`{"phone":138}`), key: "138"},
	{name: "header and cookie differ", sent: pay("X-User-Phone: 138\r\nCookie: phone=139\r\n", ""), status: 400, reason: "conflicting-keys"},
	{name: "header and body differ", sent: pay("X-User-Phone: 138\r\n", `{"phone":"139"}`), status: 400, reason: "conflicting-keys"},
	{name: "header and token differ", sent: pay("X-User-Phone: 138\r\n"+bearer(`{"phone":"139"}`), ""), status: 400, reason: "conflicting-keys"},
	{name: "header and query differ", sent: strings.Replace(pay("X-User-Phone: 138\r\n", ""), "/v1/payments", "/v1/payments?%70hone=139", 1), status: 400, reason: "conflicting-keys"},
	{name: "path and header differ", sent: "GET /v1/users/139 HTTP/1.1\r\nHost: x\r\nX-User-Phone: 138\r\n\r\n", status: 400, reason: "conflicting-keys"},
	{name: "two headers differ", sent: pay("X-User-Phone: 138\r\nX-User-Phone: 139\r\n", ""), status: 400, reason: "conflicting-keys"},
	{name: "two cookies differ, in two lines", sent: pay("Cookie: phone=138\r\nCookie: a=b; phone=139\r\n", ""), status: 400, reason: "conflicting-keys"},
	{name: "a cookie after 4,000 others differs", sent: pay("X-User-Phone: 138\r\nCookie: "+strings.Repeat("a=;", 4000)+"phone=139\r\n", ""), status: 400, reason: "conflicting-keys"},
	{name: "a cookie with a character that cookies lack", sent: pay("X-User-Phone: 138\r\nCookie: phone=139\\\r\n", ""), status: 400, reason: "invalid-key"},
	{name: "a cookie with half a quote", sent: pay("X-User-Phone: 138\r\nCookie: phone=\"139\r\n", ""), status: 400, reason: "invalid-key"},
	{name: "two query parameters differ", sent: strings.Replace(pay("", ""), "/v1/payments", "/v1/payments?phone=138&phone=139", 1), status: 400, reason: "conflicting-keys"},
	{name: "a query with a semicolon", sent: strings.Replace(pay("", ""), "/v1/payments", "/v1/payments?phone=138;phone=139", 1), status: 400, reason: "invalid-key"},
	{name: "a query with a bad escape", sent: strings.Replace(pay("", ""), "/v1/payments", "/v1/payments?phone=%zz", 1), status: 400, reason: "invalid-key"},
	{name: "the member twice in the body", sent: pay("", `{"phone":"138","phone":"139"}`), status: 400, reason: "malformed-body"},
	{name: "the member twice, once escaped", sent: pay("", `{"phone":"138","ph\u006fne":"139"}`), status: 400, reason: "malformed-body"},
	{name: "the member in other letters", sent: pay("X-User-Phone: 138\r\n", `{"Phone":"139"}`), status: 400, reason: "malformed-body"},
	{name: "the member in other letters besides", sent: pay("X-User-Phone: 138\r\n", `{"phone":"138","PHONE":"139"}`), status: 400, reason: "malformed-body"},
	{name: "two `Content-Type`, one of them JSON", sent: pay("X-User-Phone: 138\r\nContent-Type: text/plain\r\nContent-Type: application/json\r\n", `{"phone":"139"}`), status: 400, reason: "conflicting-keys"},
	{name: "`Content-Type` listed in `Connection`", sent: pay("X-User-Phone: 138\r\nConnection: Content-Type\r\nContent-Type: text/plain\r\n", `{"phone":"139"}`), status: 400, reason: "conflicting-keys"},
	{name: "two `Content-Encoding`, one of them gzip", sent: pay("X-User-Phone: 138\r\nContent-Encoding: identity\r\nContent-Encoding: gzip\r\n", "x"), status: 415, reason: "unsupported-encoding"},
	{name: "a key that is an object", sent: pay("", `{"phone":{}}`), status: 400, reason: "malformed-body"},
	{name: "a key that is a fraction", sent: pay("", `{"phone":1.0}`), status: 400, reason: "malformed-body"},
	{name: "text after the document", sent: pay("", `{"phone":"138"}{"phone":"139"}`), status: 400, reason: "malformed-body"},
	{name: "a byte order mark", sent: pay("", "\xef\xbb\xbf{\"phone\":\"138\"}"), status: 400, reason: "malformed-body"},
	{name: "UTF-16", sent: pay("Content-Type: application/json; charset=utf-16\r\n", "{\x00}\x00"), status: 400, reason: "malformed-body"},
	{name: "60,000 brackets", sent: pay("", strings.Repeat("[", 60_000)), status: 400, reason: "malformed-body"},
	{name: "a body of 70,000 bytes that may have the key", sent: pay("", `{"phone":"`+strings.Repeat("1", 70_000)+`"}`), status: 413, reason: "body-too-large", mayClose: true},
	{name: "a body that is longer than `Content-Length`", sent: "POST /v1/payments HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n" + `{"phone":"138"}{"phone":"139"}`, status: 200, also: []int{400}, closed: true, seen: paid(`{"phone":"138"}`), key: "138", as: "as far as it says; what follows is no request"},

	{name: "an empty key", sent: pay("X-User-Phone:\r\n", ""), status: 400, reason: "invalid-key"},
	{name: "a key of 257 bytes", sent: pay("X-User-Phone: "+strings.Repeat("1", 257)+"\r\n", ""), status: 400, reason: "invalid-key"},
	{name: "a key of 40,000 bytes", sent: pay("X-User-Phone: "+strings.Repeat("1", 40_000)+"\r\n", ""), status: 400, reason: "invalid-key"},
	{name: "a key that is no UTF-8", sent: pay("X-User-Phone: 13\xff8\r\n", ""), status: 400, reason: "invalid-key"},
	{name: "a key with half of a surrogate", sent: pay("", `{"phone":"13\ud8008"}`), status: 400, reason: "invalid-key"},
	{name: "a key with NUL", sent: pay("", `{"phone":"138\u0000"}`), status: 400, reason: "invalid-key"},
	{name: "a key with CR and LF", sent: pay("", `{"phone":"138\r\nX-A: b"}`), status: 400, reason: "invalid-key"},
	{name: "a key with CR and LF, in the query", sent: strings.Replace(pay("", ""), "/v1/payments", "/v1/payments?phone=138%0d%0aX-A:%20b", 1), status: 400, reason: "invalid-key"},
	{name: "a key with CR and LF, in the path", sent: "GET /v1/users/138%0d%0aX-A:%20b HTTP/1.1\r\nHost: x\r\n\r\n", status: 400, reason: "ambiguous-path"},
	{name: "a key with a C1 control character", sent: pay("", `{"phone":"138\u0085"}`), status: 200, seen: paid(`{"phone":"138\u0085"}`), key: "138", as: "trimmed, as the key declares"},
	{name: "a key between spaces", sent: pay("", `{"phone":"\u2003138 "}`), status: 200, seen: paid(`{"phone":"\u2003138 "}`), key: "138", as: "trimmed, as the key declares"},
	{name: "a key with an encoded slash, in the path", sent: "GET /v1/users/1%2f38 HTTP/1.1\r\nHost: x\r\n\r\n", status: 400, reason: "ambiguous-path"},

	{name: "a token that is no token", sent: pay("Authorization: Bearer a.b\r\nX-User-Phone: 138\r\n", ""), status: 200, seen: paid(""), key: "138", as: "the application judges it"},
	{name: "a token whose claims are no base64", sent: pay("Authorization: Bearer a.!!.c\r\nX-User-Phone: 138\r\n", ""), status: 400, reason: "invalid-key"},
	{name: "a token whose claims are no JSON", sent: pay("Authorization: Bearer a.AAAA.c\r\nX-User-Phone: 138\r\n", ""), status: 400, reason: "invalid-key"},
	{name: "a token with the claim twice", sent: pay(bearer(`{"phone":"138","phone":"139"}`), ""), status: 400, reason: "invalid-key"},
	{name: "a token with the claim in other letters", sent: pay(bearer(`{"phone":"138","PHONE":"139"}`), ""), status: 400, reason: "invalid-key"},
	{name: "a claim that is a list", sent: pay(bearer(`{"phone":["138"]}`), ""), status: 400, reason: "invalid-key"},
	{name: "two tokens that differ", sent: pay(bearer(`{"phone":"138"}`)+bearer(`{"phone":"139"}`), ""), status: 400, reason: "conflicting-keys"},
	{name: "a session's stamp that nobody signed", sent: pay("Cookie: sid=ma1.beijing.phone.7.AAAAAAAAAAAAAAAAAAAAAA.token\r\n", ""), status: 401, reason: "invalid-session"},
	{name: "a session's stamp of dots", sent: pay("Cookie: sid=ma1......\r\n", ""), status: 401, reason: "invalid-session"},
	{name: "a session's stamp with a slot beyond the last", sent: pay("Cookie: sid=ma1.beijing.phone.99999999999999999999.AAAAAAAAAAAAAAAAAAAAAA.token\r\n", ""), status: 401, reason: "invalid-session"},
	{name: "a session that has no stamp", sent: pay("Cookie: sid=\x22;;=\r\nX-User-Phone: 138\r\n", ""), status: 200, seen: paid(""), key: "138", as: "the application judges it"},
	{name: "a forged stamp, in a flow that reads no sessions", sent: "GET /v1/open/a HTTP/1.1\r\nHost: x\r\nCookie: sid=ma1.beijing.phone.7.AAAAAAAAAAAAAAAAAAAAAA.token\r\n\r\n", status: 200, seen: "GET /v1/open/a", as: "the application judges it"},
}
