package chaos

import (
	"testing"
	"time"
)

func TestEnough(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options      Options
		done, broken int
		took         time.Duration
		want         bool
	}{
		"nothing is done":                  {Options{Duration: time.Minute}, 0, 0, time.Hour, false},
		"some of the runs":                 {Options{Runs: 3}, 2, 0, time.Hour, false},
		"all runs":                         {Options{Runs: 3}, 3, 0, time.Second, true},
		"there is time":                    {Options{Duration: time.Minute}, 7, 0, time.Minute - 1, false},
		"time is up":                       {Options{Duration: time.Minute}, 7, 0, time.Minute, true},
		"time is up before the last run":   {Options{Runs: 3, Duration: time.Minute}, 1, 0, time.Minute, true},
		"all runs before the time is up":   {Options{Runs: 3, Duration: time.Minute}, 3, 0, time.Second, true},
		"one is broken":                    {Options{Runs: 3}, 1, 1, time.Second, true},
		"one is broken, and others follow": {Options{Runs: 3, KeepGoing: true}, 1, 1, time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := c.options.enough(c.done, c.broken, c.took); got != c.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	o := Options{Runs: 10, Duration: 10 * time.Minute}
	if got, want := o.progress(3, 61*time.Second), "3 of 10 done, 1m1s of 10m0s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAgain(t *testing.T) {
	t.Parallel()
	o := Options{Seed: 7, Again: "playground chaos --keys 18 --load 40"}
	if got, want := o.again(3), "playground chaos --keys 18 --load 40 --seed 7 --first 3 --runs 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
