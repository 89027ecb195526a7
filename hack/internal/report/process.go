package report

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of processor times in /proc, on every architecture that Linux has today.
const tick = 10 * time.Millisecond

// ProcessorTime is what processes have used since they began, together, in user mode and in the kernel.
func ProcessorTime(pids ...int) (total time.Duration, err error) {
	for _, pid := range pids {
		took, err := processorTime(pid)
		if err != nil {
			return 0, err
		}
		total += took
	}
	return total, nil
}

// ProcessorTimes is ProcessorTime of several kinds of processes.
func ProcessorTimes[K comparable](pids map[K][]int) (map[K]time.Duration, error) {
	out := make(map[K]time.Duration, len(pids))
	for kind, of := range pids {
		took, err := ProcessorTime(of...)
		if err != nil {
			return nil, err
		}
		out[kind] = took
	}
	return out, nil
}

func processorTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in brackets, may have spaces; utime and stime are the 12th and 13th field after it.
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("process %d: the kernel does not tell its time", pid)
	}
	total := 0
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return time.Duration(total) * tick, nil
}

// ResidentMB is how much memory of processes is resident now, together.
func ResidentMB(pids ...int) (total float64, err error) {
	for _, pid := range pids {
		mb, err := status(pid, "VmRSS:")
		if err != nil {
			return 0, err
		}
		total += mb
	}
	return total, nil
}

// PeakMB is the most that was resident since ForgetPeak.
func PeakMB(pid int) (float64, error) { return status(pid, "VmHWM:") }

// ForgetPeak makes the kernel count a process's peak from now on.
func ForgetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

func status(pid int, field string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kb / 1024, err
		}
	}
	return 0, fmt.Errorf("process %d: the kernel does not tell its memory", pid)
}
