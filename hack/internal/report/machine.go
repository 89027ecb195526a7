package report

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Machine is where and when something was measured.
type Machine struct {
	cpu, kernel, commit   string
	date                  time.Time
	loadBefore, loadAfter string
}

// Describe looks at this machine, before it measures.
func Describe(ctx context.Context) Machine {
	m := Machine{date: time.Now().UTC(), loadBefore: loadAverage(), cpu: "unknown processor"}
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.cpu = strings.TrimSpace(value)
			break
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	m.kernel = strings.TrimSpace(string(kernel))
	commit, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if m.commit = strings.TrimSpace(string(commit)); err != nil {
		m.commit = "unknown"
	}
	return m
}

// Done notes what the machine does after it has measured.
func (m *Machine) Done() { m.loadAfter = loadAverage() }

// Paragraph says where and when it was measured, and warns of what else the machine did.
func (m *Machine) Paragraph() string {
	disturbed := "**The machine did much else meanwhile**, so latencies and single rounds say little; processor times do."
	if load, err := strconv.ParseFloat(m.loadBefore, 64); err == nil && load < float64(runtime.NumCPU())/2 {
		disturbed = ""
	}
	return strings.TrimSpace(fmt.Sprintf("Measured on %s, on %d processors (%s, Linux %s), source %s. The 1-minute load average was %s before and\n%s after. %s",
		m.date.Format("2 January 2006, 15:04 UTC"), runtime.NumCPU(), m.cpu, m.kernel, m.commit, m.loadBefore, m.loadAfter, disturbed))
}

func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(text))
	if len(fields) == 0 {
		return "unknown"
	}
	return fields[0]
}
