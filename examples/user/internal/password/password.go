// Package password makes and checks password verifiers. It must never log or
// return a password.
package password

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/bcrypt"
)

// The cost is the base-2 logarithm of bcrypt's rounds: each step doubles the
// time of a login. 5 takes about 2 ms on one core of a small server, 12 about
// 250 ms.
const (
	MinCost     = bcrypt.MinCost
	MaxCost     = 15
	DefaultCost = 5
)

// ErrMismatch is returned for a wrong password.
var ErrMismatch = errors.New("password does not match")

// Hasher makes verifiers of one cost and checks those of any cost.
type Hasher struct {
	cost  int
	decoy []byte
}

// NewHasher returns a hasher. It fails when cost is outside MinCost to MaxCost.
func NewHasher(cost int) (*Hasher, error) {
	if cost < MinCost || cost > MaxCost {
		return nil, fmt.Errorf("password cost %d is outside %d to %d", cost, MinCost, MaxCost)
	}
	decoy, err := bcrypt.GenerateFromPassword([]byte("no account has this password"), cost)
	if err != nil {
		return nil, fmt.Errorf("making the decoy verifier: %w", err)
	}
	return &Hasher{cost: cost, decoy: decoy}, nil
}

// Verifier returns what is stored in place of the password.
func (h *Hasher) Verifier(plain string) (string, error) {
	v, err := bcrypt.GenerateFromPassword([]byte(plain), h.cost)
	if err != nil {
		return "", fmt.Errorf("making a verifier: %w", err)
	}
	return string(v), nil
}

// Check returns nil when plain matches, else ErrMismatch. With an empty
// verifier it takes the same time and fails, so that the time of an answer
// does not tell whether an account exists.
func (h *Hasher) Check(verifier, plain string) error {
	if verifier == "" {
		_ = bcrypt.CompareHashAndPassword(h.decoy, []byte(plain))
		return ErrMismatch
	}
	if err := bcrypt.CompareHashAndPassword([]byte(verifier), []byte(plain)); err != nil {
		return ErrMismatch
	}
	return nil
}
