package multiactiveservice

import (
	"fmt"
	"slices"
	"strings"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/lint"
)

// mostFindings that a message has in full; of the others it has the codes.
const mostFindings = 5

// linted reports what design lint finds. Readiness does not depend on it: what is declared is acted on, and runs, until
// there is an outage.
func (r reporter) linted() {
	c := lint.Context{Service: r.mas, Stores: r.seen.Stores, Regions: map[string]*v1alpha1.Region{}, Complete: true}
	for name, region := range r.seen.Regions {
		if region.Region != nil {
			c.Regions[name] = region.Region
		}
	}
	c.Short = r.short()
	result := lint.Check(c)
	open := slices.DeleteFunc(result.Findings, func(f lint.Finding) bool { return f.Accepted != "" })
	accepted := len(result.Findings) - len(open)
	const kind, help = v1alpha1.ConditionDesignSound, "kubectl multiactive lint tells more"
	switch {
	case len(open) == 0 && accepted == 0:
		r.set.True(kind, v1alpha1.ReasonDesignSound, "no rule of design lint has anything to say")
	case len(open) == 0:
		r.set.True(kind, v1alpha1.ReasonDesignSound, "%d warnings of design lint are accepted", accepted)
	case result.Count(lint.SeverityError) > 0:
		open = slices.DeleteFunc(open, func(f lint.Finding) bool { return f.Severity != lint.SeverityError })
		r.set.False(kind, v1alpha1.ReasonDesignErrors, "%s (%s)", findings(open), help)
	default:
		r.set.True(kind, v1alpha1.ReasonDesignWarnings, "%s (%s)", findings(open), help)
	}
}

// short returns, by class, the regions whose members say that the server of its store keeps less than the class needs.
func (r reporter) short() map[string][]string {
	out := map[string][]string{}
	for _, declared := range r.mas.Spec.Regions {
		slice := r.seen.region(declared.Name).Slice
		if slice == nil || foreign(r.mas, slice) || slice.Status.ObservedGeneration != slice.Generation {
			continue
		}
		for _, s := range slice.Status.Stores {
			for _, class := range s.ShortFor {
				out[class] = append(out[class], declared.Name)
			}
		}
	}
	return out
}

// findings are told one after the other, in the order of their codes.
func findings(all []lint.Finding) string {
	var texts, codes []string
	for i, f := range all {
		if i < mostFindings {
			texts = append(texts, fmt.Sprintf("%s %s: %s: %s", f.Code, f.Path, f.Message, f.Fix))
		} else if !slices.Contains(codes, f.Code) {
			codes = append(codes, f.Code)
		}
	}
	if len(codes) > 0 {
		texts = append(texts, fmt.Sprintf("and %d more (%s)", len(all)-mostFindings, strings.Join(codes, ", ")))
	}
	return strings.Join(texts, "; ")
}
