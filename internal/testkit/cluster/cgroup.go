package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"multiactive.dev/operator/internal/testkit/poll"
	"multiactive.dev/operator/internal/testkit/process"
)

// cgroups is where the machine has its control groups: one hierarchy for all controllers (version 2) or one
// for each (version 1).
const cgroups = "/sys/fs/cgroup"

// killTimeout bounds the wait until killed processes are gone.
const killTimeout = 20 * time.Second

// group is a control group in every hierarchy. The region's programs and Pods are in it, so that those which
// containers leave behind can be found and ended.
type group string

// controllers are the hierarchies that containers need.
var controllers = []string{"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"}

// unified tells whether the machine has but one hierarchy.
func unified() bool {
	_, err := os.Stat(filepath.Join(cgroups, "cgroup.controllers"))
	return err == nil
}

// hierarchies are the directories of those that the machine has, and of systemd's, which runc joins.
func hierarchies() []string {
	if unified() {
		return []string{cgroups}
	}
	var out []string
	for _, name := range append([]string{"systemd"}, controllers...) {
		if _, err := os.Stat(filepath.Join(cgroups, name, "cgroup.procs")); err == nil {
			out = append(out, filepath.Join(cgroups, name))
		}
	}
	return out
}

// newGroup makes the group of a region of a world below Main's directory.
func newGroup(world, region string) (group, error) {
	g := group(filepath.Base(os.Getenv(dirEnv)) + "-" + world + "-" + region)
	for _, hierarchy := range hierarchies() {
		dir := filepath.Join(hierarchy, string(g))
		if err := os.MkdirAll(filepath.Join(dir, "programs"), 0o755); err != nil {
			return g, fmt.Errorf("making control groups: %w", err)
		}
		if hierarchy == cgroups {
			for _, above := range []string{cgroups, dir} {
				if err := os.WriteFile(filepath.Join(above, "cgroup.subtree_control"), []byte("+cpu +cpuset +io +memory +pids"), 0o600); err != nil {
					return g, fmt.Errorf("making control groups: %w", err)
				}
			}
		}
		if err := weigh(dir); err != nil {
			return g, fmt.Errorf("making control groups: %w", err)
		}
		if filepath.Base(hierarchy) != "cpuset" {
			continue
		}
		// A new one has neither processors nor memory, and takes no process.
		for _, target := range []string{dir, filepath.Join(dir, "programs")} {
			for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
				content, err := os.ReadFile(filepath.Join(filepath.Dir(target), file))
				if err == nil {
					err = os.WriteFile(filepath.Join(target, file), content, 0o600)
				}
				if err != nil {
					return g, fmt.Errorf("making control groups: %w", err)
				}
			}
		}
	}
	return g, nil
}

// weigh gives a region the part of the processors that its dozens of processes would have outside of a group,
// which counts as one.
func weigh(dir string) error {
	for file, weight := range map[string]string{"cpu.shares": "20480", "cpu.weight": "2000"} {
		path := filepath.Join(dir, file)
		if _, err := os.Stat(path); err != nil {
			continue // of the other version, or another controller's
		}
		if err := os.WriteFile(path, []byte(weight), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// join has a program be born in the group, as are its children.
func (g group) join(spec process.Spec) process.Spec {
	script := []string{"set -e"}
	for _, hierarchy := range hierarchies() {
		script = append(script, "echo $$ >"+filepath.Join(hierarchy, string(g), "programs", "cgroup.procs"))
	}
	script = append(script, `exec "$@"`)
	spec.Args = append([]string{"-c", strings.Join(script, "\n"), "sh", spec.Path}, spec.Args...)
	spec.Path = "/bin/sh"
	return spec
}

// members are the processes in the group and the groups below it.
func (g group) members() ([]int, error) {
	seen := map[int]bool{}
	for _, hierarchy := range hierarchies() {
		err := filepath.WalkDir(filepath.Join(hierarchy, string(g)), func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed meanwhile
			}
			if err != nil || entry.Name() != "cgroup.procs" {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil && !errors.Is(err, syscall.ENODEV) && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			for line := range strings.FieldsSeq(string(content)) {
				if pid, err := strconv.Atoi(line); err == nil && pid > 0 {
					seen[pid] = true
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("listing the processes of %s: %w", g, err)
		}
	}
	out := make([]int, 0, len(seen))
	for pid := range seen {
		out = append(out, pid)
	}
	return out, nil
}

// kill ends every process of the group at once, and returns when they are gone.
func (g group) kill() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), killTimeout, fmt.Errorf("processes of %s outlive SIGKILL", g))
	defer cancel()
	return poll.Until(ctx, 20*time.Millisecond, func(context.Context) error {
		pids, err := g.members()
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("ending process %d of %s: %w", pid, g, err)
			}
		}
		return fmt.Errorf("%d processes were there", len(pids))
	})
}

// forget removes the groups that the worlds below a directory have left; they hold nothing any more.
func forget(dir string) {
	for _, hierarchy := range hierarchies() {
		made, _ := filepath.Glob(filepath.Join(hierarchy, filepath.Base(dir)+"-*"))
		for _, left := range made {
			var below []string
			_ = filepath.WalkDir(left, func(path string, entry fs.DirEntry, err error) error {
				if err == nil && entry.IsDir() {
					below = append(below, path)
				}
				return nil
			})
			for _, one := range slices.Backward(below) {
				_ = os.Remove(one) // one in use stays
			}
		}
	}
}
