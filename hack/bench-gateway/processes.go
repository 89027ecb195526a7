package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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
	return report.ProcessorTime(all...)
}

// processorTimes are what all processors have done since the machine began, in ticks.
type processorTimes struct{ busy, all float64 }

// machineTime reads them.
func machineTime() (processorTimes, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return processorTimes{}, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	// The first is a name; user, nice, system, idle, iowait, irq, softirq and steal follow.
	if len(fields) < 9 {
		return processorTimes{}, errors.New("/proc/stat: the kernel does not tell what the processors did")
	}
	var t processorTimes
	for i, field := range fields[1:9] {
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return t, fmt.Errorf("/proc/stat: %w", err)
		}
		t.all += n
		if i != 3 && i != 4 {
			t.busy += n
		}
	}
	return t, nil
}

// busyShare is how much of the time since an earlier look was not idle.
func (t processorTimes) busyShare(before processorTimes) float64 {
	return (t.busy - before.busy) / max(t.all-before.all, 1)
}

// allocations is how many a gateway has made on its heap since it began, as its metrics tell; 0 for others.
func (c *contender) allocations(ctx context.Context) (float64, error) {
	if c.admin == "" {
		return 0, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.admin+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }() // only read
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "go_memstats_mallocs_total "); ok {
			return strconv.ParseFloat(strings.TrimSpace(rest), 64)
		}
	}
	return 0, fmt.Errorf("%s does not tell its allocations", c.name)
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
