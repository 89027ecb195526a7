package copies

import (
	"cmp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
)

// Report is what the condition SpecInSync says.
type Report struct {
	Status          metav1.ConditionStatus
	Reason, Message string
}

// Report says whether the copies agree, which do not, and what to do.
func (v Verdict) Report() Report {
	switch {
	case len(v.Copies) == 0:
		return Report{metav1.ConditionFalse, v1alpha1.ReasonNoMajority, "nothing is changed, because there is no Region that runs services: " +
			"declare the Regions, the same in every region's cluster"}
	case v.Outcome == Deleted:
		return Report{metav1.ConditionFalse, v1alpha1.ReasonDeleting, v.deletion()}
	case v.Outcome == Undecided:
		return Report{metav1.ConditionFalse, v1alpha1.ReasonNoMajority, "nothing is changed, because no majority of the regions has the same " +
			"declaration: " + v.list() + ". " + v.todo()}
	case len(v.others()) > 0:
		return Report{metav1.ConditionFalse, v1alpha1.ReasonCopiesDiffer, "what most regions have is acted on: " + v.list() +
			". Apply the same declaration in every region"}
	case len(v.in(Unknown)) > 0:
		return Report{metav1.ConditionUnknown, v1alpha1.ReasonCopiesUnread, "the copies that can be read agree and are a majority, and that is acted on: " + v.list()}
	case len(v.Copies) == 1:
		return Report{metav1.ConditionTrue, v1alpha1.ReasonSingleCopy, "there is one region, which has the only copy"}
	}
	return Report{metav1.ConditionTrue, v1alpha1.ReasonCopiesAgree, "every region has the same declaration"}
}

func (v Verdict) deletion() string {
	message := "it is deleted in most regions, and so in all: " + v.list()
	if kept := v.in(Present); len(kept) > 0 {
		message += ". Delete it in " + strings.Join(kept, ", ") + " too"
	}
	return message
}

// todo says what brings a majority about.
func (v Verdict) todo() string {
	if len(v.in(Deleting)) > 0 {
		return "Delete it in most regions, or have most of them keep it with the same spec; regions that cannot be read have no say until they can"
	}
	return "Apply the same declaration in every region; regions that cannot be read have no say until they can"
}

// others returns the copies that can be read and are not what is agreed on.
func (v Verdict) others() []Copy {
	return slices.DeleteFunc(slices.Clone(v.Copies), func(c Copy) bool {
		return c.State == Unknown || c.State == Present && c.Hash == v.Hash
	})
}

// list names the regions by what they have, those of the same spec together.
func (v Verdict) list() string {
	var out []string
	add := func(regions []string, what string) {
		if len(regions) > 0 {
			out = append(out, strings.Join(regions, ", ")+" "+what)
		}
	}
	groups := v.groups()
	for i, g := range groups {
		switch {
		case v.Outcome == Agreed && g.hash == v.Hash:
			add(g.regions, "agree")
		case v.Outcome == Agreed:
			add(g.regions, plural(g.regions, "has another spec", "have another spec"))
		case v.Outcome == Deleted:
			add(g.regions, plural(g.regions, "still has it", "still have it"))
		case len(groups) == 1:
			add(g.regions, plural(g.regions, "has it", "have it"))
		case i == 0:
			add(g.regions, plural(g.regions, "has one spec", "have one spec"))
		default:
			add(g.regions, plural(g.regions, "has another spec", "have another spec"))
		}
	}
	deleting, absent := v.in(Deleting), v.in(Absent)
	add(deleting, plural(deleting, "deletes it", "delete it"))
	add(absent, plural(absent, "does not have it", "do not have it"))
	for _, c := range v.Copies {
		if c.State == Unknown {
			add([]string{c.Region}, "cannot be read ("+cmp.Or(c.Problem, "not read yet")+")")
		}
	}
	return strings.Join(out, "; ")
}

func plural(regions []string, one, several string) string {
	if len(regions) == 1 {
		return one
	}
	return several
}

// group is the regions that have the same spec.
type group struct {
	hash    string
	regions []string
}

// groups returns the present copies by spec, the agreed one first, then the larger ones.
func (v Verdict) groups() []group {
	var out []group
	for _, c := range v.Copies {
		if c.State != Present {
			continue
		}
		i := slices.IndexFunc(out, func(g group) bool { return g.hash == c.Hash })
		if i < 0 {
			out, i = append(out, group{hash: c.Hash}), len(out)
		}
		out[i].regions = append(out[i].regions, c.Region)
	}
	slices.SortStableFunc(out, func(a, b group) int {
		switch {
		case a.hash == v.Hash:
			return -1
		case b.hash == v.Hash:
			return 1
		default:
			return cmp.Compare(len(b.regions), len(a.regions))
		}
	})
	return out
}
