package store

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/storage"
)

// Look is what is known of a region's server and its links at a moment.
type Look struct {
	// Known is false before the first look has ended.
	Known bool
	// Problem keeps the server from being looked at or prepared; nil when nothing does.
	Problem *Problem
	// Observation is the last one, valid once there was one.
	Observation storage.Observation
	Observed    bool
	// Links by source region, of all other regions of the store.
	Links map[string]LinkLook
	// Sources are the regions that this one replicates from at present.
	Sources []string
	// Return is the epoch of the region's return, 0 while it is not on its way back.
	Return int64
	// FenceProblem is why the fences on the server are not as they must be; empty when they are, or the engine has none.
	FenceProblem string
	// Settling is what keeps this region, which was lost, from having settled what it had not shipped; empty when nothing does.
	Settling string
	// Held are the source regions that were lost and that nothing comes from yet, with what that waits for.
	Held map[string]string
	// Errant are transactions that this region alone has since it was lost, nil where that is not known, or settled.
	Errant *storage.Errant
	// Late is what became of late changes, of the newest outage of each region.
	Late []storage.Late
}

// Problem is a condition's reason and message.
type Problem struct {
	// Reason is one of the API's.
	Reason string
	// Message says what is wrong and what to do, without a credential.
	Message string
}

// LinkLook is what is known of one link besides what its server says.
type LinkLook struct {
	// Lag of the newest canary that was applied: Known is false while none was.
	Known bool
	Age   time.Duration
	// Step is the age in coarse steps, damped.
	Step string
	// Missing canaries of the last ones.
	Missing int64
	// Failure of the last attempt to set the link up or change it; empty without one.
	Failure string
	// Bootstrap: the link cannot be set up before the server is seeded.
	Bootstrap *storage.Bootstrap
	// GoesOn: the server is not to be seeded by a person; it loses what Bootstrap tells by itself, once that is told.
	GoesOn bool
	// Lost is what the server has lost to replicate from there, empty for nothing.
	Lost string
	// Compared is what a comparison with the source's rows has told; nil while nobody has asked for one.
	Compared *Compared
	// Accepted names the comparison whose outcome a person accepts, see Compared.Token.
	Accepted string
}

// maxFindings bounds how many findings a message names.
const maxFindings = 8

// Server reports on the region's server.
func Server(d *Declared, look Look) v1alpha1.StoreStatus {
	out := v1alpha1.StoreStatus{Name: d.Slice.Name, Ready: metav1.ConditionFalse}
	if look.Observed {
		out.Version = truncate(look.Observation.Version, 128)
	}
	blocking, warnings := split(look.Observation.Findings)
	switch {
	case !look.Known:
		out.Ready, out.Reason, out.Message = metav1.ConditionUnknown, v1alpha1.ReasonNotYetObserved, "the server was not looked at yet"
	case look.Problem != nil:
		out.Reason, out.Message = look.Problem.Reason, look.Problem.Message
	case len(blocking) > 0:
		out.Reason, out.Message = v1alpha1.ReasonPreconditions, told(append(blocking, warnings...), d.mends())
	case d.Managed() && !look.Observation.Prepared:
		out.Reason, out.Message = v1alpha1.ReasonProgressing, "the operator's schema is being made"
	case look.FenceProblem != "":
		out.Reason, out.Message = v1alpha1.ReasonProgressing, "the fences are not as they must be: "+look.FenceProblem
	case look.Settling != "":
		out.Reason, out.Message = v1alpha1.ReasonLateChanges, look.Settling
	case open(look) != "":
		out.Ready, out.Reason, out.Message = metav1.ConditionTrue, v1alpha1.ReasonConflictingRows, open(look)
	case look.Errant != nil && look.Errant.Transactions > 0:
		out.Ready, out.Reason, out.Message = metav1.ConditionTrue, v1alpha1.ReasonErrantTransactions, errant(look.Errant)
	case d.disagreed() != "":
		out.Ready, out.Reason, out.Message = metav1.ConditionTrue, v1alpha1.ReasonPreconditions, d.disagreed()
	case len(warnings) > 0:
		out.Ready, out.Reason, out.Message = metav1.ConditionTrue, v1alpha1.ReasonPreconditions, told(warnings, d.mends())
	default:
		out.Ready, out.Reason, out.Message = metav1.ConditionTrue, v1alpha1.ReasonAsDeclared, "the server is ready"
	}
	out.Message, out.Late, out.ShortFor = truncate(out.Message, 2048), late(look), d.ShortFor(look.Observation.Retained)
	return out
}

// ShortFor names the classes that mean to sit through more than a server keeps its binary log for; none when that is not
// known (0), or for an engine that keeps something else: what is kept by its size lasts for another time each hour.
func (d *Declared) ShortFor(kept time.Duration) []string {
	if kept == 0 || d.Slice.Engine != v1alpha1.EngineMySQL && d.Slice.Engine != v1alpha1.EngineMariaDB {
		return nil
	}
	var out []string
	for _, c := range d.Outages {
		if c.Outage > kept {
			out = append(out, c.Class)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (d *Declared) mends() bool { return d.Slice.ManageSettings == v1alpha1.ChoiceYes }

func split(findings []storage.Finding) (blocking, warnings []storage.Finding) {
	for _, f := range findings {
		if f.Blocks {
			blocking = append(blocking, f)
		} else {
			warnings = append(warnings, f)
		}
	}
	return blocking, warnings
}

// told lists findings with what mends them.
func told(findings []storage.Finding, mends bool) string {
	var texts []string
	for i, f := range findings {
		if i == maxFindings {
			texts = append(texts, fmt.Sprintf("and %d more", len(findings)-i))
			break
		}
		text := f.Check + ": " + f.Problem
		switch {
		case f.Statement == "":
		case f.Online && mends:
			text += " (being set: " + f.Statement + ")"
		case f.Online:
			text += " (run: " + f.Statement + ", or set manageSettings: Yes)"
		default:
			text += " (" + f.Statement + ")"
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "; ")
}

// Ready sums the servers of a service's stores up: a condition's status, reason and message.
func Ready(statuses []v1alpha1.StoreStatus) (status metav1.ConditionStatus, reason, message string) {
	if len(statuses) == 0 {
		return metav1.ConditionTrue, v1alpha1.ReasonNoStores, "no data class is replicated by a store here"
	}
	order := []metav1.ConditionStatus{metav1.ConditionFalse, metav1.ConditionUnknown, metav1.ConditionTrue}
	worst := slices.MinFunc(statuses, func(a, b v1alpha1.StoreStatus) int {
		return cmp.Compare(slices.Index(order, a.Ready), slices.Index(order, b.Ready))
	})
	var texts []string
	for _, s := range statuses {
		if s.Ready != metav1.ConditionTrue || s.Reason == v1alpha1.ReasonPreconditions || s.Reason == v1alpha1.ReasonConflictingRows || s.Reason == v1alpha1.ReasonErrantTransactions {
			texts = append(texts, s.Name+": "+s.Message)
		}
	}
	if len(texts) == 0 {
		return metav1.ConditionTrue, v1alpha1.ReasonAsDeclared, "every store's server is ready here"
	}
	return worst.Ready, worst.Reason, strings.Join(texts, "; ")
}

func truncate(s string, limit int) string {
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "")
	}
	return s
}
