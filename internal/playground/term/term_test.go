package term_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"multiactive.dev/operator/internal/playground/term"
)

func TestOutputIsPlainAndAligned(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	clock := clocktesting.NewFakeClock(time.Unix(0, 0))
	c := term.New(&out, true, clock)
	good, bad := c.Step("boots"), c.Step("breaks")
	clock.Step(1500 * time.Millisecond)
	good(nil)
	bad(errors.New("broken"))
	c.Section("Then")
	c.Table([][]string{{"城市", "x"}, {"beijing", "y"}})
	c.Block("one\ntwo\n")
	c.Verdict(false, "holds", "did not")
	want := "  ✓ boots" + strings.Repeat(" ", 58) + "1.5 s\n" +
		"  ✗ breaks" + strings.Repeat(" ", 57) + "1.5 s\n" +
		"\nThen (+1.5 s)\n" +
		"  城市     x\n  beijing  y\n" +
		"    one\n    two\n" +
		"  FAIL  holds" + strings.Repeat(" ", 58) + "did not\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}

func TestSeconds(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0.0 ms", 1500 * time.Microsecond: "1.5 ms", 250 * time.Millisecond: "250 ms",
		1234 * time.Millisecond: "1.2 s", 90 * time.Second: "90.0 s", -2 * time.Second: "-2.0 s",
	} {
		if got := term.Seconds(d); got != want {
			t.Errorf("Seconds(%s) = %q, want %q", d, got, want)
		}
	}
}
