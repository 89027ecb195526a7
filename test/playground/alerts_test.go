package playground_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/playground/world"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/binaries"
	"multiactive.dev/operator/internal/testkit/ports"
	"multiactive.dev/operator/internal/testkit/process"
)

const (
	// hurry is how much sooner alerts fire here: what waits for half an hour in production waits for half a minute.
	hurry = 60
	// alertLook is how often Prometheus scrapes and judges.
	alertLook = 2 * time.Second
	// nothing is how long no alert may even be pending where all is well: with hurry, what would be minutes.
	nothing = 16 * time.Second
)

// watchman is a Prometheus that watches a world under the chart's alerts, as docs/guides/monitoring.md has it without Prometheus' operator.
type watchman struct {
	t   *testing.T
	url string
	// expected are those that a part of the test was to have, or might.
	expected []string
}

// watchAlerts has a Prometheus watch the world until the test ends.
func watchAlerts(t *testing.T, w *world.World) *watchman {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatalf("%v: install Prometheus (Debian's package prometheus), or run `make setup-test`", err)
	}
	dir, host := t.TempDir(), ports.Host()
	port, err := ports.Free(host, 1)
	if err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort(host, strconv.Itoa(port[0]))
	for file, text := range map[string]string{"alerts.yaml": hurriedAlerts(t), "prometheus.yaml": scrapes(t, w)} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	prometheus, err := process.Start(t.Context(), process.Spec{
		Name: "prometheus", Path: program, LogFile: filepath.Join(dir, "log"),
		Args: []string{
			"--config.file=" + filepath.Join(dir, "prometheus.yaml"), "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address,
		},
		Ready: func(context.Context) error {
			answer, err := http.Get("http://" + address + "/-/ready")
			if err != nil {
				return err
			}
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				return errors.New(answer.Status)
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := prometheus.Kill(); err != nil {
			t.Error(err)
		}
	})
	return &watchman{t: t, url: "http://" + address}
}

// hurriedAlerts are the chart's, with shorter times.
func hurriedAlerts(t *testing.T) string {
	t.Helper()
	root, err := binaries.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "charts", "multiactive", "files", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^    for: (\S+)$`).ReplaceAllStringFunc(string(text), func(line string) string {
		_, long, _ := strings.Cut(line, "for: ")
		d, err := time.ParseDuration(long)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("    for: %dms", (d / hurry).Milliseconds())
	})
}

// scrapes is Prometheus' configuration for a world: managers and members of the store by their addresses, for they are no Pods
// here, gateways and mirrors as the regions' API servers have them.
func scrapes(t *testing.T, w *world.World) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "global: {scrape_interval: %s, scrape_timeout: 1s, evaluation_interval: %s}\nrule_files: [alerts.yaml]\nscrape_configs:\n", alertLook, alertLook)
	fixed := func(job, address, more string) {
		fmt.Fprintf(&b, "- job_name: %s\n  honor_labels: true\n  static_configs:\n  - targets: [%q]\n    labels: {namespace: %s, pod: multiactive-%s-0%s}\n",
			job, hostOf(t, address), world.Namespace, job, more)
	}
	fixed("hub", w.Metrics(), "")
	for i, endpoint := range w.CoordinationEndpoints() {
		fixed("coordination-"+strconv.Itoa(i), endpoint, "")
	}
	for _, r := range w.Regions() {
		fixed("member-"+r.Name, r.Metrics(), ", region: "+r.Name)
		// Debian's Prometheus does not look for Pods by itself.
		fmt.Fprintf(&b, "- job_name: pods-%s\n  honor_labels: true\n  http_sd_configs: [{url: %q, refresh_interval: %s}]\n", r.Name, pods(t, r), alertLook)
	}
	return b.String()
}

// pods serves what there is to scrape of a region's Pods, as the chart's PodMonitors choose them.
func pods(t *testing.T, r *world.Region) string {
	t.Helper()
	c, err := r.Client()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, request *http.Request) {
		list := &corev1.PodList{}
		if err := c.List(request.Context(), list, client.HasLabels{regional.LabelComponent}); err != nil {
			http.Error(out, err.Error(), http.StatusServiceUnavailable) // those from before are kept
			return
		}
		type group struct {
			Targets []string          `json:"targets"`
			Labels  map[string]string `json:"labels"`
		}
		groups := []group{}
		for i := range list.Items {
			pod := &list.Items[i]
			port := map[string]string{"gateway": "admin", "mirror": "http"}[pod.Labels[regional.LabelComponent]]
			for _, container := range pod.Spec.Containers {
				for _, p := range container.Ports {
					if p.Name == port && pod.Status.Phase == corev1.PodRunning && pod.Status.PodIP != "" {
						groups = append(groups, group{[]string{net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(int(p.ContainerPort)))}, map[string]string{
							"namespace": pod.Namespace, "pod": pod.Name, "region": r.Name, "service": pod.Labels[regional.LabelService],
						}})
					}
				}
			}
		}
		out.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(out).Encode(groups)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func hostOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// calm waits until no alert has fired or been pending for a while, but for those that are named. It is for a world in which
// nothing has happened yet.
func (m *watchman) calm(but ...string) {
	m.t.Helper()
	m.expected = append(m.expected, but...)
	testkit.Eventually(m.t, storyTimeout, func() error {
		if up := m.query("sum(up) / count(up)"); len(up) != 1 || up[0].value != "1" {
			return fmt.Errorf("not everything is scraped: %v", m.query("up == 0"))
		}
		if busy := m.query(fmt.Sprintf("max by (alertname, alertstate, region, name, service, reason) (max_over_time(ALERTS{alertname!~%q}[%s]))",
			strings.Join(but, "|"), nothing)); len(busy) > 0 {
			return fmt.Errorf("there are alerts while all is well: %v", busy)
		}
		if scraped := m.query(fmt.Sprintf("min(count_over_time(up[%s])) >= %d", nothing, int(nothing/alertLook)-2)); len(scraped) == 0 {
			return errors.New("not everything has been scraped for long enough")
		}
		return nil
	})
}

// fired waits until alerts have fired, at any time since the watch began.
func (m *watchman) fired(names ...string) {
	m.t.Helper()
	m.expected = append(m.expected, names...)
	testkit.Eventually(m.t, storyTimeout, func() error {
		have := m.all()
		missing := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(have, name) })
		if len(missing) > 0 {
			return fmt.Errorf("%v have not fired; those that have: %v", missing, have)
		}
		return nil
	})
}

// nothingBut fails when other alerts have fired than those that were waited for until now and these.
func (m *watchman) nothingBut(after string, may ...string) {
	m.t.Helper()
	m.expected = append(m.expected, may...)
	for _, name := range m.all() {
		if !slices.Contains(m.expected, name) {
			m.t.Errorf("by the end of %q the alert %s has fired, which is for something else", after, name)
		}
	}
}

// all are the alerts that have fired since the watch began, each once.
func (m *watchman) all() []string {
	m.t.Helper()
	var names []string
	for _, s := range m.query(`max by (alertname) (max_over_time(ALERTS{alertstate="firing"}[1h]))`) {
		names = append(names, s.labels["alertname"])
	}
	slices.Sort(names)
	return names
}

// sample is one series of an answer.
type sample struct {
	labels map[string]string
	value  string
}

func (m *watchman) query(expression string) []sample {
	m.t.Helper()
	response, err := http.PostForm(m.url+"/api/v1/query", url.Values{"query": {expression}})
	if err != nil {
		m.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Error string `json:"error"`
		Data  struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
				Value  [2]any            `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Error != "" {
		m.t.Fatalf("%s: %v %s", expression, err, answer.Error)
	}
	out := make([]sample, 0, len(answer.Data.Result))
	for _, r := range answer.Data.Result {
		out = append(out, sample{r.Metric, fmt.Sprint(r.Value[1])})
	}
	return out
}
