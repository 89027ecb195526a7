//go:build !linux

package gateway

import "errors"

// rawReads: development machines have net/http alone.
const rawReads = false

var errNoRawReads = errors.New("the fast path works on Linux")

func rawRead(uintptr, []byte) (int, error)  { return 0, errNoRawReads }
func rawWrite(uintptr, []byte) (int, error) { return 0, errNoRawReads }
func rawGone(uintptr) bool                  { return true }
func rawEmpty(uintptr) bool                 { return false }
