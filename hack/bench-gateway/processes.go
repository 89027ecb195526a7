package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"multiactive.dev/operator/hack/internal/report"
)

// settleTime is how long connections are idle before the memory is read.
const settleTime = 5 * time.Second

// idleMemory opens connections that have each made a request, and returns what is resident then.
func idleMemory(ctx context.Context, o *options, c *contender) (float64, error) {
	conns, err := connect(ctx, c, o.idle)
	defer func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}()
	if err != nil {
		return 0, err
	}
	time.Sleep(settleTime)
	return resident(c.cmd.Process.Pid)
}

// resident is the memory of a process and its children, in MB. What they share is counted once: the kernel
// says for each how much is its own share.
func resident(pid int) (float64, error) {
	kb := 0.
	for _, id := range family(pid) {
		n, err := proportional(id)
		if err != nil {
			return 0, err
		}
		kb += n
	}
	return kb / 1024, nil
}

// family is a process and its children.
func family(pid int) []int {
	list := []int{pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is well-formed
	for _, task := range tasks {
		text, _ := os.ReadFile(task) // the thread may have ended
		for child := range strings.FieldsSeq(string(text)) {
			if id, err := strconv.Atoi(child); err == nil {
				list = append(list, id)
			}
		}
	}
	return list
}

// processorTime is what a contender has used since it began, in user mode and in the kernel.
func (c *contender) processorTime() (time.Duration, error) {
	if c.direct {
		return 0, nil
	}
	all := family(c.cmd.Process.Pid)
	if c.behind != nil {
		all = append(all, family(c.behind.cmd.Process.Pid)...)
	}
	var total time.Duration
	for _, id := range all {
		took, err := report.ProcessorTime(id)
		if err != nil {
			return 0, err
		}
		total += took
	}
	return total, nil
}

func proportional(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			return strconv.ParseFloat(strings.Fields(rest)[0], 64)
		}
	}
	return 0, fmt.Errorf("process %d: the kernel does not tell its memory", pid)
}
