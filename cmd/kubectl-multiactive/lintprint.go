package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"multiactive.dev/operator/internal/lint"
)

// printText writes findings for a person, with places that editors can open.
func printText(w io.Writer, services []linted) error {
	var b strings.Builder
	for _, s := range services {
		for _, f := range s.result.Findings {
			place := fmt.Sprintf("%s:%d: %s", s.file, s.lineOf(f.Path), f.Code)
			if f.Accepted != "" {
				_, _ = fmt.Fprintf(&b, "%s accepted: %s\n    reason:  %s\n\n", place, f.Message, f.Accepted)
				continue
			}
			_, _ = fmt.Fprintf(&b, "%s %s: %s\n    field:   %s of %s\n    outage:  %s\n    fix:     %s\n\n", place, f.Severity, f.Message, f.Path, s.name(), f.Consequence, f.Fix)
		}
	}
	printUnchecked(&b, services)
	c := count(services)
	_, _ = fmt.Fprintf(&b, "%s: %s, %s, %d accepted\n", plural(len(services), "service"), plural(c.Errors, "error"), plural(c.Warnings, "warning"), c.Accepted)
	_, err := io.WriteString(w, b.String())
	return err
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// printUnchecked says which rules lacked facts, a line for each set of rules.
func printUnchecked(w io.Writer, services []linted) {
	codes := map[string][]string{}
	for _, s := range services {
		for _, u := range s.result.Unchecked {
			if !slices.Contains(codes[u.Needs], u.Code) {
				codes[u.Needs] = append(codes[u.Needs], u.Code)
			}
		}
	}
	facts := map[string][]string{}
	for _, fact := range slices.Sorted(maps.Keys(codes)) {
		slices.Sort(codes[fact])
		rules := strings.Join(codes[fact], ", ")
		facts[rules] = append(facts[rules], fact)
	}
	for _, rules := range slices.Sorted(maps.Keys(facts)) {
		_, _ = fmt.Fprintf(w, "not checked: %s, for want of: %s\n", rules, strings.Join(facts[rules], ", "))
	}
	if len(facts) > 0 {
		_, _ = fmt.Fprint(w, "Give files with them (-f), and --complete if they have all Regions and DataStores.\n\n")
	}
}

// counts sums findings up.
type counts struct {
	Errors   int `json:"errors"`
	Warnings int `json:"warnings"`
	Accepted int `json:"accepted"`
}

func count(services []linted) counts {
	var c counts
	for _, s := range services {
		c.Errors += s.result.Count(lint.SeverityError)
		c.Warnings += s.result.Count(lint.SeverityWarning)
		for _, f := range s.result.Findings {
			if f.Accepted != "" {
				c.Accepted++
			}
		}
	}
	return c
}

// The JSON output.
type (
	jsonOutput struct {
		Services []jsonService `json:"services"`
		counts
	}
	jsonService struct {
		File      string           `json:"file"`
		Line      int              `json:"line"`
		Namespace string           `json:"namespace,omitempty"`
		Name      string           `json:"name"`
		Findings  []jsonFinding    `json:"findings"`
		Unchecked []lint.Unchecked `json:"unchecked"`
	}
	jsonFinding struct {
		lint.Finding
		Line int `json:"line"`
	}
)

func printJSON(w io.Writer, services []linted) error {
	out := jsonOutput{Services: []jsonService{}, counts: count(services)}
	for _, s := range services {
		one := jsonService{
			File: s.file, Line: s.line, Namespace: s.service.Namespace, Name: s.service.Name,
			Findings: []jsonFinding{}, Unchecked: append([]lint.Unchecked{}, s.result.Unchecked...),
		}
		for _, f := range s.result.Findings {
			one.Findings = append(one.Findings, jsonFinding{Finding: f, Line: s.lineOf(f.Path)})
		}
		out.Services = append(out.Services, one)
	}
	return indented(w, out)
}

func indented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
