package slices

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
)

// Bounds of reads that declare none.
const (
	defaultSecondRead = 300 * time.Millisecond
	defaultOriginRead = 200 * time.Millisecond
)

// Sync returns a class's policy of a method, nil if it has none.
func Sync(c v1alpha1.DataClass, method v1alpha1.SyncMethod) *v1alpha1.SyncPolicy {
	i := slices.IndexFunc(c.Sync, func(s v1alpha1.SyncPolicy) bool { return s.Method == method })
	if i < 0 {
		return nil
	}
	return &c.Sync[i]
}

// SecondReads reports whether a local miss in a flow leads to a second read for the sake of a class: the flow is
// served by any region, reads the class, and what is asked is the class's home. A miss does not say of which class it is,
// so all second reads of a flow ask one region: the owner of its key, if that is the home of some class that it reads, or
// else the home of the first class that is pinned.
func SecondReads(spec v1alpha1.MultiActiveServiceSpec, f v1alpha1.Flow, c v1alpha1.DataClass) bool {
	if !mayReadAgain(f, c) {
		return false
	}
	homes := secondReadHomes(spec, f)
	if c.Home != nil && c.Home.Pinned != nil {
		return slices.Equal(homes, c.Home.Pinned.Regions)
	}
	return len(homes) == 0 && keyLeads(spec, f, c)
}

// ReadElsewhere reports whether a flow reads a class with a second read, and a miss asks another region than the
// class's home, or none.
func ReadElsewhere(spec v1alpha1.MultiActiveServiceSpec, f v1alpha1.Flow, c v1alpha1.DataClass) bool {
	return mayReadAgain(f, c) && !SecondReads(spec, f, c)
}

func mayReadAgain(f v1alpha1.Flow, c v1alpha1.DataClass) bool {
	return f.ServedBy != v1alpha1.ServedByHomeRegion && slices.Contains(f.Reads, c.Name) && Sync(c, v1alpha1.SyncSecondRead) != nil
}

// keyLeads reports whether a flow's key leads to the home of a class.
func keyLeads(spec v1alpha1.MultiActiveServiceSpec, f v1alpha1.Flow, c v1alpha1.DataClass) bool {
	key := Key(spec, f)
	return key != "" && (c.Home == nil || c.Home.Type == v1alpha1.HomeByKey && c.Home.Key == key)
}

// secondReadHomes returns the ranked homes that a flow's second reads ask; none: the key's, if there is one.
func secondReadHomes(spec v1alpha1.MultiActiveServiceSpec, f v1alpha1.Flow) []string {
	var homes []string
	for _, c := range spec.DataClasses {
		switch {
		case !mayReadAgain(f, c):
		case keyLeads(spec, f, c):
			return nil
		case homes == nil && c.Home != nil && c.Home.Pinned != nil:
			homes = c.Home.Pinned.Regions
		}
	}
	return homes
}

// secondRead sums up the policies of the classes that a flow reads: a miss does not say of which class it
// is, so each gets the time that it needs, and the local answer is good enough only if it is for all.
func secondRead(spec v1alpha1.MultiActiveServiceSpec, f v1alpha1.Flow) *v1alpha1.SecondReadSync {
	longest := time.Duration(-1)
	when := v1alpha1.WhenUnreachableAnswerLocally
	for _, c := range spec.DataClasses {
		if !SecondReads(spec, f, c) {
			continue
		}
		timeout, declared := defaultSecondRead, Sync(c, v1alpha1.SyncSecondRead).SecondRead
		if declared != nil && declared.Timeout != nil {
			timeout = declared.Timeout.Duration
		}
		if declared == nil || declared.WhenUnreachable != v1alpha1.WhenUnreachableAnswerLocally {
			when = v1alpha1.WhenUnreachableRefuse
		}
		longest = max(longest, timeout)
	}
	if longest < 0 {
		return nil
	}
	return &v1alpha1.SecondReadSync{Timeout: &metav1.Duration{Duration: longest}, WhenUnreachable: when}
}

// Sessions returns the classes whose records are read from the region that issued their token. Of two that
// have the token in the same place, the first counts.
func Sessions(spec v1alpha1.MultiActiveServiceSpec) []v1alpha1.SessionSlice {
	var out []v1alpha1.SessionSlice
	for _, c := range spec.DataClasses {
		policy := Sync(c, v1alpha1.SyncOriginRead)
		if policy == nil || policy.OriginRead == nil {
			continue
		}
		s := v1alpha1.SessionSlice{DataClass: c.Name, OriginRead: *policy.OriginRead.DeepCopy(), Regenerate: v1alpha1.ChoiceNo}
		if s.OriginRead.Timeout == nil {
			s.OriginRead.Timeout = &metav1.Duration{Duration: defaultOriginRead}
		}
		if Sync(c, v1alpha1.SyncRegenerate) != nil {
			s.Regenerate = v1alpha1.ChoiceYes
		}
		if !slices.ContainsFunc(out, func(x v1alpha1.SessionSlice) bool { return samePlace(x.OriginRead.Token, s.OriginRead.Token) }) {
			out = append(out, s)
		}
	}
	return out
}

// Stamped reports whether a key can be the slot that is stamped into some session's token.
func Stamped(sessions []v1alpha1.SessionSlice) bool {
	return slices.ContainsFunc(sessions, func(s v1alpha1.SessionSlice) bool { return s.OriginRead.Token.OriginClaim == "" })
}

func samePlace(a, b v1alpha1.SessionToken) bool {
	return a.Cookie == b.Cookie && strings.EqualFold(a.Header, b.Header)
}

// sessionsAmong returns the names of classes that have sessions.
func sessionsAmong(spec v1alpha1.MultiActiveServiceSpec, classes []string) []string {
	var out []string
	for _, s := range Sessions(spec) {
		if slices.Contains(classes, s.DataClass) {
			out = append(out, s.DataClass)
		}
	}
	return out
}
