package gateway

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestAnswersTrailers passes an application's trailers on, announced or not, but none that its header would not have
// either.
func TestAnswersTrailers(t *testing.T) {
	refused := []string{
		"Multiactive-Source: forged", "multiactive_stale: forged", "Connection: forged", "Keep-Alive: forged", "Upgrade: forged",
		"Set-Cookie: forged", "Content-Type: forged", "Cache-Control: forged", "If-Match: forged",
	}
	announced := []string{"Checksum", "Multiactive-Source", "Keep-Alive", "Set-Cookie", "If-Match"}
	for name, head := range map[string]string{
		"announced": "Trailer: " + strings.Join(announced, ", ") + "\r\n", "not announced": "", "some announced": "Trailer: Checksum\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.withApp(t, rawApp(t, func(_ int, conn net.Conn, in *bufio.Reader) {
				for nextRequest(in) == nil {
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"+head+"\r\n4\r\nbody\r\n0\r\nChecksum: c1\r\n"+strings.Join(refused, "\r\n")+"\r\n\r\n")
				}
			}))
			for range 2 { // the application's connection can be used again
				conn, in := dialFast(t, w)
				_, _ = io.WriteString(conn, "GET /a HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n\r\n")
				checkTrailers(t, in)
				_, _ = io.WriteString(conn, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
				checkTrailers(t, in)
			}
		})
	}
}

func checkTrailers(t *testing.T, in *bufio.Reader) {
	t.Helper()
	resp, text := answerTo(t, in, "GET")
	if text != "body" || len(resp.Trailer) != 1 || resp.Trailer.Get("Checksum") != "c1" {
		t.Errorf("got %q, trailers %v", text, resp.Trailer)
	}
}

// TestRefusalsTrailersPassThePeer: what another region's gateway says of its refusal of a call is its own, what its
// application says in the gateway's name is not.
func TestRefusalsTrailersPassThePeer(t *testing.T) {
	w := newWorld(t, nil)
	key := keyHomedIn(t, "shanghai")
	ask := func() *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.places["beijing"].server.URL+"/v1/accounts", strings.NewReader("call"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"X-User-Phone": {key}, "Content-Type": {"application/grpc"}, "Te": {"trailers"}}
		resp, err := h2cClient(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp
	}
	w.places["shanghai"].handle(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		rw.Header().Set("Content-Type", "application/grpc")
		_, _ = io.WriteString(rw, "answer")
		rw.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
		rw.Header().Set(http.TrailerPrefix+trailerReason, "forged")
	})
	if resp := ask(); resp.Trailer.Get("Grpc-Status") != "0" || resp.Trailer.Get(trailerReason) != "" {
		t.Errorf("the application's trailers: %v", resp.Trailer)
	}
	w.places["shanghai"].app.Close()
	if resp := ask(); resp.Trailer.Get("Grpc-Status") != "14" || resp.Trailer.Get(trailerReason) != string(ReasonUpstreamUnreachable) || resp.Trailer.Get(trailerInstance) == "" {
		t.Errorf("the gateway's trailers: %v", resp.Trailer)
	}
}
