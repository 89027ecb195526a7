// Package playground_test runs the playground as people do, with a service that is not the example.
package playground_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/binaries"
)

const (
	storyTimeout = 4 * time.Minute
	endTimeout   = 20 * time.Second
)

// scratch has the programs, once a test has wanted them.
var scratch string

// programs are built once for all tests.
var programs = sync.OnceValues(func() (string, error) {
	root, err := binaries.ModuleRoot()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "playground-test-")
	if err != nil {
		return "", err
	}
	scratch = dir
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", dir+"/",
		"./cmd/manager", "./cmd/gateway", "./cmd/mirror", "./cmd/playground", "./test/playground/echo")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(scratch)
	os.Exit(code)
}

// run is one playground under way.
type run struct {
	t   *testing.T
	cmd *exec.Cmd
	dir string

	mu    sync.Mutex
	lines []string
	ended chan struct{}
	err   error
}

// start runs the playground with the test's service in a directory of its own.
func start(t *testing.T, args ...string) *run {
	t.Helper()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	r := &run{t: t, dir: filepath.Join(t.TempDir(), "world"), ended: make(chan struct{})}
	args = append([]string{
		"--service=testdata/orders.yaml", "--program=registry.example.com/shop/orders:v3=" + filepath.Join(bin, "echo"),
		"--bin=" + bin, "--dir=" + r.dir,
	}, args...)
	r.cmd = exec.Command(filepath.Join(bin, "playground"), args...)
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.cmd.Stderr = r.cmd.Stdout
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			r.mu.Lock()
			r.lines = append(r.lines, lines.Text())
			r.mu.Unlock()
		}
		r.err = r.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill() // ended long ago, unless the test failed
		<-r.ended
		if t.Failed() {
			t.Logf("the playground said:\n%s", r.output())
		}
	})
	return r
}

func (r *run) output() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

// await waits until the output contains text, and fails when the playground ends before.
func (r *run) await(text string) {
	r.t.Helper()
	testkit.Eventually(r.t, storyTimeout, func() error {
		if strings.Contains(r.output(), text) {
			return nil
		}
		select {
		case <-r.ended:
			r.t.Fatalf("the playground ended (%v) before it said %q", r.err, text)
		default:
		}
		return fmt.Errorf("the playground has not said %q", text)
	})
}

// orphans are processes that mention the world's directory.
func (r *run) orphans() []string {
	r.t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		r.t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(content), r.dir) && file != fmt.Sprintf("/proc/%d/cmdline", os.Getpid()) {
			found = append(found, strings.ReplaceAll(string(content), "\x00", " "))
		}
	}
	return found
}

func (r *run) noOrphans() {
	r.t.Helper()
	testkit.Eventually(r.t, endTimeout, func() error {
		if left := r.orphans(); len(left) > 0 {
			return fmt.Errorf("%d processes are left, the first is: %.200s", len(left), left[0])
		}
		return nil
	})
}

func TestAnotherServiceLosesARegionAndGetsItBack(t *testing.T) {
	r := start(t, "--kill=south", "--keep")
	r.await("every region serves it through its gateway")
	paid := pay(t, edges(t, r.output())["north"])
	r.await("The world stays up")
	paid.check(t)
	out := r.output()
	for _, line := range []string{
		`PASS +every survivor's gateway routes around it`,
		`PASS +the survivors' gateways serve all the time`,
		`PASS +kubectl get mas says what is degraded`,
		`PASS +applications read it from the flags ConfigMap`,
		`PASS +south owns its users again after its return`,
		`PASS +managers stay below 150 MB`,
		`shop +multiactiveservice\.multiactive\.dev/orders`,
		`region\.multiactive\.dev/south +Down`,
		`deployment\.apps/orders-gateway +1/1`,
	} {
		if !regexp.MustCompile(line).MatchString(out) {
			t.Errorf("the output has no line like %q", line)
		}
	}
	if strings.Contains(out, "FAIL") {
		t.Error("a promise was not kept")
	}
	requests(t, edges(t, out))
	if len(r.orphans()) < 10 {
		t.Fatalf("a running world has many processes, found %d: the search for orphans finds nothing", len(r.orphans()))
	}
	// The playground crashes: nothing may survive it.
	if err := r.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-r.ended
	r.noOrphans()
}

// edges are the regions' addresses as the playground printed them.
func edges(t *testing.T, out string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^ +(north|south) +(http://127\.\S+)$`).FindAllStringSubmatch(out, -1) {
		found[m[1]] = m[2]
	}
	if len(found) != 2 {
		t.Fatalf("the output should name the addresses of two regions, found %v", found)
	}
	return found
}

// requests go to the service as users' do: read anywhere, write at home, whichever gateway is asked.
func requests(t *testing.T, edges map[string]string) {
	t.Helper()
	homes := map[string]string{}
	for asked, url := range edges {
		if got := send(t, http.MethodGet, url+"/orders/anna"); got["city"] != asked {
			t.Errorf("a read at %s was answered by %s", asked, got["city"])
		} else if got["greeting"] != "at your service" || got["secret"] != "swordfish" {
			t.Errorf("the program did not get its ConfigMap and Secret: %v", got)
		}
		for _, customer := range []string{"anna", "ben", "carla", "dieter", "eva", "franz"} {
			got := send(t, http.MethodPost, url+"/orders/"+customer)
			if got["owner"] != got["city"] {
				t.Errorf("%s was written in %s as the key of %s", customer, got["city"], got["owner"])
			}
			if before := homes[customer]; before != "" && before != got["city"] {
				t.Errorf("%s was written in %s and in %s", customer, before, got["city"])
			}
			homes[customer] = got["city"]
		}
	}
}

func send(t *testing.T, method, url string) map[string]string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]string
	if err := json.Unmarshal(body, &out); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s: %s", method, url, answer.Status, body)
	}
	return out
}

func TestInterruptEndsEverything(t *testing.T) {
	r := start(t)
	testkit.Eventually(t, storyTimeout, func() error {
		if left := r.orphans(); len(left) < 4 {
			return fmt.Errorf("%d processes run", len(left))
		}
		return nil
	})
	if err := r.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), endTimeout)
	defer cancel()
	select {
	case <-r.ended:
	case <-ctx.Done():
		t.Fatal("the playground does not end")
	}
	r.noOrphans()
}

func TestMistakesAreNamed(t *testing.T) {
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no program for an image": {[]string{"--service=testdata/orders.yaml"}, "--program registry.example.com/shop/orders:v3="},
		"no such file":            {[]string{"--service=testdata/none.yaml"}, "none.yaml"},
		"no such region": {[]string{"--service=testdata/orders.yaml", "--kill=west",
			"--program=registry.example.com/shop/orders:v3=" + filepath.Join(bin, "echo")}, "--kill west"},
		"one region": {[]string{"--service=testdata/orders.yaml", "--regions=north",
			"--program=registry.example.com/shop/orders:v3=" + filepath.Join(bin, "echo")}, "two to five regions"},
		"program that is not there": {[]string{"--program=shop=/nowhere/shop"}, "/nowhere/shop"},
		"unknown flag":              {[]string{"--serivce=x"}, "serivce"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "playground"), append(c.args, "--bin="+bin)...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.want) {
				t.Errorf("got %v and %q, want a failure that says %q", err, out, c.want)
			}
		})
	}
}
