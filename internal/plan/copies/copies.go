// Package copies decides, in peer mode, which declaration counts of those that the regions' clusters have
// under one name: values in, values out. It must never let fewer than a majority of the regions change
// anything, or take a copy that cannot be read for one that says something.
package copies

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// State is what one region's cluster has under the name.
type State string

const (
	// Unknown: the cluster cannot be read.
	Unknown State = "Unknown"
	// Absent: it has none.
	Absent State = "Absent"
	// Present: it has one that nobody deletes.
	Present State = "Present"
	// Deleting: it has one that is being deleted.
	Deleting State = "Deleting"
)

// Copy is one region's copy.
type Copy struct {
	Region string
	State  State
	// Hash of the spec, UID and CreatedAt are set while there is one.
	Hash, UID string
	CreatedAt time.Time
	// Problem says for people why an Unknown one cannot be read.
	Problem string
}

// Outcome is what the copies say together.
type Outcome string

const (
	// Agreed: a majority has the same spec, which is acted on.
	Agreed Outcome = "Agreed"
	// Deleted: a majority deletes it or has none, and at least one deletes it.
	Deleted Outcome = "Deleted"
	// Undecided: neither. Nothing is changed.
	Undecided Outcome = "Undecided"
)

// Verdict is the outcome and what it was found from.
type Verdict struct {
	Outcome Outcome
	// Hash of the spec that is Agreed.
	Hash string
	// Copies by region.
	Copies []Copy
}

// Decide returns the verdict on the copies of all regions that have a say, one for each.
//
// A copy that is absent alone deletes nothing: a cluster that was set up anew has none, and neither has
// one that nobody has applied anything to yet. Copies carry a finalizer, so one that is deleted is seen.
func Decide(all []Copy) Verdict {
	v := Verdict{Outcome: Undecided, Copies: slices.SortedFunc(slices.Values(all), func(a, b Copy) int { return strings.Compare(a.Region, b.Region) })}
	need := v.majority()
	specs := map[string]int{}
	deleting := len(v.in(Deleting))
	for _, c := range v.Copies {
		if c.State != Present {
			continue
		}
		if specs[c.Hash]++; specs[c.Hash] >= need {
			v.Outcome, v.Hash = Agreed, c.Hash
			return v
		}
	}
	if deleting > 0 && deleting+len(v.in(Absent)) >= need {
		v.Outcome = Deleted
	}
	return v
}

func (v Verdict) majority() int { return len(v.Copies)/2 + 1 }

// Kept reports whether a majority has a copy that nobody deletes, of whatever spec: then one that is
// deleted goes by itself.
func (v Verdict) Kept() bool { return len(v.in(Present)) >= v.majority() }

// Gone reports whether a majority has none that nobody deletes. Alone that deletes nothing: see Decide.
func (v Verdict) Gone() bool {
	return len(v.Copies) == 0 || len(v.in(Deleting))+len(v.in(Absent)) >= v.majority()
}

// ActedOn reports whether the region's copy is the one that is acted on.
func (v Verdict) ActedOn(region string) bool {
	return slices.ContainsFunc(v.Copies, func(c Copy) bool {
		return c.Region == region && v.Outcome == Agreed && c.State == Present && c.Hash == v.Hash
	})
}

// in returns the regions whose copies are in the state.
func (v Verdict) in(s State) []string {
	var out []string
	for _, c := range v.Copies {
		if c.State == s {
			out = append(out, c.Region)
		}
	}
	return out
}

// hashLength is the number of hexadecimal digits of a hash.
const hashLength = 16

// Hash names a spec by its JSON.
func Hash(spec any) string {
	content, err := json.Marshal(spec)
	if err != nil {
		panic("copies: API types always marshal: " + err.Error())
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])[:hashLength]
}

// OwnFinalizer says whether a hub puts the finalizer on its own cluster's copy, or takes it off: off one that is
// being deleted while a majority keeps it, and with the others once nothing depends on them (released).
func (v Verdict) OwnFinalizer(local State, finalized, released bool) (add, remove bool) {
	return local == Present && !finalized, local == Deleting && finalized && (v.Kept() || v.Gone() && released)
}
