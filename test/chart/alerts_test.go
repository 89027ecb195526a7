package chart_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/yaml"

	"multiactive.dev/operator/controllers/member/replicationlink"
	"multiactive.dev/operator/internal/agent"
	"multiactive.dev/operator/internal/gateway"
	operator "multiactive.dev/operator/internal/metrics"
	"multiactive.dev/operator/internal/mirror"
	"multiactive.dev/operator/internal/storekeeper"
	"multiactive.dev/operator/internal/testkit/binaries"
)

const (
	alertsFile  = "charts/multiactive/files/alerts.yaml"
	alertsTests = "test/chart/testdata/alerts_test.yaml"
	runbooks    = "docs/runbooks.md"
)

type ruleFile struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	} `json:"groups"`
}

type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

func read(t *testing.T, path string) string {
	t.Helper()
	root, err := binaries.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func alerts(t *testing.T) map[string]rule {
	t.Helper()
	var file ruleFile
	if err := yaml.UnmarshalStrict([]byte(read(t, alertsFile)), &file); err != nil {
		t.Fatal(err)
	}
	all := map[string]rule{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if _, twice := all[r.Alert]; twice {
				t.Errorf("the alert %s is there twice", r.Alert)
			}
			all[r.Alert] = r
		}
	}
	return all
}

// promtool runs Prometheus' own tool in the module's root.
func promtool(t *testing.T, arguments ...string) {
	t.Helper()
	root, err := binaries.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatalf("%v: install Prometheus (Debian's package prometheus), or run `make setup-test`", err)
	}
	c := exec.CommandContext(t.Context(), path, arguments...)
	c.Dir = root
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, out)
	}
}

// Each alert fires for what it is for, alone, and none while all is well.
func TestAlertsFire(t *testing.T) {
	promtool(t, "test", "rules", alertsTests)
	var tests struct {
		Tests []struct {
			Name string `json:"name"`
		} `json:"tests"`
	}
	if err := yaml.Unmarshal([]byte(read(t, alertsTests)), &tests); err != nil {
		t.Fatal(err)
	}
	tested := map[string]bool{}
	for _, c := range tests.Tests {
		tested[c.Name] = true
	}
	for name := range alerts(t) {
		if !tested[name] {
			t.Errorf("%s has no case named %s", alertsTests, name)
		}
	}
}

// Whoever is woken finds what to do, under a heading of the alert's name.
func TestAlertsHaveRunbooks(t *testing.T) {
	const page = "https://multiactive.dev/" + runbooks + "#"
	headings := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^## (MultiActive\w+)$`).FindAllStringSubmatch(read(t, runbooks), -1) {
		headings[m[1]] = true
	}
	for name, r := range alerts(t) {
		if want := page + strings.ToLower(name); r.Annotations["runbook_url"] != want {
			t.Errorf("%s: runbook_url is %s, want %s", name, r.Annotations["runbook_url"], want)
		}
		if !headings[name] {
			t.Errorf("%s has no heading ## %s", runbooks, name)
		}
		delete(headings, name)
		if s := r.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity is %q, want critical or warning", name, s)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s: it has no summary, or no description", name)
		}
	}
	for name := range headings {
		t.Errorf("%s tells of %s, which is no alert", runbooks, name)
	}
}

// registered are the metrics of all programs, with their labels.
func registered(t *testing.T) map[string][]string {
	t.Helper()
	mirrors := prometheus.NewRegistry()
	mirror.NewMetrics(mirrors)
	out := make(chan *prometheus.Desc)
	go func() {
		defer close(out)
		metrics.Registry.(prometheus.Collector).Describe(out)
		(&operator.Objects{}).Describe(out)
		(*agent.Agent)(nil).Describe(out)
		(*storekeeper.Keepers)(nil).Describe(out)
		replicationlink.NewCanaries("", clock.RealClock{}, logr.Discard()).Describe(out)
		gateway.DescribeMetrics(out)
		mirrors.Describe(out)
	}()
	all := map[string][]string{
		// etcd's own, and what Prometheus adds.
		"etcd_server_has_leader": nil, "up": nil,
	}
	parts := regexp.MustCompile(`^Desc\{fqName: "(\w+)",.* variableLabels: \{([^}]*)\}\}$`)
	for d := range out {
		m := parts.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("%s cannot be read", d)
		}
		all[m[1]] = strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' || r == ' ' })
	}
	return all
}

var (
	selectors = regexp.MustCompile(`\b((?:multiactive|etcd|controller_runtime|process|go|workqueue|rest_client)_\w+)(?:\{([^}]*)\})?`)
	matchers  = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`)
	// ofTargets are the labels that a Pod's series have besides (charts/multiactive/templates/monitoring.yaml).
	ofTargets = []string{"region", "service", "namespace", "pod", "container", "job", "instance"}
)

// checkSelectors fails for metrics that nothing registers, and labels that they do not have.
func checkSelectors(t *testing.T, where, expr string, all map[string][]string) {
	t.Helper()
	for _, m := range selectors.FindAllStringSubmatch(expr, -1) {
		name := m[1]
		labels, known := all[name]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if !known {
				labels, known = all[strings.TrimSuffix(name, suffix)]
			}
		}
		if !known {
			t.Errorf("%s: no program has the metric %s", where, name)
			continue
		}
		for _, l := range matchers.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(labels, l[1]) && !slices.Contains(ofTargets, l[1]) && l[1] != "le" {
				t.Errorf("%s: %s has no label %s, only %v", where, name, l[1], labels)
			}
		}
	}
}

func TestAlertsNameMetricsThatExist(t *testing.T) {
	all := registered(t)
	for name, r := range alerts(t) {
		checkSelectors(t, name, r.Expr, all)
	}
}

// What the chart renders is the file, with what the values say.
func TestPrometheusRule(t *testing.T) {
	render := func(set ...string) map[string]rule {
		t.Helper()
		arguments := append([]string{
			"template", "release", "charts/multiactive", "--namespace", namespace, "--kube-version", kubeVersion, "--set", "monitoring.prometheusRule.enabled=true",
		}, endpoints...)
		for _, s := range set {
			arguments = append(arguments, "--set", s)
		}
		all := map[string]rule{}
		for _, o := range decode(t, run(t, "helm", arguments...)) {
			if o.GetKind() != "PrometheusRule" {
				continue
			}
			spec, _, _ := unstructured.NestedMap(o.Object, "spec")
			content, err := yaml.Marshal(spec)
			if err != nil {
				t.Fatal(err)
			}
			var file ruleFile
			if err := yaml.UnmarshalStrict(content, &file); err != nil {
				t.Fatal(err)
			}
			for _, g := range file.Groups {
				for _, r := range g.Rules {
					all[r.Alert] = r
				}
			}
		}
		return all
	}
	if diff := cmp.Diff(alerts(t), render()); diff != "" {
		t.Errorf("the rules differ from %s (-want +got)\n%s", alertsFile, diff)
	}
	got := render("monitoring.prometheusRule.disabled={MultiActiveRegionLost}", "monitoring.prometheusRule.alertLabels.team=platform",
		"monitoring.prometheusRule.runbookURL=https://wiki.example.com/multiactive")
	want := alerts(t)
	delete(want, "MultiActiveRegionLost")
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("without one (-want +got)\n%s", diff)
	}
	r := got["MultiActiveTwoAgents"]
	if r.Labels["team"] != "platform" || r.Annotations["runbook_url"] != "https://wiki.example.com/multiactive#multiactivetwoagents" {
		t.Errorf("the values are not in %v, %v", r.Labels, r.Annotations)
	}
}
