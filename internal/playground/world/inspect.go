package world

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/process"
)

// logTail is how much of a log is shown when something fails, in bytes.
const logTail = 2000

// Front names the cluster in which people look and order: "hub", or, in peer mode, a region.
func (w *World) Front() string {
	if w.front != nil {
		return w.front.Name
	}
	return hubName
}

// LookFrom has people look at another region's cluster in peer mode: one that is not lost.
func (w *World) LookFrom(r *Region) {
	if w.front != nil {
		w.front = r
	}
}

// Deploy applies the services to the hub; in peer mode in every region's cluster, as GitOps does.
func (w *World) Deploy(ctx context.Context) error {
	if w.options.Peer {
		for _, r := range w.regions {
			c, err := r.Client()
			if err != nil {
				return err
			}
			if err := w.deploy(ctx, c); err != nil {
				return fmt.Errorf("in region %s: %w", r.Name, err)
			}
		}
		return nil
	}
	c, err := w.HubClient()
	if err != nil {
		return err
	}
	return w.deploy(ctx, c)
}

func (w *World) deploy(ctx context.Context, c client.Client) error {
	for _, m := range w.options.manifests() {
		if err := apply(ctx, c, m.Service); err != nil {
			return err
		}
	}
	return nil
}

// HubClient returns a client that may do everything at the hub, or in the Front's cluster.
func (w *World) HubClient() (client.WithWatch, error) {
	if w.front != nil {
		return w.front.Client()
	}
	config, err := w.hub.Config(apiserver.Admin)
	if err != nil {
		return nil, err
	}
	return watchClient(config)
}

// HubConfig is a client configuration that may do everything at the hub.
func (w *World) HubConfig() (*rest.Config, error) { return w.hub.Config(apiserver.Admin) }

// Client returns a client that may do everything in the region's cluster.
func (r *Region) Client() (client.WithWatch, error) {
	config, err := r.AdminConfig()
	if err != nil {
		return nil, err
	}
	return watchClient(config)
}

func watchClient(config *rest.Config) (client.WithWatch, error) {
	types, err := newScheme()
	if err != nil {
		return nil, err
	}
	return client.NewWithWatch(config, client.Options{Scheme: types})
}

// Kubeconfig is the administrator's kubeconfig file of "hub" or of a region.
func (w *World) Kubeconfig(cluster string) string { return w.kubeconfigFile(cluster, apiserver.Admin) }

// KubectlPath is the real kubectl.
func (w *World) KubectlPath() string { return w.kubectl }

// Kubectl runs kubectl against the hub or a region and returns what it prints.
func (w *World) Kubectl(ctx context.Context, cluster string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, w.kubectl, append([]string{"--kubeconfig", w.Kubeconfig(cluster)}, args...)...)
	cmd.Env = []string{"HOME=" + w.options.Dir}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(out.String()))
	}
	return out.String(), nil
}

// Memory is the resident memory of a process in bytes.
type Memory struct {
	Name  string
	Bytes int64
}

// Managers returns the memory of the managers that run.
func (w *World) Managers() []Memory {
	var out []Memory
	add := func(p *program) {
		if p == nil {
			return
		}
		if bytes := resident(p.pid()); bytes > 0 {
			out = append(out, Memory{p.spec.Name, bytes})
		}
	}
	add(w.manager)
	add(w.witness)
	for _, r := range w.regions {
		add(r.manager)
	}
	return out
}

// Pods returns the memory of the running Pods whose name contains part.
func (w *World) Pods(part string) []Memory {
	var out []Memory
	for _, r := range w.regions {
		for key, p := range r.processes() {
			if bytes := resident(p.PID()); bytes > 0 && strings.Contains(key, part) {
				out = append(out, Memory{r.Name + " " + key, bytes})
			}
		}
	}
	return out
}

// processes of the region's Pods by name.
func (r *Region) processes() map[string]*process.Process {
	r.mu.Lock()
	agent := r.node
	r.mu.Unlock()
	out := map[string]*process.Process{}
	if agent != nil {
		for key, p := range agent.Processes() {
			out[key.Name] = p
		}
	}
	return out
}

// Total returns the memory of the playground's processes by kind.
func (w *World) Total() map[string]int64 {
	out := map[string]int64{"playground": resident(os.Getpid())}
	for _, m := range w.Managers() {
		out["managers"] += m.Bytes
	}
	for _, m := range w.Pods("") {
		out["pods"] += m.Bytes
	}
	var servers []*apiserver.Server
	if w.hub != nil {
		servers = append(servers, w.hub)
	}
	for _, r := range w.regions {
		servers = append(servers, r.cluster)
		out["kafka"] += resident(r.kafka.pid())
	}
	for _, s := range servers {
		if p := s.Process(); p != nil {
			out["API servers"] += resident(p.PID())
		}
		if p := s.Storage().Process(); p != nil {
			out["etcd"] += resident(p.PID())
		}
	}
	for _, m := range w.store.Members() {
		if p := m.Process(); p != nil {
			out["etcd"] += resident(p.PID())
		}
	}
	return out
}

// resident reads a process's resident memory; 0 when there is no such process.
func resident(pid int) int64 {
	if pid == 0 {
		return 0
	}
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(content))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// Logs returns the ends of the logs that explain most failures, by file.
func (w *World) Logs() map[string]string {
	out := map[string]string{}
	files, err := filepath.Glob(filepath.Join(w.options.Dir, "logs", "manager-*.log"))
	if err != nil {
		return out // the pattern is right
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		out[file] = string(content[max(0, len(content)-logTail):])
	}
	return out
}

// LogFiles names the files of Logs in order.
func LogFiles(logs map[string]string) []string { return slices.Sorted(maps.Keys(logs)) }
