package gateway

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The kernel tells the time since the machine started, suspension included, in two ways.
func TestBootIsTheKernelsUptime(t *testing.T) {
	before := SystemClock{}.Boot()
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Fatal(err)
	}
	after := SystemClock{}.Boot()
	seconds, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	// It is written in hundredths of a second.
	if up := time.Duration(seconds * float64(time.Second)); up < before-10*time.Millisecond || up > after+10*time.Millisecond {
		t.Errorf("Boot is %s to %s, /proc/uptime %s", before, after, up)
	}
}
