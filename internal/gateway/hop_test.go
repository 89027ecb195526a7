package gateway

import (
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestHopRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), minPeerKey, 64).Draw(t, "key")
		h := hop{
			from: "beijing", to: "shanghai", epoch: rapid.Int64().Draw(t, "epoch"), nonce: newNonce(),
			host: rapid.String().Draw(t, "host"),
		}
		method, uri := rapid.String().Draw(t, "method"), rapid.String().Draw(t, "uri")
		value := h.sign(key, "uid", method, uri)
		got, err := verifyHop(value, key, "uid", "shanghai", method, uri)
		if err != nil || *got != h {
			t.Fatalf("got %+v, %v; want %+v", got, err, h)
		}
		if strings.ContainsAny(value, "\r\n\x00") {
			t.Fatalf("not a header value: %q", value)
		}
		at := rapid.IntRange(0, len(value)-1).Draw(t, "at")
		forged := []byte(value)
		forged[at] ^= 1 << rapid.IntRange(0, 6).Draw(t, "bit")
		if _, err := verifyHop(string(forged), key, "uid", "shanghai", method, uri); err == nil && !sameText(string(forged), value) {
			t.Fatalf("accepted %q for %q", forged, value)
		}
	})
}

// sameText reports whether two headers say the same: escapes may differ in their capitals.
func sameText(a, b string) bool { return strings.EqualFold(a, b) }

func TestHopNeedsAKey(t *testing.T) {
	h := hop{from: "beijing", to: "shanghai", nonce: "n"}
	for name, key := range map[string][]byte{"none": nil, "short": []byte("short")} {
		if _, err := verifyHop(h.sign(key, "u", "GET", "/"), key, "u", "shanghai", "GET", "/"); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestStripReserved(t *testing.T) {
	h := http.Header{
		"Multiactive-Key": {"x"}, "multiactive_slot": {"x"}, "MULTIACTIVE-Anything": {"x"}, "Multiactive-Stale": {"x"},
		"Multiactiv": {"x"}, "X-Multiactive-Key": {"x"},
	}
	stripReserved(h, HeaderStale)
	if len(h) != 3 || h["Multiactive-Stale"] == nil || h["Multiactiv"] == nil || h["X-Multiactive-Key"] == nil {
		t.Errorf("left %v", h)
	}
}

// FuzzHop checks that nothing is believed that was not signed.
func FuzzHop(f *testing.F) {
	key := []byte("0123456789abcdef")
	h := hop{from: "beijing", to: "shanghai", epoch: 7, nonce: "00", host: "example.com:80"}
	genuine := h.sign(key, "uid", "GET", "/x")
	f.Add(genuine)
	f.Add("")
	f.Add("v1,,,,,,")
	f.Add(strings.Replace(genuine, ",7,", ",+7,", 1))
	f.Add(strings.Replace(genuine, "beijing", "shanghai", 1))
	f.Fuzz(func(t *testing.T, value string) {
		got, err := verifyHop(value, key, "uid", "shanghai", "GET", "/x")
		if err == nil && *got != h {
			t.Errorf("%q was believed as %+v", value, got)
		}
	})
}
