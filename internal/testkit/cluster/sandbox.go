package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// stageEnv tells this program which of its three lives it is in, and dirEnv where the world lies.
const (
	stageEnv = "MULTIACTIVE_CLUSTERS_STAGE"
	dirEnv   = "MULTIACTIVE_CLUSTERS_DIR"

	stageInit = "init"
	stageTest = "test"
)

// kernelSettings are what a kubelet sets for its machine. It finds them set already, in copies, for this
// machine is not its own.
var kernelSettings = map[string]string{
	"/proc/sys/vm/overcommit_memory": "1",
	"/proc/sys/kernel/panic":         "10",
	"/proc/sys/kernel/panic_on_oops": "1",
}

// Main runs a package's tests (run is m.Run of TestMain) inside of namespaces of their own for processes,
// mounts and the network: nothing in there reaches this machine's network, and the kernel ends and removes
// all of it with the test, also after a crash. Where whole clusters cannot be made it says why, runs nothing
// and succeeds; with CI=true in the environment it fails.
//
// MULTIACTIVE_CLUSTERS_DIR names an empty directory for data, logs and kubeconfigs, which then stay.
func Main(run func() int) int {
	switch os.Getenv(stageEnv) {
	case stageTest:
		return run()
	case stageInit:
		return asInit()
	}
	if err := possible(); err != nil {
		if os.Getenv("CI") == "true" {
			fmt.Fprintln(os.Stderr, "FAIL: no whole clusters here:", err)
			return 1
		}
		fmt.Fprintln(os.Stderr, "skipped: no whole clusters here:", err)
		return 0
	}
	status, err := isolate()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return status
}

// isolate runs this program once more in namespaces of its own and returns its status.
func isolate() (int, error) {
	dir := os.Getenv(dirEnv)
	if dir == "" {
		made, err := os.MkdirTemp("", "multiactive-clusters-")
		if err != nil {
			return 1, fmt.Errorf("making a directory for the clusters: %w", err)
		}
		dir = made
		defer func() { _ = os.RemoveAll(made) }() // mounts below it have gone with their namespace
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return 1, fmt.Errorf("making %s, which %s names: %w", dir, dirEnv, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), stageEnv+"="+stageInit, dirEnv+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL,
	}
	runtime.LockOSThread() // the child is killed with the thread that started it
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	forget(dir)
	if exit := (&exec.ExitError{}); errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, fmt.Errorf("running in namespaces of their own: %w", err)
	}
	return 0, nil
}

// asInit is the first process of the new namespaces: it makes their mounts, starts the tests, and reaps
// what containers leave behind until those have ended.
func asInit() int {
	if err := mounts(); err != nil {
		fmt.Fprintln(os.Stderr, "making mounts for whole clusters:", err)
		return 1
	}
	// Set, not appended: of two the first would count, and every child be another init.
	err := os.Setenv(stageEnv, stageTest)
	pid := 0
	if err == nil {
		pid, err = syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "starting the tests:", err)
		return 1
	}
	for {
		var status syscall.WaitStatus
		ended, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			fmt.Fprintln(os.Stderr, "waiting for the tests:", err)
			return 1
		case ended == pid && status.Signaled():
			return 128 + int(status.Signal())
		case ended == pid:
			return status.ExitStatus()
		}
	}
}

// mounts gives the namespaces a /proc that shows their own processes, and /run and /var/log of their own.
func mounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keeping mounts to themselves: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	for _, dir := range []string{"/run", "/var/log"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mounting %s: %w", dir, err)
		}
	}
	for path, value := range kernelSettings {
		copied := "/run/" + filepath.Base(path)
		if err := os.WriteFile(copied, []byte(value+"\n"), 0o600); err != nil {
			return fmt.Errorf("copying %s: %w", path, err)
		}
		if err := unix.Mount(copied, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("copying %s: %w", path, err)
		}
	}
	return nil
}
