package chart_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"multiactive.dev/operator/internal/testkit/binaries"
)

type dashboard struct {
	UID        string `json:"uid"`
	Title      string `json:"title"`
	Templating struct {
		List []struct {
			Name       string `json:"name"`
			Definition string `json:"definition"`
		} `json:"list"`
	} `json:"templating"`
	Panels []struct {
		ID      int                      `json:"id"`
		Type    string                   `json:"type"`
		Title   string                   `json:"title"`
		GridPos struct{ X, Y, W, H int } `json:"gridPos"`
		Targets []struct {
			Expr       string `json:"expr"`
			Datasource struct {
				UID string `json:"uid"`
			} `json:"datasource"`
		} `json:"targets"`
	} `json:"panels"`
}

// dashboards are those of the chart, by the names of their files.
func dashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	root, err := binaries.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "charts", "multiactive", "files", "dashboards", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	all := map[string]dashboard{}
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(content, &d); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all[filepath.Base(path)] = d
	}
	return all
}

var variable = regexp.MustCompile(`\$\{?([a-z]+)\b\}?`)

// Every expression is one that Prometheus takes, of metrics that the programs have, and uses variables that are there.
func TestDashboards(t *testing.T) {
	all := registered(t)
	uids := map[string]string{}
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboards\n  rules:\n")
	n := 0
	for file, d := range dashboards(t) {
		if other, twice := uids[d.UID]; twice || d.UID == "" || d.Title == "" {
			t.Errorf("%s: uid %q, title %q; %s has the same uid, or one is empty", file, d.UID, d.Title, other)
		}
		uids[d.UID] = file
		known := map[string]bool{}
		for _, v := range d.Templating.List {
			known[v.Name] = true
			checkSelectors(t, file+", variable "+v.Name, v.Definition, all)
		}
		ids := map[int]bool{}
		for _, p := range d.Panels {
			where := fmt.Sprintf("%s, panel %q", file, p.Title)
			if ids[p.ID] || p.GridPos.W <= 0 || p.GridPos.X+p.GridPos.W > 24 {
				t.Errorf("%s: id %d is there twice, or it is outside of the grid: %+v", where, p.ID, p.GridPos)
			}
			ids[p.ID] = true
			if p.Type != "row" && len(p.Targets) == 0 {
				t.Errorf("%s shows nothing", where)
			}
			for _, target := range p.Targets {
				checkSelectors(t, where, target.Expr, all)
				for _, v := range variable.FindAllStringSubmatch(target.Expr+target.Datasource.UID, -1) {
					if !known[v[1]] {
						t.Errorf("%s: the variable %s is not declared", where, v[1])
					}
				}
				plain := variable.ReplaceAllString(strings.ReplaceAll(target.Expr, "$__rate_interval", "5m"), ".*")
				n++
				fmt.Fprintf(&rules, "  - {record: 'panel:%d', expr: %s}\n", n, quoted(t, plain))
			}
		}
	}
	path := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(path, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", path)
}

func quoted(t *testing.T, s string) string {
	t.Helper()
	out, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// Grafana's sidecar finds each by its label, as it is in the file.
func TestDashboardsAreRendered(t *testing.T) {
	arguments := append([]string{
		"template", "release", "charts/multiactive", "--namespace", namespace, "--kube-version", kubeVersion, "--set", "monitoring.dashboards.enabled=true",
		"--set", "monitoring.dashboards.namespace=grafana",
	}, endpoints...)
	want := dashboards(t)
	for _, o := range decode(t, run(t, "helm", arguments...)) {
		data, _, _ := unstructured.NestedStringMap(o.Object, "data")
		for file, content := range data {
			if !strings.HasSuffix(file, ".json") {
				continue
			}
			var d dashboard
			if err := yaml.UnmarshalStrict([]byte(content), &map[string]any{}); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			if err := json.Unmarshal([]byte(content), &d); err != nil || d.UID != want[file].UID {
				t.Errorf("%s is another dashboard, or none: %v", file, err)
			}
			if o.GetLabels()["grafana_dashboard"] != "1" || o.GetNamespace() != "grafana" {
				t.Errorf("%s has the labels %v in %s", o.GetName(), o.GetLabels(), o.GetNamespace())
			}
			delete(want, file)
		}
	}
	for file := range want {
		t.Errorf("%s is not rendered", file)
	}
}
