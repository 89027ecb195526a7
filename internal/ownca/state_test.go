package ownca

import (
	"crypto/x509"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

func authority(t *testing.T) *Authority {
	t.Helper()
	a, err := ForGateways("beijing")(start, lifetimes.Authority)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestStateRoundTrip keeps all of a state, and of what has signed before no key.
func TestStateRoundTrip(t *testing.T) {
	for name, s := range map[string]State{
		"one":       {Current: authority(t)},
		"preparing": {Current: authority(t), Next: authority(t)},
		"promoted":  {Current: authority(t), Previous: authority(t).Certificate, Retires: start.Add(time.Hour)},
	} {
		data, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !slices.EqualFunc(back.Trusted(), s.Trusted(), (*x509.Certificate).Equal) || !back.Retires.Equal(s.Retires) {
			t.Errorf("%s: read back %+v", name, back)
		}
		for key := range data {
			broken := maps.Clone(data)
			broken[key] = []byte("x")
			if _, err := Decode(broken); err == nil || strings.Contains(err.Error(), "PRIVATE") {
				t.Errorf("%s: %s is broken, and the error is %v", name, key, err)
			}
		}
	}
}
