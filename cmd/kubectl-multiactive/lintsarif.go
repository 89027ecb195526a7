package main

import (
	"io"
	"net/url"
	"path/filepath"
	"slices"

	"multiactive.dev/operator/internal/lint"
)

// What is used of SARIF 2.1.0, the format that code reviews show findings from.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool    sarifTool     `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string       `json:"id"`
		ShortDescription sarifText    `json:"shortDescription"`
		FullDescription  sarifText    `json:"fullDescription"`
		Defaults         sarifDefault `json:"defaultConfiguration"`
	}
	sarifDefault struct {
		Level lint.Severity `json:"level"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID       string             `json:"ruleId"`
		RuleIndex    int                `json:"ruleIndex"`
		Level        lint.Severity      `json:"level"`
		Message      sarifText          `json:"message"`
		Locations    []sarifLocation    `json:"locations"`
		Suppressions []sarifSuppression `json:"suppressions,omitempty"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification"`
	}
)

const sarifSchema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

// printSARIF writes findings for code reviews. The levels of SARIF have the names of severities.
func printSARIF(w io.Writer, services []linted) error {
	rules := lint.Rules()
	run := sarifRun{Tool: sarifTool{Driver: sarifDriver{Name: "kubectl-multiactive lint", Version: version}}, Results: []sarifResult{}}
	for _, r := range rules {
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{
			ID: r.Code, ShortDescription: sarifText{r.Title}, FullDescription: sarifText{r.Title + ". In an outage: " + r.Why + "."}, Defaults: sarifDefault{r.Severity},
		})
	}
	for _, s := range services {
		for _, f := range s.result.Findings {
			one := sarifResult{
				RuleID: f.Code, RuleIndex: slices.IndexFunc(rules, func(r lint.Rule) bool { return r.Code == f.Code }), Level: f.Severity,
				Message: sarifText{f.Message + ". In an outage: " + f.Consequence + ". Fix: " + f.Fix + "."},
				Locations: []sarifLocation{{
					Physical: sarifPhysical{Artifact: sarifArtifact{uriOf(s.file)}, Region: sarifRegion{s.lineOf(f.Path)}},
					Logical:  []sarifLogical{{s.name() + " " + f.Path}},
				}},
			}
			if f.Accepted != "" {
				one.Suppressions = []sarifSuppression{{Kind: "inSource", Justification: f.Accepted}}
			}
			run.Results = append(run.Results, one)
		}
	}
	return indented(w, sarifLog{Schema: sarifSchema, Version: "2.1.0", Runs: []sarifRun{run}})
}

// uriOf names a file as SARIF does: relative to where the command runs, if it is so given.
func uriOf(file string) string {
	u := url.URL{Path: filepath.ToSlash(file)}
	if filepath.IsAbs(file) {
		u.Scheme = "file"
	}
	return u.String()
}
