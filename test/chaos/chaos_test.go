// Package chaos_test runs a little of `playground chaos`, with real processes. That its checks find what
// must never be is shown where these are (internal/playground/chaos/check).
package chaos_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
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
	startTimeout = 4 * time.Minute
	endTimeout   = 30 * time.Second
)

// programs are built once: those of the operator with a clock that can be set.
var programs = sync.OnceValues(func() (string, error) {
	root, err := binaries.ModuleRoot()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "chaos-test-")
	if err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{"go", "-C", "examples/user", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", filepath.Join(dir, "user"), "."},
		{"hack/clockstep/build.sh", dir, "./cmd/manager", "./cmd/gateway", "./cmd/mirror", "./test/chaos/clock"},
		{"go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", dir + "/", "./cmd/playground"},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return dir, fmt.Errorf("building the programs: %w\n%s", err, out)
		}
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, _ := programs(); dir != "" {
		_ = os.RemoveAll(dir) // only scratch
	}
	os.Exit(code)
}

func bin(t *testing.T, name string) string {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// chaos is one series under way.
type chaos struct {
	t   *testing.T
	cmd *exec.Cmd
	dir string

	mu    sync.Mutex
	lines []string
	ended chan struct{}
	err   error
}

func start(t *testing.T, args ...string) *chaos {
	t.Helper()
	c := &chaos{t: t, dir: filepath.Join(t.TempDir(), "world"), ended: make(chan struct{})}
	program := bin(t, "playground")
	c.cmd = exec.Command(program, append([]string{"chaos", "--bin=" + filepath.Dir(program), "--dir=" + c.dir, "--no-color"}, args...)...)
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.cmd.Stderr = c.cmd.Stdout
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			c.mu.Lock()
			c.lines = append(c.lines, lines.Text())
			c.mu.Unlock()
		}
		c.err = c.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // ended long ago, unless the test failed
		<-c.ended
		if t.Failed() {
			t.Logf("it said:\n%s", c.output())
		}
	})
	return c
}

func (c *chaos) output() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.lines, "\n")
}

// left are processes that mention the world's directory.
func (c *chaos) left() (found []string) {
	c.t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		c.t.Fatal(err)
	}
	for _, file := range files {
		if content, err := os.ReadFile(file); err == nil && strings.Contains(string(content), c.dir) {
			found = append(found, strings.ReplaceAll(string(content), "\x00", " "))
		}
	}
	return found
}

func (c *chaos) nothingLeft() {
	c.t.Helper()
	testkit.Eventually(c.t, endTimeout, func() error {
		if left := c.left(); len(left) > 0 {
			return fmt.Errorf("%d processes are left, the first is: %.200s", len(left), left[0])
		}
		return nil
	})
}

// TestRuns makes two runs of a seed whose faults are of all kinds: processes, packets, clocks and a region.
func TestRuns(t *testing.T) {
	c := start(t, "--seed=8", "--first=1", "--runs=2", "--load=25", "--keys=12", "--users=4")
	<-c.ended
	if c.err != nil {
		t.Fatalf("the series has failed: %v", c.err)
	}
	for _, line := range []string{
		`PASS +run 1`, `PASS +run 2`, `whole again`, `PASS +one owner at a time, .* 2 of 2 runs`,
		`users: [1-9][0-9]* accounts, [1-9][0-9]* logins, [1-9][0-9]* new passwords and profiles, [1-9][0-9]* transfers`,
		`alone: .*: [1-9][0-9]* home writes, `, `[1-9][0-9]* changes of owners between writes`,
	} {
		if !regexp.MustCompile(line).MatchString(c.output()) {
			t.Errorf("the output has no line like %q", line)
		}
	}
	c.nothingLeft()
}

// TestFlappingRegion cuts a region off whenever it has its keys: it gets them back no oftener and no sooner than promised.
func TestFlappingRegion(t *testing.T) {
	c := start(t, "--flapping", "--seed=2", "--load=20", "--keys=12")
	<-c.ended
	if c.err != nil {
		t.Fatalf("it has failed: %v", c.err)
	}
	for _, line := range []string{`has its keys again, for the 3\. time`, `west got its keys back 3 times in `, `PASS +a region that flaps`, `[1-9][0-9]* changes of owners between writes`} {
		if !regexp.MustCompile(line).MatchString(c.output()) {
			t.Errorf("the output has no line like %q", line)
		}
	}
	c.nothingLeft()
}

// TestCrash kills the playground while its world runs: nothing may survive it.
func TestCrash(t *testing.T) {
	c := start(t, "--seed=1", "--users=0")
	testkit.Eventually(t, startTimeout, func() error {
		if left := c.left(); len(left) < 6 {
			return fmt.Errorf("%d processes run", len(left))
		}
		return nil
	})
	if err := c.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-c.ended
	c.nothingLeft()
}

func TestMistakesAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no programs":  {[]string{"--bin=/nowhere"}, "hack/clockstep/build.sh"},
		"no keys":      {[]string{"--keys=0"}, "--keys"},
		"unknown flag": {[]string{"--sede=1"}, "sede"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), bin(t, "playground"), append([]string{"chaos"}, c.args...)...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.want) {
				t.Errorf("got %v and %q, want a failure that says %q", err, out, c.want)
			}
		})
	}
}

// TestClocksAreSet holds that a program built by hack/clockstep sees the wall clock that a file says, and that
// what it measures stays as it is.
func TestClocksAreSet(t *testing.T) {
	file := filepath.Join(t.TempDir(), "clock")
	set := func(seconds int64) {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		if _, err := f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(seconds)), 0); err != nil {
			t.Fatal(err)
		}
	}
	set(0)
	cmd := exec.CommandContext(t.Context(), bin(t, "clock"))
	cmd.Env = []string{"CLOCKSTEP_FILE=" + file}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	answers := bufio.NewReader(out)
	for _, seconds := range []int64{0, 3600, -3600, 0} {
		set(seconds)
		if _, err := io.WriteString(in, "\n"); err != nil {
			t.Fatal(err)
		}
		line, err := answers.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		var shown, measured, without int64
		if _, err := fmt.Sscan(line, &shown, &measured, &without); err != nil {
			t.Fatalf("it said %q: %v", line, err)
		}
		const tolerance = 120
		if d := shown - time.Now().Unix() - seconds; d < -tolerance || d > tolerance {
			t.Errorf("set by %d s, its wall clock is %d s off that", seconds, d)
		}
		if measured < 0 || measured > tolerance*1000 {
			t.Errorf("set by %d s, it measures %d ms since its start", seconds, measured)
		}
		if d := without - measured - seconds*1000; d < -tolerance*1000 || d > tolerance*1000 {
			t.Errorf("set by %d s, the difference of wall clock times is %d ms off that", seconds, d)
		}
	}
}
