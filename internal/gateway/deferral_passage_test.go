package gateway

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPassage(t *testing.T) {
	key := testConfig().PeerKey
	p := &passage{ID: "beijing.x", Key: "13800000000", Subject: "王芳, \"x\"", Header: "Idempotency-Key", Value: "a,b", Digest: "d"}
	value := p.sign(key, "uid", "shanghai")
	got, ok := openPassage(value, key, "uid", "shanghai")
	want := *p
	want.To = "shanghai"
	if diff := cmp.Diff(&want, got, cmp.AllowUnexported(passage{})); !ok || diff != "" {
		t.Errorf("opened %t (-want +got):\n%s", ok, diff)
	}
	flipped := []byte(value)
	flipped[10] ^= 1
	for name, open := range map[string]func() (*passage, bool){
		"another service": func() (*passage, bool) { return openPassage(value, key, "other", "shanghai") },
		"another region":  func() (*passage, bool) { return openPassage(value, key, "uid", "shenzhen") },
		"another key":     func() (*passage, bool) { return openPassage(value, []byte(strings.Repeat("k", 32)), "uid", "shanghai") },
		"no key":          func() (*passage, bool) { return openPassage(p.sign(nil, "uid", "shanghai"), nil, "uid", "shanghai") },
		"changed":         func() (*passage, bool) { return openPassage(string(flipped), key, "uid", "shanghai") },
		"cut":             func() (*passage, bool) { return openPassage(value[:len(value)-4], key, "uid", "shanghai") },
		"empty":           func() (*passage, bool) { return openPassage("", key, "uid", "shanghai") },
	} {
		if p, ok := open(); ok {
			t.Errorf("%s: opened %+v", name, p)
		}
	}
}

// TestForgedPassage: nobody outside says who asked, whatever he has seen.
func TestForgedPassage(t *testing.T) {
	d := newDeferring(t, nil)
	cfg := d.places["shanghai"].gateway.state.load().router.cfg
	forged := (&passage{ID: "x", Key: d.key, Subject: "victim", Header: "Idempotency-Key", Value: "v", Digest: digest("POST", "/v1/transfers", "{}")}).
		sign([]byte(strings.Repeat("k", 32)), cfg.UID, "shanghai")
	header := map[string]string{"X-User-Phone": d.key, HeaderSubject: "victim", HeaderDeferred: "x"}
	resp, _ := d.call(t, "shanghai", "POST", "/v1/transfers", header, strings.NewReader("{}"))
	if got := d.bank.called()[0]; resp.StatusCode != http.StatusCreated || got.Header.Get(HeaderSubject) != "" || got.Header.Get(HeaderDeferred) != "" {
		t.Errorf("the application got %+v", got.Header)
	}
	// A hop that was seen on the way does not make a forged passage, or another body, believed.
	true1 := (&passage{ID: "x", Key: d.key, Subject: "victim", Header: "Idempotency-Key", Value: "v", Digest: digest("POST", "/v1/transfers", "{}")}).
		sign(cfg.PeerKey, cfg.UID, "shanghai")
	seenHop := hop{from: "beijing", to: "shanghai", epoch: cfg.Epoch, nonce: newNonce(), host: "h"}
	header[HeaderHop] = seenHop.sign(cfg.PeerKey, cfg.UID, "POST", "/v1/transfers")
	for name, tc := range map[string]struct {
		passage, body string
		status        int
	}{
		"forged":       {forged, "{}", http.StatusForbidden},
		"another body": {true1, `{"amount":1}`, http.StatusForbidden},
		"true":         {true1, "{}", http.StatusCreated},
	} {
		header[HeaderDeferred] = tc.passage
		resp, text := d.call(t, "shanghai", "POST", "/v1/transfers", header, strings.NewReader(tc.body))
		if resp.StatusCode != tc.status {
			t.Errorf("%s: %d %s, want %d", name, resp.StatusCode, text, tc.status)
		}
	}
}

func TestKeptURI(t *testing.T) {
	for in, want := range map[string]string{
		"/a?x=1&token=s&y=2":         "/a?x=1&y=2",
		"/a?TOKEN=s":                 "/a",
		"/a?%74oken=s&x":             "/a?x",
		"/a%2Fb?x=%26token%3Ds":      "/a%2Fb?x=%26token%3Ds",
		"/a":                         "/a",
		"/a?tokens=1&a=token&sid=2&": "/a?tokens=1&a=token&",
	} {
		u, err := url.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := keptURI(u); got != want {
			t.Errorf("%s: kept is %s, want %s", in, got, want)
		}
	}
}
