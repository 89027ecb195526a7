package process_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"multiactive.dev/operator/internal/testkit/poll"
	"multiactive.dev/operator/internal/testkit/process"
)

// roleEnv makes this test's own program act as a child.
const roleEnv = "MULTIACTIVE_TEST_ROLE"

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleEnv); role {
	case "":
		os.Exit(m.Run())
	case "fail":
		fmt.Println("cannot open the sealed box")
		os.Exit(3)
	case "polite":
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		fmt.Println("ready")
		<-signals
		fmt.Println("bye")
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		select {}
	case "family": // leaves a child of its own behind
		child := exec.Command(os.Args[0])
		child.Env = []string{roleEnv + "=stubborn"}
		must(child.Start())
		fmt.Printf("child %d\n", child.Process.Pid)
	case "parent": // starts a process as the test kit does, and waits to be killed
		p, err := process.Start(context.Background(), spec(os.Getenv("LOG"), "stubborn"))
		must(err)
		fmt.Println(p.PID())
		select {}
	default:
		must(fmt.Errorf("unknown role %q", role))
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func spec(log, role string) process.Spec {
	return process.Spec{
		Name: role, Path: os.Args[0], Env: []string{roleEnv + "=" + role}, LogFile: log,
		Ready: func(context.Context) error {
			text, err := os.ReadFile(log)
			if err == nil && !strings.Contains(string(text), "ready") {
				return errors.New("has not said so yet")
			}
			return err
		},
		ReadyTimeout: 20 * time.Second, StopTimeout: 20 * time.Second,
	}
}

func start(t *testing.T, s process.Spec) *process.Process {
	t.Helper()
	p, err := process.Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	return p
}

// gone waits until no process has the number.
func gone(t *testing.T, pid int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := poll.Until(ctx, 10*time.Millisecond, func(context.Context) error {
		if !alive(pid) {
			return nil
		}
		return fmt.Errorf("process %d is still there", pid)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// alive reports whether a process runs; one that only waits to be reaped does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func TestStopIsGraceful(t *testing.T) {
	t.Parallel()
	for name, freeze := range map[string]bool{"running": false, "frozen": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, spec(filepath.Join(t.TempDir(), "log"), "polite"))
			if freeze {
				if err := p.Freeze(); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			<-p.Done()
			if !strings.Contains(p.LogTail(), "bye") || p.Err() != nil {
				t.Errorf("did not end by itself: %v, log %q", p.Err(), p.LogTail())
			}
			if err := errors.Join(p.Stop(t.Context()), p.Kill(), p.Freeze(), p.Continue()); err != nil {
				t.Errorf("signalling an ended process: %v", err)
			}
		})
	}
}

func TestStopKillsTheStubborn(t *testing.T) {
	t.Parallel()
	s := spec(filepath.Join(t.TempDir(), "log"), "stubborn")
	s.StopTimeout = 10 * time.Millisecond
	p := start(t, s)
	if err := p.Stop(t.Context()); err == nil || !strings.Contains(err.Error(), "killed it") {
		t.Errorf("got error %v, want one that says that it was killed", err)
	}
	gone(t, p.PID())
}

func TestFreezeHaltsAndContinueResumes(t *testing.T) {
	t.Parallel()
	p := start(t, spec(filepath.Join(t.TempDir(), "log"), "polite"))
	for _, step := range []struct {
		do     func() error
		halted bool
	}{{p.Freeze, true}, {p.Continue, false}} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		err := poll.Until(ctx, time.Millisecond, func(context.Context) error {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
			if halted := strings.Contains(string(stat), ") T "); err == nil && halted != step.halted {
				return fmt.Errorf("halted is %t, want %t", halted, step.halted)
			}
			return err
		})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestStartFailsWithTheReason(t *testing.T) {
	t.Parallel()
	late := spec(filepath.Join(t.TempDir(), "log"), "polite")
	late.ReadyTimeout, late.Ready = 10*time.Millisecond, func(context.Context) error { return errors.New("door closed") }
	missing := spec(filepath.Join(t.TempDir(), "log"), "polite")
	missing.Path = filepath.Join(t.TempDir(), "no-such-program")
	for name, test := range map[string]struct {
		spec process.Spec
		want []string
	}{
		"ended early":   {spec(filepath.Join(t.TempDir(), "log"), "fail"), []string{"fail", process.ErrExited.Error(), "cannot open the sealed box"}},
		"never ready":   {late, []string{"polite", "not ready after 10ms", "door closed"}},
		"no program":    {missing, []string{"no-such-program", "no such file"}},
		"no log":        {process.Spec{Name: "x", Path: os.Args[0]}, []string{"LogFile"}},
		"log elsewhere": {spec(filepath.Join(t.TempDir(), "none", "log"), "fail"), []string{"opening its log"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := process.Start(t.Context(), test.spec)
			if err == nil {
				t.Fatal("got no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not mention %q", err, want)
				}
			}
		})
	}
}

func TestNothingIsLeftOfAGroup(t *testing.T) {
	t.Parallel()
	s := spec(filepath.Join(t.TempDir(), "log"), "family")
	s.Ready = nil
	p := start(t, s)
	<-p.Done()
	_, number, _ := strings.Cut(p.LogTail(), "child ")
	pid, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(number, "\n", 2)[0]))
	if err != nil {
		t.Fatalf("log %q: %v", p.LogTail(), err)
	}
	gone(t, pid)
}

func TestNothingOutlivesACrashedParent(t *testing.T) {
	t.Parallel()
	parent := exec.Command(os.Args[0])
	parent.Env = []string{roleEnv + "=parent", "LOG=" + filepath.Join(t.TempDir(), "log")}
	parent.Stderr = os.Stderr
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || !alive(child) {
		t.Fatalf("the parent said %q (%v), want the number of a running process", line, err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	gone(t, child)
}
