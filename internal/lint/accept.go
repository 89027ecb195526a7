package lint

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// AcceptPrefix begins the annotations that accept a warning: multiactive.dev/accept.MA105, with the reason as value.
const AcceptPrefix = "multiactive.dev/accept."

// accept notes the reasons for which warnings are accepted. Errors cannot be.
func accept(annotations map[string]string, findings []Finding) {
	for i := range findings {
		if findings[i].Severity == SeverityWarning {
			findings[i].Accepted = strings.TrimSpace(annotations[AcceptPrefix+findings[i].Code])
		}
	}
}

func acceptanceRules() []Rule {
	return []Rule{{
		Code: "MA113", Severity: SeverityWarning, Title: "an annotation that accepts nothing: for an error, an unknown code, or without a reason",
		Why: "somebody believes that a flaw was looked at and accepted, and it is still there",
		Example: Example{
			Before: "metadata:\n  annotations:\n    multiactive.dev/accept.MA999: we know\n",
			After:  "metadata:\n  annotations:\n    multiactive.dev/accept.MA101: every flow is sold as critical, and each region is sized for all of them\n",
		},
		check: (*pass).acceptances,
	}}
}

func (p *pass) acceptances() {
	severities := map[string]Severity{}
	for _, r := range Rules() {
		severities[r.Code] = r.Severity
	}
	for _, key := range slices.Sorted(maps.Keys(p.Service.Annotations)) {
		code, is := strings.CutPrefix(key, AcceptPrefix)
		if !is {
			continue
		}
		path := fmt.Sprintf("metadata.annotations[%s]", key)
		switch severity, known := severities[code]; {
		case !known:
			p.tell(path, "remove the annotation, or write the code of a warning", "there is no rule %s in this version", code)
		case severity == SeverityError:
			p.tell(path, "remove the annotation, and mend what "+code+" finds", "%s is an error: it cannot be accepted", code)
		case strings.TrimSpace(p.Service.Annotations[key]) == "":
			p.tell(path, "write why the warning is accepted as the annotation's value", "%s is accepted without a reason", code)
		}
	}
}
