package underlay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// insideEnv marks the process that runs in the namespaces.
const insideEnv = "MULTIACTIVE_PLAYGROUND_INSIDE"

func inside() bool { return os.Getenv(insideEnv) != "" }

// Isolate runs this program once more, with the same arguments, in a network of its own, where nothing of
// this machine can be reached, and waits for it. It needs no root where user namespaces are allowed.
//
// outside is false in the program that runs inside: it goes on. Otherwise err is how that one ended.
func Isolate(ctx context.Context) (outside bool, err error) {
	if inside() {
		return false, nil
	}
	self, err := os.Executable()
	if err != nil {
		return true, fmt.Errorf("finding this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	runtime.LockOSThread() // the child is killed with the thread that started it
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return true, fmt.Errorf("making a network of its own: %w: run it as root, or allow unprivileged user namespaces "+
			"(kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)", err)
	}
	err = cmd.Wait()
	if exit := (&exec.ExitError{}); errors.As(err, &exit) && exit.ExitCode() > 0 {
		return true, &ExitError{Status: exit.ExitCode()}
	}
	return true, err
}

// ExitError says that the program which ran inside has ended with a status other than 0, and has said why.
type ExitError struct{ Status int }

// Error implements error.
func (e *ExitError) Error() string { return fmt.Sprintf("ended with status %d", e.Status) }
