package main

import (
	"flag"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of the page of answers")

// page documents what becomes of each case.
const page = "../../docs/guides/hardening.md"

const (
	tableBegins = "<!-- cases: "
	tableEnds   = "<!-- end of cases -->"
)

// row is one line of a table of the page: what comes in, what the gateway answers, how that is counted.
type row struct{ name, answer, counted string }

func tableOf(rows []row) string {
	var b strings.Builder
	b.WriteString("\n| what comes | answer | counted |\n|---|---|---|\n")
	for _, r := range rows {
		b.WriteString("| " + strings.ReplaceAll(r.name, "|", "\\|") + " | " + r.answer + " | " + r.counted + " |\n")
	}
	b.WriteString("\n")
	return b.String()
}

// documented are the tables of the page, by what stands in its marks.
func documented() map[string][]row {
	out := map[string][]row{}
	for _, group := range bytesGroups {
		for i := range group.cases {
			out[group.heading] = append(out[group.heading], group.cases[i].row())
		}
	}
	for i := range frameCases {
		out["HTTP/2, frame by frame"] = append(out["HTTP/2, frame by frame"], frameCases[i].row())
	}
	for _, name := range slices.Sorted(maps.Keys(h2specFails)) {
		out["Where h2spec sees it differently"] = append(out["Where h2spec sees it differently"], row{name, h2specFails[name], "no"})
	}
	for heading, scenarios := range scenarioGroups {
		for i := range scenarios {
			out[heading] = append(out[heading], scenarios[i].row)
		}
	}
	return out
}

// TestPageSaysWhatIsTested compares the page's tables with the cases: each is run by a test of its group.
func TestPageSaysWhatIsTested(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	want := documented()
	var out strings.Builder
	rest := string(text)
	for {
		before, after, found := strings.Cut(rest, tableBegins)
		out.WriteString(before)
		if !found {
			break
		}
		heading, body, ok := strings.Cut(after, " -->\n")
		table, tail, ended := strings.Cut(body, tableEnds)
		rows, known := want[heading]
		if !ok || !ended || !known {
			t.Fatalf("the page has cases %q, which no test has, twice, or without an end", heading)
		}
		delete(want, heading)
		if table != tableOf(rows) && !*update {
			t.Errorf("%s of the page differs from what is tested; run the test with -update, and read what changed", heading)
		}
		out.WriteString(tableBegins + heading + " -->\n" + tableOf(rows) + tableEnds)
		rest = tail
	}
	for heading := range want {
		t.Errorf("the page lacks the cases %q", heading)
	}
	if *update {
		if err := os.WriteFile(page, []byte(out.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
