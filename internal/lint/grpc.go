package lint

import (
	"fmt"
	"strings"

	"multiactive.dev/operator/api/v1alpha1"
)

// grpcRules are about calls that no promise for a lost home holds for.
func grpcRules() []Rule {
	return []Rule{{
		Code: "MA114", Severity: SeverityWarning,
		Title: "`onHomeLoss.action` is Defer or ReadOnly, and the flow's path is that of a gRPC method, such as `/bank.v1.Accounts/Transfer`",
		Why:   "its calls are refused with UNAVAILABLE, as with Reject: they are not kept, and none of them is a safe method. Other protocols that use such paths are not meant",
		Example: Example{
			Before: phoneKey + fmt.Sprintf(remote, "ReadOnly"),
			After:  phoneKey + fmt.Sprintf(remote, "Takeover"),
		},
		check: (*pass).remoteCalls,
	}}
}

const remote = "  flows:\n  - {name: balance, tier: Core, match: [{method: POST, path: /bank.v1.Accounts/GetBalance}], servedBy: HomeRegion,\n" +
	"    onHomeLoss: {action: %s}}\n"

// remoteCalls judges the form of the path alone: what a request is made of is known when it comes.
func (p *pass) remoteCalls() {
	for i, f := range p.spec.Flows {
		action := homeLoss(f)
		if action != v1alpha1.HomeLossDefer && action != v1alpha1.HomeLossReadOnly {
			continue
		}
		for j, m := range f.Match {
			if isMethodOfGRPC(m) {
				p.tell(fmt.Sprintf("%s.match[%d].path", flowPath(i), j), fmt.Sprintf("set onHomeLoss.action of flow %s to Takeover or Reject; for calls that can do without an owner, "+
					"servedBy: AnyRegion in a flow of their own; or accept this, if its clients speak no gRPC", f.Name),
					"flow %s has %s, and %s is the path of a gRPC method, whose calls are refused then", f.Name, action, m.Path)
				break
			}
		}
	}
}

// isMethodOfGRPC reports whether a match is for methods of a service that is named as gRPC does it: its package, a dot, its
// name, and then the method. A service without a package looks like any other path, and is not told from it.
func isMethodOfGRPC(m v1alpha1.RequestMatch) bool {
	service, method, two := strings.Cut(strings.TrimPrefix(m.Path, "/"), "/")
	dot := strings.LastIndexByte(service, '.')
	if !two || dot < 1 || m.Method != "" && m.Method != "POST" {
		return false
	}
	for word := range strings.SplitSeq(service[:dot], ".") {
		if !startsWith(word, 'a', 'z') {
			return false
		}
	}
	return startsWith(service[dot+1:], 'A', 'Z') && !strings.Contains(method, "/") &&
		(method == "" || strings.HasPrefix(method, "{") || startsWith(method, 'A', 'Z'))
}

// startsWith reports whether a word of letters, digits and underscores begins with a letter of a range.
func startsWith(word string, from, to byte) bool {
	return word != "" && from <= word[0] && word[0] <= to && strings.IndexFunc(word, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0
}
