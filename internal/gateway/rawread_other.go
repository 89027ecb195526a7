//go:build !linux || !(amd64 || arm64)

package gateway

import "errors"

// rawReads: development machines have net/http alone.
const rawReads = false

var errNoRawReads = errors.New("the fast path works on Linux, on amd64 and arm64")

func rawRead(uintptr, []byte) (int, error)  { return 0, errNoRawReads }
func rawWrite(uintptr, []byte) (int, error) { return 0, errNoRawReads }
func rawGone(uintptr) bool                  { return true }
func rawEmpty(uintptr) bool                 { return false }
