package main

import "runtime"

// spareProcessors of Go's scheduler are there besides those that event loops take: one for everything else, which need
// not wait until a loop has nothing to do, and one that is idle then. While one is idle the scheduler's watchdog leaves
// a loop that waits its own, and sleeps; it looked every 20 µs otherwise (7 % of the processor time at full speed).
// How much of the machine the process gets is the kernel's to say, as before.
const spareProcessors = 2

// spareForLoops makes room in the scheduler, and returns how many event loops are to run: as many as the runtime has found
// processors for. It does not look for a new limit of the container's any more after it.
func spareForLoops() int {
	loops := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(loops + spareProcessors)
	return loops
}
