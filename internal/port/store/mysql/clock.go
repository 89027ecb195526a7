package mysql

import "time"

// now reads the clock of this process. It measures how long questions took, and nothing else.
func now() time.Time { return time.Now() }

// since tells how long ago that was.
func since(t time.Time) time.Duration { return time.Since(t) }
