package ownership

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
)

// Spec is a service's ownership spec: everything of a declaration that maps a request to an
// owner, and nothing else. Two declarations with the same Hash send every request to the same
// owner.
type Spec struct {
	Regions   []WeightedRegion `json:"regions"`
	Keys      []SpecKey        `json:"keys,omitempty"`
	Flows     []SpecFlow       `json:"flows,omitempty"`
	Unmatched SpecUnmatched    `json:"unmatched"`
}

// SpecKey is a partition key: where it is read from and how it is normalised.
type SpecKey struct {
	Name string       `json:"name"`
	From []SpecSource `json:"from"`
	// Normalize lists the steps of Normalise in the order in which they are applied.
	Normalize []string `json:"normalize,omitempty"`
}

// SpecSource is one place to read a key from.
type SpecSource struct {
	Type   string `json:"type"`
	Name   string `json:"name"`
	Header string `json:"header,omitempty"`
}

// SpecFlow says which requests are one flow and who serves them.
type SpecFlow struct {
	Name  string      `json:"name"`
	Match []SpecMatch `json:"match"`
	// Key names the partition key; empty: none.
	Key string `json:"key,omitempty"`
	// ServedBy is AnyRegion or HomeRegion.
	ServedBy string `json:"servedBy"`
	// Homes ranks the regions of a pinned flow; the order matters.
	Homes []string `json:"homes,omitempty"`
}

// SpecMatch is one pattern of requests.
type SpecMatch struct {
	Host   string `json:"host,omitempty"`
	Method string `json:"method,omitempty"`
	Path   string `json:"path"`
}

// SpecUnmatched says who serves requests that no flow matches.
type SpecUnmatched struct {
	SafeMethods  string `json:"safeMethods,omitempty"`
	OtherMethods string `json:"otherMethods,omitempty"`
	Key          string `json:"key,omitempty"`
}

// Canonical returns the spec's JSON with every list whose order carries no meaning sorted. It
// does not change s.
func (s Spec) Canonical() []byte {
	c := Spec{Unmatched: s.Unmatched}
	c.Regions = sortedBy(s.Regions, func(r WeightedRegion) string { return r.Name })
	for _, k := range s.Keys {
		k.From = sortedBy(k.From, func(f SpecSource) string { return f.Type + "\x00" + f.Name + "\x00" + f.Header })
		c.Keys = append(c.Keys, k)
	}
	c.Keys = sortedBy(c.Keys, func(k SpecKey) string { return k.Name })
	for _, f := range s.Flows {
		f.Match = sortedBy(f.Match, func(m SpecMatch) string { return m.Host + "\x00" + m.Path + "\x00" + m.Method })
		c.Flows = append(c.Flows, f)
	}
	c.Flows = sortedBy(c.Flows, func(f SpecFlow) string { return f.Name })
	out, err := json.Marshal(c)
	if err != nil {
		panic("ownership: a spec of strings and numbers always marshals: " + err.Error())
	}
	return out
}

// Hash names the spec: the first 16 hexadecimal digits of the SHA-256 of its canonical JSON.
func (s Spec) Hash() string {
	sum := sha256.Sum256(s.Canonical())
	return hex.EncodeToString(sum[:])[:16]
}

func sortedBy[T any](in []T, key func(T) string) []T {
	out := slices.Clone(in)
	slices.SortStableFunc(out, func(a, b T) int { return strings.Compare(key(a), key(b)) })
	return out
}
