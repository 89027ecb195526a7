package password_test

import (
	"errors"
	"strings"
	"testing"

	"multiactive.dev/operator/examples/user/internal/password"
)

func TestHasher(t *testing.T) {
	h, err := password.NewHasher(password.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	v, err := h.Verifier("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(v, "correct") {
		t.Fatalf("verifier %q contains the password", v)
	}
	tests := map[string]struct {
		verifier, plain string
		want            error
	}{
		"right":              {v, "correct horse", nil},
		"wrong":              {v, "battery staple", password.ErrMismatch},
		"no account":         {"", "no account has this password", password.ErrMismatch},
		"unreadable":         {"plain text", "plain text", password.ErrMismatch},
		"empty against real": {v, "", password.ErrMismatch},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if err := h.Check(tc.verifier, tc.plain); !errors.Is(err, tc.want) {
				t.Errorf("Check: got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestNewHasherRefusesCost(t *testing.T) {
	for _, cost := range []int{password.MinCost - 1, password.MaxCost + 1} {
		if _, err := password.NewHasher(cost); err == nil {
			t.Errorf("cost %d was accepted", cost)
		}
	}
}

func BenchmarkCheckDefaultCost(b *testing.B) {
	h, err := password.NewHasher(password.DefaultCost)
	if err != nil {
		b.Fatal(err)
	}
	v, err := h.Verifier("correct horse")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := h.Check(v, "correct horse"); err != nil {
			b.Fatal(err)
		}
	}
}
