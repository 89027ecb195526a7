package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/lint"
)

const (
	shopYAML = `# What others have is passed over.
apiVersion: v1
kind: Namespace
metadata: {name: shops}
---
# The service.
apiVersion: multiactive.dev/v1alpha1
kind: MultiActiveService
metadata:
  name: shop
  namespace: shops
  annotations:
    multiactive.dev/accept.MA109: the page says so itself
spec:
  regions:
  - {name: north, endpoint: "https://shop.north.example.com"}
  - {name: south, endpoint: "https://shop.south.example.com"}
  - {name: east, endpoint: "https://shop.east.example.com"}
  partition:
    keys: [{name: user, from: [{type: Header, header: {name: X-User}}]}]
  workload: {type: ServiceRef, serviceRef: {name: shop}}
  dataClasses:
  - name: order
    sync:
    - {method: StorageReplication, storageReplication: {store: orders}}
  flows:
  - name: order
    tier: Core
    match: [{method: POST, path: /orders}]
    reads: [order]
    writes:
    - order
    - nothing
    servedBy: HomeRegion
  - {name: news, tier: NonCore, match: [{path: /news}], servedBy: HomeRegion}
`
	storeYAML = `apiVersion: multiactive.dev/v1alpha1
kind: DataStore
metadata: {name: orders}
spec: {engine: MySQL, topology: {type: Mesh}, endpoints: []}
`
)

// lintOf runs the command in a directory with files.
func lintOf(t *testing.T, files map[string]string, stdin string, args ...string) (code int, out, told string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	err := run(t.Context(), append([]string{"lint"}, args...), terminal{in: strings.NewReader(stdin), out: &stdout, err: &stderr})
	code = exitCode(err, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestLintText(t *testing.T) {
	code, out, told := lintOf(t, map[string]string{"shop.yaml": shopYAML, "platform/store.yml": storeYAML, "platform/values.yaml": "replicas: 3\n", "platform/note.txt": "{"}, "",
		"-f", "shop.yaml", "-f", "platform")
	const want = `shop.yaml:33: MA014 error: flow order writes class nothing, and there is none
    field:   spec.flows[0].writes[1] of shops/shop
    outage:  what is declared does not hold: requests meet another flow's rules, or data that nothing is declared of
    fix:     name a class of spec.dataClasses, or declare it there

shop.yaml:35: MA109 accepted: flow news is degraded when a region is lost, and its users are not told why
    reason:  the page says so itself

not checked: MA014, for want of: Region east, Region north, Region south
Give files with them (-f), and --complete if they have all Regions and DataStores.

1 service: 1 error, 0 warnings, 1 accepted
`
	if code != exitFailed || told != "" {
		t.Errorf("code %d, told %q", code, told)
	}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestLintLines goes by JSON, and through a list as kubectl get has it.
func TestLintLines(t *testing.T) {
	_, shop, _ := strings.Cut(shopYAML, "# The service.\n")
	list := "apiVersion: v1\nkind: List\nitems:\n" + indent(shop) + indent(storeYAML)
	code, out, told := lintOf(t, nil, list, "-f", "-", "-o", "json", "--complete")
	var got struct {
		Services []struct {
			File, Namespace, Name string
			Line                  int
			Findings              []struct {
				Code, Severity, Path, Accepted string
				Line                           int
			}
			Unchecked []lint.Unchecked
		}
		Errors, Warnings, Accepted int
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitFailed || told != "" {
		t.Fatalf("code %d, %v, %q\n%s", code, err, told, out)
	}
	s := got.Services[0]
	if len(got.Services) != 1 || s.File != "stdin" || s.Name != "shop" || s.Namespace != "shops" || s.Line != 4 || s.Unchecked == nil || len(s.Unchecked) > 0 {
		t.Errorf("%+v", got.Services)
	}
	lines := map[string]int{}
	for _, f := range s.Findings {
		lines[f.Code+" "+f.Severity+" "+f.Path] = f.Line
	}
	want := map[string]int{
		"MA010 error spec.failover.mode": 11, // as far as the path leads
		// The regions are those of the files: none.
		"MA014 error spec.regions[0].name":    13,
		"MA014 error spec.regions[1].name":    14,
		"MA014 error spec.regions[2].name":    15,
		"MA014 error spec.flows[0].writes[1]": 30,
		"MA109 warning spec.flows[1]":         32,
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Errors != 5 || got.Warnings != 0 || got.Accepted != 1 {
		t.Errorf("%+v", got)
	}
}

// indent makes an element of a list of an object.
func indent(object string) string {
	return "- " + strings.ReplaceAll(strings.TrimSuffix(object, "\n"), "\n", "\n  ") + "\n"
}

func TestLintSARIF(t *testing.T) {
	code, out, told := lintOf(t, map[string]string{"my shops/shop.yaml": shopYAML}, "", "-f", "my shops/shop.yaml", "-o", "sarif")
	var got sarifLog
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitFailed || told != "" {
		t.Fatalf("code %d, %v, %q\n%s", code, err, told, out)
	}
	if got.Version != "2.1.0" || len(got.Runs) != 1 {
		t.Fatalf("%+v", got)
	}
	rules, results := got.Runs[0].Tool.Driver.Rules, got.Runs[0].Results
	if len(rules) != len(lint.Rules()) || len(results) != 2 {
		t.Fatalf("%d rules, %+v", len(rules), results)
	}
	for i, want := range []struct {
		rule, field string
		level       lint.Severity
		line        int
		accepted    bool
	}{{"MA014", "shops/shop spec.flows[0].writes[1]", "error", 33, false}, {"MA109", "shops/shop spec.flows[1]", "warning", 35, true}} {
		r := results[i]
		at := r.Locations[0]
		if r.RuleID != want.rule || rules[r.RuleIndex].ID != want.rule || r.Level != want.level || at.Physical.Region.StartLine != want.line ||
			at.Physical.Artifact.URI != "my%20shops/shop.yaml" || at.Logical[0].Name != want.field || len(r.Suppressions) > 0 != want.accepted {
			t.Errorf("%+v", r)
		}
	}
}

func TestLintCommandLine(t *testing.T) {
	const region = "apiVersion: multiactive.dev/v1alpha1\nkind: Region\nmetadata: {name: north}\nspec: {role: Witness}\n"
	const service = "apiVersion: multiactive.dev/v1alpha1\nkind: MultiActiveService\nmetadata: {name: shop}\nspec:\n  failover: {mode: Manual}\n"
	for name, c := range map[string]struct {
		args  string
		stdin string
		code  int
		// told matches what is said on either stream.
		told string
	}{
		"no files":                   {args: "", code: exitUsage, told: "-f is required"},
		"another output":             {args: "-f - -o xml", code: exitUsage, told: `-o: "xml" is neither text, json nor sarif`},
		"a file without its flag":    {args: "-f a b", code: exitUsage, told: `unexpected argument "b"`},
		"help":                       {args: "--help", told: "whether what is\ndeclared can survive"},
		"no such file":               {args: "-f nowhere.yaml", code: exitUsage, told: "nowhere.yaml"},
		"not YAML":                   {args: "-f -", stdin: "\n---\na: [\n", code: exitUsage, told: `stdin:3 \(document 1\): yaml: line 3`},
		"no object":                  {args: "-f -", stdin: "replicas: 3\n", code: exitUsage, told: "kind is missing"},
		"no version":                 {args: "-f -", stdin: "kind: Region\n", code: exitUsage, told: "Region: apiVersion is missing"},
		"a key twice":                {args: "-f -", stdin: "a: 1\na: 2\n", code: exitUsage, told: `line 2: key "a" already set`},
		"a version that is unknown":  {args: "-f -", stdin: "apiVersion: multiactive.dev/v2\nkind: MultiActiveService\n", code: exitUsage, told: "does not know kind MultiActiveService of multiactive.dev/v2: it knows multiactive.dev/v1alpha1"},
		"nothing to check":           {args: "-f -", stdin: "# empty\n---\n" + region, code: exitUsage, told: "there is no MultiActiveService"},
		"an unknown field":           {args: "-f -", stdin: "---\n" + service + "  flowz: []\n", code: exitUsage, told: `stdin:2 \(document 1\): MultiActiveService: .*unknown field "spec.flowz"`},
		"a field in other letters":   {args: "-f -", stdin: service + "  Flows: []\n", code: exitUsage, told: `unknown field "spec.Flows"`},
		"an unknown field of theirs": {args: "-f -", stdin: service + "---\n" + region + "status: {stat: Up}\n", code: exitUsage, told: `stdin:7 \(document 2\): Region: .*unknown field "status.stat"`},
		"a field in a list": {
			args: "-f -", stdin: "apiVersion: v1\nkind: List\nitems:\n" + indent(service+"  flowz: []\n"), code: exitUsage,
			told: `items\[0\]: MultiActiveService: .*unknown field "spec.flowz"`,
		},
		"a duration that is none": {
			args: "-f -", stdin: service + "  dataClasses:\n  - name: order\n    staleness: {normal: soon}\n", code: exitUsage,
			told: `spec.dataClasses\[0\].staleness.normal \(line 8\): time: invalid duration "soon"`,
		},
		"a choice that YAML takes for another": {
			args: "-f -", stdin: service + "  dataClasses:\n  - {name: order, recreatable: Yes}\n", code: exitUsage,
			told: `spec.dataClasses\[0\].recreatable \(line 7\): .*write "Yes" or "No"`,
		},
		"the same in two places": {
			args: "-f -", stdin: service + "  dataClasses:\n  - {name: a, staleness: {normal: 5m, outage: soon}}\n  - {name: b, staleness: {normal: soon}}\n", code: exitUsage,
			told: `spec.dataClasses\[1\].staleness.normal \(line 8\): time: invalid duration "soon"`,
		},
		"a quantity that is none": {
			args: "-f -", stdin: service + "  gateway: {resources: {limits: {cpu: 1, memory: much}}}\n", code: exitUsage,
			told: `spec.gateway.resources.limits.memory \(line 6\): quantities must match`,
		},
		"all that is wrong at once": {args: "-f - -f nowhere.yaml", stdin: "kind: A\n---\nkind: B\n", code: exitUsage, told: `(?s)document 1\): A.*document 2\): B.*nowhere.yaml`},
		"a Region twice":            {args: "-f -", stdin: region + "---\n" + region, code: exitUsage, told: "Region north is in stdin:1 already"},
		"no flaw":                   {args: "-f -", stdin: service, told: "1 service: 0 errors, 0 warnings, 0 accepted"},
		"a document on its line":    {args: "-f -", stdin: "--- {apiVersion: multiactive.dev/v1alpha1, kind: MultiActiveService, metadata: {name: a}}\n--- # next\n" + service, told: "2 services: 0 errors"},
		"no flaw in SARIF":          {args: "-f - -o sarif", stdin: service, told: `"results": \[\]`},
		"a warning is no failure": {
			args: "-f -", stdin: strings.Replace(service, "Manual}", "Manual, handback: Automatic}", 1) + "  dataClasses: [{name: a, conflict: {policy: OwnerWins}}]\n",
			told: `(?s)stdin:5: MA110 warning.*0 errors, 1 warning,`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, told := lintOf(t, nil, c.stdin, strings.Fields(c.args)...)
			if code != c.code || !regexp.MustCompile(c.told).MatchString(out+told) {
				t.Errorf("code %d, want %d and %s, got:\n%s%s", code, c.code, c.told, out, told)
			}
		})
	}
}

// TestLintExamples holds the shipped examples to the rules.
func TestLintExamples(t *testing.T) {
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	for _, example := range []string{"minimal", "user"} {
		t.Run(example, func(t *testing.T) {
			code, out, told := lintOf(t, nil, "", "-f", filepath.Join(examples, example, "multiactiveservice.yaml"), "-f", filepath.Join(examples, "regions"), "--complete")
			if code != 0 || !strings.HasPrefix(out, "1 service: 0 errors, 0 warnings") {
				t.Errorf("code %d:\n%s%s", code, out, told)
			}
		})
	}
}
