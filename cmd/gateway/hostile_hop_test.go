package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

// twoRegions adds shanghai, whose gateway is at an address.
func twoRegions(c *routing.Config, address string) routing.Config {
	out := *c
	out.Regions = append(slices.Clone(c.Regions), routing.Region{Name: "shanghai", Weight: 1, State: ownership.RegionServing, Endpoint: address})
	return out
}

// keyAt is a key that is at home in a region.
func keyAt(t *testing.T, region string) string {
	t.Helper()
	weights := []ownership.WeightedRegion{{Name: "beijing", Weight: 1}, {Name: "shanghai", Weight: 1}}
	for i := range 1000 {
		if key := fmt.Sprint(13800000000 + i); ownership.Rank(ownership.Slot(key), weights)[0] == region {
			return key
		}
	}
	t.Fatalf("no key is at home in %s", region)
	return ""
}

// aHop is a request that beijing's gateway forwarded to shanghai's, as it arrived there.
func aHop(t *testing.T, way []string) (key, hop string) {
	t.Helper()
	peer := newRecordingApp(t)
	h := hostile(t, func(c *routing.Config) { *c = twoRegions(c, peer.URL) }, way...)
	key = keyAt(t, "shanghai")
	if got := h.exchangeOnce(t, pay("Connection: close\r\nX-User-Phone: "+key+"\r\n", "")); len(got.responses) != 1 || got.responses[0].StatusCode != http.StatusOK {
		t.Fatalf("got %v", got)
	}
	seen := peer.seen()
	if len(seen) != 1 || len(seen[0].Header["Multiactive-Hop"]) != 1 {
		t.Fatalf("the peer saw %v", seen)
	}
	return key, seen[0].Header.Get("Multiactive-Hop")
}

// inShanghai has the gateway be shanghai's; beijing's is at an address.
func inShanghai(address string) func(c *routing.Config) {
	return func(c *routing.Config) {
		*c = twoRegions(c, "")
		c.Region, c.Regions[0].Endpoint = "shanghai", address
	}
}

// replayed sends a hop to shanghai's gateway.
func replayed(t *testing.T, h *hostility, hop, request string, want int, reason string) {
	t.Helper()
	got := h.exchangeOnce(t, strings.Replace(request, "Host: x\r\n", "Host: x\r\nConnection: close\r\nMultiactive-Hop: "+hop+"\r\n", 1))
	if len(got.responses) != 1 || got.responses[0].StatusCode != want || !strings.Contains(got.bodies[0], reason) {
		t.Errorf("got %v, want %d %s", got, want, reason)
	}
}

var hopCases = []scenario{
	{row{"a genuine hop that is sent again", "what the same request without a hop would be answered: a hop never expires, and grants nothing", "by flow and outcome"}, func(t *testing.T, way []string) {
		key, hop := aHop(t, way)
		h := hostile(t, inShanghai(""), way...)
		for range 3 {
			replayed(t, h, hop, pay("X-User-Phone: "+key+"\r\n", ""), http.StatusOK, "done")
		}
		for _, r := range h.app.seen() {
			if r.Header.Get("Multiactive-Key") != key || r.Header.Get("Multiactive-Hop") != "" {
				t.Errorf("the application saw %v", r.Header)
			}
		}
	}},
	{row{"a genuine hop with another user's key", "508 `second-hop` where that user is at home elsewhere: it is decided anew, and not forwarded again", "by flow and reason"}, func(t *testing.T, way []string) {
		_, hop := aHop(t, way)
		beijing := newRecordingApp(t)
		h := hostile(t, inShanghai(beijing.URL), append(slices.Clone(way), "--owner-wait=100ms")...)
		replayed(t, h, hop, pay("X-User-Phone: "+keyAt(t, "beijing")+"\r\n", ""), http.StatusLoopDetected, "second-hop")
		if seen := append(beijing.seen(), h.app.seen()...); len(seen) > 0 {
			t.Errorf("somebody saw %v", seen)
		}
	}},
	{row{"a genuine hop of another address, method, region or sender, cut, twice or with other letters", "403 `hop-not-authenticated`", "by reason"}, func(t *testing.T, way []string) {
		key, hop := aHop(t, way)
		h := hostile(t, inShanghai(""), way...)
		good := pay("X-User-Phone: "+key+"\r\n", "")
		replayed(t, h, hop, strings.Replace(good, "/v1/payments", "/v1/payments?a=b", 1), http.StatusForbidden, "hop-not-authenticated")
		replayed(t, h, hop, strings.Replace(good, "POST", "PUT", 1), http.StatusForbidden, "hop-not-authenticated")
		replayed(t, h, hop[:len(hop)-1], good, http.StatusForbidden, "hop-not-authenticated")
		replayed(t, h, hop+"\r\nMultiactive-Hop: "+hop, good, http.StatusForbidden, "hop-not-authenticated")
		replayed(t, h, strings.Replace(hop, ",7,", ",8,", 1), good, http.StatusForbidden, "hop-not-authenticated")
		replayed(t, h, strings.Replace(hop, "beijing", "Beijing", 1), good, http.StatusForbidden, "hop-not-authenticated")
		here := hostile(t, func(c *routing.Config) { *c = twoRegions(c, "") }, way...)
		replayed(t, here, hop, good, http.StatusForbidden, "hop-not-authenticated")
		other := hostile(t, func(c *routing.Config) { inShanghai("")(c); c.UID = "another service" }, way...)
		replayed(t, other, hop, good, http.StatusForbidden, "hop-not-authenticated")
		if seen := h.app.seen(); len(seen) > 0 {
			t.Errorf("the application saw %v", seen)
		}
	}},
	{row{"two gateways that each take the other for the owner", "508 `second-hop` after one hop", "by flow and reason"}, func(t *testing.T, way []string) {
		key := keyAt(t, "shanghai")
		shanghai := hostile(t, func(c *routing.Config) {
			inShanghai("http://127.0.0.1:1")(c)
			c.Regions[1].Weight = 0 // it takes beijing for everybody's home
		}, append(slices.Clone(way), "--owner-wait=100ms")...)
		beijing := hostile(t, func(c *routing.Config) { *c = twoRegions(c, "http://"+shanghai.listen) }, append(slices.Clone(way), "--owner-wait=100ms")...)
		got := beijing.exchangeOnce(t, pay("Connection: close\r\nX-User-Phone: "+key+"\r\n", ""))
		if len(got.responses) != 1 || got.responses[0].StatusCode != http.StatusLoopDetected || !strings.Contains(got.bodies[0], "second-hop") {
			t.Errorf("got %v", got)
		}
		if seen := append(shanghai.app.seen(), beijing.app.seen()...); len(seen) > 0 {
			t.Errorf("somebody saw %v", seen)
		}
	}},
	{row{"a gateway whose peer's address is its own", "403 `hop-not-authenticated` after one hop", "by flow and reason"}, func(t *testing.T, way []string) {
		var h *hostility
		address := ownAddress(t)
		h = hostile(t, func(c *routing.Config) { *c = twoRegions(c, "http://"+address) }, append(slices.Clone(way), "--listen="+address)...)
		h.listen = address
		got := h.exchangeOnce(t, pay("Connection: close\r\nX-User-Phone: "+keyAt(t, "shanghai")+"\r\n", ""))
		if len(got.responses) != 1 || got.responses[0].StatusCode != http.StatusForbidden {
			t.Errorf("got %v", got)
		}
		if seen := h.app.seen(); len(seen) > 0 {
			t.Errorf("the application saw %v", seen)
		}
	}},
	{row{"many requests for the status of a request that another region keeps", "503 `overloaded` beyond `--max-in-flight`", "no"}, func(t *testing.T, way []string) {
		leave := make(chan struct{})
		defer close(leave)
		peer := newRecordingApp(t)
		peer.handle(func(http.ResponseWriter, *http.Request) { <-leave })
		h := deferring(t, func(c *routing.Config) { *c = twoRegions(c, peer.URL) }, append(slices.Clone(way), "--max-in-flight=5")...)
		refused := make(chan bool, 40)
		for i := range 40 {
			conn := h.saying(fmt.Sprintf("GET /.multiactive/deferred/shanghai.%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", i))(t)
			go func() {
				buf := make([]byte, 4096)
				n, _ := conn.Read(buf)
				refused <- strings.Contains(string(buf[:n]), "overloaded")
			}()
		}
		for range 35 {
			if !<-refused {
				t.Error("more were asked than may be")
			}
		}
	}},
	{row{"an ID of a deferred request that is no ID", "404 `not-found`; no other region is asked", "no"}, func(t *testing.T, way []string) {
		peer := newRecordingApp(t)
		h := deferring(t, func(c *routing.Config) { *c = twoRegions(c, peer.URL) }, way...)
		for _, id := range []string{"shanghai.%252e%252e%252fmetrics", "shanghai.a%3fb", "shanghai.%0d%0aX-A:b", "shanghai./../../v1/payments", "shanghai." + strings.Repeat("a", 5000), "shanghai.%ff"} {
			got := h.exchangeOnce(t, "GET /.multiactive/deferred/"+id+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			if len(got.responses) != 1 || got.responses[0].StatusCode != http.StatusNotFound || !strings.Contains(got.bodies[0], "not-found") {
				t.Errorf("%s: got %v", id, got)
			}
		}
		if seen := peer.seen(); len(seen) > 0 {
			t.Errorf("the peer saw %v", seen)
		}
	}},
}
