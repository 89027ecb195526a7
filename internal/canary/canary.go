// Package canary measures how far a region's topics lag behind in another
// region. Every region writes a small record once a second into a topic of its
// own; the mirrors carry it like any other record; the reader in the target
// region says how old the newest one is, and whether some are missing.
//
// Measured, not read: an engine's own lag figure freezes or vanishes exactly
// when the link stalls. What is not known is said to be unknown and never
// reported as 0.
package canary

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Topic is the canary's topic in its own region. Mirrors always carry it.
const Topic = "multiactive.canary"

// Interval is how often a canary is written.
const Interval = time.Second

// Record is one canary.
type Record struct {
	// Region wrote it.
	Region string `json:"region"`
	// Sequence counts the region's canaries from 1 without a gap, across
	// restarts of the writer.
	Sequence int64 `json:"sequence"`
	// Time is the writer's clock.
	Time time.Time `json:"time"`
}

func encode(r Record) ([]byte, error) { return json.Marshal(r) }

func decode(raw []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(raw, &r); err != nil {
		return Record{}, fmt.Errorf("decoding a canary: %w", err)
	}
	if r.Region == "" || r.Sequence < 1 || r.Time.IsZero() {
		return Record{}, errors.New("decoding a canary: region, sequence or time is missing")
	}
	return r, nil
}
