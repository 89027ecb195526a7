// Package lint checks the design of a MultiActiveService: whether what is declared can survive the loss of a
// region at all. It is pure: it reads no cluster, no file and no clock, so that a webhook, a reconciler and a command
// on files give the same answers. It must never guess: a rule that lacks a fact says so, or says nothing.
package lint

import (
	"fmt"
	"slices"

	"multiactive.dev/operator/api/v1alpha1"
)

// Severity of a finding.
type Severity string

const (
	// SeverityError is a design that loses data, or the service, in an outage. It cannot be accepted.
	SeverityError Severity = "error"
	// SeverityWarning is a design that may be meant. It can be accepted with a reason.
	SeverityWarning Severity = "warning"
)

// Context is what a service is checked against. It is not changed.
type Context struct {
	// Service with its defaults, or without them: absent fields count as their defaults.
	Service *v1alpha1.MultiActiveService
	// Stored is the service as it is in force, when Service is a change of it; nil: that is not known, or there is none.
	Stored *v1alpha1.MultiActiveService
	// Stores and Regions that are known, by name.
	Stores  map[string]*v1alpha1.DataStore
	Regions map[string]*v1alpha1.Region
	// Short has, for a class, the regions whose server keeps its binary log for less than the class means to sit through, as
	// their members see it; nil where nobody has looked.
	Short map[string][]string
	// Complete says that there are no other Stores and Regions: what is named and not among them does not exist.
	Complete bool
}

// Finding is a flaw of the design.
type Finding struct {
	// Code of the rule, such as MA001. Codes never change their meaning.
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	// Path of the field, such as spec.flows[2].reads[0].
	Path string `json:"path"`
	// Message says what is wrong, by names.
	Message string `json:"message"`
	// Consequence says what would happen in an outage.
	Consequence string `json:"consequence"`
	// Fix is the change that mends it.
	Fix string `json:"fix"`
	// Accepted is the reason for which a warning was accepted.
	Accepted string `json:"accepted,omitempty"`
}

// Unchecked is what a rule could not judge.
type Unchecked struct {
	Code string `json:"code"`
	// Path of the field that it would have been told of.
	Path string `json:"path"`
	// Needs names the missing fact, such as DataStore users-db.
	Needs string `json:"needs"`
}

// Result is what there is to say of one service, in the order of codes, and of one code in declared order.
type Result struct {
	Findings  []Finding
	Unchecked []Unchecked
}

// Count returns how many findings have a severity and are not accepted.
func (r Result) Count(s Severity) int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == s && f.Accepted == "" {
			n++
		}
	}
	return n
}

// Rule is one thing that a design must or should be.
type Rule struct {
	Code     string
	Severity Severity
	// Title says what the rule finds.
	Title string
	// Why says what it would do in an outage.
	Why string
	// Example is found by this rule and by no other; mended, nothing is found.
	Example Example

	check func(*pass)
}

// Example violates a rule, and does not any more. Both are YAML documents; one without a kind is a part of a
// MultiActiveService.
type Example struct {
	Before, After string
	// Stored is what Before and After are changes of; empty: nothing is stored.
	Stored string
	// Complete is set when there is nothing but what the example has.
	Complete bool
}

// Rules returns all rules in the order of their codes.
func Rules() []Rule {
	out := slices.Concat(ownershipRules(), flowRules(), grpcRules(), degradedRules(), syncRules(), copyRules(), platformRules(), survivorRules(), acceptanceRules())
	slices.SortFunc(out, func(a, b Rule) int {
		if a.Code < b.Code {
			return -1
		}
		return 1
	})
	return out
}

// Check returns what all rules have to say.
func Check(c Context) Result {
	var out Result
	for _, r := range Rules() {
		p := pass{Context: c, spec: &c.Service.Spec, rule: r, result: &out}
		r.check(&p)
	}
	accept(c.Service.Annotations, out.Findings)
	return out
}

// pass is one rule on its way over one service.
type pass struct {
	Context
	spec   *v1alpha1.MultiActiveServiceSpec
	rule   Rule
	result *Result
}

// tell adds a finding.
func (p *pass) tell(path, fix, format string, args ...any) {
	p.result.Findings = append(p.result.Findings, Finding{
		Code: p.rule.Code, Severity: p.rule.Severity, Path: path, Message: fmt.Sprintf(format, args...), Consequence: p.rule.Why, Fix: fix,
	})
}

// needs says that a fact is missing.
func (p *pass) needs(path, fact string) {
	p.result.Unchecked = append(p.result.Unchecked, Unchecked{Code: p.rule.Code, Path: path, Needs: fact})
}

// alone reports whether there is no other region that could lack, or repeat, what one has.
func (p *pass) alone() bool { return len(p.spec.Regions) < 2 }
