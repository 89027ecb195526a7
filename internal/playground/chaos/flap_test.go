package chaos

import (
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/ownership"
)

func TestFlaps(t *testing.T) {
	t.Parallel()
	seconds := func(all ...int) (out []time.Duration) {
		for _, n := range all {
			out = append(out, time.Hour+time.Duration(n)*time.Second)
		}
		return out
	}
	for name, c := range map[string]struct {
		healed, returns []time.Duration
		want            string
	}{
		"held down for longer each time":   {seconds(8, 28, 60), seconds(19, 51, 105), ""},
		"too soon after the first loss":    {seconds(8, 28), seconds(17, 50), "after 1 losses 10s"},
		"the third hold-down is too short": {seconds(8, 28, 60), seconds(19, 49, 95), "after 3 losses 40s"},
		"too often":                        {seconds(0, 12, 24, 36), seconds(11, 23, 35, 47), "for the 3. time"},
		"oftener than it was mended":       {seconds(8), seconds(19, 60), "2 times, and was mended 1 times"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := strings.Join(flaps(ownership.DefaultTimings(), "north", time.Hour, c.healed, c.returns), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("it is told that %q, want %q", got, c.want)
			}
		})
	}
	if got := most(ownership.DefaultTimings(), 10*time.Minute); got != 5 {
		t.Errorf("%d times in ten minutes, want 5", got)
	}
}
